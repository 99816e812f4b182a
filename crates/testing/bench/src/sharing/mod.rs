//! Callers that share a shard, a workflow or a queue, with the latencies of a cluster.
//!
//! *Shard:* each caller creates and updates workflows of its own. They share only the shard's row,
//! which each operation locks FOR KEY SHARE. Such operations must not conflict, so the limit is
//! that of one caller, times the callers.
//!
//! *Workflow:* every caller reads the same workflow and updates it at the version that it has read.
//! One of those that have read a version updates it; the others lose a conflict or fail the
//! condition, and read again. The same is measured with a queue within the process: around the
//! update, which is all that a store could queue, and around get and update, as Temporal's history
//! service does. This decides whether a store should have such a queue.
//!
//! *Queue:* every caller adds messages to the same queue, whose ids are dense. Of those that have
//! read one last id, one adds the next message; the others lose a conflict.

mod callers;
mod conflicts;
mod enqueue;
mod queue;

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use dsql_emulator::Latency;
use serde::{Deserialize, Serialize};
use temporal_dsql::{QueueType, dsql::DsqlStore, stores::ExecutionStore};
use temporal_dsql_testkit::postgres::Server;
use tokio::task::JoinSet;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::{Cluster, LATENCY},
    context::{Context, runtime},
    load::{Window, histogram, join, millis},
    rounds,
    stats::Spread,
    table::{Goal, Table, nanos, number, ratio},
    typical::{Execution, create_shard},
};
use callers::{DistinctCaller, SharedCaller};
use conflicts::Conflicts;
use enqueue::EnqueueCell;
use queue::Queue;

struct Plan {
    shard_callers: [u32; 2],
    workflow_callers: [u32; 2],
    queue_callers: [u32; 2],
    rounds: usize,
    shard: Window,
    /// Long enough for several updates of the slowest of many callers.
    workflow: Window,
}

const FULL: Plan = Plan {
    shard_callers: [1, 8],
    workflow_callers: [8, 64],
    queue_callers: [1, 16],
    rounds: 3,
    shard: Window::timed(Duration::from_secs(1), Duration::from_secs(5)),
    workflow: Window::timed(Duration::from_secs(2), Duration::from_secs(15)),
};

const SMOKE: Plan = Plan {
    shard_callers: [1, 2],
    workflow_callers: [2, 4],
    queue_callers: [1, 16],
    rounds: 1,
    shard: Window::SMOKE,
    workflow: Window::SMOKE,
};

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sharing {
    round_trip_ms: f64,
    commit_ms: f64,
    shard: Vec<ShardCell>,
    workflow: Vec<WorkflowCell>,
    /// Empty in results from before it was measured.
    #[serde(default)]
    queue: Vec<EnqueueCell>,
}

/// A number of callers in one shard, with a sample for each round.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ShardCell {
    callers: u32,
    operations_per_second: Vec<f64>,
    create_p50_ms: Vec<f64>,
    create_p95_ms: Vec<f64>,
    update_p50_ms: Vec<f64>,
    update_p95_ms: Vec<f64>,
    conflicts_per_operation: Vec<f64>,
}

/// A number of callers of one workflow, with a sample for each round.
#[derive(Debug, Serialize, Deserialize)]
struct WorkflowCell {
    callers: u32,
    queue: Queue,
    updates_per_second: Vec<f64>,
    conditions_per_update: Vec<f64>,
    conflicts_per_update: Vec<f64>,
    given_up_per_update: Vec<f64>,
    p50_ms: Vec<f64>,
    p95_ms: Vec<f64>,
    /// Updates of the slowest caller, relative to the mean.
    fairness: Vec<f64>,
}

