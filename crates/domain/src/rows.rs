//! The rows of `executions` and of the current-execution tables, and their keys
//! (temporal-persistence.md#executions).
//!
//! The types of the fields validate their values. `Debug` shows the sizes of blobs, never their bytes.

use std::fmt;

use crate::{
    ArchetypeId, DataBlob, Encoding, ExecutionState, ExecutionStatus, NamespaceId, RequestId,
    RunId, ShardId, Timestamp, WorkflowId,
};

/// A row of `executions`: the mutable state of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionsRow {
    /// Key: the history shard.
    pub shard_id: ShardId,
    /// Key: the namespace.
    pub namespace_id: NamespaceId,
    /// Key: the workflow id, or the business id of another archetype.
    pub workflow_id: WorkflowId,
    /// Key: the run.
    pub run_id: RunId,
    /// The next history event's id: the condition of updates in Temporal versions without record
    /// versions (temporal-persistence.md#update).
    pub next_event_id: i64,
    /// The failover version of the last write.
    pub last_write_version: i64,
    /// The serialized mutable state.
    pub data: DataBlob,
    /// The serialized `WorkflowExecutionState`.
    pub state: DataBlob,
    /// Incremented by every write: the condition of updates
    /// (temporal-persistence.md#update).
    pub db_record_version: i64,
}

/// The key of one row of `executions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionsFilter {
    /// The history shard.
    pub shard_id: ShardId,
    /// The namespace.
    pub namespace_id: NamespaceId,
    /// The workflow id, or the business id of another archetype.
    pub workflow_id: WorkflowId,
    /// The run.
    pub run_id: RunId,
}

/// The versions of an `executions` row, which the conditions of a write compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionVersion {
    /// Incremented by every write.
    pub db_record_version: i64,
    /// The next history event's id.
    pub next_event_id: i64,
    /// The failover version of the last write.
    pub last_write_version: i64,
}

/// A row of `current_executions` or, for any archetype but workflow, of
/// `current_chasm_executions`: the current run of an id.
#[derive(Clone, PartialEq, Eq)]
pub struct CurrentExecutionsRow {
    /// Key: the history shard.
    pub shard_id: ShardId,
    /// Key: the namespace.
    pub namespace_id: NamespaceId,
    /// Key: stored as `workflow_id`, or as `business_id` (requirements.md#req-2-5).
    pub workflow_id: WorkflowId,
    /// Determines the table (requirements.md#req-2-1, requirements.md#req-2-2) and is part of the key
    /// of `current_chasm_executions`. A row that was read from `current_executions` has
    /// [`ArchetypeId::WORKFLOW`] (requirements.md#req-5-3).
    pub archetype_id: ArchetypeId,
    /// The current run.
    pub run_id: RunId,
    /// The request that created the run.
    pub create_request_id: RequestId,
    /// When the run started; `None` is NULL.
    pub start_time: Option<Timestamp>,
    /// The failover version of the last write.
    pub last_write_version: i64,
    /// The run's state.
    pub state: ExecutionState,
    /// The run's status.
    pub status: ExecutionStatus,
    /// The serialized `WorkflowExecutionState`. `None` is NULL (rows from before Temporal 1.27), which
    /// differs from an empty blob.
    pub data: Option<Vec<u8>>,
    /// The encoding of `data`; empty if it is `None`.
    pub data_encoding: Encoding,
}

/// The key of the current execution of one id in one archetype (requirements.md#req-2-4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CurrentExecutionsFilter {
    /// The history shard.
    pub shard_id: ShardId,
    /// The namespace.
    pub namespace_id: NamespaceId,
    /// The workflow id, or the business id of another archetype.
    pub workflow_id: WorkflowId,
    /// The archetype; [`ArchetypeId::UNSPECIFIED`] means workflow (requirements.md#req-5-1).
    pub archetype_id: ArchetypeId,
}

impl CurrentExecutionsFilter {
    /// The key of a run of this id.
    pub fn run(&self, run_id: RunId) -> ExecutionsFilter {
        let Self { shard_id, namespace_id, ref workflow_id, .. } = *self;
        ExecutionsFilter { shard_id, namespace_id, workflow_id: workflow_id.clone(), run_id }
    }
}

impl ExecutionsRow {
    /// The key of this row.
    pub fn filter(&self) -> ExecutionsFilter {
        ExecutionsFilter {
            shard_id: self.shard_id,
            namespace_id: self.namespace_id,
            workflow_id: self.workflow_id.clone(),
            run_id: self.run_id,
        }
    }

    /// The versions of the row.
    pub const fn version(&self) -> ExecutionVersion {
        ExecutionVersion {
            db_record_version: self.db_record_version,
            next_event_id: self.next_event_id,
            last_write_version: self.last_write_version,
        }
    }
}

impl CurrentExecutionsRow {
    /// The current execution that refers to the run of `execution`, with a copy of its state.
    pub fn of(
        execution: &ExecutionsRow,
        archetype_id: ArchetypeId,
        create_request_id: RequestId,
        (state, status): (ExecutionState, ExecutionStatus),
        start_time: Option<Timestamp>,
    ) -> Self {
        Self {
            shard_id: execution.shard_id,
            namespace_id: execution.namespace_id,
            workflow_id: execution.workflow_id.clone(),
            archetype_id,
            run_id: execution.run_id,
            create_request_id,
            start_time,
            last_write_version: execution.last_write_version,
            state,
            status,
            data: Some(execution.state.data.clone()),
            data_encoding: execution.state.encoding.clone(),
        }
    }

    /// The key of this row.
    pub fn filter(&self) -> CurrentExecutionsFilter {
        CurrentExecutionsFilter {
            shard_id: self.shard_id,
            namespace_id: self.namespace_id,
            workflow_id: self.workflow_id.clone(),
            archetype_id: self.archetype_id,
        }
    }

    /// The key of the `executions` row of the current run.
    pub fn executions_filter(&self) -> ExecutionsFilter {
        self.filter().run(self.run_id)
    }
}

impl fmt::Debug for CurrentExecutionsRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentExecutionsRow")
            .field("shard_id", &self.shard_id)
            .field("namespace_id", &self.namespace_id)
            .field("workflow_id", &self.workflow_id)
            .field("archetype_id", &self.archetype_id)
            .field("run_id", &self.run_id)
            .field("create_request_id", &self.create_request_id)
            .field("start_time", &self.start_time)
            .field("last_write_version", &self.last_write_version)
            .field("state", &self.state)
            .field("status", &self.status)
            .field("data_bytes", &self.data.as_ref().map(Vec::len))
            .field("data_encoding", &self.data_encoding)
            .finish()
    }
}
