//! Errors of the driver and of the pool as errors of the port. There is no `From<sqlx::Error>`: the
//! meaning of an error depends on the phase.

use sqlx::error::DatabaseError;
use temporal_dsql_client::{Class, Phase, classify_error};
use temporal_dsql_domain::Table;
use temporal_dsql_ports::{Cause, Outcome, StoreError, limits::LimitKind};

/// The operation, table and phase that an error belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// The operation.
    pub op: &'static str,
    /// The table that the statement writes or reads; `None` for BEGIN, COMMIT and a statement of many
    /// tables.
    pub table: Option<Table>,
    /// The phase.
    pub phase: Phase,
}

impl Context {
    /// The port's error for a driver's error.
    pub(crate) fn error(self, error: sqlx::Error) -> StoreError {
        // A statement may write several tables; the error names the table that the server reports.
        let table = error.as_database_error().and_then(table_of).or(self.table);
        let class = classify_error(&error, self.phase)
            .unwrap_or(Class::Disconnected(self.phase.outcome_without_answer()));
        Self { table, ..self }.classified(class, Cause::new(error))
    }

    /// The port's error when no answer came in time.
    pub(crate) fn timeout(self, elapsed: tokio::time::error::Elapsed) -> StoreError {
        StoreError::Unavailable {
            op: self.op,
            outcome: self.phase.outcome_without_answer(),
            source: Some(Cause::new(elapsed)),
        }
    }

    fn classified(self, class: Class, cause: Cause) -> StoreError {
        let op = self.op;
        match (class, self.table) {
            // A duplicate at COMMIT means that a concurrent transaction inserted the row. Which error
            // DSQL reports then is not recorded (aurora-dsql.md#open-questions). The next attempt
            // finds the row.
            (Class::Conflict(_), _) | (Class::Duplicate, None) => {
                StoreError::Conflict { op, attempts: 1, source: Some(cause) }
            }
            (Class::Duplicate, Some(table)) => {
                StoreError::AlreadyExists { table, source: Some(cause) }
            }
            // Of all statements of many tables, only a write set computes: the ids of its events.
            (Class::Overflow, None | Some(Table::BufferedEvents)) => BufferFull(cause).into(),
            (Class::Limit(kind), _) => StoreError::Limit { kind, source: Some(cause) },
            (Class::Overflow | Class::InvalidArgument | Class::NoDatabase, _) => {
                StoreError::InvalidArgument {
                    field: self.table.map_or("request", Table::name),
                    reason: "has a value that the database refuses".into(),
                    source: Some(cause),
                }
            }
            (Class::Unauthenticated | Class::Denied, _) => {
                StoreError::Unauthorized { op, source: Some(cause) }
            }
            (Class::Unsupported, _) => StoreError::Unsupported { op, source: Some(cause) },
            (Class::Busy | Class::ConnectionRefused, _) => {
                let outcome = Outcome::NotApplied;
                StoreError::Unavailable { op, outcome, source: Some(cause) }
            }
            (Class::Disconnected(outcome) | Class::Unavailable(outcome), _) => {
                StoreError::Unavailable { op, outcome, source: Some(cause) }
            }
        }
    }
}

