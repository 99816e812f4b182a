//! A history of concurrent clients, recorded and then checked.
//!
//! Clients of one shard create, update and delete executions and take the shard over in random
//! order. Some commits lose conflicts or their answers, some commits arrive after their clients
//! have given up, and the service crashes now and then. Every operation adds a task with a unique
//! id, so that the queue shows afterwards which operations were applied, even to deleted runs;
//! every task and every map entry holds the range id under which it was written.
//!
//! The clients are one task whose steps are interleaved by the scenario's random numbers, so that
//! the seed reproduces a history exactly on an adapter without I/O.

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

/// The parameters of a round.
#[derive(Clone, Copy)]
struct Plan {
    /// How often the service is started.
    incarnations: u32,
    /// The number of operations of all clients together in each incarnation, unless the service
    /// crashes before.
    operations: u32,
    /// Whether commits fail and the service crashes.
    has_faults: bool,
}

const CLIENTS: usize = 6;

/// The most rounds of a scenario. The order of the clients decides what a round contains: on an
/// adapter with I/O, one round in some hundred contains no deletion or no late commit.
const MAX_ROUNDS: u32 = 12;

async fn concurrent_clients_without_faults_keep_every_invariant(ctx: &TestContext) {
    let plan = Plan { incarnations: 1, operations: 160, has_faults: false };
    let counts = run_rounds(ctx, plan, 1, has_coverage).await;
    assert_eq!(counts.unknown, 0, "{counts:?}");
}

async fn concurrent_clients_with_conflicts_lost_commits_and_restarts_keep_every_invariant(
    ctx: &TestContext,
) {
    let plan = Plan { incarnations: 4, operations: 50, has_faults: true };
    let has_late_commits = ctx.harness.capabilities().optimistic_locks;
    let is_complete = |counts: &Counts| {
        has_coverage(counts)
            && counts.unknown >= 10
            && (!has_late_commits || counts.late_commits >= 2)
    };
    run_rounds(ctx, plan, 4, is_complete).await;
}

/// Whether every kind of operation was applied, and operations conflicted.
const fn has_coverage(counts: &Counts) -> bool {
    let Counts { created, reused, updated, added, deleted, taken_over, .. } = *counts;
    counts.acknowledged() >= 60
        && created >= 2
        && reused >= 3
        && updated >= 20
        && added >= 2
        && deleted >= 1
        && taken_over >= 3
        // A transaction was retried.
        && counts.begun > counts.requested
}

/// Runs at least `min_rounds` rounds, and more until their history is complete.
async fn run_rounds(
    ctx: &TestContext,
    plan: Plan,
    min_rounds: u32,
    is_complete: impl Fn(&Counts) -> bool,
) -> Counts {
    let mut counts = Counts::default();
    for round in 1..=MAX_ROUNDS {
        counts += run_plan(ctx, plan).await;
        if round >= min_rounds && is_complete(&counts) {
            return counts;
        }
    }
    panic!("{MAX_ROUNDS} rounds do not contain every kind of operation: {counts:?}");
}

/// Runs the clients, checks the history and returns its counts.
async fn run_plan(ctx: &TestContext, plan: Plan) -> Counts {
    // Without waits the random numbers decide the order.
    let policy = RetryPolicy::new(Duration::ZERO, Duration::ZERO, Duration::from_secs(60));
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
    // The last claim comes after everything that may still be pending. A pending fault may make it
    // fail, and so may a pending commit of a crashed service.
    let checker = Client::new(&service, &store, 0);
    let mut claims = 1;
    while !checker.take_over_and_read_queue().await {
        claims += 1;
        assert!(claims <= 20, "the shard cannot be claimed although no other client runs");
    }
    for delayed in late {
        while let Some(result) = delayed.commit_next().await {
            // The connection of a transaction of an earlier incarnation may be closed.
            let error = result.expect_err("the shard has another owner");
            assert!(error.is_transient(), "{error:?}");
        }
    }
    let found = checker::read_final_state(&service, &store).await;
    let history = service.history();
    checker::check_history(&history, &found)
}

/// Runs the service until all clients are done or it crashes. Returns the delayed commits.
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
    // On an engine that blocks, a client that waits for the lock of a delayed commit would keep it
    // from committing.
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
        // Pending operations are dropped.
        service.forget_range_ids();
    }
    service.restart();
    delayed.clone()
}
