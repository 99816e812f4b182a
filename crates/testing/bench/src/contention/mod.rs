//! Retry policies under contention: many writers on few keys and on many, with the latencies of a
//! cluster.
//!
//! A transaction locks a row, increments it and commits: BEGIN, two statements and COMMIT, so four
//! round trips and a commit. Three limits bound the goodput:
//!
//! - *one commit per key per commit latency*;
//! - *one transaction per writer* in the time of a transaction without conflicts;
//! - the *optimistic limit*: the next winner of a key takes its snapshot, at BEGIN, after the
//!   commit of the last winner. Until its own commit takes effect, three round trips and a commit
//!   pass, in which the key has one commit. On hot keys this limit is the lowest.
//!
//! The policies are compared on two databases. On the memory adapter in virtual time only the
//! latencies pass, so rounds differ by their seeds alone: this compares the policies. On the
//! emulator, the processors of the machine are shared, and an attempt that is avoided leaves
//! processor time to another: this is the goodput for a user of a small machine.
//!
//! On many keys conflicts are rare and the policies do the same. Their ratios are the control, and
//! should be near 1.

mod policy;
mod writer;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dsql_emulator::Latency;
use serde::{Deserialize, Serialize};
use temporal_dsql::{Runner, Store, memory::MemoryStore};
use tokio::task::JoinSet;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::{Cluster, LATENCY},
    context::{Context, runtime},
    load::{Window, histogram, results},
    rounds,
    rows::row,
    stats::Spread,
    table::{Goal, Table, nanos, number, ratio},
};
use policy::Policy;
use writer::Writer;

struct Plan {
    writers: u32,
    /// Few, which are hot, and many.
    keys: [u32; 2],
    rounds: usize,
    /// On hot keys. Longer than the store's deadline, so that the store can give up.
    hot: Window,
    many: Window,
    /// In virtual time.
    model: Window,
}

const FULL: Plan = Plan {
    writers: 64,
    keys: [8, 8_000],
    rounds: 4,
    hot: Window::timed(Duration::from_secs(2), Duration::from_secs(12)),
    many: Window::timed(Duration::from_millis(500), Duration::from_millis(2_500)),
    model: Window::timed(Duration::from_secs(5), Duration::from_secs(60)),
};

const SMOKE: Plan = Plan {
    writers: 8,
    keys: [2, 100],
    rounds: 1,
    hot: Window::SMOKE,
    many: Window::SMOKE,
    model: Window::SMOKE,
};

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Contention {
    writers: u32,
    round_trip_ms: f64,
    commit_ms: f64,
    cells: Vec<Cell>,
}

/// The database of the writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Backend {
    /// The emulator, in real time.
    Emulator,
    /// The memory adapter, in virtual time.
    Model,
}

impl Backend {
    const ALL: [Self; 2] = [Self::Model, Self::Emulator];

    const fn name(self) -> &'static str {
        match self {
            Self::Emulator => "on the emulator",
            Self::Model => "on the memory adapter in virtual time",
        }
    }
}

/// One policy on one number of keys of one database, with a sample for each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    on: Backend,
    keys: u32,
    policy: Policy,
    /// Commits per second.
    goodput: Vec<f64>,
    attempts_per_success: Vec<f64>,
    given_up_per_success: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Commits of the slowest writer, relative to the mean.
    fairness: Vec<f64>,
}

