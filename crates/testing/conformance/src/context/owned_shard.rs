//! An owned shard with whole executions in it: what scenarios of the atomic stores begin with.

use std::sync::Arc;

use temporal_dsql_domain::{
    CurrentExecutionsRow, ExecutionState, ExecutionStatus, ExecutionsRow, HistoryBranch,
    HistoryNode, HistoryTreeInfo, ImmediateTask, MapEntries, MapTable, ShardsRow, Table, Tasks,
    Timestamp,
};
use temporal_dsql_ports::{
    BufferedWrite, ConditionFailed, MapWrite, MutableStateRows, Store, StoreError,
};
use temporal_dsql_stores::{
    AppendNodes, CreateExecution, CreateMode, ExecutionStore, Expected, HistoryStore, Mutation,
    Owner, ReadHistory, ShardStore, Snapshot, TaskStore, UpdateExecution, UpdateMode,
};

use super::test_context::TestContext;
use crate::{
    entries::{joined, split, without},
    queue::Queue,
};

/// A store as the atomic stores take it.
pub(crate) type SharedStore = Arc<dyn Store>;

/// A shard with its owner, and the atomic stores.
pub(crate) struct OwnedShard<'w> {
    pub(crate) ctx: &'w TestContext,
    pub(crate) shard: ShardsRow,
    pub(crate) owner: Owner,
    pub(crate) executions: ExecutionStore<SharedStore>,
    pub(crate) histories: HistoryStore<SharedStore>,
    pub(crate) shards: ShardStore<SharedStore>,
    pub(crate) tasks: TaskStore<SharedStore>,
}

impl TestContext {
    /// A shard that somebody owns.
    pub(crate) async fn owned_shard(&self) -> OwnedShard<'_> {
        let store = || Arc::clone(&self.store);
        let shard = self.shard();
        let shards = ShardStore::new(store());
        shards.get_or_create(&shard).await.unwrap();
        OwnedShard {
            ctx: self,
            owner: Owner { shard_id: shard.shard_id, range_id: shard.range_id },
            shard,
            executions: ExecutionStore::new(store()),
            histories: HistoryStore::new(store()),
            shards,
            tasks: TaskStore::new(store()),
        }
    }
}

