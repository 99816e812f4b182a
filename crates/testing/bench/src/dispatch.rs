//! Tasks of one task queue of matching: created by its owner's callers, and read by them.
//!
//! A batch of tasks is created in one round trip and one commit. Each creation locks the queue's
//! row FOR KEY SHARE, so the callers of one owner must not conflict. A page is read in one round
//! trip.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use dsql_emulator::Latency;
use serde::{Deserialize, Serialize};
use temporal_dsql::{
    DataBlob, NamespaceId, TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueueLease, TaskQueueType,
    TaskQueuesRow, TasksRow, dsql::DsqlStore, stores::MatchingTaskStore,
};
use uuid::Uuid;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    cluster::{Cluster, LATENCY},
    context::{Context, runtime},
    load::{Caller, Window, closed_loop, millis},
    rounds,
    stats::Spread,
    table::{Goal, Table, nanos, number, ratio},
};

struct Plan {
    callers: [u32; 2],
    rounds: usize,
    window: Window,
}

const FULL: Plan = Plan {
    callers: [1, 16],
    rounds: 3,
    window: Window::timed(Duration::from_secs(1), Duration::from_secs(5)),
};
const SMOKE: Plan = Plan { callers: [1, 2], rounds: 1, window: Window::SMOKE };

/// Tasks of one creation and of one page.
const BATCH: u32 = 10;
/// The bytes of a task, about those of an `AllocatedTaskInfo`.
const TASK_BYTES: usize = 120;
/// The goal: the rate relative to as many callers at the limit.
const MIN_RATE: f64 = 0.85;

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Dispatch {
    round_trip_ms: f64,
    commit_ms: f64,
    cells: Vec<Cell>,
}

/// One operation by a number of callers, with a sample for each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    operation: Operation,
    callers: u32,
    calls_per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Operation {
    Create,
    Read,
}

