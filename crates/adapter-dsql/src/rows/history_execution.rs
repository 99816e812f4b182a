//! [`HistoryExecution`] over an executor: the statement of each method.

use async_trait::async_trait;
use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionVersion, ExecutionsFilter,
    ExecutionsRow, RunId,
};
use temporal_dsql_ports::{CurrentExecutionsRoute, HistoryExecution, StoreError};

use super::{
    current_executions as current,
    executions::{self, by_key},
    session::Rows,
};
use crate::executor::Executor;

impl<E: Executor> Rows<E> {
    pub(super) fn route(&self, filter: &CurrentExecutionsFilter) -> CurrentExecutionsRoute {
        self.executor.router().route_filter(filter)
    }
}

#[async_trait]
impl<E: Executor> HistoryExecution for Rows<E> {
    async fn insert_into_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError> {
        self.affected(executions::of_row(&executions::INSERT, row)?).await
    }

    async fn update_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError> {
        self.affected(executions::of_row(&executions::UPDATE, row)?).await
    }

    async fn select_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionsRow>, StoreError> {
        self.optional(by_key(&executions::SELECT, filter), executions::decode).await
    }

    async fn delete_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<u64, StoreError> {
        self.affected(by_key(&executions::DELETE, filter)).await
    }

    async fn read_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError> {
        let lock = executions::lock(&executions::READ_LOCK, filter, E::HOLDS_LOCKS);
        self.optional(lock, executions::decode_locked).await
    }

    async fn write_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError> {
        let lock = executions::lock(&executions::WRITE_LOCK, filter, E::HOLDS_LOCKS);
        self.optional(lock, executions::decode_locked).await
    }

    async fn insert_into_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError> {
        let route = self.executor.router().route_row(row)?;
        self.affected(current::of_row(&current::INSERT, route, row)?).await
    }

    async fn update_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError> {
        let route = self.executor.router().route_row(row)?;
        self.affected(current::of_row(&current::UPDATE, route, row)?).await
    }

    async fn select_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        let route = self.route(filter);
        let select = current::by_key(&current::SELECT, route, filter);
        self.optional(select, |row| current::decode(route, row)).await
    }

    async fn delete_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
        run_id: RunId,
    ) -> Result<u64, StoreError> {
        let route = self.route(filter);
        self.affected(current::delete(route, filter, run_id)).await
    }

    async fn lock_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        let route = self.route(filter);
        let operation = if E::HOLDS_LOCKS { &current::LOCK } else { &current::SELECT };
        let lock = current::by_key(operation, route, filter);
        self.optional(lock, |row| current::decode(route, row)).await
    }

    /// Locks both rows, one after the other: a `FOR UPDATE` over a join is refused by releases of
    /// DSQL before August 2026 (aurora-dsql.md#locks). Where no lock is held, one plain join
    /// is sent.
    async fn lock_current_executions_join_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Vec<CurrentExecutionsRow>, StoreError> {
        let route = self.route(filter);
        let decode = |row: &_| current::decode(route, row);
        if !E::HOLDS_LOCKS {
            let select = current::by_key(&current::SELECT_JOIN, route, filter);
            let joined = self.optional(select, decode).await?;
            return Ok(joined.into_iter().collect());
        }
        let lock = current::by_key(&current::LOCK, route, filter);
        let Some(mut row) = self.optional(lock, decode).await? else {
            return Ok(Vec::new());
        };
        let lock = by_key(&executions::WRITE_LOCK.locking, &row.executions_filter());
        let Some(locked) = self.optional(lock, executions::decode_locked).await? else {
            return Ok(Vec::new());
        };
        row.last_write_version = locked.last_write_version;
        Ok(vec![row])
    }
}
