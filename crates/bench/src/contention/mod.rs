//! Many writers on few rows, and on many, with the latencies of a cluster.
//!
//! A transaction locks a row, counts it up and commits: BEGIN, two statements and COMMIT, so four
//! round trips and a commit. The limits are what no way to wait gets around:
//!
//! - *one commit per key per commit latency*;
//! - *one transaction per writer* in the time that it takes if nothing goes wrong;
//! - *one snapshot after the other*: on an optimistic database, the next winner of a key has to
//!   read it after the last one has committed. From the moment at which a row is read to the one
//!   at which it is committed there are two round trips and a commit, and a key takes one commit
//!   in that time. This is the tighter one on hot keys.
//!
//! The emulator and its PostgreSQL need processors, of which a small machine has few; what waiting
//! costs and brings there is mixed with what the emulator takes. So the same writers run twice: on
//! the emulator, and on the memory adapter in virtual time, where a computation takes no time and
//! nothing passes but the latencies. There a run is exact, and its rounds differ by their seeds.

mod policy;
mod writer;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use dsql_emulator::Latency;
use serde::{Deserialize, Serialize};
use temporal_dsql::{Runner, Store, memory::MemoryStore};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::{Cluster, LATENCY},
    context::{Context, runtime},
    load::{Window, histogram},
    point::rows::row,
    stats::Spread,
    table::{Goal, Table, nanos, number, ratio},
};
use policy::Policy;
use writer::Writer;

struct Plan {
    writers: u32,
    keys: [u32; 2],
    rounds: usize,
    window: Window,
}

const FULL: Plan = Plan {
    writers: 64,
    keys: [8, 8_000],
    rounds: 5,
    window: Window { warm_up: Duration::from_secs(2), measured: Duration::from_secs(8) },
};

const SMOKE: Plan = Plan {
    writers: 8,
    keys: [2, 100],
    rounds: 1,
    window: Window { warm_up: Duration::from_millis(100), measured: Duration::from_millis(400) },
};

/// In virtual time, which costs nothing.
const MODEL_WINDOW: Window =
    Window { warm_up: Duration::from_secs(5), measured: Duration::from_secs(60) };

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Contention {
    writers: u32,
    round_trip_ms: f64,
    commit_ms: f64,
    cells: Vec<Cell>,
}

/// What the writers write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum On {
    /// The emulator, in real time.
    Emulator,
    /// The memory adapter, in virtual time.
    Model,
}

/// One way to wait on one number of keys, a sample for each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    on: On,
    keys: u32,
    policy: Policy,
    /// Commits per second.
    goodput: Vec<f64>,
    attempts_per_success: Vec<f64>,
    given_up_per_success: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Commits of the slowest writer, to the mean of all.
    fairness: Vec<f64>,
}

impl Benchmark for Contention {
    const NAME: &'static str = "contention";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let mut cells: Vec<Cell> = [On::Model, On::Emulator]
            .into_iter()
            .flat_map(|on| plan.keys.map(|keys| (on, keys)))
            .flat_map(|(on, keys)| Policy::ALL.map(|policy| Cell::new(on, keys, policy)))
            .collect();
        let (model, emulator): (Vec<_>, Vec<_>) =
            cells.iter_mut().partition(|cell| cell.on == On::Model);
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
            self.table("contention-model-hot", On::Model, hot),
            self.table("contention-model-many", On::Model, many),
            self.table("contention-emulator-hot", On::Emulator, hot),
            self.table("contention-emulator-many", On::Emulator, many),
        ]
    }

    fn goals(&self) -> Vec<Goal> {
        let hot = self.keys()[0];
        let goal = |what, on| {
            let peers = [Policy::Fixed, Policy::Connector];
            let ratios = peers.map(|peer| (peer.name(), self.to(on, hot, peer)));
            Goal::at_least(what, 1.5, ratios)
        };
        vec![
            goal("Goodput on hot keys in virtual time, to that of the others", On::Model),
            goal("Goodput on hot keys on the emulator, to that of the others", On::Emulator),
        ]
    }
}

impl Contention {
    fn keys(&self) -> [u32; 2] {
        let (first, last) = (self.cells.first(), self.cells.last());
        let (first, last) = first.zip(last).expect("two numbers of keys were measured");
        [first.keys, last.keys]
    }

    fn cell(&self, on: On, keys: u32, policy: Policy) -> &Cell {
        let mut cells = self.cells.iter();
        let found = cells.find(|cell| (cell.on, cell.keys, cell.policy) == (on, keys, policy));
        found.expect("every policy was measured on every number of keys")
    }

    /// The store's goodput, to that of `policy`.
    fn to(&self, on: On, keys: u32, policy: Policy) -> Spread {
        let (store, peer) = (self.cell(on, keys, Policy::Store), self.cell(on, keys, policy));
        Spread::of_ratio(&store.goodput, &peer.goodput)
    }

    /// Commits per second that a commit per key per commit latency makes, or the writers could.
    fn limit(&self, keys: u32) -> f64 {
        let by_key = f64::from(keys) / (self.commit_ms / 1e3);
        let transaction_ms = 4.0 * self.round_trip_ms + self.commit_ms;
        by_key.min(f64::from(self.writers) / (transaction_ms / 1e3))
    }

