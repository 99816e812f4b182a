//! A writer: locks a row, counts it up and commits, again and again.

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
    load::{histogram, record},
    point::rows::row,
};

/// One of many writers.
pub struct Writer<S> {
    pub store: Arc<S>,
    pub policy: Policy,
    /// The latencies that this writer adds, for a store that has none.
    pub latency: Latency,
    /// It writes the rows from 0 to this, by chance.
    pub keys: u64,
    pub random: fastrand::Rng,
}

/// What a writer has done in the time that counts.
pub struct Done {
    /// Increments that were committed.
    pub successes: u64,
    /// Attempts that they took.
    pub attempts: u64,
    /// Times that the policy gave up and the caller got an error.
    pub given_up: u64,
    /// From the first attempt to the commit, in nanoseconds. A caller that got an error calls
    /// again, and its wait goes on.
    pub latencies: Histogram<u64>,
    /// Increments that were committed in all, before the time that counts too.
    pub all: u64,
}

impl<S: Store> Writer<S> {
    /// Writes until `until`; what ended before `from` does not count.
    ///
    /// # Errors
    /// Anything but a lost conflict.
    pub async fn write(mut self, from: Instant, until: Instant) -> Result<Done> {
        let latencies = histogram();
        let mut done = Done { successes: 0, attempts: 0, given_up: 0, latencies, all: 0 };
        while Instant::now() < until {
            let filter = row(self.random.u64(..self.keys)).filter();
            let start = Instant::now();
            let (attempts, given_up) = self.increment(&filter).await?;
            let end = Instant::now();
            done.all += 1;
            if end >= from && end < until {
                done.successes += 1;
                done.attempts += u64::from(attempts);
                done.given_up += u64::from(given_up);
                record(&mut done.latencies, end - start);
            }
        }
        Ok(done)
    }

    /// One increment: how many attempts it took, and how often the policy gave up before.
    async fn increment(&mut self, filter: &CurrentExecutionsFilter) -> Result<(u32, u32)> {
        let attempts = AtomicU32::new(0);
        let mut random = self.random.fork();
        let attempt = |attempt| {
            attempts.fetch_add(1, Ordering::Relaxed);
            self.attempt(filter, attempt)
        };
        let mut given_up = 0;
        if self.policy == Policy::Store {
            while let Err(error) = self.store.runner().retry("Increment", attempt).await {
                conflict(error)?;
                given_up += 1;
            }
            return Ok((attempts.into_inner(), given_up));
        }
        let mut number = 1;
        while let Err(error) = attempt(Attempt { number, ..Attempt::by_hand("Increment") }).await {
            conflict(error)?;
            let wait = self.policy.wait(number, &mut random);
            number = if wait.is_some() { number + 1 } else { 1 };
            given_up += u32::from(wait.is_none());
            sleep(wait.unwrap_or_default()).await;
        }
        Ok((attempts.into_inner(), given_up))
    }

    /// One transaction: four round trips and a commit, whose latency passes before it takes
    /// effect.
    async fn attempt(
        &self,
        filter: &CurrentExecutionsFilter,
        attempt: Attempt,
    ) -> Result<(), StoreError> {
        let Latency { round_trip, commit } = self.latency;
        pass(round_trip).await;
        #[expect(clippy::disallowed_methods, reason = "compares with other runners")]
        let mut transaction = self.store.begin(attempt).await?;
        if let Err(error) = self.count_up(&mut *transaction, filter).await {
            // The error says what happened; a failed rollback adds nothing.
            let _ = transaction.rollback().await;
            return Err(error);
        }
        pass(commit).await;
        let committed = transaction.commit().await;
        pass(round_trip).await;
        committed
    }

    async fn count_up(
        &self,
        transaction: &mut dyn Transaction,
        filter: &CurrentExecutionsFilter,
    ) -> Result<(), StoreError> {
        let locked = transaction.lock_current_executions(filter).await?;
        pass(self.latency.round_trip).await;
        let mut row = locked.expect("the rows are there before the writers");
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

/// A conflict that was lost is what is measured; everything else voids the measurement.
fn conflict(error: StoreError) -> Result<()> {
    match error {
        StoreError::Contended { .. } => Ok(()),
        other => bail!(other),
    }
}