impl Benchmark for Sharing {
    const NAME: &'static str = "sharing";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        let runtime = runtime()?;
        let conflicts = Conflicts::install()?;
        runtime.block_on(async {
            let mut bench = Bench::open(server, conflicts, &plan).await?;
            let mut shard = plan.shard_callers.map(ShardCell::new);
            let mut workflow: Vec<_> = plan
                .workflow_callers
                .into_iter()
                .flat_map(|callers| Queue::ALL.map(|queue| WorkflowCell::new(callers, queue)))
                .collect();
            let mut queue = plan.queue_callers.map(EnqueueCell::new);
            for round in 1..=plan.rounds {
                for cell in rounds::order(shard.iter_mut(), round) {
                    bench.measure_shard(cell, plan.shard).await?;
                }
                for cell in rounds::order(workflow.iter_mut(), round) {
                    bench.measure_workflow(cell, plan.workflow).await?;
                }
                for cell in rounds::order(queue.iter_mut(), round) {
                    bench.measure_queue(cell, plan.workflow).await?;
                    context.progress(&cell.last_round());
                }
                context.progress(&format!("round {round} of {}", plan.rounds));
            }
            bench.close();
            let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
            Ok(Self {
                round_trip_ms: millis(LATENCY.round_trip),
                commit_ms: millis(LATENCY.commit),
                shard: shard.into(),
                workflow,
                queue: queue.into(),
            })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.shard_table(), self.workflow_table()];
        if !self.queue.is_empty() {
            tables.push(enqueue::table(&self.queue, self.limit_ms()));
        }
        tables
    }

    fn goals(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        for cell in &self.shard {
            goals.push(Goal::at_most(
                &format!("{}, p50 to the limit of an operation", callers_name(cell.callers)),
                MAX_P50,
                self.p50s(cell),
            ));
        }
        let [.., many] = &*self.shard else { return goals };
        goals.push(Goal::at_most(
            &format!("{} in one shard, p95 to p50", callers_name(many.callers)),
            2.0,
            many.tails(),
        ));
        let to = |samples: &[f64], least| Spread::of_ratio(samples, &vec![least; samples.len()]);
        goals.push(Goal::at_least(
            &format!(
                "{} in one shard, operations per second, to {MIN_OPERATIONS}",
                callers_name(many.callers)
            ),
            1.0,
            [("create and update", to(&many.operations_per_second, MIN_OPERATIONS))],
        ));
        let store = self.workflow.iter().find(|cell| cell.queue == Queue::None);
        goals.extend(store.map(|cell| {
            let what = format!(
                "{} of one workflow, updates per second, to {MIN_UPDATES}",
                callers_name(cell.callers)
            );
            Goal::at_least(
                &what,
                1.0,
                [("get and update", to(&cell.updates_per_second, MIN_UPDATES))],
            )
        }));
        goals
    }
}

/// The goal of an operation's median, relative to its limit.
const MAX_P50: f64 = 1.15;
/// The goal of operations per second of eight callers of one shard.
const MIN_OPERATIONS: f64 = 200.0;
/// The goal of updates per second of eight callers of one workflow.
const MIN_UPDATES: f64 = 10.9;

fn callers_name(count: u32) -> String {
    format!("{count} {}", if count == 1 { "caller" } else { "callers" })
}

impl Sharing {
    /// The limit of an operation: one round trip and one commit.
    fn limit_ms(&self) -> f64 {
        self.round_trip_ms + self.commit_ms
    }

    /// Operations per second, relative to those of as many callers at the limit.
    fn rate(&self, cell: &ShardCell) -> Spread {
        let limit = f64::from(cell.callers) / (self.limit_ms() / 1e3);
        Spread::of_ratio(
            &cell.operations_per_second,
            &vec![limit; cell.operations_per_second.len()],
        )
    }