impl Benchmark for Dispatch {
    const NAME: &'static str = "dispatch";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let server = context.server()?;
        runtime()?.block_on(async {
            let cluster = Cluster::create(server, |builder| builder).await?;
            let mut cells = Vec::new();
            for operation in [Operation::Create, Operation::Read] {
                cells.extend(plan.callers.map(|callers| Cell::new(operation, callers)));
            }
            let mut queues = 0;
            for round in 1..=plan.rounds {
                for cell in rounds::order(cells.iter_mut(), round) {
                    queues += 1;
                    cell.measure(&cluster, queues, plan.window).await?;
                }
                context.progress(&format!("round {round} of {}", plan.rounds));
            }
            let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
            let (round_trip_ms, commit_ms) = (millis(LATENCY.round_trip), millis(LATENCY.commit));
            Ok(Self { round_trip_ms, commit_ms, cells })
        })
    }

    fn tables(&self) -> Vec<Table> {
        let header = ["operation", "callers", "tasks per second", "to the limit", "p50", "p99"];
        let rows = self.cells.iter().map(|cell| {
            let median = |samples: &[f64]| Spread::of(samples).median;
            vec![
                cell.operation.name().to_owned(),
                cell.callers.to_string(),
                number(median(&cell.calls_per_second) * f64::from(BATCH)),
                ratio(self.to_limit(cell)),
                nanos(median(&cell.p50_ms) * 1e6),
                nanos(median(&cell.p99_ms) * 1e6),
            ]
        });
        let bars = self.cells.iter().map(|cell| self.to_limit(cell)).collect();
        let goals = self.cells.iter().map(|cell| self.has_goal(cell).then_some(MIN_RATE));
        vec![Table {
            name: "dispatch",
            title: format!("Tasks of one task queue, {BATCH} in a call, on the emulator"),
            header: header.map(str::to_owned).into(),
            rows: rows.collect(),
            chart: Chart {
                axis: "calls per second, to as many callers at the limit".into(),
                groups: self.cells.iter().map(Cell::name).collect(),
                series: vec![Series::new("store", bars).with_goals(goals.collect())],
                lines: vec![("limit".into(), 1.0)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        let cells = self.cells.iter().filter(|cell| self.has_goal(cell));
        let ratios: Vec<_> = cells.map(|cell| (cell.name(), self.to_limit(cell))).collect();
        vec![Goal::at_least(
            "Tasks per second, to as many callers at the limit",
            MIN_RATE,
            ratios.iter().map(|(name, ratio)| (&**name, *ratio)),
        )]
    }
}

impl Dispatch {
    /// Calls per second, relative to those of as many callers at the limit of a call.
    fn to_limit(&self, cell: &Cell) -> Spread {
        let limit_ms = match cell.operation {
            Operation::Create => self.round_trip_ms + self.commit_ms,
            Operation::Read => self.round_trip_ms,
        };
        let limit = f64::from(cell.callers) * 1e3 / limit_ms;
        Spread::of_ratio(&cell.calls_per_second, &vec![limit; cell.calls_per_second.len()])
    }

    /// Many reads without a commit are limited by the processors of the machine, not by latencies.
    fn has_goal(&self, cell: &Cell) -> bool {
        cell.operation == Operation::Create || cell.callers == 1
    }
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
        }
    }
}

impl Cell {
    const fn new(operation: Operation, callers: u32) -> Self {
        Self {
            operation,
            callers,
            calls_per_second: Vec::new(),
            p50_ms: Vec::new(),
            p99_ms: Vec::new(),
        }
    }

    fn name(&self) -> String {
        let plural = if self.callers == 1 { "" } else { "s" };
        format!("{}, {} caller{plural}", self.operation.name(), self.callers)
    }

    /// Measures one round on a task queue of its own.
    async fn measure(&mut self, cluster: &Cluster, queue: u32, window: Window) -> Result<()> {
        let store = Arc::new(cluster.open(&cluster.config(self.callers)).await?);
        let matching = MatchingTaskStore::new(&*store);
        let queue = TaskQueueKey::new(
            TaskQueueKind::Normal,
            NamespaceId(Uuid::from_u128(0x3204_9b68_7872_4094_8e63_d0dd_5989_6a83)),
            &format!("queue-{queue}"),
            TaskQueueType::Activity,
            0,
        );
        let data = DataBlob::proto3([0x5a; TASK_BYTES]);
        let lease = TaskQueueLease { queue, range_id: 1 };
        matching.create_task_queue(&TaskQueuesRow { queue, range_id: 1, data }).await?;
        let task_ids = Arc::new(AtomicI64::new(1));
        let caller = || TaskCaller {
            store: Arc::clone(&store),
            operation: self.operation,
            lease,
            task_ids: Arc::clone(&task_ids),
        };
        if self.operation == Operation::Read {
            caller().create().await?;
        }
        cluster.set_latency(LATENCY);
        let callers = (0..self.callers).map(|_| caller()).collect();
        let load = closed_loop(callers, window).await;
        cluster.set_latency(Latency::default());
        let load = load?;
        let created = task_ids.load(Ordering::Relaxed) - 1;
        let all = TaskQueueKind::Normal.first_level()..TaskQueueKind::Normal.end_level();
        let (mut stored, mut range) = (0, Some(all));
        while let Some(rest) = range.take() {
            let end = rest.end;
            let page = matching.get_tasks(&queue, rest, 1_000).await?;
            stored += i64::try_from(page.items.len())?;
            range = page.next.map(|next| next..end);
        }
        ensure!(stored == created, "{created} tasks were created; {stored} are stored");
        store.close();
        self.calls_per_second.push(load.rate);
        self.p50_ms.push(millis(&load.latencies, 0.5));
        self.p99_ms.push(millis(&load.latencies, 0.99));
        Ok(())
    }
}

/// A caller of the queue's owner.
struct TaskCaller {
    store: Arc<DsqlStore>,
    operation: Operation,
    lease: TaskQueueLease,
    /// The id of the next task, of all callers.
    task_ids: Arc<AtomicI64>,
}

impl TaskCaller {
    async fn create(&self) -> Result<()> {
        let first = self.task_ids.fetch_add(i64::from(BATCH), Ordering::Relaxed);
        let tasks = (first..first + i64::from(BATCH)).map(|task_id| TasksRow {
            queue: self.lease.queue,
            level: TaskLevel::of_task(task_id),
            data: DataBlob::proto3([0x5a; TASK_BYTES]),
        });
        let matching = MatchingTaskStore::new(&*self.store);
        Ok(matching.create_tasks(self.lease, &tasks.collect::<Vec<_>>()).await?)
    }

    async fn read(&self) -> Result<()> {
        let kind = TaskQueueKind::Normal;
        let all = kind.first_level()..kind.end_level();
        let matching = MatchingTaskStore::new(&*self.store);
        let read = matching.get_tasks(&self.lease.queue, all, BATCH).await?.items.len();
        ensure!(read == BATCH as usize, "a page has {read} tasks");
        Ok(())
    }
}

impl Caller for TaskCaller {
    async fn call(&mut self) -> Result<()> {
        match self.operation {
            Operation::Create => self.create().await,
            Operation::Read => self.read().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_compared_with_as_many_callers_at_the_limit_of_the_operation() {
        let cell = |operation, callers, rate| Cell {
            calls_per_second: vec![rate],
            p50_ms: vec![1.0],
            p99_ms: vec![1.0],
            ..Cell::new(operation, callers)
        };
        let cells = vec![cell(Operation::Create, 12, 500.0), cell(Operation::Read, 1, 200.0)];
        let found = Dispatch { round_trip_ms: 4.0, commit_ms: 20.0, cells };
        let ratios: Vec<_> = found.cells.iter().map(|cell| found.to_limit(cell).median).collect();
        assert_eq!(ratios, [1.0, 0.8]);
        assert!(!found.goals()[0].met);
    }
}
