//! The rows that belong to the recorded executions: maps, histories, tasks and the shard.

use std::collections::BTreeMap;

use serde::Deserialize;
use temporal_dsql_domain::{
    BranchKey, ChasmNode, ChasmPath, DataBlob, ExecutionsFilter, HistoryNode, HistoryTreeRow,
    IdEntry, ImmediateQueue, ImmediateTask, MapEntries, ScheduledKey, ScheduledQueue,
    ScheduledTask, ShardId, ShardsRow, SignalId, TaskCategory, Tasks, TimerEntry, TimerId,
    WorkflowId,
};

use super::decode::{Blob, bytes, encoding, lines};

/// The lines of one file of the recording.
macro_rules! recorded {
    ($table:literal) => {
        lines(include_str!(concat!("../../data/temporal-1.32/", $table, ".jsonl")))
    };
}

/// Every entry of every map, by its run: maps that have any, entries in the order of their keys.
pub fn entries() -> BTreeMap<ExecutionsFilter, Vec<MapEntries>> {
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
    for Row { run, rest } in recorded!("activity_info_maps") {
        let Activity { schedule_id: id, blob } = rest;
        add(run, MapEntries::Activities(vec![IdEntry { id, data: blob.into() }]));
    }
    for Row { run, rest } in recorded!("timer_info_maps") {
        let Timer { timer_id, blob } = rest;
        let timer_id = TimerId::new(timer_id).unwrap();
        add(run, MapEntries::Timers(vec![TimerEntry { timer_id, data: blob.into() }]));
    }
    for Row { run, rest } in recorded!("child_execution_info_maps") {
        let Child { initiated_id: id, blob } = rest;
        add(run, MapEntries::ChildExecutions(vec![IdEntry { id, data: blob.into() }]));
    }
    for Row { run, rest } in recorded!("signals_requested_sets") {
        let Signal { signal_id } = rest;
        add(run, MapEntries::SignalsRequested(vec![SignalId::new(signal_id).unwrap()]));
    }
    for Row { run, rest } in recorded!("chasm_node_maps") {
        add(run, MapEntries::ChasmNodes(vec![Node::into(rest)]));
    }
    all.values_mut().flatten().for_each(MapEntries::last_of_each_key);
    all
}

/// Every batch of events, by its branch.
pub fn history_nodes() -> BTreeMap<BranchKey, Vec<HistoryNode>> {
    let mut all = BTreeMap::<BranchKey, Vec<HistoryNode>>::new();
    for row in recorded!("history_node") {
        let Events { branch, node_id, txn_id, prev_txn_id, blob } = row;
        // The column holds the negated id.
        let node = HistoryNode { node_id, txn_id: -txn_id, prev_txn_id, data: blob.into() };
        all.entry(branch.into()).or_default().push(node);
    }
    all
}

/// Every branch of every history, in the order of their keys.
pub fn history_branches() -> Vec<HistoryTreeRow> {
    let mut branches: Vec<_> = recorded!("history_tree")
        .map(|Tree { branch, blob }| HistoryTreeRow { branch: branch.into(), data: blob.into() })
        .collect();
    branches.sort_by_key(|row| row.branch);
    branches
}

/// Every shard; the recording has one.
pub fn shards() -> Vec<ShardsRow> {
    recorded!("shards")
        .map(|Shard { shard_id, range_id, blob }| ShardsRow {
            shard_id: ShardId(shard_id),
            range_id,
            data: blob.into(),
        })
        .collect()
}

/// Every task of the shard.
pub fn tasks() -> Tasks {
    let mut categories = BTreeMap::<i32, Vec<ImmediateTask>>::new();
    for row in recorded!("history_immediate_tasks") {
        let CategoryTask { category_id, task } = row;
        categories.entry(category_id).or_default().push(Task::into(task));
    }
    let of_category =
        |(category, tasks)| (ImmediateQueue::Category(TaskCategory::new(category).unwrap()), tasks);
    let mut immediate: Vec<_> = categories.into_iter().map(of_category).collect();
    let transfer = recorded!("transfer_tasks").map(Task::into).collect();
    let visibility = recorded!("visibility_tasks").map(Task::into).collect();
    immediate
        .extend([(ImmediateQueue::Transfer, transfer), (ImmediateQueue::Visibility, visibility)]);
    let timer =
        recorded!("timer_tasks").map(|TimerTask { visibility_timestamp, task_id, blob }| {
            let visibility_timestamp = visibility_timestamp.parse().unwrap();
            ScheduledTask { key: ScheduledKey { visibility_timestamp, task_id }, data: blob.into() }
        });
    let mut tasks = Tasks { immediate, scheduled: vec![(ScheduledQueue::Timer, timer.collect())] };
    tasks.immediate.iter_mut().for_each(|(_, tasks)| tasks.sort_by_key(|task| task.task_id));
    tasks.scheduled.iter_mut().for_each(|(_, tasks)| tasks.sort_by_key(|task| task.key));
    tasks
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
    namespace_id: String,
    workflow_id: String,
    run_id: String,
}

impl Run {
    fn filter(self) -> ExecutionsFilter {
        ExecutionsFilter {
            shard_id: ShardId(self.shard_id),
            namespace_id: self.namespace_id.parse().unwrap(),
            workflow_id: WorkflowId::new(self.workflow_id).unwrap(),
            run_id: self.run_id.parse().unwrap(),
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
    tree_id: String,
    branch_id: String,
}

impl From<Branch> for BranchKey {
    fn from(branch: Branch) -> Self {
        Self {
            shard_id: ShardId(branch.shard_id),
            tree_id: branch.tree_id.parse().unwrap(),
            branch_id: branch.branch_id.parse().unwrap(),
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
    task_id: i64,
    #[serde(flatten)]
    blob: Blob,
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::MapTable;

    use super::*;

    #[test]
    fn every_related_row_is_decoded() {
        // counts.json of the recording
        let of = |map| -> usize {
            let all = entries();
            all.values().flatten().filter(|of| of.map() == map).map(MapEntries::len).sum()
        };
        assert_eq!(of(MapTable::Activities), 87);
        assert_eq!(of(MapTable::Timers), 99);
        assert_eq!(of(MapTable::ChildExecutions), 29);
        assert_eq!(of(MapTable::SignalsRequested), 63);
        assert_eq!(of(MapTable::ChasmNodes), 360);
        assert_eq!(history_nodes().values().map(Vec::len).sum::<usize>(), 895);
        assert_eq!(history_branches().len(), 206);
        assert_eq!(shards().len(), 1);
        assert_eq!(tasks().len(), 24 + 52 + 83 + 694);
    }
}
