//! MatchingTaskStore: task queues with a lease, and the tasks that their owners add. Temporal's
//! `task_queue.go`, `task_queue_task.go` and `task_queue_fair_task.go`, each for both kinds.

use std::sync::Arc;

use temporal_dsql_domain::{TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueueType, TaskQueuesRow};
use temporal_dsql_ports::{
    ConditionFailed, CreateTasks, StoreError, TaskQueueLease,
    limits::{self, LimitKind},
};
use temporal_dsql_stores::{MatchingTaskStore, PageKey};

use crate::{
    context::{
        TestContext,
        matching::lost,
        owned_shard::{SharedStore, assert_refused},
    },
    scenario::scenario_table,
};

scenario_table! { "matching_task_store":
    a_created_task_queue_is_read per kind
        = "task_queue.go/TestCreate_Normal", "task_queue.go/TestCreate_Sticky";
    creating_a_task_queue_that_exists_is_refused_with_its_range_id per kind
        = "task_queue.go/TestCreate_Normal_Dup", "task_queue.go/TestCreate_Sticky_Dup";
    a_task_queue_is_taken_over_and_its_progress_saved per kind
        = "task_queue.go/TestUpdate_Normal", "task_queue.go/TestUpdate_Sticky";
    an_update_of_a_task_queue_from_another_range_id_is_refused per kind
        = "task_queue.go/TestUpdate_Normal_Conflict", "task_queue.go/TestUpdate_Sticky_Conflict";
    a_task_queue_is_deleted_by_its_owner per kind = "task_queue.go/TestDelete";
    a_task_queue_is_not_deleted_by_another_owner per kind = "task_queue.go/TestDelete_Conflict";
    every_task_queue_is_listed_once per kind;
    listing_continues_while_task_queues_are_deleted per kind = "temporal-persistence.md#case-9";
    tasks_under_another_range_id_are_not_created per kind
        = "task_queue_task.go/TestCreateGet_Conflict";
    a_created_task_is_read per kind = "task_queue_task.go/TestCreateGet_One";
    created_tasks_are_read_in_pages_of_one per kind = "task_queue_task.go/TestCreateGet_Multiple";
    created_tasks_are_completed per kind = "task_queue_task.go/TestCreateDelete_Multiple";
    created_fair_tasks_are_read_in_order = "task_queue_fair_task.go/TestCreateGet_Order";
    fair_tasks_below_a_level_are_completed = "task_queue_fair_task.go/TestCreateDelete_Range";
    completing_without_a_limit_is_refused_and_deletes_nothing per kind
        = "matching_task.go/TestDeleteSingle_Fail", "matching_task.go/TestInsertDeleteSingle_Fail";
    tasks_of_subqueues_are_created_under_the_lease_of_the_queue per kind;
    creating_no_tasks_checks_the_lease per kind;
    creating_a_task_that_exists_creates_none per kind;
    tasks_that_are_too_large_are_refused_and_none_is_created per kind
        = "temporal-persistence.md#case-8";
    ten_thousand_tasks_are_completed_in_parts per kind = "temporal-persistence.md#case-7";
    paging_continues_while_tasks_are_completed per kind = "temporal-persistence.md#case-9";
}

async fn a_created_task_queue_is_read(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    assert_eq!(queue.stored().await.as_ref(), Some(&queue.row));
    let absent = ctx.task_queue_key();
    assert_eq!(queue.store.get_task_queue(&absent).await.unwrap(), None);
}

async fn creating_a_task_queue_that_exists_is_refused_with_its_range_id(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let TaskQueuesRow { queue: key, range_id, .. } = queue.row;
    let exists = ConditionFailed::TaskQueueExists { queue: key, range_id };
    for again in [queue.row.clone(), ctx.taken_over(&queue.row)] {
        assert_refused(queue.store.create_task_queue(&again).await, &exists);
    }
    assert_eq!(queue.stored().await, Some(queue.row));
}