    /// The same, if the next winner of a key reads it after the last one's commit.
    fn optimistic_limit(&self, keys: u32) -> f64 {
        let from_read_ms = 2.0 * self.round_trip_ms + self.commit_ms;
        self.limit(keys).min(f64::from(keys) / (from_read_ms / 1e3))
    }

    fn to_limit(&self, cell: &Cell, limit: f64) -> Spread {
        Spread::of_ratio(&cell.goodput, &vec![limit; cell.goodput.len()])
    }

    fn table(&self, name: &'static str, on: On, keys: u32) -> Table {
        let header = [
            "on a lost conflict",
            "goodput to the limit",
            "to the optimistic limit",
            "store's goodput to it",
            "attempts per success",
            "errors per success",
            "p50",
            "p99",
            "slowest writer to the mean",
        ];
        let (limit, optimistic) = (self.limit(keys), self.optimistic_limit(keys));
        let cells = Policy::ALL.map(|policy| self.cell(on, keys, policy));
        let rows = cells.map(|cell| {
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
        Table {
            name,
            title: format!(
                "{} writers on {keys} keys, {}",
                self.writers,
                match on {
                    On::Emulator => "on the emulator",
                    On::Model => "on the memory adapter in virtual time",
                }
            ),
            header: header.map(str::to_owned).into(),
            rows: rows.into(),
            chart: Chart {
                axis: "goodput, to one commit per key per commit latency".into(),
                groups: cells.map(|cell| cell.policy.name().to_owned()).into(),
                series: vec![Series::new(
                    "goodput",
                    cells.map(|cell| self.to_limit(cell, limit)).into(),
                )],
                line: Some(("optimistic limit".into(), optimistic / limit)),
            },
        }
    }
}

impl Cell {
    const fn new(on: On, keys: u32, policy: Policy) -> Self {
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

    /// One round; how many increments were committed in it, warm-up included.
    async fn measure_round<S: Store + 'static>(
        &mut self,
        store: &Arc<S>,
        writers: u32,
        window: Window,
        round: usize,
    ) -> Result<u64> {
        let from = Instant::now() + window.warm_up;
        let until = from + window.measured;
        let mut running = JoinSet::new();
        let latency = match self.on {
            On::Emulator => Latency::default(),
            On::Model => LATENCY,
        };
        for writer in 0..writers {
            let random = fastrand::Rng::with_seed((round as u64) << 32 | u64::from(writer));
            let (store, keys) = (Arc::clone(store), self.keys.into());
            let writer = Writer { store, policy: self.policy, latency, keys, random };
            running.spawn(writer.write(from, until));
        }
        let mut each = Vec::new();
        while let Some(ended) = running.join_next().await {
            each.push(ended.context("a writer died")??);
        }
        let total = |count: fn(&writer::Done) -> u64| each.iter().map(count).sum::<u64>() as f64;
        let successes = total(|done| done.successes);
        ensure!(successes > 0.0, "nothing was committed in {:?}", window.measured);
        let mut latencies = histogram();
        for done in &each {
            latencies.add(&done.latencies)?;
        }
        let millis = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
        let slowest = each.iter().map(|done| done.successes).min().unwrap_or_default();
        self.goodput.push(successes / window.measured.as_secs_f64());
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
        let mut committed = 0;
        for round in 1..=plan.rounds {
            for cell in &mut cells {
                committed += cell.measure_round(&store, plan.writers, plan.window, round).await?;
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
    // Time stands still while anything can be done, and then jumps to what is waited for.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    for round in 1..=plan.rounds {
        for cell in &mut cells {
            let runner = Runner::builder().seed(round as u64).build();
            let store = Arc::new(MemoryStore::builder().runner(runner).build());
            runtime.block_on(async {
                fill(&*store, plan).await?;
                let committed =
                    cell.measure_round(&store, plan.writers, MODEL_WINDOW, round).await?;
                check(&*store, plan, committed).await
            })?;
        }
    }
    Ok(())
}

/// Makes the rows, which have not been counted up yet.
async fn fill(store: &impl Store, plan: &Plan) -> Result<()> {
    for key in 0..most(plan) {
        store.session().insert_into_current_executions(&row(key.into())).await?;
    }
    Ok(())
}

/// Every increment is in the rows, once.
async fn check(store: &impl Store, plan: &Plan, committed: u64) -> Result<()> {
    let mut counted = 0;
    for key in 0..most(plan) {
        let filter = row(key.into()).filter();
        let read = store.session().select_from_current_executions(&filter).await?;
        counted += u64::try_from(read.context("a row is gone")?.last_write_version)?;
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

    #[test]
    fn few_keys_limit_by_their_commits_and_many_by_the_writers() {
        let found =
            Contention { writers: 64, round_trip_ms: 4.0, commit_ms: 20.0, cells: Vec::new() };
        let limits = |keys| [found.limit(keys), found.optimistic_limit(keys)].map(f64::round);
        // 8 keys in 20 ms each; in 28 ms each.
        assert_eq!(limits(8), [400.0, 286.0]);
        // 64 writers in 36 ms each.
        assert_eq!(limits(8_000), [1_778.0, 1_778.0]);
    }
}
