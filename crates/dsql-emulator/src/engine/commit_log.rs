//! The log of commits, which detects conflicts.
//!
//! Commits that changed or locked rows are numbered. A transaction keeps the number of the last
//! commit at its BEGIN. At COMMIT it loses if an entry of its footprint was committed under a later
//! number in a class that conflicts with its own. The earliest committer wins
//! (aurora-dsql.md#conflicts).
//!
//! A commit is logged before COMMIT is sent to PostgreSQL: as soon as PostgreSQL has committed,
//! other sessions can read its rows and must detect that their snapshots are stale.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::footprint::{Class, Entry, Footprint};

/// From this number of entries on, those that no open snapshot can conflict with are removed.
const MIN_SWEEP: usize = 4_096;

/// The commits of one database.
#[derive(Debug, Default)]
pub(crate) struct CommitLog {
    /// Serialises commits, and keeps snapshots from being taken during one: read-locked by BEGIN,
    /// write-locked by COMMIT.
    commit_order: RwLock<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last commit that was logged.
    last: u64,
    /// The number of the last commit of each entry, by class.
    entries: HashMap<Entry, [u64; 3]>,
    /// The numbers of open snapshots, and how many have each.
    open_snapshots: BTreeMap<u64, usize>,
    sweep_at: usize,
}

/// The position of a transaction's snapshot in the log. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Snapshot {
    commit_log: Arc<CommitLog>,
    at: u64,
}

/// A logged commit, with the previous values of its entries.
#[derive(Debug)]
pub(crate) struct LoggedCommit {
    before: Vec<(Entry, [u64; 3])>,
}

/// The right to commit. While it exists, no snapshot is taken and no other transaction commits.
#[derive(Debug)]
pub(crate) struct CommitGuard<'a> {
    _guard: RwLockWriteGuard<'a, ()>,
}

impl CommitLog {
    /// Waits until no commit is in progress, and blocks commits until the guard is dropped. The
    /// snapshot is taken under this guard.
    pub(crate) async fn lock_snapshot(&self) -> RwLockReadGuard<'_, ()> {
        self.commit_order.read().await
    }

    /// Registers a snapshot that PostgreSQL has just taken, under the guard of
    /// [`lock_snapshot`](Self::lock_snapshot).
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let mut state = self.state();
        let at = state.last;
        *state.open_snapshots.entry(at).or_default() += 1;
        Snapshot { commit_log: self.clone(), at }
    }

    /// Waits for the right to commit.
    pub(crate) async fn lock_commit(&self) -> CommitGuard<'_> {
        CommitGuard { _guard: self.commit_order.write().await }
    }

    /// The entry of `footprint` that conflicts with a commit after `snapshot`, if there is one.
    pub(crate) fn conflict(&self, snapshot: &Snapshot, footprint: &Footprint) -> Option<Entry> {
        let state = self.state();
        let lost = |(entry, classes): &(&Entry, super::footprint::Classes)| {
            state.entries.get(*entry).is_some_and(|committed| {
                classes.iter().any(|own| {
                    Class::ALL
                        .iter()
                        .zip(committed)
                        .any(|(other, number)| *number > snapshot.at && own.conflicts_with(*other))
                })
            })
        };
        footprint.entries().find(lost).map(|(entry, _)| entry.clone())
    }

    /// Logs a commit, before COMMIT is sent to PostgreSQL.
    pub(crate) fn append(&self, footprint: &Footprint, _guard: &CommitGuard<'_>) -> LoggedCommit {
        let mut state = self.state();
        state.sweep();
        state.last += 1;
        let number = state.last;
        let mut before = Vec::new();
        for (entry, classes) in footprint.entries() {
            let committed = state.entries.entry(entry.clone()).or_default();
            before.push((entry.clone(), *committed));
            for (class, at) in Class::ALL.into_iter().zip(committed) {
                if classes.iter().any(|own| own == class) {
                    *at = number;
                }
            }
        }
        LoggedCommit { before }
    }

    /// Removes a commit that PostgreSQL has refused.
    pub(crate) fn retract(&self, logged: LoggedCommit, _guard: &CommitGuard<'_>) {
        self.state().entries.extend(logged.before);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sweep(&mut self) {
        if self.entries.len() < self.sweep_at.max(MIN_SWEEP) {
            return;
        }
        let oldest = self.open_snapshots.keys().next().copied().unwrap_or(self.last);
        self.entries.retain(|_, committed| committed.iter().any(|number| *number > oldest));
        self.sweep_at = self.entries.len() * 2;
    }
}

