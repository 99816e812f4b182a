//! Tests of the statements on every table: their names, and the refusal of oversized rows.

use temporal_dsql_domain::{
    BranchId, BranchKey, ChasmNode, ChasmPath, ClusterName, DataBlob, HistoryNode, HistoryTreeRow,
    ImmediateQueue, ImmediateTask, MapEntries, MapKeys, MapTable, NodeOrder, NodePage,
    ScheduledKey, ScheduledQueue, ScheduledRange, ScheduledTask, ShardId, Table, TaskCategory,
    TaskQueueKey, TaskQueueKind, TaskQueueName, TaskQueueUserDataRow, TaskQueuesRow, TasksRow,
    TimerEntry, Timestamp, TreeId,
};
use temporal_dsql_ports::{
    Store, StoreError, Transaction,
    limits::{LimitKind, MAX_VALUE_BYTES},
};
use uuid::Uuid;

use crate::{
    MemoryStore,
    testing::{begin, blob, entries, execution, logged_store, shard},
};

const SHARD: ShardId = ShardId(1);
const BRANCH: BranchKey = BranchKey {
    shard_id: SHARD,
    tree_id: TreeId(Uuid::from_u128(1)),
    branch_id: BranchId(Uuid::from_u128(1)),
};
const KEY: ScheduledKey = ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id: 1 };
const RANGE: ScheduledRange = ScheduledRange { from: KEY, until: Timestamp::MAX };
const PAGE: NodePage =
    NodePage { min_node_id: 1, max_node_id: 9, order: NodeOrder::Forward, after: None, limit: 9 };

fn immediate_queues() -> [ImmediateQueue; 5] {
    [
        ImmediateQueue::Transfer,
        ImmediateQueue::Visibility,
        ImmediateQueue::Replication,
        ImmediateQueue::ReplicationDlq(ClusterName::new("east").unwrap()),
        ImmediateQueue::Category(TaskCategory::OUTBOUND),
    ]
}

const SCHEDULED_QUEUES: [ScheduledQueue; 2] =
    [ScheduledQueue::Timer, ScheduledQueue::Category(TaskCategory::OUTBOUND)];

/// `executions_of_one_shard` as `ExecutionsOfOneShard`.
fn camel_case(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').map(word).collect()
}

/// The table name in the names of Temporal's methods.
fn spelled(table: Table) -> String {
    match table {
        Table::ReplicationTasksDlq => "ReplicationDLQTasks".to_owned(),
        other => camel_case(other.name()),
    }
}

