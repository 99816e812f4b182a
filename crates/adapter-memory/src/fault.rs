//! Fault injection: failures of commits, scripted or random.

use std::collections::VecDeque;

/// A failure that a [`MemoryStore`](crate::MemoryStore) injects at a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryFault {
    /// A conflict with another transaction. Nothing is applied, and the error says so:
    /// [`StoreError::Conflict`](temporal_dsql_ports::StoreError::Conflict).
    Conflict,
    /// The connection breaks before COMMIT is sent. Nothing is applied, and the error says so:
    /// [`StoreError::Unavailable`](temporal_dsql_ports::StoreError::Unavailable) with
    /// [`Outcome::NotApplied`](temporal_dsql_ports::Outcome::NotApplied).
    Unavailable,
    /// The connection breaks after COMMIT is sent and before the server receives it: the COMMIT is
    /// lost. Nothing is applied, but the outcome is unknown: `Unavailable` with
    /// [`Outcome::Unknown`](temporal_dsql_ports::Outcome::Unknown).
    LostCommit,
    /// The connection breaks after the server has executed COMMIT and before its answer arrives. The
    /// transaction is committed, but the outcome is unknown: `Unavailable` with
    /// [`Outcome::Unknown`](temporal_dsql_ports::Outcome::Unknown).
    ///
    /// If the commit fails, that answer is lost, and nothing is applied.
    LostAnswer,
}

/// The probability of each fault per commit. Each is at least 0, and their sum is at most 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultRates {
    /// [`MemoryFault::Conflict`].
    pub conflict: f64,
    /// [`MemoryFault::Unavailable`].
    pub unavailable: f64,
    /// [`MemoryFault::LostCommit`].
    pub lost_commits: f64,
    /// [`MemoryFault::LostAnswer`].
    pub lost_answers: f64,
}

/// Decides which of the next commits fail, and how.
///
/// The plan is consulted once for every COMMIT of a transaction, also of a read-only one, and once
/// for every autocommit insert, update or delete, also if it affects no row. It is not consulted for
/// autocommit reads and locks, nor for a transaction in which a statement has failed. Each attempt of
/// a retried operation is a separate commit.
#[derive(Clone, Debug)]
pub struct FaultPlan(Plan);

#[derive(Clone, Debug)]
enum Plan {
    Script(VecDeque<Option<MemoryFault>>),
    Random { random: fastrand::Rng, rates: FaultRates },
}

impl FaultPlan {
    /// No faults.
    pub const fn none() -> Self {
        Self(Plan::Script(VecDeque::new()))
    }

    /// One decision for each of the next commits, in order, and no faults afterwards. `None` means
    /// no fault.
    ///
    /// ```
    /// use temporal_dsql_memory::{MemoryFault, FaultPlan};
    ///
    /// let both = FaultPlan::script([MemoryFault::Conflict, MemoryFault::LostAnswer]);
    /// let the_second = FaultPlan::script([None, Some(MemoryFault::LostAnswer)]);
    /// ```
    pub fn script(decisions: impl IntoIterator<Item = impl Into<Option<MemoryFault>>>) -> Self {
        Self(Plan::Script(decisions.into_iter().map(Into::into).collect()))
    }

    /// Random faults at `rates`, without end. The same seed gives the same decisions.
    ///
    /// # Panics
    /// `rates` violate the bounds of [`FaultRates`].
    pub fn seeded(seed: u64, rates: FaultRates) -> Self {
        let each = rates.each().map(|(rate, _)| rate);
        assert!(
            each.iter().all(|rate| *rate >= 0.0) && each.iter().sum::<f64>() <= 1.0,
            "fault rates must be at least 0 each and at most 1 together: {rates:?}"
        );
        Self(Plan::Random { random: fastrand::Rng::with_seed(seed), rates })
    }

    pub(crate) fn decide(&mut self) -> Option<MemoryFault> {
        match &mut self.0 {
            Plan::Script(decisions) => decisions.pop_front().flatten(),
            Plan::Random { random, rates } => {
                let mut draw = random.f64();
                rates.each().into_iter().find_map(|(rate, fault)| {
                    draw -= rate;
                    (draw < 0.0).then_some(fault)
                })
            }
        }
    }

