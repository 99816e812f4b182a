//! The rows of real Temporal servers, written and read unchanged.

use std::{collections::BTreeMap, sync::Arc};

use temporal_dsql_domain::{
    HistoryTreeInfo, MapEntries, MapTable, ScheduledRange, Table, TaskQueueKind, Timestamp,
};
use temporal_dsql_ports::{
    CurrentChange, ExpectedCurrent, MutableStateRows, RunChange, TaskQueueLease, WriteSet,
};
use temporal_dsql_stores::{
    ExecutionStore, HistoryStore, MatchingTaskStore, Owner, ReadHistory, ShardStore, TaskStore,
    UserDataStore, UserDataUpdate,
};

use crate::{
    context::TestContext,
    real_data::{self, Recording},
    scenario::scenario_table,
};

/// The recording with the most rows of executions.
const RECORDING: Recording = Recording::Dsql;

scenario_table! { "recorded_rows":
    every_execution_of_a_real_server_is_read_unchanged;
    every_current_execution_of_a_real_server_is_read_unchanged;
    every_current_execution_of_a_real_server_is_found_with_its_run;
    every_whole_execution_of_a_real_server_is_read_unchanged;
    every_task_of_a_real_server_is_added_by_its_owner_and_read_unchanged;
    every_history_of_a_real_server_is_read_in_both_directions;
    every_task_queue_of_a_real_server_is_created_by_its_owner_with_its_tasks;
    the_user_data_of_a_real_server_are_read_unchanged;
}

async fn every_execution_of_a_real_server_is_read_unchanged(ctx: &TestContext) {
    let rows = real_data::executions(RECORDING);
    for row in &rows {
        ctx.insert_execution(row).await;
    }
    for row in &rows {
        assert_eq!(ctx.read_execution(&row.filter()).await.as_ref(), Some(row));
    }
    assert_eq!(ctx.fixture.count(Table::Executions).await, rows.len() as u64);
}

async fn every_current_execution_of_a_real_server_is_read_unchanged(ctx: &TestContext) {
    let workflows = real_data::current_executions(RECORDING);
    let others = real_data::current_chasm_executions(RECORDING);
    for row in workflows.iter().chain(&others) {
        ctx.insert(row).await;
    }
    for row in workflows.iter().chain(&others) {
        assert_eq!(ctx.read(&row.filter()).await.as_ref(), Some(row));
    }
    let count = |table| ctx.fixture.count(table);
    assert_eq!(count(Table::CurrentExecutions).await, workflows.len() as u64);
    assert_eq!(count(Table::CurrentChasmExecutions).await, others.len() as u64);
}

async fn every_current_execution_of_a_real_server_is_found_with_its_run(ctx: &TestContext) {
    for row in &real_data::executions(RECORDING) {
        ctx.insert_execution(row).await;
    }
    let current = real_data::current_executions(RECORDING);
    for row in current.iter().chain(&real_data::current_chasm_executions(RECORDING)) {
        ctx.insert(row).await;
        let mut transaction = ctx.begin("LockJoin").await;
        let filter = row.filter();
        let rows = transaction.lock_current_executions_join_executions(&filter).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(rows.len(), 1, "{} must have its run", row.workflow_id);
        assert_eq!(rows[0].run_id, row.run_id);
    }
}

/// The `executions` row, its current execution if it is the current run, and its maps, as one write
/// set.
async fn every_whole_execution_of_a_real_server_is_read_unchanged(ctx: &TestContext) {
    let mut entries = real_data::entries(RECORDING);
    let mut current: BTreeMap<_, _> = real_data::current_executions(RECORDING)
        .into_iter()
        .chain(real_data::current_chasm_executions(RECORDING))
        .map(|row| (row.executions_filter(), row))
        .collect();
    let mut expected = Vec::new();
    for execution in real_data::executions(RECORDING) {
        let key = execution.filter();
        let maps = entries.remove(&key).unwrap_or_default();
        let row = current.remove(&key);
        let mut set = WriteSet::new("Insert", key.shard_id);
        set.current = row.as_ref().map(|row| CurrentChange {
            id: row.filter(),
            expected: ExpectedCurrent::Absent,
            write: Some(row),
        });
        set.runs.push(RunChange::Insert { row: &execution, maps: &maps });
        ctx.store.apply(&set).await.unwrap();
        let of = |map| maps.iter().find(|of| of.map() == map).cloned();
        let all = MapTable::ALL.map(|map| of(map).unwrap_or_else(|| MapEntries::none(map)));
        expected
            .push((MutableStateRows { execution, maps: all.into(), buffered: Vec::new() }, row));
    }
    assert!(entries.is_empty(), "entries without a run: {:?}", entries.keys());
    assert!(current.is_empty(), "current executions without a run: {:?}", current.keys());
    let executions = ExecutionStore::new(Arc::clone(&ctx.store));
    for (state, row) in expected {
        let read = executions.get(&state.execution.filter()).await.unwrap();
        assert_eq!(read, Some(state));
        if let Some(row) = row {
            assert_eq!(executions.get_current(&row.filter()).await.unwrap(), Some(row));
        }
    }
}