async fn a_task_queue_is_taken_over_and_its_progress_saved(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let next = ctx.taken_over(&queue.row);
    queue.store.update_task_queue(&next, queue.row.range_id).await.unwrap();
    assert_eq!(queue.stored().await.as_ref(), Some(&next));
    let progress = ctx.changed_task_queue(&next);
    queue.store.update_task_queue(&progress, next.range_id).await.unwrap();
    assert_eq!(queue.stored().await, Some(progress));
}

async fn an_update_of_a_task_queue_from_another_range_id_is_refused(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let observed = Some(queue.row.range_id);
    for wrong in [queue.row.range_id + 1, queue.row.range_id - 1, 0] {
        let lease = TaskQueueLease { range_id: wrong, ..queue.lease };
        let progress = TaskQueuesRow { range_id: wrong, ..ctx.changed_task_queue(&queue.row) };
        for update in [ctx.taken_over(&progress), progress] {
            let refused = queue.store.update_task_queue(&update, wrong).await;
            assert_refused(refused, &lost(lease, observed));
            assert_eq!(queue.stored().await.as_ref(), Some(&queue.row));
        }
    }
    let absent = ctx.task_queue();
    let lease = TaskQueueLease { queue: absent.queue, range_id: absent.range_id };
    for update in [ctx.taken_over(&absent), absent.clone()] {
        let refused = queue.store.update_task_queue(&update, absent.range_id).await;
        assert_refused(refused, &lost(lease, None));
    }
}

async fn a_task_queue_is_deleted_by_its_owner(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    queue.store.delete_task_queue(queue.lease).await.unwrap();
    assert_eq!(queue.stored().await, None);
    assert_refused(queue.store.delete_task_queue(queue.lease).await, &lost(queue.lease, None));
    let tasks = queue.tasks(1);
    let refused = queue.store.create_tasks(queue.lease, &tasks).await;
    assert_refused(refused, &lost(queue.lease, None));
}

async fn a_task_queue_is_not_deleted_by_another_owner(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    for wrong in [queue.row.range_id + 1, 0] {
        let lease = TaskQueueLease { range_id: wrong, ..queue.lease };
        let refused = queue.store.delete_task_queue(lease).await;
        assert_refused(refused, &lost(lease, Some(queue.row.range_id)));
    }
    assert_eq!(queue.stored().await, Some(queue.row));
}

/// A page of the task queues, with its key as bytes and back.
async fn page(
    ctx: &TestContext,
    after: Option<TaskQueueKey>,
    page_size: u32,
) -> (Vec<TaskQueuesRow>, Option<TaskQueueKey>) {
    let store = MatchingTaskStore::new(Arc::clone(&ctx.store));
    let page = store.list_task_queues(ctx.kind(), after.as_ref(), page_size).await.unwrap();
    let next = page.next.map(|next| TaskQueueKey::from_bytes(&next.to_bytes()).unwrap());
    (page.items, next)
}

/// Seen with the Go fork: 25 queues in pages of 5 are 6 queues without end, or 10
/// (temporal-persistence.md#fault-12).
async fn every_task_queue_is_listed_once(ctx: &TestContext) {
    let store = MatchingTaskStore::new(Arc::clone(&ctx.store));
    let mut rows: Vec<_> = (0..25).map(|_| ctx.task_queue()).collect();
    for row in &rows {
        store.create_task_queue(row).await.unwrap();
    }
    rows.sort_by_key(|row| row.queue);
    for page_size in [1, 5, 7, 25, 100] {
        let (mut listed, mut next) = page(ctx, None, page_size).await;
        while next.is_some() {
            let (more, after) = page(ctx, next, page_size).await;
            listed.extend(more);
            assert!(listed.len() <= rows.len(), "pages of {page_size}: queues are listed twice");
            next = after;
        }
        assert_eq!(listed, rows, "pages of {page_size}");
    }
    let error = store.list_task_queues(ctx.kind(), None, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "limit", .. }), "{error:?}");
}

