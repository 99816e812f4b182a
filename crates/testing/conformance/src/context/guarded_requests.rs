//! One request of each kind that the owner's range id guards, and assertions that hold for all of
//! them.

use temporal_dsql_domain::{
    CurrentExecutionsRow,
    ExecutionState::{Created, Running, Zombie},
    ExecutionsRow, ScheduledRange, Tasks, Timestamp,
};
use temporal_dsql_ports::{MutableStateRows, StoreError};
use temporal_dsql_stores::{
    AppendNodes, ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, ExecutionStore,
    Expected, Owner, SetExecution, TaskStore, UpdateExecution, UpdateMode,
};

use super::owned_shard::{OwnedShard, SharedStore, mutated, rows};

/// A guarded request.
#[derive(Clone, Debug)]
pub(crate) enum GuardedRequest {
    Create(Box<CreateExecution>),
    /// The update, and the run as it is stored before it.
    Update(Box<UpdateExecution>, Box<MutableStateRows>),
    ConflictResolve(Box<ConflictResolve>),
    Set(Box<SetExecution>),
    AddTasks(Owner, Tasks),
}

impl GuardedRequest {
    /// Executes the request on `store`.
    pub(crate) async fn execute(&self, store: SharedStore) -> Result<(), StoreError> {
        let executions = ExecutionStore::new(SharedStore::clone(&store));
        match self {
            Self::Create(request) => executions.create(request).await,
            Self::Update(request, _) => executions.update(request).await,
            Self::ConflictResolve(request) => executions.conflict_resolve(request).await,
            Self::Set(request) => executions.set(request).await,
            Self::AddTasks(owner, tasks) => TaskStore::new(store).add(*owner, tasks).await,
        }
    }

    /// The `executions` row that the request writes; adding tasks writes none.
    pub(crate) fn written(&self) -> Option<&ExecutionsRow> {
        match self {
            Self::Create(request) => Some(&request.snapshot.execution),
            Self::Update(request, _) => Some(&request.mutation.execution),
            Self::ConflictResolve(request) => Some(&request.reset.execution),
            Self::Set(request) => Some(&request.snapshot.execution),
            Self::AddTasks(..) => None,
        }
    }

    /// The whole run after the request.
    fn run_after(&self) -> Option<MutableStateRows> {
        match self {
            Self::Create(request) => Some(rows(&request.snapshot)),
            Self::Update(request, before) => Some(mutated((**before).clone(), &request.mutation)),
            Self::ConflictResolve(request) => Some(rows(&request.reset)),
            Self::Set(request) => Some(rows(&request.snapshot)),
            Self::AddTasks(..) => None,
        }
    }

    /// The current execution after the request.
    fn current_after(&self) -> Option<&CurrentExecutionsRow> {
        match self {
            Self::Create(request) => Some(&request.snapshot.current),
            Self::Update(request, _) => Some(&request.mutation.current),
            Self::ConflictResolve(request) => Some(&request.reset.current),
            Self::Set(_) | Self::AddTasks(..) => None,
        }
    }

    /// The history batches that the request appends.
    fn events(&self) -> &[AppendNodes] {
        match self {
            Self::Create(request) => &request.snapshot.events,
            Self::Update(request, _) => &request.mutation.events,
            Self::ConflictResolve(request) => &request.reset.events,
            Self::Set(request) => &request.snapshot.events,
            Self::AddTasks(..) => &[],
        }
    }

    /// The tasks that the request adds.
    fn tasks(&self) -> &Tasks {
        match self {
            Self::Create(request) => &request.snapshot.tasks,
            Self::Update(request, _) => &request.mutation.tasks,
            Self::ConflictResolve(request) => &request.reset.tasks,
            Self::Set(request) => &request.snapshot.tasks,
            Self::AddTasks(_, tasks) => tasks,
        }
    }
}

impl OwnedShard<'_> {
    /// One request of each kind, each for a workflow id of its own.
    pub(crate) async fn guarded_requests(&self) -> [GuardedRequest; 5] {
        let owner = self.owner;
        let new = self.new_run(Created);
        let create = CreateExecution { owner, mode: CreateMode::BrandNew, snapshot: new };

        let open = self.create_run(Created).await;
        let mutation = self.mutation(&open, Running);
        let mode = UpdateMode::UpdateCurrent;
        let update = UpdateExecution { owner, mode, mutation, new: None };

        let current = self.create_run(Running).await;
        let reset = self.reset(&current, Running);
        let resolve = ConflictResolve {
            owner,
            mode: ConflictResolveMode::UpdateCurrent,
            reset,
            expected: Expected::RecordVersion(current.execution.db_record_version),
            new: None,
            current: None,
        };

        let zombie = self.create_run(Zombie).await;
        let snapshot = self.reset(&zombie, Zombie);
        let expected = Expected::RecordVersion(zombie.execution.db_record_version);
        let set = SetExecution { owner, snapshot, expected };

        [
            GuardedRequest::Create(Box::new(create)),
            GuardedRequest::Update(Box::new(update), Box::new(rows(&open))),
            GuardedRequest::ConflictResolve(Box::new(resolve)),
            GuardedRequest::Set(Box::new(set)),
            GuardedRequest::AddTasks(owner, self.ctx.tasks_of_every_queue(1)),
        ]
    }

    /// Asserts that a request was applied completely and exactly once. `before` is the number of
    /// tasks before it.
    pub(crate) async fn assert_applied(&self, request: &GuardedRequest, before: u64) {
        if let Some(after) = request.run_after() {
            assert_eq!(self.stored(&after.execution).await, Some(after), "{request:?}");
        }
        if let Some(row) = request.current_after() {
            assert_eq!(self.current_of(row).await.as_ref(), Some(row), "{request:?}");
        }
        if let Some(last) = request.events().last() {
            assert_eq!(self.history(last).await.last(), Some(&last.node), "{request:?}");
        }
        let Tasks { immediate, scheduled } = request.tasks();
        let shard_id = self.owner.shard_id;
        let mut session = self.ctx.store.session();
        for (queue, tasks) in immediate {
            for task in tasks {
                let ids = task.task_id..task.task_id + 1;
                let found =
                    session.range_select_from_immediate_tasks(shard_id, queue, ids, 1).await;
                assert_eq!(found.unwrap(), std::slice::from_ref(task), "{request:?}");
            }
        }
        for (queue, tasks) in scheduled {
            for task in tasks {
                let range = ScheduledRange { from: task.key, until: Timestamp::MAX };
                let found =
                    session.range_select_from_scheduled_tasks(shard_id, *queue, range, 1).await;
                assert_eq!(found.unwrap(), std::slice::from_ref(task), "{request:?}");
            }
        }
        assert_eq!(self.task_count().await, before + request.tasks().len() as u64, "{request:?}");
    }
}
