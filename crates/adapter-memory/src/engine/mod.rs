//! Snapshot isolation with conflicts decided at COMMIT, as DSQL does it (aurora-dsql.md#isolation).
//!
//! The engine knows a key that is ordered and a value that can be cloned, nothing of tables,
//! limits or Temporal. All rows are in one persistent ordered map, so a snapshot is one more
//! reference to its root, however many rows there are.
//!
//! - A transaction sees the snapshot of its begin and its own writes, and nothing else, ever.
//! - No statement waits. Whether a transaction may commit is decided when it commits: every row
//!   that it touched has a [`Class`], and a commit since its begin that touched the same row with
//!   a conflicting class refuses it. The first to commit wins.
//! - Plain reads are not tracked: write skew commits, and so do phantoms
//!   (aurora-dsql.md#conflict-matrix).
//!
//! A begin costs the same whatever there is, and a commit as much as the rows that it touched.
//! What it touched is remembered once per row, and only while a transaction is open that could
//! still conflict with it. An engine with a maximum age gives up on older transactions, so that
//! one that is never ended does not make it remember for ever.
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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use class::{Class, Conflict, Refusal};
pub use transaction::{Duplicate, Lock, Transaction};

use state::State;

/// Rows of type `V` by keys of type `K`, and the transactions on them. Clones share the rows.
pub struct Engine<K, V> {
    state: Arc<Mutex<State<K, V>>>,
}

impl<K, V> Engine<K, V> {
    /// No rows, and transactions of whatever age.
    pub fn new() -> Self {
        Self::with_max_age(Duration::MAX)
    }

    /// No rows, and a transaction that is older than `max_age` need not be able to commit. Ages are
    /// told by the times that [`begin_at`](Self::begin_at) is given.
    pub fn with_max_age(max_age: Duration) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(max_age))) }
    }

    /// How many rows are committed.
    pub fn len(&self) -> usize {
        self.state().len()
    }

    /// Whether no row is committed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many transactions are open, without those that the engine has given up on.
    pub fn open_transactions(&self) -> usize {
        self.state().open_transactions()
    }

    /// How many rows are remembered because an open transaction may conflict with a commit that
    /// touched them; after commits of very many rows, some may wait to be forgotten. Zero when no
    /// transaction is open.
    pub fn remembered_rows(&self) -> usize {
        self.state().remembered_rows()
    }

    /// A panic of another holder does not matter: a commit remembers its footprint first, which
    /// alone can only refuse too much, and then changes the rows in one assignment. Whoever holds
    /// the lock keeps all others waiting, so what takes long is dropped when it is free again.
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone, V: Clone> Engine<K, V> {
    /// Opens a transaction on a snapshot of this moment. Takes the same time whatever the number
    /// of rows.
    pub fn begin(&self) -> Transaction<K, V> {
        self.begin_at(Duration::ZERO)
    }

    /// The same, at the time `now` of a clock that the engine does not know.
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
