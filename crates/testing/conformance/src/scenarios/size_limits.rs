//! Executions at the limits of DSQL: written if they fit, otherwise refused as a whole with the limit
//! in the error, and deleted in every case (aurora-dsql.md#limits, aurora-dsql.md#sizes).

use temporal_dsql_domain::{
    ChasmNode, ChasmPath, CurrentExecutionsRow,
    ExecutionState::{Created, Running},
    MapEntries, MapTable, TimerId, WorkflowId,
};
use temporal_dsql_ports::{
    ConditionFailed, MapWrite, StoreError,
    limits::{self, LimitKind},
};
use temporal_dsql_stores::{CreateMode, Expected, SetExecution, Snapshot, UpdateMode};

use crate::{
    context::{
        TestContext,
        owned_shard::{OwnedShard, rows},
        write_sets::{Change, apply, read, stored},
    },
    scenario::scenario_table,
};

scenario_table! { "size_limits":
    a_value_of_one_mebibyte_is_written_and_one_byte_more_is_refused_whole
        = "temporal-persistence.md#case-8";
    the_longest_id_is_written_and_refused_whole_with_the_longest_timer_id per archetype
        = "temporal-persistence.md#case-8";
    a_path_longer_than_its_column_is_refused_if_it_would_be_stored;
    events_of_more_bytes_than_a_statement_are_refused_before_any_condition;
    a_reset_of_three_thousand_five_hundred_activities_is_refused_whole if transaction_limits
        = "temporal-persistence.md#case-7";
    a_reset_over_many_entries_is_applied_or_refused_whole;
    an_execution_of_more_rows_than_a_transaction_may_have_is_deleted
        = "temporal-persistence.md#case-7";
}

