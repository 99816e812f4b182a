//! MatchingTaskStore: task queues with a lease, and the tasks that their owners add. Temporal's
//! `task_queue.go`, `task_queue_task.go` and `task_queue_fair_task.go`, each for both kinds.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use temporal_dsql_domain::{
    TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueueType, TaskQueuesRow, TasksRow,
};
use temporal_dsql_ports::{
    ConditionFailed, DeadlinePassed, Outcome, RetryPolicy, StoreError, TaskQueueLease,
    limits::{self, LimitKind},
};
use temporal_dsql_stores::{MatchingTaskStore, PageKey};

use crate::{
    context::{
        TestContext,
        matching::OwnedTaskQueue,
        owned_shard::{SharedStore, assert_refused},
    },
    harness::CommitFailure::{Conflict, LostAnswer, LostCommit},
    interceptors::{counting_begins, intercept_nth_begin},
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
    an_owner_deposed_while_it_creates_tasks_creates_none per kind
        = "temporal-persistence.md#case-1";
    tasks_created_before_a_takeover_are_kept per kind = "temporal-persistence.md#case-1";
    of_eight_claims_of_a_task_queue_one_succeeds_and_only_its_owner_creates_tasks per kind;
    of_eight_creators_of_a_task_queue_one_succeeds per kind;
    a_change_of_a_task_queue_whose_answer_is_lost_is_reported_as_done per kind;
    a_change_of_a_task_queue_that_was_not_applied_stays_unknown per kind;
    a_change_of_a_task_queue_that_lost_its_answer_and_the_race_reports_the_owner per kind;
    created_tasks_whose_answer_is_lost_are_reported_as_created per kind;
    tasks_that_were_not_created_stay_unknown_and_are_created_once per kind;
    conflicts_at_commit_are_retried_and_tasks_are_created_once per kind
        = "temporal-persistence.md#case-3";
    conflicts_until_the_deadline_create_no_task per kind = "temporal-persistence.md#case-3";
    no_change_of_matching_is_sent_after_the_deadline per kind;
}

/// The failure of the owner `lease`.
fn lost(lease: TaskQueueLease, observed: Option<i64>) -> ConditionFailed {
    let TaskQueueLease { queue, range_id: expected } = lease;
    ConditionFailed::TaskQueueLeaseLost { queue, expected, observed }
}

