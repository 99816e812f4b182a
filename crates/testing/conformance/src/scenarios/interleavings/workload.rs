//! The clients, and the operations that they choose.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use temporal_dsql_domain::{
    BranchId, CurrentExecutionsRow, DataBlob,
    ExecutionState::{Completed, Created, Running},
    ExecutionsRow, HistoryBranch, HistoryNode, HistoryTreeInfo, IdEntry, ImmediateQueue,
    ImmediateTask, MapEntries, MapKeys, MapTable, RunId, ShardId, ShardsRow, Tasks, TreeId,
};
use temporal_dsql_ports::{
    BoxFuture, BufferedWrite, ConditionFailed, MapWrite, Outcome, StoreError, StoreExt, Transaction,
};
use temporal_dsql_stores::{
    AppendNodes, CreateExecution, CreateMode, ExecutionStore, Expected, Mutation, Owner,
    ShardStore, Snapshot, TaskStore, UpdateExecution, UpdateMode,
};

use tokio::sync::Notify;

use super::history::{
    Completion, Deletion, HOSTS, History, Operation, OperationKind, Takeover, WrittenRows,
};
use crate::{
    context::{
        TestContext,
        owned_shard::{OwnedShard, SharedStore},
    },
    harness::CommitFailure,
    interceptors::DelayedCommits,
};

/// The state that the clients of one shard share.
pub(super) struct Service<'w> {
    pub(super) shard: OwnedShard<'w>,
    pub(super) ids: Vec<CurrentExecutionsRow>,
    history: Arc<Mutex<History>>,
    delays: Arc<Delays>,
    finished: Notify,
}

const IDS: usize = 3;

/// The random delays of transactions: between the snapshot and the first statement, and of commits.
pub(super) struct Delays {
    random: Mutex<fastrand::Rng>,
    history: Arc<Mutex<History>>,
}

impl Delays {
    /// Whether to delay another commit, if `delayed` are delayed already: each occupies a
    /// connection.
    pub(super) fn delays_commit(&self, delayed: usize) -> bool {
        delayed < 3 && self.random.lock().unwrap().u32(..5) == 0
    }

    /// The delay of a transaction, as a number of steps of other clients.
    pub(super) fn steps(&self) -> u32 {
        self.history.lock().unwrap().begun += 1;
        let mut random = self.random.lock().unwrap();
        if random.bool() { 0 } else { random.u32(1..6) }
    }
}

impl<'w> Service<'w> {
    pub(super) async fn new(ctx: &'w TestContext) -> Self {
        let shard = ctx.owned_shard().await;
        // A small range id, so that it can be incremented.
        let row = ShardsRow { range_id: 1, ..shard.shard.clone() };
        shard.shards.update(&row, shard.owner.range_id).await.unwrap();
        let history = Arc::new(Mutex::new(History { first: Some(row), ..History::default() }));
        let random = Mutex::new(ctx.random(fastrand::Rng::fork));
        Self {
            ids: (0..IDS).map(|_| shard.current(Created)).collect(),
            shard,
            delays: Arc::new(Delays { random, history: Arc::clone(&history) }),
            history,
            finished: Notify::new(),
        }
    }

    pub(super) fn delays(&self) -> Arc<Delays> {
        Arc::clone(&self.delays)
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    /// Counts a finished operation, and wakes the clients that wait for one.
    pub(super) fn count_operation(&self) {
        self.history().finished += 1;
        self.finished.notify_waiters();
    }

    /// The number of operations of this incarnation.
    pub(super) fn finished(&self) -> u32 {
        self.history().finished
    }

    pub(super) fn restart(&self) {
        let mut history = self.history();
        history.finished = 0;
        history.operations.values_mut().for_each(|operation| operation.is_pending = false);
    }

    /// A restarted service does not know the range ids that it held.
    pub(super) fn forget_range_ids(&self) {
        self.history().hosts = [None; HOSTS];
    }
}

/// A client on one of the hosts.
pub(super) struct Client<'s> {
    service: &'s Service<'s>,
    host: usize,
    store: SharedStore,
    executions: ExecutionStore<SharedStore>,
    shards: ShardStore<SharedStore>,
    tasks: TaskStore<SharedStore>,
}

