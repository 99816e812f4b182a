//! The conditions of write sets, in random combinations: a write set is applied if and only if
//! [`WriteSet::check`] accepts the stored rows, and a refusal reports the condition that it
//! returns.

use temporal_dsql_domain::{
    CurrentExecutionsRow,
    ExecutionState::{Completed, Running},
    ExecutionStatus, ExecutionsRow, MapEntries, ShardsRow,
};
use temporal_dsql_ports::{
    BufferedWrite, ConditionFailed, CurrentChange, Expected, ExpectedCurrent, Observed, RunChange,
    StoreError, WriteSet,
};

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "conditions":
    a_write_set_is_applied_if_and_only_if_its_conditions_hold;
    an_inconsistent_write_set_is_refused_and_nothing_is_written;
    a_run_deleted_after_it_was_observed_is_not_written_again;
}

/// The rows of one shard and one id before a write set.
struct Stored {
    /// The rows of three runs of the id, which may be stored.
    runs: [ExecutionsRow; 3],
    is_stored: [bool; 3],
    /// The current execution, which is the first run.
    current: Option<CurrentExecutionsRow>,
    shard: Option<ShardsRow>,
}

/// True with a probability of one in `of`.
fn one_in(ctx: &TestContext, of: u8) -> bool {
    ctx.random(|random| random.u8(..of)) == 0
}

async fn stored(ctx: &TestContext) -> Stored {
    let mut current = ctx.current();
    (current.state, current.status) = if one_in(ctx, 2) {
        (Completed, ExecutionStatus::Failed)
    } else {
        (Running, ExecutionStatus::Running)
    };
    let run = |number: usize| {
        let row = if number == 0 { current.clone() } else { ctx.changed(&current) };
        let db_record_version = ctx.random(|random| random.i64(1..1_000));
        ExecutionsRow { db_record_version, ..ctx.execution_of(&row) }
    };
    let stored = Stored {
        runs: std::array::from_fn(run),
        // The last one is new in most rounds.
        is_stored: [!one_in(ctx, 5), !one_in(ctx, 5), one_in(ctx, 5)],
        shard: (!one_in(ctx, 8)).then(|| ShardsRow { shard_id: current.shard_id, ..ctx.shard() }),
        current: (!one_in(ctx, 4)).then_some(current),
    };
    let mut session = ctx.store.session();
    for (row, is_stored) in stored.runs.iter().zip(stored.is_stored) {
        if is_stored {
            session.insert_into_executions(row).await.unwrap();
        }
    }
    if let Some(shard) = &stored.shard {
        session.insert_into_shards(shard).await.unwrap();
    }
    if let Some(current) = &stored.current {
        session.insert_into_current_executions(current).await.unwrap();
    }
    stored
}

/// The rows that a write set may write.
struct Rows {
    next: CurrentExecutionsRow,
    runs: [ExecutionsRow; 3],
    maps: Vec<MapEntries>,
    buffered: BufferedWrite,
}

/// The expected version of a run: usually the stored one.
fn expected(ctx: &TestContext, run: &ExecutionsRow) -> Expected {
    let off = i64::from(one_in(ctx, 6));
    match ctx.random(|random| random.bool()) {
        true => Expected::RecordVersion(run.db_record_version + off),
        false => Expected::NextEventId(run.next_event_id ^ off),
    }
}

/// The expected state of the current execution: usually one that holds.
fn expected_current(ctx: &TestContext, stored: &Stored, is_new: bool) -> ExpectedCurrent {
    let [first, second, _] = &stored.runs;
    let run_id = if one_in(ctx, 6) { second.run_id } else { first.run_id };
    let last_write_version = first.last_write_version ^ i64::from(one_in(ctx, 6));
    match ctx.random(|random| random.u8(..4)) {
        0 => ExpectedCurrent::Absent,
        1 => ExpectedCurrent::Run(run_id),
        // As a creation, which does not write the previous run, expects it.
        2 if is_new => ExpectedCurrent::Closed { run_id, last_write_version },
        _ => ExpectedCurrent::AnyBut(if one_in(ctx, 2) { second.run_id } else { run_id }),
    }
}

