//! A database wrapper that retries reads.
//!
//! Reads fail with conflicts (OC001 affects plain SELECTs too, aurora-dsql.md#transient-failures) or
//! when the connection breaks, and are retried. Writes are not retried here: after a failed write the
//! catalog is probed first.

use std::time::Duration;

use temporal_dsql_client::Attempts;
use temporal_dsql_domain::Engine;
use temporal_dsql_ports::RetryPolicy;

use crate::{
    DatabaseError, Job, MigrateError, Progress, ProgressObserver, Row, RowCount, Scan,
    SchemaDatabase,
    objects::{Access, Catalog, Dependent, Scope, Seed},
    version_tables::VersionRow,
};

/// Timeouts and intervals of a migration.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// The backoff after transient failures, and the deadline of one action. For an action that is
    /// repeated as it is, such as a read or the copy of a chunk, it counts from the first failure.
    pub retry: RetryPolicy,
    /// The longest interval between two polls of an index build; the first intervals are shorter.
    /// Builds take 5–30 s even on tiny tables (aurora-dsql.md#jobs).
    pub poll: Duration,
    /// The longest wait for one index build.
    pub index_build: Duration,
    /// How long the job of a new index may take to appear. An invalid index without a running job
    /// for this long is abandoned.
    pub job_visibility: Duration,
    /// The longest search for the rows of one table that differ between the sides of an import.
    pub search: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::new(
                Duration::from_millis(100),
                Duration::from_secs(5),
                Duration::from_secs(120),
            ),
            poll: Duration::from_secs(1),
            index_build: Duration::from_secs(60 * 60),
            job_visibility: Duration::from_secs(10),
            search: Duration::from_secs(60),
        }
    }
}

/// Whether a retry of the call that failed with `error` may succeed. The server was reachable when the
/// run began, so one that cannot be reached now may come back.
pub(crate) const fn is_retryable(error: &DatabaseError) -> bool {
    error.is_transient() || matches!(error, DatabaseError::Unreachable { .. })
}

/// Repeats a call until it succeeds or fails permanently. It must change nothing when it is repeated.
/// The deadline counts from the first failure: a call that is lost after hours is repeated.
macro_rules! retried {
    ($retry:expr, $action:expr, $call:expr) => {{
        let mut attempts = None;
        loop {
            match $call.await {
                Ok(value) => break Ok(value),
                Err(error) if $crate::retry::is_retryable(&error) => {
                    let attempts = attempts.get_or_insert_with(temporal_dsql_client::Attempts::new);
                    if let Err(error) = $retry.pause(attempts, $action, error).await {
                        break Err(error);
                    }
                }
                Err(source) => {
                    break Err($crate::MigrateError::Database {
                        action: $action.to_owned(),
                        source,
                    });
                }
            }
        }
    }};
}
pub(crate) use retried;

/// How transient failures are retried, and who is told.
#[derive(Clone, Copy)]
pub(crate) struct Retry<'a> {
    pub(crate) policy: &'a RetryPolicy,
    pub(crate) observer: &'a dyn ProgressObserver,
}

impl Retry<'_> {
    /// Waits before the next attempt of `action`, which has failed with `error`.
    ///
    /// # Errors
    /// The deadline is reached.
    pub(crate) async fn pause(
        &self,
        attempts: &mut Attempts,
        action: &str,
        error: DatabaseError,
    ) -> Result<(), MigrateError> {
        let Some(wait) = attempts.next_wait(self.policy) else {
            return Err(MigrateError::DeadlineExceeded {
                action: action.to_owned(),
                attempts: attempts.failed(),
                waited: attempts.elapsed(),
                source: error,
            });
        };
        let attempts = attempts.failed();
        self.observer.on(Progress::Retrying { action, attempts, error: &error, wait });
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Retries reads of a database within its timeouts, and reports the retries.
pub(crate) struct RetryingDatabase<'a> {
    pub(crate) inner: &'a mut dyn SchemaDatabase,
    pub(crate) timeouts: Timeouts,
    pub(crate) observer: &'a dyn ProgressObserver,
}

impl<'a> RetryingDatabase<'a> {
    pub(crate) fn new(
        database: &'a mut dyn SchemaDatabase,
        timeouts: Timeouts,
        observer: &'a dyn ProgressObserver,
    ) -> Self {
        Self { inner: database, timeouts, observer }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.inner.engine()
    }

    pub(crate) fn schema(&self) -> &str {
        self.inner.schema()
    }

    pub(crate) async fn catalog(&mut self, scope: &Scope) -> Result<Catalog, MigrateError> {
        retried!(self, "reading the catalog", self.inner.catalog(scope))
    }

    pub(crate) async fn dependents(
        &mut self,
        relations: &[String],
    ) -> Result<Option<Vec<Dependent>>, MigrateError> {
        retried!(self, "looking for dependent objects", self.inner.dependents(relations))
    }

    pub(crate) async fn access(
        &mut self,
        relations: &[String],
    ) -> Result<Option<Access>, MigrateError> {
        retried!(self, "looking for the rights of the role", self.inner.access(relations))
    }

    pub(crate) async fn version_rows(&mut self) -> Result<Vec<VersionRow>, MigrateError> {
        retried!(self, "reading the schema version", self.inner.version_rows())
    }

    pub(crate) async fn index_jobs(
        &mut self,
        index: &str,
        oid: u32,
    ) -> Result<Vec<Job>, MigrateError> {
        let action = &format!("looking for the job that builds index {index}");
        retried!(self, action, self.inner.index_jobs(index, oid))
    }

    /// The number of rows of `table`. A table that a concurrent run has dropped has none.
    pub(crate) async fn count_rows(&mut self, table: &str) -> Result<RowCount, MigrateError> {
        match self.retried_count_rows(table).await {
            Ok(rows) => Ok(RowCount(rows)),
            Err(MigrateError::Database { source, .. }) if source.is_undefined() => Ok(RowCount(0)),
            Err(error) => Err(error),
        }
    }

    async fn retried_count_rows(&mut self, table: &str) -> Result<u32, MigrateError> {
        let action = &format!("counting the rows of {table}");
        retried!(self, action, self.inner.count_rows(table, RowCount::MOST))
    }

    pub(crate) async fn has_seed(
        &mut self,
        seed: &Seed,
        key: &[String],
    ) -> Result<bool, MigrateError> {
        let action = &format!("looking for the first row of {}", seed.table);
        retried!(self, action, self.inner.has_seed(seed, key))
    }

    pub(crate) async fn page(
        &mut self,
        scan: &Scan,
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<Row>, MigrateError> {
        let action = &format!("reading {}", scan.table);
        retried!(self, action, self.inner.page(scan, after, limit))
    }

    /// Waits before the next attempt of `action`, which has failed with `error`.
    ///
    /// # Errors
    /// The deadline is reached.
    pub(crate) async fn pause(
        &mut self,
        attempts: &mut Attempts,
        action: &str,
        error: DatabaseError,
    ) -> Result<(), MigrateError> {
        let retry = Retry { policy: &self.timeouts.retry, observer: self.observer };
        retry.pause(attempts, action, error).await
    }
}