impl<'s> Client<'s> {
    pub(super) fn new(service: &'s Service<'s>, store: &SharedStore, number: usize) -> Self {
        Self {
            service,
            host: number % HOSTS,
            store: Arc::clone(store),
            executions: ExecutionStore::new(Arc::clone(store)),
            shards: ShardStore::new(Arc::clone(store)),
            tasks: TaskStore::new(Arc::clone(store)),
        }
    }

    fn random(&self, below: usize) -> usize {
        self.service.shard.ctx.random(|random| random.usize(..below))
    }

    /// Often commits the oldest delayed transaction. Most of them conflict if a claim of the shard
    /// comes first.
    pub(super) async fn maybe_commit_delayed(&self, delayed: &DelayedCommits) {
        if self.random(4) == 0 {
            return;
        }
        match delayed.commit_next().await {
            None => {}
            Some(Ok(())) => self.service.history().late_commits += 1,
            // It lost a conflict, or the connection broke.
            Some(Err(error)) if error.is_transient() => {}
            Some(Err(error)) => panic!("{error:?}"),
        }
    }

    /// Sometimes makes one of the next commits fail.
    pub(super) fn maybe_fail(&self) {
        const FAULTS: [CommitFailure; 3] =
            [CommitFailure::Conflict, CommitFailure::LostCommit, CommitFailure::LostAnswer];
        let fixture = &self.service.shard.ctx.fixture;
        if fixture.faults_left() == 0 && self.random(3) == 0 {
            fixture.fail_next_commits(&[FAULTS[self.random(3)]]);
        }
    }

    /// Executes one random operation under the host's range id. A host without one waits for the
    /// operations of others, and sometimes claims the shard.
    pub(super) async fn step(&self) {
        let hosts = self.service.history().hosts;
        let Some(range_id) = hosts[self.host] else {
            // Rarely, so that an owner has time for operations.
            if hosts.iter().all(Option::is_none) || self.random(40) == 0 {
                self.take_over().await;
                return self.service.count_operation();
            }
            return self.service.finished.notified().await;
        };
        let owner = Owner { shard_id: self.service.shard.owner.shard_id, range_id };
        match self.random(40) {
            0 => drop(self.take_over().await),
            1..=6 => self.delete().await,
            7..=9 => self.add_task(owner).await,
            _ => self.create_or_update(owner).await,
        }
        self.service.count_operation();
        // Yields to the other clients, even if nothing waits.
        tokio::task::yield_now().await;
    }

    /// Claims the shard, with the store or with row operations; returns whether the claim was
    /// acknowledged.
    async fn take_over(&self) -> bool {
        if self.random(2) == 0 {
            return self.take_over_and_read_queue().await;
        }
        let (number, found) = self.begin_takeover().await;
        let claim = {
            let takeover = &mut self.service.history().takeovers[number];
            takeover.found = Some(found.clone());
            takeover.claim.clone()
        };
        let result = self.shards.update(&claim, found.range_id).await;
        let is_owner = self.finish_takeover(number, &result);
        if is_owner {
            let tasks = task_ids(&self.tasks, claim.shard_id).await;
            self.service.history().takeovers[number].tasks = Some(tasks.into_keys().collect());
        } else {
            // A claim with a lost answer may have been applied and replaced by the next one before
            // the store read the row. The store then reports the new owner.
            self.service.history().takeovers[number].completion = Completion::Unknown;
        }
        is_owner
    }

    /// Claims the shard with row operations, and reads the tasks that deposed owners have written.
    pub(super) async fn take_over_and_read_queue(&self) -> bool {
        let (number, found) = self.begin_takeover().await;
        let claim = Claim {
            store: Arc::clone(&self.store),
            history: Arc::clone(&self.service.history),
            number,
            expected: found.range_id,
        };
        let result = self.store.run("TakeOver", &claim, claim_and_read_queue).await;
        self.finish_takeover(number, &result)
    }

