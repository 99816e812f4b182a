//! Requests with a deadline of their caller.

use std::{
    error::Error,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use temporal_dsql_ports::{DeadlinePassed, Outcome, Store, StoreError, Within};

use crate::{
    context::{
        TestContext,
        histories::{stored, whole},
    },
    harness::CommitFailure,
    interceptors::{BeginHook, intercept_begin},
    scenario::scenario_table,
};

/// On a busy machine a transaction may not begin, or not be repeated, within the shorter ones.
const LIMITS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(8),
    Duration::from_secs(30),
];

scenario_table! { "deadlines":
    a_request_ended_before_its_commit_is_not_applied;
    no_store_sends_a_statement_after_the_deadline;
    conflicts_are_retried_until_the_deadline_and_no_longer;
    a_request_that_ends_before_its_deadline_is_applied;
}

#[track_caller]
fn assert_passed(error: &StoreError) {
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    let StoreError::Unavailable { source: Some(cause), .. } = error else {
        panic!("{error:?}");
    };
    assert!(cause.get().is::<DeadlinePassed>(), "{error:?}");
    assert!(error.source().is_some());
}

async fn a_request_ended_before_its_commit_is_not_applied(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = shard.guarded_requests().await;
    let (executions, tasks) = (shard.execution_count().await, shard.task_count().await);
    for request in requests {
        let has_begun = Arc::new(AtomicBool::new(false));
        for limit in LIMITS {
            // The transaction begins and makes no progress.
            let begins = Arc::clone(&has_begun);
            let hook: BeginHook = Box::new(move |_| {
                begins.store(true, Ordering::SeqCst);
                Box::pin(pending())
            });
            let hanging = intercept_begin(&ctx.store, hook);
            let start = Instant::now();
            let store: Arc<dyn Store> = Arc::new(Within::new(hanging, limit));
            assert_passed(&request.execute(store).await.unwrap_err());
            assert!(start.elapsed() >= limit, "{:?}", start.elapsed());
            assert_eq!(shard.execution_count().await, executions, "{request:?}");
            assert_eq!(shard.task_count().await, tasks, "{request:?}");
            if has_begun.load(Ordering::SeqCst) {
                break;
            }
        }
        assert!(has_begun.load(Ordering::SeqCst), "no transaction begins: {request:?}");
    }
}

async fn no_store_sends_a_statement_after_the_deadline(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, _) = stored(&shard, &[(1, 10, 0)]).await;
    let shard_id = shard.owner.shard_id;
    let run = ctx.run();
    let tasks = ctx.tasks_of_every_queue(1);
    let now = Duration::ZERO;
    let executions = shard.executions.within(now);
    assert_passed(&executions.get(&run).await.unwrap_err());
    assert_passed(&executions.delete(&run).await.unwrap_err());
    let histories = shard.histories.within(now);
    assert_passed(&histories.read(&whole(&shard, &branch, 1), None).await.unwrap_err());
    assert_passed(&histories.delete(shard_id, &branch).await.unwrap_err());
    let of_tasks = shard.tasks.within(now);
    assert_passed(&of_tasks.add(shard.owner, &tasks).await.unwrap_err());
    let (queue, _) = &tasks.immediate[0];
    let deleted = of_tasks.complete_immediate_range(shard_id, queue, 0..9).await;
    assert_passed(&deleted.unwrap_err());
    let shards = shard.shards.within(now);
    assert_passed(&shards.get(shard_id).await.unwrap_err());
    assert_passed(&shards.get_or_create(&ctx.shard()).await.unwrap_err());
    assert_passed(&shards.update(&shard.takeover(), shard.owner.range_id).await.unwrap_err());
    let store = Within::new(Arc::clone(&ctx.store), now);
    assert_passed(&store.schema_version("postgres").await.unwrap_err());
    // No statement was sent.
    assert_eq!(shard.shards.get(shard_id).await.unwrap(), Some(shard.shard.clone()));
    assert_eq!(shard.task_count().await, 0);
}

async fn conflicts_are_retried_until_the_deadline_and_no_longer(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let tasks = ctx.tasks_of_every_queue(1);
    ctx.fixture.fail_next_commits(&[CommitFailure::Conflict; 1_000]);
    for limit in LIMITS {
        let (start, left) = (Instant::now(), ctx.fixture.faults_left());
        let error = shard.tasks.within(limit).add(shard.owner, &tasks).await.unwrap_err();
        // The deadline of the policy is a minute.
        assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
        // The deadline passes between two attempts or during one.
        let is_ended =
            matches!(error, StoreError::Conflict { .. } | StoreError::Unavailable { .. });
        assert!(is_ended, "{error:?}");
        assert_eq!(shard.task_count().await, 0);
        // One commit may be the last one of the shorter limit.
        if left - ctx.fixture.faults_left() > 2 {
            return;
        }
    }
    panic!("the transaction is not retried");
}

async fn a_request_that_ends_before_its_deadline_is_applied(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let tasks = ctx.tasks_of_every_queue(1);
    let an_hour = Duration::from_secs(3_600);
    shard.tasks.within(an_hour).add(shard.owner, &tasks).await.unwrap();
    assert_eq!(shard.task_count().await, tasks.len() as u64);
}
