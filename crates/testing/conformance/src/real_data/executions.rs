//! The recorded executions and current executions.

use serde::Deserialize;
use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsRow, DataBlob, ExecutionState, ExecutionStatus, ExecutionsRow,
    NamespaceId, RequestId, RunId, ShardId, WorkflowId,
};

use super::decode::{bytes, encoding, lines};

/// Every row of `executions`.
pub fn executions() -> Vec<ExecutionsRow> {
    lines(include_str!("../../data/temporal-1.32/executions.jsonl"))
        .map(|row: Execution| ExecutionsRow {
            shard_id: ShardId(row.shard_id),
            namespace_id: row.namespace_id.parse().unwrap(),
            workflow_id: WorkflowId::new(row.workflow_id).unwrap(),
            run_id: row.run_id.parse().unwrap(),
            next_event_id: row.next_event_id,
            last_write_version: row.last_write_version,
            data: DataBlob::new(bytes(&row.data), encoding(&row.data_encoding)),
            state: DataBlob::new(bytes(&row.state), encoding(&row.state_encoding)),
            db_record_version: row.db_record_version,
        })
        .collect()
}

/// Every row of `current_executions`: the workflows.
pub fn current_executions() -> Vec<CurrentExecutionsRow> {
    lines(include_str!("../../data/temporal-1.32/current_executions.jsonl")).map(current).collect()
}

/// Every row of `current_chasm_executions`: activities, schedulers and Nexus operations.
pub fn current_chasm_executions() -> Vec<CurrentExecutionsRow> {
    lines(include_str!("../../data/temporal-1.32/current_chasm_executions.jsonl"))
        .map(current)
        .collect()
}

#[derive(Deserialize)]
struct Execution {
    shard_id: i32,
    namespace_id: String,
    workflow_id: String,
    run_id: String,
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
    namespace_id: String,
    #[serde(alias = "business_id")]
    workflow_id: String,
    #[serde(default = "workflow")]
    archetype_id: u32,
    run_id: String,
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
        namespace_id: row.namespace_id.parse::<NamespaceId>().unwrap(),
        workflow_id: WorkflowId::new(row.workflow_id).unwrap(),
        archetype_id: ArchetypeId(row.archetype_id),
        run_id: row.run_id.parse::<RunId>().unwrap(),
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
        // counts.json of the recording
        assert_eq!(executions().len(), 290);
        assert_eq!(current_executions().len(), 170);
        assert_eq!(current_chasm_executions().len(), 84);
    }

    #[test]
    fn the_archetypes_are_those_of_the_recording() {
        let count =
            |id| current_chasm_executions().iter().filter(|row| row.archetype_id == id).count();
        assert_eq!(count(ArchetypeId::ACTIVITY), 60);
        assert_eq!(count(ArchetypeId::SCHEDULER), 12);
        assert_eq!(count(ArchetypeId::NEXUS_OPERATION), 12);
    }
}