async fn listing_continues_while_task_queues_are_deleted(ctx: &TestContext) {
    let store = MatchingTaskStore::new(Arc::clone(&ctx.store));
    let mut rows: Vec<_> = (0..20).map(|_| ctx.task_queue()).collect();
    for row in &rows {
        store.create_task_queue(row).await.unwrap();
    }
    rows.sort_by_key(|row| row.queue);
    let (mut listed, mut next) = page(ctx, None, 4).await;
    while next.is_some() {
        // The last queue of the page, where the next page begins, is deleted.
        let TaskQueuesRow { queue, range_id, .. } = listed[listed.len() - 1];
        store.delete_task_queue(TaskQueueLease { queue, range_id }).await.unwrap();
        let (more, after) = page(ctx, next, 4).await;
        listed.extend(more);
        assert!(listed.len() <= rows.len(), "queues are listed twice");
        next = after;
    }
    assert_eq!(listed, rows);
}

async fn tasks_under_another_range_id_are_not_created(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(3);
    for wrong in [queue.row.range_id + 1, queue.row.range_id - 1, 0] {
        let lease = TaskQueueLease { range_id: wrong, ..queue.lease };
        let refused = queue.store.create_tasks(lease, &tasks).await;
        assert_refused(refused, &lost(lease, Some(queue.row.range_id)));
        assert_eq!(queue.stored_tasks(100).await, []);
    }
}

async fn a_created_task_is_read(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(1);
    queue.store.create_tasks(queue.lease, &tasks).await.unwrap();
    let only = tasks[0].level..tasks[0].level.next().unwrap();
    let page = queue.store.get_tasks(&queue.row.queue, only, 100).await.unwrap();
    assert_eq!((page.items, page.next), (tasks, None));
}

async fn created_tasks_are_read_in_pages_of_one(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(64);
    for batch in tasks.chunks(16) {
        queue.store.create_tasks(queue.lease, batch).await.unwrap();
    }
    for page_size in [1, 7, 64, 100] {
        assert_eq!(queue.stored_tasks(page_size).await, tasks, "pages of {page_size}");
    }
    // A page that ends with its range is the last one.
    let range = tasks[0].level..tasks[2].level;
    let page = queue.store.get_tasks(&queue.row.queue, range, 2).await.unwrap();
    assert_eq!(page.items, tasks[..2]);
    let next = page.next.map(|next| next < tasks[2].level);
    assert_ne!(next, Some(false), "the next page is outside of the range");
}

async fn created_tasks_are_completed(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(96);
    for batch in tasks.chunks(32) {
        queue.store.create_tasks(queue.lease, batch).await.unwrap();
    }
    let complete = async |end, limit| {
        queue.store.complete_tasks_less_than(&queue.row.queue, end, limit).await.unwrap()
    };
    assert_eq!(complete(tasks[32].level, 1_000).await, 32);
    assert_eq!(queue.stored_tasks(100).await, tasks[32..]);
    assert_eq!(complete(ctx.kind().end_level(), 10).await, 10);
    assert_eq!(queue.stored_tasks(100).await, tasks[42..]);
    assert_eq!(complete(ctx.kind().end_level(), 1_000).await, 54);
    assert_eq!(queue.stored_tasks(100).await, []);
}

/// A fair task queue that has an owner.
async fn fair_queue(ctx: &TestContext) -> (MatchingTaskStore<SharedStore>, TaskQueueLease) {
    let store = MatchingTaskStore::new(Arc::clone(&ctx.store));
    let queue = TaskQueueKey::of_upstream_id(TaskQueueKind::Fair, b"queue");
    let row = TaskQueuesRow { queue, range_id: 7, data: ctx.data() };
    store.create_task_queue(&row).await.unwrap();
    (store, TaskQueueLease { queue, range_id: 7 })
}

