//! The generator of operations and of their arguments.

use temporal_dsql_domain::{
    ArchetypeId, BranchId, ChasmNode, ChasmPath, ClusterName, CurrentExecutionsFilter, DataBlob,
    Encoding, ExecutionsFilter, HistoryBranch, HistoryNode, HistoryTreeInfo, IdEntry,
    ImmediateQueue, ImmediateRange, ImmediateTask, MapEntries, MapKeys, MapTable, NamespaceId,
    NodePosition, RunId, ScheduledKey, ScheduledRange, ScheduledTask, ShardId, ShardsRow, SignalId,
    Tasks, TimerEntry, TimerId, Timestamp, TreeId, WorkflowId,
};
use temporal_dsql_ports::limits::MAX_VALUE_BYTES;
use temporal_dsql_stores::{AppendNodes, ExecutionStore, Owner, ReadHistory, ShardStore};
use uuid::Uuid;

use super::operation::{Operation, new_branch};
use crate::{context::owned_shard::SharedStore, queue::Queue};

/// Generates operations that usually fit the rows of `model`.
pub(super) struct Generator {
    pub(super) random: fastrand::Rng,
    pub(super) model: SharedStore,
    /// The largest task id in use.
    last_task_id: i64,
    /// The shards that are not created yet.
    shards: Vec<ShardId>,
}

/// The shards; the last one is never created.
pub(super) const fn shards() -> [ShardId; 3] {
    [ShardId(1), ShardId(i32::MAX), ShardId(2)]
}

const fn namespace() -> NamespaceId {
    NamespaceId(Uuid::from_u128(7))
}

fn ids() -> [WorkflowId; 3] {
    ["w", "é-転", &"🦀".repeat(WorkflowId::MAX_CHARS)].map(|id| WorkflowId::new(id).unwrap())
}

const ARCHETYPES: [ArchetypeId; 3] =
    [ArchetypeId::WORKFLOW, ArchetypeId::ACTIVITY, ArchetypeId(u32::MAX)];

/// All runs of a shard that operations use.
pub(super) fn runs(shard_id: ShardId) -> Vec<ExecutionsFilter> {
    let run = |workflow_id: &WorkflowId, number| ExecutionsFilter {
        shard_id,
        namespace_id: namespace(),
        workflow_id: workflow_id.clone(),
        run_id: RunId(Uuid::from_u128(number)),
    };
    ids().iter().flat_map(|id| (0..6).map(move |number| run(id, number))).collect()
}

/// All current executions of a shard that operations use.
pub(super) fn currents(shard_id: ShardId) -> Vec<CurrentExecutionsFilter> {
    let current = |workflow_id: &WorkflowId, archetype_id| CurrentExecutionsFilter {
        shard_id,
        namespace_id: namespace(),
        workflow_id: workflow_id.clone(),
        archetype_id,
    };
    ids().iter().flat_map(|id| ARCHETYPES.map(|archetype| current(id, archetype))).collect()
}

/// All queues, including those that share a table.
pub(super) fn queues() -> Vec<Queue> {
    let all = Queue::all();
    let siblings = all.iter().filter_map(Queue::sibling).collect::<Vec<_>>();
    all.into_iter().chain(siblings).collect()
}

/// All branches that operations use: a root and two forks in each of two trees.
pub(super) fn branches() -> Vec<HistoryBranch> {
    let tree = |tree: u128| {
        let root = HistoryBranch::root(TreeId(Uuid::from_u128(tree)), branch_id(0));
        let second = root.fork(4, branch_id(1)).unwrap();
        let third = second.fork(6, branch_id(2)).unwrap();
        [root, second, third]
    };
    [1, 2].into_iter().flat_map(tree).collect()
}

const fn branch_id(number: u128) -> BranchId {
    BranchId(Uuid::from_u128(number))
}

const NUMBERS: [i64; 7] = [i64::MIN, -1, 0, 1, 2, 3, i64::MAX];
const TIMES: [Timestamp; 4] =
    [Timestamp::MIN, Timestamp::STORED_ZERO_TIME, Timestamp::UNIX_EPOCH, Timestamp::MAX];

