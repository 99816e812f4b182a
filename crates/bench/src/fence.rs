//! What guarding a shard's row costs: writers that update different executions of one shard.
//!
//! Each of their transactions takes the guard lock on the shard's one row. `FOR UPDATE` conflicts
//! with itself, so of writers that overlap only the first can commit; those of one process know it
//! and take turns. `FOR KEY SHARE` conflicts with a change of a key column only (facts §1.3), and
//! writers pass.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use dsql_emulator::Latency;
use serde::{Deserialize, Serialize};
use temporal_dsql::{
    Attempt, Runner, SchemaVersion, Session, Store, StoreError, Transaction,
    dsql::{DsqlStore, ShardFence, ShardGuard},
    stores::ExecutionStore,
};

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::{Cluster, LATENCY},
    context::{Context, runtime},
    load::{Caller, Window, closed_loop},
    rounds,
    stats::Spread,
    table::{Table, nanos, number, ratio},
    typical::{Execution, create_shard},
};

struct Plan {
    writers: [u32; 3],
    rounds: usize,
    window: Window,
}

const FULL: Plan = Plan {
    writers: [1, 4, 16],
    rounds: 4,
    window: Window { warm_up: Duration::from_millis(500), measured: Duration::from_secs(3) },
};

const SMOKE: Plan = Plan {
    writers: [1, 2, 4],
    rounds: 1,
    window: Window { warm_up: Duration::from_millis(100), measured: Duration::from_millis(400) },
};

/// The lock on the shard's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Lock {
    ForUpdate,
    ForKeyShare,
}

impl Lock {
    const ALL: [Self; 2] = [Self::ForUpdate, Self::ForKeyShare];

    const fn name(self) -> &'static str {
        match self {
            Self::ForUpdate => "FOR UPDATE",
            Self::ForKeyShare => "FOR KEY SHARE",
        }
    }

    const fn fence(self) -> ShardFence {
        match self {
            Self::ForUpdate => ShardFence::ForUpdate,
            Self::ForKeyShare => ShardFence::KeyShareIfIndexed,
        }
    }

    const fn guard(self) -> ShardGuard {
        match self {
            Self::ForUpdate => ShardGuard::ForUpdate,
            Self::ForKeyShare => ShardGuard::ForKeyShare,
        }
    }
}

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fence {
    round_trip_ms: f64,
    commit_ms: f64,
    cells: Vec<Cell>,
}