async fn created_fair_tasks_are_read_in_order(ctx: &TestContext) {
    let (store, lease) = fair_queue(ctx).await;
    let levels = [(2, 10), (1, 20), (1, 5), (2, 15)];
    let tasks = levels.map(|(pass, task_id)| ctx.task_at(lease.queue, TaskLevel { pass, task_id }));
    store.create_tasks(lease, &tasks).await.unwrap();
    let all = TaskLevel { pass: 1, task_id: 0 }..TaskQueueKind::Fair.end_level();
    let page = store.get_tasks(&lease.queue, all, 10).await.unwrap();
    let [a, b, c, d] = tasks;
    assert_eq!((page.items, page.next), (vec![c, b, a, d], None));
}

async fn fair_tasks_below_a_level_are_completed(ctx: &TestContext) {
    let (store, lease) = fair_queue(ctx).await;
    let at = |pass| ctx.task_at(lease.queue, TaskLevel { pass, task_id: pass });
    let tasks = [1, 2, 3, 4, 5].map(at);
    store.create_tasks(lease, &tasks).await.unwrap();
    let end = TaskLevel { pass: 3, task_id: 0 };
    assert_eq!(store.complete_tasks_less_than(&lease.queue, end, 10).await.unwrap(), 2);
    let all = TaskLevel { pass: 1, task_id: 0 }..TaskQueueKind::Fair.end_level();
    let page = store.get_tasks(&lease.queue, all, 10).await.unwrap();
    assert_eq!(page.items, tasks[2..]);
}

async fn completing_without_a_limit_is_refused_and_deletes_nothing(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(1);
    queue.store.create_tasks(queue.lease, &tasks).await.unwrap();
    let end = ctx.kind().end_level();
    let refused = queue.store.complete_tasks_less_than(&queue.row.queue, end, 0).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "limit", .. }), "{error:?}");
    let range = ctx.kind().first_level()..end;
    let error = queue.store.get_tasks(&queue.row.queue, range, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "limit", .. }), "{error:?}");
    assert_eq!(queue.stored_tasks(100).await, tasks);
}

async fn tasks_of_subqueues_are_created_under_the_lease_of_the_queue(ctx: &TestContext) {
    let namespace_id = ctx.namespace_id();
    let subqueue = |subqueue| {
        TaskQueueKey::new(ctx.kind(), namespace_id, "queue", TaskQueueType::Workflow, subqueue)
    };
    let store = MatchingTaskStore::new(Arc::clone(&ctx.store));
    let row = TaskQueuesRow { queue: subqueue(0), ..ctx.task_queue() };
    store.create_task_queue(&row).await.unwrap();
    let lease = TaskQueueLease { queue: row.queue, range_id: row.range_id };
    let level = ctx.kind().first_level();
    let tasks: Vec<_> = (0..3).map(|number| ctx.task_at(subqueue(number), level)).collect();
    store.create_tasks(lease, &tasks).await.unwrap();
    for task in &tasks {
        let all = level..ctx.kind().end_level();
        let page = store.get_tasks(&task.queue, all, 10).await.unwrap();
        assert_eq!(page.items, std::slice::from_ref(task));
    }
    // A subqueue has no lease of its own.
    let of_subqueue = TaskQueueLease { queue: subqueue(1), range_id: row.range_id };
    let more = ctx.matching_tasks(subqueue(1), 1);
    assert_refused(store.create_tasks(of_subqueue, &more).await, &lost(of_subqueue, None));
}

async fn creating_no_tasks_checks_the_lease(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    queue.store.create_tasks(queue.lease, &[]).await.unwrap();
    let next = queue.depose_owner().await;
    let refused = queue.store.create_tasks(queue.lease, &[]).await;
    assert_refused(refused, &lost(queue.lease, Some(next.range_id)));
    // The statement that creates tasks checks it, too.
    let request = CreateTasks { lease: queue.lease, tasks: &[] };
    let refused = ctx.store.create_tasks(&request).await;
    assert_refused(refused, &lost(queue.lease, Some(next.range_id)));
    let request = CreateTasks { lease: next, tasks: &[] };
    ctx.store.create_tasks(&request).await.unwrap();
}

