//! Whole executions, each operation one statement, or several where the store is made so.
//!
//! One statement does to the rows what the ports' defaults do in several, in their order, and
//! nothing in between is seen by anyone.

use std::collections::BTreeMap;

use async_trait::async_trait;
use temporal_dsql_domain::{DataBlob, ExecutionsFilter, MapTable};
use temporal_dsql_ports::{
    CurrentWrite, ExecutionWrite, Locked, Locks, MutableState, MutableStateRows, Removal, RunWrite,
    StoreError, Written, check_maps, write_part_by_part,
};

use super::{
    buffered_events, execution_maps,
    history_execution::{self, CurrentKey, lock_current, lock_executions},
    history_tasks, shards,
};
use crate::{
    MemoryStore,
    connection::{Connection, Execute, InOneStatement, InStatements},
    key::{Key, NewRow, check_statement},
    work::Work,
};

/// A row that is to be written, and how.
enum Upsert {
    Insert(NewRow),
    Update(NewRow),
}

impl Upsert {
    fn apply(&self, work: &mut Work) -> Result<u64, StoreError> {
        match self {
            Self::Insert(row) => work.insert(row),
            Self::Update(row) => work.update(row),
        }
    }
}

/// What happens to one map.
struct ReadyMap {
    map: MapTable,
    /// The entries that are removed; `None` for all but those that are written.
    remove: Option<Vec<Key>>,
    /// The entries that are written, by their keys.
    replace: BTreeMap<Key, NewRow>,
}

/// An [`ExecutionWrite`] whose rows can be stored.
struct ReadyWrite {
    key: ExecutionsFilter,
    current: Option<Upsert>,
    run: Upsert,
    maps: Vec<ReadyMap>,
    clear_buffer: bool,
    append: Vec<DataBlob>,
    tasks: Vec<NewRow>,
}

impl ReadyWrite {
    fn new(store: &MemoryStore, write: &ExecutionWrite) -> Result<Self, StoreError> {
        check_maps(&write.maps)?;
        let current = match &write.current {
            Some(CurrentWrite::Insert(row)) => Some(Upsert::Insert(CurrentKey::ready(store, row)?)),
            Some(CurrentWrite::Update(row)) => Some(Upsert::Update(CurrentKey::ready(store, row)?)),
            None => None,
        };
        let (key, run) = match &write.run {
            RunWrite::Insert(row) => (row.filter(), Upsert::Insert(history_execution::ready(row)?)),
            RunWrite::Update(row) => (row.filter(), Upsert::Update(history_execution::ready(row)?)),
        };
        let is_new = matches!(run, Upsert::Insert(_));
        let mut maps = Vec::with_capacity(write.maps.len());
        let mut carried = Vec::new();
        for write in &write.maps {
            let rows = execution_maps::ready(&key, &write.replace)?;
            carried.extend(rows.iter().cloned());
            let mut replace = execution_maps::last_of_each_key(rows);
            let mut remove = match &write.remove {
                Removal::Keys(keys) => Some(execution_maps::keys(&key, keys)),
                Removal::Others => None,
            };
            // What is removed is not written; from a run that is new nothing is removed.
            for key in remove.iter().flatten() {
                replace.remove(key);
            }
            if is_new {
                remove = Some(Vec::new());
            }
            maps.push(ReadyMap { map: write.replace.map(), remove, replace });
        }
        let append = write.buffered.append.clone();
        carried.extend(buffered_events::check(&key, &append)?);
        let mut tasks = Vec::with_capacity(write.tasks.len());
        for (queue, of) in write.tasks.immediate_in_order() {
            tasks.extend(history_tasks::ready_immediate(key.shard_id, queue, of)?);
        }
        for (queue, of) in write.tasks.scheduled_in_order() {
            tasks.extend(history_tasks::ready_scheduled(key.shard_id, *queue, of)?);
        }
        let (Upsert::Insert(row) | Upsert::Update(row)) = &run;
        let current_row = current.iter().map(|(Upsert::Insert(row) | Upsert::Update(row))| row);
        check_statement(carried.iter().chain(&tasks).chain(current_row).chain([row]))?;
        let clear_buffer = write.buffered.clear && !is_new;
        Ok(Self { key, current, run, maps, clear_buffer, append, tasks })
    }

