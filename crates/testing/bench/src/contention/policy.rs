//! What to do about conflicts: the store's way, and the two that it is compared with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A way to get through although others write to the same row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The store's own: its runner with its defaults repeats with full jitter under a deadline.
    FullJitter,
    /// Always the same wait, as long as the store's longest first one.
    Fixed,
    /// What AWS's connector does unless it is told otherwise (aurora-dsql.md#retries-of-clients): 3
    /// attempts; 1 ms, doubled each time up to 100 ms, and up to a quarter more by chance. Then the
    /// caller gets the error.
    Connector,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FullJitter, Self::Fixed, Self::Connector];

    /// What the store is compared with.
    pub const PEERS: [Self; 2] = [Self::Fixed, Self::Connector];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullJitter => "full jitter (the store)",
            Self::Fixed => "fixed 20 ms, no jitter",
            Self::Connector => "AWS's connector",
        }
    }

    /// The wait after failed attempt number `attempt`; `None` to give up.
    ///
    /// # Panics
    /// The store's runner waits by itself.
    pub fn wait(self, attempt: u32, random: &mut fastrand::Rng) -> Option<Duration> {
        match self {
            Self::FullJitter => unreachable!("the store has a runner"),
            Self::Fixed => Some(Duration::from_millis(20)),
            Self::Connector if attempt >= 3 => None,
            Self::Connector => {
                let exponential = 2_f64.powi(attempt.saturating_sub(1).min(31) as i32).min(100.0);
                let jittered = exponential * (1.0 + 0.25 * random.f64());
                // Whole milliseconds, as the connector has it.
                Some(Duration::from_millis(jittered as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connector_waits_one_and_two_milliseconds_and_gives_up() {
        let mut random = fastrand::Rng::with_seed(7);
        let waits = [1, 2, 3].map(|attempt| Policy::Connector.wait(attempt, &mut random));
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(waits, [millis(1), millis(2), None]);
    }

    #[test]
    fn a_fixed_wait_is_always_the_same_and_never_gives_up() {
        let mut random = fastrand::Rng::with_seed(7);
        for attempt in [1, 2, 50] {
            let wait = Policy::Fixed.wait(attempt, &mut random);
            assert_eq!(wait, Some(Duration::from_millis(20)));
        }
    }
}
