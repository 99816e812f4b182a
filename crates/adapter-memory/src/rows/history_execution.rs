//! `executions`, `current_executions` and `current_chasm_executions`: their keys, and the statements of
//! Temporal's `HistoryExecution` (temporal-persistence.md#executions).

use async_trait::async_trait;
use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionVersion, ExecutionsFilter,
    ExecutionsRow, RunId, Table,
};
use temporal_dsql_ports::{CurrentExecutionsRoute, HistoryExecution, StoreError};

use crate::{
    MemoryStore,
    connection::{Connection, Execute},
    engine::Lock,
    key::{Column, Key, NewRow, PrimaryKey, StoredRow},
    limited_transaction::LimitedTransaction,
};

impl StoredRow for ExecutionsRow {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        [("data", self.data.data.len()), ("state", self.state.data.len())]
    }
}

impl PrimaryKey for ExecutionsFilter {
    type Row = ExecutionsRow;

    fn to_key(&self) -> Key {
        run_key(Table::Executions, self)
    }
}

/// The key of a run in `executions`, which is the prefix of the keys of its rows in other tables.
pub(super) fn run_key(table: Table, run: &ExecutionsFilter) -> Key {
    Key::new(
        table,
        [
            Column::Integer(run.shard_id.0),
            Column::Uuid(run.namespace_id.0),
            Column::text(&run.workflow_id),
            Column::Uuid(run.run_id.0),
        ],
    )
}

impl StoredRow for CurrentExecutionsRow {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        let data = self.data.as_ref().map_or(0, Vec::len);
        [("create_request_id", self.create_request_id.len()), ("data", data)]
    }
}

/// The key of a current execution in the table of its route.
pub(super) struct CurrentKey {
    route: CurrentExecutionsRoute,
    filter: CurrentExecutionsFilter,
}

impl PrimaryKey for CurrentKey {
    type Row = CurrentExecutionsRow;

    fn to_key(&self) -> Key {
        let archetype_id = match self.route {
            CurrentExecutionsRoute::CurrentExecutions => None,
            CurrentExecutionsRoute::CurrentChasmExecutions { archetype_id } => {
                Some(Column::BigInt(archetype_id.0.into()))
            }
        };
        let id = [
            Column::Integer(self.filter.shard_id.0),
            Column::Uuid(self.filter.namespace_id.0),
            Column::text(&self.filter.workflow_id),
        ];
        Key::new(self.route.table(), id.into_iter().chain(archetype_id))
    }
}

impl CurrentKey {
    pub(super) fn of_filter(store: &MemoryStore, filter: &CurrentExecutionsFilter) -> Self {
        Self { route: store.router().route_filter(filter), filter: filter.clone() }
    }

    /// The row to write, checked against the limits of its table.
    pub(super) fn ready(
        store: &MemoryStore,
        row: &CurrentExecutionsRow,
    ) -> Result<NewRow, StoreError> {
        let key = Self { route: store.router().route_row(row)?, filter: row.filter() };
        Ok(NewRow::new(&key, row.clone())?)
    }

    /// The row as it is read: its archetype is the one of its route
    /// (requirements.md#req-5-3).
    fn read(&self, stored: &CurrentExecutionsRow) -> CurrentExecutionsRow {
        CurrentExecutionsRow { archetype_id: self.route.archetype_id(), ..stored.clone() }
    }
}

/// The row to write, checked against the limits.
pub(super) fn ready(row: &ExecutionsRow) -> Result<NewRow, StoreError> {
    Ok(NewRow::new(&row.filter(), row.clone())?)
}

pub(super) fn lock_executions(
    transaction: &mut LimitedTransaction,
    filter: &ExecutionsFilter,
) -> Option<ExecutionVersion> {
    transaction.lock(filter, Lock::ForUpdate).map(ExecutionsRow::version)
}

pub(super) fn lock_current(
    transaction: &mut LimitedTransaction,
    key: &CurrentKey,
) -> Option<CurrentExecutionsRow> {
    transaction.lock(key, Lock::ForUpdate).map(|stored| key.read(stored))
}

/// Two locks, as on DSQL. A current execution without its run is also locked, although the result is
/// empty.
fn lock_join(
    transaction: &mut LimitedTransaction,
    key: &CurrentKey,
) -> Option<CurrentExecutionsRow> {
    let current = lock_current(transaction, key)?;
    let run = transaction.lock(&current.executions_filter(), Lock::ForUpdate)?;
    Some(CurrentExecutionsRow { last_write_version: run.last_write_version, ..current })
}

#[async_trait]
impl<E: Execute> HistoryExecution for Connection<E> {
    async fn insert_into_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError> {
        let row = ready(row)?;
        self.executor.execute("InsertIntoExecutions", |transaction| transaction.insert(&row)).await
    }

