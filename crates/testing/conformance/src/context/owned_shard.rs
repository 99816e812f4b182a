//! A shard with an owner, and whole executions in it: the starting point of the scenarios of
//! Temporal's stores.

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

/// A store as Temporal's stores take it.
pub(crate) type SharedStore = Arc<dyn Store>;

/// A shard with its owner, and Temporal's stores.
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
    /// A new shard that has an owner.
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
    /// A current execution with a new id in this shard, in `state`.
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

    /// A new run with entries in every map, tasks in every queue, and the first batch of its
    /// history.
    pub(crate) fn snapshot(&self, current: &CurrentExecutionsRow) -> Snapshot {
        // As Temporal writes them: both rows have the last write version of the run.
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

    /// A new run with a new id.
    pub(crate) fn new_run(&self, state: ExecutionState) -> Snapshot {
        self.snapshot(&self.current(state))
    }

    /// A run in `state` that replaces everything stored of `of`.
    pub(crate) fn reset(&self, of: &Snapshot, state: ExecutionState) -> Snapshot {
        let execution = self.next_version(&of.execution);
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

    /// A change to every part of a run that leaves it in `state`.
    pub(crate) fn mutation(&self, of: &Snapshot, state: ExecutionState) -> Mutation {
        let execution = self.next_version(&of.execution);
        let current = self.ctx.changed(&of.current);
        let current = CurrentExecutionsRow {
            run_id: execution.run_id,
            last_write_version: execution.last_write_version,
            ..current
        };
        let maps = of.maps.iter().map(|entries| {
            // One entry is removed, one changed, one kept, one added.
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

    /// The same run with every value changed and the next record version.
    fn next_version(&self, row: &ExecutionsRow) -> ExecutionsRow {
        let db_record_version = row.db_record_version + 1;
        ExecutionsRow { db_record_version, ..self.ctx.changed_execution(row) }
    }

    /// The batch after `before`, or the first batch of a new branch.
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

    /// Creates a run: the current one of its id, or a zombie that is not current.
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

    /// Applies `mutation`, and creates `new`.
    pub(crate) async fn update(
        &self,
        mode: UpdateMode,
        mutation: &Mutation,
        new: Option<&Snapshot>,
    ) -> Result<(), StoreError> {
        let (mutation, new) = (mutation.clone(), new.cloned());
        self.executions.update(&UpdateExecution { owner: self.owner, mode, mutation, new }).await
    }

    /// Reads everything that is stored of a run.
    pub(crate) async fn stored(&self, row: &ExecutionsRow) -> Option<MutableStateRows> {
        self.executions.get(&row.filter()).await.unwrap()
    }

    /// Reads the current execution of an id.
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

    /// Asserts that the run `of` is stored as `mutation` leaves it, with its history.
    pub(crate) async fn assert_mutated(&self, of: &Snapshot, mutation: &Mutation) {
        let expected = mutated(rows(of), mutation);
        assert_eq!(self.stored(&of.execution).await, Some(expected));
        let last = mutation.events.last().expect("a history");
        assert_eq!(self.history(last).await, [of.events[0].node.clone(), last.node.clone()]);
    }

    /// Asserts that no row of a run is stored.
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

    /// Another owner claims the shard without the knowledge of this one.
    pub(crate) async fn depose_owner(&self) -> Owner {
        let next = self.takeover();
        self.shards.update(&next, self.owner.range_id).await.unwrap();
        Owner { range_id: next.range_id, ..self.owner }
    }

    /// The shard row as the next owner writes it.
    pub(crate) fn takeover(&self) -> ShardsRow {
        ShardsRow { range_id: self.shard.range_id + 1, data: self.ctx.data(), ..self.shard.clone() }
    }

    /// The number of tasks in all queues.
    pub(crate) async fn task_count(&self) -> u64 {
        self.ctx.count(&queue_tables()).await
    }

    /// The number of rows of all runs and current executions.
    pub(crate) async fn execution_count(&self) -> u64 {
        self.ctx.count(&execution_tables()).await
    }
}

fn queue_tables() -> Vec<Table> {
    Queue::all().map(|queue| queue.table()).into()
}

/// The tables of runs and current executions.
fn execution_tables() -> Vec<Table> {
    let mut tables = MapTable::ALL.map(MapTable::table).to_vec();
    tables.extend([
        Table::Executions,
        Table::CurrentExecutions,
        Table::CurrentChasmExecutions,
        Table::BufferedEvents,
    ]);
    tables
}

impl TestContext {
    /// The number of rows of these tables together.
    async fn count(&self, tables: &[Table]) -> u64 {
        self.fixture.counts(tables).await.iter().sum()
    }

    /// The number of rows of all tables that a request may write.
    pub(crate) async fn row_count(&self) -> u64 {
        let mut tables = queue_tables();
        tables.extend(execution_tables());
        tables.extend([Table::HistoryNode, Table::HistoryTree]);
        self.count(&tables).await
    }

    /// `count` tasks for every queue.
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

/// The rows after `snapshot` was created or has replaced a run.
pub(crate) fn rows(snapshot: &Snapshot) -> MutableStateRows {
    let of = |map| snapshot.maps.iter().find(|entries| entries.map() == map).cloned();
    MutableStateRows {
        execution: snapshot.execution.clone(),
        maps: MapTable::ALL.map(|map| of(map).unwrap_or_else(|| MapEntries::none(map))).into(),
        buffered: Vec::new(),
    }
}

/// The rows after `mutation`, if they were `before`.
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

/// Asserts that a request failed because of this condition.
#[track_caller]
pub(crate) fn assert_refused(result: Result<(), StoreError>, expected: &ConditionFailed) {
    match result {
        Err(StoreError::Condition(failed)) => assert_eq!(failed, *expected),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

/// The failed condition on the current execution, which is `row`.
pub(crate) fn current_is(row: Option<&CurrentExecutionsRow>) -> ConditionFailed {
    ConditionFailed::CurrentExecution { observed: row.cloned().map(Box::new) }
}

/// The failed condition on a run, which has the version of `row`.
pub(crate) fn version_is(row: &ExecutionsRow) -> ConditionFailed {
    ConditionFailed::Execution { run_id: row.run_id, observed: Some(row.version()) }
}

/// The failed condition on a run that is absent.
pub(crate) fn is_absent(row: &ExecutionsRow) -> ConditionFailed {
    ConditionFailed::Execution { run_id: row.run_id, observed: None }
}