/// A random write set for these rows.
fn random_write_set<'a>(ctx: &TestContext, stored: &Stored, rows: &'a Rows) -> WriteSet<'a> {
    let mut set = WriteSet::new("Change", rows.next.shard_id);
    let range_id = stored.shard.as_ref().map_or(1, |shard| shard.range_id);
    set.range_id = (!one_in(ctx, 6)).then(|| range_id - i64::from(one_in(ctx, 8)));
    let is_new = one_in(ctx, 3);
    if !one_in(ctx, 4) {
        let expected = expected_current(ctx, stored, is_new);
        let write = !matches!(expected, ExpectedCurrent::AnyBut(_)) && !one_in(ctx, 6);
        let id = rows.next.filter();
        set.current = Some(CurrentChange { id, expected, write: write.then_some(&rows.next) });
    }
    // The first existing runs, and a new one.
    let existing = if is_new { 0 } else { ctx.random(|random| random.usize(..3)) };
    for number in 0..existing {
        let row = &rows.runs[number];
        let expected = expected(ctx, &stored.runs[number]);
        set.runs.push(match ctx.random(|random| random.bool()) {
            true => RunChange::Update { row, expected, maps: &[], buffered: &rows.buffered },
            false => RunChange::Replace { row, expected, maps: &rows.maps },
        });
    }
    if is_new || one_in(ctx, 2) {
        set.runs.push(RunChange::Insert { row: &rows.runs[2], maps: &rows.maps });
    }
    set
}

/// What the write set observes.
fn observed(stored: &Stored, set: &WriteSet<'_>) -> Observed {
    let existing = || stored.runs.iter().zip(stored.is_stored).filter(|(_, is)| *is);
    let observed_runs = set.observed_runs();
    let runs = existing().filter(|(row, _)| observed_runs.contains(&row.run_id));
    let current = set.current.as_ref().and(stored.current.clone());
    let run_of = |current: &CurrentExecutionsRow| {
        existing().find(|(row, _)| row.run_id == current.run_id).map(|(row, _)| row.version())
    };
    Observed {
        range_id: set.range_id.and(stored.shard.as_ref()).map(|shard| shard.range_id),
        current_run: current.as_ref().and_then(run_of),
        current,
        runs: runs.map(|(row, _)| (row.run_id, row.version())).collect(),
        ..Observed::default()
    }
}

/// Reads the rows of the runs and of the current execution.
async fn read_rows(
    ctx: &TestContext,
    stored: &Stored,
    next: &CurrentExecutionsRow,
) -> (Vec<Option<ExecutionsRow>>, Option<CurrentExecutionsRow>) {
    let mut runs = Vec::new();
    for row in &stored.runs {
        runs.push(ctx.read_execution(&row.filter()).await);
    }
    (runs, ctx.read(&next.filter()).await)
}

