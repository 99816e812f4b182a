//! The deadline of a caller.

use std::time::Duration;

/// A point in time on the clock of a store's [`Runner`](crate::Runner), after which nothing
/// is sent and no answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Duration);

impl Deadline {
    /// No deadline: an operation ends by the limits of the store.
    pub const NEVER: Self = Self(Duration::MAX);

    pub(super) const fn at(time: Duration) -> Self {
        Self(time)
    }

    pub(super) const fn time(self) -> Duration {
        self.0
    }
}

/// The source of a [`StoreError::Unavailable`](crate::StoreError::Unavailable) whose operation was
/// ended by its caller's [`Deadline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline of the caller has passed")]
pub struct DeadlinePassed;

#[cfg(test)]
mod tests;
