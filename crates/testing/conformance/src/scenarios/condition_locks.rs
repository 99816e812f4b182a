//! The locks that a write set takes before its conditions are checked: they return the current
//! rows, and conflict with writes since the snapshot.

use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionsRow, ShardId, ShardsRow,
};
use temporal_dsql_ports::{
    BufferedWrite, CurrentChange, Expected, ExpectedCurrent, Observed, RunChange, WriteSet,
};

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    scenario::scenario_table,
};

scenario_table! { "condition_locks":
    locking_reports_the_rows per archetype;
    locking_absent_rows_reports_none per archetype;
    the_run_of_a_current_execution_is_observed_even_if_it_is_not_written;
    every_lock_conflicts_with_a_write_since_the_snapshot;
    locks_do_not_affect_other_rows;
}

/// A shard with a current execution, its run and another run.
async fn lockable(ctx: &TestContext) -> (ShardsRow, CurrentExecutionsRow, [ExecutionsRow; 2]) {
    let current = ctx.current();
    let shard = ShardsRow { shard_id: current.shard_id, ..ctx.shard() };
    let row = ctx.execution_of(&current);
    let other = ctx.execution_of(&ctx.changed(&current));
    ctx.store.session().insert_into_shards(&shard).await.unwrap();
    ctx.insert(&current).await;
    ctx.insert_execution(&row).await;
    ctx.insert_execution(&other).await;
    (shard, current, [row, other])
}

const NOTHING: &BufferedWrite = &BufferedWrite { clear: false, append: Vec::new() };

/// A write set of the owner of `shard_id` that observes the current execution `id` and `runs`.
fn observing<'a>(
    shard_id: ShardId,
    id: Option<&CurrentExecutionsFilter>,
    runs: &[&'a ExecutionsRow],
) -> WriteSet<'a> {
    let expected = ExpectedCurrent::Absent;
    let update = |row: &&'a ExecutionsRow| RunChange::Update {
        row,
        expected: Expected::RecordVersion(1),
        maps: &[],
        buffered: NOTHING,
    };
    WriteSet {
        range_id: Some(1),
        current: id.map(|id| CurrentChange { id: id.clone(), expected, write: None }),
        runs: runs.iter().map(update).collect(),
        ..WriteSet::new("Observe", shard_id)
    }
}

async fn locking_reports_the_rows(ctx: &TestContext) {
    let (shard, current, [row, other]) = lockable(ctx).await;
    let id = current.filter();
    let mut transaction = ctx.begin("Lock").await;
    let both = observing(shard.shard_id, Some(&id), &[&row, &other]);
    let observed = transaction.observe(&both).await.unwrap();
    // The row operations return the same.
    let range_id = transaction.read_lock_shards(shard.shard_id).await.unwrap();
    assert_eq!((observed.range_id, range_id), (Some(shard.range_id), Some(shard.range_id)));
    let alone = transaction.lock_current_executions(&id).await.unwrap();
    assert_eq!((&observed.current, &alone), (&Some(current), &observed.current));
    assert_eq!(observed.run(row.run_id), Some(row.version()));
    assert_eq!(observed.run(other.run_id), Some(other.version()));
    assert_eq!(observed.current_run, Some(row.version()));
    assert_eq!(observed.runs.len(), 2);
    transaction.commit().await.unwrap();

    let mut transaction = ctx.begin("Lock").await;
    let observed = transaction.observe(&observing(shard.shard_id, None, &[])).await.unwrap();
    let expected = Observed { range_id: Some(shard.range_id), ..Observed::default() };
    assert_eq!(observed, expected);
    let unguarded = WriteSet { range_id: None, ..observing(shard.shard_id, None, &[]) };
    assert_eq!(transaction.observe(&unguarded).await.unwrap(), Observed::default());
    transaction.commit().await.unwrap();
}

