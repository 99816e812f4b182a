//! [`HistoryExecution`] over an executor: the statement of each method.

use async_trait::async_trait;
use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionVersion, ExecutionsFilter,
    ExecutionsRow, RunId,
};
use temporal_dsql_ports::{CurrentExecutionsRoute, HistoryExecution, StoreError};

use super::{
    current_executions as current,
    executions::{self, Lock},
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
        self.affected(executions::insert(row)?).await
    }

    async fn update_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError> {
        self.affected(executions::update(row)?).await
    }

    async fn select_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionsRow>, StoreError> {
        self.optional(executions::select(filter), executions::decode).await
    }

    async fn delete_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<u64, StoreError> {
        self.affected(executions::delete(filter)).await
    }

    async fn read_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError> {
        let lock = executions::lock(filter, Lock::Read, E::HOLDS_LOCKS);
        self.optional(lock, executions::decode_locked).await
    }

    async fn write_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError> {
        let lock = executions::lock(filter, Lock::Write, E::HOLDS_LOCKS);
        self.optional(lock, executions::decode_locked).await
    }

    async fn insert_into_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError> {
        let route = self.executor.router().route_row(row)?;
        self.affected(current::insert(route, row)?).await
    }

    async fn update_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError> {
        let route = self.executor.router().route_row(row)?;
        self.affected(current::update(route, row)?).await
    }

    async fn select_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError> {
        let route = self.route(filter);
        self.optional(current::select(route, filter), |row| current::decode(route, row)).await
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
        let statement = if E::HOLDS_LOCKS { current::lock } else { current::select };
        self.optional(statement(route, filter), |row| current::decode(route, row)).await
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
            let joined = self.optional(current::select_join(route, filter), decode).await?;
            return Ok(joined.into_iter().collect());
        }
        let Some(mut row) = self.optional(current::lock(route, filter), decode).await? else {
            return Ok(Vec::new());
        };
        let lock = executions::lock(&row.executions_filter(), Lock::Write, true);
        let Some(locked) = self.optional(lock, executions::decode_locked).await? else {
            return Ok(Vec::new());
        };
        row.last_write_version = locked.last_write_version;
        Ok(vec![row])
    }
}
