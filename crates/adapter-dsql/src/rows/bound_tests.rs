//! Tests of the parameters of every statement of the row ports: each parameter of a text is bound,
//! and each bound value is a parameter of the text. Every text of a file is used.

use std::collections::BTreeSet;

use temporal_dsql_domain::{
    ArchetypeId, BranchId, BranchKey, BuildId, ClusterMembershipFilter, ClusterMembershipRow,
    ClusterMetadataRow, ClusterName, ExecutionState, HistoryNode, HistoryTreeRow, HostId,
    ImmediateQueue, ImmediateTask, MapTable, Namespace, NamespaceId, NamespaceKey, NamespaceName,
    NamespacesRow, NexusEndpointId, NexusEndpointsRow, NodeOrder, NodePage, NodePosition,
    QueueMessage, QueueMetadataRow, QueueName, QueueType, QueueV2Key, QueueV2Type, QueuesRow,
    RpcAddress, RunId, ScheduledKey, ScheduledQueue, ScheduledRange, ScheduledTask, ServiceType,
    ShardsRow, TaskCategory, TaskQueueBuildIds, TaskQueueKey, TaskQueueKind, TaskQueueName,
    TaskQueueUserDataRow, TaskQueuesRow, TasksRow, Timestamp, TreeId,
};
use temporal_dsql_ports::{
    ArchetypeRouter, ClusterMetadata, CreateTasks, CurrentExecutionsRouter, ExecutionMaps,
    HistoryExecution, HistoryNodes, HistoryTasks, MatchingTasks, MutableState, Namespaces,
    NexusEndpoints, Queues, QueuesV2, RunChange, Shards, StoreError, TaskQueueLease,
    TaskQueueUserData, WriteSet,
};
use uuid::Uuid;

use super::{
    executions, matching_tasks,
    mutable_state::{apply::OneStatement, per_table::OBSERVE},
    session::Rows,
    test_rows::{NAMESPACE, SHARD, blob, current_row, entries, run},
};
use crate::{
    executor::Executor,
    statement::{Answer, Statement},
};

const RUN: RunId = RunId(Uuid::from_u128(2));

/// Records the statements, and answers each with no rows.
#[derive(Default)]
struct Recorder<const HOLDS_LOCKS: bool>(Vec<Statement>);

impl<const HOLDS_LOCKS: bool> Executor for Recorder<HOLDS_LOCKS> {
    const HOLDS_LOCKS: bool = HOLDS_LOCKS;

    async fn send(&mut self, statement: Statement) -> Result<Answer, StoreError> {
        self.0.push(statement);
        Ok(Answer { affected: 0, rows: Vec::new() })
    }

    fn router(&self) -> &dyn CurrentExecutionsRouter {
        &ArchetypeRouter
    }
}

async fn use_shards<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let shard = ShardsRow { shard_id: SHARD, range_id: 1, data: blob(1) };
    rows.insert_into_shards(&shard).await?;
    rows.update_shards(&shard, None).await?;
    rows.update_shards(&shard, Some(1)).await?;
    rows.select_from_shards(SHARD).await?;
    rows.read_lock_shards(SHARD).await?;
    rows.write_lock_shards(SHARD).await?;
    rows.schema_version("temporal").await.map(drop)
}

async fn use_executions<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let row = run(RUN, 3);
    let filter = row.filter();
    rows.insert_into_executions(&row).await?;
    rows.update_executions(&row).await?;
    rows.select_from_executions(&filter).await?;
    rows.delete_from_executions(&filter).await?;
    rows.read_lock_executions(&filter).await?;
    rows.write_lock_executions(&filter).await?;
    rows.select_mutable_state(&filter).await?;
    for archetype_id in [ArchetypeId::WORKFLOW, ArchetypeId(7)] {
        let row = current_row(archetype_id, RUN, ExecutionState::Running);
        let filter = row.filter();
        rows.insert_into_current_executions(&row).await?;
        rows.update_current_executions(&row).await?;
        rows.select_from_current_executions(&filter).await?;
        rows.lock_current_executions(&filter).await?;
        rows.lock_current_executions_join_executions(&filter).await?;
        rows.delete_from_current_executions(&filter, RUN).await?;
    }
    Ok(())
}