    /// Records the beginning of a claim; returns its index and the current shard row.
    async fn begin_takeover(&self) -> (usize, ShardsRow) {
        let shard = &self.service.shard;
        let found = self.shards.get(shard.owner.shard_id).await.unwrap().expect("the shard");
        // As in Temporal, where the row names its owner, no two claims write the same row.
        let data = shard.ctx.data();
        let claim = ShardsRow { range_id: found.range_id + 1, data, ..found.clone() };
        let mut history = self.service.history();
        history.takeovers.push(Takeover {
            claim,
            found: None,
            tasks: None,
            completion: Completion::Unknown,
        });
        (history.takeovers.len() - 1, found)
    }

    /// Records the outcome of a claim; returns whether it was acknowledged.
    fn finish_takeover(&self, number: usize, result: &Result<(), StoreError>) -> bool {
        let completion = match result {
            Ok(()) => Completion::Acknowledged,
            Err(error) if error.outcome() == Outcome::Unknown => Completion::Unknown,
            Err(StoreError::Condition(ConditionFailed::ShardOwnershipLost { .. })) => {
                Completion::Failed
            }
            Err(error) if error.is_transient() => Completion::Failed,
            Err(error) => panic!("{error:?}"),
        };
        let mut history = self.service.history();
        history.takeovers[number].completion = completion;
        if completion == Completion::Acknowledged {
            history.hosts[self.host] = Some(history.takeovers[number].claim.range_id);
        }
        completion == Completion::Acknowledged
    }

    async fn delete(&self) {
        let Some(current) = self.closed().await else { return };
        let run_id = current.run_id;
        {
            // A run whose creator still waits for the answer is not deleted.
            let mut history = self.service.history();
            let is_pending =
                |operation: &Operation| operation.run_id == run_id && operation.is_pending;
            if history.operations.values().any(is_pending) {
                return;
            }
            history.delete_requests += 1;
            history.deletions.entry(run_id).or_default();
        }
        let deleted = |result: Result<(), StoreError>| match result {
            Ok(()) => true,
            Err(error) if error.is_transient() => false,
            Err(error) => panic!("{error:?}"),
        };
        let record = |what: fn(&mut Deletion)| {
            what(self.service.history().deletions.get_mut(&run_id).expect("a requested deletion"));
        };
        if deleted(self.executions.delete_current(&current.filter(), run_id).await) {
            record(|deletion| deletion.of_current = true);
            if deleted(self.executions.delete(&current.executions_filter()).await) {
                record(|deletion| deletion.of_run = true);
            }
        }
    }

    /// A closed current execution, if there is one.
    async fn closed(&self) -> Option<CurrentExecutionsRow> {
        let first = self.random(IDS);
        for number in 0..IDS {
            let id = &self.service.ids[(first + number) % IDS];
            let current = self.executions.get_current(&id.filter()).await.unwrap();
            if current.as_ref().is_some_and(|row| row.state == Completed) {
                return current;
            }
        }
        None
    }

    async fn add_task(&self, owner: Owner) {
        let run_id = self.service.shard.ctx.run_id();
        let (task_id, tasks) = self.begin(OperationKind::AddTask, 0, run_id, owner);
        let result = self.tasks.add(owner, &tasks).await;
        self.finish(task_id, owner, &result);
    }

    /// Reads an id, and creates or updates a run as its state requires; the state may have changed
    /// by then.
    async fn create_or_update(&self, owner: Owner) {
        let number = self.random(IDS);
        let id = &self.service.ids[number];
        let current = self.executions.get_current(&id.filter()).await.unwrap();
        let stored = match &current {
            Some(row) => {
                let mut session = self.store.session();
                session.select_from_executions(&row.executions_filter()).await.unwrap()
            }
            None => None,
        };
        match (current, stored) {
            (Some(row), Some(run)) if row.state != Completed => {
                self.update(owner, number, &row, &run).await;
            }
            (Some(row), Some(run)) => {
                let previous = row.run_id;
                let mode = CreateMode::UpdateCurrent {
                    previous_run_id: previous,
                    previous_last_write_version: run.last_write_version,
                };
                self.create(owner, number, OperationKind::Reuse { previous }, mode).await;
            }
            // Also if there is a current execution: the refusal reports it.
            _ => self.create(owner, number, OperationKind::Create, CreateMode::BrandNew).await,
        }
    }

