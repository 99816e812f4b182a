//! Row operations on the task queues of a shard, for every queue: Temporal's
//! `history_{transfer,timer,replication,visibility}_task.go` and `history_replication_task_dlq.go`.

use temporal_dsql_domain::{ScheduledKey, ScheduledTask, ShardId, Timestamp};
use temporal_dsql_ports::{StoreError, limits};

use crate::{context::TestContext, queue::Queue, scenario::scenario_table};

scenario_table! { "tasks":
    inserting_one_task_affects_one_row per queue
        = "history_transfer_task.go/TestInsert_Single_Success",
          "history_timer_task.go/TestInsert_Single_Success",
          "history_replication_task.go/TestInsert_Single_Success",
          "history_visibility_task.go/TestInsert_Single_Success",
          "history_replication_task_dlq.go/TestInsert_Single_Success";
    inserting_two_tasks_affects_two_rows per queue
        = "history_transfer_task.go/TestInsert_Multiple_Success",
          "history_timer_task.go/TestInsert_Multiple_Success",
          "history_replication_task.go/TestInsert_Multiple_Success",
          "history_visibility_task.go/TestInsert_Multiple_Success",
          "history_replication_task_dlq.go/TestInsert_Multiple_Success";
    inserting_a_task_twice_is_refused_and_changes_nothing per queue
        = "history_transfer_task.go/TestInsert_Single_Fail_Duplicate",
          "history_timer_task.go/TestInsert_Single_Fail_Duplicate",
          "history_replication_task.go/TestInsert_Single_Fail_Duplicate",
          "history_visibility_task.go/TestInsert_Single_Fail_Duplicate",
          "history_replication_task_dlq.go/TestInsert_Single_Fail_Duplicate";
    inserting_tasks_of_which_one_exists_inserts_none per queue
        = "history_transfer_task.go/TestInsert_Multiple_Fail_Duplicate",
          "history_timer_task.go/TestInsert_Multiple_Fail_Duplicate",
          "history_replication_task.go/TestInsert_Multiple_Fail_Duplicate",
          "history_visibility_task.go/TestInsert_Multiple_Fail_Duplicate",
          "history_replication_task_dlq.go/TestInsert_Multiple_Fail_Duplicate";
    an_inserted_task_is_read per queue
        = "history_transfer_task.go/TestInsertSelect_Single",
          "history_timer_task.go/TestInsertSelect_Single",
          "history_replication_task.go/TestInsertSelect_Single",
          "history_visibility_task.go/TestInsertSelect_Single",
          "history_replication_task_dlq.go/TestInsertSelect_Single";
    pages_cover_all_tasks_in_order per queue
        = "history_transfer_task.go/TestInsertSelect_Multiple",
          "history_timer_task.go/TestInsertSelect_Multiple",
          "history_replication_task.go/TestInsertSelect_Multiple",
          "history_visibility_task.go/TestInsertSelect_Multiple",
          "history_replication_task_dlq.go/TestInsertSelect_Multiple";
    deleting_an_absent_task_affects_none per queue
        = "history_transfer_task.go/TestDeleteSelect_Single",
          "history_timer_task.go/TestDeleteSelect_Single",
          "history_replication_task.go/TestDeleteSelect_Single",
          "history_visibility_task.go/TestDeleteSelect_Single",
          "history_replication_task_dlq.go/TestDeleteSelect_Single";
    deleting_an_empty_range_affects_none per queue
        = "history_transfer_task.go/TestDeleteSelect_Multiple",
          "history_timer_task.go/TestDeleteSelect_Multiple",
          "history_replication_task.go/TestDeleteSelect_Multiple",
          "history_visibility_task.go/TestDeleteSelect_Multiple",
          "history_replication_task_dlq.go/TestDeleteSelect_Multiple";
    a_deleted_task_is_absent per queue
        = "history_transfer_task.go/TestInsertDeleteSelect_Single",
          "history_timer_task.go/TestInsertDeleteSelect_Single",
          "history_replication_task.go/TestInsertDeleteSelect_Single",
          "history_visibility_task.go/TestInsertDeleteSelect_Single",
          "history_replication_task_dlq.go/TestInsertDeleteSelect_Single";
    a_deleted_range_is_empty per queue
        = "history_transfer_task.go/TestInsertDeleteSelect_Multiple",
          "history_timer_task.go/TestInsertDeleteSelect_Multiple",
          "history_replication_task.go/TestInsertDeleteSelect_Multiple",
          "history_visibility_task.go/TestInsertDeleteSelect_Multiple",
          "history_replication_task_dlq.go/TestInsertDeleteSelect_Multiple";
    tasks_inserted_in_any_order_are_read_in_key_order per queue;
    the_same_task_twice_in_one_call_is_refused per queue;
    inserting_no_task_affects_none per queue;
    each_shard_and_each_queue_has_tasks_of_its_own per queue;
    paging_continues_while_tasks_are_deleted_and_added per queue = "temporal-persistence.md#case-9";
    a_range_is_deleted_in_chunks_from_its_beginning per queue;
    a_transaction_reads_the_tasks_that_it_has_inserted per queue;
    two_transactions_insert_different_tasks_at_once per queue;
    a_task_that_another_transaction_inserted_since_is_refused per queue;
    a_task_of_one_mebibyte_is_stored_and_one_byte_more_is_refused per queue;
    three_thousand_tasks_are_inserted_at_once_and_one_more_is_refused per queue
        if transaction_limits;
}

