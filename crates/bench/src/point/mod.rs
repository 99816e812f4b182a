//! Point operations on current executions, next to pgbench and tokio-postgres.
//!
//! pgbench with prepared statements is the limit: a C program that sends the same statements and
//! throws the answers away. tokio-postgres is the peer: a Rust driver without a pool, an archetype
//! router, limits, retries, spans or errors that say whether something was applied.
//!
//! All three run the same statements on the same rows, each round on a fresh copy of them. The
//! statements are not written here: they are what the server has seen of the store.

mod pgbench;
pub mod rows;
mod statements;
mod store;
mod tokio_postgres;

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use temporal_dsql::VERSION;
use tokio::runtime::Runtime;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    context::{Context, runtime},
    database::{self, Database},
    load::{Load, Window},
    stats::Spread,
    table::{Goal, Table, number, ratio},
};
use pgbench::Pgbench;
use statements::Statements;

/// What is done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// One new row.
    Insert,
    /// One row by its key.
    Select,
    /// All but the key of one row.
    Update,
    /// `SELECT … FOR UPDATE` between BEGIN and COMMIT.
    Lock,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Insert, Self::Select, Self::Update, Self::Lock];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Select => "select",
            Self::Update => "update",
            Self::Lock => "lock in a transaction",
        }
    }

    /// Its name under bars.
    const fn short_name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            other => other.name(),
        }
    }
}

struct Plan {
    callers: &'static [usize],
    rounds: usize,
    rows: u32,
    window: Window,
}

const FULL: Plan = Plan {
    callers: &[1, 8, 64],
    rounds: 7,
    rows: 20_000,
    window: Window { warm_up: Duration::from_millis(300), measured: Duration::from_secs(1) },
};

const SMOKE: Plan = Plan {
    callers: &[1, 4],
    rounds: 1,
    rows: 1_000,
    window: Window { warm_up: Duration::from_millis(50), measured: Duration::from_millis(200) },
};

/// What was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    /// How many rows the table has when a measurement begins.
    pub rows: u32,
    /// How long a measurement takes, without its warm-up.
    pub seconds: f64,
    /// One per operation and number of callers.
    pub cells: Vec<Cell>,
}

/// One operation with one number of callers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    /// What was done.
    pub operation: Operation,
    /// By how many at once.
    pub callers: usize,
    /// The store's.
    pub store: Subject,
    /// The peer's.
    pub tokio_postgres: Subject,
    /// The limit's.
    pub pgbench: Subject,
}

/// What one subject did in each round.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    /// Operations per second.
    pub rates: Vec<f64>,
    /// Median latencies in microseconds; pgbench tells none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub p50_us: Vec<f64>,
    /// Latencies of the slowest hundredth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub p99_us: Vec<f64>,
}

impl Subject {
    fn push(&mut self, load: &Load) {
        let micros = |quantile| nanos_at(&load.latencies, quantile) / 1e3;
        self.rates.push(load.rate);
        self.p50_us.push(micros(0.5));
        self.p99_us.push(micros(0.99));
    }
}

fn nanos_at(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64
}

impl Benchmark for Point {
    const NAME: &'static str = "point";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        let pgbench = pgbench::Pgbench::new(database::program(server, "pgbench")?)?;
        let runtime = runtime()?;
        let database = runtime.block_on(Database::create(server, VERSION))?;
        let statements = runtime.block_on(Statements::capture(&database))?;
        let mut cells = Vec::new();
        for callers in plan.callers.iter().copied() {
            for operation in Operation::ALL {
                let mut cell = Cell::new(operation, callers);
                for _ in 0..plan.rounds {
                    cell.measure_round(&runtime, &database, &statements, &pgbench, &plan)?;
                }
                context.progress(&cell.progress());
                cells.push(cell);
            }
        }
        Ok(Self { rows: plan.rows, seconds: plan.window.measured.as_secs_f64(), cells })
    }

    fn tables(&self) -> Vec<Table> {
        let header = [
            "callers",
            "operation",
            "store per second",
            "store to tokio-postgres",
            "store to pgbench",
            "tokio-postgres to pgbench",
            "p99, store to tokio-postgres",
        ];
        let rows = self.cells.iter().map(|cell| {
            vec![
                cell.callers.to_string(),
                cell.operation.name().to_owned(),
                number(Spread::of(&cell.store.rates).median),
                ratio(cell.to_tokio_postgres()),
                ratio(cell.to_pgbench()),
                ratio(Spread::of_ratio(&cell.tokio_postgres.rates, &cell.pgbench.rates)),
                ratio(Spread::of_ratio(&cell.store.p99_us, &cell.tokio_postgres.p99_us)),
            ]
        });
        let bars = |bar: fn(&Cell) -> Spread| self.cells.iter().map(bar).collect();
        let group = |cell: &Cell| {
            let callers = if cell.callers == 1 { "caller" } else { "callers" };
            format!("{}\n{} {callers}", cell.operation.short_name(), cell.callers)
        };
        vec![Table {
            name: "point",
            title: "Point operations: operations per second, to the peers'".into(),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "operations per second, to pgbench's".into(),
                groups: self.cells.iter().map(group).collect(),
                series: vec![
                    Series::new("store", bars(Cell::to_pgbench)),
                    Series::new(
                        "tokio-postgres",
                        bars(|cell| {
                            Spread::of_ratio(&cell.tokio_postgres.rates, &cell.pgbench.rates)
                        }),
                    ),
                ],
                line: Some(("pgbench".into(), 1.0)),
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let all = |callers: usize, to: fn(&Cell) -> Spread| {
            let cells = self.cells.iter().filter(move |cell| cell.callers == callers);
            cells.map(move |cell| (cell.operation.name(), to(cell)))
        };
        vec![
            Goal::at_least("1 caller, to tokio-postgres", 0.80, all(1, Cell::to_tokio_postgres)),
            Goal::at_least("1 caller, to pgbench", 0.45, all(1, Cell::to_pgbench)),
            Goal::at_least("64 callers, to pgbench", 0.90, all(64, Cell::to_pgbench)),
        ]
    }
}

impl Cell {
    fn new(operation: Operation, callers: usize) -> Self {
        let (store, tokio_postgres, pgbench) = <(Subject, Subject, Subject)>::default();
        Self { operation, callers, store, tokio_postgres, pgbench }
    }

    fn measure_round(
        &mut self,
        runtime: &Runtime,
        database: &Database,
        statements: &Statements,
        pgbench: &Pgbench,
        plan: &Plan,
    ) -> Result<()> {
        let Self { operation, callers, .. } = *self;
        let reset = || runtime.block_on(rows::reset(database, plan.rows));
        reset()?;
        let load = store::load(database, operation, callers, plan);
        self.store.push(&runtime.block_on(load)?);
        reset()?;
        let load = tokio_postgres::load(database, statements, operation, callers, plan);
        self.tokio_postgres.push(&runtime.block_on(load)?);
        reset()?;
        let rate = pgbench.rate(database, statements, operation, callers, plan)?;
        self.pgbench.rates.push(rate);
        Ok(())
    }

    fn to_tokio_postgres(&self) -> Spread {
        Spread::of_ratio(&self.store.rates, &self.tokio_postgres.rates)
    }

    fn to_pgbench(&self) -> Spread {
        Spread::of_ratio(&self.store.rates, &self.pgbench.rates)
    }

    fn progress(&self) -> String {
        format!(
            "{} by {}: {:.2} of tokio-postgres, {:.2} of pgbench",
            self.operation.name(),
            self.callers,
            self.to_tokio_postgres().median,
            self.to_pgbench().median
        )
    }
}