impl OwnedShard<'_> {
    /// An id in the shard that nobody has, with a run of it in `state`.
    pub(crate) fn current(&self, state: ExecutionState) -> CurrentExecutionsRow {
        let row = CurrentExecutionsRow { shard_id: self.owner.shard_id, ..self.ctx.current() };
        self.in_state(&row, state)
    }

    /// Another run of the same id, in `state`.
    pub(crate) fn next_run(
        &self,
        of: &CurrentExecutionsRow,
        state: ExecutionState,
    ) -> CurrentExecutionsRow {
        self.in_state(&self.ctx.changed(of), state)
    }

    fn in_state(&self, row: &CurrentExecutionsRow, state: ExecutionState) -> CurrentExecutionsRow {
        const CLOSED: [ExecutionStatus; 6] = [
            ExecutionStatus::Completed,
            ExecutionStatus::Failed,
            ExecutionStatus::Canceled,
            ExecutionStatus::Terminated,
            ExecutionStatus::ContinuedAsNew,
            ExecutionStatus::TimedOut,
        ];
        let status = match state {
            ExecutionState::Completed => self.ctx.random(|random| CLOSED[random.usize(..6)]),
            _ => ExecutionStatus::Running,
        };
        CurrentExecutionsRow { state, status, ..row.clone() }
    }

    /// A new run with something in every map and every queue, and the beginning of its history.
    pub(crate) fn snapshot(&self, current: &CurrentExecutionsRow) -> Snapshot {
        // As Temporal writes them: what the current execution tells of its run is the run's.
        let execution = ExecutionsRow {
            last_write_version: current.last_write_version,
            ..self.ctx.execution_of(current)
        };
        Snapshot {
            execution,
            current: current.clone(),
            maps: MapTable::ALL.map(|map| self.ctx.entries(map, 3)).into(),
            tasks: self.ctx.tasks_of_every_queue(2),
            events: vec![self.events(None)],
        }
    }

    /// A new run of a new id.
    pub(crate) fn new_run(&self, state: ExecutionState) -> Snapshot {
        self.snapshot(&self.current(state))
    }

    /// A run that takes the place of all that is stored of `of`, in `state`.
    pub(crate) fn reset(&self, of: &Snapshot, state: ExecutionState) -> Snapshot {
        let execution = self.following(&of.execution);
        let current = self.ctx.changed(&of.current);
        let current = CurrentExecutionsRow {
            run_id: execution.run_id,
            last_write_version: execution.last_write_version,
            ..current
        };
        let mut reset = self.snapshot(&self.in_state(&current, state));
        reset.execution = execution;
        reset.events = vec![self.events(of.events.last())];
        reset
    }

    /// A change to every part of a run, after which it is in `state`.
    pub(crate) fn mutation(&self, of: &Snapshot, state: ExecutionState) -> Mutation {
        let execution = self.following(&of.execution);
        let current = self.ctx.changed(&of.current);
        let current = CurrentExecutionsRow {
            run_id: execution.run_id,
            last_write_version: execution.last_write_version,
            ..current
        };
        let maps = of.maps.iter().map(|entries| {
            // One goes, one changes, one stays, one comes.
            let (removed, others) = split(entries.clone(), 1);
            let (changed, _) = split(others, 1);
            let new = self.ctx.entries(entries.map(), 1);
            MapWrite {
                remove: removed.keys(),
                replace: joined(self.ctx.changed_entries(&changed), new),
            }
        });
        Mutation {
            expected: Expected::RecordVersion(of.execution.db_record_version),
            current: self.in_state(&current, state),
            maps: maps.collect(),
            buffered: BufferedWrite { clear: false, append: self.ctx.events(2) },
            tasks: self.ctx.tasks_of_every_queue(1),
            events: vec![self.events(of.events.last())],
            execution,
        }
    }

    /// The same run with everything changed and the next record version.
    fn following(&self, row: &ExecutionsRow) -> ExecutionsRow {
        let db_record_version = row.db_record_version + 1;
        ExecutionsRow { db_record_version, ..self.ctx.changed_execution(row) }
    }

    /// The batch of events after `before`, or the first one of a new branch.
    pub(crate) fn events(&self, before: Option<&AppendNodes>) -> AppendNodes {
        if let Some(before) = before {
            let node_id = before.node.node_id + 3;
            let mut node = self.ctx.node(node_id, before.node.txn_id + 1);
            node.prev_txn_id = before.node.txn_id;
            return AppendNodes { new_branch: None, node, ..before.clone() };
        }
        let key = self.ctx.branch();
        let branch = HistoryBranch::root(key.tree_id, key.branch_id);
        let info = HistoryTreeInfo {
            branch: branch.clone(),
            fork_time: Timestamp::UNIX_EPOCH,
            info: "a scenario".into(),
        };
        let txn_id = self.ctx.random(|random| random.i64(1..1_000_000));
        let mut node = self.ctx.node(1, txn_id);
        node.prev_txn_id = 0;
        AppendNodes { shard_id: self.owner.shard_id, branch, new_branch: Some(info), node }
    }

    /// A run that is stored: the current one of its id, or a zombie beside it.
    pub(crate) async fn create_run(&self, state: ExecutionState) -> Snapshot {
        let snapshot = self.new_run(state);
        let mode = match state {
            ExecutionState::Zombie => CreateMode::BypassCurrent,
            _ => CreateMode::BrandNew,
        };
        self.create(mode, &snapshot).await.unwrap();
        snapshot
    }

    /// Creates `snapshot`.
    pub(crate) async fn create(
        &self,
        mode: CreateMode,
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        let request = CreateExecution { owner: self.owner, mode, snapshot: snapshot.clone() };
        self.executions.create(&request).await
    }

    /// Makes the change `mutation`, and creates `new`.
    pub(crate) async fn update(
        &self,
        mode: UpdateMode,
        mutation: &Mutation,
        new: Option<&Snapshot>,
    ) -> Result<(), StoreError> {
        let (mutation, new) = (mutation.clone(), new.cloned());
        self.executions.update(&UpdateExecution { owner: self.owner, mode, mutation, new }).await
    }

    /// Everything that is stored for a run.
    pub(crate) async fn stored(&self, row: &ExecutionsRow) -> Option<MutableStateRows> {
        self.executions.get(&row.filter()).await.unwrap()
    }

    /// The current execution of an id.
    pub(crate) async fn current_of(
        &self,
        row: &CurrentExecutionsRow,
    ) -> Option<CurrentExecutionsRow> {
        self.executions.get_current(&row.filter()).await.unwrap()
    }

    /// Asserts that a run is stored as it was created, and that its history ends with its events.
    pub(crate) async fn assert_stored(&self, snapshot: &Snapshot) {
        assert_eq!(self.stored(&snapshot.execution).await, Some(rows(snapshot)));
        let last = snapshot.events.last().expect("a history");
        assert_eq!(self.history(last).await.last(), Some(&last.node));
    }

    /// Asserts that the run `of` is stored as `mutation` has left it, with its history.
    pub(crate) async fn assert_mutated(&self, of: &Snapshot, mutation: &Mutation) {
        let expected = mutated(rows(of), mutation);
        assert_eq!(self.stored(&of.execution).await, Some(expected));
        let last = mutation.events.last().expect("a history");
        assert_eq!(self.history(last).await, [of.events[0].node.clone(), last.node.clone()]);
    }

    /// Asserts that nothing is stored of a run.
    pub(crate) async fn assert_missing(&self, row: &ExecutionsRow) {
        assert_eq!(self.stored(row).await, None);
        let mut session = self.ctx.store.session();
        for map in MapTable::ALL {
            let left = session.select_all_from_map(&row.filter(), map).await.unwrap();
            assert!(left.is_empty(), "{map:?} has {left:?}");
        }
        assert_eq!(session.select_from_buffered_events(&row.filter()).await.unwrap(), []);
    }

    /// The batches of the branch that `of` belongs to.
    pub(crate) async fn history(&self, of: &AppendNodes) -> Vec<HistoryNode> {
        let request = ReadHistory {
            shard_id: of.shard_id,
            branch: of.branch.clone(),
            min_node_id: 1,
            max_node_id: i64::MAX,
            limit: 100,
        };
        self.histories.read(&request, None).await.unwrap().nodes
    }

    /// Another owner claims the shard; this one does not know it.
    pub(crate) async fn depose_owner(&self) -> Owner {
        let next = self.takeover();
        self.shards.update(&next, self.owner.range_id).await.unwrap();
        Owner { range_id: next.range_id, ..self.owner }
    }

    /// The shard as another owner would claim it.
    pub(crate) fn takeover(&self) -> ShardsRow {
        ShardsRow { range_id: self.shard.range_id + 1, data: self.ctx.data(), ..self.shard.clone() }
    }

    /// How many tasks there are in all queues.
    pub(crate) async fn task_count(&self) -> u64 {
        self.ctx.count(&Queue::all().map(|queue| queue.table())).await
    }

    /// How many rows there are of runs and current executions, of whatever id.
    pub(crate) async fn execution_count(&self) -> u64 {
        self.ctx.count(&MapTable::ALL.map(MapTable::table)).await
            + self.ctx.count(&OF_EXECUTIONS).await
    }
}

