//! Operations with an unknown outcome: retries of idempotent ones, and conversions of the error.

use temporal_dsql_ports::{Cause, Outcome, StoreError};

/// The attempts of an idempotent operation whose outcome is unknown.
pub(super) const REPEATS: u32 = 3;

/// Retries an idempotent operation whose outcome is unknown. If a later attempt fails, the first
/// unknown outcome is returned, because that attempt may have been applied. (A macro, because the
/// future of a function over an async closure is not `Send`.)
macro_rules! idempotent {
    ($operation:expr) => {{
        let mut unknown: Option<temporal_dsql_ports::StoreError> = None;
        let mut number = 0;
        loop {
            number += 1;
            match $operation.await {
                Ok(value) => break Ok(value),
                Err(error)
                    if error.outcome() == temporal_dsql_ports::Outcome::Unknown
                        && number < $crate::unknown_commit::REPEATS =>
                {
                    unknown = Some(error);
                }
                Err(error) => break Err(unknown.unwrap_or(error)),
            }
        }
    }};
}
pub(super) use idempotent;

/// Converts an unknown outcome into "not applied", for a step whose effects do not matter if the
/// operation is not applied.
pub(super) fn as_not_applied(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { op, source, .. } => {
            StoreError::Unavailable { op, outcome: Outcome::NotApplied, source }
        }
        other => other,
    }
}

/// Converts an error into an unknown outcome, for an operation of which an earlier attempt has one.
pub(super) fn as_unknown(last: StoreError, op: &'static str) -> StoreError {
    StoreError::Unavailable { op, outcome: Outcome::Unknown, source: Some(Cause::new(last)) }
}
