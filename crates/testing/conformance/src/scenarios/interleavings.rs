//! A history of many clients, checked afterwards.
//!
//! Creators, updaters, deleters and new owners of one shard interleave at random, some commits
//! lose conflicts or their answers, some acts arrive after their clients have given up, and now and
//! then the service dies in the middle of everything.
//! Every act adds a task with an id of its own, so that afterwards the queue tells which acts were
//! applied, also to runs that are gone; every task and every entry names the range id it was
//! written under.
//!
//! The clients are one task whose steps the scenario's random numbers interleave, so that on an
//! adapter without I/O the seed repeats a history step by step.

mod checker;
#[cfg(test)]
mod checker_tests;
mod history;
mod workload;

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, join_all, select};
use temporal_dsql_ports::RetryPolicy;
use tokio::sync::Notify;

use crate::{
    context::{TestContext, owned_shard::SharedStore},
    interceptors::{DelayedCommits, delaying_commits, intercept_begin},
    scenario::scenario_table,
};
use checker::Counts;
use workload::{Client, Service};

scenario_table! { "interleavings":
    concurrent_clients_without_faults_keep_every_invariant;
    concurrent_clients_with_conflicts_lost_commits_and_restarts_keep_every_invariant;
}

/// What a round is like.
#[derive(Clone, Copy)]
struct Plan {
    /// How many lives the service has.
    incarnations: u32,
    /// How many acts all clients together do, unless the service dies before.
    operations: u32,
    /// Whether commits fail and the service dies.
    has_faults: bool,
}

const CLIENTS: usize = 6;

async fn concurrent_clients_without_faults_keep_every_invariant(ctx: &TestContext) {
    let counts = run_plan(ctx, Plan { incarnations: 1, operations: 160, has_faults: false }).await;
    assert_coverage(&counts);
    assert_eq!(counts.unknown, 0, "{counts:?}");
}

async fn concurrent_clients_with_conflicts_lost_commits_and_restarts_keep_every_invariant(
    ctx: &TestContext,
) {
    let mut counts = Counts::default();
    for _ in 0..4 {
        counts += run_plan(ctx, Plan { incarnations: 4, operations: 50, has_faults: true }).await;
    }
    assert_coverage(&counts);
    assert!(counts.unknown >= 10, "{counts:?}");
    let has_late_commits = ctx.harness.capabilities().optimistic_locks;
    assert!(!has_late_commits || counts.late_commits >= 2, "{counts:?}");
}

/// Asserts that every kind of act was done, and that acts have met.
fn assert_coverage(counts: &Counts) {
    let Counts { created, reused, updated, added, deleted, taken_over, requested, begun, .. } =
        *counts;
    assert!(counts.acknowledged() >= 60, "{counts:?}");
    assert!(created >= 2 && reused >= 3 && updated >= 20 && added >= 2, "{counts:?}");
    assert!(deleted >= 1 && taken_over >= 3, "{counts:?}");
    assert!(begun > requested, "nobody had to begin again: {counts:?}");
}

/// Plays a history and checks it; tells what has happened in it.
async fn run_plan(ctx: &TestContext, plan: Plan) -> Counts {
    // The shortest waits, so that the random numbers decide as much as they can.
    let policy = RetryPolicy {
        base: Duration::ZERO,
        cap: Duration::ZERO,
        deadline: Duration::from_secs(60),
    };
    let ctx = ctx.with_policy(policy).await;
    let service = Service::new(&ctx).await;
    let mut store = Arc::clone(&ctx.store);
    let mut late = Vec::new();
    for incarnation in 1..=plan.incarnations {
        late.push(run_until_crash(&ctx, &service, &store, plan, incarnation).await);
        if incarnation < plan.incarnations {
            store = ctx.fixture.reopen().await;
        }
    }
    // The last owner comes after everything that may still be under way. A fault that has not
    // happened yet may meet it, and what a dead service has left under way.
    let checker = Client::new(&service, &store, 0);
    let mut claims = 1;
    while !checker.take_over_and_read_queue().await {
        claims += 1;
        assert!(claims <= 20, "nobody else is there, and the shard cannot be claimed");
    }
    for delayed in late {
        while let Some(result) = delayed.commit_next().await {
            // The connection of an act of a life before may be gone.
            let error = result.expect_err("the shard has another owner");
            assert!(error.is_transient(), "{error:?}");
        }
    }
    let found = checker::read_final_state(&service, &store).await;
    let history = service.history();
    checker::check_history(&history, &found)
}

/// One life of the service: until all clients are done, or until it dies. What is still held back
/// then is left.
async fn run_until_crash(
    ctx: &TestContext,
    service: &Service<'_>,
    store: &SharedStore,
    plan: Plan,
    incarnation: u32,
) -> DelayedCommits {
    let delays = service.delays();
    let interleaved = intercept_begin(
        store,
        Box::new(move |_| {
            let steps = delays.steps();
            Box::pin(async move {
                for _ in 0..steps {
                    tokio::task::yield_now().await;
                }
            })
        }),
    );
    // Where locks wait, whoever waited for an act that is held back would keep it from arriving.
    let has_late_commits = plan.has_faults && ctx.harness.capabilities().optimistic_locks;
    let delays = service.delays();
    let (interleaved, delayed) = delaying_commits(&interleaved, move |delayed| {
        has_late_commits && delays.delays_commit(delayed)
    });
    let crash = Notify::new();
    let crash_after = if plan.has_faults && incarnation < plan.incarnations {
        ctx.random(|random| random.u32(plan.operations / 4..plan.operations))
    } else {
        u32::MAX
    };
    let clients = (0..CLIENTS).map(|number| {
        let client = Client::new(service, &interleaved, number);
        let (crash, delayed) = (&crash, &delayed);
        async move {
            while service.finished() < plan.operations {
                if plan.has_faults {
                    client.maybe_fail();
                    client.maybe_commit_delayed(delayed).await;
                }
                client.step().await;
                if service.finished() >= crash_after {
                    crash.notify_one();
                }
            }
        }
    });
    let crash = std::pin::pin!(crash.notified());
    let clients = std::pin::pin!(join_all(clients));
    if let Either::Right(_) = select(clients, crash).await {
        // Whatever was under way is dropped where it was.
        service.forget_range_ids();
    }
    service.restart();
    delayed.clone()
}