    async fn create(&self, owner: Owner, number: usize, kind: OperationKind, mode: CreateMode) {
        let shard = &self.service.shard;
        let current = shard.next_run(&self.service.ids[number], Created);
        let (task_id, tasks) = self.begin(kind, number, current.run_id, owner);
        let execution = ExecutionsRow { db_record_version: 1, ..shard.ctx.execution_of(&current) };
        let maps = vec![MapEntries::Activities(vec![entry(task_id, owner)])];
        self.record_rows(task_id, &current, &execution);
        let events = vec![batch(&current, 1, task_id, owner)];
        let snapshot = Snapshot { execution, current, maps, tasks, events };
        let result = self.executions.create(&CreateExecution { owner, mode, snapshot }).await;
        if let Err(StoreError::Condition(ConditionFailed::CurrentExecution {
            observed: Some(observed),
        })) = &result
        {
            let history = self.service.history();
            let is_real = history.operations.values().any(|operation| {
                operation.run_id == observed.run_id
                    && operation.id == number
                    && operation.completion != Completion::Failed
            });
            assert!(is_real, "no operation has created {observed:?}");
        }
        self.finish(task_id, owner, &result);
    }

    async fn update(
        &self,
        owner: Owner,
        number: usize,
        row: &CurrentExecutionsRow,
        run: &ExecutionsRow,
    ) {
        let shard = &self.service.shard;
        let from = run.db_record_version;
        let (task_id, tasks) =
            self.begin(OperationKind::Update { from }, number, row.run_id, owner);
        let state = if self.random(3) == 0 { Completed } else { Running };
        let current = CurrentExecutionsRow { run_id: row.run_id, ..shard.next_run(row, state) };
        let execution =
            ExecutionsRow { db_record_version: from + 1, ..shard.ctx.changed_execution(run) };
        self.record_rows(task_id, &current, &execution);
        let events = vec![batch(&current, from + 1, task_id, owner)];
        let mutation = Mutation {
            execution,
            expected: Expected::RecordVersion(from),
            current,
            maps: vec![MapWrite {
                remove: MapKeys::none(MapTable::Activities),
                replace: MapEntries::Activities(vec![entry(task_id, owner)]),
            }],
            buffered: BufferedWrite { clear: false, append: vec![entry(task_id, owner).data] },
            tasks,
            events,
        };
        let mode = UpdateMode::UpdateCurrent;
        let request = UpdateExecution { owner, mode, mutation, new: None };
        let result = self.executions.update(&request).await;
        self.finish(task_id, owner, &result);
    }

    /// Records the beginning of an operation, and returns the task that proves it.
    fn begin(&self, kind: OperationKind, id: usize, run_id: RunId, owner: Owner) -> (i64, Tasks) {
        let mut history = self.service.history();
        history.last_task_id += 1;
        let task_id = history.last_task_id;
        let range_id = owner.range_id;
        let (written, completion, is_pending) = (None, Completion::Unknown, true);
        history.operations.insert(
            task_id,
            Operation { kind, id, run_id, range_id, written, completion, is_pending },
        );
        let task = ImmediateTask { task_id, data: entry(task_id, owner).data };
        let immediate = vec![(ImmediateQueue::Transfer, vec![task])];
        (task_id, Tasks { immediate, ..Tasks::default() })
    }

    /// Records the rows that an operation writes.
    fn record_rows(&self, task_id: i64, current: &CurrentExecutionsRow, execution: &ExecutionsRow) {
        let written = WrittenRows { current: current.clone(), execution: execution.clone() };
        let mut history = self.service.history();
        history.operations.get_mut(&task_id).expect("a recorded operation").written =
            Some(Box::new(written));
    }