/// The tables of runs and current executions, beside the maps.
const OF_EXECUTIONS: [Table; 4] = [
    Table::Executions,
    Table::CurrentExecutions,
    Table::CurrentChasmExecutions,
    Table::BufferedEvents,
];

impl TestContext {
    /// How many rows these tables have together.
    async fn count(&self, tables: &[Table]) -> u64 {
        let mut count = 0;
        for table in tables {
            count += self.fixture.count(*table).await;
        }
        count
    }

    /// How many rows there are in all tables that an act may write.
    pub(crate) async fn row_count(&self) -> u64 {
        self.count(&MapTable::ALL.map(MapTable::table)).await
            + self.count(&Queue::all().map(|queue| queue.table())).await
            + self.count(&OF_EXECUTIONS).await
            + self.count(&[Table::HistoryNode, Table::HistoryTree]).await
    }

    /// As many tasks for every queue.
    pub(crate) fn tasks_of_every_queue(&self, count: usize) -> Tasks {
        let mut all = Tasks::default();
        for queue in Queue::all() {
            let tasks = self.tasks(&queue, count);
            match queue {
                Queue::Immediate(queue) => {
                    let tasks = tasks
                        .into_iter()
                        .map(|task| ImmediateTask { task_id: task.key.task_id, data: task.data });
                    all.immediate.push((queue, tasks.collect()));
                }
                Queue::Scheduled(queue) => all.scheduled.push((queue, tasks)),
            }
        }
        all
    }
}

/// What is read after `snapshot` was created, or has taken the place of another.
pub(crate) fn rows(snapshot: &Snapshot) -> MutableStateRows {
    let of = |map| snapshot.maps.iter().find(|entries| entries.map() == map).cloned();
    MutableStateRows {
        execution: snapshot.execution.clone(),
        maps: MapTable::ALL.map(|map| of(map).unwrap_or_else(|| MapEntries::none(map))).into(),
        buffered: Vec::new(),
    }
}

/// What is read after `mutation`, if `before` was read before it.
pub(crate) fn mutated(mut before: MutableStateRows, mutation: &Mutation) -> MutableStateRows {
    before.execution = mutation.execution.clone();
    for MapWrite { remove, replace } in &mutation.maps {
        let entries = before.maps.iter_mut().find(|entries| entries.map() == replace.map());
        let entries = entries.expect("every map");
        *entries = without(joined(entries.clone(), replace.clone()), remove);
    }
    if mutation.buffered.clear {
        before.buffered.clear();
    }
    before.buffered.extend(mutation.buffered.append.iter().cloned());
    before
}

/// Asserts that an act failed because of a condition, with what was observed.
#[track_caller]
pub(crate) fn assert_refused(result: Result<(), StoreError>, expected: &ConditionFailed) {
    match result {
        Err(StoreError::Condition(failed)) => assert_eq!(failed, *expected),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

/// The condition that the current execution is another one, which is told.
pub(crate) fn current_is(row: Option<&CurrentExecutionsRow>) -> ConditionFailed {
    ConditionFailed::CurrentExecution { observed: row.cloned().map(Box::new) }
}

/// The condition that a run is at the version of `row`.
pub(crate) fn version_is(row: &ExecutionsRow) -> ConditionFailed {
    ConditionFailed::Execution { run_id: row.run_id, observed: Some(row.version()) }
}

/// The condition that a run is not there.
pub(crate) fn is_absent(row: &ExecutionsRow) -> ConditionFailed {
    ConditionFailed::Execution { run_id: row.run_id, observed: None }
}
