//! Execution states and statuses, with the numbers that Temporal stores.

use std::fmt;

use crate::InvalidValue;

/// A stored number that this version does not know.
///
/// A newer server may have written it. It is kept, so that a row that is read and written again does
/// not change. Only [`ExecutionState::from_stored`] and
/// [`ExecutionStatus::from_stored`] make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unrecognized(i32);

impl Unrecognized {
    /// The stored number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

macro_rules! stored_number {
    (
        $(#[$doc:meta])* $name:ident, $field:literal, $what:literal, $last:literal;
        $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A number that this version does not know.
            Unrecognized(Unrecognized),
        }

        impl $name {
            /// Every value that this version knows, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The value of a stored number. It accepts every number.
            pub const fn from_stored(number: i32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Unrecognized(Unrecognized(other)),
                }
            }

            /// The number that is stored.
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Unrecognized(other) => other.0,
                }
            }
        }

        impl TryFrom<i32> for $name {
            type Error = InvalidValue;

            /// Checks a number of a request. For a stored number, use
            /// [`from_stored`](Self::from_stored).
            fn try_from(number: i32) -> Result<Self, InvalidValue> {
                match Self::from_stored(number) {
                    Self::Unrecognized(_) => Err(InvalidValue::new(
                        $field,
                        format!(concat!(
                            "{} is not ", $what, " this version knows; it knows 0 to ", $last
                        ), number),
                    )),
                    known => Ok(known),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str(stringify!($variant)),)*
                    Self::Unrecognized(other) => write!(f, "Unknown({})", other.0),
                }
            }
        }
    };
}

stored_number! {
    /// Temporal's `WorkflowExecutionState` (`enums/v1/workflow.proto`), used for every archetype.
    ExecutionState, "state", "an execution state", "6";
    /// Not set.
    Unspecified = 0,
    /// Created; the first task has not run.
    Created = 1,
    /// Running.
    Running = 2,
    /// Closed; the status says how.
    Completed = 3,
    /// Running, but not the current run of its id.
    Zombie = 4,
    /// Deleted by conflict resolution before it was visible.
    Void = 5,
    /// Marked as corrupted by an operator or a scanner.
    Corrupted = 6,
}

stored_number! {
    /// Temporal's `WorkflowExecutionStatus` (`temporal/api/enums/v1/workflow.proto`), used for
    /// every archetype.
    ExecutionStatus, "status", "an execution status", "8";
    /// Not set.
    Unspecified = 0,
    /// Open.
    Running = 1,
    /// Closed successfully.
    Completed = 2,
    /// Closed with a failure.
    Failed = 3,
    /// Closed by a cancellation.
    Canceled = 4,
    /// Closed by a termination.
    Terminated = 5,
    /// Closed and continued in a new run.
    ContinuedAsNew = 6,
    /// Closed by a timeout.
    TimedOut = 7,
    /// Open and paused.
    Paused = 8,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_numbers_are_temporals() {
        let states: Vec<_> = ExecutionState::ALL.iter().map(|state| state.number()).collect();
        assert_eq!(states, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(ExecutionState::Zombie.number(), 4);
        let statuses: Vec<_> = ExecutionStatus::ALL.iter().map(|status| status.number()).collect();
        assert_eq!(statuses, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(ExecutionStatus::TimedOut.number(), 7);
    }

    proptest! {
        #[test]
        fn a_stored_number_is_never_lost(number: i32) {
            prop_assert_eq!(ExecutionState::from_stored(number).number(), number);
            prop_assert_eq!(ExecutionStatus::from_stored(number).number(), number);
        }
    }

    #[test]
    fn an_unknown_number_of_a_request_is_refused_with_its_field() {
        let error = ExecutionState::try_from(7).unwrap_err();
        assert_eq!(
            error.to_string(),
            "state: 7 is not an execution state this version knows; it knows 0 to 6"
        );
        let error = ExecutionStatus::try_from(-1).unwrap_err();
        assert_eq!(error.field, "status");
        assert_eq!(ExecutionStatus::try_from(8), Ok(ExecutionStatus::Paused));
    }

    #[test]
    fn an_unknown_number_shows_as_unknown() {
        assert_eq!(ExecutionState::from_stored(42).to_string(), "Unknown(42)");
        assert_eq!(ExecutionStatus::ContinuedAsNew.to_string(), "ContinuedAsNew");
    }
}
