//! Row operations on task queues: Temporal's `matching_task_queue.go`, the compare-and-set update that
//! it lacks, lists, and the lock that fences a deposed owner.

use temporal_dsql_domain::{TaskQueueId, TaskQueueKey, TaskQueueKind, TaskQueuesRow};
use temporal_dsql_ports::{StoreError, limits};
use uuid::Uuid;

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    scenario::scenario_table,
};

scenario_table! { "task_queues":
    inserting_a_task_queue_affects_one_row per kind = "matching_task_queue.go/TestInsert_Success";
    inserting_a_task_queue_twice_is_refused_and_changes_nothing per kind
        = "matching_task_queue.go/TestInsert_Fail_Duplicate";
    an_inserted_task_queue_is_read per kind = "matching_task_queue.go/TestInsertSelect";
    updating_a_task_queue_affects_one_row per kind
        = "matching_task_queue.go/TestInsertUpdate_Success";
    updating_an_absent_task_queue_affects_none per kind = "matching_task_queue.go/TestUpdate_Fail";
    an_updated_task_queue_is_read per kind = "matching_task_queue.go/TestInsertUpdateSelect";
    deleting_an_absent_task_queue_affects_none per kind = "matching_task_queue.go/TestDeleteSelect";
    a_deleted_task_queue_is_absent per kind
        = "matching_task_queue.go/TestInsertDeleteSelect_Success";
    deleting_with_another_range_id_leaves_the_task_queue per kind
        = "matching_task_queue.go/TestInsertDeleteSelect_Fail";
    a_lock_of_a_task_queue_returns_the_range_id per kind = "matching_task_queue.go/TestInsertLock";
    an_absent_task_queue_is_neither_read_nor_locked per kind;
    a_conditional_update_of_a_task_queue_is_applied_only_if_its_condition_holds per kind;
    of_two_conditional_updates_of_a_task_queue_from_one_range_id_one_is_made per kind;
    normal_and_fair_task_queues_with_one_id_are_independent;
    task_queues_are_listed_in_the_order_of_hash_and_id per kind;
    a_task_queue_of_one_mebibyte_is_stored_and_one_byte_more_is_refused per kind;
    tasks_of_an_owner_that_was_deposed_since_its_snapshot_are_not_written per kind;
    a_takeover_of_a_task_queue_loses_against_tasks_that_commit_first per kind if optimistic_locks;
    a_deletion_of_a_task_queue_loses_against_tasks_that_commit_first per kind if optimistic_locks;
    tasks_and_the_progress_of_one_owner_do_not_conflict per kind;
}

async fn insert(ctx: &TestContext, row: &TaskQueuesRow) {
    assert_eq!(ctx.store.session().insert_into_task_queues(row).await.unwrap(), 1);
}

async fn select(ctx: &TestContext, queue: &TaskQueueKey) -> Option<TaskQueuesRow> {
    ctx.store.session().select_from_task_queues(queue).await.unwrap()
}

async fn update(ctx: &TestContext, row: &TaskQueuesRow, expected: Option<i64>) -> u64 {
    ctx.store.session().update_task_queues(row, expected).await.unwrap()
}

async fn inserting_a_task_queue_affects_one_row(ctx: &TestContext) {
    insert(ctx, &ctx.task_queue()).await;
    assert_eq!(ctx.fixture.count(ctx.kind().queues_table()).await, 1);
}

async fn inserting_a_task_queue_twice_is_refused_and_changes_nothing(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let again = ctx.taken_over(&row);
    let error = ctx.store.session().insert_into_task_queues(&again).await.unwrap_err();
    let expected = ctx.kind().queues_table();
    let StoreError::AlreadyExists { table, .. } = error else { panic!("{error:?}") };
    assert_eq!(table, expected);
    assert_eq!(select(ctx, &row.queue).await, Some(row));
}

async fn an_inserted_task_queue_is_read(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    assert_eq!(select(ctx, &row.queue).await, Some(row));
}

