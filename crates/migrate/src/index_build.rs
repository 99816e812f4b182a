//! Waiting for an index that is built in the background.
//!
//! On DSQL, `CREATE INDEX ASYNC` answers at once, and the index is in the catalog, invalid, while
//! a job builds it (aurora-dsql.md#jobs). Whether it is valid, only the catalog tells; the job adds
//! why not. DSQL forgets a job half an hour after its end, so an invalid index without a job is one
//! whose build failed earlier, or was never started: a leftover that Temporal's tool would skip as
//! "already exists" (temporal-persistence.md#t6). The job is polled, because the call that waits
//! for it could outlive the 300 s that a transaction may last.

use std::{collections::BTreeSet, time::Duration};

use temporal_dsql_domain::Engine;
use tokio::time::Instant;

use crate::{JobStatus, MigrateError, Progress, objects::IndexDefinition, retry::RetryingDatabase};

/// Between the first two looks at a build.
const FIRST_POLL: Duration = Duration::from_millis(50);
/// How often a run drops the same index to build it anew, before it gives up.
const MAX_REBUILDS: usize = 3;

/// What one run knows of the build of one index.
#[derive(Debug, Default)]
pub(crate) struct IndexBuild {
    /// The jobs that this run has started or waited for: if one of them fails, it is news. A
    /// failed job of another run is a leftover.
    jobs: BTreeSet<String>,
    waiting_since: Option<Instant>,
    /// The index that is invalid and that no job is building, and since when.
    idle: Option<(u32, Instant)>,
    /// The invalid indexes, by their object ids, that this run has tried to drop. One that the
    /// catalog still shows was not dropped: the attempt was lost to a conflict.
    dropping: BTreeSet<u32>,
}

impl IndexBuild {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// This run has created the index, which `job` builds.
    pub(crate) fn started(&mut self, job: Option<String>) {
        self.jobs.extend(job);
    }

    /// This run is about to drop the invalid index `oid`; tells whether it is for the first time.
    pub(crate) fn dropping(&mut self, oid: u32) -> bool {
        self.dropping.insert(oid)
    }

    /// Looks at an invalid index once: waits a little while it is being built, and tells whether
    /// it is a leftover that nobody builds.
    ///
    /// Only its latest job counts. The catalog was read before the job: a job that has ended well
    /// since then has made the index valid, and the next reading shows it.
    ///
    /// # Errors
    /// The build has failed, or takes too long.
    pub(crate) async fn is_abandoned(
        &mut self,
        database: &mut RetryingDatabase<'_>,
        name: &str,
        index: &IndexDefinition,
        oid: u32,
    ) -> Result<bool, MigrateError> {
        let latest = database.index_jobs(name, oid).await?.into_iter().next();
        let status = latest.as_ref().map(|job| job.status);
        let is_over = match latest {
            Some(job) if job.status.is_running() => {
                self.jobs.insert(job.id);
                self.idle = None;
                self.wait(database, name, status).await?;
                return Ok(false);
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
            self.wait(database, name, status).await?;
            return Ok(false);
        }
        let rebuilt = self.dropping.iter().filter(|dropped| **dropped != oid).count();
        if rebuilt >= MAX_REBUILDS {
            let details = "it was built anew several times and is still invalid".to_owned();
            return Err(failure(name, index, details));
        }
        Ok(true)
    }

    async fn wait(
        &mut self,
        database: &mut RetryingDatabase<'_>,
        name: &str,
        status: Option<JobStatus>,
    ) -> Result<(), MigrateError> {
        let waited = self.waiting_since.get_or_insert_with(Instant::now).elapsed();
        if waited >= database.timeouts.index_build {
            return Err(MigrateError::StillBuilding { index: name.to_owned(), waited });
        }
        database.observer.on(Progress::Waiting { index: name, status, elapsed: waited });
        // A build that ends soon is seen soon, and a long one is not asked about all the time.
        let longest = database.timeouts.poll;
        tokio::time::sleep((waited / 2).clamp(FIRST_POLL.min(longest), longest)).await;
        Ok(())
    }
}

/// The error for an index that could not be built because of `details`.
pub(crate) fn failure(name: &str, index: &IndexDefinition, details: String) -> MigrateError {
    MigrateError::IndexBuild {
        index: name.to_owned(),
        table: index.table.clone(),
        columns: index.columns.clone(),
        details,
    }
}