impl Benchmark for Contention {
    const NAME: &'static str = "contention";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let mut cells: Vec<Cell> = Backend::ALL
            .into_iter()
            .flat_map(|on| plan.keys.map(|keys| (on, keys)))
            .flat_map(|(on, keys)| Policy::ALL.map(move |way| Cell::new(on, keys, way)))
            .collect();
        let (model, emulator): (Vec<_>, Vec<_>) =
            cells.iter_mut().partition(|cell| cell.on == Backend::Model);
        measure_model(model, &plan)?;
        context.progress("in virtual time: done");
        measure_emulator(emulator, &plan, context)?;
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        Ok(Self {
            writers: plan.writers,
            round_trip_ms: millis(LATENCY.round_trip),
            commit_ms: millis(LATENCY.commit),
            cells,
        })
    }

    fn tables(&self) -> Vec<Table> {
        let [hot, many] = self.keys();
        vec![
            self.table("contention-model-hot", Backend::Model, hot),
            self.table("contention-model-many", Backend::Model, many),
            self.table("contention-emulator-hot", Backend::Emulator, hot),
            self.table("contention-emulator-many", Backend::Emulator, many),
        ]
    }

    fn goals(&self) -> Vec<Goal> {
        let [hot, many] = self.keys();
        let to_peers =
            |on: Backend, keys| Policy::PEERS.map(|peer| (peer.name(), self.to(on, keys, peer)));
        let goal = |on: Backend, what: &str| {
            let mut goal = Goal::at_least(what, GOAL, to_peers(on, hot));
            goal.measured.push_str(&self.optimistic_limit_to_peers(hot));
            goal
        };
        let control = format!("Control: on {many} keys on the emulator, to that of the others");
        vec![
            goal(
                Backend::Model,
                "Goodput of full jitter on hot keys in virtual time, to the others'",
            ),
            goal(
                Backend::Emulator,
                "Goodput of the store on hot keys on the emulator, to the others'",
            ),
            // The policies do the same here.
            Goal::at_least(&control, 0.95, to_peers(Backend::Emulator, many)),
        ]
    }
}

/// The goal of the store's goodput on hot keys, relative to each peer.
const GOAL: f64 = 1.5;

impl Contention {
    fn keys(&self) -> [u32; 2] {
        let (first, last) = (self.cells.first(), self.cells.last());
        let (first, last) = first.zip(last).expect("two numbers of keys were measured");
        [first.keys, last.keys]
    }

    fn cell(&self, on: Backend, keys: u32, policy: Policy) -> &Cell {
        let mut cells = self.cells.iter();
        let found = cells.find(|cell| (cell.on, cell.keys, cell.policy) == (on, keys, policy));
        found.expect("every policy was measured on every number of keys")
    }

    /// The store's goodput, relative to that of `policy`.
    fn to(&self, on: Backend, keys: u32, policy: Policy) -> Spread {
        let (own, peer) = (self.cell(on, keys, Policy::FullJitter), self.cell(on, keys, policy));
        Spread::of_ratio(&own.goodput, &peer.goodput)
    }

    /// The optimistic limit, relative to the peers in virtual time.
    fn optimistic_limit_to_peers(&self, keys: u32) -> String {
        let to_peers = |limit: f64| {
            let ratios = Policy::PEERS.map(|peer| {
                let peer = &self.cell(Backend::Model, keys, peer).goodput;
                format!("{:.2}", Spread::of_ratio(&vec![limit; peer.len()], peer).median)
            });
            ratios.join(" and ")
        };
        format!(
            " (of their goodput in virtual time, the optimistic limit is {})",
            to_peers(self.optimistic_limit(keys))
        )
    }

    /// Commits per second at one commit per key per commit latency, or of all writers without
    /// conflicts.
    fn limit(&self, keys: u32) -> f64 {
        let by_key = f64::from(keys) / (self.commit_ms / 1e3);
        by_key.min(f64::from(self.writers) / (self.transaction_ms() / 1e3))
    }

    /// The same, if each winner of a key begins after the commit of the last one.
    fn optimistic_limit(&self, keys: u32) -> f64 {
        let from_snapshot_ms = 3.0 * self.round_trip_ms + self.commit_ms;
        self.limit(keys).min(f64::from(keys) / (from_snapshot_ms / 1e3))
    }

    /// The time of BEGIN, two statements and COMMIT.
    fn transaction_ms(&self) -> f64 {
        4.0 * self.round_trip_ms + self.commit_ms
    }

    fn to_limit(&self, cell: &Cell, limit: f64) -> Spread {
        Spread::of_ratio(&cell.goodput, &vec![limit; cell.goodput.len()])
    }