async fn every_task_of_a_real_server_is_added_by_its_owner_and_read_unchanged(ctx: &TestContext) {
    let shards = ShardStore::new(Arc::clone(&ctx.store));
    let shard = real_data::shards(RECORDING).remove(0);
    assert_eq!(shards.get_or_create(&shard).await.unwrap(), shard);
    let shard_id = shard.shard_id;
    let owner = Owner { shard_id, range_id: shard.range_id };
    let store = TaskStore::new(Arc::clone(&ctx.store));
    let tasks = real_data::tasks(RECORDING).remove(&shard_id).unwrap();
    store.add(owner, &tasks).await.unwrap();
    for (queue, tasks) in tasks.immediate {
        let page = store.immediate_page(shard_id, &queue, i64::MIN..i64::MAX, 10_000).await;
        assert_eq!(page.unwrap().items, tasks);
    }
    for (queue, tasks) in tasks.scheduled {
        let range = ScheduledRange { from: tasks[0].key, until: Timestamp::MAX };
        let page = store.scheduled_page(shard_id, queue, range, 10_000).await;
        assert_eq!(page.unwrap().items, tasks);
    }
    assert_eq!(shards.get(shard_id).await.unwrap(), Some(shard));
}

async fn every_history_of_a_real_server_is_read_in_both_directions(ctx: &TestContext) {
    let (mut nodes, branches) =
        (real_data::history_nodes(RECORDING), real_data::history_branches(RECORDING));
    for (branch, nodes) in &nodes {
        ctx.store.session().insert_into_history_node(branch, nodes).await.unwrap();
    }
    for row in &branches {
        ctx.store.session().insert_into_history_tree(row).await.unwrap();
    }
    let histories = HistoryStore::new(Arc::clone(&ctx.store));
    let all = histories.all_branches(None, 1_000).await.unwrap();
    assert!(all == branches, "all branches in key order");
    for row in branches {
        let info = HistoryTreeInfo::from_blob(&row.data).unwrap();
        // A server stores the branch twice, the second time as the branch token. Its fork time has
        // nanoseconds, so the bytes may differ.
        let token = info.branch.to_token();
        assert!(row.data.data.ends_with(&token) && info.to_blob().data.ends_with(&token));
        assert_eq!(HistoryTreeInfo::from_blob(&info.to_blob()).unwrap(), info);
        let mut expected = nodes.remove(&row.branch).unwrap_or_default();
        expected.sort_by_key(|node| node.node_id);
        let request = ReadHistory {
            shard_id: row.branch.shard_id,
            branch: info.branch,
            min_node_id: 1,
            max_node_id: i64::MAX,
            limit: 1_000,
        };
        let page = histories.read(&request, None).await.unwrap();
        assert_eq!((&page.nodes, page.next), (&expected, None));
        let last = expected.last().map_or(0, |node| node.txn_id);
        let mut reversed = histories.read_reverse(&request, last, None).await.unwrap().nodes;
        reversed.reverse();
        assert_eq!(reversed, expected);
    }
    assert!(nodes.is_empty(), "batches without a branch: {:?}", nodes.keys());
}

async fn every_task_queue_of_a_real_server_is_created_by_its_owner_with_its_tasks(
    ctx: &TestContext,
) {
    let store = MatchingTaskStore::new(Arc::clone(&ctx.store));
    let (queues, tasks) = (real_data::task_queues(), real_data::matching_tasks());
    for row in &queues {
        store.create_task_queue(row).await.unwrap();
        let of_queue: Vec<_> =
            tasks.iter().filter(|task| task.queue == row.queue).cloned().collect();
        let lease = TaskQueueLease { queue: row.queue, range_id: row.range_id };
        store.create_tasks(lease, &of_queue).await.unwrap();
        assert_eq!(store.get_task_queue(&row.queue).await.unwrap().as_ref(), Some(row));
        let all = TaskQueueKind::Normal.first_level()..TaskQueueKind::Normal.end_level();
        let page = store.get_tasks(&row.queue, all, 100).await.unwrap();
        assert_eq!(page.items, of_queue);
    }
    let page = store.list_task_queues(TaskQueueKind::Normal, None, 1_000).await.unwrap();
    assert_eq!(page.items, queues);
    assert_eq!(ctx.fixture.count(Table::Tasks).await, tasks.len() as u64);
}

async fn the_user_data_of_a_real_server_are_read_unchanged(ctx: &TestContext) {
    let store = UserDataStore::new(Arc::clone(&ctx.store));
    for row in real_data::task_queue_user_data() {
        let update = UserDataUpdate {
            task_queue_name: row.task_queue_name.clone(),
            version: row.version - 1,
            data: row.data.clone(),
            build_ids_added: Vec::new(),
            build_ids_removed: Vec::new(),
        };
        store.update(row.namespace_id, &[update]).await.unwrap();
        let read = store.get(row.namespace_id, &row.task_queue_name).await.unwrap();
        assert_eq!(read, Some(row));
    }
}
