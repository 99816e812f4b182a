//! The one error of every store.
//!
//! It answers two questions, with two methods: was the work applied ([`StoreError::outcome`]),
//! and may it succeed if it is tried again ([`StoreError::is_transient`])? The upper layer of
//! Temporal needs the first to decide whether it must re-acquire a shard
//! (temporal-persistence.md#outcomes).

use std::{fmt, sync::Arc};

use crate::limits::{LimitKind, OversizedRow};
use temporal_dsql_domain::{
    CurrentExecutionsRow, ExecutionVersion, InvalidValue, RunId, ShardId, Table,
};

/// The error below a [`StoreError`], kept as it was.
///
/// Shared, because a failed statement and the commit that it prevents report the same error.
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    /// Keeps `error`.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// The error that was kept.
    pub fn get(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Whether the work of a failed operation was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was written by the last statement or transaction of the operation. An operation that
    /// deletes in chunks, as its documentation says, may have deleted earlier chunks.
    NotApplied,
    /// COMMIT was on its way and its answer is missing: the work is applied entirely, or not at
    /// all. Repeating it without proof may do it twice.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApplied => "nothing was applied",
            Self::Unknown => "whether it was applied is unknown",
        })
    }
}

/// A condition of a request that did not hold, with what was observed instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionFailed {
    /// The current execution of the id is not the one that the request expected
    /// (Temporal's `CurrentWorkflowConditionFailedError`).
    CurrentExecution {
        /// The row that is there; `None` if the id has no current execution.
        observed: Option<Box<CurrentExecutionsRow>>,
    },
    /// The run is not at the version that the request expected (Temporal's
    /// `WorkflowConditionFailedError`), or not there at all (its `ConditionFailedError`).
    Execution {
        /// The run.
        run_id: RunId,
        /// The versions that it is at; `None` if there is no such run.
        observed: Option<ExecutionVersion>,
    },
    /// The run that was to be created exists (Temporal's `WorkflowConditionFailedError` with
    /// versions zero).
    ExecutionExists {
        /// The run.
        run_id: RunId,
    },
    /// The shard belongs to another owner now (Temporal's `ShardOwnershipLostError`).
    ShardOwnershipLost {
        /// The shard.
        shard_id: ShardId,
        /// The range id of the caller.
        expected: i64,
        /// The range id that is recorded; `None` if there is no such shard.
        observed: Option<i64>,
    },
}

impl fmt::Display for ConditionFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CurrentExecution { observed: None } => {
                f.write_str("the id has no current execution")
            }
            Self::CurrentExecution { observed: Some(row) } => write!(
                f,
                "the current execution of `{}` ({}) is run {}, {} / {}",
                row.workflow_id, row.archetype_id, row.run_id, row.state, row.status
            ),
            Self::Execution { run_id, observed: None } => write!(f, "run {run_id} is not there"),
            Self::Execution { run_id, observed: Some(version) } => write!(
                f,
                "run {run_id} is at record version {} and next event {}",
                version.db_record_version, version.next_event_id
            ),
            Self::ExecutionExists { run_id } => write!(f, "run {run_id} exists"),
            Self::ShardOwnershipLost { shard_id, expected, observed: Some(observed) } => write!(
                f,
                "shard {shard_id} is owned with range id {observed}, not {expected} any more"
            ),
            Self::ShardOwnershipLost { shard_id, observed: None, .. } => {
                write!(f, "there is no shard {shard_id}")
            }
        }
    }
}

/// Why an operation on a store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A condition of the request did not hold. Definite; never retried.
    #[error("condition failed: {0}")]
    Condition(ConditionFailed),

    /// A row with the same key exists.
    #[error("{table}: a row with this key already exists")]
    AlreadyExists {
        /// The table of the row.
        table: Table,
        /// What the database said, if a database was asked.
        #[source]
        source: Option<Cause>,
    },

    /// The request itself is wrong; it would fail on every store.
    #[error("{field}: {reason}")]
    InvalidArgument {
        /// The field, as its column is called.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
        /// What the database said, if a database was asked.
        #[source]
        source: Option<Cause>,
    },

    /// The work exceeds a limit of DSQL (aurora-dsql.md#limits, aurora-dsql.md#sizes). Never
    /// retried: it would exceed it again.
    #[error("limit exceeded: {kind}")]
    Limit {
        /// The limit.
        kind: LimitKind,
        /// What exceeded it.
        #[source]
        source: Option<Cause>,
    },

    /// Other transactions won every conflict until the deadline. Definitely not applied.
    #[error(
        "{op}: lost a conflict with another transaction {attempts} time(s); nothing was applied"
    )]
    Contended {
        /// The operation.
        op: &'static str,
        /// How many times the operation was tried.
        attempts: u32,
        /// The last conflict.
        #[source]
        source: Option<Cause>,
    },

    /// The database could not be reached, the connection broke, or the deadline of the caller passed
    /// first (then the source is [`DeadlinePassed`](crate::DeadlinePassed)).
    #[error("{op}: the database is unavailable; {outcome}")]
    Unavailable {
        /// The operation.
        op: &'static str,
        /// Whether the work was applied.
        outcome: Outcome,
        /// The failure.
        #[source]
        source: Option<Cause>,
    },

    /// The database refused the credentials, or the role lacks a right.
    #[error("{op}: the database refused access")]
    Unauthorized {
        /// The operation.
        op: &'static str,
        /// The refusal.
        #[source]
        source: Option<Cause>,
    },

    /// The server does not accept the statement: a feature it lacks, or a table that is not
    /// there because the deployment has another schema version.
    #[error("{op}: the server does not support this; is the schema up to date?")]
    Unsupported {
        /// The operation.
        op: &'static str,
        /// The refusal.
        #[source]
        source: Option<Cause>,
    },

    /// A stored value is not one that this product or Temporal writes.
    #[error("{table}.{column} holds a value that cannot be read")]
    Corrupt {
        /// The table.
        table: Table,
        /// The column.
        column: &'static str,
        /// Why it cannot be read.
        #[source]
        source: Option<Cause>,
    },
}

