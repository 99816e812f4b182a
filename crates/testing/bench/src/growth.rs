//! The latency of a creation on an emulator with stored executions, relative to one without.
//!
//! Created executions are not deleted. Three emulators hold different numbers of executions, and
//! each round measures all three. They add no latency: the measured time is their own and the
//! store's.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use temporal_dsql::{dsql::DsqlStore, stores::ExecutionStore};
use temporal_dsql_testkit::postgres::Server;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::Cluster,
    context::{Context, runtime},
    load::{histogram, millis, record},
    rounds,
    stats::Spread,
    table::{Goal, Table, nanos, ratio},
    typical::{Execution, create_shard},
};

struct Plan {
    /// Stored executions of each emulator before the first round; the first is the reference.
    stored: [u64; 3],
    /// Creations in a round on each emulator.
    samples: u64,
    rounds: usize,
}

const FULL: Plan = Plan { stored: [0, 1_000, 10_000], samples: 40, rounds: 9 };
const SMOKE: Plan = Plan { stored: [0, 4, 16], samples: 3, rounds: 1 };

/// Creations before the measurement, in which the connection prepares its statements.
const WARM_UP: u64 = 10;
/// The goal relative to the emulator without executions.
const MAX_RATIO: f64 = 1.1;
/// The goal without latency.
const MAX_MS: f64 = 3.0;

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Growth {
    cells: Vec<Cell>,
}

/// One emulator, with a sample for each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    /// Stored executions before the first round.
    stored: u64,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Benchmark for Growth {
    const NAME: &'static str = "growth";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        runtime()?.block_on(async {
            let mut subjects = Vec::new();
            for stored in plan.stored {
                subjects.push(Subject::open(server, stored).await?);
                context.progress(&format!("{stored} executions"));
            }
            for round in 1..=plan.rounds {
                for subject in rounds::order(subjects.iter_mut(), round) {
                    let taken = subject.create(plan.samples).await?;
                    subject.cell.p50_ms.push(millis(&taken, 0.5));
                    subject.cell.p99_ms.push(millis(&taken, 0.99));
                }
                context.progress(&format!("round {round} of {}", plan.rounds));
            }
            let close = |subject: Subject| {
                subject.store.close();
                subject.cell
            };
            Ok(Self { cells: subjects.into_iter().map(close).collect() })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let header = ["executions", "p50 of a create", "p99", "p50 to that on none"];
        let rows = self.cells.iter().map(|cell| {
            vec![
                cell.stored.to_string(),
                nanos(Spread::of(&cell.p50_ms).median * 1e6),
                nanos(Spread::of(&cell.p99_ms).median * 1e6),
                ratio(self.to_none(cell)),
            ]
        });
        let ratios = self.cells.iter().map(|cell| self.to_none(cell)).collect();
        vec![Table {
            name: "growth",
            title: "A create on an emulator that holds executions, without latency".into(),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "p50 of a create, to that on an emulator that holds none".into(),
                groups: self.cells.iter().map(|cell| cell.stored.to_string()).collect(),
                series: vec![
                    Series::new("create", ratios)
                        .with_goals(vec![Some(MAX_RATIO); self.cells.len()]),
                ],
                lines: vec![("none".into(), 1.0)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let named = |of: fn(&Self, &Cell) -> Spread| {
            let cells =
                self.cells.iter().map(move |cell| (cell.stored.to_string(), of(self, cell)));
            cells.collect::<Vec<_>>()
        };
        let goal = |what, most, ratios: &[(String, Spread)]| {
            Goal::at_most(what, most, ratios.iter().map(|(name, ratio)| (&**name, *ratio)))
        };
        vec![
            goal("A create, to one without others", MAX_RATIO, &named(Self::to_none)),
            goal("A create, in ms", MAX_MS, &named(|_, cell| Spread::of(&cell.p50_ms))),
        ]
    }
}

impl Growth {
    fn to_none(&self, cell: &Cell) -> Spread {
        Spread::of_ratio(&cell.p50_ms, &self.cells[0].p50_ms)
    }
}

/// An emulator with stored executions.
struct Subject {
    _cluster: Cluster,
    store: Arc<DsqlStore>,
    next_id: u64,
    cell: Cell,
}

impl Subject {
    async fn open(server: &Server, stored: u64) -> Result<Self> {
        let cluster = Cluster::create(server, |builder| builder).await?;
        let store = Arc::new(cluster.open(&cluster.config(1)).await?);
        create_shard(&store).await?;
        let cell = Cell { stored, p50_ms: Vec::new(), p99_ms: Vec::new() };
        let mut subject = Self { _cluster: cluster, store, next_id: 0, cell };
        subject.create(stored.max(WARM_UP)).await?;
        Ok(subject)
    }

    /// The latencies of creations, one after the other. Runs in a task, as a service's calls do.
    async fn create(&mut self, executions: u64) -> Result<Histogram<u64>> {
        let (store, first) = (Arc::clone(&self.store), self.next_id);
        self.next_id += executions;
        tokio::spawn(async move {
            let store = ExecutionStore::new(&*store);
            let mut taken = histogram();
            for id in first..first + executions {
                let create = Execution::new(id).create();
                let begun = Instant::now();
                store.create(&create).await?;
                record(&mut taken, begun.elapsed());
            }
            Ok(taken)
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(p50_ms: [f64; 3]) -> Growth {
        let cells = FULL.stored.into_iter().zip(p50_ms).map(|(stored, p50)| Cell {
            stored,
            p50_ms: vec![p50],
            p99_ms: vec![2.0 * p50],
        });
        Growth { cells: cells.collect() }
    }

    #[test]
    fn the_goals_are_a_tenth_more_and_three_milliseconds() {
        let met = |p50| found(p50).goals().iter().map(|goal| goal.met).collect::<Vec<_>>();
        assert_eq!(met([2.0, 2.1, 2.2]), [true, true]);
        assert_eq!(met([2.0, 2.1, 2.3]), [false, true]);
        assert_eq!(met([2.9, 3.0, 3.1]), [true, false]);
    }
}
