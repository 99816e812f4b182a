//! The recorded executions and current executions.

use serde::Deserialize;
use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsRow, DataBlob, ExecutionState, ExecutionStatus, ExecutionsRow,
    NamespaceId, RequestId, RunId, ShardId, WorkflowId,
};

use uuid::Uuid;

use super::{
    Recording,
    decode::{bytes, encoding, id, recorded},
};

/// Every row of `executions`.
pub fn executions(recording: Recording) -> Vec<ExecutionsRow> {
    recorded!(recording, "executions")
        .map(|row: Execution| ExecutionsRow {
            shard_id: ShardId(row.shard_id),
            namespace_id: NamespaceId(row.namespace_id),
            workflow_id: WorkflowId::new(row.workflow_id).unwrap(),
            run_id: RunId(row.run_id),
            next_event_id: row.next_event_id,
            last_write_version: row.last_write_version,
            data: DataBlob::new(bytes(&row.data), encoding(&row.data_encoding)),
            state: DataBlob::new(bytes(&row.state), encoding(&row.state_encoding)),
            db_record_version: row.db_record_version,
        })
        .collect()
}

/// Every row of `current_executions`: the workflows.
pub fn current_executions(recording: Recording) -> Vec<CurrentExecutionsRow> {
    recorded!(recording, "current_executions").map(current).collect()
}

/// Every row of `current_chasm_executions`: activities, schedulers and Nexus operations.
pub fn current_chasm_executions(recording: Recording) -> Vec<CurrentExecutionsRow> {
    recorded!(recording, "current_chasm_executions").map(current).collect()
}

#[derive(Deserialize)]
struct Execution {
    shard_id: i32,
    #[serde(deserialize_with = "id")]
    namespace_id: Uuid,
    workflow_id: String,
    #[serde(deserialize_with = "id")]
    run_id: Uuid,
    next_event_id: i64,
    last_write_version: i64,
    data: String,
    data_encoding: String,
    state: String,
    state_encoding: String,
    db_record_version: i64,
}

#[derive(Deserialize)]
struct Current {
    shard_id: i32,
    #[serde(deserialize_with = "id")]
    namespace_id: Uuid,
    #[serde(alias = "business_id")]
    workflow_id: String,
    #[serde(default = "workflow")]
    archetype_id: u32,
    #[serde(deserialize_with = "id")]
    run_id: Uuid,
    create_request_id: String,
    start_time: Option<String>,
    last_write_version: i64,
    state: i32,
    status: i32,
    data: Option<String>,
    data_encoding: String,
}

const fn workflow() -> u32 {
    ArchetypeId::WORKFLOW.0
}

fn current(row: Current) -> CurrentExecutionsRow {
    CurrentExecutionsRow {
        shard_id: ShardId(row.shard_id),
        namespace_id: NamespaceId(row.namespace_id),
        workflow_id: WorkflowId::new(row.workflow_id).unwrap(),
        archetype_id: ArchetypeId(row.archetype_id),
        run_id: RunId(row.run_id),
        create_request_id: RequestId::new(row.create_request_id).unwrap(),
        start_time: row.start_time.map(|time| time.parse().unwrap()),
        last_write_version: row.last_write_version,
        state: ExecutionState::try_from(row.state).unwrap(),
        status: ExecutionStatus::try_from(row.status).unwrap(),
        data: row.data.as_deref().map(bytes),
        data_encoding: encoding(&row.data_encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_execution_is_decoded() {
        // counts.json of the recordings
        for (recording, counts) in
            [(Recording::Dsql, [290, 170, 84]), (Recording::Postgres, [86, 50, 22])]
        {
            let others = current_chasm_executions(recording).len();
            let found = [executions(recording).len(), current_executions(recording).len(), others];
            assert_eq!(found, counts, "{recording:?}");
        }
    }

    #[test]
    fn the_archetypes_are_those_of_the_recording() {
        let rows = current_chasm_executions(Recording::Dsql);
        let count = |id| rows.iter().filter(|row| row.archetype_id == id).count();
        assert_eq!(count(ArchetypeId::ACTIVITY), 60);
        assert_eq!(count(ArchetypeId::SCHEDULER), 12);
        assert_eq!(count(ArchetypeId::NEXUS_OPERATION), 12);
    }
}
