//! Snapshot isolation as in DSQL (aurora-dsql.md#conflict-matrix): lost updates are refused, write
//! skew is not.
//!
//! Each scenario finishes one transaction before the other one writes, so that it also runs on an
//! engine that blocks. The first statement of a transaction is a read, because stock PostgreSQL
//! takes the snapshot then and not at BEGIN.

use std::sync::Arc;

use temporal_dsql_ports::StoreExt;

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    interceptors::intercept_nth_begin,
    scenario::scenario_table,
};

scenario_table! { "isolation":
    a_transaction_sees_its_own_writes per archetype;
    uncommitted_writes_are_invisible per archetype;
    a_rollback_undoes_all_writes per archetype;
    a_dropped_transaction_is_rolled_back per archetype;
    a_snapshot_does_not_change per archetype;
    a_lost_update_is_refused per archetype;
    an_update_of_a_row_deleted_since_is_refused per archetype;
    a_delete_of_a_row_updated_since_is_refused per archetype;
    a_lock_of_a_row_updated_since_is_refused per archetype;
    transactions_on_different_rows_both_commit per archetype;
    write_skew_over_plain_reads_commits;
    write_skew_over_locked_reads_is_refused;
    a_phantom_read_commits;
    two_open_writers_of_one_row_have_one_winner per archetype if optimistic_locks;
    two_open_creators_of_one_row_have_one_winner per archetype if optimistic_locks;
    two_locks_of_one_row_conflict_without_a_write per archetype if optimistic_locks;
    a_failed_statement_fails_the_commit_even_if_its_error_was_ignored per archetype;
    writes_committed_by_a_begin_hook_are_not_in_the_snapshot;
}

async fn a_transaction_sees_its_own_writes(ctx: &TestContext) {
    let row = ctx.current();
    let filter = row.filter();
    let mut transaction = ctx.begin("Write").await;
    transaction.insert_into_current_executions(&row).await.unwrap();
    let read = transaction.select_from_current_executions(&filter).await.unwrap();
    assert_eq!(read, Some(row.clone()));
    let changed = ctx.changed(&row);
    assert_eq!(transaction.update_current_executions(&changed).await.unwrap(), 1);
    let read = transaction.select_from_current_executions(&filter).await.unwrap();
    assert_eq!(read, Some(changed.clone()));
    let deleted = transaction.delete_from_current_executions(&filter, changed.run_id).await;
    assert_eq!(deleted.unwrap(), 1);
    assert_eq!(transaction.select_from_current_executions(&filter).await.unwrap(), None);
    assert_eq!(transaction.insert_into_current_executions(&row).await.unwrap(), 1);
    transaction.commit().await.unwrap();
    assert_eq!(ctx.read(&filter).await, Some(row));
}

async fn uncommitted_writes_are_invisible(ctx: &TestContext) {
    let row = ctx.current();
    let mut transaction = ctx.begin("Insert").await;
    transaction.insert_into_current_executions(&row).await.unwrap();
    assert_eq!(ctx.read(&row.filter()).await, None);
    transaction.commit().await.unwrap();
    assert_eq!(ctx.read(&row.filter()).await, Some(row));
}

async fn a_rollback_undoes_all_writes(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let other = ctx.current();
    let mut transaction = ctx.begin("Write").await;
    transaction.update_current_executions(&ctx.changed(&row)).await.unwrap();
    transaction.insert_into_current_executions(&other).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(ctx.read(&row.filter()).await, Some(row));
    assert_eq!(ctx.read(&other.filter()).await, None);
}

async fn a_dropped_transaction_is_rolled_back(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut transaction = ctx.begin("Write").await;
    transaction.update_current_executions(&ctx.changed(&row)).await.unwrap();
    drop(transaction);
    assert_eq!(ctx.read(&row.filter()).await, Some(row.clone()));
    // Nothing of the dropped transaction blocks or conflicts.
    let changed = ctx.changed(&row);
    assert_eq!(ctx.store.session().update_current_executions(&changed).await.unwrap(), 1);
}

async fn a_snapshot_does_not_change(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut reader = ctx.begin("Read").await;
    let first = reader.select_from_current_executions(&row.filter()).await.unwrap();
    ctx.store.session().update_current_executions(&ctx.changed(&row)).await.unwrap();
    let created = ctx.current();
    ctx.insert(&created).await;
    let second = reader.select_from_current_executions(&row.filter()).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(first, Some(row));
    assert_eq!(reader.select_from_current_executions(&created.filter()).await.unwrap(), None);
    reader.commit().await.unwrap();
}

async fn a_lost_update_is_refused(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut late = ctx.begin("Late").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let winner = ctx.changed(&row);
    ctx.store.session().update_current_executions(&winner).await.unwrap();
    let update = late.update_current_executions(&ctx.changed(&row)).await;
    assert_conflict(settle(late, update).await);
    assert_eq!(ctx.read(&row.filter()).await, Some(winner));
}

async fn an_update_of_a_row_deleted_since_is_refused(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut late = ctx.begin("Late").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let mut session = ctx.store.session();
    session.delete_from_current_executions(&row.filter(), row.run_id).await.unwrap();
    let update = late.update_current_executions(&ctx.changed(&row)).await;
    assert_conflict(settle(late, update).await);
    assert_eq!(ctx.read(&row.filter()).await, None);
}

async fn a_delete_of_a_row_updated_since_is_refused(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut late = ctx.begin("Late").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    let winner = ctx.changed(&row);
    ctx.store.session().update_current_executions(&winner).await.unwrap();
    let delete = late.delete_from_current_executions(&row.filter(), row.run_id).await;
    assert_conflict(settle(late, delete).await);
    assert_eq!(ctx.read(&row.filter()).await, Some(winner));
}

