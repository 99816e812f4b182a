//! The row port of `executions`, `current_executions` and `current_chasm_executions`.

use async_trait::async_trait;
use temporal_dsql_domain::{
    CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionVersion, ExecutionsFilter,
    ExecutionsRow, RunId,
};

use crate::StoreError;

/// The operations of Temporal's `sqlplugin.HistoryExecution` (temporal-persistence.md#executions),
/// one method each.
///
/// # Rules of every method
/// - A write returns the number of affected rows. Updating or deleting an absent row is `0`, not an
///   error.
/// - A read or lock of an absent row is `None`.
/// - Inserting an existing key is [`StoreError::AlreadyExists`].
/// - The current-execution methods use the table of the archetype
///   ([`CurrentExecutionsRouter`](crate::CurrentExecutionsRouter)).
/// - After an error inside a transaction, the transaction can only be rolled back.
///
/// The locking methods lock inside a transaction only; on an autocommit session they read.
#[async_trait]
pub trait HistoryExecution: Send {
    /// Inserts one row into `executions`.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`], [`StoreError::Limit`], and those of the connection.
    async fn insert_into_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError>;

    /// Overwrites all columns but the key of one row of `executions`, unconditionally.
    ///
    /// # Errors
    /// [`StoreError::Limit`], and those of the connection.
    async fn update_executions(&mut self, row: &ExecutionsRow) -> Result<u64, StoreError>;

    /// Reads one row of `executions`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], and those of the connection.
    async fn select_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionsRow>, StoreError>;

    /// Deletes one row of `executions`.
    ///
    /// # Errors
    /// Those of the connection.
    async fn delete_from_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<u64, StoreError>;

    /// Locks one row of `executions` against writers and returns its versions.
    ///
    /// DSQL has no `FOR SHARE`, and its `FOR KEY SHARE` does not conflict with an update of
    /// non-key columns (aurora-dsql.md#conflict-matrix, aurora-dsql.md#locks). So this is the same
    /// lock as [`write_lock_executions`](Self::write_lock_executions).
    ///
    /// # Errors
    /// Those of the connection.
    async fn read_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError>;

    /// Locks one row of `executions` and returns its versions.
    ///
    /// # Errors
    /// Those of the connection.
    async fn write_lock_executions(
        &mut self,
        filter: &ExecutionsFilter,
    ) -> Result<Option<ExecutionVersion>, StoreError>;

    /// Inserts one current execution.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the id has a current execution in this archetype;
    /// [`StoreError::InvalidArgument`] if the archetype is unspecified; [`StoreError::Limit`];
    /// and those of the connection.
    async fn insert_into_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError>;

    /// Overwrites all columns but the key of one current execution, whatever its run is.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] if the archetype is unspecified; [`StoreError::Limit`];
    /// and those of the connection.
    async fn update_current_executions(
        &mut self,
        row: &CurrentExecutionsRow,
    ) -> Result<u64, StoreError>;

    /// Reads one current execution.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], and those of the connection.
    async fn select_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError>;

    /// Deletes one current execution if its run is `run_id`.
    ///
    /// # Errors
    /// Those of the connection.
    async fn delete_from_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
        run_id: RunId,
    ) -> Result<u64, StoreError>;

    /// Locks and reads one current execution.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], and those of the connection.
    async fn lock_current_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Option<CurrentExecutionsRow>, StoreError>;

    /// Locks and reads one current execution together with the `executions` row of its run: in a
    /// transaction by two statements if the adapter locks one row after the other.
    ///
    /// The returned row's `last_write_version` is the one of `executions`
    /// (temporal-persistence.md#executions). The list has one row, or none if either row is absent.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], and those of the connection.
    async fn lock_current_executions_join_executions(
        &mut self,
        filter: &CurrentExecutionsFilter,
    ) -> Result<Vec<CurrentExecutionsRow>, StoreError>;
}
