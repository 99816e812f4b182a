//! The memory adapter, compared with a `Mutex<BTreeMap>`.
//!
//! The map is the minimum of a store in memory: it has no snapshots, conflicts or limits. A copy of
//! the map is the cost of a begin without persistent maps. Benchmark libraries do not interleave
//! their subjects, so this module has its own loop.

use std::{
    collections::BTreeMap,
    hint::black_box,
    pin::pin,
    sync::{Arc, Barrier, Mutex, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use temporal_dsql::{
    Attempt, DataBlob, Encoding, ExecutionsFilter, ExecutionsRow, NamespaceId, RunId, ShardId,
    Store, Transaction, WorkflowId, limits::MAX_TRANSACTION_ROWS, memory::MemoryStore,
};
use uuid::Uuid;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    context::Context,
    rounds,
    stats::Spread,
    table::{Goal, Table, nanos, ratio},
};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Begins and drops a transaction; copies and drops the map.
    Begin,
    /// Reads one row by its key.
    Read,
    /// Overwrites one row in a transaction and commits; inserts into the map.
    Write,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Begin, Self::Read, Self::Write];

    const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Read => "read",
            Self::Write => "write and commit",
        }
    }
}

struct Plan {
    sizes: &'static [u32],
    threads: &'static [u32],
    rounds: usize,
    warm_up: Duration,
    window: Duration,
}

const FULL: Plan = Plan {
    sizes: &[1_000, 10_000, 100_000, 1_000_000],
    threads: &[1, 2, 4, 8],
    rounds: 8,
    warm_up: Duration::from_millis(20),
    window: Duration::from_millis(80),
};

const SMOKE: Plan = Plan {
    sizes: &[1_000, 4_000],
    threads: &[1, 2],
    rounds: 1,
    warm_up: Duration::from_millis(2),
    window: Duration::from_millis(10),
};

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    cells: Vec<Cell>,
}

/// One operation at one size and one number of threads: nanoseconds of one operation for its
/// caller, in each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    operation: Operation,
    rows: u32,
    threads: u32,
    store: Vec<f64>,
    /// For a begin, with one thread only: copies exclude one another.
    map: Vec<f64>,
}

impl Benchmark for Memory {
    const NAME: &'static str = "memory";

    fn measure(context: &Context) -> Result<Self> {
        let plan = context.scale.pick(FULL, SMOKE);
        let mut cells = Vec::new();
        let mut subjects = Vec::new();
        for rows in plan.sizes.iter().copied() {
            subjects.push(Subject::new(rows));
            for threads in plan.threads.iter().copied() {
                for operation in Operation::ALL {
                    let (store, map) = (Vec::new(), Vec::new());
                    cells.push(Cell { operation, rows, threads, store, map });
                }
            }
        }
        for round in 1..=plan.rounds {
            context.progress(&format!("round {round} of {}", plan.rounds));
            for cell in &mut cells {
                let rows = cell.rows;
                let subject = subjects.iter().find(|subject| subject.rows == rows);
                let subject = subject.expect("one was made for each size");
                for is_map in rounds::order([false, true], round) {
                    if is_map {
                        cell.measure_map(subject, &plan)
                    } else {
                        cell.measure(subject, &plan)
                    }
                }
            }
        }
        Ok(Self { cells })
    }

    fn tables(&self) -> Vec<Table> {
        vec![self.begin_table(), self.growth_table(), self.peer_table()]
    }

    fn goals(&self) -> Vec<Goal> {
        let sizes = self.sizes();
        let most = sizes.last().copied().unwrap_or_default();
        let growth = self.threads().into_iter().flat_map(|threads| {
            sizes.iter().skip(1).map(move |rows| {
                (
                    format!("{rows}, {}", counted(threads)),
                    self.growth(Operation::Begin, *rows, threads),
                )
            })
        });
        let growth: Vec<_> = growth.collect();
        let highest = |(_, one): &&(String, Spread), (_, other): &&(String, Spread)| {
            one.median.total_cmp(&other.median)
        };
        let highest = growth.iter().max_by(highest);
        let highest = highest.map(|(name, spread)| (name.as_str(), *spread));
        let what = format!("The slowest begin with up to {most} rows, to one with the fewest");
        vec![Goal::at_most(&what, MAX_GROWTH, highest)]
    }
}

/// The difference between two measurements of the same operation.
const MAX_GROWTH: f64 = 1.25;

