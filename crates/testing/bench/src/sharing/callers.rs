//! The callers: some that write executions of their own, and some that all write the same one.

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

/// Adds how long an act took. One that has no answer at the end counts with its wait until then.
fn note(latencies: &mut Histogram<u64>, span: Span, start: Instant, end: Instant) {
    if end >= span.from && start < span.until {
        record(latencies, end.min(span.until) - start);
    }
}

/// Creates and updates one execution after the other, each with an id of its own.
pub struct Own<S> {
    pub store: Arc<S>,
    pub first_id: u64,
}

/// What a caller with executions of its own has done.
pub struct OwnDone {
    /// Acts that ended in the time that counts.
    pub acts: u64,
    /// How long creations took, in nanoseconds.
    pub create: Histogram<u64>,
    /// How long updates took, in nanoseconds.
    pub update: Histogram<u64>,
    /// All that it has written, before and after the time that counts too.
    pub executions: Vec<Execution>,
}

impl<S: Store> Own<S> {
    /// Writes until the end of `span`.
    ///
    /// # Errors
    /// The first act that failed.
    pub async fn write(self, span: Span) -> Result<OwnDone> {
        let store = ExecutionStore::new(&*self.store);
        let (create, update) = (histogram(), histogram());
        let mut done = OwnDone { acts: 0, create, update, executions: Vec::new() };
        for id in self.first_id.. {
            if Instant::now() >= span.until {
                break;
            }
            let mut execution = Execution::new(id);
            let (create, update) = (execution.create(), execution.update());
            let begun = Instant::now();
            store.create(&create).await?;
            let created = Instant::now();
            store.update(&update).await?;
            let updated = Instant::now();
            done.acts += u64::from(span.has(created)) + u64::from(span.has(updated));
            note(&mut done.create, span, begun, created);
            note(&mut done.update, span, created, updated);
            done.executions.push(execution);
        }
        Ok(done)
    }
}

/// Reads and updates the same execution as all others.
pub struct Hot<S> {
    pub store: Arc<S>,
    /// The execution that all of them write.
    pub id: u64,
    pub queue: Queue,
    /// Where they queue: first come, first served.
    pub turn: Arc<Mutex<()>>,
    /// The last id of tasks in the shard.
    pub task_ids: Arc<AtomicI64>,
}

/// What a caller of the one execution has done in the time that counts.
pub struct HotDone {
    /// Updates that were applied.
    pub successes: u64,
    /// Updates that found another version than the caller had read; it read again.
    pub conditions: u64,
    /// Updates that lost conflicts until the store gave up; the caller read again.
    pub given_up: u64,
    /// From the first read to the update that was applied, in nanoseconds.
    pub latencies: Histogram<u64>,
    /// Updates that were applied in all, before and after the time that counts too.
    pub all: i64,
}

impl<S: Store> Hot<S> {
    /// Writes until the end of `span`.
    ///
    /// # Errors
    /// Anything but a version that another caller has written, or a conflict with one.
    pub async fn write(self, span: Span) -> Result<HotDone> {
        let latencies = histogram();
        let mut done = HotDone { successes: 0, conditions: 0, given_up: 0, latencies, all: 0 };
        let mut start = Instant::now();
        while Instant::now() < span.until {
            let result = self.get_and_update().await;
            let end = Instant::now();
            let counts = u64::from(span.has(end));
            match result {
                Ok(()) => {
                    done.all += 1;
                    done.successes += counts;
                    note(&mut done.latencies, span, start, end);
                    start = end;
                }
                Err(StoreError::Condition(ConditionFailed::Execution { .. })) => {
                    done.conditions += counts;
                }
                Err(StoreError::Contended { .. }) => done.given_up += counts,
                Err(other) => bail!(other),
            }
        }
        // The wait that has not ended.
        note(&mut done.latencies, span, start, span.until);
        Ok(done)
    }

    async fn get_and_update(&self) -> Result<(), StoreError> {
        let store = ExecutionStore::new(&*self.store);
        let _turn = match self.queue {
            Queue::GetAndUpdate => Some(self.turn.lock().await),
            Queue::None | Queue::Update => None,
        };
        let read = store.get(&Execution::new(self.id).run()).await?;
        let version = read.expect("nobody deletes it").execution.db_record_version;
        let task_id = self.task_ids.fetch_add(1, Ordering::Relaxed);
        let update = Execution::read_at(self.id, version, task_id).update();
        let _turn = match self.queue {
            Queue::Update => Some(self.turn.lock().await),
            Queue::None | Queue::GetAndUpdate => None,
        };
        store.update(&update).await
    }
}

/// Makes sure that all of `executions` are as they were last written.
///
/// # Errors
/// One is not.
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
    use tokio::time::sleep;

    use super::*;
    use crate::{load::Window, typical::create_shard};

    const WINDOW: Window =
        Window { warm_up: Duration::from_millis(10), measured: Duration::from_millis(100) };

    #[tokio::test]
    async fn what_own_callers_wrote_is_there_and_what_they_did_not_is_missed() {
        let store = Arc::new(MemoryStore::new());
        create_shard(&*store).await.unwrap();
        let own = Own { store: Arc::clone(&store), first_id: 5 };
        let done = own.write(WINDOW.begin()).await.unwrap();
        assert!(done.acts > 0 && !done.create.is_empty(), "{} acts", done.acts);
        check(&*store, &done.executions).await.unwrap();
        let mut another = Execution::new(1);
        another.create();
        let error = check(&*store, &[another]).await.unwrap_err().to_string();
        assert!(error.contains("execution 1 was written 1 times; read: version None"), "{error}");
    }

    /// Two callers of one execution: what each did, and the version that the row shows then.
    async fn hot(queue: Queue) -> ([HotDone; 2], i64) {
        let store = Arc::new(MemoryStore::new());
        create_shard(&*store).await.unwrap();
        let executions = ExecutionStore::new(&*store);
        let mut execution = Execution::new(3);
        executions.create(&execution.create()).await.unwrap();
        let (turn, task_ids) = (Arc::default(), Arc::new(AtomicI64::new(1 << 40)));
        let caller = || Hot {
            store: Arc::clone(&store),
            id: 3,
            queue,
            turn: Arc::clone(&turn),
            task_ids: Arc::clone(&task_ids),
        };
        let span = WINDOW.begin();
        let (first, second) = tokio::join!(caller().write(span), async {
            sleep(Duration::from_millis(20)).await;
            caller().write(span).await
        });
        let read = executions.get(&execution.run()).await.unwrap().unwrap();
        ([first.unwrap(), second.unwrap()], read.execution.db_record_version)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_update_of_the_one_execution_is_in_its_version() {
        for queue in Queue::ALL {
            let ([first, second], version) = hot(queue).await;
            assert_eq!(version, 1 + first.all + second.all, "{queue:?}");
            assert!(first.successes > 0 && first.latencies.len() > first.successes, "{queue:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_queues_for_both_acts_reads_what_it_updates() {
        let ([first, second], _) = hot(Queue::GetAndUpdate).await;
        assert_eq!([first.conditions, second.conditions], [0; 2]);
        assert_eq!([first.given_up, second.given_up], [0; 2]);
    }
}
