//! Rows of `current_executions`, the same for every subject.

use anyhow::Result;
use temporal_dsql::{
    ArchetypeId, CurrentExecutionsRow, Encoding, ExecutionState, ExecutionStatus, NamespaceId,
    RequestId, RunId, ShardId, Timestamp, WorkflowId,
};
use uuid::Uuid;

use crate::database::Database;

/// The size of the `WorkflowExecutionState` of a workflow that a Temporal 1.32 server wrote.
const DATA_BYTES: usize = 160;

/// The number of ids of each caller's new rows. The ranges are fixed: pgbench's clients share no
/// counter.
const NEW_IDS: u64 = 1_000_000_000;

/// The row whose workflow id is the number `id`. pgbench computes with numbers only.
pub fn row(id: u64) -> CurrentExecutionsRow {
    CurrentExecutionsRow {
        shard_id: ShardId(7),
        namespace_id: NamespaceId(Uuid::from_u128(0x3204_9b68_7872_4094_8e63_d0dd_5989_6a83)),
        workflow_id: WorkflowId::new(id.to_string()).expect("a number is a short id"),
        archetype_id: ArchetypeId::WORKFLOW,
        run_id: RunId(Uuid::from_u128(0x01a2_0632_c72c_759f_9d04_cfcd_f4e4_43e1)),
        create_request_id: RequestId::new("68fe8a61-6380-47fd-8901-4d7234cc3480")
            .expect("a UUID is a short id"),
        start_time: Some(Timestamp::UNIX_EPOCH),
        last_write_version: 0,
        state: ExecutionState::Created,
        status: ExecutionStatus::Running,
        data: Some(vec![0x5a; DATA_BYTES]),
        data_encoding: Encoding::new("Proto3").expect("a short name"),
    }
}

/// The first id of a caller's new rows.
pub const fn first_new_id(caller: usize) -> u64 {
    NEW_IDS * (caller as u64 + 1)
}

/// Resets the table to the rows `0` to `count`, without dead rows.
///
/// # Errors
/// A statement fails.
pub async fn reset(database: &Database, count: u32) -> Result<()> {
    let scratch = database.scratch();
    let row = row(0);
    let data: String =
        row.data.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    let fill = format!(
        "TRUNCATE current_executions;
         INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id,
             create_request_id, state, status, start_time, last_write_version, data,
             data_encoding)
         SELECT {}, '{}', id::text, '{}', '{}', {}, {}, '1970-01-01', {}, '\\x{data}', '{}'
         FROM generate_series(0, {count} - 1) AS id",
        row.shard_id,
        row.namespace_id,
        row.run_id,
        row.create_request_id,
        row.state.number(),
        row.status.number(),
        row.last_write_version,
        row.data_encoding,
    );
    scratch.execute(&fill).await?;
    scratch.execute("VACUUM ANALYZE current_executions").await?;
    scratch.execute("CHECKPOINT").await?;
    Ok(())
}