impl Snapshot {
    /// Whether another transaction has committed since, or is about to: its rows may be visible
    /// already.
    pub(crate) fn is_stale(&self) -> bool {
        self.commit_log.state().last > self.at
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut state = self.commit_log.state();
        if let Some(count) = state.open_snapshots.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                state.open_snapshots.remove(&self.at);
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

    async fn commit(commit_log: &CommitLog, footprint: &Footprint) {
        let guard = commit_log.lock_commit().await;
        commit_log.append(footprint, &guard);
    }

    #[tokio::test]
    async fn the_later_committer_loses_if_the_classes_conflict() {
        for one in Class::ALL {
            for other in Class::ALL {
                let commit_log = Arc::new(CommitLog::default());
                let snapshot = commit_log.snapshot();
                commit(&commit_log, &touching("a", one)).await;
                let lost = commit_log.conflict(&snapshot, &touching("a", other)).is_some();
                assert_eq!(lost, one.conflicts_with(other), "{one:?} then {other:?}");
                assert!(commit_log.conflict(&snapshot, &touching("b", other)).is_none());
            }
        }
    }

    #[tokio::test]
    async fn a_commit_before_the_snapshot_is_no_conflict() {
        let commit_log = Arc::new(CommitLog::default());
        commit(&commit_log, &touching("a", Class::Key)).await;
        let snapshot = commit_log.snapshot();
        assert!(commit_log.conflict(&snapshot, &touching("a", Class::Key)).is_none());
        assert!(!snapshot.is_stale());
        commit(&commit_log, &touching("b", Class::Key)).await;
        assert!(snapshot.is_stale());
    }

    #[tokio::test]
    async fn a_refused_commit_is_removed_from_the_log() {
        let commit_log = Arc::new(CommitLog::default());
        commit(&commit_log, &touching("a", Class::NonKey)).await;
        let snapshot = commit_log.snapshot();
        let guard = commit_log.lock_commit().await;
        let logged = commit_log.append(&touching("a", Class::Key), &guard);
        assert!(snapshot.is_stale());
        assert!(commit_log.conflict(&snapshot, &touching("a", Class::Share)).is_some());
        commit_log.retract(logged, &guard);
        assert!(commit_log.conflict(&snapshot, &touching("a", Class::Share)).is_none());
    }

    #[tokio::test]
    async fn an_older_commit_of_the_same_entry_in_another_class_is_kept() {
        let commit_log = Arc::new(CommitLog::default());
        let snapshot = commit_log.snapshot();
        commit(&commit_log, &touching("a", Class::NonKey)).await;
        commit(&commit_log, &touching("a", Class::Share)).await;
        assert!(commit_log.conflict(&snapshot, &touching("a", Class::NonKey)).is_some());
    }

    #[tokio::test]
    async fn entries_are_removed_when_no_snapshot_can_conflict_with_them() {
        let commit_log = Arc::new(CommitLog::default());
        let snapshot = commit_log.snapshot();
        for number in 0..MIN_SWEEP + 10 {
            commit(&commit_log, &touching(&number.to_string(), Class::Key)).await;
        }
        assert!(commit_log.conflict(&snapshot, &touching("0", Class::Key)).is_some());
        drop(snapshot);
        for number in 0..2 * MIN_SWEEP {
            commit(&commit_log, &touching(&format!("x{number}"), Class::Key)).await;
        }
        assert!(commit_log.state().entries.len() < 2 * MIN_SWEEP);
        assert!(commit_log.state().open_snapshots.is_empty());
    }

    #[tokio::test]
    async fn a_snapshot_waits_for_a_commit_in_progress() {
        let commit_log = Arc::new(CommitLog::default());
        let guard = commit_log.lock_commit().await;
        let snapshot = commit_log.lock_snapshot();
        tokio::pin!(snapshot);
        let soon = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, &mut snapshot).await.is_err());
        drop(guard);
        drop(tokio::time::timeout(soon, snapshot).await.unwrap());
    }
}
