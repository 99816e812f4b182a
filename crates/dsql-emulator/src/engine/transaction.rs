//! The state of one client transaction.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{commit_log::Snapshot, portals::OpenPortals, report::Effect, statement::Execution};
use crate::rules::NewJob;

/// What the emulator records about a transaction besides PostgreSQL's own state.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) snapshot: Snapshot,
    since: Instant,
    /// The shift of the emulator's clock at its begin.
    clock_shift: Duration,
    pub(crate) read_only: bool,
    pub(crate) write_set: WriteSetState,
    pub(crate) effect: Effect,
    /// Statements that changed settings, which run again after a rollback to the start.
    pub(crate) settings: Vec<Arc<str>>,
    /// The DDL statement, which runs again when the transaction is reattached.
    pub(crate) ddl: Option<Ddl>,
    /// Whether rows were, or may have been, written.
    pub(crate) has_dml: bool,
    /// Whether any statement ran.
    pub(crate) has_run: bool,
    /// Jobs that start when it commits.
    pub(crate) jobs: Vec<Job>,
    /// Statements that the superuser runs at its commit: changes of IAM mappings.
    pub(crate) at_commit: Vec<String>,
    pub(crate) portals: OpenPortals,
}

/// A DDL statement, and the job that it starts with the job's id.
#[derive(Clone, Debug)]
pub(crate) struct Ddl {
    pub(crate) execution: Execution,
    pub(crate) job: Option<(NewJob, String)>,
}

/// A job that starts when its transaction commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) work: Work,
}

/// The work of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The index with this oid becomes valid, unless its table has duplicates.
    Index { oid: u32, duplicates: bool },
    /// The constraint with this oid is validated.
    Validate { constraint: u32 },
    /// The dropped object is cleaned up.
    Drop,
}

/// Where the write set of a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteSetState {
    /// In the tables.
    InTables,
    /// Removed from the tables, and kept here as the argument of `write_rows`. The transaction
    /// holds no locks.
    Detached(String),
    /// In shadow tables of these tables. The transaction has lost, and continues so that its client
    /// gets the conflict at COMMIT.
    InShadowTables(Vec<ShadowedTable>),
    /// Discarded: the transaction has lost, and its shadow tables had to release their locks.
    Discarded,
}

/// A table that a shadow table hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShadowedTable {
    pub(crate) oid: String,
    pub(crate) schema: String,
    pub(crate) name: String,
}

impl Transaction {
    pub(crate) fn new(snapshot: Snapshot, read_only: bool, clock_shift: Duration) -> Self {
        Self {
            snapshot,
            since: Instant::now(),
            clock_shift,
            read_only,
            write_set: WriteSetState::InTables,
            effect: Effect::default(),
            settings: Vec::new(),
            ddl: None,
            has_dml: false,
            has_run: false,
            jobs: Vec::new(),
            at_commit: Vec::new(),
            portals: OpenPortals::default(),
        }
    }

    /// Its age on the emulator's clock, which is shifted by `clock_shift` now.
    pub(crate) fn age(&self, clock_shift: Duration) -> Duration {
        self.since.elapsed() + clock_shift.saturating_sub(self.clock_shift)
    }

    /// Whether its commit runs more statements than COMMIT.
    pub(crate) fn writes_at_commit(&self) -> bool {
        self.write_set != WriteSetState::InTables || self.changes_catalog()
    }

    /// Whether it has lost a conflict already.
    pub(crate) fn has_lost(&self) -> bool {
        matches!(self.write_set, WriteSetState::InShadowTables(_) | WriteSetState::Discarded)
    }

    /// Whether a rollback to its start would lose anything.
    pub(crate) fn has_changes(&self) -> bool {
        !self.effect.changes.is_empty()
            || self.ddl.is_some()
            || !self.settings.is_empty()
            || self.portals.are_in_postgresql()
    }

    /// Whether it has written or locked anything.
    pub(crate) fn has_effects(&self) -> bool {
        !self.effect.footprint.is_empty() || self.changes_catalog()
    }

    /// Whether it has run DDL, including a mapping of a role (aurora-dsql.md#ddl-in-transactions).
    pub(crate) fn changes_catalog(&self) -> bool {
        self.ddl.is_some() || !self.at_commit.is_empty()
    }
}
