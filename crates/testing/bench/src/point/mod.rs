//! Point operations on current executions, compared with pgbench and tokio-postgres.
//!
//! pgbench with prepared statements is the limit: a C program that discards the answers.
//! tokio-postgres is the peer: a Rust driver without a pool, an archetype router, limits, retries,
//! spans or errors with an outcome.
//!
//! All three run the same statements on the same rows. Each round resets the rows and changes the
//! order. The statements are those that the server receives from the store.

mod operation;
mod statements;
mod store;
mod tokio_postgres;

use std::{fmt::Write, time::Duration};

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
    pgbench::{Pgbench, PgbenchResults, Run},
    rounds, rows,
    stats::Spread,
    table::{Goal, Table, number, ratio},
};
use operation::{Operation, Plan};
use statements::{ARGUMENTS, Statements, with_names};

/// A client of the server.
#[derive(Clone, Copy)]
enum Client {
    Store,
    TokioPostgres,
    Pgbench,
}

impl Client {
    const ALL: [Self; 3] = [Self::Store, Self::TokioPostgres, Self::Pgbench];
}

const FULL: Plan = Plan {
    callers: &[1, 8, 64],
    // The number of orders.
    rounds: 6,
    rows: 20_000,
    window: Window::timed(Duration::from_secs(1), Duration::from_secs(1)),
    pgbench_seconds: 1,
};

const SMOKE: Plan =
    Plan { callers: &[1, 4], rounds: 1, rows: 1_000, window: Window::SMOKE, pgbench_seconds: 0 };

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Point {
    /// Rows of the table when a measurement begins.
    pub rows: u32,
    /// One for each operation and number of callers.
    pub cells: Vec<Cell>,
}

/// One operation with one number of callers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The operation.
    pub operation: Operation,
    /// The number of concurrent callers.
    pub callers: usize,
    /// The results of the store.
    pub store: Subject,
    /// The results of tokio-postgres.
    pub tokio_postgres: Subject,
    /// The results of pgbench.
    pub pgbench: Subject,
}

/// The results of one client in each round.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    /// Operations per second.
    pub rates: Vec<f64>,
    /// Median latencies in microseconds; pgbench reports none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub p50_us: Vec<f64>,
    /// 99th percentiles of latencies in microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub p99_us: Vec<f64>,
    /// Processor time of the client for one operation in microseconds.
    pub processor_us: Vec<f64>,
}

impl Subject {
    fn push(&mut self, load: &Load) {
        let micros = |quantile| nanos_at(&load.latencies, quantile) / 1e3;
        self.rates.push(load.rate);
        self.p50_us.push(micros(0.5));
        self.p99_us.push(micros(0.99));
        self.processor_us.push(load.processor_per_call.as_secs_f64() * 1e6);
    }

    fn push_pgbench(&mut self, results: &PgbenchResults) {
        self.rates.push(results.rate);
        self.processor_us.push(results.processor_per_call.as_secs_f64() * 1e6);
    }

    /// The processor time in a cell, without a unit.
    fn processor(&self) -> String {
        number(Spread::of(&self.processor_us).median)
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
        let pgbench = Pgbench::new(database::program(server, "pgbench")?)?;
        let runtime = runtime()?;
        let database = runtime.block_on(Database::create(server, VERSION))?;
        let statements = runtime.block_on(Statements::capture(&database))?;
        let bench = Bench { runtime, database, statements, pgbench, plan };
        let plan = &bench.plan;
        let mut cells = Vec::new();
        for callers in plan.callers.iter().copied() {
            for operation in Operation::ALL {
                let mut cell = Cell::new(operation, callers);
                for round in 0..plan.rounds {
                    for client in rounds::order(Client::ALL, round) {
                        cell.measure(client, &bench)?;
                    }
                }
                context.progress(&cell.progress());
                cells.push(cell);
            }
        }
        Ok(Self { rows: plan.rows, cells })
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
            "client's processor time in µs: store, tokio-postgres, pgbench",
        ];
        let rows = self.cells.iter().map(|cell| {
            vec![
                cell.callers.to_string(),
                cell.operation.name().to_owned(),
                number(Spread::of(&cell.store.rates).median),
                ratio(cell.to_tokio_postgres()),
                ratio(cell.to_pgbench()),
                ratio(cell.peer_to_pgbench()),
                ratio(Spread::of_ratio(&cell.store.p99_us, &cell.tokio_postgres.p99_us)),
                [&cell.store, &cell.tokio_postgres, &cell.pgbench]
                    .map(Subject::processor)
                    .join(", "),
            ]
        });
        let bars = |bar: fn(&Cell) -> Spread| self.cells.iter().map(bar).collect();
        let goals = |to_peer| -> Vec<_> {
            self.cells.iter().map(|cell| goal(cell.callers, to_peer)).collect()
        };
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
                axis: "operations per second, to those of another".into(),
                groups: self.cells.iter().map(group).collect(),
                series: vec![
                    Series::new("store to tokio-postgres", bars(Cell::to_tokio_postgres))
                        .with_goals(goals(Client::TokioPostgres)),
                    Series::new("store to pgbench", bars(Cell::to_pgbench))
                        .with_goals(goals(Client::Pgbench)),
                    Series::new("tokio-postgres to pgbench", bars(Cell::peer_to_pgbench)),
                ],
                lines: vec![("as fast".into(), 1.0)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let aimed = |callers: usize, client, what, to: fn(&Cell) -> Spread| {
            let cells = self.cells.iter().filter(move |cell| cell.callers == callers);
            let least = goal(callers, client).expect("a goal is set");
            Goal::at_least(what, least, cells.map(move |cell| (cell.operation.name(), to(cell))))
        };
        let (peer, limit) = (Client::TokioPostgres, Client::Pgbench);
        vec![
            aimed(1, peer, "1 caller, to tokio-postgres", Cell::to_tokio_postgres),
            aimed(1, limit, "1 caller, to pgbench", Cell::to_pgbench),
            aimed(64, limit, "64 callers, to pgbench", Cell::to_pgbench),
        ]
    }
}