    fn apply(&self, work: &mut Work) -> Result<Written, StoreError> {
        let run = self.run.apply(work)?;
        let current = match &self.current {
            Some(current) => current.apply(work)?,
            None => 0,
        };
        let tasks = work.insert_all(&self.tasks)?;
        for ReadyMap { map, remove, replace } in &self.maps {
            match remove {
                Some(keys) => work.delete_all(keys)?,
                None => {
                    let kept = replace.keys().collect();
                    execution_maps::delete_others(work, &self.key, *map, &kept)?
                }
            };
            execution_maps::replace(work, *map, replace.values())?;
        }
        if self.clear_buffer {
            buffered_events::delete(work, &self.key, None)?;
        }
        buffered_events::append(work, &self.key, &self.append)?;
        Ok(Written { run, current, tasks })
    }
}

fn lock_for_write(store: &MemoryStore, work: &mut Work, locks: &Locks) -> Locked {
    let range_id = shards::read_lock(store, work, locks.shard_id);
    let current = locks.current.as_ref();
    let current =
        current.and_then(|filter| lock_current(work, &CurrentKey::of_filter(store, filter)));
    let versions =
        locks.runs.iter().filter_map(|run| Some((run.run_id, lock_executions(work, run)?)));
    Locked { range_id, current, runs: versions.collect() }
}

fn select(work: &Work, run: &ExecutionsFilter) -> Option<MutableStateRows> {
    let execution = work.select(run)?.clone();
    let maps = MapTable::ALL.map(|map| execution_maps::select_all(work, run, map)).into();
    Some(MutableStateRows { execution, maps, buffered: buffered_events::select(work, run) })
}

fn delete(work: &mut Work, run: &ExecutionsFilter) -> Result<u64, StoreError> {
    for map in MapTable::ALL {
        execution_maps::delete_all(work, run, map, None)?;
    }
    buffered_events::delete(work, run, None)?;
    work.delete(run)
}

#[async_trait]
impl<E: Execute> MutableState for Connection<E, InOneStatement> {
    async fn lock_for_write(&mut self, locks: &Locks) -> Result<Locked, StoreError> {
        let store = self.link.store().clone();
        self.link.execute("LockForWrite", |work| Ok(lock_for_write(&store, work, locks))).await
    }

    async fn write_execution(&mut self, write: &ExecutionWrite) -> Result<Written, StoreError> {
        let write = ReadyWrite::new(self.link.store(), write)?;
        self.link.execute("WriteExecution", |work| write.apply(work)).await
    }

    async fn select_mutable_state(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError> {
        self.link.execute("SelectMutableState", |work| Ok(select(work, run))).await
    }

    async fn delete_mutable_state(&mut self, run: &ExecutionsFilter) -> Result<u64, StoreError> {
        self.link.execute("DeleteMutableState", |work| delete(work, run)).await
    }
}

#[async_trait]
impl<E: Execute> MutableState for Connection<E, InStatements> {
    async fn write_execution(&mut self, write: &ExecutionWrite) -> Result<Written, StoreError> {
        // Every row is checked before the first statement, as by the adapter for DSQL.
        ReadyWrite::new(self.link.store(), write)?;
        write_part_by_part(self, write).await
    }