impl Generator {
    pub(super) fn new(seed: u64, model: SharedStore) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            model,
            last_task_id: 1_000,
            shards: shards()[..2].to_vec(),
        }
    }

    /// The next operation.
    pub(super) async fn next_operation(&mut self) -> Operation {
        if let Some(shard_id) = self.shards.pop() {
            return Operation::GetOrCreateShard(ShardsRow {
                shard_id,
                range_id: 1,
                data: self.blob(),
            });
        }
        let shard_id = self.shard_id();
        match self.random.u32(0..100) {
            0..20 => self.create(shard_id).await,
            20..40 => self.update(shard_id).await,
            40..48 => self.conflict_resolve(shard_id).await,
            48..54 => self.set(shard_id).await,
            54..70 => self.run_operation(shard_id).await,
            70..76 => self.shard_operation(shard_id).await,
            76..88 => self.task_operation(shard_id).await,
            _ => self.history_operation(shard_id),
        }
    }

    async fn run_operation(&mut self, shard_id: ShardId) -> Operation {
        let run = self.stored_run(shard_id).await;
        let id = self.one_of(&currents(shard_id));
        match self.random.u32(0..16) {
            0..3 => Operation::Get(run),
            3..5 => Operation::GetCurrent(id),
            5..8 => Operation::Delete(run),
            8..10 => {
                let stored = ExecutionStore::new(&self.model).get_current(&id).await.unwrap();
                let run_id = stored.filter(|_| self.usually()).map_or(run.run_id, |row| row.run_id);
                Operation::DeleteCurrent(id, run_id)
            }
            10..13 => Operation::DeleteExecutionRow(run),
            13 | 14 => {
                let map = self.one_of(&MapTable::ALL);
                Operation::InsertMapEntries(self.one_of(&runs(shard_id)), self.entries(map))
            }
            _ => {
                let events = self.blobs();
                Operation::InsertBufferedEvents(self.one_of(&runs(shard_id)), events)
            }
        }
    }

    async fn shard_operation(&mut self, shard_id: ShardId) -> Operation {
        let owner = self.owner(shard_id).await;
        let range_id = if self.usually() { owner.range_id.wrapping_add(1) } else { self.number() };
        let row = ShardsRow { shard_id, range_id, data: self.blob() };
        match self.random.u32(0..8) {
            0..3 if shard_id != shards()[2] => Operation::GetOrCreateShard(row),
            3..6 => Operation::UpdateShard(row, owner.range_id),
            6 => Operation::GetShard(shard_id),
            _ => Operation::AssertOwnership(owner),
        }
    }

    async fn task_operation(&mut self, shard_id: ShardId) -> Operation {
        let ids = self.number()..self.number();
        let ids: ImmediateRange = if self.usually() { i64::MIN..self.last_task_id } else { ids };
        let from = ScheduledKey { visibility_timestamp: self.time(), task_id: self.number() };
        let range = ScheduledRange { from, until: self.time() };
        let limit = self.one_of(&[0, 1, 2, 3, 1_000, u32::MAX]);
        let task_id = if self.rarely() { self.number() } else { self.recent_task_id() };
        let cluster = ClusterName::new("cluster-b").unwrap();
        match (self.random.u32(0..8), self.one_of(&queues())) {
            (0..3, _) => {
                let owner = self.owner(shard_id).await;
                let tasks = if self.random.u32(0..12) == 0 { self.large() } else { self.tasks() };
                Operation::AddTasks(owner, tasks)
            }
            (3 | 4, Queue::Immediate(queue)) => {
                Operation::ImmediatePage(shard_id, queue, ids, limit)
            }
            (3 | 4, Queue::Scheduled(queue)) => {
                Operation::ScheduledPage(shard_id, queue, range, limit)
            }
            (5, Queue::Immediate(queue)) => Operation::CompleteImmediate(shard_id, queue, task_id),
            (5, Queue::Scheduled(queue)) => {
                let key = ScheduledKey { visibility_timestamp: self.time(), task_id };
                Operation::CompleteScheduled(shard_id, queue, key)
            }
            (6, Queue::Immediate(queue)) => Operation::CompleteImmediateRange(shard_id, queue, ids),
            (6, Queue::Scheduled(queue)) => {
                let times = range.from.visibility_timestamp..range.until;
                Operation::CompleteScheduledRange(shard_id, queue, times)
            }
            (_, Queue::Immediate(_)) => {
                let task = ImmediateTask { task_id, data: self.blob() };
                Operation::PutToDlq(shard_id, cluster, task)
            }
            (_, Queue::Scheduled(_)) => Operation::IsDlqEmpty(shard_id, cluster, task_id),
        }
    }

    fn history_operation(&mut self, shard_id: ShardId) -> Operation {
        let branch = self.one_of(&branches());
        let (node_id, txn_id) = (self.node_id(), self.txn_id());
        let request = ReadHistory {
            shard_id,
            branch: branch.clone(),
            min_node_id: if self.usually() { 1 } else { self.number() },
            max_node_id: if self.usually() { i64::MAX } else { self.node_id() },
            limit: self.one_of(&[0, 1, 2, 100]),
        };
        match self.random.u32(0..16) {
            0..7 => Operation::Append(self.events(shard_id)),
            7 => {
                let number = self.random.u128(0..3);
                Operation::Fork(shard_id, branch, node_id, new_branch(branch_id(number)))
            }
            8 => Operation::Tree(shard_id, branch.tree_id),
            9 => Operation::AllBranches(self.one_of(&[0, 1, 2, 100])),
            10 => Operation::DeleteBranch(shard_id, branch),
            11 | 12 => Operation::Read(request),
            13 | 14 => Operation::ReadReverse(request, txn_id),
            _ => Operation::Trim(shard_id, branch, NodePosition { node_id, txn_id }),
        }
    }

    /// A batch of events; rarely of another shard or with the record of another branch.
    pub(super) fn events(&mut self, shard_id: ShardId) -> AppendNodes {
        let branch = self.one_of(&branches());
        let recorded = if self.rarely() { self.one_of(&branches()) } else { branch.clone() };
        let info = new_branch(recorded.branch_id);
        let info = HistoryTreeInfo { branch: recorded, fork_time: info.fork_time, info: info.info };
        let node_id = if self.usually() {
            branch.begin_node_id() + self.random.i64(0..4)
        } else {
            self.node_id()
        };
        AppendNodes {
            shard_id: if self.rarely() { self.shard_id() } else { shard_id },
            new_branch: self.random.bool().then_some(info),
            node: HistoryNode {
                node_id,
                txn_id: self.txn_id(),
                prev_txn_id: if self.usually() { self.random.i64(0..8) } else { self.number() },
                data: self.blob(),
            },
            branch,
        }
    }

    /// More tasks than one statement holds.
    fn large(&mut self) -> Tasks {
        let encoding = Encoding::new("Proto3").unwrap();
        let task = |_| ImmediateTask {
            task_id: self.task_id(),
            data: DataBlob::new(vec![7; 1_000_000], encoding.clone()),
        };
        let tasks = (0..11).map(task).collect();
        Tasks { immediate: vec![(ImmediateQueue::Visibility, tasks)], scheduled: Vec::new() }
    }

    /// Tasks of some queues; sometimes existing ones or duplicates.
    pub(super) fn tasks(&mut self) -> Tasks {
        let mut tasks = Tasks::default();
        for _ in 0..self.random.usize(0..4) {
            let count = self.random.usize(0..3);
            match self.one_of(&queues()) {
                Queue::Immediate(queue) => {
                    let of = (0..count)
                        .map(|_| ImmediateTask { task_id: self.task_id(), data: self.blob() });
                    let of = of.collect();
                    tasks.immediate.push((queue, of));
                }
                Queue::Scheduled(queue) => {
                    let of = (0..count).map(|_| {
                        let visibility_timestamp = self.time();
                        let key = ScheduledKey { visibility_timestamp, task_id: self.task_id() };
                        ScheduledTask { key, data: self.blob() }
                    });
                    let of = of.collect();
                    tasks.scheduled.push((queue, of));
                }
            }
        }
        tasks
    }

    /// Entries of a map; sometimes several with one key.
    pub(super) fn entries(&mut self, map: MapTable) -> MapEntries {
        let count = self.random.usize(0..4);
        match self.keys(map, count) {
            MapKeys::Activities(ids) => MapEntries::Activities(self.id_entries(&ids)),
            MapKeys::ChildExecutions(ids) => MapEntries::ChildExecutions(self.id_entries(&ids)),
            MapKeys::RequestCancels(ids) => MapEntries::RequestCancels(self.id_entries(&ids)),
            MapKeys::Signals(ids) => MapEntries::Signals(self.id_entries(&ids)),
            MapKeys::SignalsRequested(ids) => MapEntries::SignalsRequested(ids),
            MapKeys::Timers(ids) => {
                let entry = |timer_id| TimerEntry { timer_id, data: self.blob() };
                MapEntries::Timers(ids.into_iter().map(entry).collect())
            }
            MapKeys::ChasmNodes(paths) => {
                let node = |path| {
                    let data = self.random.bool().then(|| self.blob());
                    ChasmNode {
                        path,
                        metadata: self.blob(),
                        data_encoding: Encoding::new(if data.is_some() { "Json" } else { "" })
                            .unwrap(),
                        data: data.map(|blob| blob.data),
                    }
                };
                MapEntries::ChasmNodes(paths.into_iter().map(node).collect())
            }
        }
    }

    fn id_entries(&mut self, ids: &[i64]) -> Vec<IdEntry> {
        ids.iter().map(|id| IdEntry { id: *id, data: self.blob() }).collect()
    }

    /// Keys of a map.
    pub(super) fn keys(&mut self, map: MapTable, count: usize) -> MapKeys {
        let numbers = (0..count).map(|_| self.number()).collect();
        let longest = "🦀".repeat(TimerId::MAX_CHARS);
        let mut texts = Vec::new();
        for _ in 0..count {
            let text = if self.rarely() { &longest } else { self.one_of(&["a", "B", "é", "転"]) };
            texts.push(text.to_owned());
        }
        let texts = texts.iter();
        match map {
            MapTable::Activities => MapKeys::Activities(numbers),
            MapTable::ChildExecutions => MapKeys::ChildExecutions(numbers),
            MapTable::RequestCancels => MapKeys::RequestCancels(numbers),
            MapTable::Signals => MapKeys::Signals(numbers),
            MapTable::Timers => {
                MapKeys::Timers(texts.map(|id| TimerId::new(id).unwrap()).collect())
            }
            MapTable::SignalsRequested => {
                MapKeys::SignalsRequested(texts.map(|id| SignalId::new(id).unwrap()).collect())
            }
            MapTable::ChasmNodes => {
                MapKeys::ChasmNodes(texts.map(|path| ChasmPath::new(path).unwrap()).collect())
            }
        }
    }

    /// A value; rarely of the maximum size or one byte more.
    pub(super) fn blob(&mut self) -> DataBlob {
        let bytes = match self.random.u32(0..1_000) {
            0 => MAX_VALUE_BYTES,
            1 => MAX_VALUE_BYTES + 1,
            _ => self.random.usize(0..40),
        };
        let fill = self.random.u8(..);
        DataBlob::new(vec![fill; bytes], Encoding::new(self.one_of(&["Proto3", "Json"])).unwrap())
    }

    pub(super) fn blobs(&mut self) -> Vec<DataBlob> {
        (0..self.random.usize(0..3)).map(|_| self.blob()).collect()
    }

    /// The owner of a shard; rarely a wrong one.
    pub(super) async fn owner(&mut self, shard_id: ShardId) -> Owner {
        let stored = ShardStore::new(&self.model).get(shard_id).await.unwrap();
        let range_id = stored.map(|row| row.range_id).filter(|_| !self.rarely());
        Owner { shard_id, range_id: range_id.unwrap_or_else(|| self.number()) }
    }

    /// A run of the shard, usually a stored one.
    pub(super) async fn stored_run(&mut self, shard_id: ShardId) -> ExecutionsFilter {
        let all = runs(shard_id);
        let mut stored = Vec::new();
        for run in &all {
            if self.model.session().select_from_executions(run).await.unwrap().is_some() {
                stored.push(run.clone());
            }
        }
        if stored.is_empty() || self.rarely() { self.one_of(&all) } else { self.one_of(&stored) }
    }

    pub(super) fn archetype(&mut self) -> ArchetypeId {
        if self.random.u32(0..50) == 0 {
            return ArchetypeId::UNSPECIFIED;
        }
        self.one_of(&ARCHETYPES)
    }

    pub(super) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.random.usize(..all.len())].clone()
    }

    pub(super) fn number(&mut self) -> i64 {
        self.one_of(&NUMBERS)
    }

    pub(super) fn time(&mut self) -> Timestamp {
        self.one_of(&TIMES)
    }

    /// True in four of five cases.
    pub(super) fn usually(&mut self) -> bool {
        self.random.u32(0..5) > 0
    }

    /// True in one of twelve cases.
    pub(super) fn rarely(&mut self) -> bool {
        self.random.u32(0..12) == 0
    }

    fn shard_id(&mut self) -> ShardId {
        let all = shards();
        if self.rarely() { all[2] } else { self.one_of(&all[..2]) }
    }

    fn task_id(&mut self) -> i64 {
        match self.random.u32(0..40) {
            0 => self.number(),
            1..4 => self.recent_task_id(),
            _ => {
                self.last_task_id += 1;
                self.last_task_id
            }
        }
    }

    fn recent_task_id(&mut self) -> i64 {
        self.last_task_id - self.random.i64(0..4)
    }

    fn node_id(&mut self) -> i64 {
        if self.rarely() { self.number() } else { self.random.i64(1..10) }
    }

    fn txn_id(&mut self) -> i64 {
        if self.rarely() { self.number() } else { self.random.i64(1..8) }
    }
}
