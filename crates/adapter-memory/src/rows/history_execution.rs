//! `executions`, `current_executions` and `current_chasm_executions`: their keys, and the statements of
//! Temporal's `HistoryExecution` (temporal-persistence.md#executions).

use async_trait::async_trait;
use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionVersion, ExecutionsFilter,
    ExecutionsRow, RunId, Table,
};
use temporal_dsql_ports::{CurrentExecutionsRoute, HistoryExecution, StoreError};

use crate::{
    MemoryStore,
    connection::{Connection, Execute},
    engine::Lock,
    key::{Column, Key, NewRow},
    limited_transaction::LimitedTransaction,
};

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

/// The row to write, checked against the limits.
pub(crate) fn executions_row(row: &ExecutionsRow) -> Result<NewRow, StoreError> {
    let values = [("data", row.data.data.len()), ("state", row.state.data.len())];
    Ok(NewRow::new(run_key(Table::Executions, &row.filter()), row, &values)?)
}

pub(super) fn select_execution(
    transaction: &LimitedTransaction,
    run: &ExecutionsFilter,
) -> Option<ExecutionsRow> {
    transaction.select(&run_key(Table::Executions, run)).cloned()
}

pub(super) fn lock_execution(
    transaction: &mut LimitedTransaction,
    run: &ExecutionsFilter,
) -> Option<ExecutionVersion> {
    let key = run_key(Table::Executions, run);
    transaction.lock(&key, Lock::ForUpdate).map(ExecutionsRow::version)
}

/// The key of a current execution in the table of its route.
pub(super) struct CurrentKey {
    key: Key,
    archetype_id: ArchetypeId,
}

impl CurrentKey {
    fn new(route: CurrentExecutionsRoute, filter: &CurrentExecutionsFilter) -> Self {
        let key = Key::new(
            route.table(),
            [
                Column::Integer(filter.shard_id.0),
                Column::Uuid(filter.namespace_id.0),
                Column::text(&filter.workflow_id),
            ],
        );
        let archetype_id = route.archetype_id();
        let key = match route {
            CurrentExecutionsRoute::CurrentExecutions => key,
            CurrentExecutionsRoute::CurrentChasmExecutions { .. } => {
                key.with([Column::BigInt(archetype_id.0.into())])
            }
        };
        Self { key, archetype_id }
    }

    pub(super) fn of_filter(store: &MemoryStore, filter: &CurrentExecutionsFilter) -> Self {
        Self::new(store.router().route_filter(filter), filter)
    }

    /// The row as it is read: its archetype is the one of its route
    /// (requirements.md#req-5-3).
    fn read(&self, stored: &CurrentExecutionsRow) -> CurrentExecutionsRow {
        CurrentExecutionsRow { archetype_id: self.archetype_id, ..stored.clone() }
    }

    pub(super) fn lock(
        &self,
        transaction: &mut LimitedTransaction,
    ) -> Option<CurrentExecutionsRow> {
        transaction.lock(&self.key, Lock::ForUpdate).map(|stored| self.read(stored))
    }

    /// Two locks, as on DSQL. A current execution without its run is also locked, although the result
    /// is empty.
    fn lock_join(&self, transaction: &mut LimitedTransaction) -> Option<CurrentExecutionsRow> {
        let current = self.lock(transaction)?;
        let run = lock_execution(transaction, &current.executions_filter())?;
        Some(CurrentExecutionsRow { last_write_version: run.last_write_version, ..current })
    }
}

/// The row to write, checked against the limits of its table.
pub(super) fn current_row(
    store: &MemoryStore,
    row: &CurrentExecutionsRow,
) -> Result<NewRow, StoreError> {
    let CurrentKey { key, .. } = CurrentKey::new(store.router().route_row(row)?, &row.filter());
    let data = row.data.as_ref().map_or(0, Vec::len);
    let values = [("create_request_id", row.create_request_id.len()), ("data", data)];
    Ok(NewRow::new(key, row, &values)?)
}

#[async_trait]
impl<E: Execute> HistoryExecution for Connection<E> {
    async fn insert_into_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError> {
        let row = executions_row(row)?;
        self.execute("InsertIntoExecutions", |transaction| transaction.insert(&row)).await
    }

    async fn update_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError> {
        let row = executions_row(row)?;
        self.execute("UpdateExecutions", |transaction| transaction.update(&row)).await
    }

    async fn select_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionsRow>, StoreError> {
        self.execute("SelectFromExecutions", |transaction| {
            Ok(select_execution(transaction, filter))
        })
        .await
    }

    async fn delete_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<u64, StoreError> {
        let key = run_key(Table::Executions, filter);
        self.execute("DeleteFromExecutions", |transaction| transaction.delete(&key)).await
    }

    async fn read_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError> {
        self.execute("ReadLockExecutions", |transaction| Ok(lock_execution(transaction, filter)))
            .await
    }

    async fn write_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError> {
        self.execute("WriteLockExecutions", |transaction| Ok(lock_execution(transaction, filter)))
            .await
    }

    async fn insert_into_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError> {
        let row = current_row(self.store(), row)?;
        self.execute("InsertIntoCurrentExecutions", |transaction| transaction.insert(&row)).await
    }

    async fn update_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError> {
        let row = current_row(self.store(), row)?;
        self.execute("UpdateCurrentExecutions", |transaction| transaction.update(&row)).await
    }

    async fn select_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        let current = CurrentKey::of_filter(self.store(), filter);
        self.execute("SelectFromCurrentExecutions", |transaction| {
            Ok(transaction.select(&current.key).map(|stored| current.read(stored)))
        })
        .await
    }

    async fn delete_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
        run_id: RunId,
    ) -> Result<u64, StoreError> {
        let CurrentKey { key, .. } = CurrentKey::of_filter(self.store(), filter);
        self.execute("DeleteFromCurrentExecutions", |transaction| {
            transaction.delete_if(&key, |row: &CurrentExecutionsRow| row.run_id == run_id)
        })
        .await
    }

    async fn lock_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        let current = CurrentKey::of_filter(self.store(), filter);
        self.execute("LockCurrentExecutions", |transaction| Ok(current.lock(transaction))).await
    }

    async fn lock_current_executions_join_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Vec<CurrentExecutionsRow>, StoreError> {
        let current = CurrentKey::of_filter(self.store(), filter);
        self.execute("LockCurrentExecutionsJoinExecutions", |transaction| {
            Ok(current.lock_join(transaction).into_iter().collect())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use temporal_dsql_domain::{ArchetypeId, InvalidValue};
    use temporal_dsql_ports::{CurrentExecutionsRouter, Session, Store, Transaction};

    use super::*;
    use crate::{
        MemoryStore,
        testing::{begin, conflict, current, execution},
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
        assert_eq!(store.len(), 4, "each archetype has a row of its own");
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
        assert_eq!(store.len(), 0);
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
        assert_eq!(store.len(), 1);
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
        let update = async |transaction: &mut dyn Transaction| {
            if updated == Table::Executions {
                transaction.update_executions(&run).await.unwrap();
            } else {
                transaction.update_current_executions(&row).await.unwrap();
            }
        };
        let (run_key, row_key) = (run.filter(), row.filter());
        let lock = async |transaction: &mut dyn Transaction| match lock {
            "read" => drop(transaction.read_lock_executions(&run_key).await.unwrap()),
            "write" => drop(transaction.write_lock_executions(&run_key).await.unwrap()),
            "current" => drop(transaction.lock_current_executions(&row_key).await.unwrap()),
            _ => drop(transaction.lock_current_executions_join_executions(&row_key).await.unwrap()),
        };
        conflict(&store, update, lock).await
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
