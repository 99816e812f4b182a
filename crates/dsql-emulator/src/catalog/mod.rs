//! What the emulator puts into its database, and how often that database's catalog has changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::CatalogConflicts;

/// The statements that make an empty database the emulator's, in one transaction.
pub(crate) const INSTALL: &str = concat!(
    "BEGIN;\n",
    include_str!("facade.sql"),
    include_str!("footprint.sql"),
    include_str!("ddl.sql"),
    include_str!("rows.sql"),
    "COMMIT;\n"
);

/// The changes of one cluster's catalog.
#[derive(Debug)]
pub(crate) struct Versions {
    state: Mutex<State>,
    conflicts: CatalogConflicts,
}

#[derive(Debug)]
struct State {
    changes: Vec<Origin>,
    /// How many sessions there have been.
    sessions: u64,
    random: fastrand::Rng,
}

/// What a session knows of the catalog. It has none before its first statement, so what happened
/// before cannot be news to it [I].
#[derive(Debug)]
pub(crate) struct Sight {
    session: u64,
    seen: usize,
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Who made it, and does not hear of it.
    session: u64,
    /// The last session that there was when it was made. The end of a job is a change that was
    /// made when the job began: later sessions have read the catalog with it [I].
    last: u64,
}

impl Versions {
    pub(crate) fn new(conflicts: CatalogConflicts, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let state = State { changes: Vec::new(), sessions: 0, random };
        Self { state: Mutex::new(state), conflicts }
    }

    /// The catalog as it is now, in the eyes of a session with its first statement.
    pub(crate) fn first_sight(&self) -> Sight {
        let mut state = self.state();
        state.sessions += 1;
        Sight { session: state.sessions, seen: state.changes.len() }
    }

    /// How many changes there have been.
    pub(crate) fn current(&self) -> usize {
        self.state().changes.len()
    }

    /// Notes a change by a session. What it returns is for the jobs that begin with it.
    pub(crate) fn change(&self, by: &Sight) -> Origin {
        let mut state = self.state();
        let origin = Origin { session: by.session, last: state.sessions };
        state.changes.push(origin);
        origin
    }

    /// Notes the end of a job.
    pub(crate) fn end_job(&self, origin: Origin) {
        self.state().changes.push(origin);
    }

    /// Brings a session up to date. Whether it is to learn that way that another one has changed
    /// the catalog.
    pub(crate) fn is_conflict(&self, sight: &mut Sight) -> bool {
        let mut state = self.state();
        let is_news =
            |origin: &Origin| origin.session != sight.session && sight.session <= origin.last;
        let by_others = state.changes[sight.seen..].iter().any(is_news);
        sight.seen = state.changes.len();
        by_others
            && match self.conflicts {
                CatalogConflicts::Off => false,
                CatalogConflicts::Always => true,
                CatalogConflicts::WithProbability(p) => state.random.f64() < p,
            }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_learns_once_of_changes_by_others_and_never_of_its_own() {
        let versions = Versions::new(CatalogConflicts::Always, 0);
        let (mut one, mut other) = (versions.first_sight(), versions.first_sight());
        versions.change(&one);
        assert!(!versions.is_conflict(&mut one));
        versions.change(&other);
        versions.change(&one);
        assert!(versions.is_conflict(&mut one));
        assert!(!versions.is_conflict(&mut one));
        assert!(versions.is_conflict(&mut other));
    }

    #[test]
    fn the_end_of_a_job_is_news_to_those_who_were_there_when_it_began() {
        let versions = Versions::new(CatalogConflicts::Always, 0);
        let (mut one, mut other) = (versions.first_sight(), versions.first_sight());
        let origin = versions.change(&one);
        assert!(versions.is_conflict(&mut other));
        let mut later = versions.first_sight();
        versions.end_job(origin);
        assert!(!versions.is_conflict(&mut one));
        assert!(versions.is_conflict(&mut other));
        assert!(!versions.is_conflict(&mut later));
    }

    #[test]
    fn it_can_be_switched_off_or_left_to_chance() {
        let conflicts = |mode| {
            let versions = Versions::new(mode, 7);
            let (one, mut other) = (versions.first_sight(), versions.first_sight());
            let mut once = || {
                versions.change(&one);
                versions.is_conflict(&mut other)
            };
            (0..1_000).filter(|_| once()).count()
        };
        assert_eq!(conflicts(CatalogConflicts::Off), 0);
        let some = conflicts(CatalogConflicts::WithProbability(0.3));
        assert!((250..350).contains(&some), "{some}");
        assert_eq!(some, conflicts(CatalogConflicts::WithProbability(0.3)), "seeded");
    }
}