async fn a_lock_of_a_row_updated_since_is_refused(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut late = ctx.begin("Late").await;
    late.select_from_current_executions(&row.filter()).await.unwrap();
    ctx.store.session().update_current_executions(&ctx.changed(&row)).await.unwrap();
    let lock = late.lock_current_executions(&row.filter()).await;
    assert_conflict(settle(late, lock.map(|_| 1)).await);
}

async fn transactions_on_different_rows_both_commit(ctx: &TestContext) {
    let (one, two) = (ctx.current(), ctx.current());
    ctx.insert(&one).await;
    ctx.insert(&two).await;
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    first.lock_current_executions(&one.filter()).await.unwrap();
    second.lock_current_executions(&two.filter()).await.unwrap();
    first.update_current_executions(&ctx.changed(&one)).await.unwrap();
    second.update_current_executions(&ctx.changed(&two)).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
}

async fn write_skew_over_plain_reads_commits(ctx: &TestContext) {
    let (one, two) = (ctx.current(), ctx.current());
    ctx.insert(&one).await;
    ctx.insert(&two).await;
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    for transaction in [&mut first, &mut second] {
        transaction.select_from_current_executions(&one.filter()).await.unwrap();
        transaction.select_from_current_executions(&two.filter()).await.unwrap();
    }
    first.update_current_executions(&ctx.changed(&one)).await.unwrap();
    second.update_current_executions(&ctx.changed(&two)).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
}

async fn write_skew_over_locked_reads_is_refused(ctx: &TestContext) {
    let (one, two) = (ctx.current(), ctx.current());
    ctx.insert(&one).await;
    ctx.insert(&two).await;
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    for transaction in [&mut first, &mut second] {
        transaction.select_from_current_executions(&one.filter()).await.unwrap();
    }
    first.lock_current_executions(&two.filter()).await.unwrap();
    first.update_current_executions(&ctx.changed(&one)).await.unwrap();
    first.commit().await.unwrap();
    let skewed = async {
        second.lock_current_executions(&one.filter()).await?;
        second.update_current_executions(&ctx.changed(&two)).await
    };
    let skewed = skewed.await;
    assert_conflict(settle(second, skewed).await);
    assert_eq!(ctx.read(&two.filter()).await, Some(two));
}

async fn a_phantom_read_commits(ctx: &TestContext) {
    let (absent, other) = (ctx.current(), ctx.current());
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    // Each reads that the row inserted by the other one is absent.
    assert!(first.lock_current_executions(&other.filter()).await.unwrap().is_none());
    assert!(second.lock_current_executions(&absent.filter()).await.unwrap().is_none());
    first.insert_into_current_executions(&absent).await.unwrap();
    second.insert_into_current_executions(&other).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
}

async fn two_open_writers_of_one_row_have_one_winner(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let (one, two) = (ctx.changed(&row), ctx.changed(&row));
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    assert_eq!(first.update_current_executions(&one).await.unwrap(), 1);
    assert_eq!(second.update_current_executions(&two).await.unwrap(), 1);
    // The first commit wins, whichever transaction wrote first (aurora-dsql.md#conflicts).
    second.commit().await.unwrap();
    assert_conflict(first.commit().await);
    assert_eq!(ctx.read(&row.filter()).await, Some(two));
}

async fn two_open_creators_of_one_row_have_one_winner(ctx: &TestContext) {
    let one = ctx.current();
    let two = ctx.changed(&one);
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    assert_eq!(first.insert_into_current_executions(&one).await.unwrap(), 1);
    assert_eq!(second.insert_into_current_executions(&two).await.unwrap(), 1);
    first.commit().await.unwrap();
    assert_conflict(second.commit().await);
    assert_eq!(ctx.read(&one.filter()).await, Some(one));
}

async fn two_locks_of_one_row_conflict_without_a_write(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    first.lock_current_executions(&row.filter()).await.unwrap();
    second.lock_current_executions(&row.filter()).await.unwrap();
    first.commit().await.unwrap();
    assert_conflict(second.commit().await);
}

async fn a_failed_statement_fails_the_commit_even_if_its_error_was_ignored(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let other = ctx.current();
    let mut transaction = ctx.begin("Swallow").await;
    transaction.insert_into_current_executions(&other).await.unwrap();
    let first = transaction.insert_into_current_executions(&row).await.unwrap_err();
    let next = transaction.update_current_executions(&other).await.unwrap_err();
    let commit = transaction.commit().await.unwrap_err();
    assert_eq!(next.to_string(), first.to_string());
    assert_eq!(commit.to_string(), first.to_string());
    assert_eq!(ctx.read(&other.filter()).await, None, "nothing was applied");
}

/// The property on which all scenarios with a begin hook rely.
async fn writes_committed_by_a_begin_hook_are_not_in_the_snapshot(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let (others, changed) = (Arc::clone(&ctx.store), ctx.changed(&row));
    let committed = changed.clone();
    let store = intercept_nth_begin(&ctx.store, 1, move |_| {
        let (others, changed) = (Arc::clone(&others), changed.clone());
        Box::pin(async move {
            let updated = others.session().update_current_executions(&changed).await;
            assert_eq!(updated.unwrap(), 1);
        })
    });
    let filter = row.filter();
    let read = store.run("Look", &filter, |transaction, filter| {
        transaction.select_from_current_executions(filter)
    });
    assert_eq!(read.await.unwrap(), Some(row));
    assert_eq!(ctx.read(&filter).await, Some(committed));
}
