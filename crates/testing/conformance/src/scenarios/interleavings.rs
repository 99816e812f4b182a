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

mod check;
#[cfg(test)]
mod check_tests;
mod clients;
mod notes;

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, join_all, select};
use temporal_dsql_ports::RetryPolicy;
use tokio::sync::Notify;

use crate::{
    TestContext,
    context::owned_shard::SharedStore,
    interceptors::{DelayedCommits, delaying_commits, intercept_begin},
    scenario::scenario_table,
};
use check::Tally;
use clients::{Client, Service};

scenario_table! { "interleavings":
    many_clients_without_faults_keep_every_promise;
    many_clients_with_conflicts_lost_commits_and_restarts_keep_every_promise;
}

/// What a round is like.
#[derive(Clone, Copy)]
struct Plan {
    /// How many lives the service has.
    lives: u32,
    /// How many acts all clients together do, unless the service dies before.
    acts: u32,
    /// Whether commits fail and the service dies.
    has_faults: bool,
}

const CLIENTS: usize = 6;

async fn many_clients_without_faults_keep_every_promise(ctx: &TestContext) {
    let tally = play(ctx, Plan { lives: 1, acts: 160, has_faults: false }).await;
    assert_proves_something(&tally);
    assert_eq!(tally.unknown, 0, "{tally:?}");
}

async fn many_clients_with_conflicts_lost_commits_and_restarts_keep_every_promise(
    ctx: &TestContext,
) {
    let mut tally = Tally::default();
    for _ in 0..4 {
        tally += play(ctx, Plan { lives: 4, acts: 50, has_faults: true }).await;
    }
    assert_proves_something(&tally);
    assert!(tally.unknown >= 10, "{tally:?}");
    let has_late_arrivals = ctx.harness.capabilities().optimistic_locks;
    assert!(!has_late_arrivals || tally.arrived >= 2, "{tally:?}");
}

/// Asserts that every kind of act was done, and that acts have met.
fn assert_proves_something(tally: &Tally) {
    let Tally { created, reused, updated, added, deleted, taken_over, asked, begun, .. } = *tally;
    assert!(tally.done() >= 60, "{tally:?}");
    assert!(created >= 2 && reused >= 3 && updated >= 20 && added >= 2, "{tally:?}");
    assert!(deleted >= 1 && taken_over >= 3, "{tally:?}");
    assert!(begun > asked, "nobody had to begin again: {tally:?}");
}

/// Plays a history and checks it; tells what has happened in it.
async fn play(ctx: &TestContext, plan: Plan) -> Tally {
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
    for life in 1..=plan.lives {
        late.push(live(&ctx, &service, &store, plan, life).await);
        if life < plan.lives {
            store = ctx.fixture.reopen().await;
        }
    }
    // The last owner comes after everything that may still be under way. A fault that has not
    // happened yet may meet it, and what a dead service has left under way.
    let checker = Client::new(&service, &store, 0);
    let mut claims = 1;
    while !checker.take_over_and_look().await {
        claims += 1;
        assert!(claims <= 20, "nobody else is there, and the shard cannot be claimed");
    }
    for held in late {
        while let Some(result) = held.commit_next().await {
            // The connection of an act of a life before may be gone.
            let error = result.expect_err("the shard has another owner");
            assert!(error.is_transient(), "{error:?}");
        }
    }
    let found = check::look(&service, &store).await;
    let notes = service.notes();
    check::check(&notes, &found)
}

/// One life of the service: until all clients are done, or until it dies. What is still held back
/// then is left.
async fn live(
    ctx: &TestContext,
    service: &Service<'_>,
    store: &SharedStore,
    plan: Plan,
    life: u32,
) -> DelayedCommits {
    let gap = service.gap();
    let interleaved = intercept_begin(
        store,
        Box::new(move |_| {
            let steps = gap.steps();
            Box::pin(async move {
                for _ in 0..steps {
                    tokio::task::yield_now().await;
                }
            })
        }),
    );
    // Where locks wait, whoever waited for an act that is held back would keep it from arriving.
    let has_late_arrivals = plan.has_faults && ctx.harness.capabilities().optimistic_locks;
    let gap = service.gap();
    let (interleaved, held) =
        delaying_commits(&interleaved, move |held| has_late_arrivals && gap.holds(held));
    let death = Notify::new();
    let dies_after = if plan.has_faults && life < plan.lives {
        ctx.random(|random| random.u32(plan.acts / 4..plan.acts))
    } else {
        u32::MAX
    };
    let clients = (0..CLIENTS).map(|number| {
        let client = Client::new(service, &interleaved, number);
        let (death, held) = (&death, &held);
        async move {
            while service.acts() < plan.acts {
                if plan.has_faults {
                    client.maybe_fail();
                    client.maybe_arrive(held).await;
                }
                client.act().await;
                if service.acts() >= dies_after {
                    death.notify_one();
                }
            }
        }
    });
    let death = std::pin::pin!(death.notified());
    let clients = std::pin::pin!(join_all(clients));
    if let Either::Right(_) = select(clients, death).await {
        // Whatever was under way is dropped where it was.
        service.forget_range_ids();
    }
    service.next_life();
    held.clone()
}
