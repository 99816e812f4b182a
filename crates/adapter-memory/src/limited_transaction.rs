//! One transaction under DSQL's limits: typed statements that count rows and bytes
//! (aurora-dsql.md#limits).

use std::{
    any::Any,
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use temporal_dsql_ports::{
    Cause, StoreError,
    limits::{LimitKind, MAX_TRANSACTION_BYTES, MAX_TRANSACTION_ROWS, MAX_TRANSACTION_SECONDS},
};

use crate::{
    engine::{CommitError, DuplicateKey, Lock, Transaction},
    key::{Key, NewRow, Row},
};

/// The maximum age of a transaction at COMMIT.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(MAX_TRANSACTION_SECONDS);

/// The random number generator of a store, which its transactions share.
pub(crate) type Random = Arc<Mutex<fastrand::Rng>>;

/// A transaction and its use of the limits.
///
/// No source documents how a row counts that is written twice (aurora-dsql.md#limits). Here it counts
/// twice, the stricter rule.
pub(crate) struct LimitedTransaction {
    transaction: Transaction<Key, Row>,
    began_at: Duration,
    random: Random,
    modified_rows: u64,
    written_bytes: usize,
    is_write: bool,
}

impl LimitedTransaction {
    /// Wraps `transaction`, which began at the time `began_at`.
    pub(crate) const fn new(
        transaction: Transaction<Key, Row>,
        began_at: Duration,
        random: Random,
    ) -> Self {
        Self { transaction, began_at, random, modified_rows: 0, written_bytes: 0, is_write: false }
    }

    /// Returns random bits. A poisoned lock is ignored: any state of the generator is valid.
    pub(crate) fn random_bits(&self, bits: u32) -> i64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.i64(0..1 << bits)
    }

    /// Whether a statement was an insert, update or delete, even if it affected no row.
    pub(crate) const fn is_write(&self) -> bool {
        self.is_write
    }

    /// Reads one row.
    pub(crate) fn select<R: Any>(&self, key: &Key) -> Option<&R> {
        self.transaction.get(key).map(Row::get)
    }

    /// Reads rows in the order of their keys.
    pub(crate) fn range<R: Any>(
        &self,
        keys: &Range<Key>,
    ) -> impl DoubleEndedIterator<Item = &R> + use<'_, R> {
        self.entries(keys).map(|(_, row)| row.get())
    }

    /// Reads the rows of a range, or the first `limit` of them.
    pub(crate) fn select_range<R: Any + Clone>(
        &self,
        keys: &Range<Key>,
        limit: Option<u32>,
    ) -> Vec<R> {
        self.range(keys).take(count(limit)).cloned().collect()
    }

    /// Inserts one row. Returns 1, the number of inserted rows.
    pub(crate) fn insert(&mut self, row: &NewRow) -> Result<u64, StoreError> {
        self.is_write = true;
        self.insert_key(&row.key, &row.row)?;
        self.modified(row.bytes)
    }

    /// Inserts rows. Returns their number.
    pub(crate) fn insert_all(&mut self, rows: &[NewRow]) -> Result<u64, StoreError> {
        self.each(rows, Self::insert)
    }

    /// Inserts the rows whose keys do not exist. Returns the number of inserted rows.
    pub(crate) fn insert_absent<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a NewRow>,
    ) -> Result<u64, StoreError> {
        self.each(rows, |this, row| match this.transaction.get(&row.key) {
            Some(_) => Ok(0),
            None => this.insert(row),
        })
    }

    /// Overwrites all columns but the key of one row. Returns the number of updated rows.
    pub(crate) fn update(&mut self, row: &NewRow) -> Result<u64, StoreError> {
        self.is_write = true;
        if self.transaction.update(&row.key, row.row.clone()) {
            self.modified(row.bytes)
        } else {
            Ok(0)
        }
    }

    /// Overwrites one row if `condition` holds for it. Returns the number of updated rows.
    pub(crate) fn update_if<R: Any>(
        &mut self,
        row: &NewRow,
        condition: impl FnOnce(&R) -> bool,
    ) -> Result<u64, StoreError> {
        self.is_write = true;
        if self.select(&row.key).is_some_and(condition) { self.update(row) } else { Ok(0) }
    }

    /// Inserts rows and overwrites those whose keys exist. Returns the number of rows.
    pub(crate) fn replace_all<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a NewRow>,
    ) -> Result<u64, StoreError> {
        self.each(rows, |this, row| match this.transaction.get(&row.key) {
            Some(_) => this.update(row),
            None => this.insert(row),
        })
    }

    /// Deletes one row. Returns the number of deleted rows. Their bytes are not counted.
    pub(crate) fn delete(&mut self, key: &Key) -> Result<u64, StoreError> {
        self.is_write = true;
        if self.transaction.delete(key) { self.modified(0) } else { Ok(0) }
    }

    /// Deletes one row if `condition` holds for it. Returns the number of deleted rows.
    pub(crate) fn delete_if<R: Any>(
        &mut self,
        key: &Key,
        condition: impl FnOnce(&R) -> bool,
    ) -> Result<u64, StoreError> {
        self.is_write = true;
        if self.select(key).is_some_and(condition) { self.delete(key) } else { Ok(0) }
    }

    /// Deletes rows. Returns the number of deleted rows.
    pub(crate) fn delete_all(&mut self, keys: &[Key]) -> Result<u64, StoreError> {
        self.each(keys, Self::delete)
    }

    /// Deletes the rows of a range, or the first `limit` of them. Returns the number of deleted rows.
    pub(crate) fn delete_range(
        &mut self,
        keys: &Range<Key>,
        limit: Option<u32>,
    ) -> Result<u64, StoreError> {
        let keys = self.entries(keys).take(count(limit));
        let keys: Vec<_> = keys.map(|(key, _)| key.clone()).collect();
        self.delete_all(&keys)
    }

    /// Deletes the rows of a range whose keys are not in `kept`. Returns the number of deleted rows.
    pub(crate) fn delete_others(
        &mut self,
        keys: &Range<Key>,
        kept: &BTreeSet<Key>,
    ) -> Result<u64, StoreError> {
        let keys = self.entries(keys).map(|(key, _)| key);
        let keys: Vec<_> = keys.filter(|key| !kept.contains(*key)).cloned().collect();
        self.delete_all(&keys)
    }

    /// Adds an entry to a unique index. Its bytes are counted, but not as a modified row
    /// (aurora-dsql.md#limits).
    pub(crate) fn insert_entry(&mut self, entry: &Key) -> Result<(), StoreError> {
        self.insert_key(entry, &Row::new(()))?;
        self.written_bytes += entry.bytes();
        Ok(())
    }

    /// Removes an entry from a unique index.
    pub(crate) fn delete_entry(&mut self, entry: &Key) {
        self.transaction.delete(entry);
    }

    /// Locks and reads one row. The bytes of its key are counted, but not as a modified row
    /// (aurora-dsql.md#locks).
    pub(crate) fn lock<R: Any>(&mut self, key: &Key, lock: Lock) -> Option<&R> {
        let row = self.transaction.lock(key, lock)?;
        self.written_bytes += key.bytes();
        Some(row.get())
    }

    /// Commits at the time `now` of the clock of `began_at`.
    pub(crate) fn commit(self, op: &'static str, now: Duration) -> Result<(), StoreError> {
        let age = now.saturating_sub(self.began_at);
        let too_old = || limit(LimitKind::TransactionAge, format!("this one has lasted {age:?}"));
        if age > MAX_AGE {
            return Err(too_old());
        }
        if self.written_bytes >= MAX_TRANSACTION_BYTES {
            return Err(limit(
                LimitKind::TransactionBytes,
                format!("this one writes {} bytes", self.written_bytes),
            ));
        }
        self.transaction.commit().map_err(|refusal| match refusal {
            CommitError::Conflict(conflict) => {
                StoreError::Conflict { op, attempts: 1, source: Some(Cause::new(conflict)) }
            }
            CommitError::TooOld => too_old(),
        })
    }

    /// A writing statement with one step for each of `items`.
    fn each<I>(
        &mut self,
        items: impl IntoIterator<Item = I>,
        mut step: impl FnMut(&mut Self, I) -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        self.is_write = true;
        items.into_iter().try_fold(0, |rows, item| Ok(rows + step(self, item)?))
    }

    /// The keys and rows of a range; none if it is inverted.
    fn entries(
        &self,
        keys: &Range<Key>,
    ) -> impl DoubleEndedIterator<Item = (&Key, &Row)> + use<'_> {
        let keys = (!keys.is_empty()).then(|| keys.clone());
        keys.into_iter().flat_map(|keys| self.transaction.range(keys))
    }

    fn insert_key(&mut self, key: &Key, row: &Row) -> Result<(), StoreError> {
        self.transaction
            .insert(key.clone(), row.clone())
            .map_err(|DuplicateKey| StoreError::AlreadyExists { table: key.table(), source: None })
    }

    fn modified(&mut self, bytes: usize) -> Result<u64, StoreError> {
        if self.modified_rows == MAX_TRANSACTION_ROWS {
            return Err(limit(
                LimitKind::TransactionRows,
                format!("this one has modified {MAX_TRANSACTION_ROWS} before this statement"),
            ));
        }
        self.modified_rows += 1;
        self.written_bytes += bytes;
        Ok(1)
    }
}