/// One operation as a script of pgbench.
fn script_of(statements: &Statements, operation: Operation, rows: u32) -> Result<String> {
    let mut script = match operation {
        Operation::Insert => {
            let (first, second) = (rows::first_new_id(0), rows::first_new_id(1));
            let per_client = second - first;
            format!("\\set n :n + 1\n\\set workflow_id {first} + :client_id * {per_client} + :n\n")
        }
        _ => format!("\\set workflow_id random(0, {})\n", rows - 1),
    };
    for statement in statements.of(operation) {
        writeln!(script, "{};", with_names(statement)?)?;
    }
    Ok(script)
}

/// The variables of the scripts.
fn variables() -> Vec<(&'static str, String)> {
    let row = rows::row(0);
    let data: String =
        row.data.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    let values = [
        row.shard_id.to_string(),
        row.namespace_id.to_string(),
        row.workflow_id.to_string(),
        row.run_id.to_string(),
        row.create_request_id.to_string(),
        row.state.number().to_string(),
        row.status.number().to_string(),
        "1970-01-01".to_owned(),
        row.last_write_version.to_string(),
        format!("\\x{data}"),
        row.data_encoding.to_string(),
    ];
    ARGUMENTS.iter().copied().zip(values).chain([("n", "0".to_owned())]).collect()
}

/// The goal of the store's rate, relative to that of `client`.
const fn goal(callers: usize, client: Client) -> Option<f64> {
    match (callers, client) {
        (1, Client::TokioPostgres) => Some(0.80),
        (1, Client::Pgbench) => Some(0.45),
        (64, Client::Pgbench) => Some(0.90),
        _ => None,
    }
}

/// The state of a measurement.
struct Bench {
    runtime: Runtime,
    database: Database,
    statements: Statements,
    pgbench: Pgbench,
    plan: Plan,
}

impl Cell {
    fn new(operation: Operation, callers: usize) -> Self {
        let (store, tokio_postgres, pgbench) = <(Subject, Subject, Subject)>::default();
        Self { operation, callers, store, tokio_postgres, pgbench }
    }

    /// Measures one client in one round, on new rows.
    fn measure(&mut self, client: Client, bench: &Bench) -> Result<()> {
        let Self { operation, callers, .. } = *self;
        let Bench { runtime, database, statements, pgbench, plan } = bench;
        runtime.block_on(rows::reset(database, plan.rows))?;
        match client {
            Client::Store => {
                let load = store::load(database, operation, callers, plan);
                self.store.push(&runtime.block_on(load)?);
            }
            Client::TokioPostgres => {
                let load = tokio_postgres::load(database, statements, operation, callers, plan);
                self.tokio_postgres.push(&runtime.block_on(load)?);
            }
            Client::Pgbench => {
                let run = Run {
                    url: &database.scratch().url(),
                    script: &script_of(statements, operation, plan.rows)?,
                    variables: &variables(),
                    clients: callers,
                    seconds: plan.pgbench_seconds,
                };
                let done = pgbench.run(&run)?;
                self.pgbench.push_pgbench(&done);
            }
        }
        Ok(())
    }

    fn peer_to_pgbench(&self) -> Spread {
        Spread::of_ratio(&self.tokio_postgres.rates, &self.pgbench.rates)
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
