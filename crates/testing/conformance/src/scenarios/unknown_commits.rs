//! Commits whose answer is lost: reported as applied where the rows prove it, as unknown otherwise,
//! and never retried blindly (temporal-persistence.md#retries). A commit with an unknown outcome
//! may still arrive until another owner takes the shard over.

use std::sync::Arc;

use temporal_dsql_domain::ExecutionState::{Created, Running};
use temporal_dsql_ports::{BoxFuture, ConditionFailed, Outcome, RetryPolicy, StoreError};
use temporal_dsql_stores::{
    CreateExecution, CreateMode, ExecutionStore, Expected, UpdateExecution, UpdateMode,
};
use tokio::sync::Notify;

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, assert_unknown},
        guarded_requests::GuardedRequest,
        owned_shard::{OwnedShard, SharedStore, assert_refused, current_is},
    },
    harness::CommitFailure::{Conflict, LostAnswer, LostCommit},
    interceptors::{after_unknown_outcome, delaying_commits},
    scenario::scenario_table,
};

scenario_table! { "unknown_commits":
    an_applied_request_is_reported_as_applied = "temporal-persistence.md#case-4";
    a_request_that_was_not_applied_stays_unknown_and_is_not_retried
        = "temporal-persistence.md#case-4";
    a_commit_that_arrives_after_its_client_gave_up_is_applied_once;
    a_commit_that_arrives_after_a_takeover_is_refused if optimistic_locks;
    a_request_not_applied_before_a_takeover_never_is;
    a_request_applied_before_a_takeover_is_reported_as_applied;
    a_run_written_since_leaves_the_outcome_unknown;
    a_run_of_another_attempt_leaves_the_outcome_of_a_creation_unknown;
    an_unchanged_version_leaves_the_outcome_unknown;
    a_retried_creation_that_lost_its_answer_and_the_race_receives_the_winning_row per archetype;
    a_deletion_whose_answer_is_lost_is_retried;
    an_append_whose_answer_is_lost_is_retried;
    an_operation_that_loses_every_answer_stays_unknown;
    conflicts_at_commit_are_retried_and_the_request_is_applied_once = "temporal-persistence.md#case-3";
    conflicts_until_the_deadline_write_no_row_of_any_request = "temporal-persistence.md#case-3";
    the_store_is_usable_after_a_restart_during_a_request;
}

/// One request of each kind, each in a shard of its own.
async fn requests(ctx: &TestContext) -> Vec<(OwnedShard<'_>, GuardedRequest)> {
    let mut requests = Vec::new();
    for kind in 0..5 {
        let shard = ctx.owned_shard().await;
        let request = shard.guarded_requests().await[kind].clone();
        requests.push((shard, request));
    }
    requests
}

async fn an_applied_request_is_reported_as_applied(ctx: &TestContext) {
    for (shard, request) in requests(ctx).await {
        let before = shard.task_count().await;
        ctx.fixture.fail_next_commits(&[LostAnswer]);
        request.execute(Arc::clone(&ctx.store)).await.unwrap();
        assert_eq!(ctx.fixture.faults_left(), 0);
        shard.assert_applied(&request, before).await;
    }
}

/// The commit may still arrive; the client may retry the request with the same conditions.
async fn a_request_that_was_not_applied_stays_unknown_and_is_not_retried(ctx: &TestContext) {
    for (shard, request) in requests(ctx).await {
        let before = (ctx.row_count().await, shard.task_count().await);
        ctx.fixture.fail_next_commits(&[LostCommit]);
        assert_unknown(request.execute(Arc::clone(&ctx.store)).await);
        assert_eq!(ctx.fixture.faults_left(), 0);
        assert_eq!(ctx.row_count().await, before.0, "{request:?}");
        request.execute(Arc::clone(&ctx.store)).await.unwrap();
        shard.assert_applied(&request, before.1).await;
    }
}

