//! [`MutableState`] over any link: whole executions, in as few statements as the server takes.
//!
//! Each operation but the read has two forms, which do the same:
//!
//! | Operation | combined | separate |
//! |---|---|---|
//! | [`lock_for_write`](MutableState::lock_for_write) | 1 | shard, current execution, each run |
//! | [`write_execution`](MutableState::write_execution) | 1 | see below |
//! | [`select_mutable_state`](MutableState::select_mutable_state) | 1 | |
//! | [`delete_mutable_state`](MutableState::delete_mutable_state) | 1 | 9: maps, buffer, run |
//!
//! A separate write is one statement for the run, one for the current execution, for each map one
//! that removes and one that writes, for the buffer one that clears and one that appends, and one
//! for each task queue; parts with nothing to do have none.
//!
//! In neither form does the number depend on how many entries, events or tasks there are. Which
//! form is used is decided when the store connects ([`Forms`](crate::forms::Forms)).

mod delete;
mod lock;
pub(crate) mod probes;
mod select;
mod separate;
mod write;
#[rustfmt::skip] // Laid out by hand, like `rows/sql.rs`.
mod write_sql;

use async_trait::async_trait;
use temporal_dsql_domain::ExecutionsFilter;
use temporal_dsql_ports::{
    CurrentWrite, ExecutionWrite, Locked, Locks, MutableState, MutableStateRows, StoreError,
    Written, delete_part_by_part, lock_row_by_row,
};

use super::Rows;
use crate::{link::Link, statement::Meta};

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    lock::statements().chain([select::META, delete::META]).chain(write_sql::STATEMENTS)
}

#[async_trait]
impl<L: Link> MutableState for Rows<L> {
    async fn lock_for_write(&mut self, locks: &Locks) -> Result<Locked, StoreError> {
        let route = locks.current.as_ref().map(|filter| self.route(filter));
        // Where nothing holds a lock there is nothing to gain.
        if L::HOLDS_LOCKS
            && self.forms.locks_in_one
            && let Some(lock) = lock::statement(locks, route, self.forms.shard_guard)
        {
            return lock::decode(locks, route, &self.link.send(lock).await?.rows);
        }
        lock_row_by_row(self, locks).await
    }

    async fn write_execution(&mut self, write: &ExecutionWrite) -> Result<Written, StoreError> {
        let route = match &write.current {
            None => None,
            Some(CurrentWrite::Insert(row) | CurrentWrite::Update(row)) => {
                Some(self.link.router().route_row(row)?)
            }
        };
        if self.forms.writes_in_one {
            let statement = write::statement(write, route)?;
            return write::decode(&self.link.send(statement).await?.rows);
        }
        // All of them are made, and so all rows checked, before the first is sent.
        let mut written = Written::default();
        for (part, statement) in separate::statements(write, route)? {
            part.count(&mut written, self.affected(statement).await?);
        }
        Ok(written)
    }

    async fn select_mutable_state(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError> {
        select::decode(run, &self.link.send(select::statement(run)).await?.rows)
    }

    async fn delete_mutable_state(&mut self, run: &ExecutionsFilter) -> Result<u64, StoreError> {
        if self.forms.writes_in_one {
            return delete::decode(&self.link.send(delete::statement(run)).await?.rows);
        }
        delete_part_by_part(self, run).await
    }
}

/// Reads the one row that a combined statement answers with.
fn only_row<'r>(
    statement: &'static Meta,
    rows: &'r [sqlx::postgres::PgRow],
) -> Result<super::Columns<'r>, StoreError> {
    match rows {
        [row] => Ok(super::Columns::new(statement.table, row)),
        _ => Err(StoreError::Corrupt { table: statement.table, column: "count", source: None }),
    }
}