    async fn select_mutable_state(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError> {
        self.link.execute("SelectMutableState", |work| Ok(select(work, run))).await
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::{
        ImmediateQueue, ImmediateTask, MapEntries, MapKeys, Table, Tasks, limits,
    };
    use temporal_dsql_ports::{BufferedWrite, MapWrite, Store};

    use super::*;
    use crate::{
        Fault, FaultPlan,
        testing::{blob, entries, execution},
    };

    /// A new run with two activities, an event and a transfer task.
    fn write() -> ExecutionWrite {
        let tasks = vec![ImmediateTask { task_id: 1, data: blob(1) }];
        ExecutionWrite {
            run: RunWrite::Insert(execution("w", 1)),
            current: None,
            maps: vec![MapWrite {
                remove: Removal::Keys(MapKeys::Activities(Vec::new())),
                replace: MapEntries::Activities(entries([1, 2])),
            }],
            buffered: BufferedWrite { clear: false, append: vec![blob(1)] },
            tasks: Tasks { immediate: vec![(ImmediateQueue::Transfer, tasks)], scheduled: vec![] },
        }
    }

    /// Writes, autocommit, where the task exists already; tells how many rows are there after it.
    async fn rows_after_a_duplicate(in_one_statement: bool) -> usize {
        let store = MemoryStore::builder().writes_in_one_statement(in_one_statement).build();
        assert_eq!(store.writes_in_one_statement(), in_one_statement);
        let mut session = store.session();
        let task = ImmediateTask { task_id: 1, data: blob(1) };
        let run = execution("w", 1).filter();
        let queue = ImmediateQueue::Transfer;
        session.insert_into_immediate_tasks(run.shard_id, &queue, &[task]).await.unwrap();
        let error = session.write_execution(&write()).await.unwrap_err();
        assert!(
            matches!(error, StoreError::AlreadyExists { table: Table::TransferTasks, .. }),
            "{error:?}"
        );
        [Table::Executions, Table::ActivityInfoMaps, Table::BufferedEvents, Table::TransferTasks]
            .map(|table| store.count(table))
            .iter()
            .sum()
    }

    #[tokio::test]
    async fn in_one_statement_a_write_outside_a_transaction_happens_entirely_or_not_at_all() {
        assert_eq!(rows_after_a_duplicate(true).await, 1);
        assert_eq!(rows_after_a_duplicate(false).await, 5);
    }

    #[tokio::test]
    async fn in_one_statement_a_write_or_delete_outside_a_transaction_is_one_commit() {
        for (in_one_statement, write_commits, delete_commits) in [(true, 1, 1), (false, 4, 9)] {
            let store = MemoryStore::builder().writes_in_one_statement(in_one_statement).build();
            let mut session = store.session();
            let commits = || 20 - store.fault_report().remaining.unwrap();
            store.inject(FaultPlan::script([None::<Fault>; 20]));
            session.write_execution(&write()).await.unwrap();
            assert_eq!(commits(), write_commits);
            store.inject(FaultPlan::script([None::<Fault>; 20]));
            let run = execution("w", 1).filter();
            assert_eq!(session.delete_mutable_state(&run).await.unwrap(), 1);
            assert_eq!(commits(), delete_commits);
            assert_eq!(store.count(Table::ActivityInfoMaps), 0);
        }
    }

    #[tokio::test]
    async fn an_entry_that_stays_while_the_others_go_is_written_once() {
        let store = MemoryStore::new();
        let mut session = store.session();
        let all = i64::try_from(limits::MAX_TRANSACTION_ROWS).unwrap() - 1;
        let mut write = write();
        write.buffered.append.clear();
        write.tasks = Tasks::default();
        write.maps[0].replace = MapEntries::Activities(entries(0..all));
        session.write_execution(&write).await.unwrap();
        write.run = RunWrite::Update(execution("w", 1));
        write.maps[0].remove = Removal::Others;
        session.write_execution(&write).await.unwrap();
        assert_eq!(store.count(Table::ActivityInfoMaps), 2_999);
        write.maps[0].replace = MapEntries::Activities(entries([7, 9]));
        session.write_execution(&write).await.unwrap();
        assert_eq!(store.count(Table::ActivityInfoMaps), 2);
    }
}
