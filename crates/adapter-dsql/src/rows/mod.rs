//! The row ports in SQL.
//!
//! One module per table family holds its constant statements beside the functions that bind and
//! decode them; those are pure. The implementation of a port says which statement is sent when.

// First, because its macros are in scope from here on.
#[macro_use]
#[rustfmt::skip]
mod sql;

mod buffered_events;
mod current_executions;
mod decode;
mod execution_maps;
mod executions;
#[cfg(test)]
mod golden_tests;
mod history_execution;
mod history_node;
mod history_nodes;
mod history_tasks;
mod history_tree;
mod immediate_tasks;
mod maps;
pub(crate) mod mutable_state;
mod payload;
mod scheduled_tasks;
pub(crate) mod schema_version;
pub(crate) mod shards;

use sqlx::postgres::PgRow;
use temporal_dsql_ports::StoreError;

use self::decode::Columns;
use crate::{
    forms::Forms,
    link::Link,
    statement::{Meta, Statement},
};

/// The row ports over a link.
pub(crate) struct Rows<L> {
    pub(crate) link: L,
    pub(crate) forms: Forms,
}

impl<L: Link> Rows<L> {
    /// Sends a statement and returns how many rows it affected.
    async fn affected(&mut self, statement: Statement) -> Result<u64, StoreError> {
        self.link.send(statement).await.map(|answer| answer.affected)
    }

    /// Sends a statement that returns at most one row, and decodes it.
    async fn optional<T>(
        &mut self,
        statement: Statement,
        decode: impl FnOnce(&PgRow) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.link.send(statement).await?.rows.first().map(decode).transpose()
    }

    /// Sends a statement that returns any number of rows, and decodes them.
    async fn list<T>(
        &mut self,
        statement: Statement,
        decode: impl FnMut(&PgRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.link.send(statement).await?.rows.iter().map(decode).collect()
    }
}

/// Every statement that a store sends, but BEGIN, COMMIT and ROLLBACK.
pub(crate) fn statements() -> impl Iterator<Item = &'static Meta> {
    executions::STATEMENTS
        .into_iter()
        .chain(current_executions::statements())
        .chain(maps::statements())
        .chain(buffered_events::STATEMENTS)
        .chain(immediate_tasks::statements())
        .chain(scheduled_tasks::statements())
        .chain(history_node::STATEMENTS)
        .chain(history_tree::STATEMENTS)
        .chain(shards::STATEMENTS)
        .chain(mutable_state::statements())
        .chain(schema_version::STATEMENTS)
}
