//! Row operations on `shards`: Temporal's `history_shard.go`, the compare-and-set update that it
//! lacks, and the lock that fences a deposed owner (temporal-persistence.md#case-1).

use temporal_dsql_domain::{ExecutionsRow, ShardId, ShardsRow, Table, limits};
use temporal_dsql_ports::StoreError;

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    scenario::scenario_table,
};

scenario_table! { "shards":
    inserting_a_shard_affects_one_row = "history_shard.go/TestInsert_Success";
    inserting_a_shard_twice_is_refused_and_changes_nothing
        = "history_shard.go/TestInsert_Fail_Duplicate";
    an_inserted_shard_is_read = "history_shard.go/TestInsertSelect";
    updating_a_shard_affects_one_row = "history_shard.go/TestInsertUpdate_Success";
    updating_an_absent_shard_affects_none = "history_shard.go/TestUpdate_Fail";
    an_updated_shard_is_read = "history_shard.go/TestInsertUpdateSelect";
    a_read_lock_returns_the_range_id = "history_shard.go/TestInsertReadLock";
    a_write_lock_returns_the_range_id = "history_shard.go/TestInsertWriteLock";
    a_conditional_update_is_applied_only_if_its_condition_holds;
    of_two_conditional_updates_from_one_range_id_one_is_made;
    an_absent_shard_is_neither_read_nor_locked;
    outside_a_transaction_a_lock_is_a_read;
    the_largest_and_smallest_numbers_are_read_unchanged;
    a_shard_of_one_mebibyte_is_stored_and_one_byte_more_is_refused;
    an_owner_that_was_deposed_since_its_snapshot_writes_nothing;
    an_owner_that_was_deposed_before_its_snapshot_finds_another_range_id;
    a_takeover_loses_against_an_owner_that_commits_first if optimistic_locks;
    an_owner_loses_against_a_takeover_that_commits_first if optimistic_locks;
    a_plain_read_of_the_shard_does_not_fence;
    an_update_of_the_shard_without_its_lock_does_not_fence;
    two_locks_of_one_owner_do_not_conflict;
}

async fn insert(ctx: &TestContext, row: &ShardsRow) {
    assert_eq!(ctx.store.session().insert_into_shards(row).await.unwrap(), 1);
}

async fn select(ctx: &TestContext, shard_id: ShardId) -> Option<ShardsRow> {
    ctx.store.session().select_from_shards(shard_id).await.unwrap()
}

async fn update(ctx: &TestContext, row: &ShardsRow, expected: Option<i64>) -> u64 {
    ctx.store.session().update_shards(row, expected).await.unwrap()
}

/// The same shard with every other value changed.
fn changed(ctx: &TestContext, row: &ShardsRow) -> ShardsRow {
    ShardsRow { shard_id: row.shard_id, ..ctx.shard() }
}

/// The shard after a takeover.
fn taken_over(ctx: &TestContext, row: &ShardsRow) -> ShardsRow {
    ShardsRow { range_id: row.range_id + 1, ..changed(ctx, row) }
}

async fn inserting_a_shard_affects_one_row(ctx: &TestContext) {
    insert(ctx, &ctx.shard()).await;
    assert_eq!(ctx.fixture.count(Table::Shards).await, 1);
}

async fn inserting_a_shard_twice_is_refused_and_changes_nothing(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    let again = changed(ctx, &row);
    let error = ctx.store.session().insert_into_shards(&again).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { table: Table::Shards, .. }), "{error:?}");
    assert_eq!(select(ctx, row.shard_id).await, Some(row));
}

async fn an_inserted_shard_is_read(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    assert_eq!(select(ctx, row.shard_id).await, Some(row));
}

async fn updating_a_shard_affects_one_row(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    assert_eq!(update(ctx, &changed(ctx, &row), None).await, 1);
}

async fn updating_an_absent_shard_affects_none(ctx: &TestContext) {
    let row = ctx.shard();
    assert_eq!(update(ctx, &row, None).await, 0);
    assert_eq!(update(ctx, &row, Some(row.range_id)).await, 0);
    assert_eq!(select(ctx, row.shard_id).await, None);
}

async fn an_updated_shard_is_read(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    let changed = changed(ctx, &row);
    update(ctx, &changed, None).await;
    assert_eq!(select(ctx, row.shard_id).await, Some(changed));
}

async fn a_read_lock_returns_the_range_id(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    let mut transaction = ctx.begin("ReadLock").await;
    let range_id = transaction.read_lock_shards(row.shard_id).await.unwrap();
    assert_eq!(range_id, Some(row.range_id));
    transaction.commit().await.unwrap();
}

async fn a_write_lock_returns_the_range_id(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    let mut transaction = ctx.begin("WriteLock").await;
    let range_id = transaction.write_lock_shards(row.shard_id).await.unwrap();
    assert_eq!(range_id, Some(row.range_id));
    transaction.commit().await.unwrap();
}

