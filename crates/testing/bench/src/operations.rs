//! Operations on whole executions by one caller, compared with the limit of their round trips.
//!
//! The limit of an operation is its round trips and commits at the latencies of a cluster. Both are
//! counted: round trips by a proxy in front of a PostgreSQL without TLS, with the statements that
//! the store chose on the cluster; commits on the cluster, which delays each of them. No operation
//! is faster than its limit, so a count that is too high voids the measurement.
//!
//! A latency is the least time between a message and its answer: it includes the work of the
//! emulator, up to that time. The time beyond the limit is that of the store, of the network, and
//! of the emulator where it needs longer. Without latencies the same operations show the sum of all
//! three, and on PostgreSQL that sum without the emulator.

use std::{array, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use temporal_dsql::{
    VERSION,
    dsql::{DsqlStore, WriteForm, connect},
    stores::ExecutionStore,
};
use temporal_dsql_testkit::{FaultProxy, postgres::Server};

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::{Cluster, LATENCY},
    context::{Context, runtime},
    counted::{self, Counted},
    database::Database,
    load::{histogram, millis},
    rounds,
    stats::Spread,
    table::{Goal, Table, nanos, ratio},
    typical::{Execution, create_shard},
};

struct Plan {
    /// Executions before the measurement, in which the connection prepares its statements.
    warm_up: u64,
    executions: u64,
    rounds: usize,
}

/// Of 250 samples, p99 is the third slowest: it excludes one outlier in each round.
const FULL: Plan = Plan { warm_up: 10, executions: 250, rounds: 3 };
const SMOKE: Plan = Plan { warm_up: 1, executions: 3, rounds: 1 };

/// An operation on an execution, in the order of its life cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Operation {
    Create,
    Update,
    Get,
    GetCurrent,
    Delete,
}

/// The number of operations.
const OPERATIONS: usize = 5;

impl Operation {
    const ALL: [Self; OPERATIONS] =
        [Self::Create, Self::Update, Self::Get, Self::GetCurrent, Self::Delete];

    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Get => "get",
            Self::GetCurrent => "get current",
            Self::Delete => "delete",
        }
    }

    /// The counts of other implementations. Their deletion was not counted.
    const fn counted(self) -> Option<&'static Counted> {
        match self {
            Self::Create => Some(&counted::CREATE),
            Self::Update => Some(&counted::UPDATE),
            Self::Get => Some(&counted::GET),
            Self::GetCurrent => Some(&counted::GET_CURRENT),
            Self::Delete => None,
        }
    }
}

/// The statements that a cluster accepts, and therefore those that the store sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// One statement for an operation: the cluster accepts INSERT, UPDATE and DELETE in WITH, and
    /// locks in sub-selects.
    OneStatement,
    /// One statement for each table: the cluster accepts neither.
    StatementPerTable,
}

impl Mode {
    const ALL: [Self; 2] = [Self::OneStatement, Self::StatementPerTable];

    const fn name(self) -> &'static str {
        match self {
            Self::OneStatement => "one statement",
            Self::StatementPerTable => "statement per table",
        }
    }

    /// The setting of a store that sends them without detection.
    const fn write_form(self) -> WriteForm {
        match self {
            Self::OneStatement => WriteForm::OneStatement,
            Self::StatementPerTable => WriteForm::StatementPerTable,
        }
    }
}

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Operations {
    round_trip_ms: f64,
    commit_ms: f64,
    cells: Vec<Cell>,
}

/// One operation in one mode, with a sample for each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    #[serde(alias = "form")]
    mode: Mode,
    operation: Operation,
    round_trips: u64,
    commits: u64,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// The median without added latency.
    without_latency_p50_ms: Vec<f64>,
    /// The median on PostgreSQL.
    postgres_p50_ms: Vec<f64>,
}