/// The number of rows to process; all of them without a limit.
pub(crate) fn count(limit: Option<u32>) -> usize {
    limit.map_or(usize::MAX, |limit| limit as usize)
}

fn limit(kind: LimitKind, observed: String) -> StoreError {
    StoreError::Limit { kind, source: Some(Cause::new(observed)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use temporal_dsql_domain::{ArchetypeId, ExecutionsRow};
    use temporal_dsql_ports::{Store, limits::executions_row_size};

    use super::*;
    use crate::{
        MemoryStore,
        testing::{ManualClock, begin, current, execution},
    };

    const ROWS: u128 = MAX_TRANSACTION_ROWS as u128;

    fn exceeded(result: Result<impl Sized, StoreError>) -> LimitKind {
        match result.map(drop) {
            Err(StoreError::Limit { kind, .. }) => kind,
            other => panic!("expected a limit, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn three_thousand_rows_can_be_modified_and_the_next_statement_is_refused() {
        let store = MemoryStore::new();
        let mut exact = begin(&store).await;
        for run in 0..ROWS {
            exact.insert_into_executions(&execution("w", run)).await.unwrap();
        }
        exact.commit().await.unwrap();
        assert_eq!(store.len(), 3_000);

        let mut over = begin(&store).await;
        for run in 0..ROWS {
            over.delete_from_executions(&execution("w", run).filter()).await.unwrap();
        }
        let next = current("w", ArchetypeId::WORKFLOW, 1);
        let result = over.insert_into_current_executions(&next).await;
        assert_eq!(exceeded(result), LimitKind::TransactionRows);
        assert_eq!(exceeded(over.commit().await), LimitKind::TransactionRows);
        assert_eq!(store.len(), 3_000);
    }

    #[tokio::test]
    async fn locks_reads_and_absent_rows_are_not_modified_rows() {
        let store = MemoryStore::new();
        let (row, absent) = (execution("w", 1), execution("absent", 1));
        store.session().insert_into_executions(&row).await.unwrap();
        let mut transaction = begin(&store).await;
        for _ in 0..=ROWS {
            transaction.write_lock_executions(&row.filter()).await.unwrap().unwrap();
            transaction.select_from_executions(&row.filter()).await.unwrap().unwrap();
            assert_eq!(transaction.update_executions(&absent).await.unwrap(), 0);
            assert_eq!(transaction.delete_from_executions(&absent.filter()).await.unwrap(), 0);
        }
        transaction.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_row_that_is_modified_again_counts_again() {
        let store = MemoryStore::new();
        let row = execution("w", 1);
        let mut transaction = begin(&store).await;
        transaction.insert_into_executions(&row).await.unwrap();
        for _ in 1..ROWS {
            transaction.update_executions(&row).await.unwrap();
        }
        let result = transaction.update_executions(&row).await;
        assert_eq!(exceeded(result), LimitKind::TransactionRows);
    }

    /// Rows with `bytes` in total.
    fn rows_of(bytes: usize) -> Vec<ExecutionsRow> {
        let mut rows = Vec::new();
        let mut left = bytes;
        while left > 0 {
            let mut row = execution("w", rows.len() as u128);
            row.data.data.clear();
            let data_bytes = left - executions_row_size(&row).row;
            row.data.data = vec![0; data_bytes.min(1_000_000)];
            left -= executions_row_size(&row).row;
            rows.push(row);
        }
        rows
    }

    /// A transaction that has written `bytes`.
    async fn having_written(
        store: &MemoryStore,
        bytes: usize,
    ) -> Box<dyn temporal_dsql_ports::Transaction> {
        let mut transaction = begin(store).await;
        for row in rows_of(bytes) {
            transaction.insert_into_executions(&row).await.unwrap();
        }
        transaction
    }

    #[tokio::test]
    async fn ten_mebibytes_are_refused_at_commit() {
        let store = MemoryStore::new();
        let most = MAX_TRANSACTION_BYTES - 1;
        let over = having_written(&store, most + 1).await;
        assert_eq!(exceeded(over.commit().await), LimitKind::TransactionBytes);
        assert_eq!(store.len(), 0);
        having_written(&store, most).await.commit().await.unwrap();
        assert_ne!(store.len(), 0);
    }

    #[tokio::test]
    async fn the_keys_of_locked_rows_count_as_written_and_deleted_rows_do_not() {
        let store = MemoryStore::new();
        let old = execution("old", 1);
        store.session().insert_into_executions(&old).await.unwrap();

        let key = executions_row_size(&old).key;
        let mut lock = having_written(&store, MAX_TRANSACTION_BYTES - key).await;
        lock.write_lock_executions(&old.filter()).await.unwrap().unwrap();
        assert_eq!(exceeded(lock.commit().await), LimitKind::TransactionBytes);
        let mut lock = having_written(&store, MAX_TRANSACTION_BYTES - key - 1).await;
        lock.write_lock_executions(&old.filter()).await.unwrap().unwrap();
        lock.commit().await.unwrap();

        let store = MemoryStore::new();
        store.session().insert_into_executions(&old).await.unwrap();
        let mut delete = having_written(&store, MAX_TRANSACTION_BYTES - 1).await;
        assert_eq!(delete.delete_from_executions(&old.filter()).await.unwrap(), 1);
        delete.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_transaction_lasts_at_most_three_hundred_seconds_even_if_it_only_reads() {
        let clock = Arc::new(ManualClock::default());
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let (exact, over) = (begin(&store).await, begin(&store).await);
        let mut writer = begin(&store).await;
        clock.advance(Duration::from_secs(MAX_TRANSACTION_SECONDS));
        exact.commit().await.unwrap();
        clock.advance(Duration::from_millis(1));
        writer.insert_into_executions(&execution("w", 1)).await.unwrap();
        assert_eq!(exceeded(over.commit().await), LimitKind::TransactionAge);
        assert_eq!(exceeded(writer.commit().await), LimitKind::TransactionAge);
        assert_eq!(store.len(), 0);
        assert_eq!(store.engine().open_transactions(), 0);
    }

    #[tokio::test]
    async fn a_leaked_transaction_is_tracked_until_it_is_too_old_to_commit() {
        let clock = Arc::new(ManualClock::default());
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let leaked = begin(&store).await;
        let row = execution("w", 1);
        store.session().insert_into_executions(&row).await.unwrap();
        clock.advance(Duration::from_secs(MAX_TRANSACTION_SECONDS));
        store.session().update_executions(&row).await.unwrap();
        assert_eq!((store.engine().open_transactions(), store.engine().tracked_rows()), (1, 1));
        clock.advance(Duration::from_millis(1));
        store.session().update_executions(&row).await.unwrap();
        assert_eq!((store.engine().open_transactions(), store.engine().tracked_rows()), (0, 0));
        assert_eq!(exceeded(leaked.commit().await), LimitKind::TransactionAge);
    }
}