async fn updating_a_task_queue_affects_one_row(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    assert_eq!(update(ctx, &ctx.taken_over(&row), None).await, 1);
}

async fn updating_an_absent_task_queue_affects_none(ctx: &TestContext) {
    let row = ctx.task_queue();
    assert_eq!(update(ctx, &row, None).await, 0);
    assert_eq!(update(ctx, &row, Some(row.range_id)).await, 0);
    assert_eq!(select(ctx, &row.queue).await, None);
}

async fn an_updated_task_queue_is_read(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let next = ctx.taken_over(&row);
    update(ctx, &next, None).await;
    assert_eq!(select(ctx, &row.queue).await, Some(next));
}

async fn deleting_an_absent_task_queue_affects_none(ctx: &TestContext) {
    let queue = ctx.task_queue_key();
    assert_eq!(ctx.store.session().delete_from_task_queues(&queue, 1).await.unwrap(), 0);
    assert_eq!(select(ctx, &queue).await, None);
}

async fn a_deleted_task_queue_is_absent(ctx: &TestContext) {
    let (row, other) = (ctx.task_queue(), ctx.task_queue());
    insert(ctx, &row).await;
    insert(ctx, &other).await;
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_task_queues(&row.queue, row.range_id).await.unwrap(), 1);
    assert_eq!(select(ctx, &row.queue).await, None);
    assert_eq!(select(ctx, &other.queue).await, Some(other));
}

async fn deleting_with_another_range_id_leaves_the_task_queue(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let mut session = ctx.store.session();
    for other in [row.range_id + 1, row.range_id - 1, 0] {
        assert_eq!(session.delete_from_task_queues(&row.queue, other).await.unwrap(), 0);
    }
    assert_eq!(select(ctx, &row.queue).await, Some(row));
}

async fn a_lock_of_a_task_queue_returns_the_range_id(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let expected = Some(row.range_id);
    let mut transaction = ctx.begin("Lock").await;
    assert_eq!(transaction.read_lock_task_queues(&row.queue).await.unwrap(), expected);
    assert_eq!(transaction.write_lock_task_queues(&row.queue).await.unwrap(), expected);
    transaction.commit().await.unwrap();
    // Outside a transaction a lock is a read.
    let mut session = ctx.store.session();
    assert_eq!(session.read_lock_task_queues(&row.queue).await.unwrap(), expected);
    assert_eq!(session.write_lock_task_queues(&row.queue).await.unwrap(), expected);
    assert_eq!(update(ctx, &ctx.taken_over(&row), expected).await, 1);
}

async fn an_absent_task_queue_is_neither_read_nor_locked(ctx: &TestContext) {
    let queue = ctx.task_queue_key();
    let mut transaction = ctx.begin("Lock").await;
    assert_eq!(transaction.select_from_task_queues(&queue).await.unwrap(), None);
    assert_eq!(transaction.read_lock_task_queues(&queue).await.unwrap(), None);
    assert_eq!(transaction.write_lock_task_queues(&queue).await.unwrap(), None);
    transaction.commit().await.unwrap();
}

async fn a_conditional_update_of_a_task_queue_is_applied_only_if_its_condition_holds(
    ctx: &TestContext,
) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let next = ctx.taken_over(&row);
    for wrong in [row.range_id - 1, next.range_id, 0] {
        assert_eq!(update(ctx, &next, Some(wrong)).await, 0);
        assert_eq!(select(ctx, &row.queue).await.as_ref(), Some(&row));
    }
    assert_eq!(update(ctx, &next, Some(row.range_id)).await, 1);
    let progress = ctx.changed_task_queue(&next);
    assert_eq!(update(ctx, &progress, Some(next.range_id)).await, 1);
    assert_eq!(select(ctx, &row.queue).await, Some(progress));
}

