//! The valid combinations of state and status.
//!
//! Temporal checks the pair before every create and every update
//! (`common/persistence/workflow_state_status_validator.go`); the two tables differ.

use crate::{ExecutionState, ExecutionStatus, InvalidValue};

/// Checks the state and status of a new execution.
///
/// A completed execution needs a closing status; any other state needs `Running`.
///
/// # Errors
/// The combination is not valid, or one of the two is unspecified, void or unrecognized.
pub fn check_create_state(
    state: ExecutionState,
    status: ExecutionStatus,
) -> Result<(), InvalidValue> {
    let allowed: fn(ExecutionStatus) -> bool = match storable(state)? {
        ExecutionState::Completed => is_closed,
        _ => |status| status == ExecutionStatus::Running,
    };
    check("created", state, status, allowed)
}

/// Checks the state and status of an update of an existing execution.
///
/// Running and zombie executions may also be paused; completed and corrupted ones need a closing
/// status.
///
/// # Errors
/// As [`check_create_state`].
pub fn check_update_state(
    state: ExecutionState,
    status: ExecutionStatus,
) -> Result<(), InvalidValue> {
    let allowed: fn(ExecutionStatus) -> bool = match storable(state)? {
        ExecutionState::Created => |status| status == ExecutionStatus::Running,
        ExecutionState::Running | ExecutionState::Zombie => is_open,
        _ => is_closed,
    };
    check("updated", state, status, allowed)
}

fn is_open(status: ExecutionStatus) -> bool {
    matches!(status, ExecutionStatus::Running | ExecutionStatus::Paused)
}

fn is_closed(status: ExecutionStatus) -> bool {
    !is_open(status)
}

fn storable(state: ExecutionState) -> Result<ExecutionState, InvalidValue> {
    match state {
        ExecutionState::Created
        | ExecutionState::Running
        | ExecutionState::Completed
        | ExecutionState::Zombie
        | ExecutionState::Corrupted => Ok(state),
        ExecutionState::Unspecified | ExecutionState::Void | ExecutionState::Unrecognized(_) => {
            Err(InvalidValue::new("state", format!("an execution cannot be in state {state}")))
        }
    }
}

fn check(
    operation: &str,
    state: ExecutionState,
    status: ExecutionStatus,
    allowed: fn(ExecutionStatus) -> bool,
) -> Result<(), InvalidValue> {
    let is_known =
        !matches!(status, ExecutionStatus::Unspecified | ExecutionStatus::Unrecognized(_));
    InvalidValue::unless(is_known, "status", || {
        format!("an execution cannot have status {status}")
    })?;
    InvalidValue::unless(allowed(status), "status", || {
        format!("an execution {operation} in state {state} cannot have status {status}")
    })
}

#[cfg(test)]
mod tests {
    use ExecutionState::*;
    use ExecutionStatus as Status;

    use super::*;

    const CLOSED: [Status; 6] = [
        Status::Completed,
        Status::Failed,
        Status::Canceled,
        Status::Terminated,
        Status::ContinuedAsNew,
        Status::TimedOut,
    ];

    /// The statuses that `rule` allows with `state`.
    fn allowed(
        rule: fn(ExecutionState, Status) -> Result<(), InvalidValue>,
        state: ExecutionState,
    ) -> Vec<Status> {
        Status::ALL.iter().copied().filter(|status| rule(state, *status).is_ok()).collect()
    }

    #[test]
    fn creating_allows_exactly_temporals_pairs() {
        for state in [Created, Running, Zombie, Corrupted] {
            assert_eq!(allowed(check_create_state, state), [Status::Running], "{state}");
        }
        assert_eq!(allowed(check_create_state, Completed), CLOSED);
        for state in [Unspecified, Void, ExecutionState::from_stored(99)] {
            assert_eq!(allowed(check_create_state, state), [], "{state}");
        }
    }

    #[test]
    fn updating_allows_exactly_temporals_pairs() {
        assert_eq!(allowed(check_update_state, Created), [Status::Running]);
        for state in [Running, Zombie] {
            assert_eq!(
                allowed(check_update_state, state),
                [Status::Running, Status::Paused],
                "{state}"
            );
        }
        for state in [Completed, Corrupted] {
            assert_eq!(allowed(check_update_state, state), CLOSED, "{state}");
        }
        for state in [Unspecified, Void, ExecutionState::from_stored(-1)] {
            assert_eq!(allowed(check_update_state, state), [], "{state}");
        }
    }

    #[test]
    fn the_error_names_the_pair() {
        assert_eq!(
            check_create_state(Completed, Status::Running).unwrap_err().to_string(),
            "status: an execution created in state Completed cannot have status Running"
        );
        assert_eq!(
            check_update_state(Running, Status::from_stored(77)).unwrap_err().to_string(),
            "status: an execution cannot have status Unknown(77)"
        );
    }
}