    /// Records the outcome of an operation.
    fn finish(&self, task_id: i64, owner: Owner, result: &Result<(), StoreError>) {
        let mut history = self.service.history();
        let completion = match result {
            Ok(()) => Completion::Acknowledged,
            Err(error) if error.outcome() == Outcome::Unknown => Completion::Unknown,
            Err(StoreError::Condition(failed)) => {
                if matches!(failed, ConditionFailed::ShardOwnershipLost { .. })
                    && history.hosts[self.host] == Some(owner.range_id)
                {
                    history.hosts[self.host] = None;
                }
                Completion::Failed
            }
            Err(error) if error.is_transient() => Completion::Failed,
            Err(error) => panic!("{error:?}"),
        };
        let operation = history.operations.get_mut(&task_id).expect("a recorded operation");
        (operation.completion, operation.is_pending) = (completion, false);
    }
}

/// A claim of the shard with row operations.
struct Claim {
    store: SharedStore,
    history: Arc<Mutex<History>>,
    /// The index of the takeover in the history.
    number: usize,
    expected: i64,
}

/// Locks the shard, reads its queue, and claims it.
///
/// While the lock is held no owner commits a write: on some engines the write waits, and on the
/// others it conflicts with the claim. So the tasks that are read are complete when the claim
/// commits. They are read in another session, because the transaction's snapshot may be older than
/// the lock.
fn claim_and_read_queue<'t>(
    transaction: &'t mut dyn Transaction,
    claim: &'t Claim,
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        let row = claim.history.lock().unwrap().takeovers[claim.number].claim.clone();
        let (shard_id, expected) = (row.shard_id, claim.expected);
        let observed = transaction.write_lock_shards(shard_id).await?;
        if observed != Some(expected) {
            let lost = ConditionFailed::ShardOwnershipLost { shard_id, expected, observed };
            return Err(lost.into());
        }
        let found = transaction.select_from_shards(shard_id).await?;
        let tasks = task_ids(&TaskStore::new(Arc::clone(&claim.store)), shard_id).await;
        {
            let takeover = &mut claim.history.lock().unwrap().takeovers[claim.number];
            takeover.found = found;
            takeover.tasks = Some(tasks.into_keys().collect());
        }
        assert_eq!(transaction.update_shards(&row, Some(expected)).await?, 1);
        Ok(())
    })
}

/// An entry with the task id of the operation and the range id under which it is written.
fn entry(task_id: i64, owner: Owner) -> IdEntry {
    let data = owner.range_id.to_be_bytes();
    let encoding = temporal_dsql_domain::Encoding::new("Proto3").unwrap();
    IdEntry { id: task_id, data: DataBlob::new(data, encoding) }
}

/// The branch of a run's history.
pub(super) fn branch(run_id: RunId) -> HistoryBranch {
    HistoryBranch::root(TreeId(run_id.0), BranchId(run_id.0))
}

/// The batch of the operation that writes this record version. The first one begins the branch.
fn batch(current: &CurrentExecutionsRow, version: i64, task_id: i64, owner: Owner) -> AppendNodes {
    let branch = branch(current.run_id);
    let data = entry(task_id, owner).data;
    let node = HistoryNode { node_id: version, txn_id: task_id, prev_txn_id: 0, data };
    let fork_time = temporal_dsql_domain::Timestamp::UNIX_EPOCH;
    let info = HistoryTreeInfo { branch: branch.clone(), fork_time, info: String::new() };
    let new_branch = (version == 1).then_some(info);
    AppendNodes { shard_id: current.shard_id, branch, new_branch, node }
}

/// The stored tasks, each with the range id under which it was written.
pub(super) async fn task_ids(
    tasks: &TaskStore<SharedStore>,
    shard_id: ShardId,
) -> BTreeMap<i64, i64> {
    let queue = ImmediateQueue::Transfer;
    let range = i64::MIN..i64::MAX;
    let page = tasks.immediate_page(shard_id, &queue, range, 10_000).await.unwrap();
    assert_eq!(page.next, None);
    let tagged = page.items.into_iter().map(|task| (task.task_id, range_id(&task.data)));
    tagged.collect()
}

/// The range id of an entry.
pub(super) fn range_id(data: &DataBlob) -> i64 {
    i64::from_be_bytes(data.data.as_slice().try_into().expect("eight bytes"))
}
