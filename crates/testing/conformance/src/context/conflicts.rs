//! Assertions about transactions that may lose a conflict.

use std::fmt::Debug;

use temporal_dsql_ports::{Outcome, StoreError, Transaction};

/// Ends a transaction after its write and returns whether it won: DSQL reports a conflict at
/// COMMIT, PostgreSQL at the statement (aurora-dsql.md#conflicts).
pub(crate) async fn settle(
    transaction: Box<dyn Transaction>,
    write: Result<u64, StoreError>,
) -> Result<(), StoreError> {
    match write {
        Ok(rows) => {
            assert_eq!(rows, 1, "a statement reports its normal row count until COMMIT");
            transaction.commit().await
        }
        Err(error) => {
            transaction.rollback().await.unwrap();
            Err(error)
        }
    }
}

/// Asserts that an operation has an unknown outcome.
#[track_caller]
pub(crate) fn assert_unknown<T: Debug>(result: Result<T, StoreError>) {
    match result {
        Err(error @ StoreError::Unavailable { .. }) => {
            assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        }
        other => panic!("expected an unknown outcome, got {other:?}"),
    }
}

/// Asserts that a transaction lost a conflict and wrote nothing.
#[track_caller]
pub(crate) fn assert_conflict(result: Result<(), StoreError>) {
    match result {
        Err(error @ StoreError::Conflict { .. }) => {
            assert_eq!(error.outcome(), Outcome::NotApplied);
        }
        other => panic!("expected a conflict, got {other:?}"),
    }
}