impl Cell {
    fn measure(&mut self, subject: &Subject, plan: &Plan) {
        let time = |run: &(dyn Fn(u32) + Sync)| time(self.threads, plan, run);
        self.store.push(match self.operation {
            Operation::Begin => time(&|_| subject.begin()),
            Operation::Read => time(&|n| subject.read(n)),
            Operation::Write => time(&|n| subject.write(n)),
        });
    }

    fn measure_map(&mut self, subject: &Subject, plan: &Plan) {
        let time = |run: &(dyn Fn(u32) + Sync)| time(self.threads, plan, run);
        self.map.push(match self.operation {
            Operation::Begin if self.threads > 1 => return,
            Operation::Begin => time(&|_| subject.copy_map()),
            Operation::Read => time(&|n| subject.read_map(n)),
            Operation::Write => time(&|n| subject.write_map(n)),
        });
    }
}

impl Memory {
    fn cell(&self, operation: Operation, rows: u32, threads: u32) -> &Cell {
        let mut cells = self.cells.iter();
        let is_it =
            |cell: &&Cell| (cell.operation, cell.rows, cell.threads) == (operation, rows, threads);
        cells.find(is_it).expect("every operation was measured at every size and number of threads")
    }

    fn sizes(&self) -> Vec<u32> {
        distinct(self.cells.iter().map(|cell| cell.rows))
    }

    fn threads(&self) -> Vec<u32> {
        distinct(self.cells.iter().map(|cell| cell.threads))
    }

    /// The time at `rows`, relative to that with the fewest rows.
    fn growth(&self, operation: Operation, rows: u32, threads: u32) -> Spread {
        let fewest = self.sizes()[0];
        let at = self.cell(operation, rows, threads);
        Spread::of_ratio(&at.store, &self.cell(operation, fewest, threads).store)
    }

    fn begin_table(&self) -> Table {
        let (sizes, threads) = (self.sizes(), self.threads());
        let mut header = vec!["rows".to_owned()];
        for threads in &threads {
            header.extend([counted(*threads), "to the fewest rows".to_owned()]);
        }
        header.push("a copy to a begin, 1 thread".to_owned());
        let rows = sizes.iter().map(|rows| {
            let mut cells = vec![rows.to_string()];
            for threads in &threads {
                let begin = self.cell(Operation::Begin, *rows, *threads);
                cells.push(nanos(Spread::of(&begin.store).median));
                cells.push(ratio(self.growth(Operation::Begin, *rows, *threads)));
            }
            let alone = self.cell(Operation::Begin, *rows, 1);
            cells.push(format!("{:.0}", Spread::of_ratio(&alone.map, &alone.store).median));
            cells
        });
        let series = |threads: &u32| {
            let bars = sizes.iter().map(|rows| self.growth(Operation::Begin, *rows, *threads));
            let goals = sizes.iter().skip(1).map(|_| Some(MAX_GROWTH));
            Series::new(counted(*threads), bars.collect())
                .with_goals(std::iter::once(None).chain(goals).collect())
        };
        Table {
            name: "memory-begin",
            title: "Memory adapter: time of a begin as the rows grow".into(),
            header,
            rows: rows.collect(),
            chart: Chart {
                axis: "time of one begin, to that with the fewest rows".into(),
                groups: sizes.iter().map(|rows| format!("{rows} rows")).collect(),
                series: threads.iter().map(series).collect(),
                lines: vec![("flat".into(), 1.0)],
            },
        }
    }

    fn growth_table(&self) -> Table {
        const SHOWN: [Operation; 2] = [Operation::Read, Operation::Write];
        let sizes = self.sizes();
        let mut header = vec!["rows".to_owned()];
        for operation in SHOWN {
            header.extend([operation.name().to_owned(), "to the fewest rows".to_owned()]);
        }
        let rows = sizes.iter().map(|rows| {
            let mut cells = vec![rows.to_string()];
            for operation in SHOWN {
                cells.push(nanos(Spread::of(&self.cell(operation, *rows, 1).store).median));
                cells.push(ratio(self.growth(operation, *rows, 1)));
            }
            cells
        });
        let series = |operation| {
            let bars = sizes.iter().map(|rows| self.growth(operation, *rows, 1)).collect();
            Series::new(Operation::name(operation), bars)
        };
        Table {
            name: "memory-growth",
            title: "Memory adapter, one thread: time of a read and a write as the rows grow".into(),
            header,
            rows: rows.collect(),
            chart: Chart {
                axis: "time of one operation, to that with the fewest rows".into(),
                groups: sizes.iter().map(|rows| format!("{rows} rows")).collect(),
                series: SHOWN.map(series).into(),
                lines: vec![("flat".into(), 1.0)],
            },
        }
    }

