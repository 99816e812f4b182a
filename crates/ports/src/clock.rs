//! Time as the transaction runner sees it, so that tests can turn the hands.

use std::{sync::OnceLock, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

/// A monotonic clock that can also wait.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Time since a fixed point in the past of this clock.
    fn now(&self) -> Duration;

    /// Waits for `duration`.
    async fn sleep(&self, duration: Duration);
}

/// The runtime's clock. Follows tokio's paused time in tests.
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