    fn p50s(&self, cell: &ShardCell) -> [(&'static str, Spread); 2] {
        let limits = vec![self.limit_ms(); cell.create_p50_ms.len()];
        [
            ("create", Spread::of_ratio(&cell.create_p50_ms, &limits)),
            ("update", Spread::of_ratio(&cell.update_p50_ms, &limits)),
        ]
    }

    fn shard_table(&self) -> Table {
        let header = [
            "callers",
            "operations per second",
            "to the limit",
            "p50 of create to its limit",
            "p50 of update to its limit",
            "p95 of create to its p50",
            "p95 of update to its p50",
            "conflicts per operation",
        ];
        let rows = self.shard.iter().map(|cell| {
            let [(_, create), (_, update)] = self.p50s(cell);
            let [(_, create_tail), (_, update_tail)] = cell.tails();
            vec![
                cell.callers.to_string(),
                number(Spread::of(&cell.operations_per_second).median),
                ratio(self.rate(cell)),
                ratio(create),
                ratio(update),
                ratio(create_tail),
                ratio(update_tail),
                number(Spread::of(&cell.conflicts_per_operation).median),
            ]
        });
        let goals = self.shard.iter().map(|cell| {
            let limit = f64::from(cell.callers) / (self.limit_ms() / 1e3);
            (cell.callers == 8).then_some(MIN_OPERATIONS / limit)
        });
        let bars = self.shard.iter().map(|cell| self.rate(cell)).collect();
        Table {
            name: "sharing-shard",
            title: "Callers in one shard, each with workflows of its own, on the emulator".into(),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "operations per second, to as many callers at one round trip and one commit"
                    .into(),
                groups: self.shard.iter().map(|cell| callers_name(cell.callers)).collect(),
                series: vec![Series::new("operations", bars).with_goals(goals.collect())],
                lines: vec![("limit".into(), 1.0)],
            },
        }
    }

    /// Updates per second, relative to those of as many callers without a queue.
    fn to_none(&self, cell: &WorkflowCell) -> Spread {
        let none = self
            .workflow
            .iter()
            .find(|other| (other.callers, other.queue) == (cell.callers, Queue::None))
            .expect("all queues were measured with as many callers");
        Spread::of_ratio(&cell.updates_per_second, &none.updates_per_second)
    }

    fn workflow_table(&self) -> Table {
        let header = [
            "callers",
            "queue",
            "updates per second",
            "to no queue",
            "failed conditions per update",
            "conflicts per update",
            "p50",
            "p95",
            "slowest caller to the mean",
        ];
        let rows = self.workflow.iter().map(|cell| {
            let median = |samples: &[f64]| Spread::of(samples).median;
            vec![
                cell.callers.to_string(),
                cell.queue.name().to_owned(),
                number(median(&cell.updates_per_second)),
                ratio(self.to_none(cell)),
                number(median(&cell.conditions_per_update)),
                number(median(&cell.conflicts_per_update)),
                nanos(median(&cell.p50_ms) * 1e6),
                nanos(median(&cell.p95_ms) * 1e6),
                number(median(&cell.fairness)),
            ]
        });
        let mut counts: Vec<_> = self.workflow.iter().map(|cell| cell.callers).collect();
        counts.dedup();
        let series = Queue::ALL.map(|queue| {
            let cells = self.workflow.iter().filter(move |cell| cell.queue == queue);
            let bars = cells.map(|cell| Spread::of(&cell.updates_per_second)).collect();
            Series::new(queue.name(), bars)
        });
        let one_by_one = 1e3 / (self.round_trip_ms + self.limit_ms());
        Table {
            name: "sharing-workflow",
            title: "Callers of one workflow, which all get and update it, on the emulator".into(),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "updates per second".into(),
                groups: counts.into_iter().map(callers_name).collect(),
                series: series.into(),
                lines: vec![("get and update, one after the other".into(), one_by_one)],
            },
        }
    }
}

impl ShardCell {
    fn new(callers: u32) -> Self {
        Self { callers, ..Self::default() }
    }

