//! The rows that belong to the recorded executions: maps, histories, tasks and the shard.

use std::collections::BTreeMap;

use serde::Deserialize;
use temporal_dsql_domain::{
    BranchId, BranchKey, ChasmNode, ChasmPath, DataBlob, ExecutionsFilter, HistoryNode,
    HistoryTreeRow, IdEntry, ImmediateQueue, ImmediateTask, MapEntries, NamespaceId, RunId,
    ScheduledKey, ScheduledQueue, ScheduledTask, ShardId, ShardsRow, SignalId, TaskCategory, Tasks,
    TimerEntry, TimerId, TreeId, WorkflowId,
};
use uuid::Uuid;

use super::{
    Recording,
    decode::{Blob, bytes, encoding, id, lines, recorded},
};

/// Every entry of every map, by its run: maps that have any, entries in the order of their keys.
pub fn entries(recording: Recording) -> BTreeMap<ExecutionsFilter, Vec<MapEntries>> {
    let mut all = BTreeMap::<ExecutionsFilter, Vec<MapEntries>>::new();
    let mut add = |run: Run, entries: MapEntries| {
        let maps = all.entry(run.filter()).or_default();
        let same = maps.iter_mut().find(|of| of.map() == entries.map());
        match (same, entries) {
            (None, entries) => maps.push(entries),
            (Some(MapEntries::Activities(of)), MapEntries::Activities(more))
            | (Some(MapEntries::ChildExecutions(of)), MapEntries::ChildExecutions(more)) => {
                of.extend(more);
            }
            (Some(MapEntries::Timers(of)), MapEntries::Timers(more)) => of.extend(more),
            (Some(MapEntries::SignalsRequested(of)), MapEntries::SignalsRequested(more)) => {
                of.extend(more);
            }
            (Some(MapEntries::ChasmNodes(of)), MapEntries::ChasmNodes(more)) => of.extend(more),
            (_, entries) => panic!("{:?} is not recorded", entries.map()),
        }
    };
    for Row { run, rest } in recorded!(recording, "activity_info_maps") {
        let Activity { schedule_id: id, blob } = rest;
        add(run, MapEntries::Activities(vec![IdEntry { id, data: blob.into() }]));
    }
    for Row { run, rest } in recorded!(recording, "timer_info_maps") {
        let Timer { timer_id, blob } = rest;
        let timer_id = TimerId::new(timer_id).unwrap();
        add(run, MapEntries::Timers(vec![TimerEntry { timer_id, data: blob.into() }]));
    }
    for Row { run, rest } in recorded!(recording, "child_execution_info_maps") {
        let Child { initiated_id: id, blob } = rest;
        add(run, MapEntries::ChildExecutions(vec![IdEntry { id, data: blob.into() }]));
    }
    for Row { run, rest } in recorded!(recording, "signals_requested_sets") {
        let Signal { signal_id } = rest;
        add(run, MapEntries::SignalsRequested(vec![SignalId::new(signal_id).unwrap()]));
    }
    for Row { run, rest } in recorded!(recording, "chasm_node_maps") {
        let mut node: Node = rest;
        if recording == Recording::Postgres {
            node.chasm_path = String::from_utf8(bytes(&node.chasm_path)).unwrap();
        }
        add(run, MapEntries::ChasmNodes(vec![node.into()]));
    }
    all.values_mut().flatten().for_each(MapEntries::last_of_each_key);
    all
}

/// Every batch of events, by its branch.
pub fn history_nodes(recording: Recording) -> BTreeMap<BranchKey, Vec<HistoryNode>> {
    let mut all = BTreeMap::<BranchKey, Vec<HistoryNode>>::new();
    for row in recorded!(recording, "history_node") {
        let Events { branch, node_id, txn_id, prev_txn_id, blob } = row;
        // The column holds the negated id.
        let node = HistoryNode { node_id, txn_id: -txn_id, prev_txn_id, data: blob.into() };
        all.entry(branch.into()).or_default().push(node);
    }
    all
}

/// Every branch of every history, in the order of their keys.
pub fn history_branches(recording: Recording) -> Vec<HistoryTreeRow> {
    let mut branches: Vec<_> = recorded!(recording, "history_tree")
        .map(|Tree { branch, blob }| HistoryTreeRow { branch: branch.into(), data: blob.into() })
        .collect();
    branches.sort_by_key(|row| row.branch);
    branches
}

/// Every shard, in the order of their ids.
pub fn shards(recording: Recording) -> Vec<ShardsRow> {
    recorded!(recording, "shards")
        .map(|Shard { shard_id, range_id, blob }| ShardsRow {
            shard_id: ShardId(shard_id),
            range_id,
            data: blob.into(),
        })
        .collect()
}

/// Every task of each shard that has any.
pub fn tasks(recording: Recording) -> BTreeMap<ShardId, Tasks> {
    let mut immediate = BTreeMap::<(ShardId, ImmediateQueue), Vec<ImmediateTask>>::new();
    let mut add = |queue: ImmediateQueue, row: Task| {
        immediate.entry((ShardId(row.shard_id), queue)).or_default().push(row.into());
    };
    // The server on PostgreSQL had no task of another category.
    if recording == Recording::Dsql {
        let text = include_str!("../../data/temporal-1.32/history_immediate_tasks.jsonl");
        for CategoryTask { category_id, task } in lines(text) {
            add(ImmediateQueue::Category(TaskCategory::new(category_id).unwrap()), task);
        }
    }
    for task in recorded!(recording, "transfer_tasks") {
        add(ImmediateQueue::Transfer, task);
    }
    for task in recorded!(recording, "visibility_tasks") {
        add(ImmediateQueue::Visibility, task);
    }
    let mut all = BTreeMap::<ShardId, Tasks>::new();
    for ((shard, queue), mut tasks) in immediate {
        tasks.sort_by_key(|task| task.task_id);
        all.entry(shard).or_default().immediate.push((queue, tasks));
    }
    let mut timers = BTreeMap::<ShardId, Vec<ScheduledTask>>::new();
    for TimerTask { visibility_timestamp, task } in recorded!(recording, "timer_tasks") {
        let visibility_timestamp = visibility_timestamp.parse().unwrap();
        let key = ScheduledKey { visibility_timestamp, task_id: task.task_id };
        let timer = ScheduledTask { key, data: task.blob.into() };
        timers.entry(ShardId(task.shard_id)).or_default().push(timer);
    }
    for (shard, mut tasks) in timers {
        tasks.sort_by_key(|task| task.key);
        all.entry(shard).or_default().scheduled.push((ScheduledQueue::Timer, tasks));
    }
    all
}

