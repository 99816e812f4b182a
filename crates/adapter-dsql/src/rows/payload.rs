//! The size of a statement with many rows, checked before it is sent.

use std::collections::BTreeMap;

use temporal_dsql_domain::{DataBlob, Table};
use temporal_dsql_ports::{
    Cause, StoreError,
    limits::{LimitKind, MAX_TRANSACTION_BYTES, check_row},
};

/// Adds up the sizes of the rows of one statement and refuses those beyond DSQL's limits.
///
/// The statement has a limit, too: on a message of more than 10 MiB, DSQL closes the connection
/// without an error (aurora-dsql.md#limits). The outcome of a write would then be unknown.
pub(super) struct Payload {
    bytes: usize,
    limit: usize,
}

impl Default for Payload {
    fn default() -> Self {
        Self { bytes: 0, limit: MAX_TRANSACTION_BYTES }
    }
}

impl Payload {
    /// One that [`finish`](Self::finish) compares with the limit, so that a row that exceeds a limit of
    /// its own is reported first, wherever it is among the others.
    pub(super) const fn whole() -> Self {
        Self { bytes: 0, limit: usize::MAX }
    }

    /// Refuses all rows together.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        Self { limit: MAX_TRANSACTION_BYTES, ..self }.add(0)
    }

    /// Adds a row: its key, and its values by the names of their columns.
    pub(super) fn row(
        &mut self,
        table: Table,
        key_bytes: usize,
        values: &[(&'static str, usize)],
    ) -> Result<(), StoreError> {
        check_row(table, key_bytes, values)?;
        self.add(key_bytes + values.iter().map(|(_, bytes)| bytes).sum::<usize>())
    }

    /// Adds a row with one blob.
    pub(super) fn blob(
        &mut self,
        table: Table,
        key_bytes: usize,
        blob: &DataBlob,
    ) -> Result<(), StoreError> {
        self.row(table, key_bytes, &[("data", blob.data.len())])
    }

    /// Adds bytes of a row that was checked elsewhere.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.bytes += bytes;
        if self.bytes < self.limit {
            return Ok(());
        }
        Err(StoreError::Limit {
            kind: LimitKind::TransactionBytes,
            source: Some(Cause::new(format!(
                "the rows of one statement have {} bytes or more",
                self.bytes
            ))),
        })
    }
}

/// The last of the rows with each key, in the order of the keys: a statement may not write a row
/// twice.
pub(super) fn last_of_each_key<R, K: Ord>(
    rows: impl IntoIterator<Item = R>,
    key: impl Fn(&R) -> K,
) -> Vec<R> {
    let by_key: BTreeMap<K, R> = rows.into_iter().map(|row| (key(&row), row)).collect();
    by_key.into_values().collect()
}

/// One column of many rows, as the array that is bound.
pub(super) fn column<'a, R: 'a, T>(
    rows: impl IntoIterator<Item = &'a R>,
    value: impl FnMut(&'a R) -> T,
) -> Vec<T> {
    rows.into_iter().map(value).collect()
}