/// A key before every task.
const START: ScheduledKey =
    ScheduledKey { visibility_timestamp: Timestamp::MIN, task_id: i64::MIN };

async fn insert(ctx: &TestContext, shard_id: ShardId, tasks: &[ScheduledTask]) -> u64 {
    ctx.queue().insert(&mut *ctx.store.session(), shard_id, tasks).await.unwrap()
}

async fn refused(ctx: &TestContext, shard_id: ShardId, tasks: &[ScheduledTask]) -> StoreError {
    ctx.queue().insert(&mut *ctx.store.session(), shard_id, tasks).await.unwrap_err()
}

async fn select(
    ctx: &TestContext,
    shard_id: ShardId,
    from: ScheduledKey,
    limit: u32,
) -> Vec<ScheduledTask> {
    ctx.queue().select(&mut *ctx.store.session(), shard_id, from, limit).await.unwrap()
}

async fn select_all(ctx: &TestContext, shard_id: ShardId) -> Vec<ScheduledTask> {
    select(ctx, shard_id, START, u32::MAX).await
}

async fn delete(ctx: &TestContext, shard_id: ShardId, key: ScheduledKey) -> u64 {
    ctx.queue().delete(&mut *ctx.store.session(), shard_id, key).await.unwrap()
}

async fn range_delete(ctx: &TestContext, shard_id: ShardId, from: ScheduledKey, limit: u32) -> u64 {
    ctx.queue().range_delete(&mut *ctx.store.session(), shard_id, from, limit).await.unwrap()
}

/// The key right after a task, as in Temporal's page tokens.
fn after(task: &ScheduledTask) -> ScheduledKey {
    ScheduledKey { task_id: task.key.task_id + 1, ..task.key }
}

#[track_caller]
fn assert_exists(ctx: &TestContext, error: &StoreError) {
    let expected = ctx.queue().table();
    assert!(
        matches!(error, StoreError::AlreadyExists { table, .. } if *table == expected),
        "{error:?}"
    );
}

async fn inserting_one_task_affects_one_row(ctx: &TestContext) {
    assert_eq!(insert(ctx, ctx.shard_id(), &ctx.tasks(ctx.queue(), 1)).await, 1);
    assert_eq!(ctx.fixture.count(ctx.queue().table()).await, 1);
}

async fn inserting_two_tasks_affects_two_rows(ctx: &TestContext) {
    assert_eq!(insert(ctx, ctx.shard_id(), &ctx.tasks(ctx.queue(), 2)).await, 2);
    assert_eq!(ctx.fixture.count(ctx.queue().table()).await, 2);
}

async fn inserting_a_task_twice_is_refused_and_changes_nothing(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 1));
    insert(ctx, shard, &tasks).await;
    let again = ScheduledTask { data: ctx.data(), ..tasks[0].clone() };
    assert_exists(ctx, &refused(ctx, shard, &[again]).await);
    assert_eq!(select_all(ctx, shard).await, tasks);
}

async fn inserting_tasks_of_which_one_exists_inserts_none(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 5));
    insert(ctx, shard, &tasks[2..3]).await;
    assert_exists(ctx, &refused(ctx, shard, &tasks).await);
    assert_eq!(select_all(ctx, shard).await, tasks[2..3]);
}

async fn an_inserted_task_is_read(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 1));
    insert(ctx, shard, &tasks).await;
    assert_eq!(select(ctx, shard, tasks[0].key, 1).await, tasks);
    assert_eq!(select(ctx, shard, after(&tasks[0]), 1).await, []);
}