/// Why an absent write is neither reported as not applied nor retried.
async fn a_commit_that_arrives_after_its_client_gave_up_is_applied_once(ctx: &TestContext) {
    for (shard, request) in requests(ctx).await {
        let before = shard.task_count().await;
        let (store, delayed) = delaying_commits(&ctx.store, |_| true);
        assert_unknown(request.execute(store).await);
        assert_eq!(shard.task_count().await, before);
        delayed.commit_next().await.expect("the request").unwrap();
        shard.assert_applied(&request, before).await;
        // The conditions of a retry do not hold any more.
        let rows = ctx.row_count().await;
        let again = request.execute(Arc::clone(&ctx.store)).await.unwrap_err();
        assert!(
            matches!(again, StoreError::Condition(_) | StoreError::AlreadyExists { .. }),
            "{again:?}"
        );
        assert_eq!(ctx.row_count().await, rows);
    }
}

async fn a_commit_that_arrives_after_a_takeover_is_refused(ctx: &TestContext) {
    for (shard, request) in requests(ctx).await {
        let before = ctx.row_count().await;
        let (store, delayed) = delaying_commits(&ctx.store, |_| true);
        assert_unknown(request.execute(store).await);
        shard.depose_owner().await;
        assert_conflict(delayed.commit_next().await.expect("the request"));
        assert_eq!(ctx.row_count().await, before, "{request:?}");
    }
}

/// A store on which another owner claims the shard after an answer was lost.
fn taken_over_after_unknown_outcome(shard: &OwnedShard<'_>) -> SharedStore {
    let (shards, next, range_id) = (shard.shards.clone(), shard.takeover(), shard.owner.range_id);
    after_unknown_outcome(&shard.ctx.store, move || {
        let (shards, next) = (shards.clone(), next.clone());
        Box::pin(async move { shards.update(&next, range_id).await.unwrap() })
    })
}

async fn a_request_not_applied_before_a_takeover_never_is(ctx: &TestContext) {
    for (shard, request) in requests(ctx).await {
        let before = ctx.row_count().await;
        ctx.fixture.fail_next_commits(&[LostCommit]);
        assert_unknown(request.execute(taken_over_after_unknown_outcome(&shard)).await);
        let refused = request.execute(Arc::clone(&ctx.store)).await;
        let observed = Some(shard.takeover().range_id);
        let (shard_id, expected) = (shard.owner.shard_id, shard.owner.range_id);
        let lost = ConditionFailed::ShardOwnershipLost { shard_id, expected, observed };
        assert_refused(refused, &lost);
        assert_eq!(ctx.row_count().await, before, "{request:?}");
    }
}

async fn a_request_applied_before_a_takeover_is_reported_as_applied(ctx: &TestContext) {
    for (shard, request) in requests(ctx).await {
        let before = shard.task_count().await;
        ctx.fixture.fail_next_commits(&[LostAnswer]);
        request.execute(taken_over_after_unknown_outcome(&shard)).await.unwrap();
        shard.assert_applied(&request, before).await;
    }
}

async fn a_run_written_since_leaves_the_outcome_unknown(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Created).await;
    let first = shard.mutation(&run, Running);
    let mut after = run.clone();
    after.execution = first.execution.clone();
    let second = shard.mutation(&after, Running);
    let (executions, owner) = (shard.executions.clone(), shard.owner);
    let mode = UpdateMode::UpdateCurrent;
    let update = |mutation| UpdateExecution { owner, mode, mutation, new: None };
    let next = update(second.clone());
    let store = after_unknown_outcome(&ctx.store, move || {
        let (executions, next) = (executions.clone(), next.clone());
        Box::pin(async move { executions.update(&next).await.unwrap() })
    });
    let before = shard.task_count().await;
    ctx.fixture.fail_next_commits(&[LostAnswer]);
    assert_unknown(ExecutionStore::new(store).update(&update(first.clone())).await);
    let stored = shard.stored(&run.execution).await.unwrap();
    assert_eq!(stored.execution, second.execution, "the update must not be applied twice");
    let tasks = (first.tasks.len() + second.tasks.len()) as u64;
    assert_eq!(shard.task_count().await, before + tasks);
}

