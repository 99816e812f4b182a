//! The log of commits, which detects conflicts.
//!
//! Commits that changed or locked rows are numbered. At COMMIT a transaction loses if an entry of
//! its footprint belongs to a commit that its snapshot does not contain, in a class that conflicts
//! with its own. The earliest committer wins (aurora-dsql.md#conflicts).
//!
//! A commit is logged before COMMIT is sent to PostgreSQL: as soon as PostgreSQL has committed,
//! other sessions can read its rows and must detect that their snapshots are stale. Until the
//! answer to COMMIT arrives, the commit is *pending*. Snapshots are taken while commits are pending,
//! so the number of a commit does not say whether a snapshot contains it: PostgreSQL's transaction
//! ids do.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::footprint::{Classes, Entry, Footprint};

/// From this number of entries on, those that no open snapshot can conflict with are removed.
const MIN_SWEEP: usize = 4_096;

/// The commits of one database.
#[derive(Debug, Default)]
pub(crate) struct CommitLog {
    /// Read-locked by commits that send only COMMIT, which do not wait for each other. Write-locked
    /// by a commit that writes rows back first: two of those could wait for each other's row locks.
    alone: RwLock<()>,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last commit that was logged.
    last: u64,
    /// The numbers of commits that PostgreSQL has not answered.
    pending: BTreeSet<u64>,
    /// The transaction ids of commits that an open snapshot may not contain. `None`: the commit
    /// wrote no row.
    xids: BTreeMap<u64, Option<u64>>,
    /// The commits of each entry that an open snapshot may not contain, in order.
    entries: HashMap<Entry, Vec<(u64, Classes)>>,
    /// Up to which commit each open snapshot certainly contains all, and how many there are.
    open_snapshots: BTreeMap<u64, usize>,
    sweep_at: usize,
}

/// The snapshot of a transaction. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Snapshot {
    commit_log: Arc<CommitLog>,
    /// All commits up to this number are in the snapshot.
    complete_to: u64,
    /// PostgreSQL's snapshot, which decides about later commits. None of them is in it before it is
    /// known.
    visible: Option<VisibleXids>,
}

/// A snapshot of PostgreSQL, as `pg_current_snapshot()` prints it: `xmin:xmax:xid,…`.
#[derive(Debug)]
struct VisibleXids {
    /// Transactions from this id on are not in the snapshot.
    end: u64,
    /// Nor are these.
    running: Vec<u64>,
}

/// Why a commit was not logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotLogged {
    /// It conflicts in this entry.
    Conflict(Entry),
    /// It conflicts with this commit, which is pending and may still fail.
    Pending(u64),
}

/// A commit that is pending. It counts as committed when this value is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct LoggedCommit {
    commit_log: Arc<CommitLog>,
    number: u64,
}

