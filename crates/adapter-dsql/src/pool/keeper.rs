//! The task that retires idle connections and keeps a reserve of open ones.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use temporal_dsql_client::{Attempts, ErrorChain};
use tokio::{sync::OwnedSemaphorePermit, time::MissedTickBehavior};

use super::connections::Connections;
use crate::metrics::{
    CLOSED_MAX_LIFETIME, KEEPER_SIZE, KEEPER_TOPUP, KEEPER_TOPUP_FAILURES, Metric, POOL_IDLE,
    POOL_IN_USE, POOL_MAX_OPEN, POOL_OPEN,
};

/// Once a second, closes idle connections that are no longer usable and refills the reserve.
pub(super) async fn keep(pool: Weak<Connections>) {
    const SAMPLE_EVERY: u32 = 15;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        pool.retire();
        pool.refill().await;
        if tick.is_multiple_of(SAMPLE_EVERY) {
            pool.sample();
        }
    }
}

impl Connections {
    fn retire(&self) {
        let guard_window = self.config.guard_window;
        let mut retired = 0.0;
        self.idle().retain(|pooled| {
            if pooled.is_due(guard_window) {
                retired += 1.0;
            }
            pooled.is_usable(guard_window)
        });
        metrics::gauge!(CLOSED_MAX_LIFETIME.name).increment(retired);
    }

    async fn refill(self: &Arc<Self>) {
        while let Some(slot) = self.missing() {
            // No caller waits for it, so the rate limit may delay it for as long as it takes.
            match self.open(Attempts::new(), Duration::MAX).await {
                Ok(pooled) => {
                    metrics::counter!(KEEPER_TOPUP.name).increment(1);
                    drop(self.check_out(pooled, slot));
                }
                Err(error) => {
                    metrics::counter!(KEEPER_TOPUP_FAILURES.name).increment(1);
                    let error = ErrorChain(&error);
                    tracing::warn!(%error, "cannot refill the connection pool; trying again");
                    return;
                }
            }
        }
    }

    /// A slot to open a connection for the reserve, if one is missing. If a caller returns its
    /// connection meanwhile, the reserve has one more than it needs.
    fn missing(&self) -> Option<OwnedSemaphorePermit> {
        if self.idle().len() + self.in_use() >= self.config.min_connections as usize {
            return None;
        }
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// The number of connections that are in use or being opened.
    fn in_use(&self) -> usize {
        self.config.max_connections as usize - self.slots.available_permits()
    }

    fn sample(&self) {
        let (idle, in_use) = (self.idle().len(), self.in_use());
        let set = |metric: Metric, value: usize| metrics::gauge!(metric.name).set(value as f64);
        set(POOL_MAX_OPEN, self.config.max_connections as usize);
        set(KEEPER_SIZE, idle + in_use);
        set(POOL_OPEN, idle + in_use);
        set(POOL_IN_USE, in_use);
        set(POOL_IDLE, idle);
    }
}
