//! Tests of the parameters of every statement of the row ports: each parameter of a text is bound,
//! and each bound value is a parameter of the text. Every text of a file is used.

use std::collections::BTreeSet;

use temporal_dsql_domain::{
    ArchetypeId, BranchId, BranchKey, BusinessId, ChasmNode, ChasmPath, ClusterName,
    CurrentExecutionsFilter, CurrentExecutionsRow, DataBlob, Encoding, ExecutionState,
    ExecutionStatus, ExecutionsRow, HistoryNode, HistoryTreeRow, IdEntry, ImmediateQueue,
    ImmediateTask, MapEntries, MapTable, NamespaceId, NodeOrder, NodePage, NodePosition, RequestId,
    RunId, ScheduledKey, ScheduledQueue, ScheduledRange, ScheduledTask, ShardId, ShardsRow,
    SignalId, TaskCategory, TimerEntry, TimerId, Timestamp, TreeId,
};
use temporal_dsql_ports::{CurrentExecutionsRoute, RunChange, WriteSet};
use uuid::Uuid;

use super::{
    buffered_events, current_executions as current, executions, history_node, history_tree,
    immediate_tasks, maps, mutable_state, scheduled_tasks, schema_version, shards,
};
use crate::statement::Statement;

const SHARD: ShardId = ShardId(1);

fn blob() -> DataBlob {
    DataBlob::new([1, 2, 3], Encoding::new("Proto3").unwrap())
}

fn run() -> ExecutionsRow {
    ExecutionsRow {
        shard_id: SHARD,
        namespace_id: NamespaceId(Uuid::from_u128(1)),
        workflow_id: BusinessId::new("workflow").unwrap(),
        run_id: RunId(Uuid::from_u128(2)),
        next_event_id: 3,
        last_write_version: 4,
        data: blob(),
        state: blob(),
        db_record_version: 5,
    }
}

fn of_executions(made: &mut Vec<Statement>) {
    let row = run();
    let filter = row.filter();
    made.push(executions::insert(&row).unwrap());
    made.push(executions::update(&row).unwrap());
    made.push(executions::select(&filter));
    made.push(executions::delete(&filter));
    for lock in [executions::Lock::Read, executions::Lock::Write] {
        made.extend([true, false].map(|holds_locks| executions::lock(&filter, lock, holds_locks)));
    }
    made.push(mutable_state::select::statement(&filter));
}

fn of_current_executions(made: &mut Vec<Statement>) {
    let run = run();
    let row = CurrentExecutionsRow {
        shard_id: run.shard_id,
        namespace_id: run.namespace_id,
        workflow_id: run.workflow_id,
        archetype_id: ArchetypeId::WORKFLOW,
        run_id: run.run_id,
        create_request_id: RequestId::new("request").unwrap(),
        start_time: Some(Timestamp::UNIX_EPOCH),
        last_write_version: 1,
        state: ExecutionState::Running,
        status: ExecutionStatus::Running,
        data: None,
        data_encoding: Encoding::new("").unwrap(),
    };
    let filter: CurrentExecutionsFilter = row.filter();
    for route in [
        CurrentExecutionsRoute::CurrentExecutions,
        CurrentExecutionsRoute::CurrentChasmExecutions { archetype_id: ArchetypeId(7) },
    ] {
        made.push(current::insert(route, &row).unwrap());
        made.push(current::update(route, &row).unwrap());
        made.push(current::select(route, &filter));
        made.push(current::lock(route, &filter));
        made.push(current::select_join(route, &filter));
        made.push(current::delete(route, &filter, row.run_id));
    }
}

fn of_maps(made: &mut Vec<Statement>) {
    let run = run().filter();
    let ids = || vec![IdEntry { id: 1, data: blob() }];
    let timer = TimerEntry { timer_id: TimerId::new("timer").unwrap(), data: blob() };
    let node = ChasmNode {
        path: ChasmPath::new("path").unwrap(),
        metadata: blob(),
        data: None,
        data_encoding: Encoding::new("").unwrap(),
    };
    for map in MapTable::ALL {
        let entries = match map {
            MapTable::Activities => MapEntries::Activities(ids()),
            MapTable::Timers => MapEntries::Timers(vec![timer.clone()]),
            MapTable::ChildExecutions => MapEntries::ChildExecutions(ids()),
            MapTable::RequestCancels => MapEntries::RequestCancels(ids()),
            MapTable::Signals => MapEntries::Signals(ids()),
            MapTable::SignalsRequested => {
                MapEntries::SignalsRequested(vec![SignalId::new("signal").unwrap()])
            }
            MapTable::ChasmNodes => MapEntries::ChasmNodes(vec![node.clone()]),
        };
        made.push(maps::replace(&run, &entries).unwrap());
        made.push(maps::select(&run, map));
        made.push(maps::delete(&run, &entries.keys()));
        made.extend([None, Some(1)].map(|limit| maps::delete_all(&run, map, limit)));
    }
    made.push(buffered_events::insert(&run, &[blob()]).unwrap());
    made.push(buffered_events::select(&run));
    made.extend([None, Some(1)].map(|limit| buffered_events::delete(&run, limit)));
}