    fn peer_table(&self) -> Table {
        let (sizes, threads) = (self.sizes(), self.threads());
        let at = |operation, rows, threads| {
            let cell = self.cell(operation, rows, threads);
            Spread::of_ratio(&cell.map, &cell.store)
        };
        let mut header = vec!["rows".to_owned()];
        for operation in [Operation::Read, Operation::Write] {
            for threads in &threads {
                header.push(format!("{}, {}", operation.name(), counted(*threads)));
            }
        }
        let rows = sizes.iter().map(|rows| {
            let mut cells = vec![rows.to_string()];
            for operation in [Operation::Read, Operation::Write] {
                cells.extend(threads.iter().map(|threads| ratio(at(operation, *rows, *threads))));
            }
            cells
        });
        let series = |operation: Operation, threads: u32| {
            let bars = sizes.iter().map(|rows| at(operation, *rows, threads)).collect();
            Series::new(format!("{}, {}", operation.name(), counted(threads)), bars)
        };
        let most = threads.last().copied().unwrap_or(1);
        Table {
            name: "memory-peer",
            title: "Memory adapter: its speed to that of a Mutex<BTreeMap>".into(),
            header,
            rows: rows.collect(),
            chart: Chart {
                axis: "operations per second, to the map's".into(),
                groups: sizes.iter().map(|rows| format!("{rows} rows")).collect(),
                series: vec![
                    series(Operation::Read, 1),
                    series(Operation::Read, most),
                    series(Operation::Write, 1),
                    series(Operation::Write, most),
                ],
                lines: vec![("map".into(), 1.0)],
            },
        }
    }
}

fn counted(threads: u32) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

fn distinct(values: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// The same rows in a store and in a map.
struct Subject {
    rows: u32,
    store: MemoryStore,
    map: Mutex<BTreeMap<ExecutionsFilter, Arc<ExecutionsRow>>>,
}

impl Subject {
    fn new(rows: u32) -> Self {
        let store = MemoryStore::new();
        let mut map = BTreeMap::new();
        let numbers: Vec<u32> = (0..rows).collect();
        for batch in numbers.chunks(MAX_TRANSACTION_ROWS as usize) {
            let mut transaction = begin(&store);
            for number in batch {
                let row = row(*number);
                at_once(transaction.insert_into_executions(&row)).expect("a new row");
                map.insert(row.filter(), Arc::new(row));
            }
            at_once(transaction.commit()).expect("no other writer");
        }
        Self { rows, store, map: Mutex::new(map) }
    }

    fn begin(&self) {
        drop(black_box(begin(&self.store)));
    }

    fn read(&self, n: u32) {
        let filter = key(n % self.rows);
        let found = at_once(self.store.session().select_from_executions(&filter));
        assert!(black_box(found.expect("a short key")).is_some());
    }

    fn write(&self, n: u32) {
        let mut transaction = begin(&self.store);
        let updated = at_once(transaction.update_executions(&self.some_row(n)));
        assert_eq!(updated.expect("a small row"), 1);
        at_once(transaction.commit()).expect("each thread has rows of its own");
    }

    fn copy_map(&self) {
        drop(black_box(self.map().clone()));
    }

    fn read_map(&self, n: u32) {
        let filter = key(n % self.rows);
        let found = self.map().get(&filter).cloned();
        // A caller of the store owns its row.
        assert!(black_box(found.map(|row| ExecutionsRow::clone(&row))).is_some());
    }

    fn write_map(&self, n: u32) {
        let row = self.some_row(n);
        assert!(self.map().insert(row.filter(), Arc::new(row)).is_some());
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<ExecutionsFilter, Arc<ExecutionsRow>>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn some_row(&self, n: u32) -> ExecutionsRow {
        row(n % self.rows)
    }
}

fn key(number: u32) -> ExecutionsFilter {
    ExecutionsFilter {
        shard_id: ShardId((number % 512).cast_signed()),
        namespace_id: NamespaceId(Uuid::from_u128(1)),
        workflow_id: WorkflowId::new(format!("workflow-{number}")).expect("a short id"),
        run_id: RunId(Uuid::from_u128(number.into())),
    }
}

fn row(number: u32) -> ExecutionsRow {
    let proto3 = Encoding::new("Proto3").expect("a short name");
    let ExecutionsFilter { shard_id, namespace_id, workflow_id, run_id } = key(number);
    ExecutionsRow {
        shard_id,
        namespace_id,
        workflow_id,
        run_id,
        next_event_id: 1,
        last_write_version: 0,
        data: DataBlob::new([0; 16], proto3.clone()),
        state: DataBlob::new([0; 16], proto3),
        db_record_version: 1,
    }
}

fn begin(store: &MemoryStore) -> Box<dyn Transaction> {
    let attempt = Attempt::first("Bench");
    #[expect(clippy::disallowed_methods, reason = "a bare begin is what is measured")]
    at_once(store.begin(attempt)).expect("a begin in memory never fails")
}

/// The output of a future that never waits, as all futures of the memory adapter.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = TaskContext::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a transaction in memory never waits"),
    }
}

