//! Snapshot isolation with conflicts decided at COMMIT, as DSQL does it (aurora-dsql.md#isolation).
//!
//! The engine stores values by ordered keys. It has no tables and no limits. All rows are in one
//! persistent ordered map, so a snapshot is a reference to its root, whatever the number of rows.
//!
//! - A transaction sees the snapshot of its begin and its own writes.
//! - No statement waits. Conflicts are decided at COMMIT: every row that a transaction has locked or
//!   written has a [`Class`], and the COMMIT fails if another transaction that committed since its
//!   begin has a conflicting class for the same row. The first to commit wins.
//! - Plain reads are not tracked: write skew and phantoms commit (aurora-dsql.md#conflict-matrix).
//!
//! A begin takes constant time, and a commit a time that depends on its rows only. The classes of a
//! committed transaction are kept, once per row, while a transaction is open that could conflict
//! with them. An engine with a maximum age ignores older transactions, so a leaked transaction does
//! not keep them forever.
//!
//! ```
//! use temporal_dsql_memory::engine::Engine;
//!
//! let engine = Engine::new();
//! let mut deposit = engine.begin();
//! deposit.insert("balance", 100).unwrap();
//! deposit.commit().unwrap();
//!
//! let (mut one, mut other) = (engine.begin(), engine.begin());
//! assert!(one.update(&"balance", 50));
//! assert!(other.update(&"balance", 70));
//! assert!(other.commit().is_ok());
//! assert!(one.commit().is_err());
//! assert_eq!(engine.begin().get(&"balance"), Some(&70));
//! ```

mod class;
#[cfg(test)]
mod isolation_tests;
#[cfg(test)]
mod model_tests;
mod state;
mod transaction;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use class::{Class, CommitError, Conflict};
pub use transaction::{DuplicateKey, Lock, Transaction};

use state::State;

/// Rows of type `V` by keys of type `K`. Clones share the rows.
pub struct Engine<K, V> {
    state: Arc<Mutex<State<K, V>>>,
}

impl<K, V> fmt::Debug for Engine<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("rows", &self.len()).finish_non_exhaustive()
    }
}

impl<K, V> Engine<K, V> {
    /// An empty engine without a maximum age.
    pub fn new() -> Self {
        Self::with_max_age(Duration::MAX)
    }

    /// An empty engine in which a transaction that is older than `max_age` may fail to commit. Ages
    /// are measured by the times of [`begin_at`](Self::begin_at).
    pub fn with_max_age(max_age: Duration) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(max_age))) }
    }

    /// The number of committed rows.
    pub fn len(&self) -> usize {
        self.state().len()
    }

    /// Whether there are no committed rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of open transactions, without those that have reached the maximum age.
    pub fn open_transactions(&self) -> usize {
        self.state().open_transactions()
    }

    /// The number of rows whose classes are kept, because an open transaction may conflict with a
    /// commit of them. After large commits they are removed in steps. Zero if no transaction is open.
    pub fn tracked_rows(&self) -> usize {
        self.state().tracked_rows()
    }

    /// A poisoned lock is ignored: a commit first records its footprint, which alone can only cause
    /// conflicts, and then replaces the rows in one assignment. Large values are dropped after the
    /// lock is released.
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone, V: Clone> Engine<K, V> {
    /// Begins a transaction on the current snapshot, in constant time.
    pub fn begin(&self) -> Transaction<K, V> {
        self.begin_at(Duration::ZERO)
    }

    /// [`begin`](Self::begin) at the time `now` of the caller's clock.
    pub fn begin_at(&self, now: Duration) -> Transaction<K, V> {
        let (base, rows) = self.state().begin(now);
        Transaction::new(self.clone(), base, rows)
    }
}

impl<K, V> Clone for Engine<K, V> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

impl<K, V> Default for Engine<K, V> {
    fn default() -> Self {
        Self::new()
    }
}
