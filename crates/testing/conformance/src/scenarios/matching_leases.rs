//! The leases of task queues: a deposed owner creates no task, whichever commits first, and the row of the
//! queue resolves a lost answer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use temporal_dsql_domain::{TaskLevel, TaskQueuesRow, TasksRow};
use temporal_dsql_ports::{
    ConditionFailed, DeadlinePassed, Outcome, RetryPolicy, StoreError, TaskQueueLease,
};
use temporal_dsql_stores::MatchingTaskStore;

use crate::{
    context::{
        TestContext,
        matching::{OwnedTaskQueue, lost},
        owned_shard::{SharedStore, assert_refused},
    },
    harness::CommitFailure::{Conflict, LostAnswer, LostCommit},
    interceptors::{counting_begins, intercept_nth_begin},
    scenario::scenario_table,
};

scenario_table! { "matching_leases":
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

#[track_caller]
fn assert_unknown(result: Result<(), StoreError>) {
    let error = result.expect_err("the answer was lost");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
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
    let policy = RetryPolicy::new(
        Duration::from_millis(1),
        Duration::from_millis(2),
        Duration::from_millis(30),
    );
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