async fn locking_absent_rows_reports_none(ctx: &TestContext) {
    let (shard, current, [row, _]) = lockable(ctx).await;
    let absent = ExecutionsRow { run_id: ctx.run_id(), ..row.clone() };
    let mut transaction = ctx.begin("Lock").await;
    let elsewhere = CurrentExecutionsFilter { shard_id: shard.shard_id, ..ctx.current().filter() };
    let set = observing(shard.shard_id, Some(&elsewhere), &[]);
    let observed = transaction.observe(&set).await.unwrap();
    let expected = Observed { range_id: Some(shard.range_id), ..Observed::default() };
    assert_eq!(observed, expected);
    let id = current.filter();
    let set = observing(shard.shard_id, Some(&id), &[&absent, &row]);
    let observed = transaction.observe(&set).await.unwrap();
    assert_eq!(observed.runs, [(row.run_id, row.version())]);
    assert_eq!(observed.current, Some(current), "the stored row is reported and locked");
    let nowhere = ctx.execution();
    let set = observing(nowhere.shard_id, None, &[&nowhere]);
    assert_eq!(transaction.observe(&set).await.unwrap(), Observed::default());
    transaction.commit().await.unwrap();
}

/// A refusal reports the current execution with the last write version of its run.
async fn the_run_of_a_current_execution_is_observed_even_if_it_is_not_written(ctx: &TestContext) {
    let (shard, current, [row, other]) = lockable(ctx).await;
    let id = current.filter();
    let mut transaction = ctx.begin("Lock").await;
    let set = observing(shard.shard_id, Some(&id), &[&other]);
    let observed = transaction.observe(&set).await.unwrap();
    assert_eq!(observed.current_run, Some(row.version()));
    assert_eq!(observed.runs, [(other.run_id, other.version())]);
    transaction.rollback().await.unwrap();
    ctx.store.session().delete_from_executions(&row.filter()).await.unwrap();
    let mut transaction = ctx.begin("Lock").await;
    let observed = transaction.observe(&set).await.unwrap();
    assert_eq!((observed.current, observed.current_run), (Some(current), None));
    transaction.rollback().await.unwrap();
}

/// The write set comes last, after the other transaction has committed, so that no engine blocks. A
/// row that is written need not be locked before: the write conflicts, too.
async fn every_lock_conflicts_with_a_write_since_the_snapshot(ctx: &TestContext) {
    for written in ["shard", "current", "run", "other run", "closed run"] {
        let (shard, current, [row, other]) = lockable(ctx).await;
        let mut late = ctx.begin("Late").await;
        late.select_from_shards(shard.shard_id).await.unwrap();
        let mut writer = ctx.begin("Write").await;
        let rows = match written {
            "shard" => {
                // As in a takeover.
                let taken = ShardsRow { range_id: shard.range_id - 1, ..shard.clone() };
                writer.write_lock_shards(shard.shard_id).await.unwrap();
                writer.update_shards(&taken, None).await
            }
            "current" => writer.update_current_executions(&ctx.changed(&current)).await,
            "run" | "closed run" => writer.update_executions(&ctx.changed_execution(&row)).await,
            _ => writer.update_executions(&ctx.changed_execution(&other)).await,
        };
        assert_eq!(rows.unwrap(), 1);
        writer.commit().await.unwrap();
        let id = current.filter();
        let mut set = observing(shard.shard_id, Some(&id), &[&row, &other]);
        if written == "closed run" {
            // The run is not written: only its last write version is expected.
            set.runs.remove(0);
            let (run_id, last_write_version) = (row.run_id, row.last_write_version);
            set.current.as_mut().unwrap().expected =
                ExpectedCurrent::Closed { run_id, last_write_version };
        }
        let result = match late.observe(&set).await {
            Ok(observed) => late.write(&set, &observed).await,
            Err(error) => Err(error),
        };
        assert_conflict(settle(late, result.map(|_| 1)).await);
    }
}

async fn locks_do_not_affect_other_rows(ctx: &TestContext) {
    let (shard, current, [row, other]) = lockable(ctx).await;
    let (unrelated, _, [elsewhere, _]) = lockable(ctx).await;
    let id = current.filter();
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    first.observe(&observing(shard.shard_id, Some(&id), &[&row])).await.unwrap();
    second.observe(&observing(unrelated.shard_id, None, &[&elsewhere])).await.unwrap();
    // The other run is in the same shard: write sets of one owner do not conflict on the shard's
    // row.
    second.observe(&observing(shard.shard_id, None, &[&other])).await.unwrap();
    first.update_executions(&ctx.changed_execution(&row)).await.unwrap();
    second.update_executions(&ctx.changed_execution(&other)).await.unwrap();
    second.commit().await.unwrap();
    first.commit().await.unwrap();
}
