//! Callers that write executions of their own, and callers that all write the same execution.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use temporal_dsql::{ConditionFailed, Store, StoreError, stores::ExecutionStore};
use tokio::{sync::Mutex, time::Instant};

use super::queue::Queue;
use crate::{
    load::{Span, histogram, record},
    typical::Execution,
};

/// Records the latency of an operation in `span`. One without an answer at the end is recorded with
/// its wait until then.
fn record_in(latencies: &mut Histogram<u64>, span: Span, start: Instant, end: Instant) {
    if end >= span.from && start < span.until {
        record(latencies, end.min(span.until) - start);
    }
}

/// A caller that creates and updates one execution after the other, each with an id of its own.
pub struct DistinctCaller<S> {
    pub store: Arc<S>,
    pub first_id: u64,
}

/// The results of one caller with executions of its own.
pub struct DistinctResults {
    /// Operations that ended in the measured time.
    pub operations: u64,
    /// Latencies of creations in nanoseconds.
    pub create: Histogram<u64>,
    /// Latencies of updates in nanoseconds.
    pub update: Histogram<u64>,
    /// All written executions, including those outside of the measured time.
    pub executions: Vec<Execution>,
}

impl<S: Store> DistinctCaller<S> {
    /// Writes until `span` is over.
    ///
    /// # Errors
    /// The first operation that fails.
    pub async fn write(self, span: Span) -> Result<DistinctResults> {
        let store = ExecutionStore::new(&*self.store);
        let (create, update) = (histogram(), histogram());
        let mut results = DistinctResults { operations: 0, create, update, executions: Vec::new() };
        for id in self.first_id.. {
            if span.is_over(Instant::now(), results.operations) {
                break;
            }
            let mut execution = Execution::new(id);
            let (create, update) = (execution.create(), execution.update());
            let begun = Instant::now();
            store.create(&create).await?;
            let created = Instant::now();
            store.update(&update).await?;
            let updated = Instant::now();
            results.operations +=
                u64::from(span.contains(created)) + u64::from(span.contains(updated));
            record_in(&mut results.create, span, begun, created);
            record_in(&mut results.update, span, created, updated);
            results.executions.push(execution);
        }
        Ok(results)
    }
}

/// A caller that reads and updates the same execution as all others.
pub struct SharedCaller<S> {
    pub store: Arc<S>,
    /// The id of the execution.
    pub id: u64,
    pub queue: Queue,
    /// The queue, first come, first served.
    pub lock: Arc<Mutex<()>>,
    /// The last task id of the shard.
    pub task_ids: Arc<AtomicI64>,
}

/// The results of one caller of the shared execution in the measured time.
pub struct SharedResults {
    /// Applied updates.
    pub successes: u64,
    /// Updates that failed because another caller had written; the caller read again.
    pub conditions: u64,
    /// Updates that lost conflicts until the store gave up; the caller read again.
    pub given_up: u64,
    /// Nanoseconds from the first read to the applied update.
    pub latencies: Histogram<u64>,
    /// Applied updates, including those outside of the measured time.
    pub all: i64,
}

impl<S: Store> SharedCaller<S> {
    /// Writes until `span` is over.
    ///
    /// # Errors
    /// Any error but a failed version condition or a conflict.
    pub async fn write(self, span: Span) -> Result<SharedResults> {
        let latencies = histogram();
        let mut results =
            SharedResults { successes: 0, conditions: 0, given_up: 0, latencies, all: 0 };
        let mut start = Instant::now();
        while !span.is_over(Instant::now(), results.successes) {
            let result = self.get_and_update().await;
            let end = Instant::now();
            let counts = u64::from(span.contains(end));
            match result {
                Ok(()) => {
                    results.all += 1;
                    results.successes += counts;
                    record_in(&mut results.latencies, span, start, end);
                    start = end;
                }
                Err(StoreError::Condition(ConditionFailed::Execution { .. })) => {
                    results.conditions += counts;
                }
                Err(StoreError::Conflict { .. }) => results.given_up += counts,
                Err(other) => bail!(other),
            }
        }
        if results.successes < span.max_calls {
            // The update that has not been applied.
            record_in(&mut results.latencies, span, start, span.until);
        }
        Ok(results)
    }

    async fn get_and_update(&self) -> Result<(), StoreError> {
        let store = ExecutionStore::new(&*self.store);
        let _guard = match self.queue {
            Queue::GetAndUpdate => Some(self.lock.lock().await),
            Queue::None | Queue::Update => None,
        };
        let read = store.get(&Execution::new(self.id).run()).await?;
        let version = read.expect("no caller deletes it").execution.db_record_version;
        let task_id = self.task_ids.fetch_add(1, Ordering::Relaxed);
        let update = Execution::read_at(self.id, version, task_id).update();
        let _guard = match self.queue {
            Queue::Update => Some(self.lock.lock().await),
            Queue::None | Queue::GetAndUpdate => None,
        };
        store.update(&update).await
    }
}