/// The run that the other attempt has created was updated since.
async fn a_run_of_another_attempt_leaves_the_outcome_of_a_creation_unknown(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let lost = shard.new_run(Created);
    // The same run id and version, with other values.
    let mut run = shard.snapshot(&lost.current);
    run.execution.db_record_version = lost.execution.db_record_version;
    let mutation = shard.mutation(&run, Running);
    let owner = shard.owner;
    let create = |snapshot| CreateExecution { owner, mode: CreateMode::BrandNew, snapshot };
    let mode = UpdateMode::UpdateCurrent;
    let update = UpdateExecution { owner, mode, mutation: mutation.clone(), new: None };
    let (executions, other) = (shard.executions.clone(), create(run.clone()));
    let store = after_unknown_outcome(&ctx.store, move || {
        let (executions, other, update) = (executions.clone(), other.clone(), update.clone());
        Box::pin(async move {
            executions.create(&other).await.unwrap();
            executions.update(&update).await.unwrap();
        })
    });
    ctx.fixture.fail_next_commits(&[LostCommit]);
    assert_unknown(ExecutionStore::new(store).create(&create(lost)).await);
    shard.assert_mutated(&run, &mutation).await;
}

async fn an_unchanged_version_leaves_the_outcome_unknown(ctx: &TestContext) {
    for fault in [LostCommit, LostAnswer] {
        let shard = ctx.owned_shard().await;
        let run = shard.create_run(Created).await;
        // As writers without record versions do, and without a new event.
        let mut mutation = shard.mutation(&run, Running);
        mutation.events.clear();
        mutation.execution.next_event_id = run.execution.next_event_id;
        mutation.expected = Expected::NextEventId(run.execution.next_event_id);
        ctx.fixture.fail_next_commits(&[fault]);
        assert_unknown(shard.update(UpdateMode::UpdateCurrent, &mutation, None).await);
        let stored = shard.stored(&run.execution).await.unwrap();
        let expected = if fault == LostAnswer { mutation.execution } else { run.execution };
        assert_eq!(stored.execution, expected);
    }
}

async fn a_retried_creation_that_lost_its_answer_and_the_race_receives_the_winning_row(
    ctx: &TestContext,
) {
    let shard = ctx.owned_shard().await;
    let id = shard.current(Created);
    let request = || CreateExecution {
        owner: shard.owner,
        mode: CreateMode::BrandNew,
        snapshot: shard.snapshot(&shard.next_run(&id, Created)),
    };
    let (winner, loser) = (request(), request());
    let (executions, other) = (shard.executions.clone(), winner.clone());
    let store = after_unknown_outcome(&ctx.store, move || {
        let (executions, other) = (executions.clone(), other.clone());
        Box::pin(async move { executions.create(&other).await.unwrap() })
    });
    ctx.fixture.fail_next_commits(&[LostCommit]);
    assert_unknown(ExecutionStore::new(store).create(&loser).await);
    let refused = shard.executions.create(&loser).await;
    assert_refused(refused, &current_is(Some(&winner.snapshot.current)));
    shard.assert_missing(&loser.snapshot.execution).await;
    assert_eq!(shard.history(&loser.snapshot.events[0]).await, []);
    assert_eq!(shard.current_of(&id).await, Some(winner.snapshot.current));
}

async fn a_deletion_whose_answer_is_lost_is_retried(ctx: &TestContext) {
    for fault in [LostCommit, LostAnswer] {
        let shard = ctx.owned_shard().await;
        let run = shard.create_run(Running).await;
        ctx.fixture.fail_next_commits(&[fault]);
        shard.executions.delete(&run.execution.filter()).await.unwrap();
        assert_eq!(ctx.fixture.faults_left(), 0);
        shard.assert_missing(&run.execution).await;
        ctx.fixture.fail_next_commits(&[fault]);
        let (id, run_id) = (run.current.filter(), run.current.run_id);
        shard.executions.delete_current(&id, run_id).await.unwrap();
        assert_eq!(ctx.fixture.faults_left(), 0);
        assert_eq!(shard.current_of(&run.current).await, None);
    }
}