async fn use_maps<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let run = run(RUN, 3).filter();
    for map in MapTable::ALL {
        let entries = entries(map, &[1]);
        rows.replace_into_map(&run, &entries).await?;
        rows.select_all_from_map(&run, map).await?;
        rows.delete_from_map(&run, &entries.keys()).await?;
        for limit in [None, Some(1)] {
            rows.delete_all_from_map(&run, map, limit).await?;
        }
    }
    rows.insert_into_buffered_events(&run, &[blob(1)]).await?;
    rows.select_from_buffered_events(&run).await?;
    for limit in [None, Some(1)] {
        rows.delete_from_buffered_events(&run, limit).await?;
    }
    Ok(())
}

async fn use_tasks<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let category = TaskCategory::new(9).unwrap();
    for queue in [
        ImmediateQueue::Transfer,
        ImmediateQueue::Visibility,
        ImmediateQueue::Replication,
        ImmediateQueue::ReplicationDlq(ClusterName::new("cluster").unwrap()),
        ImmediateQueue::Category(category),
    ] {
        let task = ImmediateTask { task_id: 1, data: blob(1) };
        rows.insert_into_immediate_tasks(SHARD, &queue, &[task]).await?;
        rows.range_select_from_immediate_tasks(SHARD, &queue, 0..2, 1).await?;
        rows.delete_from_immediate_tasks(SHARD, &queue, 1).await?;
        rows.range_delete_from_immediate_tasks(SHARD, &queue, 0..2, 1).await?;
    }
    let key = ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id: 1 };
    let range = ScheduledRange { from: key, until: Timestamp::UNIX_EPOCH };
    for queue in [ScheduledQueue::Timer, ScheduledQueue::Category(category)] {
        let task = ScheduledTask { key, data: blob(1) };
        rows.insert_into_scheduled_tasks(SHARD, queue, &[task]).await?;
        rows.range_select_from_scheduled_tasks(SHARD, queue, range, 1).await?;
        rows.delete_from_scheduled_tasks(SHARD, queue, key).await?;
        let times = range.from.visibility_timestamp..range.until;
        rows.range_delete_from_scheduled_tasks(SHARD, queue, times, 1).await?;
    }
    Ok(())
}

async fn use_histories<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let (tree_id, branch_id) = (TreeId(Uuid::from_u128(1)), BranchId(Uuid::from_u128(2)));
    let branch = BranchKey { shard_id: SHARD, tree_id, branch_id };
    let node = HistoryNode { node_id: 1, txn_id: 2, prev_txn_id: 0, data: blob(1) };
    let position = NodePosition { node_id: 1, txn_id: 2 };
    rows.insert_into_history_node(&branch, &[node]).await?;
    rows.delete_from_history_node(&branch, position).await?;
    rows.range_delete_from_history_node(&branch, 1, 1).await?;
    for order in [NodeOrder::Forward, NodeOrder::Reverse] {
        let after = Some(position);
        let page = NodePage { min_node_id: 1, max_node_id: 9, order, after, limit: 1 };
        rows.range_select_from_history_node(&branch, &page).await?;
        rows.range_select_metadata_from_history_node(&branch, &page).await?;
    }
    rows.insert_into_history_tree(&HistoryTreeRow { branch, data: blob(1) }).await?;
    rows.select_from_history_tree(SHARD, tree_id).await?;
    rows.delete_from_history_tree(&branch).await?;
    rows.paginate_branches_from_history_tree(None, 1).await.map(drop)
}

