//! Whole executions as the rows that they are made of: locked, written, read and deleted together.
//!
//! On DSQL a statement costs 4–5 ms (facts §5), so these operations exist to be few statements.
//! Each has a plain meaning in terms of the row ports, which is how it is done where the server
//! takes nothing better.

use async_trait::async_trait;
use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, DataBlob, ExecutionVersion, ExecutionsFilter,
    ExecutionsRow, InvalidValue, MapEntries, MapKeys, MapTable, RunId, ShardId, Tasks,
};

use super::{ExecutionMaps, HistoryExecution, HistoryTasks, Shards};
use crate::StoreError;

/// What a write locks before it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locks {
    /// The shard, with the lock that guards its owner's writes.
    pub shard_id: ShardId,
    /// The current execution of an id.
    pub current: Option<CurrentExecutionsFilter>,
    /// Rows of `executions`, all of one id.
    pub runs: Vec<ExecutionsFilter>,
}

/// What was found under the locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The shard's range id; `None` if there is no such shard.
    pub range_id: Option<i64>,
    /// The current execution.
    pub current: Option<CurrentExecutionsRow>,
    /// Those of the runs that exist.
    pub runs: Vec<(RunId, ExecutionVersion)>,
}

impl Locked {
    /// The versions of a run, if it exists.
    pub fn run(&self, run_id: RunId) -> Option<ExecutionVersion> {
        self.runs.iter().find(|(id, _)| *id == run_id).map(|(_, version)| *version)
    }
}

/// How the `executions` row is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunWrite {
    /// A new row.
    Insert(ExecutionsRow),
    /// A row that exists.
    Update(ExecutionsRow),
}

/// How the current execution is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CurrentWrite {
    /// A new row.
    Insert(CurrentExecutionsRow),
    /// A row that exists.
    Update(CurrentExecutionsRow),
}

/// What is removed from a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Entries with these keys.
    Keys(MapKeys),
    /// Every entry that is not written.
    Others,
}

/// What happens to one map: entries are written, then entries are removed, as Temporal's stores do
/// it (contract §3.3). A key that is both written and removed is gone. From a run that is new
/// nothing is removed: rows that an earlier delete has left stay, unless they are overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapWrite {
    /// What is removed; keys are of the map that is written.
    pub remove: Removal,
    /// What is written.
    pub replace: MapEntries,
}

impl MapWrite {
    /// The entries that are there after the write, in the order of their keys: of several with
    /// one key the last, and none that is removed.
    pub fn entries_that_stay(&self) -> MapEntries {
        let mut entries = self.replace.clone();
        entries.last_of_each_key();
        if let Removal::Keys(keys) = &self.remove {
            entries.remove(keys);
        }
        entries
    }
}

/// Checks that maps are named once, each.
///
/// # Errors
/// The first that is named again.
pub(crate) fn each_map_once(maps: impl IntoIterator<Item = MapTable>) -> Result<(), InvalidValue> {
    let mut named = Vec::new();
    for map in maps {
        if named.contains(&map) {
            return Err(InvalidValue::new("maps", format!("has {} twice", map.table())));
        }
        named.push(map);
    }
    Ok(())
}

/// Checks that no map is written twice, and that none is written with keys to remove of another.
///
/// # Errors
/// The first map that is.
pub fn check_maps(writes: &[MapWrite]) -> Result<(), InvalidValue> {
    each_map_once(writes.iter().map(|write| write.replace.map()))?;
    let mixed = |write: &&MapWrite| match &write.remove {
        Removal::Keys(keys) => keys.map() != write.replace.map(),
        Removal::Others => false,
    };
    match writes.iter().find(mixed) {
        None => Ok(()),
        Some(write) => Err(InvalidValue::new(
            "maps",
            format!("removes keys of another map from {}", write.replace.map().table()),
        )),
    }
}

/// What happens to the buffered events: they are removed, then events are appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BufferedWrite {
    /// Whether the buffer is emptied; that of a new run is not.
    pub clear: bool,
    /// What is appended.
    pub append: Vec<DataBlob>,
}

/// Everything that one act writes for one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionWrite {
    /// The `executions` row.
    pub run: RunWrite,
    /// The current execution.
    pub current: Option<CurrentWrite>,
    /// At most one for each map; [`check_maps`] says so.
    pub maps: Vec<MapWrite>,
    /// The buffered events.
    pub buffered: BufferedWrite,
    /// New tasks.
    pub tasks: Tasks,
}

/// How many rows a write affected, where that says whether it was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows of `executions`: 1, or 0 if the row to update is absent.
    pub run: u64,
    /// Rows of the current-execution table; 0 if none was to be written.
    pub current: u64,
    /// New tasks.
    pub tasks: u64,
}

/// Everything that is stored for one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutableStateRows {
    /// The `executions` row.
    pub execution: ExecutionsRow,
    /// Its maps, in the order of [`MapTable::ALL`], entries in the order of their keys.
    pub maps: Vec<MapEntries>,
    /// Its buffered events, in the order of insertion.
    pub buffered: Vec<DataBlob>,
}