    fn table(&self, name: &'static str, on: Backend, keys: u32) -> Table {
        let own = match on {
            Backend::Emulator => "store's goodput to it",
            Backend::Model => "full jitter's goodput to it",
        };
        let header = [
            "on conflicts",
            "goodput to the limit",
            "to the optimistic limit",
            own,
            "attempts per success",
            "errors per success",
            "p50",
            "p99",
            "slowest writer to the mean",
        ];
        let (limit, optimistic) = (self.limit(keys), self.optimistic_limit(keys));
        let cells = Policy::ALL.into_iter().map(|policy| self.cell(on, keys, policy));
        let rows = cells.clone().map(|cell| {
            let median = |samples: &[f64]| Spread::of(samples).median;
            vec![
                cell.policy.name().to_owned(),
                ratio(self.to_limit(cell, limit)),
                ratio(self.to_limit(cell, optimistic)),
                ratio(self.to(on, keys, cell.policy)),
                number(median(&cell.attempts_per_success)),
                number(median(&cell.given_up_per_success)),
                nanos(median(&cell.p50_ms) * 1e6),
                nanos(median(&cell.p99_ms) * 1e6),
                number(median(&cell.fairness)),
            ]
        });
        let lines = vec![("optimistic limit".to_owned(), optimistic / limit)];
        let bars = cells.clone().map(|cell| self.to_limit(cell, limit)).collect();
        let goals = cells.clone().map(|cell| {
            (keys == self.keys()[0] && cell.policy == Policy::FullJitter).then(|| {
                let peers =
                    Policy::PEERS.map(|peer| self.to_limit(self.cell(on, keys, peer), limit));
                GOAL * peers.map(|peer| peer.median).into_iter().fold(0.0, f64::max)
            })
        });
        Table {
            name,
            title: format!("{} writers on {keys} keys, {}", self.writers, on.name()),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis:
                    "goodput, to one commit per key per commit latency; goal: 1.5 × the better peer"
                        .into(),
                groups: cells.clone().map(|cell| cell.policy.name().to_owned()).collect(),
                series: vec![Series::new("goodput", bars).with_goals(goals.collect())],
                lines,
            },
        }
    }
}

impl Cell {
    const fn new(on: Backend, keys: u32, policy: Policy) -> Self {
        Self {
            on,
            keys,
            policy,
            goodput: Vec::new(),
            attempts_per_success: Vec::new(),
            given_up_per_success: Vec::new(),
            p50_ms: Vec::new(),
            p99_ms: Vec::new(),
            fairness: Vec::new(),
        }
    }

    /// Measures one round, and returns the number of increments committed in it, including the
    /// warm-up.
    async fn measure_round<S: Store + 'static>(
        &mut self,
        store: &Arc<S>,
        writers: u32,
        window: Window,
        round: usize,
    ) -> Result<u64> {
        let span = window.begin();
        let mut running = JoinSet::new();
        let latency = match self.on {
            Backend::Emulator => Latency::default(),
            Backend::Model => LATENCY,
        };
        for writer in 0..writers {
            let random = fastrand::Rng::with_seed((round as u64) << 32 | u64::from(writer));
            let (store, keys) = (Arc::clone(store), self.keys.into());
            let writer = Writer { store, policy: self.policy, latency, keys, random };
            running.spawn(writer.write(span));
        }
        let each = results(running).await?;
        let seconds = span.seconds();
        let total =
            |count: fn(&writer::WriterResults) -> u64| each.iter().map(count).sum::<u64>() as f64;
        let successes = total(|done| done.successes);
        ensure!(successes > 0.0, "nothing was committed in {:?}", window.measured);
        let mut latencies = histogram();
        for done in &each {
            latencies.add(&done.latencies)?;
        }
        let millis = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
        let slowest = each.iter().map(|done| done.successes).min().unwrap_or_default();
        self.goodput.push(successes / seconds);
        self.attempts_per_success.push(total(|done| done.attempts) / successes);
        self.given_up_per_success.push(total(|done| done.given_up) / successes);
        self.p50_ms.push(millis(0.5));
        self.p99_ms.push(millis(0.99));
        self.fairness.push(slowest as f64 / (successes / f64::from(writers)));
        Ok(each.iter().map(|done| done.all).sum())
    }
}

fn measure_emulator(mut cells: Vec<&mut Cell>, plan: &Plan, context: &Context) -> Result<()> {
    let server = context.server()?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let cluster = Cluster::create(server, |builder| builder).await?;
        let store = Arc::new(cluster.open(&cluster.config(plan.writers)).await?);
        fill(&*store, plan).await?;
        cluster.set_latency(LATENCY);
        // Opens the connections.
        let mut first = Cell::new(Backend::Emulator, most(plan), Policy::Fixed);
        let mut committed = first.measure_round(&store, plan.writers, plan.many, 0).await?;
        for round in 1..=plan.rounds {
            for (keys, window) in plan.keys.into_iter().zip([plan.hot, plan.many]) {
                let cells = cells.iter_mut().filter(|cell| cell.keys == keys);
                for cell in rounds::order(cells, round) {
                    committed += cell.measure_round(&store, plan.writers, window, round).await?;
                }
            }
            context.progress(&format!("on the emulator: round {round} of {}", plan.rounds));
        }
        cluster.set_latency(Latency::default());
        check(&*store, plan, committed).await?;
        store.close();
        Ok(())
    })
}