async fn a_conditional_update_is_applied_only_if_its_condition_holds(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    let next = taken_over(ctx, &row);
    for wrong in [row.range_id - 1, next.range_id, 0] {
        assert_eq!(update(ctx, &next, Some(wrong)).await, 0);
        assert_eq!(select(ctx, row.shard_id).await.as_ref(), Some(&row));
    }
    assert_eq!(update(ctx, &next, Some(row.range_id)).await, 1);
    assert_eq!(select(ctx, row.shard_id).await.as_ref(), Some(&next));
    // The owner updates the row without a change of the range id.
    let renewed = ShardsRow { range_id: next.range_id, ..changed(ctx, &next) };
    assert_eq!(update(ctx, &renewed, Some(next.range_id)).await, 1);
    assert_eq!(select(ctx, row.shard_id).await, Some(renewed));
}

async fn of_two_conditional_updates_from_one_range_id_one_is_made(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    let mut late = ctx.begin("Late").await;
    late.select_from_shards(row.shard_id).await.unwrap();
    let winner = taken_over(ctx, &row);
    assert_eq!(update(ctx, &winner, Some(row.range_id)).await, 1);
    let loser = taken_over(ctx, &row);
    let updated = late.update_shards(&loser, Some(row.range_id)).await;
    assert_conflict(settle(late, updated).await);
    assert_eq!(update(ctx, &loser, Some(row.range_id)).await, 0);
    assert_eq!(select(ctx, row.shard_id).await, Some(winner));
}

async fn an_absent_shard_is_neither_read_nor_locked(ctx: &TestContext) {
    let shard_id = ctx.shard_id();
    let mut transaction = ctx.begin("Lock").await;
    assert_eq!(transaction.select_from_shards(shard_id).await.unwrap(), None);
    assert_eq!(transaction.read_lock_shards(shard_id).await.unwrap(), None);
    assert_eq!(transaction.write_lock_shards(shard_id).await.unwrap(), None);
    transaction.commit().await.unwrap();
}

async fn outside_a_transaction_a_lock_is_a_read(ctx: &TestContext) {
    let row = ctx.shard();
    insert(ctx, &row).await;
    let mut session = ctx.store.session();
    let range_id = Some(row.range_id);
    assert_eq!(session.read_lock_shards(row.shard_id).await.unwrap(), range_id);
    assert_eq!(session.write_lock_shards(row.shard_id).await.unwrap(), range_id);
    assert_eq!(update(ctx, &taken_over(ctx, &row), range_id).await, 1);
}

async fn the_largest_and_smallest_numbers_are_read_unchanged(ctx: &TestContext) {
    for (shard_id, range_id) in [(i32::MIN, i64::MIN), (-1, -1), (0, 0), (i32::MAX, i64::MAX)] {
        let row = ShardsRow { shard_id: ShardId(shard_id), range_id, ..ctx.shard() };
        insert(ctx, &row).await;
        assert_eq!(select(ctx, row.shard_id).await.as_ref(), Some(&row));
        let changed = ShardsRow { range_id, ..changed(ctx, &row) };
        assert_eq!(update(ctx, &changed, Some(range_id)).await, 1);
    }
}

async fn a_shard_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let mut row = ctx.shard();
    row.data.data = vec![7; limits::MAX_VALUE_BYTES];
    insert(ctx, &row).await;
    let mut larger = taken_over(ctx, &row);
    larger.data.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    let error = ctx.store.session().update_shards(&larger, None).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(select(ctx, row.shard_id).await, Some(row));
}

/// A shard and an execution in it, both stored.
async fn owned_shard(ctx: &TestContext) -> (ShardsRow, ExecutionsRow) {
    let (shard, mut execution) = (ctx.shard(), ctx.execution());
    execution.shard_id = shard.shard_id;
    insert(ctx, &shard).await;
    ctx.insert_execution(&execution).await;
    (shard, execution)
}

/// Takes the shard over with the statements of Temporal's stores.
async fn take_over(ctx: &TestContext, row: &ShardsRow) -> ShardsRow {
    let next = taken_over(ctx, row);
    let mut transaction = ctx.begin("TakeOver").await;
    let range_id = transaction.write_lock_shards(row.shard_id).await.unwrap();
    assert_eq!(range_id, Some(row.range_id));
    assert_eq!(transaction.update_shards(&next, None).await.unwrap(), 1);
    transaction.commit().await.unwrap();
    next
}

async fn an_owner_that_was_deposed_since_its_snapshot_writes_nothing(ctx: &TestContext) {
    let (shard, execution) = owned_shard(ctx).await;
    let mut owner = ctx.begin("Owner").await;
    owner.select_from_executions(&execution.filter()).await.unwrap();
    take_over(ctx, &shard).await;
    let written = async {
        let range_id = owner.read_lock_shards(shard.shard_id).await?;
        assert_eq!(range_id, Some(shard.range_id), "the snapshot is older than the takeover");
        owner.update_executions(&ctx.changed_execution(&execution)).await
    };
    let written = written.await;
    assert_conflict(settle(owner, written).await);
    assert_eq!(ctx.read_execution(&execution.filter()).await, Some(execution));
}