/// Asserts that a request was refused because of a limit.
#[track_caller]
fn assert_limit(result: Result<(), StoreError>, expected: LimitKind) {
    match result {
        Err(StoreError::Limit { kind, .. }) => assert_eq!(kind, expected),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

async fn a_value_of_one_mebibyte_is_written_and_one_byte_more_is_refused_whole(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut largest = shard.new_run(Created);
    largest.execution.data.data = vec![7; limits::MAX_VALUE_BYTES];
    shard.create(CreateMode::BrandNew, &largest).await.unwrap();
    shard.assert_stored(&largest).await;
    let before = ctx.row_count().await;

    let mut larger = shard.new_run(Created);
    larger.execution.data.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    assert_limit(shard.create(CreateMode::BrandNew, &larger).await, LimitKind::ValueBytes);
    let mut mutation = shard.mutation(&largest, Running);
    let MapEntries::Timers(timers) = &mut mutation.maps[1].replace else {
        panic!("the second map must be the timers");
    };
    timers[0].data.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    let result = shard.update(UpdateMode::UpdateCurrent, &mutation, None).await;
    assert_limit(result, LimitKind::ValueBytes);
    let mut mutation = shard.mutation(&largest, Running);
    mutation.buffered.append[0].data = vec![7; limits::MAX_VALUE_BYTES + 1];
    let result = shard.update(UpdateMode::UpdateCurrent, &mutation, None).await;
    assert_limit(result, LimitKind::ValueBytes);
    shard.assert_stored(&largest).await;
    assert_eq!(ctx.row_count().await, before);
}

async fn the_longest_id_is_written_and_refused_whole_with_the_longest_timer_id(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let longest = "𝄞".repeat(WorkflowId::MAX_CHARS);
    let current = |id: &str| CurrentExecutionsRow {
        workflow_id: WorkflowId::new(id).unwrap(),
        ..shard.current(Created)
    };
    let fits = shard.snapshot(&current(&longest));
    shard.create(CreateMode::BrandNew, &fits).await.unwrap();
    shard.assert_stored(&fits).await;
    let before = ctx.row_count().await;
    let mut too_long = shard.snapshot(&current(&longest));
    let MapEntries::Timers(timers) = &mut too_long.maps[1] else {
        panic!("the second map must be the timers");
    };
    timers[0].timer_id = TimerId::new(&longest).unwrap();
    assert_limit(shard.create(CreateMode::BrandNew, &too_long).await, LimitKind::KeyBytes);
    assert_eq!(ctx.row_count().await, before);
    shard.assert_missing(&too_long.execution).await;
}

/// The database has the column, so the conditions are checked first, and an entry that is also removed
/// may have any path.
async fn a_path_longer_than_its_column_is_refused_if_it_would_be_stored(ctx: &TestContext) {
    let run = stored(ctx, &ctx.execution()).await;
    let path = ChasmPath::new("é".repeat(limits::MAX_CHASM_PATH_CHARS + 1)).unwrap();
    let longer = MapEntries::ChasmNodes(vec![ChasmNode { path, ..ctx.chasm_node() }]);
    let mut change = Change::new(ctx, &run.row);
    change.maps = vec![MapWrite::upsert(longer.clone())];
    let error = ctx.store.apply(&change.set()).await.unwrap_err();
    let StoreError::InvalidArgument { field: "chasm_path", reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, "is 256 characters long, more than its column holds");
    let expected = Expected::RecordVersion(run.row.db_record_version - 1);
    let stale = Change { expected, ..change.clone() };
    let error = ctx.store.apply(&stale.set()).await.unwrap_err();
    let StoreError::Condition(ConditionFailed::Execution { .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(read(ctx, &run.row.filter()).await, Some(run.expected()));

    change.maps[0].remove = longer.keys();
    apply(ctx, &change.set()).await;
    let mut expected = run.expected();
    expected.execution = change.row;
    assert_eq!(read(ctx, &run.row.filter()).await, Some(expected));
}

async fn events_of_more_bytes_than_a_statement_are_refused_before_any_condition(ctx: &TestContext) {
    let run = stored(ctx, &ctx.execution()).await;
    let mut change = Change::new(ctx, &run.row);
    change.buffered.append = ctx.events(11);
    for event in &mut change.buffered.append {
        event.data = vec![7; limits::MAX_VALUE_BYTES];
    }
    let stale = Expected::RecordVersion(run.row.db_record_version - 1);
    for expected in [change.expected, stale] {
        change.expected = expected;
        assert_limit(ctx.store.apply(&change.set()).await, LimitKind::TransactionBytes);
    }
    // A row that no transaction can store is reported first: without it, a smaller write would do.
    change.buffered.append.extend(ctx.events(1));
    change.buffered.append[11].data = vec![7; limits::MAX_VALUE_BYTES + 1];
    assert_limit(ctx.store.apply(&change.set()).await, LimitKind::ValueBytes);
    assert_eq!(read(ctx, &run.row.filter()).await, Some(run.expected()));
}

/// A request that resets a stored run to one with this many activities.
async fn reset_to(shard: &OwnedShard<'_>, activities: usize) -> (Snapshot, SetExecution) {
    let run = shard.create_run(Running).await;
    let mut snapshot = shard.reset(&run, Running);
    snapshot.maps = vec![shard.ctx.entries(MapTable::Activities, activities)];
    let expected = Expected::RecordVersion(run.execution.db_record_version);
    (run, SetExecution { owner: shard.owner, snapshot, expected })
}

async fn a_reset_of_three_thousand_five_hundred_activities_is_refused_whole(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (run, set) = reset_to(&shard, 3_500).await;
    let tasks = shard.task_count().await;
    assert_limit(shard.executions.set(&set).await, LimitKind::TransactionRows);
    assert_eq!(shard.stored(&run.execution).await, Some(rows(&run)));
    assert_eq!(shard.task_count().await, tasks);
    // The request does not fit without its batch either; the batch was appended first and has no
    // effect.
    let batch = set.snapshot.events[0].node.clone();
    assert_eq!(shard.history(&run.events[0]).await, [run.events[0].node.clone(), batch]);
}

async fn a_reset_over_many_entries_is_applied_or_refused_whole(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (_, set) = reset_to(&shard, 2_500).await;
    shard.executions.set(&set).await.unwrap();
    shard.assert_stored(&set.snapshot).await;
    // The next reset removes as many entries as it writes: 5,000 rows.
    let mut again = shard.reset(&set.snapshot, Running);
    again.maps = vec![ctx.entries(MapTable::Activities, 2_500)];
    let expected = Expected::RecordVersion(set.snapshot.execution.db_record_version);
    let request = SetExecution { owner: shard.owner, snapshot: again.clone(), expected };
    let result = shard.executions.set(&request).await;
    if ctx.harness.capabilities().transaction_limits {
        assert_limit(result, LimitKind::TransactionRows);
        let stored = shard.stored(&set.snapshot.execution).await;
        assert_eq!(stored, Some(rows(&set.snapshot)));
    } else {
        result.unwrap();
        shard.assert_stored(&again).await;
    }
}

async fn an_execution_of_more_rows_than_a_transaction_may_have_is_deleted(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let key = run.execution.filter();
    let mut session = ctx.store.session();
    for map in [MapTable::Activities, MapTable::ChasmNodes] {
        session.replace_into_map(&key, &ctx.entries(map, 2_500)).await.unwrap();
    }
    session.insert_into_buffered_events(&key, &ctx.events(1_200)).await.unwrap();
    shard.executions.delete(&key).await.unwrap();
    shard.assert_missing(&run.execution).await;
    let left = shard.execution_count().await;
    assert_eq!(left, 1, "the current execution is deleted on its own");
    shard.executions.delete(&key).await.unwrap();
}
