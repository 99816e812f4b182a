//! The acts that an owner's range id guards, as values: what holds for all of them is said once.

use temporal_dsql_domain::{
    ExecutionState::{Created, Running, Zombie},
    ExecutionsRow, Tasks,
};
use temporal_dsql_ports::{
    StoreError,
    stores::{
        ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, ExecutionStore,
        Expected, Owner, SetExecution, TaskStore, UpdateExecution, UpdateMode,
    },
};

use super::owned::{AnyStore, Owned};

/// A guarded act, ready to be done.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Create(Box<CreateExecution>),
    Update(Box<UpdateExecution>),
    ConflictResolve(Box<ConflictResolve>),
    Set(Box<SetExecution>),
    AddTasks(Owner, Tasks),
}

impl Act {
    /// Does it through `store`.
    pub(crate) async fn done_by(&self, store: AnyStore) -> Result<(), StoreError> {
        let executions = ExecutionStore::new(AnyStore::clone(&store));
        match self {
            Self::Create(request) => executions.create(request).await,
            Self::Update(request) => executions.update(request).await,
            Self::ConflictResolve(request) => executions.conflict_resolve(request).await,
            Self::Set(request) => executions.set(request).await,
            Self::AddTasks(owner, tasks) => TaskStore::new(store).add(*owner, tasks).await,
        }
    }

    /// The row that says whether it was done; adding tasks has none.
    pub(crate) fn written(&self) -> Option<&ExecutionsRow> {
        match self {
            Self::Create(request) => Some(&request.snapshot.execution),
            Self::Update(request) => Some(&request.mutation.execution),
            Self::ConflictResolve(request) => Some(&request.reset.execution),
            Self::Set(request) => Some(&request.snapshot.execution),
            Self::AddTasks(..) => None,
        }
    }

    /// How many tasks it adds.
    pub(crate) fn tasks(&self) -> u64 {
        let tasks = match self {
            Self::Create(request) => &request.snapshot.tasks,
            Self::Update(request) => &request.mutation.tasks,
            Self::ConflictResolve(request) => &request.reset.tasks,
            Self::Set(request) => &request.snapshot.tasks,
            Self::AddTasks(_, tasks) => tasks,
        };
        tasks.len() as u64
    }
}

impl Owned<'_> {
    /// One act of each kind, each on an id of its own, none of them with history: appending that
    /// would be a commit of its own.
    pub(crate) async fn acts(&self) -> [Act; 5] {
        let owner = self.owner;
        let mut new = self.new_run(Created);
        new.events.clear();
        let create = CreateExecution { owner, mode: CreateMode::BrandNew, snapshot: new };

        let mut mutation = self.mutation(&self.created(Created).await, Running);
        mutation.events.clear();
        let mode = UpdateMode::UpdateCurrent;
        let update = UpdateExecution { owner, mode, mutation, new: None };

        let current = self.created(Running).await;
        let mut reset = self.reset(&current, Running);
        reset.events.clear();
        let resolve = ConflictResolve {
            owner,
            mode: ConflictResolveMode::UpdateCurrent,
            reset,
            expected: Expected::RecordVersion(current.execution.db_record_version),
            new: None,
            current: None,
        };

        let zombie = self.created(Zombie).await;
        let mut snapshot = self.reset(&zombie, Zombie);
        snapshot.events.clear();
        let expected = Expected::RecordVersion(zombie.execution.db_record_version);
        let set = SetExecution { owner, snapshot, expected };

        [
            Act::Create(Box::new(create)),
            Act::Update(Box::new(update)),
            Act::ConflictResolve(Box::new(resolve)),
            Act::Set(Box::new(set)),
            Act::AddTasks(owner, self.world.tasks_of_every_queue(1)),
        ]
    }

    /// Asserts that an act was done, entirely and once; `before` is the number of tasks before.
    pub(crate) async fn assert_done(&self, act: &Act, before: u64) {
        if let Some(row) = act.written() {
            let stored = self.stored(row).await.expect("the run is there");
            assert_eq!(stored.execution, *row, "{act:?}");
        }
        assert_eq!(self.task_count().await, before + act.tasks(), "{act:?}");
    }
}
