//! The clients: what they do, and what they write down about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use temporal_dsql_domain::{
    CurrentExecutionsRow, DataBlob,
    ExecutionState::{Completed, Created, Running},
    ExecutionsRow, IdEntry, ImmediateQueue, ImmediateTask, MapEntries, MapKeys, MapTable, RunId,
    ShardsRow, Tasks,
};
use temporal_dsql_ports::{
    BufferedWrite, ConditionFailed, MapWrite, Outcome, Removal, StoreError,
    stores::{
        CreateExecution, CreateMode, ExecutionStore, Expected, Mutation, Owner, ShardStore,
        Snapshot, TaskStore, UpdateExecution, UpdateMode,
    },
};

use crate::{
    CommitFault, World,
    world::owned::{AnyStore, Owned},
};

/// What an act was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Made the run the current one of an id that had none, at record version 1.
    Create,
    /// Took the place of a closed run.
    Reuse { previous: RunId },
    /// Brought the run from this record version to the next.
    Update { from: i64 },
    /// Added a task and nothing else.
    AddTask,
}

/// What the client knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was on its way when the service died, or its outcome is unknown.
    Unknown,
    /// It was acknowledged.
    Done,
    /// It failed, and surely left no trace.
    Refused,
}

/// An act of a client, by the id of its task.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) kind: Kind,
    pub(super) id: usize,
    pub(super) run_id: RunId,
    pub(super) range_id: i64,
    pub(super) end: End,
    /// Whether the client still waits for the end.
    is_under_way: bool,
}

/// What a new owner found when its claim had committed.
#[derive(Clone, Debug)]
pub(super) struct Takeover {
    pub(super) range_id: i64,
    pub(super) tasks: BTreeSet<i64>,
}

/// What the clients of one shard share.
pub(super) struct Service<'w> {
    pub(super) owned: Owned<'w>,
    pub(super) ids: Vec<CurrentExecutionsRow>,
    notes: Mutex<Notes>,
    gap: Arc<Gap>,
}

/// What was written down.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) acts: BTreeMap<i64, Act>,
    pub(super) takeovers: Vec<Takeover>,
    /// Current executions whose deletion was asked for.
    pub(super) deleted: BTreeSet<RunId>,
    /// The range id that each of the hosts believes in; clients share hosts.
    hosts: [Option<i64>; HOSTS],
    last_task_id: i64,
    finished: u32,
}

const HOSTS: usize = 3;
const IDS: usize = 3;

/// How long a transaction waits for others between its snapshot and its first statement.
pub(super) struct Gap(Mutex<fastrand::Rng>);

impl Gap {
    /// As a number of steps of others.
    pub(super) fn steps(&self) -> u32 {
        let mut random = self.0.lock().unwrap();
        if random.bool() { 0 } else { random.u32(1..6) }
    }
}

impl<'w> Service<'w> {
    pub(super) async fn new(world: &'w World) -> Self {
        let owned = world.owned().await;
        // A small range id, so that it can be counted up.
        let row = ShardsRow { range_id: 1, ..owned.shard.clone() };
        owned.shards.update(&row, owned.owner.range_id).await.unwrap();
        Self {
            ids: (0..IDS).map(|_| owned.current(Created)).collect(),
            owned,
            notes: Mutex::default(),
            gap: Arc::new(Gap(Mutex::new(world.random(fastrand::Rng::fork)))),
        }
    }

    pub(super) fn gap(&self) -> Arc<Gap> {
        Arc::clone(&self.gap)
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    /// Counts a finished act, and tells how many this life has had.
    pub(super) fn count_act(&self) -> u32 {
        let mut notes = self.notes();
        notes.finished += 1;
        notes.finished
    }

    pub(super) fn next_life(&self) {
        let mut notes = self.notes();
        notes.finished = 0;
        notes.acts.values_mut().for_each(|act| act.is_under_way = false);
    }

    /// A service that died does not know what it owned.
    pub(super) fn forget_range_ids(&self) {
        self.notes().hosts = [None; HOSTS];
    }
}

/// One client, on one of the hosts.
pub(super) struct Client<'s> {
    service: &'s Service<'s>,
    host: usize,
    store: AnyStore,
    executions: ExecutionStore<AnyStore>,
    shards: ShardStore<AnyStore>,
    tasks: TaskStore<AnyStore>,
}

