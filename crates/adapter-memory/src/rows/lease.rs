//! Rows with a range id, which is the lease of their owner: shards and task queues.

use std::any::Any;

use temporal_dsql_domain::{ShardsRow, TaskQueuesRow};
use temporal_dsql_ports::StoreError;

use crate::{
    engine::Lock,
    key::{Key, NewRow},
    limited_transaction::LimitedTransaction,
};

/// A row whose range id is the lease of its owner.
pub(super) trait Leased: Any {
    /// The range id.
    fn range_id(&self) -> i64;
}

impl Leased for ShardsRow {
    fn range_id(&self) -> i64 {
        self.range_id
    }
}

impl Leased for TaskQueuesRow {
    fn range_id(&self) -> i64 {
        self.range_id
    }
}

/// Locks a row and reads its range id.
pub(super) fn lock<R: Leased>(
    transaction: &mut LimitedTransaction,
    key: &Key,
    lock: Lock,
) -> Option<i64> {
    transaction.lock(key, lock).map(R::range_id)
}

/// Overwrites a row, if its range id is the `expected` one.
pub(super) fn update<R: Leased>(
    transaction: &mut LimitedTransaction,
    row: &NewRow,
    expected: Option<i64>,
) -> Result<u64, StoreError> {
    let holds = |stored: &R| expected.is_none_or(|expected| stored.range_id() == expected);
    transaction.update_if(row, holds)
}