/// The right to commit.
#[derive(Debug)]
pub(crate) enum CommitGuard<'a> {
    /// Other transactions commit at the same time.
    Shared { _guard: RwLockReadGuard<'a, ()> },
    /// No other transaction commits.
    Alone { _guard: RwLockWriteGuard<'a, ()> },
}

impl CommitLog {
    /// Registers a snapshot, before PostgreSQL takes it.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let mut state = self.state();
        let complete_to = state.complete_to();
        *state.open_snapshots.entry(complete_to).or_default() += 1;
        Snapshot { commit_log: self.clone(), complete_to, visible: None }
    }

    /// Waits for the right to commit, `alone` or not.
    pub(crate) async fn lock_commit(&self, alone: bool) -> CommitGuard<'_> {
        if alone {
            CommitGuard::Alone { _guard: self.alone.write().await }
        } else {
            CommitGuard::Shared { _guard: self.alone.read().await }
        }
    }

    /// The entry of `footprint` that conflicts with a commit outside of `snapshot`, if there is one.
    pub(crate) fn conflict(&self, snapshot: &Snapshot, footprint: &Footprint) -> Option<Entry> {
        self.state().conflicts(snapshot, footprint).next().map(|(entry, _)| entry.clone())
    }

    /// Logs the commit of `footprint` by the transaction `xid` of PostgreSQL, before COMMIT is sent,
    /// unless it conflicts. The entries of a footprint that is logged are taken.
    pub(crate) fn append(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        footprint: &mut Footprint,
        xid: Option<u64>,
        _guard: &CommitGuard<'_>,
    ) -> Result<LoggedCommit, NotLogged> {
        let mut state = self.state();
        let mut pending = None;
        for (entry, number) in state.conflicts(snapshot, footprint) {
            if !state.pending.contains(&number) {
                return Err(NotLogged::Conflict(entry.clone()));
            }
            pending = Some(number);
        }
        if let Some(number) = pending {
            return Err(NotLogged::Pending(number));
        }
        state.forget();
        state.last += 1;
        let (number, oldest) = (state.last, state.oldest());
        state.pending.insert(number);
        state.xids.insert(number, xid);
        for (entry, classes) in std::mem::take(footprint).into_entries() {
            let commits = state.entries.entry(entry).or_default();
            commits.drain(..commits.partition_point(|(number, _)| *number <= oldest));
            commits.push((number, classes));
        }
        Ok(LoggedCommit { commit_log: self.clone(), number })
    }

    /// Waits until a commit is not pending any more.
    pub(crate) async fn settled(&self, number: u64) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if !self.state().pending.contains(&number) {
                return;
            }
            settled.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Up to this number, no commit is pending.
    fn complete_to(&self) -> u64 {
        self.pending.first().map_or(self.last, |first| first - 1)
    }

    /// Up to this number, all snapshots contain all commits.
    fn oldest(&self) -> u64 {
        let complete_to = self.complete_to();
        self.open_snapshots.keys().next().map_or(complete_to, |open| complete_to.min(*open))
    }

    /// The entries of `footprint` that conflict with a commit outside of `snapshot`, with the number
    /// of that commit.
    fn conflicts<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        footprint: &'a Footprint,
    ) -> impl Iterator<Item = (&'a Entry, u64)> {
        footprint.entries().flat_map(move |(entry, own)| {
            let commits = self.entries.get(entry).map_or(&[][..], Vec::as_slice);
            let lost =
                commits.iter().rev().take_while(|(number, _)| *number > snapshot.complete_to);
            lost.filter(move |(number, classes)| {
                own.conflict_with(*classes) && !self.is_visible(*number, snapshot)
            })
            .map(move |(number, _)| (entry, *number))
        })
    }

    fn is_visible(&self, number: u64, snapshot: &Snapshot) -> bool {
        let xid = self.xids.get(&number).copied().flatten();
        let visible = snapshot.visible.as_ref();
        number <= snapshot.complete_to
            || xid.zip(visible).is_some_and(|(xid, visible)| visible.contains(xid))
    }

    /// Removes what no open snapshot can conflict with.
    fn forget(&mut self) {
        let oldest = self.oldest();
        while let Some(first) = self.xids.first_entry().filter(|first| *first.key() <= oldest) {
            first.remove();
        }
        if self.entries.len() < self.sweep_at.max(MIN_SWEEP) {
            return;
        }
        self.entries.retain(|_, commits| commits.last().is_some_and(|(last, _)| *last > oldest));
        self.sweep_at = self.entries.len() * 2;
        self.entries.shrink_to(self.sweep_at.max(MIN_SWEEP));
    }
}

impl LoggedCommit {
    /// Removes the commit, which PostgreSQL has refused.
    pub(crate) fn retract(self) {
        let mut state = self.commit_log.state();
        state.xids.remove(&self.number);
        state.entries.retain(|_, commits| {
            commits.retain(|(number, _)| *number != self.number);
            !commits.is_empty()
        });
    }
}

impl Drop for LoggedCommit {
    fn drop(&mut self) {
        self.commit_log.state().pending.remove(&self.number);
        self.commit_log.settled.notify_waiters();
    }
}

impl Snapshot {
    /// Completes it with PostgreSQL's snapshot, the text of `pg_current_snapshot()`. A text of
    /// another form is ignored, so that conflicts are reported that would not have to be.
    pub(crate) fn complete(&mut self, text: &str) {
        self.visible = VisibleXids::read(text);
    }