/// Nanoseconds of one `operation`, which `threads` repeat for the plan's window after its warm-up,
/// at least once each. Its argument is spread over the rows, and two threads never share one, so
/// that no two threads write the same row.
fn time(threads: u32, plan: &Plan, operation: &(dyn Fn(u32) + Sync)) -> f64 {
    // Prime, and neither a size nor a divisor of one.
    const STRIDE: u32 = 7_919;
    let barrier = Barrier::new(threads as usize);
    let run = |thread: u32| {
        let mut number = 0_u32;
        let mut go_on = |time: Duration| {
            barrier.wait();
            let (start, first) = (Instant::now(), number);
            while number == first || start.elapsed() < time {
                let step = number.wrapping_mul(STRIDE) % (u32::MAX / threads);
                operation(step * threads + thread);
                number += 1;
            }
            (number - first, start.elapsed())
        };
        go_on(plan.warm_up);
        go_on(plan.window)
    };
    let done = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
        running.into_iter().map(|thread| thread.join().expect("an operation panicked")).collect()
    });
    let done: Vec<(u32, Duration)> = done;
    let rate: f64 = done.iter().map(|(count, time)| f64::from(*count) / time.as_secs_f64()).sum();
    1e9 / rate * f64::from(threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_never_share_a_row() {
        let sizes = FULL.sizes.iter().chain(SMOKE.sizes);
        let threads = || FULL.threads.iter().chain(SMOKE.threads);
        for rows in sizes {
            assert!(threads().all(|threads| rows % threads == 0), "{rows} rows");
        }
    }

    #[test]
    fn every_thread_works_at_least_once_before_and_in_the_time_that_counts() {
        let plan = Plan { warm_up: Duration::ZERO, window: Duration::ZERO, ..SMOKE };
        let seen = Mutex::new(Vec::new());
        let nanos = time(4, &plan, &|n| seen.lock().unwrap().push(n));
        let mut seen = seen.into_inner().unwrap();
        let mut threads: Vec<_> = seen.iter().map(|n| n % 4).collect();
        threads.sort_unstable();
        assert_eq!(threads, [0, 0, 1, 1, 2, 2, 3, 3]);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8, "no number comes twice");
        assert!(nanos > 0.0);
    }

    #[test]
    fn a_begin_is_shown_with_every_number_of_threads() {
        let cells = Operation::ALL.into_iter().flat_map(|operation| {
            [(1_000, 1, 100.0), (1_000, 2, 200.0), (4_000, 1, 100.0), (4_000, 2, 300.0)].map(
                |(rows, threads, nanos)| {
                    let (store, map) = (vec![nanos], vec![nanos * 50.0]);
                    Cell { operation, rows, threads, store, map }
                },
            )
        });
        let found = Memory { cells: cells.collect() };
        let table = found.begin_table();
        assert_eq!(
            table.rows[1],
            ["4000", "100 ns", "1.00 (1.00–1.00)", "300 ns", "1.50 (1.50–1.50)", "50"]
        );
        assert_eq!(table.chart.series.len(), 2);
        let [goal] = &found.goals()[..] else { panic!("one goal") };
        assert_eq!((goal.measured.as_str(), goal.met), ("4000, 2 threads 1.50", false));
    }
}