impl<'s> Client<'s> {
    pub(super) fn new(service: &'s Service<'s>, store: &AnyStore, number: usize) -> Self {
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
        self.service.owned.world.random(|random| random.usize(..below))
    }

    /// Lets one of the next commits fail, sometimes.
    pub(super) fn maybe_fail(&self) {
        const FAULTS: [CommitFault; 3] =
            [CommitFault::Conflict, CommitFault::LostBefore, CommitFault::LostAfter];
        let place = &self.service.owned.world.place;
        if place.faults_left() == 0 && self.random(3) == 0 {
            place.fail_next_commits(&[FAULTS[self.random(3)]]);
        }
    }

    /// Does something, as the owner that the host believes to be.
    pub(super) async fn act(&self) {
        let range_id = self.service.notes().hosts[self.host];
        let Some(range_id) = range_id else {
            // Rarely, so that an owner has time to do something.
            if self.random(16) == 0 {
                self.take_over().await;
            }
            return tokio::task::yield_now().await;
        };
        let owner = Owner { shard_id: self.service.owned.owner.shard_id, range_id };
        match self.random(20) {
            0 => drop(self.take_over().await),
            1 | 2 => self.delete().await,
            3 | 4 => self.add_task(owner).await,
            _ => self.create_or_update(owner).await,
        }
        // Others have their turn, also where nothing waits.
        tokio::task::yield_now().await;
    }

    /// Claims the shard; tells whether that worked.
    pub(super) async fn take_over(&self) -> bool {
        let shard_id = self.service.owned.owner.shard_id;
        let found = self.shards.get(shard_id).await.unwrap().expect("the shard");
        // Temporal's row names its owner, so that no two claims are the same row.
        let data = self.service.owned.world.data();
        let next = ShardsRow { range_id: found.range_id + 1, data, ..found.clone() };
        match self.shards.update(&next, found.range_id).await {
            Ok(()) => {}
            Err(StoreError::Condition(ConditionFailed::ShardOwnershipLost { .. })) => return false,
            Err(error) if error.is_transient() => return false,
            Err(error) => panic!("{error:?}"),
        }
        // Whatever a deposed owner has written is written by now.
        let tasks = task_ids(&self.tasks, shard_id).await.into_keys().collect();
        let mut notes = self.service.notes();
        notes.takeovers.push(Takeover { range_id: next.range_id, tasks });
        notes.hosts[self.host] = Some(next.range_id);
        true
    }