#[tokio::test]
async fn every_statement_has_the_name_of_temporals_method() {
    let (store, log) = logged_store();
    let mut session = store.session();
    let run = execution("w", 1).filter();
    let expect = |table: Table, before: [&str; 4]| {
        let names: Vec<_> = log.take().into_iter().map(|(name, _)| name).collect();
        let expected: Vec<_> =
            before.iter().map(|part| format!("{part}{}", spelled(table))).collect();
        assert_eq!(names, expected);
    };
    for map in MapTable::ALL {
        session.replace_into_map(&run, &MapEntries::none(map)).await.unwrap();
        session.select_all_from_map(&run, map).await.unwrap();
        session.delete_from_map(&run, &MapKeys::none(map)).await.unwrap();
        session.delete_all_from_map(&run, map, None).await.unwrap();
        let before = ["ReplaceInto", "SelectAllFrom", "DeleteFrom", "DeleteAllFrom"];
        expect(map.table(), before);
    }
    let before = ["InsertInto", "RangeSelectFrom", "DeleteFrom", "RangeDeleteFrom"];
    for queue in immediate_queues() {
        session.insert_into_immediate_tasks(SHARD, &queue, &[]).await.unwrap();
        session.range_select_from_immediate_tasks(SHARD, &queue, 0..9, 1).await.unwrap();
        session.delete_from_immediate_tasks(SHARD, &queue, 1).await.unwrap();
        session.range_delete_from_immediate_tasks(SHARD, &queue, 0..9, 1).await.unwrap();
        expect(queue.table(), before);
    }
    for queue in SCHEDULED_QUEUES {
        session.insert_into_scheduled_tasks(SHARD, queue, &[]).await.unwrap();
        session.range_select_from_scheduled_tasks(SHARD, queue, RANGE, 1).await.unwrap();
        session.delete_from_scheduled_tasks(SHARD, queue, KEY).await.unwrap();
        let times = RANGE.from.visibility_timestamp..RANGE.until;
        session.range_delete_from_scheduled_tasks(SHARD, queue, times, 1).await.unwrap();
        expect(queue.table(), before);
    }
    session.insert_into_history_node(&BRANCH, &[]).await.unwrap();
    session.range_select_from_history_node(&BRANCH, &PAGE).await.unwrap();
    session.delete_from_history_node(&BRANCH, node(1).metadata().position()).await.unwrap();
    session.range_delete_from_history_node(&BRANCH, 1, 1).await.unwrap();
    expect(Table::HistoryNode, before);
    session.insert_into_history_tree(&tree_row(1)).await.unwrap();
    session.select_from_history_tree(SHARD, BRANCH.tree_id).await.unwrap();
    session.delete_from_history_tree(&BRANCH).await.unwrap();
    session.paginate_branches_from_history_tree(None, 1).await.unwrap();
    let before = ["InsertInto", "SelectFrom", "DeleteFrom", "PaginateBranchesFrom"];
    expect(Table::HistoryTree, before);
    session.insert_into_shards(&shard(1)).await.unwrap();
    session.select_from_shards(SHARD).await.unwrap();
    session.update_shards(&shard(2), None).await.unwrap();
    session.read_lock_shards(SHARD).await.unwrap();
    expect(Table::Shards, ["InsertInto", "SelectFrom", "Update", "ReadLock"]);
    for kind in TaskQueueKind::ALL {
        let row = task_queue(kind, 1);
        session.insert_into_task_queues(&row).await.unwrap();
        session.select_from_task_queues(&row.queue).await.unwrap();
        session.update_task_queues(&row, None).await.unwrap();
        session.list_task_queues(kind, None, 1).await.unwrap();
        expect(kind.queues_table(), ["InsertInto", "SelectFrom", "Update", "List"]);
        session.read_lock_task_queues(&row.queue).await.unwrap();
        session.write_lock_task_queues(&row.queue).await.unwrap();
        session.delete_from_task_queues(&row.queue, 2).await.unwrap();
        session.delete_from_task_queues(&row.queue, 1).await.unwrap();
        expect(kind.queues_table(), ["ReadLock", "WriteLock", "DeleteFrom", "DeleteFrom"]);
        session.insert_into_tasks(kind, &[]).await.unwrap();
        let all = kind.first_level()..kind.end_level();
        session.select_from_tasks(&row.queue, all.clone(), 1).await.unwrap();
        session.delete_from_tasks(&row.queue, all.end, 1).await.unwrap();
        session.delete_from_tasks(&row.queue, all.end, 1).await.unwrap();
        let before = ["InsertInto", "SelectFrom", "DeleteFrom", "DeleteFrom"];
        expect(kind.tasks_table(), before);
    }
}

fn task_queue(kind: TaskQueueKind, bytes: usize) -> TaskQueuesRow {
    let queue = TaskQueueKey::of_upstream_id(kind, b"queue");
    TaskQueuesRow { queue, range_id: 1, data: of(bytes) }
}

fn node(bytes: usize) -> HistoryNode {
    HistoryNode { node_id: 1, txn_id: 1, prev_txn_id: 0, data: of(bytes) }
}

fn tree_row(bytes: usize) -> HistoryTreeRow {
    HistoryTreeRow { branch: BRANCH, data: of(bytes) }
}

fn of(bytes: usize) -> DataBlob {
    DataBlob { data: vec![0; bytes], ..blob(1) }
}

/// Entries of a map that exceed the value limit by one byte; none for the set, which has no values.
fn too_large(map: MapTable) -> Option<MapEntries> {
    let data = of(MAX_VALUE_BYTES + 1);
    let mut ids = entries([1]);
    ids[0].data = data.clone();
    let timers = vec![TimerEntry { timer_id: "t".parse().unwrap(), data }];
    let node = ChasmNode {
        path: ChasmPath::new("").unwrap(),
        metadata: blob(1),
        data: Some(vec![0; MAX_VALUE_BYTES + 1]),
        data_encoding: blob(1).encoding,
    };
    Some(match map {
        MapTable::Activities => MapEntries::Activities(ids),
        MapTable::Timers => MapEntries::Timers(timers),
        MapTable::ChildExecutions => MapEntries::ChildExecutions(ids),
        MapTable::RequestCancels => MapEntries::RequestCancels(ids),
        MapTable::Signals => MapEntries::Signals(ids),
        MapTable::SignalsRequested => return None,
        MapTable::ChasmNodes => MapEntries::ChasmNodes(vec![node]),
    })
}