    /// The 95th percentile, relative to the median.
    fn tails(&self) -> [(&'static str, Spread); 2] {
        [
            ("create", Spread::of_ratio(&self.create_p95_ms, &self.create_p50_ms)),
            ("update", Spread::of_ratio(&self.update_p95_ms, &self.update_p50_ms)),
        ]
    }
}

impl WorkflowCell {
    const fn new(callers: u32, queue: Queue) -> Self {
        Self {
            callers,
            queue,
            updates_per_second: Vec::new(),
            conditions_per_update: Vec::new(),
            conflicts_per_update: Vec::new(),
            given_up_per_update: Vec::new(),
            p50_ms: Vec::new(),
            p95_ms: Vec::new(),
            fairness: Vec::new(),
        }
    }
}

/// The cluster, and a store for each number of callers, with a connection for each of them.
struct Bench {
    cluster: Cluster,
    stores: Vec<(u32, Arc<DsqlStore>)>,
    conflicts: Conflicts,
    /// The id of the next execution.
    next_id: u64,
}

/// The range of execution ids of one caller in one round.
const IDS_OF_A_CALLER: u64 = 1_000_000;
/// Task ids above those of the executions that callers do not share.
const SHARED_TASK_IDS: i64 = i64::MAX / 2;

impl Bench {
    async fn open(server: &Server, conflicts: Conflicts, plan: &Plan) -> Result<Self> {
        let cluster = Cluster::create(server, |builder| builder).await?;
        let mut counts = [plan.shard_callers, plan.workflow_callers, plan.queue_callers].concat();
        counts.sort_unstable();
        counts.dedup();
        let mut stores = Vec::new();
        for callers in counts {
            stores.push((callers, Arc::new(cluster.open(&cluster.config(callers)).await?)));
        }
        let (_, store) = stores.first().context("a number of callers is planned")?;
        create_shard(&**store).await?;
        Ok(Self { cluster, stores, conflicts, next_id: 0 })
    }

    fn close(&self) {
        self.stores.iter().for_each(|(_, store)| store.close());
    }

    fn store(&self, callers: u32) -> Arc<DsqlStore> {
        let found = self.stores.iter().find(|(count, _)| *count == callers);
        Arc::clone(&found.expect("a store was opened for each number of callers").1)
    }

    async fn measure_shard(&mut self, cell: &mut ShardCell, window: Window) -> Result<()> {
        let store = self.store(cell.callers);
        self.cluster.set_latency(LATENCY);
        let span = window.begin();
        let mut running = JoinSet::new();
        for _ in 0..cell.callers {
            let caller = DistinctCaller { store: Arc::clone(&store), first_id: self.next_id };
            self.next_id += IDS_OF_A_CALLER;
            running.spawn(caller.write(span));
        }
        let (each, conflicts) = join(running, span, self.conflicts.counter()).await?;
        let seconds = span.seconds();
        self.cluster.set_latency(Latency::default());
        let (mut create, mut update, mut operations) = (histogram(), histogram(), 0);
        let mut executions = Vec::new();
        for results in each {
            create.add(results.create)?;
            update.add(results.update)?;
            operations += results.operations;
            executions.extend(results.executions);
        }
        ensure!(operations > 0, "no operation ended in {:?}", window.measured);
        callers::check(&*store, &executions).await?;
        cell.operations_per_second.push(operations as f64 / seconds);
        cell.create_p50_ms.push(millis(&create, 0.5));
        cell.create_p95_ms.push(millis(&create, 0.95));
        cell.update_p50_ms.push(millis(&update, 0.5));
        cell.update_p95_ms.push(millis(&update, 0.95));
        cell.conflicts_per_operation.push(conflicts as f64 / operations as f64);
        Ok(())
    }