impl StoreError {
    /// Whether the work was applied. [`Outcome::Unknown`] only if COMMIT was on its way.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable { outcome, .. } => *outcome,
            Self::Condition(_)
            | Self::AlreadyExists { .. }
            | Self::InvalidArgument { .. }
            | Self::Limit { .. }
            | Self::Contended { .. }
            | Self::Unauthorized { .. }
            | Self::Unsupported { .. }
            | Self::Corrupt { .. } => Outcome::NotApplied,
        }
    }

    /// Whether the same request may succeed later. Repeating it is safe only if
    /// [`outcome`](Self::outcome) is [`Outcome::NotApplied`].
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Contended { .. } | Self::Unavailable { .. } => true,
            Self::Condition(_)
            | Self::AlreadyExists { .. }
            | Self::InvalidArgument { .. }
            | Self::Limit { .. }
            | Self::Unauthorized { .. }
            | Self::Unsupported { .. }
            | Self::Corrupt { .. } => false,
        }
    }

    /// Turns a duplicate into a lost conflict.
    ///
    /// For a body that has read in its own snapshot that the row is absent: a duplicate then
    /// comes from a concurrent creator, whose row the body could not see. Returned from the body,
    /// the conflict makes the runner start again, and the next snapshot shows the winner
    /// (temporal-persistence.md#retry-rule-6). Any other error stays as it is.
    #[must_use]
    pub fn duplicate_is_conflict(self, op: &'static str) -> Self {
        match self {
            Self::AlreadyExists { source, .. } => Self::Contended { op, attempts: 1, source },
            other => other,
        }
    }
}

impl From<InvalidValue> for StoreError {
    fn from(error: InvalidValue) -> Self {
        Self::InvalidArgument { field: error.field, reason: error.reason, source: None }
    }
}

impl From<OversizedRow> for StoreError {
    fn from(error: OversizedRow) -> Self {
        Self::Limit { kind: error.kind, source: Some(Cause::new(error)) }
    }
}

impl From<ConditionFailed> for StoreError {
    fn from(error: ConditionFailed) -> Self {
        Self::Condition(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(outcome: Outcome) -> StoreError {
        StoreError::Unavailable { op: "Op", outcome, source: None }
    }

    #[test]
    fn only_a_lost_commit_has_an_unknown_outcome() {
        assert_eq!(unavailable(Outcome::Unknown).outcome(), Outcome::Unknown);
        assert_eq!(unavailable(Outcome::NotApplied).outcome(), Outcome::NotApplied);
        let contended = StoreError::Contended { op: "Op", attempts: 3, source: None };
        assert_eq!(contended.outcome(), Outcome::NotApplied);
    }

    #[test]
    fn only_conflicts_and_outages_are_transient() {
        assert!(unavailable(Outcome::Unknown).is_transient());
        assert!(StoreError::Contended { op: "Op", attempts: 1, source: None }.is_transient());
        assert!(!StoreError::Limit { kind: LimitKind::KeyBytes, source: None }.is_transient());
        let condition = ConditionFailed::CurrentExecution { observed: None };
        assert!(!StoreError::from(condition).is_transient());
    }

    #[test]
    fn the_source_error_is_kept() {
        let error = StoreError::AlreadyExists {
            table: Table::Executions,
            source: Some(Cause::new("the server's own words")),
        };
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "the server's own words");
        let conflict = error.duplicate_is_conflict("Create");
        let source = std::error::Error::source(&conflict).unwrap();
        assert_eq!(source.to_string(), "the server's own words");
    }
}
