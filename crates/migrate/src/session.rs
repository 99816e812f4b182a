//! A database whose reads succeed unless something is really wrong.
//!
//! Reads can lose conflicts (OC001 hits plain SELECTs too, aurora-dsql.md#transient-failures) and
//! connections can break; a read can simply be made again. Writes are not retried here: after a
//! failed one the catalog is asked first.

use std::time::Duration;

use temporal_dsql_client::Attempts;
use temporal_dsql_domain::Engine;
use temporal_dsql_ports::RetryPolicy;

use crate::{
    DatabaseError, Job, MigrateError, Observer, Progress, Row, Scan, SchemaDatabase,
    objects::{Catalog, Seed},
    version_tables::VersionRow,
};

/// How long to try and to wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between attempts after a conflict or a lost connection, and how long to try one thing.
    pub retry: RetryPolicy,
    /// The most between two looks at a job that builds an index; the first follow each other
    /// sooner. Builds take 5–30 s even on tiny tables (aurora-dsql.md#jobs).
    pub poll: Duration,
    /// How long to wait for one index.
    pub index_build: Duration,
    /// How long an invalid index without a running job is watched before it is taken for a
    /// leftover: a job may show a moment later than its index.
    pub orphan: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retry: RetryPolicy {
                base: Duration::from_millis(100),
                cap: Duration::from_secs(5),
                deadline: Duration::from_secs(120),
            },
            poll: Duration::from_secs(1),
            index_build: Duration::from_secs(60 * 60),
            orphan: Duration::from_secs(10),
        }
    }
}

/// Makes a read again until it succeeds or fails for good.
macro_rules! retried {
    ($self:ident, $action:expr, $call:expr) => {{
        let mut attempts = Attempts::new();
        loop {
            match $call.await {
                Ok(value) => {
                    $self.reached = true;
                    return Ok(value);
                }
                Err(error) if $self.may_pass(&error) => {
                    $self.pause(&mut attempts, $action, error).await?;
                }
                Err(source) => {
                    return Err(MigrateError::Database { action: $action.to_owned(), source });
                }
            }
        }
    }};
}

/// A database, how patient to be with it, and who is told.
pub(crate) struct Session<'a> {
    pub(crate) database: &'a mut dyn SchemaDatabase,
    pub(crate) patience: Patience,
    pub(crate) observer: &'a dyn Observer,
    /// Whether the database has answered. Until then, that it cannot be reached is an answer.
    reached: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        database: &'a mut dyn SchemaDatabase,
        patience: Patience,
        observer: &'a dyn Observer,
    ) -> Self {
        Self { database, patience, observer, reached: false }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.database.engine()
    }

    pub(crate) fn schema(&self) -> &str {
        self.database.schema()
    }

    pub(crate) async fn catalog(&mut self) -> Result<Catalog, MigrateError> {
        retried!(self, "reading the catalog", self.database.catalog())
    }

    pub(crate) async fn version_rows(&mut self) -> Result<Vec<VersionRow>, MigrateError> {
        retried!(self, "reading the schema version", self.database.version_rows())
    }

    pub(crate) async fn index_jobs(
        &mut self,
        index: &str,
        oid: u32,
    ) -> Result<Vec<Job>, MigrateError> {
        let action = &format!("looking for the job that builds index {index}");
        retried!(self, action, self.database.index_jobs(index, oid))
    }

    /// Whether `table` has rows. One that a concurrent run has dropped has none.
    pub(crate) async fn has_rows(&mut self, table: &str) -> Result<bool, MigrateError> {
        match self.retried_has_rows(table).await {
            Err(MigrateError::Database { source, .. }) if source.is_undefined() => Ok(false),
            other => other,
        }
    }

    async fn retried_has_rows(&mut self, table: &str) -> Result<bool, MigrateError> {
        let action = &format!("looking for rows in {table}");
        retried!(self, action, self.database.has_rows(table))
    }

    pub(crate) async fn has_seed(
        &mut self,
        seed: &Seed,
        key: &[String],
    ) -> Result<bool, MigrateError> {
        let action = &format!("looking for the first row of {}", seed.table);
        retried!(self, action, self.database.has_seed(seed, key))
    }

    pub(crate) async fn page(
        &mut self,
        scan: &Scan,
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<Row>, MigrateError> {
        let action = &format!("reading {}", scan.table);
        retried!(self, action, self.database.page(scan, after, limit))
    }

    /// Whether the same call may succeed if it is made again.
    pub(crate) fn may_pass(&self, error: &DatabaseError) -> bool {
        let lost = matches!(error, DatabaseError::Unreachable { .. }) && self.reached;
        error.is_transient() || lost
    }

    /// Waits before the next attempt at `action`, which has failed with `error`.
    ///
    /// # Errors
    /// The time is over.
    pub(crate) async fn pause(
        &mut self,
        attempts: &mut Attempts,
        action: &str,
        error: DatabaseError,
    ) -> Result<(), MigrateError> {
        let Some(wait) = attempts.next_wait(&self.patience.retry) else {
            return Err(MigrateError::OutOfTime {
                action: action.to_owned(),
                attempts: attempts.failed(),
                waited: attempts.elapsed(),
                source: error,
            });
        };
        self.observer.on(Progress::Retrying {
            action,
            attempts: attempts.failed(),
            error: &error,
            wait,
        });
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
