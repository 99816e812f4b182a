//! pgbench on the emulator, next to the same PostgreSQL directly.
//!
//! The clients of the emulator use TLS, those of PostgreSQL do not: that is how each is used. No
//! two clients write the same row, so nothing conflicts.

use anyhow::{Context as _, Result};
use dsql_emulator::CatalogConflicts;
use serde::{Deserialize, Serialize};
use temporal_dsql_testkit::{ScratchCluster, ScratchDatabase};

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    context::{Context, runtime},
    database,
    pgbench::{Pgbench, Run},
    processor::ProcessorTime,
    rounds,
    stats::Spread,
    table::{Goal, Table, number, ratio},
};

struct Plan {
    clients: &'static [usize],
    rounds: usize,
    seconds: u64,
}

const FULL: Plan = Plan { clients: &[1, 2, 4, 8, 16], rounds: 3, seconds: 2 };
const SMOKE: Plan = Plan { clients: &[1, 2], rounds: 1, seconds: 0 };

/// The rows of `accounts` of one client.
const ROWS_OF_CLIENT: usize = 600;
/// The statements that make the tables. A transaction of DSQL writes at most 3,000 rows.
const TABLES: &[&str] = &[
    "CREATE TABLE accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84))",
    "CREATE TABLE tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84))",
    "CREATE TABLE branches (bid int PRIMARY KEY, bbalance int, filler char(88))",
    "CREATE TABLE history (id bigint PRIMARY KEY, tid int, bid int, aid int, delta int)",
    "INSERT INTO tellers SELECT n, n, 0, '' FROM generate_series(0, 15) AS n",
    "INSERT INTO branches SELECT n, 0, '' FROM generate_series(0, 15) AS n",
];

/// A transaction, by its name in the table. `tpcb-like` is pgbench's script with its own rows for
/// each client.
const SCRIPTS: &[(&str, &str)] = &[
    ("select", "SELECT abalance FROM accounts WHERE aid = :aid;\n"),
    ("insert", "INSERT INTO history VALUES (:id, 1, 2, 3, 4);\n"),
    ("update", "UPDATE accounts SET abalance = abalance + 1 WHERE aid = :aid;\n"),
    (
        "tpcb-like",
        "BEGIN;\n\
         UPDATE accounts SET abalance = abalance + 1 WHERE aid = :aid;\n\
         SELECT abalance FROM accounts WHERE aid = :aid;\n\
         UPDATE tellers SET tbalance = tbalance + 1 WHERE tid = :client_id;\n\
         UPDATE branches SET bbalance = bbalance + 1 WHERE bid = :client_id;\n\
         INSERT INTO history VALUES (:id, 1, 2, 3, 4);\n\
         END;\n",
    ),
];

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct EmulatorSpeed {
    cells: Vec<Cell>,
}

/// One transaction with one number of clients, with a sample for each round.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cell {
    transaction: String,
    clients: usize,
    /// Transactions per second on PostgreSQL.
    postgres: Vec<f64>,
    /// Transactions per second on the emulator.
    emulator: Vec<f64>,
    /// Processor time of the emulator for one transaction in microseconds, without that of its
    /// PostgreSQL.
    processor_us: Vec<f64>,
}