async fn a_write_set_is_applied_if_and_only_if_its_conditions_hold(ctx: &TestContext) {
    let (mut applied, mut refused) = (0, [0; 4]);
    let is_covered = |applied, refused: [u32; 4]| applied >= 20 && refused.iter().all(|n| *n >= 3);
    // Some seeds need more rounds until each condition has failed.
    for round in 0..1_500 {
        if round >= 150 && is_covered(applied, refused) {
            break;
        }
        let stored = stored(ctx).await;
        let [first, ..] = &stored.runs;
        let id = CurrentExecutionsRow {
            shard_id: first.shard_id,
            namespace_id: first.namespace_id,
            workflow_id: first.workflow_id.clone(),
            ..ctx.current()
        };
        let rows = Rows {
            next: ctx.changed(&id),
            runs: stored.runs.clone().map(|row| ctx.changed_execution(&row)),
            maps: vec![ctx.entries(temporal_dsql_domain::MapTable::Timers, 2)],
            buffered: BufferedWrite { clear: false, append: ctx.events(1) },
        };
        let set = random_write_set(ctx, &stored, &rows);
        let mut expected = observed(&stored, &set);
        let mut transaction = ctx.begin("Observe").await;
        let mut found = transaction.observe(&set).await.unwrap();
        transaction.rollback().await.unwrap();
        expected.runs.sort_unstable_by_key(|(run_id, _)| *run_id);
        found.runs.sort_unstable_by_key(|(run_id, _)| *run_id);
        assert_eq!(found, expected, "round {round}: {set:?}");

        let before = (read_rows(ctx, &stored, &id).await, ctx.row_count().await);
        match (set.check(&expected), ctx.store.apply(&set).await) {
            (Ok(()), Ok(())) => {
                applied += 1;
                let (mut runs, mut current) = before.0;
                for row in set.rows() {
                    let number = stored.runs.iter().position(|run| run.run_id == row.run_id);
                    runs[number.expect("one of the three")] = Some(row.clone());
                }
                if let Some(write) = set.current.as_ref().and_then(|current| current.write) {
                    current = Some(write.clone());
                }
                assert_eq!(read_rows(ctx, &stored, &id).await, (runs, current), "{set:?}");
            }
            (Err(condition), Err(StoreError::Condition(reported))) => {
                refused[kind(&condition)] += 1;
                assert_eq!(reported, condition, "round {round}: {set:?}");
                let after = (read_rows(ctx, &stored, &id).await, ctx.row_count().await);
                assert_eq!(after, before, "round {round}: {set:?}");
            }
            (expected, result) => panic!("round {round}: {expected:?}, {result:?}: {set:?}"),
        }
    }
    assert!(is_covered(applied, refused), "{applied} {refused:?}");
}

const fn kind(condition: &ConditionFailed) -> usize {
    match condition {
        ConditionFailed::ShardOwnershipLost { .. } => 0,
        ConditionFailed::CurrentExecution { .. } => 1,
        ConditionFailed::Execution { .. } => 2,
        ConditionFailed::ExecutionExists { .. } => 3,
        _ => panic!("a write set has no other condition"),
    }
}

async fn an_inconsistent_write_set_is_refused_and_nothing_is_written(ctx: &TestContext) {
    let current = ctx.current();
    let run = ctx.execution_of(&current);
    let insert = RunChange::Insert { row: &run, maps: &[] };
    let mut twice = WriteSet::new("Change", run.shard_id);
    twice.runs.extend([insert.clone(), insert.clone()]);
    let mut uncertain = WriteSet::new("Change", run.shard_id);
    uncertain.runs.push(insert);
    let expected = ExpectedCurrent::AnyBut(ctx.run_id());
    uncertain.current =
        Some(CurrentChange { id: current.filter(), expected, write: Some(&current) });
    for (set, part) in [(twice, "runs"), (uncertain, "current")] {
        let refused = ctx.store.apply(&set).await;
        let names = |error: &StoreError| matches!(error, StoreError::InvalidArgument { field, .. } if *field == part);
        assert!(refused.as_ref().is_err_and(names), "{refused:?}");
        let found = ctx.store.session().select_from_executions(&run.filter()).await.unwrap();
        assert_eq!(found, None);
    }
}

/// An upsert of PostgreSQL would insert a row that was deleted since the snapshot.
async fn a_run_deleted_after_it_was_observed_is_not_written_again(ctx: &TestContext) {
    let run = ctx.execution_of(&ctx.current());
    let mut session = ctx.store.session();
    session.insert_into_executions(&run).await.unwrap();
    let next = ExecutionsRow { db_record_version: run.db_record_version + 1, ..run.clone() };
    let expected = Expected::RecordVersion(run.db_record_version);
    let mut set = WriteSet::new("Change", run.shard_id);
    set.runs.push(RunChange::Replace { row: &next, expected, maps: &[] });

    let mut transaction = ctx.begin("Change").await;
    let observed = transaction.observe(&set).await.unwrap();
    set.check(&observed).unwrap();
    assert_eq!(session.delete_from_executions(&run.filter()).await.unwrap(), 1);
    let written = match transaction.write(&set, &observed).await {
        Ok(written) => match set.verify(written) {
            Ok(()) => transaction.commit().await,
            refused => refused,
        },
        Err(refused) => Err(refused),
    };
    assert!(matches!(written, Err(StoreError::Conflict { .. })), "{written:?}");
    assert_eq!(session.select_from_executions(&run.filter()).await.unwrap(), None);
}