/// Reads all pages, each after the last task of the page before.
async fn read_in_pages(
    ctx: &TestContext,
    shard_id: ShardId,
    mut from: ScheduledKey,
    limit: u32,
) -> Vec<ScheduledTask> {
    let mut read: Vec<ScheduledTask> = Vec::new();
    loop {
        let page = select(ctx, shard_id, from, limit).await;
        assert!(page.len() <= limit as usize);
        let Some(last) = page.last() else {
            return read;
        };
        from = after(last);
        read.extend(page);
    }
}

async fn pages_cover_all_tasks_in_order(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 20));
    assert_eq!(insert(ctx, shard, &tasks).await, 20);
    for limit in [1, 7, 10, 20, 40] {
        let read = read_in_pages(ctx, shard, START, limit).await;
        assert_eq!(read, tasks, "limit {limit}");
    }
    assert_eq!(select(ctx, shard, START, 0).await, []);
}

async fn deleting_an_absent_task_affects_none(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 2));
    assert_eq!(delete(ctx, shard, tasks[0].key).await, 0);
    insert(ctx, shard, &tasks[..1]).await;
    assert_eq!(delete(ctx, shard, tasks[1].key).await, 0);
    assert_eq!(delete(ctx, shard, after(&tasks[0])).await, 0);
    assert_eq!(select_all(ctx, shard).await, tasks[..1]);
}

async fn deleting_an_empty_range_affects_none(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 2));
    assert_eq!(range_delete(ctx, shard, START, 100).await, 0);
    insert(ctx, shard, &tasks[..1]).await;
    assert_eq!(range_delete(ctx, shard, tasks[1].key, 100).await, 0);
    assert_eq!(select_all(ctx, shard).await, tasks[..1]);
}

async fn a_deleted_task_is_absent(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 3));
    insert(ctx, shard, &tasks).await;
    assert_eq!(delete(ctx, shard, tasks[1].key).await, 1);
    assert_eq!(select_all(ctx, shard).await, [tasks[0].clone(), tasks[2].clone()]);
}

async fn a_deleted_range_is_empty(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 20));
    insert(ctx, shard, &tasks).await;
    assert_eq!(range_delete(ctx, shard, tasks[5].key, 100).await, 15);
    assert_eq!(select_all(ctx, shard).await, tasks[..5]);
    assert_eq!(range_delete(ctx, shard, START, 100).await, 5);
    assert_eq!(ctx.fixture.count(ctx.queue().table()).await, 0);
}

async fn tasks_inserted_in_any_order_are_read_in_key_order(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 20));
    let mut shuffled = tasks.clone();
    ctx.random(|random| random.shuffle(&mut shuffled));
    insert(ctx, shard, &shuffled[..9]).await;
    insert(ctx, shard, &shuffled[9..]).await;
    assert_eq!(select_all(ctx, shard).await, tasks);
}

async fn the_same_task_twice_in_one_call_is_refused(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 2));
    let twice = [tasks[0].clone(), tasks[1].clone(), tasks[0].clone()];
    assert_exists(ctx, &refused(ctx, shard, &twice).await);
    assert_eq!(select_all(ctx, shard).await, []);
}

async fn inserting_no_task_affects_none(ctx: &TestContext) {
    assert_eq!(insert(ctx, ctx.shard_id(), &[]).await, 0);
}

async fn each_shard_and_each_queue_has_tasks_of_its_own(ctx: &TestContext) {
    let (shard, other) = (ctx.shard_id(), ctx.shard_id());
    let tasks = ctx.tasks(ctx.queue(), 3);
    insert(ctx, shard, &tasks).await;
    insert(ctx, other, &tasks[1..]).await;
    assert_eq!(select_all(ctx, shard).await, tasks);
    assert_eq!(range_delete(ctx, shard, START, 100).await, 3);
    assert_eq!(select_all(ctx, other).await, tasks[1..]);

    let session = &mut *ctx.store.session();
    let siblings = Queue::all().into_iter().chain(ctx.queue().sibling());
    for queue in siblings.filter(|queue| queue != ctx.queue()) {
        assert_eq!(queue.select(session, other, START, 9).await.unwrap(), [], "{queue}");
        let tasks = ctx.tasks(&queue, 2);
        assert_eq!(queue.insert(session, other, &tasks).await.unwrap(), 2, "{queue}");
        assert_eq!(queue.select(session, other, START, 9).await.unwrap(), tasks, "{queue}");
        assert_eq!(queue.range_delete(session, other, START, 9).await.unwrap(), 2, "{queue}");
    }
    assert_eq!(select_all(ctx, other).await, tasks[1..]);
}

