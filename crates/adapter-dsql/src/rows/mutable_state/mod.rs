//! Write sets and whole executions, in as few statements as the server accepts.
//!
//! | | one statement | a statement per table |
//! |---|---|---|
//! | a write set | [`apply`]: one autocommit statement | [`per_table`], inside a transaction |
//! | the read of a whole run | one statement | one statement |
//!
//! The number of statements does not depend on the number of entries, events or tasks. The write
//! configuration is detected ([`Capabilities`](crate::capabilities::Capabilities)).

pub(crate) mod apply;
mod arguments;
mod decode;
#[cfg(test)]
mod guard_tests;
pub(super) mod per_table;
mod select;

use async_trait::async_trait;
use temporal_dsql_domain::ExecutionsFilter;
use temporal_dsql_ports::{
    MutableState, MutableStateRows, Observed, RowCounts, StoreError, WriteSet,
};

use super::{executions::by_key, session::Rows};
use crate::{executor::Executor, statement::Meta};

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&apply::APPLY, &apply::DELETE, &select::META, &per_table::OBSERVE].into_iter()
}

#[async_trait]
impl<E: Executor> MutableState for Rows<E> {
    async fn observe(&mut self, set: &WriteSet<'_>) -> Result<Observed, StoreError> {
        per_table::observe(self, set).await
    }

    async fn write(
        &mut self,
        set: &WriteSet<'_>,
        observed: &Observed,
    ) -> Result<RowCounts, StoreError> {
        per_table::write(self, set, observed).await
    }

    async fn select_mutable_state(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError> {
        select::decode(run, &self.executor.send(by_key(&select::META, run)).await?.rows)
    }
}