    async fn delete(&self) {
        let id = &self.service.ids[self.random(IDS)];
        let current = self.executions.get_current(&id.filter()).await.unwrap();
        let Some(current) = current.filter(|row| row.state == Completed) else { return };
        {
            // Nobody deletes a run whose creator still waits for the answer.
            let mut notes = self.service.notes();
            let is_under_way = |act: &Act| act.run_id == current.run_id && act.is_under_way;
            if notes.acts.values().any(is_under_way) {
                return;
            }
            notes.deleted.insert(current.run_id);
        }
        self.executions.delete_current(&current.filter(), current.run_id).await.unwrap();
        match self.executions.delete(&current.executions_filter()).await {
            Ok(()) => {}
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
    }

    async fn add_task(&self, owner: Owner) {
        let run_id = self.service.owned.world.run_id();
        let (task_id, tasks) = self.begin(Kind::AddTask, 0, run_id, owner);
        let result = self.tasks.add(owner, &tasks).await;
        self.end(task_id, owner, &result);
    }

    /// Looks at an id, and does what its state asks for; by then it may be another one.
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
                self.create(owner, number, Kind::Reuse { previous }, mode).await;
            }
            // Also where there is one: the refusal names it.
            _ => self.create(owner, number, Kind::Create, CreateMode::BrandNew).await,
        }
    }

    async fn create(&self, owner: Owner, number: usize, kind: Kind, mode: CreateMode) {
        let owned = &self.service.owned;
        let current = owned.next_run(&self.service.ids[number], Created);
        let (task_id, tasks) = self.begin(kind, number, current.run_id, owner);
        let execution =
            ExecutionsRow { db_record_version: 1, ..owned.world.execution_of(&current) };
        let maps = vec![MapEntries::Activities(vec![entry(task_id, owner)])];
        let snapshot = Snapshot { execution, current, maps, tasks, events: Vec::new() };
        let result = self.executions.create(&CreateExecution { owner, mode, snapshot }).await;
        if let Err(StoreError::Condition(ConditionFailed::CurrentExecution {
            observed: Some(observed),
        })) = &result
        {
            let notes = self.service.notes();
            let is_real = notes.acts.values().any(|act| {
                act.run_id == observed.run_id && act.id == number && act.end != End::Refused
            });
            assert!(is_real, "nobody has created {observed:?}");
        }
        self.end(task_id, owner, &result);
    }

    async fn update(
        &self,
        owner: Owner,
        number: usize,
        row: &CurrentExecutionsRow,
        run: &ExecutionsRow,
    ) {
        let owned = &self.service.owned;
        let from = run.db_record_version;
        let (task_id, tasks) = self.begin(Kind::Update { from }, number, row.run_id, owner);
        let state = if self.random(4) == 0 { Completed } else { Running };
        let current = owned.next_run(row, state);
        let mutation = Mutation {
            execution: ExecutionsRow {
                db_record_version: from + 1,
                ..owned.world.changed_execution(run)
            },
            expected: Expected::RecordVersion(from),
            current: CurrentExecutionsRow { run_id: row.run_id, ..current },
            maps: vec![MapWrite {
                remove: Removal::Keys(MapKeys::none(MapTable::Activities)),
                replace: MapEntries::Activities(vec![entry(task_id, owner)]),
            }],
            buffered: BufferedWrite { clear: false, append: vec![entry(task_id, owner).data] },
            tasks,
            events: Vec::new(),
        };
        let mode = UpdateMode::UpdateCurrent;
        let request = UpdateExecution { owner, mode, mutation, new: None };
        let result = self.executions.update(&request).await;
        self.end(task_id, owner, &result);
    }

    /// Writes down that an act begins; its task is what proves it.
    fn begin(&self, kind: Kind, id: usize, run_id: RunId, owner: Owner) -> (i64, Tasks) {
        let mut notes = self.service.notes();
        notes.last_task_id += 1;
        let task_id = notes.last_task_id;
        let range_id = owner.range_id;
        let (end, is_under_way) = (End::Unknown, true);
        notes.acts.insert(task_id, Act { kind, id, run_id, range_id, end, is_under_way });
        let task = ImmediateTask { task_id, data: entry(task_id, owner).data };
        let immediate = vec![(ImmediateQueue::Transfer, vec![task])];
        (task_id, Tasks { immediate, ..Tasks::default() })
    }

    /// Writes down how an act ended.
    fn end(&self, task_id: i64, owner: Owner, result: &Result<(), StoreError>) {
        let mut notes = self.service.notes();
        let end = match result {
            Ok(()) => End::Done,
            Err(error) if error.outcome() == Outcome::Unknown => End::Unknown,
            Err(StoreError::Condition(failed)) => {
                if matches!(failed, ConditionFailed::ShardOwnershipLost { .. })
                    && notes.hosts[self.host] == Some(owner.range_id)
                {
                    notes.hosts[self.host] = None;
                }
                End::Refused
            }
            Err(error) if error.is_transient() => End::Refused,
            Err(error) => panic!("{error:?}"),
        };
        let act = notes.acts.get_mut(&task_id).expect("a beginning");
        (act.end, act.is_under_way) = (end, false);
    }
}

/// An entry that names the act and the range id it was written under.
fn entry(task_id: i64, owner: Owner) -> IdEntry {
    let data = owner.range_id.to_be_bytes();
    let encoding = temporal_dsql_domain::Encoding::new("Proto3").unwrap();
    IdEntry { id: task_id, data: DataBlob::new(data, encoding) }
}

/// The tasks that are there, each with the range id it was written under.
pub(super) async fn task_ids(
    tasks: &TaskStore<AnyStore>,
    shard_id: temporal_dsql_domain::ShardId,
) -> BTreeMap<i64, i64> {
    let queue = ImmediateQueue::Transfer;
    let range = i64::MIN..i64::MAX;
    let page = tasks.immediate_page(shard_id, &queue, range, 10_000).await.unwrap();
    assert_eq!(page.next, None);
    let tagged = page.tasks.into_iter().map(|task| (task.task_id, range_id(&task.data)));
    tagged.collect()
}

/// The range id that an entry names.
pub(super) fn range_id(data: &DataBlob) -> i64 {
    i64::from_be_bytes(data.data.as_slice().try_into().expect("eight bytes"))
}
