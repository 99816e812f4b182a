//! Who has committed what since when: the judge of conflicts.
//!
//! One number counts the commits that changed or locked rows. A transaction remembers the number
//! at its BEGIN, and at COMMIT loses if an entry of its footprint was committed under a later
//! number in a class that conflicts with its own. The earliest committer wins
//! (aurora-dsql.md#conflicts).
//!
//! A commit is entered before PostgreSQL is asked for it: as soon as PostgreSQL has done it, other
//! sessions meet its rows, and have to know that they are overtaken.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::footprint::{Class, Entry, Footprint};

/// From this many entries on, those that nobody can conflict with any more are forgotten.
const MIN_SWEEP: usize = 4_096;

/// The commits of one database.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Snapshots are taken while no commit is under way: read by BEGIN, written by COMMIT.
    order: RwLock<()>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// The number of the last commit that was entered.
    last: u64,
    /// When each entry was last committed, by class.
    entries: HashMap<Entry, [u64; 3]>,
    /// Numbers at which transactions have begun that are still open, and how many.
    open: BTreeMap<u64, usize>,
    sweep_at: usize,
}

/// A transaction that has begun. Dropped with it.
#[derive(Debug)]
pub(crate) struct Begun {
    ledger: Arc<Ledger>,
    at: u64,
}

/// A commit that was entered, and what the entries were before.
#[derive(Debug)]
pub(crate) struct Entered {
    before: Vec<(Entry, [u64; 3])>,
}

/// While it lives, nobody begins and nobody else commits.
#[derive(Debug)]
pub(crate) struct CommitTurn<'a> {
    _guard: RwLockWriteGuard<'a, ()>,
}

impl Ledger {
    /// Waits until no commit is under way and keeps it so. The snapshot is taken under this.
    pub(crate) async fn begin_turn(&self) -> RwLockReadGuard<'_, ()> {
        self.order.read().await
    }

    /// Registers a transaction whose snapshot is taken. Belongs under [`begin_turn`](Self::begin_turn).
    pub(crate) fn begin(self: &Arc<Self>) -> Begun {
        let mut book = self.book();
        let at = book.last;
        *book.open.entry(at).or_default() += 1;
        Begun { ledger: self.clone(), at }
    }

    /// Waits for the right to commit.
    pub(crate) async fn commit_turn(&self) -> CommitTurn<'_> {
        CommitTurn { _guard: self.order.write().await }
    }

    /// The entry that makes a transaction lose.
    pub(crate) fn conflict(&self, begun: &Begun, footprint: &Footprint) -> Option<Entry> {
        let book = self.book();
        let lost = |(entry, classes): &(&Entry, super::footprint::Classes)| {
            book.entries.get(*entry).is_some_and(|committed| {
                classes.iter().any(|own| {
                    Class::ALL
                        .iter()
                        .zip(committed)
                        .any(|(other, number)| *number > begun.at && own.conflicts_with(*other))
                })
            })
        };
        footprint.entries().find(lost).map(|(entry, _)| entry.clone())
    }

    /// Enters a commit that PostgreSQL is about to be asked for.
    pub(crate) fn enter(&self, footprint: &Footprint, _turn: &CommitTurn<'_>) -> Entered {
        let mut book = self.book();
        book.sweep();
        book.last += 1;
        let number = book.last;
        let mut before = Vec::new();
        for (entry, classes) in footprint.entries() {
            let committed = book.entries.entry(entry.clone()).or_default();
            before.push((entry.clone(), *committed));
            for (class, at) in Class::ALL.into_iter().zip(committed) {
                if classes.iter().any(|own| own == class) {
                    *at = number;
                }
            }
        }
        Entered { before }
    }

    /// Takes back a commit that PostgreSQL has refused.
    pub(crate) fn retract(&self, entered: Entered, _turn: &CommitTurn<'_>) {
        self.book().entries.extend(entered.before);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn sweep(&mut self) {
        if self.entries.len() < self.sweep_at.max(MIN_SWEEP) {
            return;
        }
        let oldest = self.open.keys().next().copied().unwrap_or(self.last);
        self.entries.retain(|_, committed| committed.iter().any(|number| *number > oldest));
        self.sweep_at = self.entries.len() * 2;
    }
}

