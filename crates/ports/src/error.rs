//! The error type of every store.
//!
//! [`StoreError::outcome`] reports whether the operation was applied, [`StoreError::is_transient`]
//! whether the same request may succeed later. Temporal's upper layer uses the first to decide
//! whether it must acquire the shard again (temporal-persistence.md#outcomes).

use std::{fmt, sync::Arc};

use crate::limits::{LimitKind, OversizedRow};
use temporal_dsql_domain::{
    ClusterName, CurrentExecutionsRow, ExecutionVersion, InvalidValue, Namespace, NamespaceId,
    NamespacesRow, NexusEndpointId, QueueType, QueueV2Key, RunId, ShardId, Table, TaskQueueKey,
    TaskQueueName,
};

/// The source error of a [`StoreError`].
///
/// It is reference-counted, because a failed statement and the commit that it prevents return the
/// same error.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    /// Wraps `error`.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// The wrapped error.
    pub fn get(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0
    }
}

/// The source of a [`StoreError::Unavailable`] whose statement is committed and has written another number
/// of rows than it must. Some rows are written and others are not, so no row proves the operation.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the statement has written a wrong number of rows")]
pub struct WrongCount(#[source] Cause);

impl WrongCount {
    /// The error of the operation `op`, whose statement is committed although `cause` is wrong with it.
    pub fn committed(
        op: &'static str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        let source = Some(Cause::new(Self(Cause::new(cause))));
        StoreError::Unavailable { op, outcome: Outcome::Unknown, source }
    }
}

/// Whether a failed operation was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The last statement or transaction of the operation wrote nothing. An operation that is
    /// documented to delete in chunks may have deleted earlier chunks.
    NotApplied,
    /// COMMIT was sent and its answer was lost. The transaction is committed as a whole or not at all,
    /// and a COMMIT in transit may still take effect. If the caller repeats the operation, it may be
    /// applied twice. Or the statement is committed with a wrong number of rows ([`WrongCount`]).
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

/// A condition of a request that did not hold, with the observed state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConditionFailed {
    /// The current execution of the id is not the one that the request expected
    /// (Temporal's `CurrentWorkflowConditionFailedError`).
    CurrentExecution {
        /// The stored row; `None` if the id has no current execution.
        observed: Option<Box<CurrentExecutionsRow>>,
    },
    /// The run has not the version that the request expected (Temporal's
    /// `WorkflowConditionFailedError`), or does not exist (its `ConditionFailedError`).
    Execution {
        /// The run.
        run_id: RunId,
        /// The stored versions; `None` if the run does not exist.
        observed: Option<ExecutionVersion>,
    },
    /// The run to create exists (Temporal's `WorkflowConditionFailedError` with
    /// versions zero).
    ExecutionExists {
        /// The run.
        run_id: RunId,
    },
    /// The shard has another owner (Temporal's `ShardOwnershipLostError`).
    ShardOwnershipLost {
        /// The shard.
        shard_id: ShardId,
        /// The range id of the caller.
        expected: i64,
        /// The stored range id; `None` if the shard does not exist.
        observed: Option<i64>,
    },
    /// The task queue has another owner, or does not exist (Temporal's `ConditionFailedError`).
    TaskQueueLeaseLost {
        /// The queue.
        queue: TaskQueueKey,
        /// The range id of the caller.
        expected: i64,
        /// The stored range id; `None` if the queue does not exist.
        observed: Option<i64>,
    },
    /// The task queue to create exists (Temporal's `ConditionFailedError`).
    TaskQueueExists {
        /// The queue.
        queue: TaskQueueKey,
        /// The stored range id.
        range_id: i64,
    },
    /// The user data of a task queue has not the version that the request expected (Temporal's
    /// `ConditionFailedError`).
    TaskQueueUserData {
        /// The namespace.
        namespace_id: NamespaceId,
        /// The name of the queue.
        task_queue_name: TaskQueueName,
        /// The version of the caller; 0 for a queue without user data.
        expected: i64,
        /// The stored version; `None` if the queue has no user data.
        observed: Option<i64>,
    },
    /// A namespace has the id or the name of the one to write (Temporal's
    /// `NamespaceAlreadyExists`).
    NamespaceExists {
        /// The stored row.
        observed: Box<NamespacesRow>,
    },
    /// The namespace to update does not exist (Temporal's `NamespaceNotFound`).
    NamespaceNotFound {
        /// The namespace.
        id: NamespaceId,
    },
    /// A namespace was written since the request read the notification version.
    NotificationVersion {
        /// The version of the request.
        expected: i64,
        /// The stored version.
        observed: i64,
    },
    /// The metadata of the cluster has not the version that the request expected.
    ClusterMetadataVersion {
        /// The cluster.
        cluster_name: ClusterName,
        /// The version of the request; 0 if it expected none.
        expected: i64,
        /// The stored version; `None` if the cluster has no metadata.
        observed: Option<i64>,
    },
    /// A Nexus endpoint was written since the request read the table version (Temporal's
    /// `ErrNexusTableVersionConflict`).
    NexusTableVersion {
        /// The version of the request; 0 if it expected none.
        expected: i64,
        /// The stored version; 0 if there is none.
        observed: i64,
    },
    /// The Nexus endpoint has not the version that the request expected (Temporal's
    /// `ErrNexusEndpointVersionConflict`).
    NexusEndpointVersion {
        /// The endpoint.
        id: NexusEndpointId,
        /// The version of the request; 0 if it expected no endpoint.
        expected: i64,
        /// The stored version; `None` if the endpoint does not exist.
        observed: Option<i64>,
    },
    /// The Nexus endpoint to delete does not exist.
    NexusEndpointNotFound {
        /// The endpoint.
        id: NexusEndpointId,
    },
    /// The metadata of the queue has another version than the request expected.
    QueueMetadata {
        /// The queue.
        queue_type: QueueType,
        /// The version of the request.
        expected: i64,
        /// The stored version; `None` if the queue has no metadata.
        observed: Option<i64>,
    },
    /// The queue to create exists (Temporal's `ErrQueueAlreadyExists`).
    QueueExists {
        /// The queue.
        queue: QueueV2Key,
    },
    /// The queue does not exist (Temporal's `NotFound`).
    QueueNotFound {
        /// The queue.
        queue: QueueV2Key,
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
            Self::Execution { run_id, observed: None } => write!(f, "run {run_id} does not exist"),
            Self::Execution { run_id, observed: Some(version) } => write!(
                f,
                "run {run_id} is at record version {} and next event {}",
                version.db_record_version, version.next_event_id
            ),
            Self::ExecutionExists { run_id } => write!(f, "run {run_id} exists"),
            Self::ShardOwnershipLost { shard_id, expected, observed: Some(observed) } => {
                write!(f, "shard {shard_id} has range id {observed}, the caller expects {expected}")
            }
            Self::ShardOwnershipLost { shard_id, observed: None, .. } => {
                write!(f, "shard {shard_id} does not exist")
            }
            Self::TaskQueueLeaseLost { queue, expected, observed: Some(observed) } => write!(
                f,
                "task queue {queue} has range id {observed}, the caller expects {expected}"
            ),
            Self::TaskQueueLeaseLost { queue, observed: None, .. } => {
                write!(f, "task queue {queue} does not exist")
            }
            Self::TaskQueueExists { queue, range_id } => {
                write!(f, "task queue {queue} exists, with range id {range_id}")
            }
            Self::TaskQueueUserData {
                namespace_id,
                task_queue_name,
                expected,
                observed: Some(observed),
            } => write!(
                f,
                "the user data of task queue `{task_queue_name}` of namespace {namespace_id} has \
                 version {observed}, the caller expects {expected}"
            ),
            Self::TaskQueueUserData { namespace_id, task_queue_name, observed: None, .. } => {
                write!(
                    f,
                    "task queue `{task_queue_name}` of namespace {namespace_id} has no user data"
                )
            }
            Self::NamespaceExists { observed } => {
                let Namespace { id, name, .. } = &observed.namespace;
                write!(f, "namespace {id} exists, with the name `{name}`")
            }
            Self::NamespaceNotFound { id } => write!(f, "namespace {id} does not exist"),
            Self::NotificationVersion { expected, observed } => write!(
                f,
                "the notification version of the namespaces is {observed}, the caller expects \
                 {expected}"
            ),
            Self::ClusterMetadataVersion { cluster_name, expected, observed } => {
                write!(f, "the metadata of cluster `{cluster_name}`")?;
                versions(f, *expected, *observed)
            }
            Self::NexusTableVersion { expected, observed } => write!(
                f,
                "nexus endpoints table version mismatch: it is {observed}, the caller expects \
                 {expected}"
            ),
            Self::NexusEndpointVersion { id, expected, observed } => {
                write!(f, "nexus endpoint version mismatch: endpoint {id}")?;
                versions(f, *expected, *observed)
            }
            Self::NexusEndpointNotFound { id } => write!(f, "nexus endpoint not found: {id}"),
            Self::QueueMetadata { queue_type, expected, observed } => {
                write!(f, "the metadata of queue {queue_type}")?;
                versions(f, *expected, *observed)
            }
            Self::QueueExists { queue } => write!(f, "queue {queue} exists"),
            Self::QueueNotFound { queue } => write!(f, "queue {queue} does not exist"),
        }
    }
}

