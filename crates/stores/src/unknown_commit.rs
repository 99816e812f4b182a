//! Operations whose answer is lost.

use temporal_dsql_ports::{Cause, Outcome, StoreError};

/// How often an idempotent operation is tried whose answer is lost.
pub(super) const REPEATS: u32 = 3;

/// Does what changes nothing if it is done again, and does it again if its answer was lost. Once it
/// was, an act that fails may have been applied all the same, and says so. (A function of an async
/// closure would make futures that cannot be spawned.)
macro_rules! idempotent {
    ($act:expr) => {{
        let mut lost: Option<temporal_dsql_ports::StoreError> = None;
        let mut number = 0;
        loop {
            number += 1;
            match $act.await {
                Ok(value) => break Ok(value),
                Err(error)
                    if error.outcome() == temporal_dsql_ports::Outcome::Unknown
                        && number < $crate::unknown_commit::REPEATS =>
                {
                    lost = Some(error);
                }
                Err(error) => break Err(lost.unwrap_or(error)),
            }
        }
    }};
}
pub(super) use idempotent;

/// The error of work whose outcome does not matter to what was asked, which is not applied. It
/// keeps its cause.
pub(super) fn not_applied(lost: StoreError) -> StoreError {
    match lost {
        StoreError::Unavailable { op, source, .. } => {
            StoreError::Unavailable { op, outcome: Outcome::NotApplied, source }
        }
        other => other,
    }
}

/// The end of an act of which one answer was lost: whatever ended it, the act may have been applied.
pub(super) fn lost(end: StoreError, op: &'static str) -> StoreError {
    StoreError::Unavailable { op, outcome: Outcome::Unknown, source: Some(Cause::new(end)) }
}
