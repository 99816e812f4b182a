//! The row ports over any executor: sending statements and decoding their answers.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::ShardId;
use temporal_dsql_ports::StoreError;

use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, Statement},
};

/// The row ports over an executor.
pub(crate) struct Rows<E> {
    pub(crate) executor: E,
    /// Whether an operation locks its shard FOR KEY SHARE, and not FOR UPDATE.
    pub(crate) key_share: bool,
}

impl<E: Executor> Rows<E> {
    /// Sends a statement and returns how many rows it affected.
    pub(super) async fn affected(&mut self, statement: Statement) -> Result<u64, StoreError> {
        self.executor.send(statement).await.map(|answer| answer.affected)
    }

    /// Sends a statement that returns at most one row, and decodes it.
    pub(super) async fn optional<T>(
        &mut self,
        statement: Statement,
        decode: impl FnOnce(&PgRow) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.executor.send(statement).await?.rows.first().map(decode).transpose()
    }

    /// Sends a statement that returns any number of rows, and decodes them.
    pub(super) async fn list<T>(
        &mut self,
        statement: Statement,
        decode: impl FnMut(&PgRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.executor.send(statement).await?.rows.iter().map(decode).collect()
    }
}

/// A statement of a row port: its arguments are those that its text names, and no others.
pub(super) fn exact(
    meta: &'static Meta,
    shard_id: impl Into<Option<ShardId>>,
    arguments: &Arguments<'_>,
) -> Statement {
    debug_assert_eq!(arguments.unused_by(&meta.text), [""; 0], "{} has no use for them", meta.op);
    Statement::new(meta, shard_id, arguments)
}