/// A row of one run.
#[derive(Deserialize)]
struct Row<T> {
    #[serde(flatten)]
    run: Run,
    #[serde(flatten)]
    rest: T,
}

#[derive(Deserialize)]
struct Run {
    shard_id: i32,
    #[serde(deserialize_with = "id")]
    namespace_id: Uuid,
    workflow_id: String,
    #[serde(deserialize_with = "id")]
    run_id: Uuid,
}

impl Run {
    fn filter(self) -> ExecutionsFilter {
        ExecutionsFilter {
            shard_id: ShardId(self.shard_id),
            namespace_id: NamespaceId(self.namespace_id),
            workflow_id: WorkflowId::new(self.workflow_id).unwrap(),
            run_id: RunId(self.run_id),
        }
    }
}

#[derive(Deserialize)]
struct Activity {
    schedule_id: i64,
    #[serde(flatten)]
    blob: Blob,
}

#[derive(Deserialize)]
struct Timer {
    timer_id: String,
    #[serde(flatten)]
    blob: Blob,
}

#[derive(Deserialize)]
struct Child {
    initiated_id: i64,
    #[serde(flatten)]
    blob: Blob,
}

#[derive(Deserialize)]
struct Signal {
    signal_id: String,
}

#[derive(Deserialize)]
struct Node {
    chasm_path: String,
    metadata: String,
    metadata_encoding: String,
    data: Option<String>,
    data_encoding: Option<String>,
}

impl From<Node> for ChasmNode {
    fn from(node: Node) -> Self {
        Self {
            path: ChasmPath::new(node.chasm_path).unwrap(),
            metadata: DataBlob::new(bytes(&node.metadata), encoding(&node.metadata_encoding)),
            data: node.data.as_deref().map(bytes),
            data_encoding: encoding(node.data_encoding.as_deref().unwrap_or_default()),
        }
    }
}

#[derive(Deserialize)]
struct Branch {
    shard_id: i32,
    #[serde(deserialize_with = "id")]
    tree_id: Uuid,
    #[serde(deserialize_with = "id")]
    branch_id: Uuid,
}

impl From<Branch> for BranchKey {
    fn from(branch: Branch) -> Self {
        Self {
            shard_id: ShardId(branch.shard_id),
            tree_id: TreeId(branch.tree_id),
            branch_id: BranchId(branch.branch_id),
        }
    }
}

#[derive(Deserialize)]
struct Events {
    #[serde(flatten)]
    branch: Branch,
    node_id: i64,
    txn_id: i64,
    prev_txn_id: i64,
    #[serde(flatten)]
    blob: Blob,
}

#[derive(Deserialize)]
struct Tree {
    #[serde(flatten)]
    branch: Branch,
    #[serde(flatten)]
    blob: Blob,
}

#[derive(Deserialize)]
struct Shard {
    shard_id: i32,
    range_id: i64,
    #[serde(flatten)]
    blob: Blob,
}

#[derive(Deserialize)]
struct Task {
    shard_id: i32,
    task_id: i64,
    #[serde(flatten)]
    blob: Blob,
}

impl From<Task> for ImmediateTask {
    fn from(task: Task) -> Self {
        Self { task_id: task.task_id, data: task.blob.into() }
    }
}

#[derive(Deserialize)]
struct CategoryTask {
    category_id: i32,
    #[serde(flatten)]
    task: Task,
}

#[derive(Deserialize)]
struct TimerTask {
    visibility_timestamp: String,
    #[serde(flatten)]
    task: Task,
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::MapTable;

    use super::*;

    #[test]
    fn every_related_row_is_decoded() {
        // counts.json of the recordings
        for (recording, entries_of_maps, nodes, branches, all_tasks) in [
            (Recording::Dsql, [87, 99, 29, 63, 360], 895, 206, 24 + 52 + 83 + 694),
            (Recording::Postgres, [8, 8, 8, 42, 116], 523, 68, 53 + 102 + 435),
        ] {
            let all = entries(recording);
            let of = |map| -> usize {
                all.values().flatten().filter(|of| of.map() == map).map(MapEntries::len).sum()
            };
            let maps = [
                MapTable::Activities,
                MapTable::Timers,
                MapTable::ChildExecutions,
                MapTable::SignalsRequested,
                MapTable::ChasmNodes,
            ];
            assert_eq!(maps.map(of), entries_of_maps, "{recording:?}");
            assert_eq!(history_nodes(recording).values().map(Vec::len).sum::<usize>(), nodes);
            assert_eq!(history_branches(recording).len(), branches);
            let of_shards = tasks(recording);
            assert!(of_shards.keys().eq(shards(recording).iter().map(|row| &row.shard_id)));
            assert_eq!(of_shards.values().map(Tasks::len).sum::<usize>(), all_tasks);
        }
    }
}