    async fn measure_workflow(&mut self, cell: &mut WorkflowCell, window: Window) -> Result<()> {
        let store = self.store(cell.callers);
        let executions = ExecutionStore::new(&*store);
        let mut execution = Execution::new(self.next_id);
        executions.create(&execution.create()).await?;
        let task_ids = SHARED_TASK_IDS + self.next_id as i64 * 1_000;
        let (lock, task_ids) = (Arc::default(), Arc::new(AtomicI64::new(task_ids)));
        self.cluster.set_latency(LATENCY);
        let span = window.begin();
        let mut running = JoinSet::new();
        for _ in 0..cell.callers {
            let caller = SharedCaller {
                store: Arc::clone(&store),
                id: self.next_id,
                queue: cell.queue,
                lock: Arc::clone(&lock),
                task_ids: Arc::clone(&task_ids),
            };
            running.spawn(caller.write(span));
        }
        self.next_id += IDS_OF_A_CALLER;
        let (each, conflicts) = join(running, span, self.conflicts.counter()).await?;
        let seconds = span.seconds();
        self.cluster.set_latency(Latency::default());
        let total =
            |count: fn(&callers::SharedResults) -> u64| each.iter().map(count).sum::<u64>() as f64;
        let updates = total(|caller| caller.successes);
        ensure!(updates > 0.0, "nothing was updated in {:?}", window.measured);
        let read = executions.get(&execution.run()).await?.context("the workflow is missing")?;
        let (version, all) =
            (read.execution.db_record_version, each.iter().map(|caller| caller.all));
        let written = 1 + all.sum::<i64>();
        ensure!(version == written, "{written} writes were applied; the version is {version}");
        let mut latencies = histogram();
        for caller in &each {
            latencies.add(&caller.latencies)?;
        }
        let slowest = each.iter().map(|caller| caller.successes).min().unwrap_or_default();
        cell.updates_per_second.push(updates / seconds);
        cell.conditions_per_update.push(total(|caller| caller.conditions) / updates);
        cell.conflicts_per_update.push(conflicts as f64 / updates);
        cell.given_up_per_update.push(total(|caller| caller.given_up) / updates);
        cell.p50_ms.push(millis(&latencies, 0.5));
        cell.p95_ms.push(millis(&latencies, 0.95));
        cell.fairness.push(slowest as f64 / (updates / f64::from(cell.callers)));
        Ok(())
    }
}

impl Bench {
    async fn measure_queue(&mut self, cell: &mut EnqueueCell, window: Window) -> Result<()> {
        let store = self.store(cell.callers());
        let queue = QueueType(i32::try_from(self.next_id / IDS_OF_A_CALLER)?);
        self.next_id += IDS_OF_A_CALLER;
        self.cluster.set_latency(LATENCY);
        let measured = cell.measure(store, queue, &self.conflicts, window).await;
        self.cluster.set_latency(Latency::default());
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(operations_per_second: f64, p50_ms: f64, p95_ms: f64) -> Sharing {
        let shard = [1, 8].map(|callers| ShardCell {
            callers,
            operations_per_second: vec![operations_per_second],
            create_p50_ms: vec![p50_ms],
            create_p95_ms: vec![p95_ms],
            update_p50_ms: vec![24.0],
            update_p95_ms: vec![24.0],
            conflicts_per_operation: vec![0.0],
        });
        let workflow =
            Queue::ALL.into_iter().zip([10.0, 15.0, 30.0]).map(|(queue, rate)| WorkflowCell {
                updates_per_second: vec![rate],
                conditions_per_update: vec![1.0],
                conflicts_per_update: vec![1.0],
                given_up_per_update: vec![0.0],
                p50_ms: vec![100.0],
                p95_ms: vec![200.0],
                fairness: vec![0.5],
                ..WorkflowCell::new(8, queue)
            });
        let workflow = workflow.collect();
        let queue = Vec::new();
        Sharing { round_trip_ms: 4.0, commit_ms: 20.0, shard: shard.into(), workflow, queue }
    }

    #[test]
    fn an_operation_is_compared_with_its_limit_and_its_tail_with_its_median() {
        let met = |rate, p50, p95| {
            let goals = found(rate, p50, p95).goals();
            goals.iter().map(|goal| goal.met).collect::<Vec<_>>()
        };
        // The medians of one and of eight, the tail, the rate, and the workflow, which is too slow.
        assert_eq!(met(200.0, 27.5, 55.0), [true, true, true, true, false]);
        assert_eq!(met(199.0, 27.7, 55.5), [false, false, false, false, false]);
    }

    #[test]
    fn rates_are_compared_with_the_limit_and_with_no_queue() {
        let found = found(100.0, 24.0, 24.0);
        let rates = [0, 1].map(|at| (found.rate(&found.shard[at]).median * 1e3).round());
        assert_eq!(rates, [2_400.0, 300.0], "to 41.7 and 333");
        let to_none: Vec<_> =
            found.workflow.iter().map(|cell| found.to_none(cell).median).collect();
        assert_eq!(to_none, [1.0, 1.5, 3.0]);
        for table in found.tables() {
            table.chart.svg(&table.title).unwrap();
        }
    }
}