impl Benchmark for Operations {
    const NAME: &'static str = "operations";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        let runtime = runtime()?;
        runtime.block_on(async {
            let mut subjects = Vec::new();
            for mode in Mode::ALL {
                subjects.push(Subject::open(server, mode, &plan).await?);
            }
            for round in 1..=plan.rounds {
                for subject in rounds::order(subjects.iter_mut(), round) {
                    subject.measure_round(plan.executions).await?;
                }
                context.progress(&format!("round {round} of {}", plan.rounds));
            }
            let mut cells = Vec::new();
            for subject in subjects {
                subject.store.close();
                subject.postgres_store.close();
                cells.extend(subject.cells);
            }
            let round_trip_ms = LATENCY.round_trip.as_secs_f64() * 1e3;
            let commit_ms = LATENCY.commit.as_secs_f64() * 1e3;
            Ok(Self { round_trip_ms, commit_ms, cells })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let header = [
            "form",
            "operation",
            "round trips",
            "commits",
            "Go fork's, default and reservoir mode",
            "upstream's on PostgreSQL, pq and pgx",
            "limit",
            "p50 to the limit",
            "p99 to the limit",
            "p50 without latency",
            "p50 on PostgreSQL",
        ];
        let rows = self.cells.iter().map(|cell| {
            let median = |samples: &[f64]| nanos(Spread::of(samples).median * 1e6);
            vec![
                cell.mode.name().to_owned(),
                cell.operation.name().to_owned(),
                cell.round_trips.to_string(),
                cell.commits.to_string(),
                cell.operation.counted().map(Counted::fork).unwrap_or_default(),
                cell.operation.counted().map(Counted::upstream).unwrap_or_default(),
                nanos(self.limit_ms(cell) * 1e6),
                ratio(self.to_limit(cell, &cell.p50_ms)),
                ratio(self.to_limit(cell, &cell.p99_ms)),
                median(&cell.without_latency_p50_ms),
                median(&cell.postgres_p50_ms),
            ]
        });
        let series = Mode::ALL.into_iter().flat_map(|mode| {
            let of = move |samples: fn(&Cell) -> &[f64]| {
                self.of(mode).map(|cell| self.to_limit(cell, samples(cell))).collect()
            };
            let goals = |most| vec![Some(most); Operation::ALL.len()];
            [
                Series::new(format!("{}, p50", mode.name()), of(|cell| &cell.p50_ms))
                    .with_goals(goals(MAX_P50)),
                Series::new(format!("{}, p99", mode.name()), of(|cell| &cell.p99_ms))
                    .with_goals(goals(MAX_P99)),
            ]
        });
        vec![Table {
            name: "operations",
            title: "Whole executions, one caller, on the emulator: time to the limit".into(),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "time, to round trips and commits at their latencies".into(),
                groups: Operation::ALL.map(|operation| operation.name().to_owned()).into(),
                series: series.collect(),
                lines: vec![("limit".into(), 1.0)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let goal = |mode: Mode, quantile, most, samples: fn(&Cell) -> &[f64]| {
            let what = format!("{}, {quantile} to the limit", mode.name());
            let ratios = self.of(mode);
            let ratios =
                ratios.map(|cell| (cell.operation.name(), self.to_limit(cell, samples(cell))));
            Goal::at_most(&what, most, ratios)
        };
        let goals = Mode::ALL.map(|mode| {
            [
                goal(mode, "p50", MAX_P50, |cell| &cell.p50_ms),
                goal(mode, "p99", MAX_P99, |cell| &cell.p99_ms),
            ]
        });
        goals.into_iter().flatten().collect()
    }
}

/// The goal of the median, relative to the limit.
const MAX_P50: f64 = 1.05;
/// The goal of p99, relative to the limit.
const MAX_P99: f64 = 1.25;

impl Operations {
    fn of(&self, mode: Mode) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.mode == mode)
    }

    fn limit_ms(&self, cell: &Cell) -> f64 {
        cell.round_trips as f64 * self.round_trip_ms + cell.commits as f64 * self.commit_ms
    }

    fn to_limit(&self, cell: &Cell, samples: &[f64]) -> Spread {
        Spread::of_ratio(samples, &vec![self.limit_ms(cell); samples.len()])
    }
}

/// A cluster that accepts the statements of one mode, and a PostgreSQL with a store of the same
/// mode.
struct Subject {
    cluster: Cluster,
    store: Arc<DsqlStore>,
    /// Dropped after its store.
    postgres_store: Arc<DsqlStore>,
    _database: Database,
    /// Executions have ids of their own.
    next_id: u64,
    cells: Vec<Cell>,
}

impl Subject {
    async fn open(server: &Server, mode: Mode, plan: &Plan) -> Result<Self> {
        let one_statement = mode == Mode::OneStatement;
        let cluster = Cluster::create(server, |builder| {
            builder
                .accept_data_modifying_with(one_statement)
                .accept_locking_subqueries(one_statement)
        });
        let cluster = cluster.await?;
        let store = cluster.open(&cluster.config(1)).await?;
        let capabilities = store.capabilities();
        ensure!(
            capabilities.is_some_and(|found| found.one_statement == one_statement),
            "the store found {capabilities:?} on a cluster that accepts {}",
            mode.name()
        );
        create_shard(&store).await?;

        let database = Database::create(server, VERSION).await?;
        let mut config = database.config(1);
        config.write_form = mode.write_form();
        let postgres_store = connect(&config, None).await?;
        create_shard(&postgres_store).await?;
        let proxy = FaultProxy::start(database.scratch().addr()?)?;
        config.port = proxy.addr().port();
        let counted_store = connect(&config, None).await?;

        let mut subject = Self {
            cluster,
            store: Arc::new(store),
            postgres_store: Arc::new(postgres_store),
            _database: database,
            next_id: 0,
            cells: Vec::new(),
        };
        for _ in 0..plan.warm_up {
            for store in [&*subject.store, &*subject.postgres_store, &counted_store] {
                run_execution(store, subject.next_id, || 0).await?;
                subject.next_id += 1;
            }
        }
        let round_trips =
            run_execution(&counted_store, subject.next_id, || proxy.round_trips()).await?;
        counted_store.close();
        subject.next_id += 1;
        // More than the operations of one execution have.
        const COUNTABLE: usize = 100;
        subject.cluster.count_commits(COUNTABLE);
        let counted = || (COUNTABLE - subject.cluster.uncounted_commits()) as u64;
        let commits = run_execution(&subject.store, subject.next_id, counted).await?;
        subject.next_id += 1;
        let counts = Operation::ALL.into_iter().zip(round_trips.into_iter().zip(commits));
        subject.cells =
            counts.map(|(operation, counts)| Cell::new(mode, operation, counts)).collect();
        Ok(subject)
    }

    async fn measure_round(&mut self, executions: u64) -> Result<()> {
        self.cluster.set_latency(LATENCY);
        let delayed = self.measure_executions(&self.store, executions).await?;
        self.next_id += executions;
        self.cluster.set_latency(Default::default());
        let prompt = self.measure_executions(&self.store, executions).await?;
        self.next_id += executions;
        let postgres = self.measure_executions(&self.postgres_store, executions).await?;
        self.next_id += executions;
        for (cell, ((delayed, prompt), postgres)) in
            self.cells.iter_mut().zip(delayed.into_iter().zip(prompt).zip(postgres))
        {
            let limit = LATENCY.round_trip * u32::try_from(cell.round_trips)?
                + LATENCY.commit * u32::try_from(cell.commits)?;
            // The histogram has a precision of three digits.
            ensure!(
                delayed.max() > 0 && delayed.min() as f64 > limit.as_nanos() as f64 * 0.998,
                "{} took {} ns, less than its limit, {limit:?}: the count is wrong",
                cell.operation.name(),
                delayed.min()
            );
            cell.p50_ms.push(millis(&delayed, 0.5));
            cell.p99_ms.push(millis(&delayed, 0.99));
            cell.without_latency_p50_ms.push(millis(&prompt, 0.5));
            cell.postgres_p50_ms.push(millis(&postgres, 0.5));
        }
        Ok(())
    }

    /// The latencies of each operation on new executions. Runs in a task, as a service's calls do:
    /// the thread that waits for this benchmark is not a worker of the runtime, and waking it would
    /// add to each answer.
    async fn measure_executions(
        &self,
        store: &Arc<DsqlStore>,
        executions: u64,
    ) -> Result<[Histogram<u64>; OPERATIONS]> {
        let (store, first_id) = (Arc::clone(store), self.next_id);
        tokio::spawn(async move { run_executions(&store, first_id, executions).await }).await?
    }
}

impl Cell {
    const fn new(mode: Mode, operation: Operation, (round_trips, commits): (u64, u64)) -> Self {
        Self {
            mode,
            operation,
            round_trips,
            commits,
            p50_ms: Vec::new(),
            p99_ms: Vec::new(),
            without_latency_p50_ms: Vec::new(),
            postgres_p50_ms: Vec::new(),
        }
    }
}

async fn run_executions(
    store: &DsqlStore,
    first_id: u64,
    executions: u64,
) -> Result<[Histogram<u64>; OPERATIONS]> {
    let mut latencies = array::from_fn(|_| histogram());
    let start = Instant::now();
    for id in first_id..first_id + executions {
        let nanos = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for (latencies, taken) in latencies.iter_mut().zip(run_execution(store, id, nanos).await?) {
            latencies.record(taken)?;
        }
    }
    Ok(latencies)
}

/// Performs every operation on an execution once, in the order of [`Operation::ALL`], and returns
/// the increase of `reading` with each.
async fn run_execution(
    store: &DsqlStore,
    id: u64,
    reading: impl Fn() -> u64,
) -> Result<[u64; OPERATIONS]> {
    let executions = ExecutionStore::new(store);
    let mut execution = Execution::new(id);
    let (create, update, run) = (execution.create(), execution.update(), execution.run());
    let begun = reading();
    executions.create(&create).await?;
    let created = reading();
    executions.update(&update).await?;
    let updated = reading();
    let read = executions.get(&run).await?;
    let got = reading();
    let current = executions.get_current(&execution.id()).await?;
    let got_current = reading();
    executions.delete(&run).await?;
    let deleted = reading();
    execution.check(read.as_ref())?;
    ensure!(
        current.as_ref().is_some_and(|current| current.run_id == run.run_id),
        "execution {id} is not the current one of its id: {current:?}"
    );
    ensure!(executions.get(&run).await?.is_none(), "execution {id} exists after its deletion");
    Ok([
        created - begun,
        updated - created,
        got - updated,
        got_current - got,
        deleted - got_current,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(p50_ms: f64, p99_ms: f64) -> Operations {
        let cells = Mode::ALL.into_iter().flat_map(|mode| {
            Operation::ALL.map(|operation| Cell {
                p50_ms: vec![p50_ms],
                p99_ms: vec![p99_ms],
                without_latency_p50_ms: vec![1.0],
                postgres_p50_ms: vec![0.5],
                ..Cell::new(mode, operation, (4, 1))
            })
        });
        Operations { round_trip_ms: 4.0, commit_ms: 20.0, cells: cells.collect() }
    }

    #[test]
    fn the_limit_is_the_time_of_round_trips_and_commits() {
        let found = found(36.0, 45.0);
        let cell = &found.cells[0];
        assert_eq!(found.limit_ms(cell), 36.0);
        assert_eq!(found.to_limit(cell, &cell.p50_ms).median, 1.0);
        assert_eq!(found.to_limit(cell, &cell.p99_ms).median, 1.25);
        assert_eq!(found.limit_ms(&Cell::new(Mode::OneStatement, Operation::Get, (1, 0))), 4.0);
    }

    #[test]
    fn the_goals_are_five_hundredths_at_the_median_and_a_quarter_at_p99() {
        let met =
            |p50, p99| found(p50, p99).goals().iter().map(|goal| goal.met).collect::<Vec<_>>();
        assert_eq!(met(37.8, 45.0), [true; 4]);
        assert_eq!(met(38.0, 45.0), [false, true, false, true]);
        assert_eq!(met(37.8, 45.2), [true, false, true, false]);
    }
}
