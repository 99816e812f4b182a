//! The retry policy: waits between attempts, and the deadline.

use std::time::Duration;

/// Exponential backoff with full jitter under a deadline.
///
/// Before attempt *n + 1* the runner waits a random time between zero and
/// `min(cap, base · 2ⁿ⁻¹)`. Full jitter spreads writers that conflicted, so that they do not
/// conflict again. A deadline, not a number of attempts, ends the retries
/// (temporal-persistence.md#retry-rule-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The longest first wait.
    pub base: Duration,
    /// The longest wait of any attempt.
    pub cap: Duration,
    /// The time from the begin of the first attempt after which no attempt begins. Zero means one
    /// attempt.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    /// A first wait of the order of one DSQL commit (16–35 ms, aurora-dsql.md#latency), and ten
    /// seconds in all.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(20),
            cap: Duration::from_secs(1),
            deadline: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// One attempt only.
    pub const NEVER: Self = Self::new(Duration::ZERO, Duration::ZERO, Duration::ZERO);

    /// The policy with the fields of these names, the shortest time first.
    pub const fn new(base: Duration, cap: Duration, deadline: Duration) -> Self {
        Self { base, cap, deadline }
    }

    /// The longest wait after failed attempt number `attempt`.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// The wait after failed attempt number `attempt`: full jitter, the part `random` (0 to 1) of
    /// [`ceiling`](Self::ceiling).
    pub fn backoff(&self, attempt: u32, random: f64) -> Duration {
        self.ceiling(attempt).mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let policy = RetryPolicy::new(
            Duration::from_millis(10),
            Duration::from_millis(100),
            Duration::from_secs(1),
        );
        let ceilings: Vec<_> = (1..=6).map(|n| policy.ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [10, 20, 40, 80, 100, 100]);
        assert_eq!(policy.ceiling(u32::MAX), policy.cap);
    }

    #[test]
    fn a_wait_is_anywhere_between_zero_and_the_ceiling() {
        let policy = RetryPolicy::default();
        let mut random = fastrand::Rng::with_seed(7);
        let waits: Vec<_> = (0..1_000).map(|_| policy.backoff(3, random.f64())).collect();
        let ceiling = policy.ceiling(3);
        assert!(waits.iter().all(|wait| *wait <= ceiling));
        assert!(waits.iter().any(|wait| *wait < ceiling / 10));
        assert!(waits.iter().any(|wait| *wait > ceiling * 9 / 10));
    }
}