/// Verifies that all of `executions` are stored as last written.
///
/// # Errors
/// One differs.
pub async fn check(store: &impl Store, executions: &[Execution]) -> Result<()> {
    let store = ExecutionStore::new(store);
    for execution in executions {
        let read = store.get(&execution.run()).await.context("reading what was written")?;
        execution.check(read.as_ref())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use temporal_dsql::memory::MemoryStore;
    use tokio::time::sleep_until;

    use super::*;
    use crate::{load::Window, typical::create_shard};

    /// The counted operations of each caller.
    const CALLS: u64 = 20;
    const WINDOW: Window = Window { max_calls: CALLS, ..Window::SMOKE };

    #[tokio::test]
    async fn written_executions_are_verified_and_missing_ones_are_found() {
        let store = Arc::new(MemoryStore::new());
        create_shard(&*store).await.unwrap();
        let own = DistinctCaller { store: Arc::clone(&store), first_id: 5 };
        let results = own.write(WINDOW.begin()).await.unwrap();
        assert_eq!(results.operations, CALLS);
        assert_eq!([results.create.len(), results.update.len()], [CALLS / 2; 2]);
        check(&*store, &results.executions).await.unwrap();
        let mut another = Execution::new(1);
        another.create();
        let error = check(&*store, &[another]).await.unwrap_err().to_string();
        assert!(error.contains("execution 1 was written 1 times; read: version None"), "{error}");
    }

    /// An execution that callers share.
    struct Shared {
        store: Arc<MemoryStore>,
        lock: Arc<Mutex<()>>,
        task_ids: Arc<AtomicI64>,
    }

    impl Shared {
        const ID: u64 = 3;

        async fn new() -> Self {
            let store = Arc::new(MemoryStore::new());
            create_shard(&*store).await.unwrap();
            let create = Execution::new(Self::ID).create();
            ExecutionStore::new(&*store).create(&create).await.unwrap();
            Self { store, lock: Arc::default(), task_ids: Arc::new(AtomicI64::new(1 << 40)) }
        }

        fn caller(&self, queue: Queue) -> SharedCaller<MemoryStore> {
            SharedCaller {
                store: Arc::clone(&self.store),
                id: Self::ID,
                queue,
                lock: Arc::clone(&self.lock),
                task_ids: Arc::clone(&self.task_ids),
            }
        }

        /// The version of the row.
        async fn version(&self) -> i64 {
            let run = Execution::new(Self::ID).run();
            let read = ExecutionStore::new(&*self.store).get(&run).await.unwrap().unwrap();
            read.execution.db_record_version
        }
    }

    /// Two callers of one execution: their results, and the version of the row afterwards.
    async fn share(queue: Queue) -> ([SharedResults; 2], i64) {
        let shared = Shared::new().await;
        let span = WINDOW.begin();
        let [first, second] = [(); 2].map(|()| tokio::spawn(shared.caller(queue).write(span)));
        let results = [first.await.unwrap().unwrap(), second.await.unwrap().unwrap()];
        (results, shared.version().await)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_update_of_the_one_execution_is_in_its_version() {
        for queue in Queue::ALL {
            let ([first, second], version) = share(queue).await;
            assert_eq!(version, 1 + first.all + second.all, "{queue:?}");
            for results in [first, second] {
                let counts = [results.successes, results.latencies.len()];
                assert_eq!(counts, [CALLS; 2], "{queue:?}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_around_get_and_update_prevents_conflicts() {
        let ([first, second], _) = share(Queue::GetAndUpdate).await;
        assert_eq!([first.conditions, second.conditions], [0; 2]);
        assert_eq!([first.given_up, second.given_up], [0; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_that_has_not_been_applied_is_recorded_with_its_wait() {
        let shared = Shared::new().await;
        let span = Window::timed(Duration::ZERO, Duration::from_secs(1)).begin();
        let queue = shared.lock.lock().await;
        let write = || shared.caller(Queue::Update).write(span);
        // Both have read the execution when the time ends. One updates it, the other fails.
        let (first, second, ()) = tokio::join!(write(), write(), async {
            sleep_until(span.until).await;
            drop(queue);
        });
        let both = [first.unwrap(), second.unwrap()];
        assert_eq!((both[0].all + both[1].all, shared.version().await), (1, 2));
        for results in both {
            assert_eq!([results.successes, results.conditions], [0; 2]);
            let (waits, longest) = (results.latencies.len(), results.latencies.max());
            assert_eq!(waits, 1);
            assert!((1_000_000_000..1_001_000_000).contains(&longest), "{longest}");
        }
    }
}