/// Operations on whole executions.
#[async_trait]
pub trait MutableState: HistoryExecution + ExecutionMaps + HistoryTasks + Shards {
    /// Takes locks, the shard's first, and reads what is under them. Inside a transaction.
    ///
    /// Several statements, or one where the server takes locks in sub-selects (facts §1.4).
    async fn lock_for_write(&mut self, locks: &Locks) -> Result<Locked, StoreError> {
        lock_row_by_row(self, locks).await
    }

    /// Writes one run, its current execution, maps, buffer and tasks. Inside a transaction, with
    /// the rows locked that are updated.
    ///
    /// Several statements, whose number does not depend on the number of entries or tasks; or one
    /// where the server takes statements that write in WITH.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] for the run, the current execution or a task, by the table and
    /// in this order, tasks in that of their queues; [`StoreError::InvalidArgument`] if the maps
    /// are not as [`check_maps`] wants them.
    async fn write_execution(&mut self, write: &ExecutionWrite) -> Result<Written, StoreError> {
        write_part_by_part(self, write).await
    }

    /// Reads everything that is stored for one run, as of one moment: one statement.
    async fn select_mutable_state(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError>;

    /// Deletes everything that is stored for one run, and tells how many rows of `executions`.
    ///
    /// Several statements, the `executions` row last; or one where the server takes statements
    /// that write in WITH ([`Store::writes_in_one_statement`](crate::Store)).
    async fn delete_mutable_state(&mut self, run: &ExecutionsFilter) -> Result<u64, StoreError> {
        delete_part_by_part(self, run).await
    }
}

/// [`MutableState::lock_for_write`] with a statement for each row, the shard's first.
///
/// # Errors
/// Those of the statements.
pub async fn lock_row_by_row<S>(session: &mut S, locks: &Locks) -> Result<Locked, StoreError>
where
    S: HistoryExecution + Shards + ?Sized,
{
    let range_id = session.read_lock_shards(locks.shard_id).await?;
    let current = match &locks.current {
        Some(filter) => session.lock_current_executions(filter).await?,
        None => None,
    };
    let mut runs = Vec::with_capacity(locks.runs.len());
    for run in &locks.runs {
        if let Some(version) = session.write_lock_executions(run).await? {
            runs.push((run.run_id, version));
        }
    }
    Ok(Locked { range_id, current, runs })
}

/// [`MutableState::write_execution`] with statements for each table.
///
/// # Errors
/// Those of the statements, and [`StoreError::InvalidArgument`] by [`check_maps`].
pub async fn write_part_by_part<S>(
    session: &mut S,
    write: &ExecutionWrite,
) -> Result<Written, StoreError>
where
    S: HistoryExecution + ExecutionMaps + HistoryTasks + ?Sized,
{
    check_maps(&write.maps)?;
    let mut written = Written::default();
    let (key, is_new) = match &write.run {
        RunWrite::Insert(row) => (row.filter(), true),
        RunWrite::Update(row) => (row.filter(), false),
    };
    written.run = match &write.run {
        RunWrite::Insert(row) => session.insert_into_executions(row).await?,
        RunWrite::Update(row) => session.update_executions(row).await?,
    };
    written.current = match &write.current {
        Some(CurrentWrite::Insert(row)) => session.insert_into_current_executions(row).await?,
        Some(CurrentWrite::Update(row)) => session.update_current_executions(row).await?,
        None => 0,
    };
    for map in &write.maps {
        let stays = map.entries_that_stay();
        match &map.remove {
            _ if is_new => {}
            Removal::Keys(keys) if keys.is_empty() => {}
            Removal::Keys(keys) => drop(session.delete_from_map(&key, keys).await?),
            Removal::Others => drop(session.delete_others_from_map(&key, &stays.keys()).await?),
        }
        if !stays.is_empty() {
            session.replace_into_map(&key, &stays).await?;
        }
    }
    if write.buffered.clear && !is_new {
        session.delete_from_buffered_events(&key, None).await?;
    }
    if !write.buffered.append.is_empty() {
        session.insert_into_buffered_events(&key, &write.buffered.append).await?;
    }
    written.tasks = insert_tasks(session, key.shard_id, &write.tasks).await?;
    Ok(written)
}

/// [`MutableState::delete_mutable_state`] with a statement for each table, `executions` last.
///
/// # Errors
/// Those of the statements.
pub async fn delete_part_by_part<S>(
    session: &mut S,
    run: &ExecutionsFilter,
) -> Result<u64, StoreError>
where
    S: HistoryExecution + ExecutionMaps + ?Sized,
{
    for map in MapTable::ALL {
        session.delete_all_from_map(run, map, None).await?;
    }
    session.delete_from_buffered_events(run, None).await?;
    session.delete_from_executions(run).await
}

/// Inserts tasks into their queues, one statement for each queue; tells how many.
pub(crate) async fn insert_tasks<S>(
    session: &mut S,
    shard_id: ShardId,
    tasks: &Tasks,
) -> Result<u64, StoreError>
where
    S: HistoryTasks + ?Sized,
{
    let mut inserted = 0;
    for (queue, tasks) in tasks.immediate_in_order() {
        inserted += session.insert_into_immediate_tasks(shard_id, queue, tasks).await?;
    }
    for (queue, tasks) in tasks.scheduled_in_order() {
        inserted += session.insert_into_scheduled_tasks(shard_id, *queue, tasks).await?;
    }
    Ok(inserted)
}
