//! Rows for the tests of this module.

use temporal_dsql_domain::{
    ArchetypeId, BusinessId, ChasmNode, ChasmPath, CurrentExecutionsRow, DataBlob, Encoding,
    ExecutionState, ExecutionStatus, ExecutionsRow, IdEntry, MapEntries, MapTable, NamespaceId,
    RequestId, RunId, ShardId, SignalId, TimerEntry, TimerId,
};
use uuid::Uuid;

pub(super) const SHARD: ShardId = ShardId(1);
pub(super) const NAMESPACE: NamespaceId = NamespaceId(Uuid::from_u128(1));

pub(super) fn blob(byte: u8) -> DataBlob {
    DataBlob::new([byte], Encoding::new("Proto3").unwrap())
}

pub(super) fn run(run_id: RunId, next_event_id: i64) -> ExecutionsRow {
    ExecutionsRow {
        shard_id: SHARD,
        namespace_id: NAMESPACE,
        workflow_id: BusinessId::new("id").unwrap(),
        run_id,
        next_event_id,
        last_write_version: 1,
        data: blob(1),
        state: blob(2),
        db_record_version: 1,
    }
}

pub(super) fn current_row(
    archetype_id: ArchetypeId,
    run_id: RunId,
    state: ExecutionState,
) -> CurrentExecutionsRow {
    let run = run(run_id, 1);
    CurrentExecutionsRow {
        shard_id: run.shard_id,
        namespace_id: run.namespace_id,
        workflow_id: run.workflow_id,
        archetype_id,
        run_id,
        create_request_id: RequestId::new("request").unwrap(),
        start_time: None,
        last_write_version: 7,
        state,
        status: match state {
            ExecutionState::Completed => ExecutionStatus::Completed,
            _ => ExecutionStatus::Running,
        },
        data: Some(vec![1]),
        data_encoding: blob(1).encoding,
    }
}

/// Entries of `map` with these keys, each a digit.
pub(super) fn entries(map: MapTable, keys: &[i64]) -> MapEntries {
    let text = |key: &i64| key.to_string();
    let ids = || keys.iter().map(|id| IdEntry { id: *id, data: blob(1) }).collect();
    match map {
        MapTable::Activities => MapEntries::Activities(ids()),
        MapTable::ChildExecutions => MapEntries::ChildExecutions(ids()),
        MapTable::RequestCancels => MapEntries::RequestCancels(ids()),
        MapTable::Signals => MapEntries::Signals(ids()),
        MapTable::Timers => {
            let timer =
                |key| TimerEntry { timer_id: TimerId::new(text(key)).unwrap(), data: blob(1) };
            MapEntries::Timers(keys.iter().map(timer).collect())
        }
        MapTable::SignalsRequested => {
            let id = |key| SignalId::new(text(key)).unwrap();
            MapEntries::SignalsRequested(keys.iter().map(id).collect())
        }
        MapTable::ChasmNodes => {
            let node = |key| ChasmNode {
                path: ChasmPath::new(text(key)).unwrap(),
                metadata: blob(1),
                data: Some(vec![2]),
                data_encoding: Encoding::new("Proto3").unwrap(),
            };
            MapEntries::ChasmNodes(keys.iter().map(node).collect())
        }
    }
}