/// Writes what was found and what was expected, after the name of a thing with a version.
fn versions(f: &mut fmt::Formatter<'_>, expected: i64, observed: Option<i64>) -> fmt::Result {
    match observed {
        Some(version) => write!(f, " has version {version}, ")?,
        None => f.write_str(" does not exist, ")?,
    }
    write!(f, "the caller expects version {expected}")
}

/// The error of an operation on a store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A condition of the request did not hold. Nothing was applied; it is not retried.
    #[error("condition failed: {0}")]
    Condition(ConditionFailed),

    /// A row with the same key exists.
    #[error("{table}: a row with this key already exists")]
    AlreadyExists {
        /// The table of the row.
        table: Table,
        /// The error of the database; `None` if it was not asked.
        #[source]
        source: Option<Cause>,
    },

    /// The request is invalid on every store.
    #[error("{field}: {reason}")]
    InvalidArgument {
        /// The field, as its column is called.
        field: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
        /// The error of the database; `None` if it was not asked.
        #[source]
        source: Option<Cause>,
    },

    /// The request exceeds a limit of DSQL (aurora-dsql.md#limits, aurora-dsql.md#sizes). It is not
    /// retried.
    #[error("limit exceeded: {kind}")]
    Limit {
        /// The limit.
        kind: LimitKind,
        /// What exceeded it.
        #[source]
        source: Option<Cause>,
    },

    /// Every attempt until the deadline lost a conflict with another transaction. Nothing was
    /// applied.
    #[error(
        "{op}: lost a conflict with another transaction {attempts} time(s); nothing was applied"
    )]
    Conflict {
        /// The operation.
        op: &'static str,
        /// The number of attempts.
        attempts: u32,
        /// The last conflict.
        #[source]
        source: Option<Cause>,
    },

    /// The database could not be reached, the connection broke, or the deadline of the caller passed.
    /// In the last case the source is [`DeadlinePassed`](crate::DeadlinePassed).
    #[error("{op}: the database is unavailable; {outcome}")]
    Unavailable {
        /// The operation.
        op: &'static str,
        /// Whether the operation was applied.
        outcome: Outcome,
        /// The failure.
        #[source]
        source: Option<Cause>,
    },

    /// The database refused the credentials, or the role lacks a privilege.
    #[error("{op}: the database refused access")]
    Unauthorized {
        /// The operation.
        op: &'static str,
        /// The refusal.
        #[source]
        source: Option<Cause>,
    },

    /// The server refused the statement: it lacks a feature, or a table that the installed schema
    /// version does not have.
    #[error("{op}: the server does not support this; is the schema up to date?")]
    Unsupported {
        /// The operation.
        op: &'static str,
        /// The refusal.
        #[source]
        source: Option<Cause>,
    },

    /// A stored value cannot be decoded.
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
    /// Whether the operation was applied. [`Outcome::Unknown`] only if COMMIT, or an autocommit
    /// write, was sent.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable { outcome, .. } => *outcome,
            Self::Condition(_)
            | Self::AlreadyExists { .. }
            | Self::InvalidArgument { .. }
            | Self::Limit { .. }
            | Self::Conflict { .. }
            | Self::Unauthorized { .. }
            | Self::Unsupported { .. }
            | Self::Corrupt { .. } => Outcome::NotApplied,
        }
    }

    /// Whether a row that the operation writes would prove that an operation of unknown outcome was
    /// applied: the answer was lost, and the transaction is applied as a whole or not at all.
    pub fn can_be_proved(&self) -> bool {
        match self {
            Self::Unavailable { outcome: Outcome::Unknown, source, .. } => {
                !source.as_ref().is_some_and(|cause| cause.get().is::<WrongCount>())
            }
            _ => false,
        }
    }

    /// Whether the same request may succeed later. It is safe to repeat it only if
    /// [`outcome`](Self::outcome) is [`Outcome::NotApplied`].
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Unavailable { .. })
    }

    /// Converts [`AlreadyExists`](Self::AlreadyExists) into [`Conflict`](Self::Conflict).
    ///
    /// For the body of a transaction that has read the row as absent in its snapshot. A duplicate
    /// key then comes from a concurrent transaction, whose row the snapshot does not contain. The
    /// runner repeats the body on a new snapshot, which contains the row
    /// (temporal-persistence.md#retry-rule-6). Other errors are returned unchanged.
    #[must_use]
    pub fn duplicate_is_conflict(self, op: &'static str) -> Self {
        match self {
            Self::AlreadyExists { source, .. } => Self::Conflict { op, attempts: 1, source },
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
    use crate::testing::{conflict, unavailable};

    #[test]
    fn only_a_lost_commit_has_an_unknown_outcome() {
        assert_eq!(unavailable(Outcome::Unknown).outcome(), Outcome::Unknown);
        assert_eq!(unavailable(Outcome::NotApplied).outcome(), Outcome::NotApplied);
        assert_eq!(conflict().outcome(), Outcome::NotApplied);
    }

    #[test]
    fn only_conflicts_and_outages_are_transient() {
        assert!(unavailable(Outcome::Unknown).is_transient());
        assert!(conflict().is_transient());
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
