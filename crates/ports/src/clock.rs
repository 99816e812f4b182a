//! The clock of the transaction runner. Tests replace it.

use std::{sync::OnceLock, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

/// A monotonic clock and its timer.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time since a fixed origin of this clock.
    fn now(&self) -> Duration;

    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}

/// Tokio's clock. It follows paused time in tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
