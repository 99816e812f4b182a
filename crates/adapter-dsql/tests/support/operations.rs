//! Operations of the owner of a shard, and the rows that they write.

use temporal_dsql_domain::{
    ArchetypeId, BranchId, ChasmNode, ChasmPath, CurrentExecutionsRow, ExecutionState,
    ExecutionStatus, ExecutionsRow, HistoryBranch, HistoryNode, HistoryTreeInfo, IdEntry,
    ImmediateQueue, ImmediateTask, MapEntries, ScheduledKey, ScheduledQueue, ScheduledTask,
    ShardsRow, Tasks, Timestamp, TreeId,
};
use temporal_dsql_ports::{
    BoxFuture, BufferedWrite, Expected, MapWrite, StoreError, StoreExt, Transaction,
};
use temporal_dsql_store::DsqlStore;
use temporal_dsql_stores::{
    AppendNodes, ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, ExecutionStore,
    Mutation, Owner, SetExecution, ShardStore, Snapshot, TaskStore, UpdateExecution, UpdateMode,
};
use uuid::Uuid;

use super::{blob, current};

/// The number of rows of each run of a write.
#[derive(Clone, Copy)]
pub struct Size {
    /// Tasks of each queue.
    pub tasks: i64,
    pub activities: i64,
    pub nodes: i64,
    /// Batches of events.
    pub batches: i64,
}

/// One transfer and one timer task, two activities, four CHASM nodes, one batch of events.
pub const TYPICAL: Size = Size { tasks: 1, activities: 2, nodes: 4, batches: 1 };
pub const LARGE: Size = Size { tasks: 50, activities: 50, nodes: 50, batches: 5 };

/// Entries of two maps.
fn entries(size: Size) -> [MapEntries; 2] {
    let node = |path| ChasmNode {
        path: ChasmPath::new(format!("node-{path}")).unwrap(),
        metadata: blob(),
        data: Some(vec![4]),
        data_encoding: blob().encoding,
    };
    [
        MapEntries::Activities(
            (0..size.activities).map(|id| IdEntry { id, data: blob() }).collect(),
        ),
        MapEntries::ChasmNodes((0..size.nodes).map(node).collect()),
    ]
}

/// Tasks that are not stored, whose ids begin at `first_id`.
pub fn tasks(size: Size, first_id: i64) -> Tasks {
    let ids = first_id..first_id + size.tasks;
    let immediate = ids.clone().map(|task_id| ImmediateTask { task_id, data: blob() });
    let scheduled = ids.map(|task_id| ScheduledTask {
        key: ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id },
        data: blob(),
    });
    Tasks {
        immediate: vec![(ImmediateQueue::Transfer, immediate.collect())],
        scheduled: vec![(ScheduledQueue::Timer, scheduled.collect())],
    }
}

/// A run, and the number of its rows.
#[derive(Clone)]
pub struct Run {
    pub owner: Owner,
    pub current: CurrentExecutionsRow,
    branch: HistoryBranch,
    size: Size,
}

impl Run {
    /// The first run of an id.
    pub fn new(owner: Owner, archetype: ArchetypeId, size: Size) -> Self {
        let current = CurrentExecutionsRow { shard_id: owner.shard_id, ..current(archetype) };
        let id = || Uuid::from_u128(fastrand::u128(..));
        let branch = HistoryBranch::root(TreeId(id()), BranchId(id()));
        Self { owner, current, branch, size }
    }

    /// Another run of the id.
    pub fn next(&self) -> Self {
        let other = Self::new(self.owner, self.current.archetype_id, self.size);
        let run_id = other.current.run_id;
        Self { current: CurrentExecutionsRow { run_id, ..self.current.clone() }, ..other }
    }

    /// The closed run.
    pub fn closed(mut self) -> Self {
        self.current.state = ExecutionState::Completed;
        self.current.status = ExecutionStatus::Completed;
        self
    }

    /// The row of the run at this version.
    pub fn execution(&self, db_record_version: i64) -> ExecutionsRow {
        ExecutionsRow {
            shard_id: self.current.shard_id,
            namespace_id: self.current.namespace_id,
            workflow_id: self.current.workflow_id.clone(),
            run_id: self.current.run_id,
            next_event_id: 3,
            last_write_version: 1,
            data: blob(),
            state: blob(),
            db_record_version,
        }
    }

    /// Batches of events; the first begins the branch if `is_new`.
    fn events(&self, db_record_version: i64, is_new: bool) -> Vec<AppendNodes> {
        let batch = |number| AppendNodes {
            shard_id: self.owner.shard_id,
            branch: self.branch.clone(),
            new_branch: (is_new && number == 0).then(|| HistoryTreeInfo {
                branch: self.branch.clone(),
                fork_time: Timestamp::UNIX_EPOCH,
                info: String::new(),
            }),
            node: HistoryNode {
                node_id: 1 + 100 * (db_record_version - 1) + number,
                txn_id: db_record_version,
                prev_txn_id: db_record_version - 1,
                data: blob(),
            },
        };
        (0..self.size.batches).map(batch).collect()
    }