fn of_tasks(made: &mut Vec<Statement>) {
    for queue in [
        ImmediateQueue::Transfer,
        ImmediateQueue::Visibility,
        ImmediateQueue::Replication,
        ImmediateQueue::ReplicationDlq(ClusterName::new("cluster").unwrap()),
        ImmediateQueue::Category(TaskCategory::new(9).unwrap()),
    ] {
        let task = ImmediateTask { task_id: 1, data: blob() };
        made.push(immediate_tasks::insert(SHARD, &queue, &[task]).unwrap());
        made.push(immediate_tasks::select(SHARD, &queue, &(0..2), 1));
        made.push(immediate_tasks::delete(SHARD, &queue, 1));
        made.push(immediate_tasks::delete_range(SHARD, &queue, &(0..2), 1));
    }
    let key = ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id: 1 };
    let range = ScheduledRange { from: key, until: Timestamp::UNIX_EPOCH };
    for queue in [ScheduledQueue::Timer, ScheduledQueue::Category(TaskCategory::new(9).unwrap())] {
        let task = ScheduledTask { key, data: blob() };
        made.push(scheduled_tasks::insert(SHARD, queue, &[task]).unwrap());
        made.push(scheduled_tasks::select(SHARD, queue, range, 1));
        made.push(scheduled_tasks::delete(SHARD, queue, key));
        made.push(scheduled_tasks::delete_range(SHARD, queue, range, 1));
    }
}

fn of_histories(made: &mut Vec<Statement>) {
    let (tree_id, branch_id) = (TreeId(Uuid::from_u128(1)), BranchId(Uuid::from_u128(2)));
    let branch = BranchKey { shard_id: SHARD, tree_id, branch_id };
    let node = HistoryNode { node_id: 1, txn_id: 2, prev_txn_id: 0, data: blob() };
    let position = NodePosition { node_id: 1, txn_id: 2 };
    made.push(history_node::insert(&branch, &[node]).unwrap());
    made.push(history_node::delete(&branch, position).unwrap());
    made.push(history_node::delete_range(&branch, 1, 1));
    for order in [NodeOrder::Forward, NodeOrder::Reverse] {
        let page =
            NodePage { min_node_id: 1, max_node_id: 9, order, after: Some(position), limit: 1 };
        made.push(history_node::select(&branch, &page).unwrap());
        made.push(history_node::select_metadata(&branch, &page).unwrap());
    }
    made.push(history_tree::insert(&HistoryTreeRow { branch, data: blob() }).unwrap());
    made.push(history_tree::select(SHARD, tree_id));
    made.push(history_tree::delete(&branch));
    made.push(history_tree::paginate(None, 1));
}

/// The statements of writes share one set of values; each takes the values that it names.
fn of_writes(made: &mut Vec<Statement>) {
    let run = run();
    let mut set = WriteSet::new("GuardedWrite", SHARD);
    set.runs.push(RunChange::Insert { row: &run, maps: &[] });
    let router = temporal_dsql_ports::ArchetypeRouter;
    let write = mutable_state::apply::OneStatement::new(&router, &set).unwrap();
    made.push(write.statement().unwrap());
    for meta in [&executions::DELETE_ALL, &mutable_state::per_table::OBSERVE] {
        made.push(write.statement_of(meta).unwrap());
    }
    let deleted = run.filter();
    let mut set = WriteSet::new("Delete", SHARD);
    set.runs.push(RunChange::Delete(&deleted));
    made.push(mutable_state::apply::OneStatement::new(&router, &set).unwrap().statement().unwrap());
}

/// Every statement. With debug assertions, [`super::exact`] refuses a value that is bound and not
/// named; [`Statement::new`] refuses a parameter without a value.
fn made() -> Vec<Statement> {
    let mut made =
        shards::every_statement(&ShardsRow { shard_id: SHARD, range_id: 1, data: blob() });
    of_executions(&mut made);
    of_current_executions(&mut made);
    of_maps(&mut made);
    of_tasks(&mut made);
    of_histories(&mut made);
    of_writes(&mut made);
    made.push(schema_version::select("temporal"));
    made
}

#[test]
fn every_text_names_what_is_bound_and_everything_is_bound_that_it_names() {
    let made: BTreeSet<_> = made().iter().map(|statement| statement.meta.text.sql()).collect();
    for meta in super::statements() {
        let sql = meta.text.sql();
        assert!(made.contains(sql), "{} is not made here: {sql}", meta.op);
    }
}

#[test]
fn every_text_of_a_file_is_sent_and_every_file_is_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let named: Vec<_> = super::statements().collect();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let content = std::fs::read_to_string(&path).unwrap();
        let sent: BTreeSet<_> = named
            .iter()
            .filter(|meta| meta.text.file() == content)
            .map(|meta| meta.text.name())
            .collect();
        let has: BTreeSet<_> = named
            .iter()
            .filter(|meta| meta.text.file() == content)
            .flat_map(|meta| meta.text.names_in_file())
            .collect();
        assert!(!has.is_empty(), "nothing of {} is sent", path.display());
        assert_eq!(has, sent, "{}", path.display());
    }
}
