//! Creations and updates of one caller as the round-trip time grows, next to the limit and to the
//! round trips of the Go fork.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use dsql_emulator::Latency;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use temporal_dsql::{dsql::DsqlStore, stores::ExecutionStore};

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::{Cluster, LATENCY},
    context::{Context, runtime},
    counted::{self, Counted},
    load::{histogram, millis, record},
    rounds,
    stats::Spread,
    table::{Goal, Table, nanos, ratio},
    typical::{Execution, create_shard},
};

struct Plan {
    round_trips_ms: [u64; 4],
    /// Executions of a round at each round-trip time.
    executions: u64,
    rounds: usize,
}

const FULL: Plan = Plan { round_trips_ms: [1, 2, 4, 8], executions: 60, rounds: 3 };
const SMOKE: Plan = Plan { round_trips_ms: [1, 2, 3, 4], executions: 2, rounds: 1 };

/// Executions before the measurement, in which the connection prepares its statements.
const WARM_UP: u64 = 10;
/// The goal relative to the fork's limit in its faster mode, at any round-trip time.
const MAX_TO_FORK: f64 = 0.5;

/// The results.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename = "Latency")]
pub struct RoundTripTime {
    commit_ms: f64,
    cells: Vec<Cell>,
}

/// One round-trip time, with a sample for each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    round_trip_ms: u64,
    create_p50_ms: Vec<f64>,
    update_p50_ms: Vec<f64>,
}

impl Benchmark for RoundTripTime {
    const NAME: &'static str = "latency";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        runtime()?.block_on(async {
            let cluster = Cluster::create(server, |builder| builder).await?;
            let store = Arc::new(cluster.open(&cluster.config(1)).await?);
            create_shard(&*store).await?;
            let mut cells = plan.round_trips_ms.map(Cell::new);
            let mut first_id = 0;
            let mut write = async |executions| {
                let (own, first) = (Arc::clone(&store), first_id);
                first_id += executions;
                // In a task, as a service's calls are: see `operations`.
                tokio::spawn(async move { write(&own, first, executions).await }).await?
            };
            write(WARM_UP).await?;
            for round in 1..=plan.rounds {
                for cell in rounds::order(cells.iter_mut(), round) {
                    let round_trip = Duration::from_millis(cell.round_trip_ms);
                    cluster.set_latency(Latency { round_trip, ..LATENCY });
                    let [create, update] = write(plan.executions).await?;
                    cell.create_p50_ms.push(millis(&create, 0.5));
                    cell.update_p50_ms.push(millis(&update, 0.5));
                }
                context.progress(&format!("round {round} of {}", plan.rounds));
            }
            store.close();
            Ok(Self { commit_ms: LATENCY.commit.as_secs_f64() * 1e3, cells: cells.into() })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let header = [
            "round trip",
            "operation",
            "limit",
            "p50",
            "to the limit",
            "limit of the Go fork, default mode",
            "reservoir mode",
        ];
        let mut rows = Vec::new();
        for act in self.acts() {
            let [default, reservoir] = act.fork_ms;
            rows.push(vec![
                format!("{} ms", act.round_trip_ms),
                act.name.to_owned(),
                nanos(act.limit_ms * 1e6),
                nanos(Spread::of(act.p50_ms).median * 1e6),
                ratio(to(act.p50_ms, act.limit_ms)),
                nanos(default * 1e6),
                nanos(reservoir * 1e6),
            ]);
        }
        let series = [
            Series::new(
                "Go fork, default mode (its limit)",
                self.acts().map(|act| Spread::of(&[act.fork_ms[0]])).collect(),
            ),
            Series::new(
                "Go fork, reservoir mode (its limit)",
                self.acts().map(|act| Spread::of(&[act.fork_ms[1]])).collect(),
            ),
            Series::new("store", self.acts().map(|act| Spread::of(act.p50_ms)).collect()),
            Series::new("limit", self.acts().map(|act| Spread::of(&[act.limit_ms])).collect()),
        ];
        vec![Table {
            name: "latency",
            title: format!(
                "Time of a create and an update as the round trip grows, commits {} ms",
                self.commit_ms
            ),
            header: header.map(str::to_owned).into(),
            rows,
            chart: Chart {
                axis: "ms".into(),
                groups: self
                    .acts()
                    .map(|act| format!("{}, {} ms", act.name, act.round_trip_ms))
                    .collect(),
                series: series.into(),
                lines: Vec::new(),
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        ["create", "update"]
            .map(|name| {
                let of_name = self.acts().filter(|act| act.name == name);
                let ratios = of_name.map(|act| {
                    (format!("{} ms", act.round_trip_ms), to(act.p50_ms, act.fork_ms[1]))
                });
                let ratios: Vec<_> = ratios.collect();
                Goal::at_most(
                    &format!("{name}, time to the limit of the Go fork in its reservoir mode"),
                    MAX_TO_FORK,
                    ratios.iter().map(|(name, ratio)| (&**name, *ratio)),
                )
            })
            .into()
    }
}

/// One operation at one round-trip time.
struct Act<'c> {
    name: &'static str,
    round_trip_ms: u64,
    limit_ms: f64,
    p50_ms: &'c [f64],
    /// The fork's round trips and commits at the same latencies, in its default and in its
    /// reservoir mode.
    fork_ms: [f64; 2],
}

impl RoundTripTime {
    fn acts(&self) -> impl Iterator<Item = Act<'_>> {
        let act = |name, cell: &Cell, p50_ms, counted: &Counted| {
            let time = |round_trips: u32, commits: u32| {
                let round_trips = f64::from(round_trips) * cell.round_trip_ms as f64;
                round_trips + f64::from(commits) * self.commit_ms
            };
            Act {
                name,
                round_trip_ms: cell.round_trip_ms,
                limit_ms: time(1, 1),
                p50_ms,
                fork_ms: [counted.fork_default, counted.fork_reservoir]
                    .map(|round_trips| time(round_trips, counted.fork_commits)),
            }
        };
        let creates = self.cells.iter();
        let creates =
            creates.map(move |cell| act("create", cell, &*cell.create_p50_ms, &counted::CREATE));
        let updates = self.cells.iter();
        let updates =
            updates.map(move |cell| act("update", cell, &*cell.update_p50_ms, &counted::UPDATE));
        creates.chain(updates)
    }
}