#[tokio::test]
async fn an_oversized_row_is_refused_with_its_column_and_does_not_end_the_transaction() {
    let store = MemoryStore::new();
    let run = execution("w", 1).filter();
    let mut transaction: Box<dyn Transaction> = begin(&store).await;
    let refused = |table: Table, result: Result<u64, StoreError>| {
        let Err(StoreError::Limit { kind: LimitKind::ValueBytes, source: Some(source) }) = result
        else {
            panic!("{table}: expected a limit, got {result:?}");
        };
        assert!(source.to_string().starts_with(&format!("{table}.data ")), "{source}");
    };
    let large = MAX_VALUE_BYTES + 1;
    for map in MapTable::ALL {
        if let Some(entries) = too_large(map) {
            refused(map.table(), transaction.replace_into_map(&run, &entries).await);
        }
    }
    let result = transaction.insert_into_buffered_events(&run, &[of(large)]).await;
    refused(Table::BufferedEvents, result);
    for queue in immediate_queues() {
        let tasks = [ImmediateTask { task_id: 1, data: of(large) }];
        let result = transaction.insert_into_immediate_tasks(SHARD, &queue, &tasks).await;
        refused(queue.table(), result);
    }
    for queue in SCHEDULED_QUEUES {
        let tasks = [ScheduledTask { key: KEY, data: of(large) }];
        let result = transaction.insert_into_scheduled_tasks(SHARD, queue, &tasks).await;
        refused(queue.table(), result);
    }
    let result = transaction.insert_into_history_node(&BRANCH, &[node(1), node(large)]).await;
    refused(Table::HistoryNode, result);
    let result = transaction.insert_into_history_tree(&tree_row(large)).await;
    refused(Table::HistoryTree, result);
    let mut shard = shard(1);
    shard.data = of(large);
    refused(Table::Shards, transaction.insert_into_shards(&shard).await);
    refused(Table::Shards, transaction.update_shards(&shard, None).await);
    for kind in TaskQueueKind::ALL {
        let queue = task_queue(kind, large);
        refused(kind.queues_table(), transaction.insert_into_task_queues(&queue).await);
        refused(kind.queues_table(), transaction.update_task_queues(&queue, None).await);
        let task = TasksRow { queue: queue.queue, level: kind.first_level(), data: of(large) };
        refused(kind.tasks_table(), transaction.insert_into_tasks(kind, &[task]).await);
    }
    let user_data = TaskQueueUserDataRow {
        namespace_id: run.namespace_id,
        task_queue_name: TaskQueueName::new("queue").unwrap(),
        version: 1,
        data: of(large),
    };
    let result = transaction.insert_into_task_queue_user_data(&user_data).await;
    refused(Table::TaskQueueUserData, result);
    let result = transaction.update_task_queue_user_data(&user_data, 1).await;
    refused(Table::TaskQueueUserData, result);

    assert_eq!(transaction.insert_into_history_node(&BRANCH, &[node(1)]).await.unwrap(), 1);
    transaction.commit().await.unwrap();
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn the_path_of_a_chasm_node_is_as_long_as_it_is_configured() {
    let run = execution("w", 1).filter();
    let nodes = |characters| {
        MapEntries::ChasmNodes(vec![ChasmNode {
            path: ChasmPath::new("p".repeat(characters)).unwrap(),
            metadata: blob(1),
            data: None,
            data_encoding: blob(1).encoding,
        }])
    };
    for (store, most) in
        [(MemoryStore::new(), 255), (MemoryStore::builder().chasm_path_chars(1_000).build(), 1_000)]
    {
        let mut session = store.session();
        session.replace_into_map(&run, &nodes(most)).await.unwrap();
        let error = session.replace_into_map(&run, &nodes(most + 1)).await.unwrap_err();
        let is_named = matches!(error, StoreError::InvalidArgument { field: "chasm_path", .. });
        assert!(is_named, "{error:?}");
    }
}
