//! Sample rows of the tests of this crate.

use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsRow, DataBlob, Encoding, ExecutionState, ExecutionStatus,
    ExecutionsRow, NamespaceId, RequestId, RunId, ShardId, WorkflowId,
};
use uuid::Uuid;

use crate::{Outcome, StoreError};

pub(crate) fn executions_row() -> ExecutionsRow {
    ExecutionsRow {
        shard_id: ShardId(3),
        namespace_id: NamespaceId(Uuid::nil()),
        workflow_id: WorkflowId::new("order-1").unwrap(),
        run_id: RunId(Uuid::nil()),
        next_event_id: 40,
        last_write_version: 11,
        data: blob(1),
        state: blob(1),
        db_record_version: 5,
    }
}

pub(crate) fn current_executions_row() -> CurrentExecutionsRow {
    CurrentExecutionsRow {
        shard_id: ShardId(3),
        namespace_id: NamespaceId(Uuid::nil()),
        workflow_id: WorkflowId::new("order-1").unwrap(),
        archetype_id: ArchetypeId::WORKFLOW,
        run_id: RunId(Uuid::nil()),
        create_request_id: RequestId::new("request").unwrap(),
        start_time: None,
        last_write_version: 1,
        state: ExecutionState::Running,
        status: ExecutionStatus::Running,
        data: None,
        data_encoding: Encoding::new("").unwrap(),
    }
}

/// A blob of this size.
pub(crate) fn blob(bytes: usize) -> DataBlob {
    DataBlob::new(vec![0; bytes], Encoding::new("Proto3").unwrap())
}

pub(crate) fn conflict() -> StoreError {
    StoreError::Conflict { op: "Statement", attempts: 1, source: None }
}

pub(crate) fn unavailable(outcome: Outcome) -> StoreError {
    StoreError::Unavailable { op: "Statement", outcome, source: None }
}