async fn of_two_conditional_updates_of_a_task_queue_from_one_range_id_one_is_made(
    ctx: &TestContext,
) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let mut late = ctx.begin("Late").await;
    late.select_from_task_queues(&row.queue).await.unwrap();
    let (winner, loser) = (ctx.taken_over(&row), ctx.taken_over(&row));
    assert_eq!(update(ctx, &winner, Some(row.range_id)).await, 1);
    let updated = late.update_task_queues(&loser, Some(row.range_id)).await;
    assert_conflict(settle(late, updated).await);
    assert_eq!(update(ctx, &loser, Some(row.range_id)).await, 0);
    assert_eq!(select(ctx, &row.queue).await, Some(winner));
}

async fn normal_and_fair_task_queues_with_one_id_are_independent(ctx: &TestContext) {
    let row = |kind| TaskQueuesRow {
        queue: TaskQueueKey::of_upstream_id(kind, b"one id"),
        range_id: 7,
        data: ctx.data(),
    };
    let rows = TaskQueueKind::ALL.map(row);
    for row in &rows {
        insert(ctx, row).await;
    }
    for row in &rows {
        assert_eq!(select(ctx, &row.queue).await.as_ref(), Some(row));
    }
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_task_queues(&rows[0].queue, 7).await.unwrap(), 1);
    assert_eq!(select(ctx, &rows[1].queue).await.as_ref(), Some(&rows[1]));
    // The key of a page of the other kind is refused, and not taken for one of this kind.
    let error = session.list_task_queues(rows[0].queue.kind, Some(&rows[1].queue), 9).await;
    let error = error.unwrap_err();
    let is_named = matches!(error, StoreError::InvalidArgument { field: "task_queue_id", .. });
    assert!(is_named, "{error:?}");
}

