//! The memory adapter next to a plain `Mutex<BTreeMap>`.
//!
//! The map is the least that a store in memory can do: no snapshots, no conflicts, no limits. A
//! snapshot of it is a copy, which is what a begin would cost if the adapter copied: the third
//! subject. No benchmark library interleaves its subjects, so this is a loop of its own.

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
    stats::Spread,
    table::{Goal, Table, nanos, ratio},
};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A transaction is begun and dropped; of the map, a copy is made and dropped.
    Begin,
    /// One row by its key.
    Read,
    /// A transaction that overwrites one row and commits; of the map, an insert.
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
    window: Duration,
}

const FULL: Plan = Plan {
    sizes: &[1_000, 10_000, 100_000, 1_000_000],
    threads: &[1, 2, 4, 8],
    rounds: 7,
    window: Duration::from_millis(100),
};

const SMOKE: Plan =
    Plan { sizes: &[1_000, 4_000], threads: &[1, 2], rounds: 1, window: Duration::from_millis(10) };

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    cells: Vec<Cell>,
}

/// One operation at one size and one number of threads: nanoseconds of one operation, as the
/// caller sees them, in each round.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    operation: Operation,
    rows: u32,
    threads: u32,
    store: Vec<f64>,
    /// For a begin, with one thread only: copies exclude each other.
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
                let (operation, threads) = (cell.operation, cell.threads);
                let time = |run: &(dyn Fn(u32) + Sync)| time(threads, plan.window, run);
                cell.store.push(match operation {
                    Operation::Begin => time(&|_| subject.begin()),
                    Operation::Read => time(&|n| subject.read(n)),
                    Operation::Write => time(&|n| subject.write(n)),
                });
                match operation {
                    Operation::Begin if threads == 1 => {
                        cell.map.push(time(&|_| subject.copy_map()));
                    }
                    Operation::Begin => {}
                    Operation::Read => cell.map.push(time(&|n| subject.read_map(n))),
                    Operation::Write => cell.map.push(time(&|n| subject.write_map(n))),
                }
            }
        }
        Ok(Self { cells })
    }

    fn tables(&self) -> Vec<Table> {
        vec![self.growth_table(), self.peer_table()]
    }

    fn goals(&self) -> Vec<Goal> {
        let sizes = self.sizes();
        let growth: Vec<_> = sizes
            .iter()
            .skip(1)
            .map(|rows| (format!("{rows} rows"), self.growth(Operation::Begin, *rows)))
            .collect();
        let growth = growth.iter().map(|(name, spread)| (name.as_str(), *spread));
        // Two measurements of the same thing differ by as much.
        vec![Goal::at_most("A begin, to one with the fewest rows", 1.25, growth)]
    }
}

impl Memory {
    fn cell(&self, operation: Operation, rows: u32, threads: u32) -> &Cell {
        let mut cells = self.cells.iter();
        let is_it =
            |cell: &&Cell| (cell.operation, cell.rows, cell.threads) == (operation, rows, threads);
        cells.find(is_it).expect("everything was measured at every size with every number")
    }

    fn sizes(&self) -> Vec<u32> {
        distinct(self.cells.iter().map(|cell| cell.rows))
    }

    fn threads(&self) -> Vec<u32> {
        distinct(self.cells.iter().map(|cell| cell.threads))
    }

    /// One thread's time at `rows`, to that with the fewest rows.
    fn growth(&self, operation: Operation, rows: u32) -> Spread {
        let fewest = self.sizes()[0];
        let (at, from) = (self.cell(operation, rows, 1), self.cell(operation, fewest, 1));
        Spread::of_ratio(&at.store, &from.store)
    }

    fn growth_table(&self) -> Table {
        let sizes = self.sizes();
        let header = ["rows", "begin", "to the fewest rows", "a copy to a begin"];
        let more = ["read, to the fewest rows", "write and commit, to the fewest rows"];
        let rows = sizes.iter().map(|rows| {
            let begin = self.cell(Operation::Begin, *rows, 1);
            vec![
                rows.to_string(),
                nanos(Spread::of(&begin.store).median),
                ratio(self.growth(Operation::Begin, *rows)),
                format!("{:.0}", Spread::of_ratio(&begin.map, &begin.store).median),
                ratio(self.growth(Operation::Read, *rows)),
                ratio(self.growth(Operation::Write, *rows)),
            ]
        });
        let series = |operation| {
            let bars = sizes.iter().map(|rows| self.growth(operation, *rows)).collect();
            Series::new(Operation::name(operation), bars)
        };
        Table {
            name: "memory-growth",
            title: "Memory adapter, one thread: time as the rows grow".into(),
            header: header.into_iter().chain(more).map(str::to_owned).collect(),
            rows: rows.collect(),
            chart: Chart {
                axis: "time of one operation, to that with the fewest rows".into(),
                groups: sizes.iter().map(|rows| format!("{rows} rows")).collect(),
                series: Operation::ALL.map(series).into(),
                line: Some(("flat".into(), 1.0)),
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
                line: Some(("map".into(), 1.0)),
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
        // As the port has it, a caller gets a row of its own.
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
    let attempt = Attempt::by_hand("Bench");
    #[expect(clippy::disallowed_methods, reason = "a bare begin is what is measured")]
    at_once(store.begin(attempt)).expect("memory is always there")
}

/// The output of a future that never waits, as those of a transaction in memory.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = TaskContext::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a transaction in memory waits for nothing"),
    }
}

/// Nanoseconds of one `operation`, done by `threads` at once for as long as `window`, at least
/// once by each. It is told a number: all over the rows, and never the same in two threads, so
/// that no two of them write the same row.
fn time(threads: u32, window: Duration, operation: &(dyn Fn(u32) + Sync)) -> f64 {
    // Prime, and neither a size nor a divisor of one.
    const STRIDE: u32 = 7_919;
    let barrier = Barrier::new(threads as usize);
    let run = |thread: u32| {
        barrier.wait();
        let (start, mut count) = (Instant::now(), 0_u32);
        while count == 0 || start.elapsed() < window {
            let step = count.wrapping_mul(STRIDE) % (u32::MAX / threads);
            operation(step * threads + thread);
            count += 1;
        }
        (count, start.elapsed())
    };
    let done = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || run(n))).collect();
        running.into_iter().map(|thread| thread.join().expect("it asserts its own work")).collect()
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
    fn every_thread_works_at_least_once() {
        let seen = Mutex::new(Vec::new());
        let nanos = time(4, Duration::ZERO, &|n| seen.lock().unwrap().push(n % 4));
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
        assert!(nanos > 0.0);
    }
}
