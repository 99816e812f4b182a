//! Attempts of a caller: exponential backoff with full jitter, until a deadline.

use std::time::Duration;

use temporal_dsql_ports::RetryPolicy;
use tokio::time::Instant;

/// The attempts of a caller at one operation, counted and timed.
#[derive(Debug)]
pub struct Attempts {
    start: Instant,
    failed: u32,
}

impl Attempts {
    /// Starts now, with no failed attempt.
    #[expect(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new() -> Self {
        Self { start: Instant::now(), failed: 0 }
    }

    /// How many attempts have failed.
    pub const fn failed(&self) -> u32 {
        self.failed
    }

    /// The time since the first attempt began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Counts a failed attempt and returns the wait before the next one,
    /// [`RetryPolicy::backoff`]. `None` if that wait would not end before the deadline of `policy`.
    pub fn next_wait(&mut self, policy: &RetryPolicy) -> Option<Duration> {
        self.failed += 1;
        let wait = policy.backoff(self.failed, fastrand::f64());
        (self.elapsed() + wait < policy.deadline).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_up_to_the_cap_and_end_at_the_deadline() {
        let policy = RetryPolicy::new(
            Duration::from_millis(10),
            Duration::from_millis(40),
            Duration::from_secs(1),
        );
        fastrand::seed(7);
        let mut attempts = Attempts::new();
        while let Some(wait) = attempts.next_wait(&policy) {
            assert!(wait <= policy.ceiling(attempts.failed()), "{wait:?}");
            // A sleep would end at the next whole millisecond, which can be the deadline.
            tokio::time::advance(wait).await;
            assert!(attempts.elapsed() < policy.deadline);
        }
        assert!(attempts.failed() > 25, "{}", attempts.failed());
        assert!(attempts.elapsed() + policy.cap >= policy.deadline);
        assert_eq!(Attempts::new().next_wait(&RetryPolicy::NEVER), None);
    }
}
