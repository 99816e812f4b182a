//! The update from schema 1.0 to 1.1, as the rows of `current_executions` grow.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use temporal_dsql::{
    SchemaVersion, VERSION,
    dsql::Config,
    migrate::{Migrator, Rollback},
};
use temporal_dsql_testkit::FaultProxy;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    context::{Context, runtime},
    database::{Database, migrate},
    rows,
    stats::Spread,
    table::{Goal, Table, nanos, ratio},
};

struct Plan {
    sizes: &'static [u32],
    rounds: usize,
}

const FULL: Plan = Plan { sizes: &[0, 100_000, 1_000_000], rounds: 21 };
const SMOKE: Plan = Plan { sizes: &[0, 1_000], rounds: 1 };

const FIRST: SchemaVersion = SchemaVersion::new(1, 0);

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Migration {
    cells: Vec<Cell>,
}

/// The update of a database with `rows` rows.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    rows: u32,
    /// Round trips after the start of the session, including BEGIN and COMMIT.
    round_trips: u64,
    /// Nanoseconds from the first read of the database to the last statement, in each round.
    nanos: Vec<f64>,
}

impl Benchmark for Migration {
    const NAME: &'static str = "migration";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        let runtime = runtime()?;
        runtime.block_on(async {
            let (mut databases, mut cells) = (Vec::new(), Vec::new());
            for rows in plan.sizes.iter().copied() {
                context.progress(&format!("{rows} rows"));
                let database = Database::create(server, FIRST).await?;
                rows::reset(&database, rows).await?;
                let round_trips = count(&database).await?;
                roll_back(&database).await?;
                databases.push(database);
                cells.push(Cell { rows, round_trips, nanos: Vec::new() });
            }
            for _ in 0..plan.rounds {
                for (database, cell) in databases.iter().zip(&mut cells) {
                    let start = Instant::now();
                    update(&database.config(1)).await?;
                    cell.nanos.push(start.elapsed().as_nanos() as f64);
                    roll_back(database).await?;
                }
            }
            Ok(Self { cells })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let header = ["rows", "round trips", "time", "to that with no rows"];
        let rows = self.cells.iter().map(|cell| {
            vec![
                cell.rows.to_string(),
                cell.round_trips.to_string(),
                nanos(Spread::of(&cell.nanos).median),
                ratio(self.growth(cell)),
            ]
        });
        vec![Table {
            name: "migration",
            title: format!("Update from schema 1.0 to {VERSION}, as current_executions grows"),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "time, to that with no rows".into(),
                groups: self.cells.iter().map(|cell| format!("{} rows", cell.rows)).collect(),
                series: vec![Series::new(
                    "update",
                    self.cells.iter().map(|cell| self.growth(cell)).collect(),
                )],
                lines: vec![("flat".into(), 1.0)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let named: Vec<_> = self.cells[1..]
            .iter()
            .map(|cell| (format!("{} rows", cell.rows), self.growth(cell), cell.round_trips))
            .collect();
        let times = named.iter().map(|(name, growth, _)| (name.as_str(), *growth));
        let fewest = self.cells[0].round_trips as f64;
        let trips = named
            .iter()
            .map(|(name, _, trips)| (name.as_str(), Spread::of(&[*trips as f64 / fewest])));
        vec![
            Goal::at_most("Round trips, to those with no rows", 1.0, trips),
            // The difference between two measurements of the same update.
            Goal::at_most("Time, to that with no rows", 1.25, times),
        ]
    }
}

impl Migration {
    fn growth(&self, cell: &Cell) -> Spread {
        Spread::of_ratio(&cell.nanos, &self.cells[0].nanos)
    }
}

async fn update(config: &Config) -> Result<()> {
    let report =
        migrate(config, None, async |migrator| migrator.plan_update(Some(VERSION)).await).await?;
    ensure!(report.done > 0, "the update had nothing to do");
    Ok(())
}

async fn roll_back(database: &Database) -> Result<()> {
    let rollback = Rollback { to: FIRST, with_rows: false, drop_dependents: false };
    let plan = async |migrator: &mut Migrator<'_>| migrator.plan_rollback(&rollback).await;
    let report = migrate(&database.config(1), None, plan).await?;
    ensure!(report.done > 0, "the rollback had nothing to do");
    Ok(())
}

/// Counts the round trips of one update.
async fn count(database: &Database) -> Result<u64> {
    let proxy = FaultProxy::start(database.scratch().addr()?)?;
    let mut config = database.config(1);
    config.port = proxy.addr().port();
    update(&config).await?;
    Ok(proxy.round_trips())
}