/// The Go fork lists by the hash of the hash (temporal-persistence.md#fault-12).
async fn task_queues_are_listed_in_the_order_of_hash_and_id(ctx: &TestContext) {
    let id = |text: &str| TaskQueueId(text.parse::<Uuid>().unwrap());
    let ids = [
        id("00000000-0000-4000-8000-000000000000"),
        id("0fffffff-0000-4000-8000-000000000001"),
        id("f0000000-0000-4000-8000-000000000000"),
        id("ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ];
    let mut rows = Vec::new();
    for range_hash in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        for task_queue_id in ids {
            let queue = TaskQueueKey { kind: ctx.kind(), range_hash, task_queue_id };
            rows.push(TaskQueuesRow { queue, ..ctx.task_queue() });
        }
    }
    let mut shuffled = rows.clone();
    ctx.random(|random| random.shuffle(&mut shuffled));
    for row in &shuffled {
        insert(ctx, row).await;
    }
    let mut session = ctx.store.session();
    for limit in [1, 3, 4, 7, 20, 99] {
        let mut listed: Vec<TaskQueuesRow> = Vec::new();
        loop {
            let after = listed.last().map(|last| last.queue);
            let page = session.list_task_queues(ctx.kind(), after.as_ref(), limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
            assert!(listed.len() <= rows.len(), "limit {limit}: queues are listed twice");
        }
        assert_eq!(listed, rows, "limit {limit}");
    }
}

async fn a_task_queue_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let mut row = ctx.task_queue();
    row.data.data = vec![7; limits::MAX_VALUE_BYTES];
    insert(ctx, &row).await;
    let mut larger = ctx.taken_over(&row);
    larger.data.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    let error = ctx.store.session().update_task_queues(&larger, None).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(select(ctx, &row.queue).await, Some(row));
}

/// Takes the queue over with the statements of Temporal's stores.
async fn take_over(ctx: &TestContext, row: &TaskQueuesRow) -> TaskQueuesRow {
    let next = ctx.taken_over(row);
    let mut transaction = ctx.begin("TakeOver").await;
    let range_id = transaction.write_lock_task_queues(&row.queue).await.unwrap();
    assert_eq!(range_id, Some(row.range_id));
    assert_eq!(transaction.update_task_queues(&next, None).await.unwrap(), 1);
    transaction.commit().await.unwrap();
    next
}

/// Why the queue is locked, as a shard is: a plain read of the range id would let both commit
/// (aurora-dsql.md#conflict-matrix, write skew).
async fn tasks_of_an_owner_that_was_deposed_since_its_snapshot_are_not_written(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let tasks = ctx.matching_tasks(row.queue, 1);
    let mut owner = ctx.begin("Owner").await;
    owner.select_from_task_queues(&row.queue).await.unwrap();
    let next = take_over(ctx, &row).await;
    let written = async {
        let range_id = owner.read_lock_task_queues(&row.queue).await?;
        assert_eq!(range_id, Some(row.range_id), "the snapshot is older than the takeover");
        owner.insert_into_tasks(ctx.kind(), &tasks).await
    };
    let written = written.await;
    assert_conflict(settle(owner, written).await);
    assert_eq!(ctx.fixture.count(ctx.kind().tasks_table()).await, 0);
    assert_eq!(select(ctx, &row.queue).await, Some(next));
}

async fn a_takeover_of_a_task_queue_loses_against_tasks_that_commit_first(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let mut owner = ctx.begin("Owner").await;
    let mut takeover = ctx.begin("TakeOver").await;
    owner.read_lock_task_queues(&row.queue).await.unwrap();
    takeover.write_lock_task_queues(&row.queue).await.unwrap();
    let next = ctx.taken_over(&row);
    assert_eq!(takeover.update_task_queues(&next, Some(row.range_id)).await.unwrap(), 1);
    let tasks = ctx.matching_tasks(row.queue, 2);
    assert_eq!(owner.insert_into_tasks(ctx.kind(), &tasks).await.unwrap(), 2);
    owner.commit().await.unwrap();
    assert_conflict(takeover.commit().await);
    assert_eq!(select(ctx, &row.queue).await, Some(row));
    assert_eq!(ctx.fixture.count(ctx.kind().tasks_table()).await, 2);
}

async fn a_deletion_of_a_task_queue_loses_against_tasks_that_commit_first(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let mut owner = ctx.begin("Owner").await;
    let mut deletion = ctx.begin("Delete").await;
    owner.read_lock_task_queues(&row.queue).await.unwrap();
    assert_eq!(deletion.delete_from_task_queues(&row.queue, row.range_id).await.unwrap(), 1);
    let tasks = ctx.matching_tasks(row.queue, 2);
    assert_eq!(owner.insert_into_tasks(ctx.kind(), &tasks).await.unwrap(), 2);
    owner.commit().await.unwrap();
    assert_conflict(deletion.commit().await);
    assert_eq!(select(ctx, &row.queue).await, Some(row));
}

async fn tasks_and_the_progress_of_one_owner_do_not_conflict(ctx: &TestContext) {
    let row = ctx.task_queue();
    insert(ctx, &row).await;
    let tasks = ctx.matching_tasks(row.queue, 2);
    let progress = ctx.changed_task_queue(&row);
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    let mut third = ctx.begin("Third").await;
    for owner in [&mut first, &mut second] {
        let range_id = owner.read_lock_task_queues(&row.queue).await.unwrap();
        assert_eq!(range_id, Some(row.range_id));
    }
    assert_eq!(first.insert_into_tasks(ctx.kind(), &tasks[..1]).await.unwrap(), 1);
    assert_eq!(second.insert_into_tasks(ctx.kind(), &tasks[1..]).await.unwrap(), 1);
    assert_eq!(third.update_task_queues(&progress, Some(row.range_id)).await.unwrap(), 1);
    for transaction in [first, second, third] {
        transaction.commit().await.unwrap();
    }
    assert_eq!(select(ctx, &row.queue).await, Some(progress));
    assert_eq!(ctx.fixture.count(ctx.kind().tasks_table()).await, 2);
}