impl Benchmark for EmulatorSpeed {
    const NAME: &'static str = "emulator";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        let pgbench = Pgbench::new(database::program(server, "pgbench")?)?;
        let most = plan.clients.iter().max().copied().unwrap_or_default();
        let accounts = (0..most).map(|client| {
            let first = client * ROWS_OF_CLIENT;
            let last = first + ROWS_OF_CLIENT - 1;
            format!(
                "INSERT INTO accounts SELECT n, 0, 0, '' FROM generate_series({first}, {last}) AS n"
            )
        });
        let statements: Vec<String> =
            TABLES.iter().map(|sql| (*sql).to_owned()).chain(accounts).collect();
        let (database, cluster) = runtime()?.block_on(async {
            let database = ScratchDatabase::create_on(&server.url()).await?;
            let off = CatalogConflicts::Off;
            let cluster =
                ScratchCluster::create_on(&server.url(), |builder| builder.catalog_conflicts(off))
                    .await
                    .context("starting the emulator")?;
            let mut admin = cluster.admin();
            for sql in &statements {
                database.execute(sql).await?;
                admin.query(sql).await?;
            }
            anyhow::Ok((database, cluster))
        })?;
        let mut cells = Vec::new();
        for clients in plan.clients.iter().copied() {
            for (transaction, script) in SCRIPTS {
                let script = format!(
                    "\\set aid :client_id * {ROWS_OF_CLIENT} + random(0, {})\n\
                     \\set id random(0, 1000000000000000000)\n{script}",
                    ROWS_OF_CLIENT - 1
                );
                let mut cell =
                    Cell { transaction: (*transaction).to_owned(), clients, ..Cell::default() };
                for round in 0..plan.rounds {
                    for on_emulator in rounds::order([false, true], round) {
                        let url = if on_emulator { cluster.url() } else { database.url() };
                        let before = ProcessorTime::until_now()?.own;
                        let found = pgbench.run(&Run {
                            url: &url,
                            script: &script,
                            variables: &[],
                            clients,
                            seconds: plan.seconds,
                        })?;
                        let processor = ProcessorTime::until_now()?.own - before;
                        if on_emulator {
                            cell.emulator.push(found.rate);
                            let each = processor.div_f64(found.transactions);
                            cell.processor_us.push(each.as_secs_f64() * 1e6);
                        } else {
                            cell.postgres.push(found.rate);
                        }
                    }
                }
                context.progress(&cell.progress());
                cells.push(cell);
            }
        }
        Ok(Self { cells })
    }

    fn tables(&self) -> Vec<Table> {
        let header = [
            "transaction",
            "clients",
            "PostgreSQL per second",
            "emulator per second",
            "emulator to PostgreSQL",
            "emulator, to 1 client",
            "emulator's processor time in µs",
        ];
        let rows = self.sorted().map(|cell| {
            vec![
                cell.transaction.clone(),
                cell.clients.to_string(),
                number(Spread::of(&cell.postgres).median),
                number(Spread::of(&cell.emulator).median),
                ratio(cell.to_postgres()),
                ratio(self.to_one_client(cell)),
                number(Spread::of(&cell.processor_us).median),
            ]
        });
        vec![Table {
            name: "emulator",
            title: "pgbench on the emulator, next to the same PostgreSQL".into(),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "transactions per second, to PostgreSQL's".into(),
                groups: self
                    .sorted()
                    .map(|cell| format!("{}\n{}", cell.transaction, cell.clients))
                    .collect(),
                series: vec![Series::new(
                    "emulator",
                    self.sorted().map(Cell::to_postgres).collect(),
                )],
                lines: Vec::new(),
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let writes = self.cells.iter().filter(|cell| cell.clients == 16);
        let writes = writes.filter(|cell| cell.transaction != "select");
        let scaling = writes.map(|cell| (cell.transaction.as_str(), self.to_one_client(cell)));
        vec![Goal::at_least("16 clients that write disjoint rows, to 1", 2.0, scaling)]
    }
}

impl EmulatorSpeed {
    /// By transaction, then by the number of clients.
    fn sorted(&self) -> impl Iterator<Item = &Cell> {
        SCRIPTS
            .iter()
            .flat_map(|(name, _)| self.cells.iter().filter(move |cell| cell.transaction == *name))
    }

    fn to_one_client(&self, cell: &Cell) -> Spread {
        let one = self.sorted().find(|one| one.transaction == cell.transaction);
        Spread::of_ratio(&cell.emulator, &one.unwrap_or(cell).emulator)
    }
}

impl Cell {
    fn to_postgres(&self) -> Spread {
        Spread::of_ratio(&self.emulator, &self.postgres)
    }

    fn progress(&self) -> String {
        let to = self.to_postgres().median;
        format!("{} by {}: {to:.2} of PostgreSQL", self.transaction, self.clients)
    }
}