    async fn update_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError> {
        let row = ready(row)?;
        self.executor.execute("UpdateExecutions", |transaction| transaction.update(&row)).await
    }

    async fn select_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionsRow>, StoreError> {
        self.executor
            .execute("SelectFromExecutions", |transaction| Ok(transaction.select(filter).cloned()))
            .await
    }

    async fn delete_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<u64, StoreError> {
        self.executor
            .execute("DeleteFromExecutions", |transaction| transaction.delete(filter))
            .await
    }

    async fn read_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError> {
        self.executor
            .execute("ReadLockExecutions", |transaction| Ok(lock_executions(transaction, filter)))
            .await
    }

    async fn write_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError> {
        self.executor
            .execute("WriteLockExecutions", |transaction| Ok(lock_executions(transaction, filter)))
            .await
    }

    async fn insert_into_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError> {
        let row = CurrentKey::ready(self.executor.store(), row)?;
        self.executor
            .execute("InsertIntoCurrentExecutions", |transaction| transaction.insert(&row))
            .await
    }

    async fn update_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError> {
        let row = CurrentKey::ready(self.executor.store(), row)?;
        self.executor
            .execute("UpdateCurrentExecutions", |transaction| transaction.update(&row))
            .await
    }

    async fn select_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        let key = CurrentKey::of_filter(self.executor.store(), filter);
        self.executor
            .execute("SelectFromCurrentExecutions", |transaction| {
                Ok(transaction.select(&key).map(|stored| key.read(stored)))
            })
            .await
    }

    async fn delete_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
        run_id: RunId,
    ) -> Result<u64, StoreError> {
        let key = CurrentKey::of_filter(self.executor.store(), filter);
        self.executor
            .execute("DeleteFromCurrentExecutions", |transaction| {
                transaction.delete_if(&key, |current| current.run_id == run_id)
            })
            .await
    }

    async fn lock_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        let key = CurrentKey::of_filter(self.executor.store(), filter);
        self.executor
            .execute("LockCurrentExecutions", |transaction| Ok(lock_current(transaction, &key)))
            .await
    }

    async fn lock_current_executions_join_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Vec<CurrentExecutionsRow>, StoreError> {
        let key = CurrentKey::of_filter(self.executor.store(), filter);
        self.executor
            .execute("LockCurrentExecutionsJoinExecutions", |transaction| {
                Ok(lock_join(transaction, &key).into_iter().collect())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use temporal_dsql_domain::{ArchetypeId, InvalidValue};
    use temporal_dsql_ports::{CurrentExecutionsRouter, Session, Store};

    use super::*;
    use crate::{
        MemoryStore,
        testing::{begin, current, execution},
    };

    #[tokio::test]
    async fn rows_are_stored_and_read_back_whole() {
        let store = MemoryStore::new();
        let mut session = store.session();
        let execution = execution("order-1", 1);
        assert_eq!(session.insert_into_executions(&execution).await.unwrap(), 1);
        let read = session.select_from_executions(&execution.filter()).await;
        assert_eq!(read.unwrap(), Some(execution));

        for archetype_id in [ArchetypeId::WORKFLOW, ArchetypeId::ACTIVITY, ArchetypeId(7)] {
            let row = current("order-1", archetype_id, 1);
            assert_eq!(session.insert_into_current_executions(&row).await.unwrap(), 1);
            let read = session.select_from_current_executions(&row.filter()).await;
            assert_eq!(read.unwrap(), Some(row));
        }
        assert_eq!(store.engine().len(), 4, "each archetype has a row of its own");
    }

    #[tokio::test]
    async fn updates_and_deletes_return_the_number_of_affected_rows() {
        let store = MemoryStore::new();
        let mut session = store.session();
        let (execution, current) = (execution("w", 1), current("w", ArchetypeId::SCHEDULER, 1));
        for expected in [0, 1] {
            assert_eq!(session.update_executions(&execution).await.unwrap(), expected);
            assert_eq!(session.update_current_executions(&current).await.unwrap(), expected);
            if expected == 0 {
                session.insert_into_executions(&execution).await.unwrap();
                session.insert_into_current_executions(&current).await.unwrap();
            }
        }
        for expected in [1, 0] {
            let deleted = session.delete_from_executions(&execution.filter()).await;
            assert_eq!(deleted.unwrap(), expected);
            let deleted =
                session.delete_from_current_executions(&current.filter(), current.run_id).await;
            assert_eq!(deleted.unwrap(), expected);
        }
        assert!(store.engine().is_empty());
    }

    #[tokio::test]
    async fn deleting_another_run_keeps_the_row_and_causes_no_conflict() {
        let store = MemoryStore::new();
        let row = current("w", ArchetypeId::WORKFLOW, 1);
        store.session().insert_into_current_executions(&row).await.unwrap();

        let mut delete = begin(&store).await;
        let other_run = execution("w", 2).run_id;
        let deleted = delete.delete_from_current_executions(&row.filter(), other_run).await;
        assert_eq!(deleted.unwrap(), 0);
        store.session().update_current_executions(&row).await.unwrap();
        delete.commit().await.unwrap();
        assert_eq!(store.engine().len(), 1);
    }

    /// Routes every archetype as a workflow.
    struct OneTable;

    impl CurrentExecutionsRouter for OneTable {
        fn route_row(
            &self,
            _: &CurrentExecutionsRow,
        ) -> Result<CurrentExecutionsRoute, InvalidValue> {
            Ok(CurrentExecutionsRoute::CurrentExecutions)
        }

        fn route_filter(&self, _: &CurrentExecutionsFilter) -> CurrentExecutionsRoute {
            CurrentExecutionsRoute::CurrentExecutions
        }
    }

    #[tokio::test]
    async fn the_router_decides_the_table_and_the_route_the_archetype_of_rows_read() {
        let store = MemoryStore::builder().router(Arc::new(OneTable)).build();
        let mut session = store.session();
        let scheduler = current("w", ArchetypeId::SCHEDULER, 1);
        session.insert_into_current_executions(&scheduler).await.unwrap();
        session.insert_into_executions(&execution("w", 1)).await.unwrap();

        let filter = current("w", ArchetypeId::ACTIVITY, 1).filter();
        let selected = session.select_from_current_executions(&filter).await.unwrap().unwrap();
        let locked = session.lock_current_executions(&filter).await.unwrap().unwrap();
        let joined = session.lock_current_executions_join_executions(&filter).await.unwrap();
        for row in [selected, locked].iter().chain(&joined) {
            assert_eq!(row.archetype_id, ArchetypeId::WORKFLOW);
        }
        assert_eq!(joined.len(), 1);
    }

    #[tokio::test]
    async fn the_join_returns_the_last_write_version_of_the_run() {
        let store = MemoryStore::new();
        let mut session = store.session();
        let row = current("w", ArchetypeId::ACTIVITY, 1);
        let filter = row.filter();
        let join = async |session: &mut Box<dyn Session + '_>| {
            session.lock_current_executions_join_executions(&filter).await.unwrap()
        };
        assert_eq!(join(&mut session).await, []);
        session.insert_into_current_executions(&row).await.unwrap();
        session.insert_into_executions(&execution("w", 2)).await.unwrap();
        assert_eq!(join(&mut session).await, [], "the current run has no row");
        session.insert_into_executions(&execution("w", 1)).await.unwrap();
        let joined = CurrentExecutionsRow { last_write_version: 11, ..row };
        assert_eq!(join(&mut session).await, [joined]);
    }

    /// Locks a row while a concurrent transaction updates it. Returns whether the lock was refused.
    async fn lock_loses_against_update(lock: &str, updated: Table, dangling: bool) -> bool {
        let store = MemoryStore::new();
        let (run, row) = (execution("w", 1), current("w", ArchetypeId::WORKFLOW, 1));
        let mut session = store.session();
        session.insert_into_current_executions(&row).await.unwrap();
        if !dangling {
            session.insert_into_executions(&run).await.unwrap();
        }
        let mut locker = begin(&store).await;
        match lock {
            "read" => drop(locker.read_lock_executions(&run.filter()).await.unwrap()),
            "write" => drop(locker.write_lock_executions(&run.filter()).await.unwrap()),
            "current" => drop(locker.lock_current_executions(&row.filter()).await.unwrap()),
            _ => drop(locker.lock_current_executions_join_executions(&row.filter()).await.unwrap()),
        }
        if updated == Table::Executions {
            session.update_executions(&run).await.unwrap();
        } else {
            session.update_current_executions(&row).await.unwrap();
        }
        match locker.commit().await {
            Ok(()) => false,
            Err(StoreError::Conflict { op, attempts, .. }) => {
                assert_eq!((op, attempts), ("Test", 1));
                true
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn every_lock_conflicts_with_writers_of_the_locked_rows() {
        use Table::{CurrentExecutions, Executions};
        for (lock, updated, dangling, refused) in [
            ("read", Executions, false, true),
            ("read", CurrentExecutions, false, false),
            ("write", Executions, false, true),
            ("write", CurrentExecutions, false, false),
            ("current", Executions, false, false),
            ("current", CurrentExecutions, false, true),
            ("join", Executions, false, true),
            ("join", CurrentExecutions, false, true),
            ("join", CurrentExecutions, true, true),
        ] {
            let case = format!("lock {lock}, update {updated}, dangling {dangling}");
            assert_eq!(lock_loses_against_update(lock, updated, dangling).await, refused, "{case}");
        }
    }
}
