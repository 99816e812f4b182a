//! Polls the job of an index that is built in the background.
//!
//! On DSQL, `CREATE INDEX ASYNC` returns at once, and the catalog shows an invalid index while a job
//! builds it (aurora-dsql.md#jobs). The catalog shows when it is valid; the job has the reason of a
//! failure. DSQL deletes a job half an hour after its end, so the build of an invalid index without a
//! job has failed or never started. Such an index is abandoned; Temporal's tool would skip it as
//! "already exists" (temporal-persistence.md#t6). The job is polled, because the procedure that waits
//! for it could exceed the 300 s limit of a transaction.

use std::{collections::BTreeSet, time::Duration};

use temporal_dsql_domain::Engine;
use tokio::time::Instant;

use crate::{JobStatus, MigrateError, Progress, objects::IndexDefinition, retry::RetryingDatabase};

/// The wait between the first two polls of a build.
const FIRST_POLL: Duration = Duration::from_millis(50);
/// How often a run rebuilds the same index before it fails.
const MAX_REBUILDS: usize = 3;

/// The build of one index, as observed by one run.
#[derive(Debug, Default)]
pub(crate) struct IndexBuild {
    /// The jobs that this run has started or waited for. If one of them fails, the run fails; an
    /// older failed job only marks its index as abandoned.
    jobs: BTreeSet<String>,
    waiting_since: Option<Instant>,
    /// The invalid index without a running job, and since when.
    idle: Option<(u32, Instant)>,
    /// The object ids of the invalid indexes that this run has tried to drop. One that the catalog
    /// still shows was not dropped: the attempt lost a conflict.
    dropping: BTreeSet<u32>,
}

impl IndexBuild {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Records that this run has created the index, which `job` builds.
    pub(crate) fn started(&mut self, job: Option<String>) {
        self.jobs.extend(job);
    }

    /// Records that this run drops the invalid index `oid`. Returns whether it is the first attempt.
    pub(crate) fn dropping(&mut self, oid: u32) -> bool {
        self.dropping.insert(oid)
    }

    /// Whether this run has tried to drop an invalid index, to build it again.
    pub(crate) fn is_rebuilt(&self) -> bool {
        !self.dropping.is_empty()
    }

    /// Polls the job of an invalid index once. Returns the time until the next poll while the index
    /// may become valid, and `None` if it is abandoned.
    ///
    /// Only the latest job counts. The catalog was read before the job: if the job has completed since,
    /// the next read of the catalog shows a valid index.
    ///
    /// # Errors
    /// The build has failed, or exceeds its timeout.
    pub(crate) async fn poll(
        &mut self,
        database: &mut RetryingDatabase<'_>,
        name: &str,
        index: &IndexDefinition,
        oid: u32,
    ) -> Result<Option<Duration>, MigrateError> {
        let latest = database.index_jobs(name, oid).await?.into_iter().next();
        let status = latest.as_ref().map(|job| job.status);
        let is_over = match latest {
            Some(job) if job.status.is_running() => {
                self.jobs.insert(job.id);
                self.idle = None;
                return self.wait(database, name, status).map(Some);
            }
            Some(job) if job.status == JobStatus::Failed && self.jobs.contains(&job.id) => {
                return Err(failure(name, index, job.details));
            }
            Some(job) => job.status == JobStatus::Failed,
            None => database.engine() == Engine::Postgres,
        };
        let since = match self.idle {
            Some((idle, since)) if idle == oid => since,
            _ => self.idle.insert((oid, Instant::now())).1,
        };
        if !is_over && since.elapsed() < database.timeouts.job_visibility {
            return self.wait(database, name, status).map(Some);
        }
        let rebuilt = self.dropping.iter().filter(|dropped| **dropped != oid).count();
        if rebuilt >= MAX_REBUILDS {
            let details = "it was rebuilt several times and is still invalid".to_owned();
            return Err(failure(name, index, details));
        }
        Ok(None)
    }

    fn wait(
        &mut self,
        database: &RetryingDatabase<'_>,
        name: &str,
        status: Option<JobStatus>,
    ) -> Result<Duration, MigrateError> {
        let waited = self.waiting_since.get_or_insert_with(Instant::now).elapsed();
        if waited >= database.timeouts.index_build {
            return Err(MigrateError::StillBuilding { index: name.to_owned(), waited });
        }
        database.observer.on(Progress::Waiting { index: name, status, elapsed: waited });
        Ok(until_next_poll(waited, database.timeouts.poll))
    }
}

/// The time until the next poll after `waited`. It grows with the time waited: short builds end soon,
/// long ones are polled less.
pub(crate) fn until_next_poll(waited: Duration, longest: Duration) -> Duration {
    (waited / 2).clamp(FIRST_POLL.min(longest), longest)
}

/// The error for a failed index build.
pub(crate) fn failure(name: &str, index: &IndexDefinition, details: String) -> MigrateError {
    MigrateError::IndexBuild {
        index: name.to_owned(),
        table: index.table.clone(),
        columns: index.columns.clone(),
        details,
    }
}
