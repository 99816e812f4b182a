//! Retry policies: the store's, and the two that it is compared with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A policy for retries after conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The store's runner with its defaults: full jitter, until a deadline.
    FullJitter,
    /// A constant wait, of the length of the store's longest first wait.
    Fixed,
    /// The default of AWS's connector (aurora-dsql.md#retries-of-clients): 3 attempts; a wait of 1
    /// ms, doubled each time up to 100 ms, plus up to a quarter at random. Then the caller gets the
    /// error.
    Connector,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FullJitter, Self::Fixed, Self::Connector];

    /// The policies that the store's is compared with.
    pub const PEERS: [Self; 2] = [Self::Fixed, Self::Connector];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullJitter => "full jitter (the store)",
            Self::Fixed => "fixed 20 ms, no jitter",
            Self::Connector => "AWS's connector",
        }
    }

    /// The wait after failed attempt number `attempt`; `None` if the policy gives up.
    ///
    /// # Panics
    /// The policy is the store's, whose runner waits itself.
    pub fn wait(self, attempt: u32, random: &mut fastrand::Rng) -> Option<Duration> {
        match self {
            Self::FullJitter => unreachable!("the store has a runner"),
            Self::Fixed => Some(Duration::from_millis(20)),
            Self::Connector if attempt >= 3 => None,
            Self::Connector => {
                let exponential = 2_f64.powi(attempt.saturating_sub(1).min(31) as i32).min(100.0);
                let jittered = exponential * (1.0 + 0.25 * random.f64());
                // The connector rounds to whole milliseconds.
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
