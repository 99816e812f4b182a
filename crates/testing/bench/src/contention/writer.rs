//! A writer, which repeatedly locks a row, increments it and commits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use dsql_emulator::Latency;
use hdrhistogram::Histogram;
use temporal_dsql::{Attempt, CurrentExecutionsFilter, Store, StoreError, Transaction};
use tokio::time::{Instant, sleep};

use super::policy::Policy;
use crate::{
    load::{Span, histogram, record},
    rows::row,
};

/// One of many writers.
pub struct Writer<S> {
    pub store: Arc<S>,
    pub policy: Policy,
    /// The latencies that this writer adds, for a store without latencies.
    pub latency: Latency,
    /// It chooses among the rows from 0 to this at random.
    pub keys: u64,
    pub random: fastrand::Rng,
}

/// The results of one writer in the measured time.
pub struct WriterResults {
    /// Committed increments.
    pub successes: u64,
    /// Attempts that began.
    pub attempts: u64,
    /// Errors returned to the caller because the policy gave up.
    pub given_up: u64,
    /// Nanoseconds from the first attempt to the commit. A caller calls again after an error,
    /// within the same latency. An increment that is not committed at the end is included with its
    /// wait until then, so that the longest waits are not omitted.
    pub latencies: Histogram<u64>,
    /// Committed increments, including those outside of the measured time.
    pub all: u64,
}

impl<S: Store> Writer<S> {
    /// Writes until `span` is over. Increments that end before it are not counted.
    ///
    /// # Errors
    /// Any error but a conflict.
    pub async fn write(mut self, span: Span) -> Result<WriterResults> {
        let latencies = histogram();
        let mut results =
            WriterResults { successes: 0, attempts: 0, given_up: 0, latencies, all: 0 };
        while !span.is_over(Instant::now(), results.successes) {
            let filter = row(self.random.u64(..self.keys)).filter();
            let start = Instant::now();
            let (attempts, given_up) = self.increment(&filter, span).await?;
            let end = Instant::now();
            results.all += 1;
            results.attempts += u64::from(attempts);
            results.given_up += u64::from(given_up);
            results.successes += u64::from(span.contains(end));
            if end >= span.from {
                record(&mut results.latencies, end.min(span.until) - start);
            }
        }
        Ok(results)
    }

    /// Commits one increment, and returns the attempts begun in `span` and the times that the
    /// policy gave up in it.
    async fn increment(
        &mut self,
        filter: &CurrentExecutionsFilter,
        span: Span,
    ) -> Result<(u32, u32)> {
        let attempts = AtomicU32::new(0);
        let mut random = self.random.fork();
        let counts = || u32::from(span.contains(Instant::now()));
        let attempt = |attempt| {
            attempts.fetch_add(counts(), Ordering::Relaxed);
            self.attempt(filter, attempt)
        };
        let mut given_up = 0;
        if self.policy == Policy::FullJitter {
            while let Err(error) = self.store.runner().retry("Increment", &attempt).await {
                conflict(error)?;
                given_up += counts();
            }
            return Ok((attempts.into_inner(), given_up));
        }
        let mut number = 1;
        while let Err(error) = attempt(Attempt { number, ..Attempt::first("Increment") }).await {
            conflict(error)?;
            let wait = self.policy.wait(number, &mut random);
            number = if wait.is_some() { number + 1 } else { 1 };
            given_up += if wait.is_none() { counts() } else { 0 };
            sleep(wait.unwrap_or_default()).await;
        }
        Ok((attempts.into_inner(), given_up))
    }

    /// Runs one transaction: four round trips and a commit. The server executes a message when it
    /// arrives, so the latency of the round trip passes after the statement; the latency of the
    /// commit passes before the commit takes effect.
    async fn attempt(
        &self,
        filter: &CurrentExecutionsFilter,
        attempt: Attempt,
    ) -> Result<(), StoreError> {
        let Latency { round_trip, commit } = self.latency;
        #[expect(clippy::disallowed_methods, reason = "compares with other runners")]
        let mut transaction = self.store.begin(attempt).await?;
        pass(round_trip).await;
        if let Err(error) = self.update(&mut *transaction, filter).await {
            // The error of the statement is returned, not that of a failed rollback.
            let _ = transaction.rollback().await;
            return Err(error);
        }
        pass(commit).await;
        let committed = transaction.commit().await;
        pass(round_trip).await;
        committed
    }

    async fn update(
        &self,
        transaction: &mut dyn Transaction,
        filter: &CurrentExecutionsFilter,
    ) -> Result<(), StoreError> {
        let locked = transaction.lock_current_executions(filter).await?;
        pass(self.latency.round_trip).await;
        let mut row = locked.expect("the rows exist");
        row.last_write_version += 1;
        transaction.update_current_executions(&row).await?;
        pass(self.latency.round_trip).await;
        Ok(())
    }
}

async fn pass(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

/// Accepts a conflict, which is measured. Any other error voids the measurement.
fn conflict(error: StoreError) -> Result<()> {
    match error {
        StoreError::Conflict { .. } => Ok(()),
        other => bail!(other),
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql::memory::MemoryStore;

    use super::*;
    use crate::load::Window;

    const THREE_SECONDS: Window = Window::timed(Duration::ZERO, Duration::from_secs(3));

    /// The results of one writer in `window`.
    async fn write(latency: Latency, window: Window) -> WriterResults {
        let store = Arc::new(MemoryStore::new());
        store.session().insert_into_current_executions(&row(0)).await.unwrap();
        let random = fastrand::Rng::with_seed(7);
        let writer = Writer { store, policy: Policy::FullJitter, latency, keys: 1, random };
        writer.write(window.begin()).await.unwrap()
    }

    fn longest(results: &WriterResults) -> f64 {
        (results.latencies.max() as f64 / 1e9).round()
    }

    #[tokio::test(start_paused = true)]
    async fn an_uncommitted_increment_is_recorded_with_its_wait() {
        let (round_trip, commit) = (Duration::from_secs(1), Duration::from_secs(2));
        let results = write(Latency { round_trip, commit }, THREE_SECONDS).await;
        // It takes six seconds.
        assert_eq!((results.successes, results.attempts, results.all), (0, 1, 1));
        assert_eq!((results.latencies.len(), longest(&results)), (1, 3.0));
    }

    #[tokio::test(start_paused = true)]
    async fn increments_committed_in_time_are_counted() {
        let latency = Latency { round_trip: Duration::from_millis(250), commit: Duration::ZERO };
        let results = write(latency, THREE_SECONDS).await;
        // Each takes a second; the last one ends with the time.
        assert_eq!((results.successes, results.attempts, results.all), (2, 3, 3));
        assert_eq!((results.latencies.len(), longest(&results)), (3, 1.0));
        let results = write(latency, Window::SMOKE).await;
        // Two, although the time is a minute.
        assert_eq!((results.successes, results.attempts, results.all), (2, 2, 2));
    }
}