    /// The whole run at this version. The first version begins the branch.
    pub fn snapshot(&self, db_record_version: i64) -> Snapshot {
        Snapshot {
            execution: self.execution(db_record_version),
            current: self.current.clone(),
            maps: entries(self.size).into(),
            tasks: tasks(self.size, fastrand::i64(0..i64::MAX / 2)),
            events: self.events(db_record_version, db_record_version == 1),
        }
    }

    /// The change that brings it to this version.
    fn mutation(&self, db_record_version: i64) -> Mutation {
        let snapshot = self.snapshot(db_record_version);
        Mutation {
            execution: snapshot.execution,
            expected: Expected::RecordVersion(db_record_version - 1),
            current: snapshot.current,
            maps: snapshot.maps.into_iter().map(MapWrite::upsert).collect(),
            buffered: BufferedWrite::default(),
            tasks: snapshot.tasks,
            events: snapshot.events,
        }
    }
}

/// Creates a run that nothing precedes.
pub fn create(run: &Run) -> CreateExecution {
    CreateExecution { owner: run.owner, mode: CreateMode::BrandNew, snapshot: run.snapshot(1) }
}

/// Brings the current run to this version; a next run may follow it.
pub fn update(run: &Run, db_record_version: i64, next: Option<&Run>) -> UpdateExecution {
    UpdateExecution {
        owner: run.owner,
        mode: UpdateMode::UpdateCurrent,
        mutation: run.mutation(db_record_version),
        new: next.map(|next| next.snapshot(1)),
    }
}

/// Resets a run to this version; the current run, if it is another one, is changed, and a new run
/// may follow.
pub fn conflict_resolve(
    (reset, db_record_version): (&Run, i64),
    current: Option<(&Run, i64)>,
    new: Option<&Run>,
) -> ConflictResolve {
    ConflictResolve {
        owner: reset.owner,
        mode: ConflictResolveMode::UpdateCurrent,
        reset: reset.snapshot(db_record_version),
        expected: Expected::RecordVersion(db_record_version - 1),
        new: new.map(|new| new.snapshot(1)),
        current: current.map(|(run, version)| run.mutation(version)),
    }
}

/// Replaces a run, which is at this version afterwards.
pub fn set(run: &Run, db_record_version: i64) -> SetExecution {
    SetExecution {
        owner: run.owner,
        snapshot: run.snapshot(db_record_version),
        expected: Expected::RecordVersion(db_record_version - 1),
    }
}

/// The kinds of writes that a range id guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Create,
    Update,
    ConflictResolve,
    Set,
    AddTasks,
}

pub const KINDS: [Kind; 5] =
    [Kind::Create, Kind::Update, Kind::ConflictResolve, Kind::Set, Kind::AddTasks];

impl Kind {
    /// Temporal's name of the write.
    pub const fn op(self) -> &'static str {
        match self {
            Self::Create => "CreateWorkflowExecution",
            Self::Update => "UpdateWorkflowExecution",
            Self::ConflictResolve => "ConflictResolveWorkflowExecution",
            Self::Set => "SetWorkflowExecution",
            Self::AddTasks => "AddHistoryTasks",
        }
    }
}

/// A guarded write of an owner who has a shard of its own.
#[derive(Clone)]
pub struct GuardedWrite {
    pub kind: Kind,
    pub owner: Owner,
    request: Request,
}

#[derive(Clone)]
enum Request {
    Create(Box<CreateExecution>),
    Update(Box<UpdateExecution>),
    ConflictResolve(Box<ConflictResolve>),
    Set(Box<SetExecution>),
    AddTasks(Tasks),
}

impl GuardedWrite {
    /// A write of `owner`, whose shard is inserted, with the runs that it changes.
    pub async fn prepared(store: &DsqlStore, kind: Kind, owner: Owner) -> Self {
        let row = ShardsRow { shard_id: owner.shard_id, range_id: owner.range_id, data: blob() };
        ShardStore::new(store).get_or_create(&row).await.unwrap();
        let executions = ExecutionStore::new(store);
        let run = Run::new(owner, ArchetypeId::WORKFLOW, TYPICAL);
        if kind != Kind::Create {
            executions.create(&create(&run)).await.unwrap();
        }
        let request = match kind {
            Kind::Create => Request::Create(Box::new(create(&run))),
            Kind::Update => Request::Update(Box::new(update(&run, 2, None))),
            Kind::ConflictResolve => {
                Request::ConflictResolve(Box::new(conflict_resolve((&run, 2), None, None)))
            }
            Kind::Set => Request::Set(Box::new(set(&run, 2))),
            Kind::AddTasks => Request::AddTasks(tasks(TYPICAL, fastrand::i64(0..i64::MAX / 2))),
        };
        Self { kind, owner, request }
    }