async fn an_append_whose_answer_is_lost_is_retried(ctx: &TestContext) {
    for fault in [LostCommit, LostAnswer] {
        let shard = ctx.owned_shard().await;
        // First with the row of a new branch, then without one.
        let first = shard.events(None);
        let second = shard.events(Some(&first));
        for batch in [&first, &second] {
            ctx.fixture.fail_next_commits(&[fault]);
            shard.histories.append(batch).await.unwrap();
            assert_eq!(ctx.fixture.faults_left(), 0);
        }
        let (branch, shard_id) = (&first.branch, first.shard_id);
        assert_eq!(shard.history(&first).await, [first.node.clone(), second.node]);
        let tree = shard.histories.tree(shard_id, branch.tree_id).await.unwrap();
        assert_eq!(tree.iter().map(|info| &info.branch).collect::<Vec<_>>(), [branch]);
    }
}

/// An idempotent operation is sent at most three times.
async fn an_operation_that_loses_every_answer_stays_unknown(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    let batch = shard.events(run.events.last());
    let before = ctx.row_count().await;
    ctx.fixture.fail_next_commits(&[LostCommit; 3]);
    assert_unknown(shard.executions.delete(&run.execution.filter()).await);
    assert_eq!(ctx.fixture.faults_left(), 0);
    ctx.fixture.fail_next_commits(&[LostCommit; 3]);
    assert_unknown(shard.histories.append(&batch).await);
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(ctx.row_count().await, before);
    shard.assert_stored(&run).await;
}

async fn conflicts_at_commit_are_retried_and_the_request_is_applied_once(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    for request in shard.guarded_requests().await {
        let before = shard.task_count().await;
        ctx.fixture.fail_next_commits(&[Conflict; 4]);
        request.execute(Arc::clone(&ctx.store)).await.unwrap();
        assert_eq!(ctx.fixture.faults_left(), 0);
        shard.assert_applied(&request, before).await;
    }
}

async fn conflicts_until_the_deadline_write_no_row_of_any_request(ctx: &TestContext) {
    use std::time::Duration;

    let policy = RetryPolicy::new(
        Duration::from_millis(1),
        Duration::from_millis(2),
        Duration::from_millis(30),
    );
    let limited = ctx.with_policy(policy).await;
    let shard = limited.owned_shard().await;
    let requests = shard.guarded_requests().await;
    let before = limited.row_count().await;
    limited.fixture.fail_next_commits(&[Conflict; 10_000]);
    for request in requests {
        let error = request.execute(Arc::clone(&limited.store)).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    assert_eq!(limited.row_count().await, before);
}

async fn the_store_is_usable_after_a_restart_during_a_request(ctx: &TestContext) {
    for fault in [LostCommit, LostAnswer] {
        let shard = ctx.owned_shard().await;
        let [create, ..] = shard.guarded_requests().await;
        let before = shard.task_count().await;
        // The service crashes before it can look for the lost write.
        let crashing = Arc::new(Notify::new());
        let lost = Arc::clone(&crashing);
        let store = after_unknown_outcome(&ctx.store, move || -> BoxFuture<'static, ()> {
            lost.notify_one();
            Box::pin(std::future::pending())
        });
        ctx.fixture.fail_next_commits(&[fault]);
        tokio::select! {
            result = create.execute(store) => panic!("the request ended before the crash: {result:?}"),
            () = crashing.notified() => {}
        }
        // The next owner claims the shard, and finds the whole request or nothing of it.
        let next = shard.depose_owner().await;
        let GuardedRequest::Create(mut request) = create.clone() else {
            unreachable!("a creation")
        };
        request.owner = next;
        let again = shard.executions.create(&request).await;
        match fault {
            LostAnswer => assert_refused(again, &current_is(Some(&request.snapshot.current))),
            _ => again.unwrap(),
        }
        shard.assert_applied(&create, before).await;
    }
}
