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
    /// Who made each change; `None` is the cluster itself.
    changes: Vec<Option<u64>>,
    random: fastrand::Rng,
}

impl Versions {
    pub(crate) fn new(conflicts: CatalogConflicts, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { state: Mutex::new(State { changes: Vec::new(), random }), conflicts }
    }

    /// How many changes there have been.
    pub(crate) fn current(&self) -> usize {
        self.state().changes.len()
    }

    /// Notes a change by a session, or by the cluster itself.
    pub(crate) fn change(&self, by: Option<u64>) {
        self.state().changes.push(by);
    }

    /// Brings a session that has `seen` so many changes up to date. Whether it is to learn that
    /// way that another one has changed the catalog.
    pub(crate) fn is_conflict(&self, session: u64, seen: &mut usize) -> bool {
        let mut state = self.state();
        let by_others = state.changes[*seen..].iter().any(|by| *by != Some(session));
        *seen = state.changes.len();
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
        let mut seen = versions.current();
        versions.change(Some(1));
        assert!(!versions.is_conflict(1, &mut seen));
        versions.change(Some(2));
        versions.change(None);
        assert!(versions.is_conflict(1, &mut seen));
        assert!(!versions.is_conflict(1, &mut seen));
    }

    #[test]
    fn it_can_be_switched_off_or_left_to_chance() {
        let conflicts = |mode| {
            let versions = Versions::new(mode, 7);
            let mut seen = 0;
            let once = |versions: &Versions, seen: &mut usize| {
                versions.change(None);
                versions.is_conflict(1, seen)
            };
            (0..1_000).filter(|_| once(&versions, &mut seen)).count()
        };
        assert_eq!(conflicts(CatalogConflicts::Off), 0);
        let some = conflicts(CatalogConflicts::WithProbability(0.3));
        assert!((250..350).contains(&some), "{some}");
        assert_eq!(some, conflicts(CatalogConflicts::WithProbability(0.3)), "seeded");
    }
}