    /// A write of rows that do not exist, of an owner that may not own the shard.
    pub fn refused(owner: Owner) -> Self {
        let run = Run::new(owner, ArchetypeId::WORKFLOW, TYPICAL);
        Self { kind: Kind::Create, owner, request: Request::Create(Box::new(create(&run))) }
    }

    /// Executes the write.
    pub async fn execute_on(&self, store: &DsqlStore) -> Result<(), StoreError> {
        let executions = ExecutionStore::new(store);
        match &self.request {
            Request::Create(request) => executions.create(request).await,
            Request::Update(request) => executions.update(request).await,
            Request::ConflictResolve(request) => executions.conflict_resolve(request).await,
            Request::Set(request) => executions.set(request).await,
            Request::AddTasks(tasks) => TaskStore::new(store).add(self.owner, tasks).await,
        }
    }

    /// The id of its transfer task.
    pub fn transfer_task(&self) -> i64 {
        let tasks = match &self.request {
            Request::Create(request) => &request.snapshot.tasks,
            Request::Update(request) => &request.mutation.tasks,
            Request::ConflictResolve(request) => &request.reset.tasks,
            Request::Set(request) => &request.snapshot.tasks,
            Request::AddTasks(tasks) => tasks,
        };
        tasks.immediate[0].1[0].task_id
    }

    /// The query for the contents of its shard: the sum of the record versions of all runs, and how
    /// many rows several tables have.
    pub fn contents_query(&self) -> String {
        let counts =
            ["current_executions", "transfer_tasks", "timer_tasks", "history_node"].map(|table| {
                format!(
                    "(SELECT count(*) FROM {table} WHERE shard_id = {shard})",
                    shard = self.owner.shard_id.0
                )
            });
        format!(
            "SELECT (SELECT coalesce(sum(db_record_version), 0) FROM executions \
             WHERE shard_id = {}), {}",
            self.owner.shard_id.0,
            counts.join(", ")
        )
    }

    /// The result of [`contents_query`](Self::contents_query) after the write was applied once.
    pub fn applied_to(&self, before: [i64; 5]) -> [i64; 5] {
        let [versions, current, transfer, timer, nodes] = before;
        let (of_run, of_current) = match self.kind {
            Kind::Create => (1, 1),
            Kind::Update | Kind::ConflictResolve | Kind::Set => (1, 0),
            Kind::AddTasks => (0, 0),
        };
        [versions + of_run, current + of_current, transfer + 1, timer + 1, nodes + of_run]
    }
}

/// The numbers of one row.
pub fn numbers(rows: &[Vec<Option<String>>]) -> [i64; 5] {
    let numbers: Vec<i64> =
        rows[0].iter().map(|cell| cell.as_deref().unwrap().parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// How a shard is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoverMethod {
    /// By [`ShardStore::update`].
    Store,
    /// By the two statements of a Go server, whose update names no condition.
    GoServer,
}

pub const TAKEOVER_METHODS: [TakeoverMethod; 2] = [TakeoverMethod::Store, TakeoverMethod::GoServer];

/// The next owner claims the shard of `owner`.
pub async fn take_over(
    store: &DsqlStore,
    owner: Owner,
    method: TakeoverMethod,
) -> Result<(), StoreError> {
    let range_id = owner.range_id + 1;
    let next = ShardsRow { shard_id: owner.shard_id, range_id, data: blob() };
    match method {
        TakeoverMethod::Store => ShardStore::new(store).update(&next, owner.range_id).await,
        TakeoverMethod::GoServer => store.run("GoServer", &next, go_server).await,
    }
}

fn go_server<'t>(
    transaction: &'t mut dyn Transaction,
    next: &'t ShardsRow,
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        transaction.write_lock_shards(next.shard_id).await?;
        transaction.update_shards(next, None).await.map(drop)
    })
}

/// Asserts that the shard has the next owner, and that this is why the write was refused.
pub fn assert_ownership_lost(write: &GuardedWrite, result: Result<(), StoreError>) {
    use temporal_dsql_ports::ConditionFailed::ShardOwnershipLost;

    let Owner { shard_id, range_id: expected } = write.owner;
    let observed = Some(expected + 1);
    let Err(StoreError::Condition(condition)) = result else {
        panic!("{:?}: {result:?}", write.kind)
    };
    assert_eq!(condition, ShardOwnershipLost { shard_id, expected, observed }, "{:?}", write.kind);
}