/// One lock with one number of writers, a sample for each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    writers: u32,
    lock: Lock,
    /// Updates per second.
    goodput: Vec<f64>,
    attempts_per_success: Vec<f64>,
    /// Times that the store gave up, and the writer called again.
    errors_per_success: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Benchmark for Fence {
    const NAME: &'static str = "fence";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let mut cells: Vec<Cell> = plan
            .writers
            .into_iter()
            .flat_map(|writers| Lock::ALL.map(|lock| Cell::new(writers, lock)))
            .collect();
        let server = context.server()?;
        let runtime = runtime()?;
        runtime.block_on(async {
            let cluster = Cluster::create(server, |builder| builder).await?;
            cluster.build_fence_index().await?;
            let most = plan.writers.into_iter().max().unwrap_or_default();
            let for_update = open(&cluster, Lock::ForUpdate, most).await?;
            let for_key_share = open(&cluster, Lock::ForKeyShare, most).await?;
            create_shard(&for_update).await?;
            let mut next_id = 0;
            for round in 1..=plan.rounds {
                for cell in rounds::order(cells.iter_mut(), round) {
                    let store = match cell.lock {
                        Lock::ForUpdate => &for_update,
                        Lock::ForKeyShare => &for_key_share,
                    };
                    cell.measure_round(&cluster, store, &mut next_id, plan.window).await?;
                }
                context.progress(&format!("round {round} of {}", plan.rounds));
            }
            for_update.close();
            for_key_share.close();
            let round_trip_ms = LATENCY.round_trip.as_secs_f64() * 1e3;
            let commit_ms = LATENCY.commit.as_secs_f64() * 1e3;
            Ok(Self { round_trip_ms, commit_ms, cells })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let header = [
            "writers",
            "lock",
            "updates per second",
            "to FOR UPDATE",
            "to one writer",
            "attempts per success",
            "errors per success",
            "p50",
            "p99",
        ];
        let rows = self.cells.iter().map(|cell| {
            let median = |samples: &[f64]| Spread::of(samples).median;
            vec![
                cell.writers.to_string(),
                cell.lock.name().to_owned(),
                number(median(&cell.goodput)),
                ratio(self.to(cell, cell.writers, Lock::ForUpdate)),
                ratio(self.to_one_writer(cell)),
                number(median(&cell.attempts_per_success)),
                number(median(&cell.errors_per_success)),
                nanos(median(&cell.p50_ms) * 1e6),
                nanos(median(&cell.p99_ms) * 1e6),
            ]
        });
        let series = Lock::ALL.map(|lock| {
            let bars = self.cells.iter().filter(|cell| cell.lock == lock);
            Series::new(lock.name(), bars.map(|cell| self.to_one_writer(cell)).collect())
        });
        let groups = self.cells.iter().filter(|cell| cell.lock == Lock::ForUpdate);
        vec![Table {
            name: "fence",
            title: "Writers in one shard, on the emulator: updates of different executions".into(),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "updates per second, to one writer's with FOR UPDATE".into(),
                groups: groups.map(|cell| writers(cell.writers)).collect(),
                series: series.into(),
                lines: vec![("one writer".into(), 1.0)],
            },
        }]
    }

    /// None: this is what a choice costs.
    fn goals(&self) -> Vec<crate::table::Goal> {
        Vec::new()
    }
}

impl Fence {
    /// The goodput of `cell` to that of other writers.
    fn to(&self, cell: &Cell, writers: u32, lock: Lock) -> Spread {
        let is_peer = |peer: &&Cell| (peer.writers, peer.lock) == (writers, lock);
        let peer = self.cells.iter().find(is_peer).expect("every lock with all writers");
        Spread::of_ratio(&cell.goodput, &peer.goodput)
    }

    /// To the fewest writers, of whom there is one, and the lock that is the default.
    fn to_one_writer(&self, cell: &Cell) -> Spread {
        let fewest = self.cells.iter().map(|cell| cell.writers).min().unwrap_or_default();
        self.to(cell, fewest, Lock::ForUpdate)
    }
}

fn writers(count: u32) -> String {
    if count == 1 { "1 writer".into() } else { format!("{count} writers") }
}

async fn open(cluster: &Cluster, lock: Lock, writers: u32) -> Result<Counting> {
    let mut config = cluster.config(writers);
    config.shard_fence = lock.fence();
    let store = cluster.open(&config).await?;
    let guard = store.forms().shard_guard;
    ensure!(guard == lock.guard(), "asked for {}, the store took {guard:?}", lock.name());
    Ok(Counting { store, attempts: Arc::default() })
}

impl Cell {
    const fn new(writers: u32, lock: Lock) -> Self {
        Self {
            writers,
            lock,
            goodput: Vec::new(),
            attempts_per_success: Vec::new(),
            errors_per_success: Vec::new(),
            p50_ms: Vec::new(),
            p99_ms: Vec::new(),
        }
    }