    /// Whether another transaction has committed since, or is about to: its rows may be visible
    /// already.
    pub(crate) fn is_stale(&self) -> bool {
        let state = self.commit_log.state();
        let mut later = state.xids.range(self.complete_to + 1..);
        later.any(|(number, _)| !state.is_visible(*number, self))
    }
}

impl VisibleXids {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (_start, end, running) = (parts.next()?, parts.next()?, parts.next()?);
        let running = running.split(',').filter(|xid| !xid.is_empty());
        Some(Self {
            end: end.parse().ok()?,
            running: running.map(str::parse).collect::<Result<_, _>>().ok()?,
        })
    }

    /// Whether a transaction that has committed is in the snapshot.
    fn contains(&self, xid: u64) -> bool {
        xid < self.end && !self.running.contains(&xid)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut state = self.commit_log.state();
        if let Some(count) = state.open_snapshots.get_mut(&self.complete_to) {
            *count -= 1;
            if *count == 0 {
                state.open_snapshots.remove(&self.complete_to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::footprint::Class, *};

    fn touching(key: &str, class: Class) -> Footprint {
        let mut footprint = Footprint::default();
        footprint.add(1, key, class);
        footprint
    }

    /// Logs a commit with a new snapshot.
    async fn log(commit_log: &Arc<CommitLog>, mut footprint: Footprint, xid: u64) -> LoggedCommit {
        let guard = commit_log.lock_commit(false).await;
        let snapshot = commit_log.snapshot();
        commit_log.append(&snapshot, &mut footprint, Some(xid), &guard).unwrap()
    }

    async fn commit(commit_log: &Arc<CommitLog>, footprint: Footprint) {
        drop(log(commit_log, footprint, 1_000).await);
    }

    /// The result of a commit with `snapshot`.
    async fn try_commit(
        commit_log: &Arc<CommitLog>,
        snapshot: &Snapshot,
        mut footprint: Footprint,
    ) -> Result<(), NotLogged> {
        let guard = commit_log.lock_commit(false).await;
        commit_log.append(snapshot, &mut footprint, None, &guard).map(drop)
    }

    #[tokio::test]
    async fn the_later_committer_loses_if_the_classes_conflict() {
        for one in Class::ALL {
            for other in Class::ALL {
                let commit_log = Arc::new(CommitLog::default());
                let snapshot = commit_log.snapshot();
                commit(&commit_log, touching("a", one)).await;
                let lost = commit_log.conflict(&snapshot, &touching("a", other)).is_some();
                assert_eq!(lost, one.conflicts_with(other), "{one:?} then {other:?}");
                assert!(commit_log.conflict(&snapshot, &touching("b", other)).is_none());
            }
        }
    }

    #[tokio::test]
    async fn a_commit_before_the_snapshot_is_no_conflict() {
        let commit_log = Arc::new(CommitLog::default());
        commit(&commit_log, touching("a", Class::Key)).await;
        let snapshot = commit_log.snapshot();
        assert!(commit_log.conflict(&snapshot, &touching("a", Class::Key)).is_none());
        assert!(!snapshot.is_stale());
        commit(&commit_log, touching("b", Class::Key)).await;
        assert!(snapshot.is_stale());
    }

    #[tokio::test]
    async fn postgresqls_snapshot_decides_about_commits_that_were_pending_when_it_was_taken() {
        let commit_log = Arc::new(CommitLog::default());
        let pending = [
            log(&commit_log, touching("before", Class::Key), 8).await,
            log(&commit_log, touching("running", Class::Key), 7).await,
            log(&commit_log, touching("after", Class::Key), 10).await,
        ];
        let mut snapshot = commit_log.snapshot();
        drop(pending);
        // As long as PostgreSQL's snapshot is unknown, it contains none of them.
        for key in ["before", "running", "after"] {
            assert!(commit_log.conflict(&snapshot, &touching(key, Class::Key)).is_some(), "{key}");
        }
        snapshot.complete("7:10:7");
        for (key, lost) in [("before", false), ("running", true), ("after", true)] {
            let found = commit_log.conflict(&snapshot, &touching(key, Class::Key));
            assert_eq!(found.is_some(), lost, "{key}");
        }
        assert!(snapshot.is_stale());
        snapshot.complete("11:11:");
        assert!(!snapshot.is_stale());
    }

    #[tokio::test]
    async fn a_visible_commit_does_not_hide_an_invisible_one_of_the_same_entry() {
        let commit_log = Arc::new(CommitLog::default());
        let pending = [
            log(&commit_log, touching("parent", Class::Share), 7).await,
            log(&commit_log, touching("parent", Class::Share), 8).await,
        ];
        let mut snapshot = commit_log.snapshot();
        snapshot.complete("7:9:7");
        drop(pending);
        assert!(commit_log.conflict(&snapshot, &touching("parent", Class::Key)).is_some());
    }

    #[tokio::test]
    async fn a_commit_waits_for_the_result_of_a_pending_one_that_it_conflicts_with() {
        for is_refused in [false, true] {
            let commit_log = Arc::new(CommitLog::default());
            let snapshot = commit_log.snapshot();
            let pending = log(&commit_log, touching("a", Class::NonKey), 7).await;
            let own = || touching("a", Class::Key);
            let number = match try_commit(&commit_log, &snapshot, own()).await {
                Err(NotLogged::Pending(number)) => number,
                other => panic!("{other:?}"),
            };
            try_commit(&commit_log, &snapshot, touching("b", Class::Key)).await.unwrap();
            let settled = commit_log.settled(number);
            tokio::pin!(settled);
            let soon = std::time::Duration::from_millis(10);
            assert!(tokio::time::timeout(soon, &mut settled).await.is_err());
            if is_refused {
                pending.retract();
            } else {
                drop(pending);
            }
            settled.await;
            let result = try_commit(&commit_log, &snapshot, own()).await;
            assert_eq!(result.is_ok(), is_refused, "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_refused_commit_leaves_others_of_the_same_entry() {
        let commit_log = Arc::new(CommitLog::default());
        let snapshot = commit_log.snapshot();
        let refused = log(&commit_log, touching("a", Class::Share), 7).await;
        commit(&commit_log, touching("a", Class::NonKey)).await;
        refused.retract();
        assert!(commit_log.conflict(&snapshot, &touching("a", Class::Share)).is_none());
        assert!(commit_log.conflict(&snapshot, &touching("a", Class::NonKey)).is_some());
    }

    #[tokio::test]
    async fn entries_are_removed_when_no_snapshot_can_conflict_with_them() {
        let commit_log = Arc::new(CommitLog::default());
        let snapshot = commit_log.snapshot();
        for number in 0..MIN_SWEEP + 10 {
            commit(&commit_log, touching(&number.to_string(), Class::Key)).await;
        }
        assert!(commit_log.conflict(&snapshot, &touching("0", Class::Key)).is_some());
        drop(snapshot);
        for number in 0..2 * MIN_SWEEP {
            commit(&commit_log, touching(&format!("x{number}"), Class::Key)).await;
            commit(&commit_log, touching("hot", Class::Share)).await;
        }
        let state = commit_log.state();
        assert!(state.entries.len() < 2 * MIN_SWEEP);
        assert!(state.entries.capacity() < 4 * MIN_SWEEP);
        assert!(state.xids.len() < 10 && state.pending.is_empty());
        assert!(state.entries.values().all(|commits| commits.len() == 1));
        assert!(state.open_snapshots.is_empty());
    }

    #[tokio::test]
    async fn a_commit_that_writes_rows_back_is_alone() {
        let commit_log = Arc::new(CommitLog::default());
        let soon = std::time::Duration::from_millis(10);
        let shared = [commit_log.lock_commit(false).await, commit_log.lock_commit(false).await];
        assert!(tokio::time::timeout(soon, commit_log.lock_commit(true)).await.is_err());
        drop(shared);
        let _alone = commit_log.lock_commit(true).await;
        assert!(tokio::time::timeout(soon, commit_log.lock_commit(false)).await.is_err());
    }
}