async fn an_owner_that_was_deposed_before_its_snapshot_finds_another_range_id(ctx: &TestContext) {
    let (shard, _) = owned_shard(ctx).await;
    let next = take_over(ctx, &shard).await;
    let mut owner = ctx.begin("Owner").await;
    let range_id = owner.read_lock_shards(shard.shard_id).await.unwrap();
    assert_eq!(range_id, Some(next.range_id));
    owner.rollback().await.unwrap();
}

async fn a_takeover_loses_against_an_owner_that_commits_first(ctx: &TestContext) {
    let (shard, execution) = owned_shard(ctx).await;
    let changed = ctx.changed_execution(&execution);
    let mut owner = ctx.begin("Owner").await;
    let mut takeover = ctx.begin("TakeOver").await;
    owner.read_lock_shards(shard.shard_id).await.unwrap();
    let next = taken_over(ctx, &shard);
    takeover.write_lock_shards(shard.shard_id).await.unwrap();
    assert_eq!(takeover.update_shards(&next, Some(shard.range_id)).await.unwrap(), 1);
    assert_eq!(owner.update_executions(&changed).await.unwrap(), 1);
    owner.commit().await.unwrap();
    assert_conflict(takeover.commit().await);
    assert_eq!(select(ctx, shard.shard_id).await, Some(shard));
    assert_eq!(ctx.read_execution(&execution.filter()).await, Some(changed));
}

async fn an_owner_loses_against_a_takeover_that_commits_first(ctx: &TestContext) {
    let (shard, execution) = owned_shard(ctx).await;
    let mut owner = ctx.begin("Owner").await;
    let mut takeover = ctx.begin("TakeOver").await;
    owner.read_lock_shards(shard.shard_id).await.unwrap();
    owner.update_executions(&ctx.changed_execution(&execution)).await.unwrap();
    let next = taken_over(ctx, &shard);
    takeover.write_lock_shards(shard.shard_id).await.unwrap();
    assert_eq!(takeover.update_shards(&next, Some(shard.range_id)).await.unwrap(), 1);
    takeover.commit().await.unwrap();
    assert_conflict(owner.commit().await);
    assert_eq!(select(ctx, shard.shard_id).await, Some(next));
    assert_eq!(ctx.read_execution(&execution.filter()).await, Some(execution));
}

/// Why the shard is locked: if it is only read, both commit (aurora-dsql.md#conflict-matrix, write
/// skew).
async fn a_plain_read_of_the_shard_does_not_fence(ctx: &TestContext) {
    let (shard, execution) = owned_shard(ctx).await;
    let changed = ctx.changed_execution(&execution);
    let mut owner = ctx.begin("Owner").await;
    let read = owner.select_from_shards(shard.shard_id).await.unwrap().unwrap();
    assert_eq!(read.range_id, shard.range_id);
    take_over(ctx, &shard).await;
    assert_eq!(owner.update_executions(&changed).await.unwrap(), 1);
    owner.commit().await.unwrap();
    assert_eq!(ctx.read_execution(&execution.filter()).await, Some(changed));
}

/// Why a takeover locks the shard: an update does not change the key, so it does not conflict with
/// a lock FOR KEY SHARE, and both commit. An owner saves its progress in this way.
async fn an_update_of_the_shard_without_its_lock_does_not_fence(ctx: &TestContext) {
    for update_is_first in [false, true] {
        let (shard, execution) = owned_shard(ctx).await;
        let changed = ctx.changed_execution(&execution);
        let next = taken_over(ctx, &shard);
        let mut owner = ctx.begin("Owner").await;
        owner.select_from_shards(shard.shard_id).await.unwrap();
        if update_is_first {
            assert_eq!(update(ctx, &next, Some(shard.range_id)).await, 1);
        }
        let range_id = owner.read_lock_shards(shard.shard_id).await.unwrap();
        assert_eq!(range_id, Some(shard.range_id), "the snapshot is older than the update");
        if !update_is_first {
            assert_eq!(update(ctx, &next, Some(shard.range_id)).await, 1);
        }
        assert_eq!(owner.update_executions(&changed).await.unwrap(), 1);
        owner.commit().await.unwrap();
        assert_eq!(select(ctx, shard.shard_id).await, Some(next));
        assert_eq!(ctx.read_execution(&execution.filter()).await, Some(changed));
    }
}

async fn two_locks_of_one_owner_do_not_conflict(ctx: &TestContext) {
    let (shard, execution) = owned_shard(ctx).await;
    let other = ExecutionsRow { run_id: ctx.run_id(), ..execution.clone() };
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    for owner in [&mut first, &mut second] {
        let range_id = owner.read_lock_shards(shard.shard_id).await.unwrap();
        assert_eq!(range_id, Some(shard.range_id));
    }
    first.update_executions(&ctx.changed_execution(&execution)).await.unwrap();
    second.insert_into_executions(&other).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(ctx.read_execution(&other.filter()).await, Some(other));
}
