//! The SQL objects that the emulator installs in its database, and the versions of that database's
//! catalog.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{CatalogConflicts, rules::SETTABLE};

/// The statements that install the emulator's objects in an empty database, in one transaction.
pub(crate) fn install() -> String {
    let sql = concat!(
        "BEGIN;\n",
        include_str!("system.sql"),
        include_str!("footprint.sql"),
        include_str!("ddl.sql"),
        include_str!("rows.sql"),
        "COMMIT;\n"
    );
    sql.replace("{settable}", &SETTABLE.join(","))
}

/// The catalog changes of one cluster, and which session has seen which.
#[derive(Debug)]
pub(crate) struct CatalogVersions {
    state: Mutex<State>,
    conflicts: CatalogConflicts,
}

#[derive(Debug)]
struct State {
    changes: Vec<Change>,
    /// How many sessions have been opened.
    sessions: u64,
    random: fastrand::Rng,
}

/// A committed change of the catalog.
#[derive(Debug)]
struct Change {
    origin: Origin,
    at: Instant,
}

/// What a session has seen of the catalog. It is created at the session's first statement: earlier
/// changes do not concern the session [I].
#[derive(Debug)]
pub(crate) struct SessionCatalog {
    session: u64,
    seen: usize,
    /// Whether the transaction has run a statement that can use the catalog.
    is_used: bool,
}

/// The origin of a catalog change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The session that made it, which does not get a conflict.
    session: u64,
    /// The newest session when the change was made. The end of a job counts as a change from when
    /// the job began: later sessions have read the catalog with it [I].
    last: u64,
}

impl CatalogVersions {
    pub(crate) fn new(conflicts: CatalogConflicts, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let state = State { changes: Vec::new(), sessions: 0, random };
        Self { state: Mutex::new(state), conflicts }
    }

    /// Registers a session, at its first statement.
    pub(crate) fn open_session(&self) -> SessionCatalog {
        let mut state = self.state();
        state.sessions += 1;
        SessionCatalog { session: state.sessions, seen: state.changes.len(), is_used: false }
    }

    /// The number of changes so far.
    pub(crate) fn current(&self) -> usize {
        self.state().changes.len()
    }

    /// Records a change by a session. The origin is passed to the jobs that belong to the change.
    pub(crate) fn record_change(&self, by: &SessionCatalog) -> Origin {
        let mut state = self.state();
        let origin = Origin { session: by.session, last: state.sessions };
        state.changes.push(Change { origin, at: Instant::now() });
        origin
    }

    /// Records the end of a job as a change.
    pub(crate) fn record_job_end(&self, origin: Origin) {
        self.state().changes.push(Change { origin, at: Instant::now() });
    }

    /// Begins a transaction, which has not used the catalog yet.
    pub(crate) fn begin(session_catalog: &mut SessionCatalog) {
        session_catalog.is_used = false;
    }

    /// Records that a statement uses the catalog; returns whether it fails because another session
    /// has changed it.
    pub(crate) fn use_catalog(&self, session_catalog: &mut SessionCatalog) -> bool {
        session_catalog.is_used = true;
        self.is_conflict(session_catalog)
    }

    /// Marks all changes as seen, if the transaction has used the catalog; returns whether the
    /// session gets a conflict because of a change by another one.
    pub(crate) fn is_conflict(&self, session_catalog: &mut SessionCatalog) -> bool {
        self.is_conflict_at(session_catalog, Instant::now())
    }

    fn is_conflict_at(&self, session_catalog: &mut SessionCatalog, now: Instant) -> bool {
        if !session_catalog.is_used {
            return false;
        }
        let mut state = self.state();
        let unseen = state.changes[session_catalog.seen..].iter().rev().find(|change| {
            let origin = change.origin;
            origin.session != session_catalog.session && session_catalog.session <= origin.last
        });
        let latest = unseen.map(|change| change.at);
        session_catalog.seen = state.changes.len();
        latest.is_some_and(|at| match self.conflicts {
            CatalogConflicts::Off => false,
            CatalogConflicts::Within(window) => now.saturating_duration_since(at) < window,
            CatalogConflicts::Always => true,
            CatalogConflicts::WithProbability(p) => state.random.f64() < p,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_gets_one_conflict_for_changes_by_others_and_none_for_its_own() {
        let versions = CatalogVersions::new(CatalogConflicts::Always, 0);
        let (mut one, mut other) = (versions.open_session(), versions.open_session());
        versions.record_change(&one);
        assert!(!versions.use_catalog(&mut one));
        versions.record_change(&other);
        versions.record_change(&one);
        assert!(versions.use_catalog(&mut one));
        assert!(!versions.use_catalog(&mut one));
        assert!(versions.use_catalog(&mut other));
    }

    #[test]
    fn the_end_of_a_job_is_a_change_for_sessions_older_than_the_job() {
        let versions = CatalogVersions::new(CatalogConflicts::Always, 0);
        let (mut one, mut other) = (versions.open_session(), versions.open_session());
        let origin = versions.record_change(&one);
        assert!(versions.use_catalog(&mut other));
        let mut later = versions.open_session();
        versions.record_job_end(origin);
        assert!(!versions.use_catalog(&mut one));
        assert!(versions.use_catalog(&mut other));
        assert!(!versions.use_catalog(&mut later));
    }

    #[test]
    fn within_a_window_only_recent_changes_conflict() {
        let window = Duration::from_secs(60);
        let versions = CatalogVersions::new(CatalogConflicts::Within(window), 0);
        let (one, mut other) = (versions.open_session(), versions.open_session());
        let before = Instant::now();
        versions.record_change(&one);
        let after = Instant::now();
        other.is_used = true;
        assert!(!versions.is_conflict_at(&mut other, after + window));
        // A change that is older than the window is not reported later either.
        assert!(!versions.is_conflict_at(&mut other, before));
        versions.record_change(&one);
        assert!(versions.is_conflict_at(&mut other, before + window / 2));
        assert!(!versions.is_conflict_at(&mut other, before + window / 2));
    }

    #[test]
    fn a_transaction_that_has_not_used_the_catalog_gets_no_conflict() {
        let versions = CatalogVersions::new(CatalogConflicts::Always, 0);
        let (one, mut other) = (versions.open_session(), versions.open_session());
        assert!(!versions.use_catalog(&mut other));
        CatalogVersions::begin(&mut other);
        versions.record_change(&one);
        assert!(!versions.is_conflict(&mut other));
        assert!(versions.use_catalog(&mut other));
    }

    #[test]
    fn conflicts_can_be_off_or_random() {
        let conflicts = |mode| {
            let versions = CatalogVersions::new(mode, 7);
            let (one, mut other) = (versions.open_session(), versions.open_session());
            let mut once = || {
                versions.record_change(&one);
                versions.use_catalog(&mut other)
            };
            (0..1_000).filter(|_| once()).count()
        };
        assert_eq!(conflicts(CatalogConflicts::Off), 0);
        let some = conflicts(CatalogConflicts::WithProbability(0.3));
        assert!((250..350).contains(&some), "{some}");
        assert_eq!(some, conflicts(CatalogConflicts::WithProbability(0.3)), "seeded");
    }
}