impl Cell {
    const fn new(round_trip_ms: u64) -> Self {
        Self { round_trip_ms, create_p50_ms: Vec::new(), update_p50_ms: Vec::new() }
    }
}

fn to(samples: &[f64], limit_ms: f64) -> Spread {
    Spread::of_ratio(samples, &vec![limit_ms; samples.len()])
}

/// Creates and updates executions, and returns the latencies of both.
async fn write(store: &DsqlStore, first_id: u64, executions: u64) -> Result<[Histogram<u64>; 2]> {
    let store = ExecutionStore::new(store);
    let (mut creates, mut updates) = (histogram(), histogram());
    for id in first_id..first_id + executions {
        let mut execution = Execution::new(id);
        let (create, update) = (execution.create(), execution.update());
        let begun = Instant::now();
        store.create(&create).await?;
        let created = Instant::now();
        store.update(&update).await?;
        record(&mut creates, created - begun);
        record(&mut updates, created.elapsed());
    }
    Ok([creates, updates])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_compared_with_its_own_limit_and_with_the_forks() {
        let mut cell = Cell::new(4);
        cell.create_p50_ms = vec![25.2];
        cell.update_p50_ms = vec![60.0];
        let found = RoundTripTime { commit_ms: 20.0, cells: vec![cell] };
        let [create, update] = found.acts().collect::<Vec<_>>().try_into().ok().unwrap();
        assert_eq!((create.limit_ms, create.fork_ms), (24.0, [224.0, 112.0]));
        assert_eq!((update.limit_ms, update.fork_ms), (24.0, [216.0, 104.0]));
        assert_eq!(to(create.p50_ms, create.limit_ms).median, 1.05);
        let met: Vec<_> = found.goals().iter().map(|goal| goal.met).collect();
        assert_eq!(met, [true, false]);
    }
}