/// The buffer of a run has used all positions (`rows::buffered_events`).
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "buffered_events: the run has used all 32,767 positions of its buffer; they start again when a \
     workflow task ends and the buffer is emptied"
)]
pub(crate) struct BufferFull(#[source] pub(crate) Cause);

impl From<BufferFull> for StoreError {
    fn from(error: BufferFull) -> Self {
        Self::Limit { kind: LimitKind::Other, source: Some(Cause::new(error)) }
    }
}

/// The tables that statements insert into, where a duplicate key can occur.
const INSERTED_INTO: &[Table] = &[
    Table::Executions,
    Table::CurrentExecutions,
    Table::CurrentChasmExecutions,
    Table::ActivityInfoMaps,
    Table::TimerInfoMaps,
    Table::ChildExecutionInfoMaps,
    Table::RequestCancelInfoMaps,
    Table::SignalInfoMaps,
    Table::SignalsRequestedSets,
    Table::ChasmNodeMaps,
    Table::BufferedEvents,
    Table::HistoryImmediateTasks,
    Table::HistoryScheduledTasks,
    Table::TransferTasks,
    Table::TimerTasks,
    Table::ReplicationTasks,
    Table::ReplicationTasksDlq,
    Table::VisibilityTasks,
    Table::HistoryNode,
    Table::HistoryTree,
    Table::Shards,
    Table::TaskQueues,
    Table::Tasks,
    Table::TaskQueuesV2,
    Table::TasksV2,
    Table::TaskQueueUserData,
    Table::BuildIdToTaskQueue,
    Table::Namespaces,
    Table::ClusterMetadataInfo,
    Table::ClusterMembership,
    Table::NexusEndpoints,
    Table::NexusEndpointsPartitionStatus,
    Table::Queue,
    Table::QueueMetadata,
    Table::Queues,
    Table::QueueMessages,
];

/// The table of an error: from its table field, which PostgreSQL sets, or from the name of the
/// constraint, which is also in the message. Which of them DSQL sets is not recorded.
fn table_of(refusal: &dyn DatabaseError) -> Option<Table> {
    refusal
        .table()
        .and_then(|name| INSERTED_INTO.iter().copied().find(|table| table.name() == name))
        .or_else(|| refusal.constraint().and_then(table_of_constraint))
        .or_else(|| quoted(refusal.message()).and_then(table_of_constraint))
}

/// The table of a primary key, by the name that the server generates, or of another unique index.
fn table_of_constraint(name: &str) -> Option<Table> {
    match name {
        "idx_buffered_events_id" => Some(Table::BufferedEvents),
        "idx_namespaces_name" => Some(Table::Namespaces),
        _ => {
            let table_name = name.strip_suffix("_pkey")?;
            INSERTED_INTO.iter().copied().find(|table| table.name() == table_name)
        }
    }
}

/// The text between the first quotation marks of a message.
fn quoted(message: &str) -> Option<&str> {
    message.split('"').nth(1)
}

/// The SQLSTATE in the sources of an error.
pub(crate) fn sqlstate_of(error: &StoreError) -> Option<String> {
    let cause = std::error::Error::source(error).and_then(<dyn std::error::Error>::downcast_ref);
    cause
        .and_then(|cause: &Cause| cause.get().downcast_ref::<sqlx::Error>())
        .and_then(sqlx::Error::as_database_error)
        .and_then(DatabaseError::code)
        .map(Into::into)
}

/// The pool has no connection for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoConnection {
    /// Other callers use all connections.
    #[error("no connection became free in time; all {max_connections} are in use")]
    Exhausted {
        /// The largest number of connections.
        max_connections: u32,
    },
    /// The rate limit allows no further connection yet.
    #[error(
        "no connection could be opened in time; connections are opened no faster than the limit of \
         {connection_rate} a second"
    )]
    RateLimited {
        /// New connections a second.
        connection_rate: u32,
    },
    /// The pool is closed.
    #[error("the store is closed")]
    Closed,
}

impl From<NoConnection> for StoreError {
    fn from(error: NoConnection) -> Self {
        Self::Unavailable {
            op: "Connect",
            outcome: Outcome::NotApplied,
            source: Some(Cause::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_overflow_of_the_ids_of_events_is_a_full_buffer() {
        let error = |table| {
            let context = Context { op: "Op", table, phase: Phase::Commit };
            context.classified(Class::Overflow, Cause::new("bigint out of range"))
        };
        for table in [None, Some(Table::BufferedEvents)] {
            let error = error(table);
            let StoreError::Limit { source: Some(source), .. } = &error else {
                panic!("{error:?}");
            };
            assert!(source.get().is::<BufferFull>(), "{source:?}");
        }
        for table in [Table::Queue, Table::QueueMessages, Table::QueueMetadata] {
            let error = error(Some(table));
            let StoreError::InvalidArgument { field, .. } = error else { panic!("{error:?}") };
            assert_eq!(field, table.name());
        }
    }

    #[test]
    fn a_constraint_names_its_table() {
        let message = "duplicate key value violates unique constraint \"timer_tasks_pkey\"";
        assert_eq!(quoted(message).and_then(table_of_constraint), Some(Table::TimerTasks));
        assert_eq!(table_of_constraint("idx_buffered_events_id"), Some(Table::BufferedEvents));
        assert_eq!(table_of_constraint("idx_namespaces_name"), Some(Table::Namespaces));
        for other in ["timer_tasks", "other_pkey", ""] {
            assert_eq!(table_of_constraint(other), None);
        }
        assert_eq!(quoted("server unavailable"), None);
    }
}
