//! A connection storm: many connections requested at once from a cluster that limits their rate.
//!
//! The bound follows from the limit: connections beyond the burst open at the rate. The store is
//! measured twice: configured with the cluster's limits, and without limits. Without them the
//! cluster refuses connections, as it does when other clients exhaust its limits.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use dsql_emulator::Limits;
use serde::{Deserialize, Serialize};
use temporal_dsql::{Attempt, Store};
use tokio::task::JoinSet;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::Cluster,
    context::{Context, runtime},
    rounds,
    stats::Spread,
    table::{Goal, Table, number, ratio},
};

struct Plan {
    connections: u32,
    /// New connections per second, and at once.
    rate: u32,
    burst: u32,
    rounds: usize,
}

/// The rate is a cluster's (aurora-dsql.md#admission). A cluster's burst would admit all
/// connections.
const FULL: Plan = Plan { connections: 500, rate: 100, burst: 100, rounds: 4 };
const SMOKE: Plan = Plan { connections: 20, rate: 100, burst: 10, rounds: 1 };

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Storm {
    connections: u32,
    rate: u32,
    burst: u32,
    /// Seconds until the last connection was open, for a store configured with the limits.
    configured: Vec<f64>,
    /// The same for a store without limits.
    unconfigured: Vec<f64>,
}

impl Benchmark for Storm {
    const NAME: &'static str = "storm";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        let runtime = runtime()?;
        runtime.block_on(async {
            let mut limits = Limits::default();
            limits.connection_rate = plan.rate.into();
            limits.connection_burst = plan.burst.into();
            let cluster = Cluster::create(server, |builder| builder.limits(limits)).await?;
            let (mut configured, mut unconfigured) = (Vec::new(), Vec::new());
            for round in 1..=plan.rounds {
                for is_configured in rounds::order([true, false], round) {
                    let seconds = storm(&cluster, &plan, is_configured).await?;
                    if is_configured { &mut configured } else { &mut unconfigured }.push(seconds);
                }
                context.progress(&format!("round {round} of {}", plan.rounds));
            }
            let Plan { connections, rate, burst, .. } = plan;
            Ok(Self { connections, rate, burst, configured, unconfigured })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let subjects =
            [("the cluster's limits", &self.configured), ("no limits", &self.unconfigured)];
        let header = ["the store has", "connections", "failed", "seconds", "to the bound"];
        let rows = subjects.map(|(name, seconds)| {
            vec![
                name.to_owned(),
                self.connections.to_string(),
                // A failure voids the measurement.
                "0".to_owned(),
                number(Spread::of(seconds).median),
                ratio(self.to_bound(seconds)),
            ]
        });
        vec![Table {
            name: "storm",
            title: format!(
                "{} connections requested at once from a cluster that admits {} at once and {} per \
                 second",
                self.connections, self.burst, self.rate
            ),
            header: header.map(str::to_owned).into(),
            rows: rows.into(),
            chart: Chart {
                axis: "time until all are open, to the bound".into(),
                groups: subjects.map(|(name, _)| name.to_owned()).into(),
                series: vec![Series::new(
                    "store",
                    subjects.map(|(_, seconds)| self.to_bound(seconds)).into(),
                )],
                lines: vec![("bound".into(), 1.0)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let configured = self.to_bound(&self.configured);
        let what = "Time until all are open, without a failure, to the bound";
        vec![Goal::at_most(what, 1.10, [("with the cluster's limits", configured)])]
    }
}

impl Storm {
    /// Seconds relative to the bound. One connection is open before.
    fn to_bound(&self, seconds: &[f64]) -> Spread {
        let bound = f64::from(self.connections - 1 - self.burst) / f64::from(self.rate);
        Spread::of_ratio(seconds, &vec![bound; seconds.len()])
    }
}

/// Seconds until a new store has all its connections open.
async fn storm(cluster: &Cluster, plan: &Plan, configured: bool) -> Result<f64> {
    let mut config = cluster.config(plan.connections);
    if configured {
        config.pool.connection_rate = plan.rate;
        config.pool.connection_burst = plan.burst;
    }
    let store = Arc::new(cluster.open(&config).await?);
    // Until the burst is available again and earlier connections have ended.
    let refilled = f64::from(plan.burst) / f64::from(plan.rate);
    tokio::time::sleep(Duration::from_secs_f64(refilled) + Duration::from_millis(100)).await;
    let start = Instant::now();
    let mut asked = JoinSet::new();
    for _ in 0..plan.connections {
        let store = Arc::clone(&store);
        #[expect(clippy::disallowed_methods, reason = "a transaction holds its connection")]
        asked.spawn(async move { store.begin(Attempt::first("Storm")).await });
    }
    let mut held = Vec::new();
    while let Some(begun) = asked.join_next().await {
        held.push(begun.context("a task panicked")?.context("a connection was not opened")?);
    }
    let seconds = start.elapsed().as_secs_f64();
    for transaction in held {
        transaction.rollback().await?;
    }
    store.close();
    Ok(seconds)
}
