//! A transaction of the engine: its view of the rows and its footprint.

use std::{collections::BTreeMap, fmt, mem, ops::RangeBounds};

use imbl::OrdMap;

use super::{Class, CommitError, Engine};

/// A row with the same key exists, in the snapshot or by a write of this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row with this key already exists")]
pub struct DuplicateKey;

/// The locking clauses of DSQL (aurora-dsql.md#locks). A lock never waits; it is checked at COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// `FOR UPDATE`: conflicts with every lock and write of the row.
    ForUpdate,
    /// `FOR KEY SHARE`: conflicts with an insert, a delete and `FOR UPDATE` of the row.
    ForKeyShare,
}

impl Lock {
    const fn class(self) -> Class {
        match self {
            Self::ForUpdate => Class::Key,
            Self::ForKeyShare => Class::KeyShare,
        }
    }
}

/// A transaction on an [`Engine`]. Dropping it rolls it back.
///
/// A statement that affects no row adds nothing to the footprint
/// (aurora-dsql.md#conflict-matrix).
pub struct Transaction<K: Ord + Clone, V: Clone> {
    engine: Engine<K, V>,
    /// The version of the snapshot.
    base: u64,
    /// The snapshot with this transaction's writes.
    rows: OrdMap<K, V>,
    footprint: BTreeMap<K, Class>,
    closed: bool,
}

impl<K: Ord + Clone, V: Clone> fmt::Debug for Transaction<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("base", &self.base)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl<K: Ord + Clone, V: Clone> Transaction<K, V> {
    pub(super) const fn new(engine: Engine<K, V>, base: u64, rows: OrdMap<K, V>) -> Self {
        Self { engine, base, rows, footprint: BTreeMap::new(), closed: false }
    }

    /// Reads one row.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// Reads the rows of a range in the order of their keys.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range::<_, K>(range)
    }

    /// Inserts one row.
    ///
    /// # Errors
    /// [`DuplicateKey`] if the transaction sees a row with the key. If the row was committed since its
    /// begin, the insert succeeds and the COMMIT fails.
    pub fn insert(&mut self, key: K, value: V) -> Result<(), DuplicateKey> {
        if self.rows.contains_key(&key) {
            return Err(DuplicateKey);
        }
        self.record(&key, Class::Key);
        self.rows.insert(key, value);
        Ok(())
    }

    /// Overwrites one row; `false` if there is none.
    pub fn update(&mut self, key: &K, value: V) -> bool {
        let Some(row) = self.rows.get_mut(key) else {
            return false;
        };
        *row = value;
        self.record(key, Class::NonKey);
        true
    }

    /// Deletes one row; `false` if there is none.
    pub fn delete(&mut self, key: &K) -> bool {
        let found = self.rows.remove(key).is_some();
        if found {
            self.record(key, Class::Key);
        }
        found
    }

    /// Reads one row and locks it, if there is one.
    pub fn lock(&mut self, key: &K, lock: Lock) -> Option<&V> {
        if self.rows.contains_key(key) {
            self.record(key, lock.class());
        }
        self.rows.get(key)
    }

    /// Makes the writes visible to every transaction that begins afterwards.
    ///
    /// # Errors
    /// [`CommitError`] if another transaction with a conflict has committed first, or this one is too old;
    /// nothing is applied.
    pub fn commit(mut self) -> Result<(), CommitError<K>> {
        self.closed = true;
        let footprint = mem::take(&mut self.footprint);
        let (result, garbage) = self.engine.state().commit(self.base, &self.rows, footprint);
        drop(garbage);
        result
    }

    fn record(&mut self, key: &K, class: Class) {
        self.footprint.entry(key.clone()).and_modify(|own| *own = class.max(*own)).or_insert(class);
    }
}

impl<K: Ord + Clone, V: Clone> Drop for Transaction<K, V> {
    fn drop(&mut self) {
        if !self.closed {
            let garbage = self.engine.state().close(self.base);
            drop(garbage);
        }
    }
}