async fn use_matching<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    for kind in TaskQueueKind::ALL {
        let queue = TaskQueueKey::of_upstream_id(kind, b"queue");
        let row = TaskQueuesRow { queue, range_id: 1, data: blob(1) };
        rows.insert_into_task_queues(&row).await?;
        rows.update_task_queues(&row, None).await?;
        rows.update_task_queues(&row, Some(1)).await?;
        rows.select_from_task_queues(&queue).await?;
        rows.list_task_queues(kind, None, 1).await?;
        rows.list_task_queues(kind, Some(&queue), 1).await?;
        rows.read_lock_task_queues(&queue).await?;
        rows.write_lock_task_queues(&queue).await?;
        rows.delete_from_task_queues(&queue, 1).await?;
        let task = TasksRow { queue, level: kind.first_level(), data: blob(1) };
        rows.insert_into_tasks(kind, &[task]).await?;
        rows.select_from_tasks(&queue, kind.first_level()..kind.end_level(), 1).await?;
        rows.delete_from_tasks(&queue, kind.end_level(), 1).await?;
    }
    let name = TaskQueueName::new("queue").unwrap();
    let build_id = BuildId::new("build").unwrap();
    let row = TaskQueueUserDataRow {
        namespace_id: NAMESPACE,
        task_queue_name: name.clone(),
        version: 1,
        data: blob(1),
    };
    rows.insert_into_task_queue_user_data(&row).await?;
    rows.update_task_queue_user_data(&row, 1).await?;
    rows.get_task_queue_user_data(NAMESPACE, &name).await?;
    rows.list_task_queue_user_data(NAMESPACE, Some(&name), 1).await?;
    let build_ids = TaskQueueBuildIds {
        namespace_id: NAMESPACE,
        task_queue_name: name,
        build_ids: vec![build_id.clone()],
    };
    rows.add_to_build_id_to_task_queue_mapping(&build_ids).await?;
    rows.remove_from_build_id_to_task_queue_mapping(&build_ids).await?;
    rows.get_task_queues_by_build_id(NAMESPACE, &build_id).await?;
    rows.count_task_queues_by_build_id(NAMESPACE, &build_id).await.map(drop)
}

/// The statements that add tasks under a lease.
fn statements_that_create_tasks() -> Vec<Statement> {
    let create = |kind: TaskQueueKind| {
        let queue = TaskQueueKey::of_upstream_id(kind, b"queue");
        let tasks = [TasksRow { queue, level: kind.first_level(), data: blob(1) }];
        let lease = TaskQueueLease { queue, range_id: 1 };
        matching_tasks::create(&CreateTasks { lease, tasks: &tasks }).unwrap()
    };
    TaskQueueKind::ALL.map(create).into()
}

async fn use_namespaces<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let (id, name) = (NamespaceId::MIN, NamespaceName::new("namespace").unwrap());
    let namespace = Namespace { id, name: name.clone(), is_global: true, data: blob(1) };
    let row = NamespacesRow { namespace, notification_version: 1 };
    rows.insert_into_namespace(&row).await?;
    rows.update_namespace(&row).await?;
    for key in [NamespaceKey::Id(id), NamespaceKey::Name(name)] {
        rows.select_from_namespace(&key).await?;
        rows.delete_from_namespace(&key).await?;
    }
    rows.range_select_from_namespace(id, 1).await?;
    rows.lock_namespace_metadata().await?;
    rows.select_from_namespace_metadata().await?;
    rows.update_namespace_metadata(1).await.map(drop)
}

async fn use_clusters<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let cluster_name = ClusterName::new("cluster").unwrap();
    for version in [0, 1] {
        let row = ClusterMetadataRow { cluster_name: cluster_name.clone(), data: blob(1), version };
        rows.save_cluster_metadata(&row).await?;
    }
    rows.get_cluster_metadata(&cluster_name).await?;
    rows.list_cluster_metadata(None, 1).await?;
    rows.delete_cluster_metadata(&cluster_name).await?;
    let now = Timestamp::UNIX_EPOCH;
    let member = ClusterMembershipRow {
        host_id: HostId::MIN,
        role: ServiceType::HISTORY,
        rpc_address: RpcAddress::new("127.0.0.1").unwrap(),
        rpc_port: 7234,
        session_start: now,
        last_heartbeat: now,
        record_expiry: now,
    };
    rows.upsert_cluster_membership(&member).await?;
    let filter = ClusterMembershipFilter::default();
    rows.get_cluster_members(&filter, now, HostId::MIN, 1).await?;
    rows.prune_cluster_membership(now, 1).await.map(drop)
}

async fn use_nexus_endpoints<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let id = NexusEndpointId::MIN;
    let row = NexusEndpointsRow { id, version: 1, data: blob(1) };
    rows.initialize_nexus_endpoints_table_version().await?;
    rows.increment_nexus_endpoints_table_version(1).await?;
    rows.get_nexus_endpoints_table_version().await?;
    rows.insert_into_nexus_endpoints(&row).await?;
    rows.update_nexus_endpoint(&row).await?;
    rows.get_nexus_endpoint_by_id(id).await?;
    rows.list_nexus_endpoints(id, 1).await?;
    rows.delete_from_nexus_endpoints(id).await.map(drop)
}

