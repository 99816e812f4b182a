//! One transaction of a client.

use std::{sync::Arc, time::Instant};

use super::{commit_log::Snapshot, report::Effect, statement::Execution};
use crate::rules::NewJob;

/// What the emulator knows of a transaction besides what PostgreSQL knows.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) snapshot: Snapshot,
    pub(crate) since: Instant,
    pub(crate) read_only: bool,
    pub(crate) write_set: WriteSetState,
    pub(crate) effect: Effect,
    /// Statements that changed the session, to be run again when the transaction is detached.
    pub(crate) settings: Vec<Arc<str>>,
    /// The DDL statement, likewise.
    pub(crate) ddl: Option<Ddl>,
    /// Whether rows were, or may have been, written.
    pub(crate) has_dml: bool,
    /// Whether any statement ran.
    pub(crate) has_run: bool,
    /// Jobs that begin with its commit.
    pub(crate) jobs: Vec<Job>,
    /// What the superuser is to do at its commit: changes of IAM mappings.
    pub(crate) at_commit: Vec<String>,
}

/// A DDL statement, and the job that it starts, with its id.
#[derive(Clone, Debug)]
pub(crate) struct Ddl {
    pub(crate) execution: Execution,
    pub(crate) job: Option<(NewJob, String)>,
}

/// A job that begins when the transaction that asked for it commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) work: Work,
}

/// What it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The index with this oid becomes valid, unless its table has duplicates.
    Index { oid: u32, duplicates: bool },
    /// The constraint with this oid is validated.
    Validate { constraint: u32 },
    /// What was dropped is cleaned up.
    Drop,
}

/// Where the changes of a transaction are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteSetState {
    /// In its tables.
    InTables,
    /// Here, as work for `write_rows`. Its locks are gone.
    Detached(String),
    /// In temporary copies of these tables (schema and name): it has lost, and goes on so that its
    /// client does not learn it before COMMIT.
    InShadowTables(Vec<(String, String)>),
    /// Nowhere: it has lost, and its copies had to make way.
    Discarded,
}

impl Transaction {
    pub(crate) fn new(snapshot: Snapshot, read_only: bool) -> Self {
        Self {
            snapshot,
            since: Instant::now(),
            read_only,
            write_set: WriteSetState::InTables,
            effect: Effect::default(),
            settings: Vec::new(),
            ddl: None,
            has_dml: false,
            has_run: false,
            jobs: Vec::new(),
            at_commit: Vec::new(),
        }
    }

    /// Whether it has lost a conflict already.
    pub(crate) fn has_lost(&self) -> bool {
        matches!(self.write_set, WriteSetState::InShadowTables(_) | WriteSetState::Discarded)
    }

    /// Whether there is anything that would be lost by going back to its start.
    pub(crate) fn has_changes(&self) -> bool {
        !self.effect.changes.is_empty() || self.ddl.is_some() || !self.settings.is_empty()
    }

    /// Whether its commit changes anything, or holds a lock.
    pub(crate) fn has_effects(&self) -> bool {
        !self.effect.footprint.is_empty() || self.changes_catalog()
    }

    /// Whether it has run DDL; a mapping of a role counts (aurora-dsql.md#ddl-in-transactions).
    pub(crate) fn changes_catalog(&self) -> bool {
        self.ddl.is_some() || !self.at_commit.is_empty()
    }
}