impl Begun {
    /// Whether anything was committed since, or is about to be: what it wrote may be met already.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.ledger.book().last > self.at
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        if let Some(count) = book.open.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                book.open.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touching(key: &str, class: Class) -> Footprint {
        let mut footprint = Footprint::default();
        footprint.add(1, key, class);
        footprint
    }

    async fn commit(ledger: &Ledger, footprint: &Footprint) {
        let turn = ledger.commit_turn().await;
        ledger.enter(footprint, &turn);
    }

    #[tokio::test]
    async fn the_later_committer_loses_if_the_classes_conflict() {
        for one in Class::ALL {
            for other in Class::ALL {
                let ledger = Arc::new(Ledger::default());
                let begun = ledger.begin();
                commit(&ledger, &touching("a", one)).await;
                let lost = ledger.conflict(&begun, &touching("a", other)).is_some();
                assert_eq!(lost, one.conflicts_with(other), "{one:?} then {other:?}");
                assert!(ledger.conflict(&begun, &touching("b", other)).is_none());
            }
        }
    }

    #[tokio::test]
    async fn what_was_committed_before_the_begin_is_no_conflict() {
        let ledger = Arc::new(Ledger::default());
        commit(&ledger, &touching("a", Class::Key)).await;
        let begun = ledger.begin();
        assert!(ledger.conflict(&begun, &touching("a", Class::Key)).is_none());
        assert!(!begun.is_overtaken());
        commit(&ledger, &touching("b", Class::Key)).await;
        assert!(begun.is_overtaken());
    }

    #[tokio::test]
    async fn a_commit_that_was_refused_is_none() {
        let ledger = Arc::new(Ledger::default());
        commit(&ledger, &touching("a", Class::NonKey)).await;
        let begun = ledger.begin();
        let turn = ledger.commit_turn().await;
        let entered = ledger.enter(&touching("a", Class::Key), &turn);
        assert!(begun.is_overtaken());
        assert!(ledger.conflict(&begun, &touching("a", Class::Share)).is_some());
        ledger.retract(entered, &turn);
        assert!(ledger.conflict(&begun, &touching("a", Class::Share)).is_none());
    }

    #[tokio::test]
    async fn an_older_commit_of_the_same_entry_in_another_class_is_not_forgotten() {
        let ledger = Arc::new(Ledger::default());
        let begun = ledger.begin();
        commit(&ledger, &touching("a", Class::NonKey)).await;
        commit(&ledger, &touching("a", Class::Share)).await;
        assert!(ledger.conflict(&begun, &touching("a", Class::NonKey)).is_some());
    }

    #[tokio::test]
    async fn entries_are_forgotten_when_nobody_can_conflict_with_them() {
        let ledger = Arc::new(Ledger::default());
        let begun = ledger.begin();
        for number in 0..MIN_SWEEP + 10 {
            commit(&ledger, &touching(&number.to_string(), Class::Key)).await;
        }
        assert!(ledger.conflict(&begun, &touching("0", Class::Key)).is_some());
        drop(begun);
        for number in 0..2 * MIN_SWEEP {
            commit(&ledger, &touching(&format!("x{number}"), Class::Key)).await;
        }
        assert!(ledger.book().entries.len() < 2 * MIN_SWEEP);
        assert!(ledger.book().open.is_empty());
    }

    #[tokio::test]
    async fn a_begin_waits_for_a_commit_under_way() {
        let ledger = Arc::new(Ledger::default());
        let turn = ledger.commit_turn().await;
        let begin = ledger.begin_turn();
        tokio::pin!(begin);
        let soon = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, &mut begin).await.is_err());
        drop(turn);
        drop(tokio::time::timeout(soon, begin).await.unwrap());
    }
}