async fn use_queues<E: Executor>(rows: &mut Rows<E>) -> Result<(), StoreError> {
    let queue = QueueType::NAMESPACE_REPLICATION;
    let message = [QueueMessage { message_id: 1, data: blob(1) }];
    rows.insert_into_messages(queue, &message).await?;
    let error = rows.insert_next_into_messages(queue, &blob(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "the answer has no id: {error:?}");
    rows.select_from_messages(queue, 1).await?;
    rows.range_select_from_messages(queue, 0..2, 1).await?;
    rows.delete_from_messages(queue, 1).await?;
    rows.range_delete_from_messages(queue, 0..2, 1).await?;
    let metadata = QueueMetadataRow { queue_type: queue, data: blob(1), version: 0 };
    rows.insert_into_queue_metadata(&metadata).await?;
    rows.update_queue_metadata(&metadata).await?;
    rows.select_from_queue_metadata(queue).await?;
    rows.lock_queue_metadata(queue).await?;

    let queue_name = QueueName::new("queue").unwrap();
    let queue = QueueV2Key { queue_type: QueueV2Type::HISTORY_DLQ, queue_name };
    rows.insert_into_queue_v2_messages(&queue, &message).await?;
    rows.insert_next_into_queue_v2_messages(&queue, &blob(1)).await?;
    rows.range_select_from_queue_v2_messages(&queue, 0, 1).await?;
    rows.range_delete_from_queue_v2_messages(&queue, 0..2, 1).await?;
    rows.last_message_id_of_queue_v2(&queue).await?;
    let row = QueuesRow { key: queue.clone(), metadata: blob(1) };
    rows.insert_into_queue_v2_metadata(&row).await?;
    rows.update_queue_v2_metadata(&row).await?;
    rows.select_from_queue_v2_metadata(&queue).await?;
    rows.lock_queue_v2_metadata(&queue).await?;
    rows.range_select_from_queue_v2_metadata(queue.queue_type, None, 1).await.map(drop)
}

/// The statements of writes share one set of values; each takes the values that it names.
fn statements_of_writes() -> Vec<Statement> {
    let run = run(RUN, 3);
    let mut insert = WriteSet::new("GuardedWrite", SHARD);
    insert.runs.push(RunChange::Insert { row: &run, maps: &[] });
    let insert = OneStatement::new(&ArchetypeRouter, &insert).unwrap();
    let run = run.filter();
    let mut delete = WriteSet::new("Delete", SHARD);
    delete.runs.push(RunChange::Delete(&run));
    let delete = OneStatement::new(&ArchetypeRouter, &delete).unwrap();
    vec![
        insert.statement().unwrap(),
        insert.statement_of(&executions::DELETE_ALL).unwrap(),
        insert.statement_of(&OBSERVE).unwrap(),
        delete.statement().unwrap(),
    ]
}

/// The statements of every method of the row ports. With debug assertions, [`super::exact`] refuses
/// a value that is bound and not named; [`Statement::new`] refuses a parameter without a value.
async fn statements_of_ports<const HOLDS_LOCKS: bool>(key_share: bool) -> Vec<Statement> {
    let mut rows = Rows { executor: Recorder::<HOLDS_LOCKS>::default(), key_share };
    use_shards(&mut rows).await.unwrap();
    use_executions(&mut rows).await.unwrap();
    use_maps(&mut rows).await.unwrap();
    use_tasks(&mut rows).await.unwrap();
    use_histories(&mut rows).await.unwrap();
    use_matching(&mut rows).await.unwrap();
    use_namespaces(&mut rows).await.unwrap();
    use_clusters(&mut rows).await.unwrap();
    use_nexus_endpoints(&mut rows).await.unwrap();
    use_queues(&mut rows).await.unwrap();
    rows.executor.0
}

#[tokio::test]
async fn every_text_names_what_is_bound_and_everything_is_bound_that_it_names() {
    let mut sent = statements_of_writes();
    sent.extend(statements_that_create_tasks());
    for key_share in [true, false] {
        sent.extend(statements_of_ports::<true>(key_share).await);
        sent.extend(statements_of_ports::<false>(key_share).await);
    }
    let sent: BTreeSet<_> = sent.iter().map(|statement| statement.meta.text.sql()).collect();
    for meta in super::statements() {
        let sql = meta.text.sql();
        assert!(sent.contains(sql), "{} is not sent here: {sql}", meta.op);
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