    /// Lets writers update executions that are made for them.
    async fn measure_round(
        &mut self,
        cluster: &Cluster,
        store: &Counting,
        next_id: &mut u64,
        window: Window,
    ) -> Result<()> {
        let (updates, errors) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let executions = ExecutionStore::new(store.clone());
        let mut writers = Vec::new();
        for _ in 0..self.writers {
            let mut execution = Execution::new(*next_id);
            *next_id += 1;
            executions.create(&execution.create()).await?;
            let (executions, updates, errors) =
                (executions.clone(), Arc::clone(&updates), Arc::clone(&errors));
            writers.push(Writer { executions, execution, updates, errors });
        }
        let runs: Vec<_> = writers.iter().map(|writer| writer.execution.run()).collect();
        let attempts_before = store.attempts.load(Ordering::Relaxed);
        cluster.set_latency(LATENCY);
        let load = closed_loop(writers, window).await?;
        cluster.set_latency(Latency::default());

        // The warm-up counts in these, for its conflicts are like all others.
        let attempts = store.attempts.load(Ordering::Relaxed) - attempts_before;
        let (updates, errors) = (updates.load(Ordering::Relaxed), errors.load(Ordering::Relaxed));
        let mut shown = 0;
        for run in &runs {
            let read = executions.get(run).await?.map(|rows| rows.execution.db_record_version);
            // Version 1 is the creation's.
            shown += u64::try_from(read.unwrap_or_default())? - 1;
        }
        ensure!(shown == updates, "{updates} updates were committed, the rows show {shown}");
        let millis = |quantile| load.latencies.value_at_quantile(quantile) as f64 / 1e6;
        self.goodput.push(load.rate);
        self.attempts_per_success.push(attempts as f64 / updates as f64);
        self.errors_per_success.push(errors as f64 / updates as f64);
        self.p50_ms.push(millis(0.5));
        self.p99_ms.push(millis(0.99));
        Ok(())
    }
}

/// Updates its execution again and again.
struct Writer {
    executions: ExecutionStore<Counting>,
    execution: Execution,
    updates: Arc<AtomicU64>,
    errors: Arc<AtomicU64>,
}

impl Caller for Writer {
    async fn call(&mut self) -> Result<()> {
        let update = self.execution.update();
        loop {
            match self.executions.update(&update).await {
                Ok(()) => break,
                // The store gave up; the caller calls again, and its wait goes on.
                Err(StoreError::Contended { .. }) => self.errors.fetch_add(1, Ordering::Relaxed),
                Err(other) => bail!(other),
            };
        }
        self.updates.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A store that counts how many transactions are begun.
#[derive(Clone)]
struct Counting {
    store: DsqlStore,
    attempts: Arc<AtomicU64>,
}

impl Counting {
    fn close(&self) {
        self.store.close();
    }
}

#[async_trait]
impl Store for Counting {
    fn session(&self) -> Box<dyn Session + '_> {
        self.store.session()
    }

    #[expect(clippy::disallowed_methods, reason = "forwards to the store inside")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.store.begin(attempt).await
    }

    fn runner(&self) -> &Runner {
        self.store.runner()
    }

    fn writes_in_one_statement(&self) -> bool {
        self.store.writes_in_one_statement()
    }

    async fn schema_version(&self, database: &str) -> Result<Option<SchemaVersion>, StoreError> {
        self.store.schema_version(database).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodput_is_shown_to_the_same_writers_with_for_update_and_to_one_of_them() {
        let cell = |writers, lock, goodput| Cell {
            goodput: vec![goodput],
            attempts_per_success: vec![1.0],
            errors_per_success: vec![0.0],
            p50_ms: vec![36.0],
            p99_ms: vec![40.0],
            ..Cell::new(writers, lock)
        };
        let cells = vec![
            cell(1, Lock::ForUpdate, 20.0),
            cell(1, Lock::ForKeyShare, 20.0),
            cell(4, Lock::ForUpdate, 30.0),
            cell(4, Lock::ForKeyShare, 75.0),
        ];
        let found = Fence { round_trip_ms: 4.0, commit_ms: 20.0, cells };
        let [table] = found.tables().try_into().ok().unwrap();
        let ratios: Vec<_> = table.rows.iter().map(|row| [&*row[3], &*row[4]]).collect();
        let of = |ratio: &str| format!("{ratio} ({ratio}–{ratio})");
        let expected = [["1.00", "1.00"], ["1.00", "1.00"], ["1.00", "1.50"], ["2.50", "3.75"]];
        assert_eq!(ratios, expected.map(|pair| pair.map(of)));
        assert_eq!(table.chart.groups, ["1 writer", "4 writers"]);
    }
}