    fn remaining(&self) -> Option<usize> {
        match &self.0 {
            Plan::Script(decisions) => Some(decisions.len()),
            Plan::Random { .. } => None,
        }
    }
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self::none()
    }
}

impl FaultRates {
    const fn each(&self) -> [(f64, MemoryFault); 4] {
        [
            (self.conflict, MemoryFault::Conflict),
            (self.unavailable, MemoryFault::Unavailable),
            (self.lost_commits, MemoryFault::LostCommit),
            (self.lost_answers, MemoryFault::LostAnswer),
        ]
    }
}

/// The numbers of injected faults since the store was created, of all plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultReport {
    /// Commits that an injected conflict refused.
    pub conflicts: u64,
    /// Commits that were never sent.
    pub unavailable: u64,
    /// Commits that were not applied and whose answer was lost.
    pub lost_commits: u64,
    /// Commits that were applied and whose answer was lost.
    pub lost_answers: u64,
    /// The decisions that are left in the current script; `None` for a random plan.
    pub remaining: Option<usize>,
}

impl FaultReport {
    /// The number of all injected faults.
    pub const fn injected(&self) -> u64 {
        self.conflicts + self.unavailable + self.lost_commits + self.lost_answers
    }
}

/// The current plan and the counters.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) plan: FaultPlan,
    pub(crate) done: FaultReport,
}

impl Faults {
    /// Counts an injected fault.
    pub(crate) const fn count(&mut self, fault: MemoryFault) {
        let count = match fault {
            MemoryFault::Conflict => &mut self.done.conflicts,
            MemoryFault::Unavailable => &mut self.done.unavailable,
            MemoryFault::LostCommit => &mut self.done.lost_commits,
            MemoryFault::LostAnswer => &mut self.done.lost_answers,
        };
        *count += 1;
    }

    pub(crate) fn report(&self) -> FaultReport {
        FaultReport { remaining: self.plan.remaining(), ..self.done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(mut plan: FaultPlan, count: usize) -> Vec<Option<MemoryFault>> {
        (0..count).map(|_| plan.decide()).collect()
    }

    const RATES: FaultRates =
        FaultRates { conflict: 0.4, unavailable: 0.3, lost_commits: 0.2, lost_answers: 0.1 };

    #[test]
    fn a_script_decides_in_order_and_then_injects_nothing() {
        let script = [None, Some(MemoryFault::Conflict), None, Some(MemoryFault::LostAnswer)];
        let mut plan = FaultPlan::script(script);
        assert_eq!(plan.remaining(), Some(4));
        for decision in script {
            assert_eq!(plan.decide(), decision);
        }
        assert_eq!(plan.remaining(), Some(0));
        assert_eq!(plan.decide(), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_decisions_and_another_one_does_not() {
        let seeded = |seed| decisions(FaultPlan::seeded(seed, RATES), 100);
        assert_eq!(seeded(1), seeded(1));
        assert_ne!(seeded(1), seeded(2));
    }

    #[test]
    fn each_fault_occurs_at_its_rate() {
        let count = 10_000;
        let plan = FaultPlan::seeded(7, RATES);
        assert_eq!(plan.remaining(), None);
        let decisions = decisions(plan, count);
        for (rate, fault) in RATES.each() {
            let found = decisions.iter().filter(|decision| **decision == Some(fault)).count();
            let share = found as f64 / count as f64;
            assert!((share - rate).abs() < 0.02, "{fault:?}: {share} instead of {rate}");
        }
        let none = self::decisions(FaultPlan::seeded(7, FaultRates::default()), count);
        assert!(none.iter().all(Option::is_none));
    }

    #[test]
    #[should_panic(expected = "at most 1 together")]
    fn rates_with_a_sum_above_one_are_refused() {
        FaultPlan::seeded(1, FaultRates { conflict: 0.6, lost_answers: 0.6, ..RATES });
    }

    #[test]
    #[should_panic(expected = "at least 0 each")]
    fn a_rate_that_is_not_a_number_is_refused() {
        FaultPlan::seeded(1, FaultRates { conflict: f64::NAN, ..RATES });
    }
}