fn measure_model(mut cells: Vec<&mut Cell>, plan: &Plan) -> Result<()> {
    // Time stops while a task can run, and then advances to the next timer.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    for round in 1..=plan.rounds {
        for cell in &mut cells {
            let runner = Runner::builder().seed(round as u64).build();
            let store = Arc::new(MemoryStore::builder().runner(runner).build());
            runtime.block_on(async {
                fill(&*store, plan).await?;
                let committed = cell.measure_round(&store, plan.writers, plan.model, round).await?;
                check(&*store, plan, committed).await
            })?;
        }
    }
    Ok(())
}

/// Inserts the rows, whose counters are 0.
async fn fill(store: &impl Store, plan: &Plan) -> Result<()> {
    for key in 0..most(plan) {
        store.session().insert_into_current_executions(&row(key.into())).await?;
    }
    Ok(())
}

/// Verifies that the rows contain every increment once.
async fn check(store: &impl Store, plan: &Plan, committed: u64) -> Result<()> {
    let mut counted = 0;
    for key in 0..most(plan) {
        let filter = row(key.into()).filter();
        let read = store.session().select_from_current_executions(&filter).await?;
        counted += u64::try_from(read.context("a row is missing")?.last_write_version)?;
    }
    ensure!(counted == committed, "{committed} increments were committed, the rows show {counted}");
    Ok(())
}

fn most(plan: &Plan) -> u32 {
    plan.keys.into_iter().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(on: Backend, keys: u32, policy: Policy, goodput: f64) -> Cell {
        Cell {
            goodput: vec![goodput],
            attempts_per_success: vec![1.0],
            given_up_per_success: vec![0.0],
            p50_ms: vec![36.0],
            p99_ms: vec![40.0],
            fairness: vec![1.0],
            ..Cell::new(on, keys, policy)
        }
    }

    #[test]
    fn the_store_is_compared_with_both_peers_and_the_limits_are_named() {
        let goodput = |keys, policy| match (keys, policy) {
            (8_000, _) => 1_600.0,
            (_, Policy::FullJitter) => 200.0,
            (_, Policy::Fixed) => 125.0,
            _ => 100.0,
        };
        let cells = Backend::ALL.into_iter().flat_map(|on| [(on, 8), (on, 8_000)]);
        let cells = cells.flat_map(|(on, keys)| {
            Policy::ALL.map(move |policy| cell(on, keys, policy, goodput(keys, policy)))
        });
        let cells = cells.collect();
        let found = Contention { writers: 64, round_trip_ms: 4.0, commit_ms: 20.0, cells };
        let [model, store, control] = found.goals().try_into().ok().unwrap();
        assert_eq!([model.met, store.met, control.met], [true, true, true]);
        let expected = "fixed 20 ms, no jitter 1.60, AWS's connector 2.00 (of their goodput in \
                        virtual time, the optimistic limit is 2.00 and 2.50)";
        assert_eq!(store.measured, expected);
        let charts: Vec<_> = found.tables().into_iter().map(|table| table.chart).collect();
        let goals = charts.iter().map(|chart| chart.svg("").unwrap().contains("\ngoal\n"));
        assert_eq!(goals.collect::<Vec<_>>(), [true, false, true, false], "on hot keys");
    }

    #[test]
    fn few_keys_limit_by_their_commits_and_many_by_the_writers() {
        let found =
            Contention { writers: 64, round_trip_ms: 4.0, commit_ms: 20.0, cells: Vec::new() };
        let limits = |keys| [found.limit(keys), found.optimistic_limit(keys)].map(f64::round);
        // 8 keys in 20 ms each; in 32 ms each.
        assert_eq!(limits(8), [400.0, 250.0]);
        // 64 writers in 36 ms each.
        assert_eq!(limits(8_000), [1_778.0; 2]);
    }
}
