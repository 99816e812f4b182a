//! Moves a Temporal deployment from PostgreSQL to DSQL: the rows of a source, of upstream's schema, into
//! a target with the schema of this release.
//!
//! ```text
//! preflight ──► copy ──► proof          fence: keeps the servers of the source from writing
//!     │           │        │
//!     └─ mapping ─┴─ pages ┘            data, checked against both catalogs; chunks in key order
//! ```
//!
//! All sessions of a run read one snapshot of the source, so that it is consistent beside a running
//! server. Every chunk is one statement that inserts the rows whose keys do not exist, so that it can be
//! repeated after any failure, by any run, also by two at once. There is no journal: a run that ended
//! early is continued by running it again, and what it finds is compared and not written. A row that is
//! there and differs is reported and never overwritten.
//!
//! Rows stay in the binary format of the wire: only the columns of the mapping are looked into. A run
//! holds at most one chunk for each of its jobs.

mod copy;
mod differences;
mod error;
mod fence;
mod mapping;
mod pages;
mod preflight;
mod privileges;
mod progress;
mod proof;
mod report;
mod source;
mod sql;
mod target;
mod values;

use std::sync::Arc;

use temporal_dsql_ports::RetryPolicy;

pub use error::{ImportError, Problem, ProblemKind};
pub use fence::{Fence, FenceReport, FenceState};
pub use progress::{Counts, ImportProgress, Phase};
pub use report::{ImportPlan, ImportReport, Place, PlannedTable, RowDifference, TableReport};
pub(crate) use values::{Column, ValueType};

use crate::{PostgresDatabase, Progress, ProgressObserver, Schema, Timeouts, retry::Retry};

/// The settings of an import.
#[derive(Clone)]
pub struct Settings {
    /// How many chunks are on their way at the same time; each job has a session on both sides.
    pub jobs: usize,
    /// The tables to copy or to compare; all if there is none.
    pub tables: Vec<String>,
    /// Whether servers of the source may run: what they write after the snapshot is not copied.
    pub rehearse: bool,
    /// The backoff after transient failures, and the deadline of one action.
    pub timeouts: Timeouts,
    /// Told of every retry.
    pub observer: Arc<dyn ProgressObserver>,
    /// Advanced by the import.
    pub progress: Arc<ImportProgress>,
}

impl Settings {
    fn retry(&self) -> Retry<'_> {
        Retry { policy: self.policy(), observer: &*self.observer }
    }

    const fn policy(&self) -> &RetryPolicy {
        &self.timeouts.retry
    }
}

/// An import from one database into another.
pub struct Importer<'a> {
    source: &'a mut PostgresDatabase,
    target: &'a mut PostgresDatabase,
    schema: &'a Schema,
    /// The name that the target's version is recorded under.
    logical_name: String,
    settings: Settings,
}

impl<'a> Importer<'a> {
    /// An import from `source` into `target`, whose version is recorded under `logical_name`.
    pub fn new(
        source: &'a mut PostgresDatabase,
        target: &'a mut PostgresDatabase,
        schema: &'a Schema,
        logical_name: impl Into<String>,
        settings: Settings,
    ) -> Self {
        Self { source, target, schema, logical_name: logical_name.into(), settings }
    }

    /// Checks everything that would stop an import later. Changes nothing.
    ///
    /// # Errors
    /// A database cannot be read. What would stop an import is part of the plan.
    pub async fn plan(&mut self) -> Result<ImportPlan, ImportError> {
        Ok(self.prepare(true).await?.plan)
    }

    /// Copies the rows that the target does not have, and compares both sides.
    ///
    /// # Errors
    /// [`ImportError::Refused`] before anything is written; a database that cannot be read or written
    /// until the deadline; [`ImportError::Interrupted`]. Differences are part of the report.
    pub async fn import(&mut self) -> Result<ImportReport, ImportError> {
        let mut prepared = self.prepare(true).await?.checked()?;
        for note in &prepared.plan.notes {
            self.settings.observer.on(Progress::Noted { note });
        }
        let copied = copy::copy(&mut prepared, self.target, &self.settings).await?;
        self.prove(prepared, Some(copied)).await
    }

    /// Compares both sides. Changes nothing.
    ///
    /// # Errors
    /// As [`import`](Self::import).
    pub async fn verify(&mut self) -> Result<ImportReport, ImportError> {
        let prepared = self.prepare(false).await?.checked()?;
        self.prove(prepared, None).await
    }
}