async fn paging_continues_while_tasks_are_deleted_and_added(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 20));
    // The new task is before those that are not read yet.
    insert(ctx, shard, &tasks[1..]).await;
    let first = select(ctx, shard, START, 7).await;
    assert_eq!(first, tasks[1..8]);
    for index in [2, 7, 8, 15] {
        assert_eq!(delete(ctx, shard, tasks[index].key).await, 1);
    }
    insert(ctx, shard, &tasks[..1]).await;
    let others = read_in_pages(ctx, shard, after(&tasks[7]), 7).await;
    assert_eq!(others, [&tasks[9..15], &tasks[16..]].concat());
}

async fn a_range_is_deleted_in_chunks_from_its_beginning(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 12));
    insert(ctx, shard, &tasks).await;
    let mut left = tasks.clone();
    for deleted in [4, 4, 2, 0] {
        assert_eq!(range_delete(ctx, shard, tasks[2].key, 4).await, deleted as u64);
        left.drain(2..2 + deleted);
        assert_eq!(select_all(ctx, shard).await, left);
    }
}

async fn a_transaction_reads_the_tasks_that_it_has_inserted(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 6));
    insert(ctx, shard, &tasks[..2]).await;
    let queue = ctx.queue();
    let mut transaction = ctx.begin("Insert").await;
    queue.insert(&mut *transaction, shard, &tasks[2..]).await.unwrap();
    assert_eq!(queue.delete(&mut *transaction, shard, tasks[1].key).await.unwrap(), 1);
    let expected = [&tasks[..1], &tasks[2..]].concat();
    assert_eq!(queue.select(&mut *transaction, shard, START, 9).await.unwrap(), expected);
    assert_eq!(select_all(ctx, shard).await, tasks[..2], "an uncommitted write is invisible");
    transaction.commit().await.unwrap();
    assert_eq!(select_all(ctx, shard).await, expected);
}

async fn two_transactions_insert_different_tasks_at_once(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 6));
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    ctx.queue().insert(&mut *first, shard, &tasks[3..]).await.unwrap();
    ctx.queue().insert(&mut *second, shard, &tasks[..3]).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(select_all(ctx, shard).await, tasks);
}

/// DSQL reports a conflict at COMMIT (aurora-dsql.md#conflict-matrix), PostgreSQL a duplicate at
/// the statement.
async fn a_task_that_another_transaction_inserted_since_is_refused(ctx: &TestContext) {
    let (shard, tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 2));
    let mut late = ctx.begin("Late").await;
    assert_eq!(ctx.queue().select(&mut *late, shard, START, 9).await.unwrap(), []);
    insert(ctx, shard, &tasks[..1]).await;
    let inserted = ctx.queue().insert(&mut *late, shard, &tasks).await;
    let refused = match inserted {
        Ok(_) => late.commit().await,
        Err(error) => late.rollback().await.and(Err(error)),
    };
    match refused.unwrap_err() {
        StoreError::Conflict { .. } => {}
        error => assert_exists(ctx, &error),
    }
    assert_eq!(select_all(ctx, shard).await, tasks[..1]);
}

async fn a_task_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let (shard, mut tasks) = (ctx.shard_id(), ctx.tasks(ctx.queue(), 2));
    tasks[0].data.data = vec![7; limits::MAX_VALUE_BYTES];
    tasks[1].data.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    let error = refused(ctx, shard, &tasks).await;
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(select_all(ctx, shard).await, []);
    assert_eq!(insert(ctx, shard, &tasks[..1]).await, 1);
    assert_eq!(select_all(ctx, shard).await, tasks[..1]);
}

async fn three_thousand_tasks_are_inserted_at_once_and_one_more_is_refused(ctx: &TestContext) {
    let most = limits::MAX_TRANSACTION_ROWS;
    let shard = ctx.shard_id();
    let tasks = ctx.tasks(ctx.queue(), usize::try_from(most).unwrap() + 1);
    let error = refused(ctx, shard, &tasks).await;
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::TransactionRows, .. }),
        "{error:?}"
    );
    assert_eq!(select_all(ctx, shard).await, []);
    assert_eq!(insert(ctx, shard, &tasks[1..]).await, most);
    assert_eq!(range_delete(ctx, shard, START, u32::try_from(most).unwrap()).await, most);
}