async fn creating_a_task_that_exists_creates_none(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(4);
    queue.store.create_tasks(queue.lease, &tasks[1..3]).await.unwrap();
    let error = queue.store.create_tasks(queue.lease, &tasks).await.unwrap_err();
    let StoreError::AlreadyExists { table, .. } = error else { panic!("{error:?}") };
    assert_eq!(table, ctx.kind().tasks_table());
    assert_eq!(queue.stored_tasks(100).await, tasks[1..3]);
    // A deposed owner is refused for its lease, not for the task.
    let next = queue.depose_owner().await;
    let refused = queue.store.create_tasks(queue.lease, &tasks[1..2]).await;
    assert_refused(refused, &lost(queue.lease, Some(next.range_id)));
}

async fn tasks_that_are_too_large_are_refused_and_none_is_created(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let mut tasks = queue.tasks(3);
    tasks[1].data.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    let error = queue.store.create_tasks(queue.lease, &tasks).await.unwrap_err();
    let is_named = matches!(error, StoreError::Limit { kind: LimitKind::ValueBytes, .. });
    assert!(is_named, "{error:?}");
    let mut tasks = queue.tasks(11);
    for task in &mut tasks {
        task.data.data = vec![7; limits::MAX_VALUE_BYTES];
    }
    let error = queue.store.create_tasks(queue.lease, &tasks).await.unwrap_err();
    let is_named = matches!(error, StoreError::Limit { kind: LimitKind::TransactionBytes, .. });
    assert!(is_named, "{error:?}");
    let mut wrong = queue.tasks(2);
    wrong[1].level.pass = 1 - ctx.kind().first_level().pass;
    let error = queue.store.create_tasks(queue.lease, &wrong).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "pass", .. }), "{error:?}");
    assert_eq!(ctx.fixture.count(ctx.kind().tasks_table()).await, 0);
    queue.store.create_tasks(queue.lease, &tasks[..1]).await.unwrap();
}

/// One statement of the Go fork deletes them all, which DSQL refuses for ever
/// (temporal-persistence.md#fault-19).
async fn ten_thousand_tasks_are_completed_in_parts(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(10_000);
    for batch in tasks.chunks(2_500) {
        queue.store.create_tasks(queue.lease, batch).await.unwrap();
    }
    let key = queue.row.queue;
    let complete =
        async |end, limit| queue.store.complete_tasks_less_than(&key, end, limit).await.unwrap();
    // More than one transaction may delete, up to a limit and up to an end.
    assert_eq!(complete(ctx.kind().end_level(), 3_500).await, 3_500);
    assert_eq!(complete(tasks[9_990].level, 100_000).await, 6_490);
    assert_eq!(queue.stored_tasks(100).await, tasks[9_990..]);
    assert_eq!(complete(ctx.kind().end_level(), 100_000).await, 10);
    assert_eq!(ctx.fixture.count(ctx.kind().tasks_table()).await, 0);
}

async fn paging_continues_while_tasks_are_completed(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let (key, kind) = (queue.row.queue, ctx.kind());
    let tasks = queue.tasks(24);
    queue.store.create_tasks(queue.lease, &tasks).await.unwrap();
    let (mut seen, mut from) = (Vec::new(), Some(kind.first_level()));
    while let Some(level) = from {
        let range = level..kind.end_level();
        let page = queue.store.get_tasks(&key, range, 4).await.unwrap();
        if let Some(last) = page.items.last() {
            let end = last.level.next().unwrap();
            queue.store.complete_tasks_less_than(&key, end, 100).await.unwrap();
        }
        seen.extend(page.items);
        from = page.next;
    }
    assert_eq!(seen, tasks);
    assert_eq!(queue.stored_tasks(100).await, []);
}