#[track_caller]
fn assert_unknown(result: Result<(), StoreError>) {
    let error = result.expect_err("the answer was lost");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
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
    let request = temporal_dsql_ports::CreateTasks { lease: queue.lease, tasks: &[] };
    let refused = ctx.store.create_tasks(&request).await;
    assert_refused(refused, &lost(queue.lease, Some(next.range_id)));
    let request = temporal_dsql_ports::CreateTasks { lease: next, tasks: &[] };
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

/// A store on which another owner takes the queue over after the first transaction has begun and read
/// it: the snapshot is older than the takeover.
fn taken_over_after_the_first_read(queue: &OwnedTaskQueue<'_>) -> SharedStore {
    let (store, row) = (queue.store.clone(), queue.row.clone());
    let next = queue.ctx.taken_over(&row);
    intercept_nth_begin(&queue.ctx.store, 1, move |transaction| {
        let (store, row, next) = (store.clone(), row.clone(), next.clone());
        Box::pin(async move {
            let seen = transaction.select_from_task_queues(&row.queue).await.unwrap();
            assert_eq!(seen.as_ref(), Some(&row));
            store.update_task_queue(&next, row.range_id).await.unwrap();
            let seen = transaction.select_from_task_queues(&row.queue).await.unwrap();
            assert_eq!(seen, Some(row), "the snapshot is older than the takeover");
        })
    })
}

async fn an_owner_deposed_while_it_creates_tasks_creates_none(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let (store, begun) = counting_begins(&taken_over_after_the_first_read(&queue));
    let refused = queue.create_with(store, &queue.tasks(3)).await;
    assert_refused(refused, &lost(queue.lease, Some(queue.row.range_id + 1)));
    assert_eq!(begun.load(Ordering::SeqCst), 2, "the conflict is retried and finds the owner");
    assert_eq!(queue.stored_tasks(100).await, []);
}

async fn tasks_created_before_a_takeover_are_kept(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(6);
    queue.store.create_tasks(queue.lease, &tasks[..3]).await.unwrap();
    let next = queue.depose_owner().await;
    let refused = queue.store.create_tasks(queue.lease, &tasks[3..]).await;
    assert_refused(refused, &lost(queue.lease, Some(next.range_id)));
    queue.store.create_tasks(next, &tasks[3..]).await.unwrap();
    assert_eq!(queue.stored_tasks(100).await, tasks);
    // The deposed owner cannot save its progress, take the queue back, or delete it.
    let progress = ctx.changed_task_queue(&queue.row);
    for stale in [ctx.taken_over(&progress), progress] {
        let refused = queue.store.update_task_queue(&stale, queue.row.range_id).await;
        assert_refused(refused, &lost(queue.lease, Some(next.range_id)));
    }
    let refused = queue.store.delete_task_queue(queue.lease).await;
    assert_refused(refused, &lost(queue.lease, Some(next.range_id)));
}

async fn of_eight_claims_of_a_task_queue_one_succeeds_and_only_its_owner_creates_tasks(
    ctx: &TestContext,
) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(8);
    let claims = tasks.iter().map(|task| {
        let (store, task) = (queue.store.clone(), task.clone());
        // Claims of different owners differ.
        let (next, previous) = (ctx.taken_over(&queue.row), queue.row.range_id);
        tokio::spawn(async move {
            store.update_task_queue(&next, previous).await?;
            let lease = TaskQueueLease { queue: next.queue, range_id: next.range_id };
            store.create_tasks(lease, std::slice::from_ref(&task)).await?;
            Ok::<_, StoreError>(task)
        })
    });
    let mut winners = Vec::new();
    for claim in join_all(claims).await {
        match claim.unwrap() {
            Ok(task) => winners.push(task),
            Err(StoreError::Condition(failed)) => {
                let observed = Some(queue.row.range_id + 1);
                assert_eq!(failed, lost(queue.lease, observed));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(queue.stored_tasks(100).await, winners);
}

async fn of_eight_creators_of_a_task_queue_one_succeeds(ctx: &TestContext) {
    let first = ctx.task_queue();
    let store = MatchingTaskStore::new(Arc::clone(&ctx.store));
    let creators = (0..8).map(|_| {
        let (store, row) = (store.clone(), ctx.changed_task_queue(&first));
        tokio::spawn(async move { store.create_task_queue(&row).await.map(|()| row) })
    });
    let mut created = Vec::new();
    for creator in join_all(creators).await {
        match creator.unwrap() {
            Ok(row) => created.push(row),
            Err(StoreError::Condition(failed)) => {
                let TaskQueuesRow { queue, range_id, .. } = first;
                assert_eq!(failed, ConditionFailed::TaskQueueExists { queue, range_id });
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(created.len(), 1, "{created:?}");
    let stored = store.get_task_queue(&first.queue).await.unwrap();
    assert_eq!(stored.as_ref(), created.first());
}

async fn a_change_of_a_task_queue_whose_answer_is_lost_is_reported_as_done(ctx: &TestContext) {
    let (store, row) = (MatchingTaskStore::new(Arc::clone(&ctx.store)), ctx.task_queue());
    let lose_answer = || ctx.fixture.fail_next_commits(&[LostAnswer]);
    lose_answer();
    store.create_task_queue(&row).await.unwrap();
    let next = ctx.taken_over(&row);
    lose_answer();
    store.update_task_queue(&next, row.range_id).await.unwrap();
    let progress = ctx.changed_task_queue(&next);
    lose_answer();
    store.update_task_queue(&progress, next.range_id).await.unwrap();
    assert_eq!(store.get_task_queue(&row.queue).await.unwrap().as_ref(), Some(&progress));
    lose_answer();
    let lease = TaskQueueLease { queue: next.queue, range_id: next.range_id };
    store.delete_task_queue(lease).await.unwrap();
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(store.get_task_queue(&row.queue).await.unwrap(), None);
}

async fn a_change_of_a_task_queue_that_was_not_applied_stays_unknown(ctx: &TestContext) {
    let (store, row) = (MatchingTaskStore::new(Arc::clone(&ctx.store)), ctx.task_queue());
    let stored = async || store.get_task_queue(&row.queue).await.unwrap();
    let lose_commit = || ctx.fixture.fail_next_commits(&[LostCommit]);
    lose_commit();
    assert_unknown(store.create_task_queue(&row).await);
    assert_eq!(stored().await, None);
    store.create_task_queue(&row).await.unwrap();
    let next = ctx.taken_over(&row);
    for update in [ctx.changed_task_queue(&row), next.clone()] {
        lose_commit();
        assert_unknown(store.update_task_queue(&update, row.range_id).await);
        assert_eq!(stored().await.as_ref(), Some(&row));
    }
    lose_commit();
    let lease = TaskQueueLease { queue: row.queue, range_id: row.range_id };
    assert_unknown(store.delete_task_queue(lease).await);
    assert_eq!(stored().await.as_ref(), Some(&row));
    assert_eq!(ctx.fixture.faults_left(), 0);
    store.update_task_queue(&next, row.range_id).await.unwrap();
}

/// A store on which another owner takes the queue over between the lost answer and the read that
/// follows it. The row then shows who owns the queue, whichever fault it was.
async fn a_change_of_a_task_queue_that_lost_its_answer_and_the_race_reports_the_owner(
    ctx: &TestContext,
) {
    for fault in [LostCommit, LostAnswer] {
        let queue = ctx.owned_task_queue().await;
        let ours = ctx.taken_over(&queue.row);
        ctx.fixture.fail_next_commits(&[fault]);
        // The row port reports the unknown outcome without a read.
        let error = ctx.store.session().update_task_queues(&ours, None).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        let stored = queue.stored().await.unwrap();
        let theirs = TaskQueuesRow { range_id: ours.range_id + 7, ..ctx.changed_task_queue(&ours) };
        queue.store.update_task_queue(&theirs, stored.range_id).await.unwrap();
        // Our takeover, repeated by a caller who does not know, is refused.
        let refused = queue.store.update_task_queue(&ours, queue.row.range_id).await;
        assert_refused(refused, &lost(queue.lease, Some(theirs.range_id)));
        let deleted = queue.store.delete_task_queue(queue.lease).await;
        assert_refused(deleted, &lost(queue.lease, Some(theirs.range_id)));
        assert_eq!(queue.stored().await, Some(theirs));
    }
}

async fn created_tasks_whose_answer_is_lost_are_reported_as_created(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(3);
    ctx.fixture.fail_next_commits(&[LostAnswer]);
    queue.store.create_tasks(queue.lease, &tasks).await.unwrap();
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(queue.stored_tasks(100).await, tasks);
    // A task at the largest level is in no range, so reading cannot prove it.
    let level = TaskLevel { task_id: i64::MAX, ..ctx.kind().end_level() };
    let last = ctx.task_at(queue.row.queue, level);
    ctx.fixture.fail_next_commits(&[LostAnswer]);
    assert_unknown(queue.store.create_tasks(queue.lease, std::slice::from_ref(&last)).await);
    assert_eq!(ctx.fixture.count(ctx.kind().tasks_table()).await, 4);
}

async fn tasks_that_were_not_created_stay_unknown_and_are_created_once(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(3);
    ctx.fixture.fail_next_commits(&[LostCommit]);
    assert_unknown(queue.store.create_tasks(queue.lease, &tasks).await);
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(queue.stored_tasks(100).await, []);
    queue.store.create_tasks(queue.lease, &tasks).await.unwrap();
    assert_eq!(queue.stored_tasks(100).await, tasks);
}

async fn conflicts_at_commit_are_retried_and_tasks_are_created_once(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let tasks = queue.tasks(3);
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    queue.store.create_tasks(queue.lease, &tasks).await.unwrap();
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(queue.stored_tasks(100).await, tasks);
    let next = ctx.taken_over(&queue.row);
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    queue.store.update_task_queue(&next, queue.row.range_id).await.unwrap();
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(queue.stored().await, Some(next));
}

async fn conflicts_until_the_deadline_create_no_task(ctx: &TestContext) {
    let policy = RetryPolicy {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(2),
        deadline: Duration::from_millis(30),
    };
    let limited = ctx.with_policy(policy).await;
    let queue = limited.owned_task_queue().await;
    limited.fixture.fail_next_commits(&[Conflict; 10_000]);
    let error = queue.store.create_tasks(queue.lease, &queue.tasks(3)).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(limited.fixture.count(ctx.kind().tasks_table()).await, 0);
}

#[track_caller]
fn assert_passed<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let error = result.expect_err("the deadline has passed");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    let StoreError::Unavailable { source: Some(cause), .. } = &error else { panic!("{error:?}") };
    assert!(cause.get().is::<DeadlinePassed>(), "{error:?}");
}

async fn no_change_of_matching_is_sent_after_the_deadline(ctx: &TestContext) {
    let queue = ctx.owned_task_queue().await;
    let key = queue.row.queue;
    let tasks: Vec<TasksRow> = queue.tasks(2);
    let late = queue.store.within(Duration::ZERO);
    assert_passed(late.create_task_queue(&ctx.task_queue()).await);
    assert_passed(late.get_task_queue(&key).await);
    assert_passed(
        late.update_task_queue(&ctx.changed_task_queue(&queue.row), queue.row.range_id).await,
    );
    assert_passed(late.update_task_queue(&ctx.taken_over(&queue.row), queue.row.range_id).await);
    assert_passed(late.list_task_queues(ctx.kind(), None, 1).await);
    assert_passed(late.delete_task_queue(queue.lease).await);
    assert_passed(late.create_tasks(queue.lease, &tasks).await);
    let all = ctx.kind().first_level()..ctx.kind().end_level();
    assert_passed(late.get_tasks(&key, all.clone(), 1).await);
    assert_passed(late.complete_tasks_less_than(&key, all.end, 1).await);
    assert_eq!(queue.stored().await.as_ref(), Some(&queue.row));
    assert_eq!(ctx.fixture.count(ctx.kind().tasks_table()).await, 0);
    let soon = queue.store.within(Duration::from_secs(3_600));
    soon.create_tasks(queue.lease, &tasks).await.unwrap();
    assert_eq!(queue.stored_tasks(100).await, tasks);
}
