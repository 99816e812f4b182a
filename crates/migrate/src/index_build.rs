//! Waiting for an index that is built in the background.
//!
//! On DSQL, `CREATE INDEX ASYNC` answers at once, and the index is in the catalog, invalid, while
//! a job builds it (facts §3.4). Whether it is valid, only the catalog tells; the job adds why
//! not. DSQL forgets a job half an hour after its end, so an invalid index without a job is one
//! whose build failed earlier, or was never started: a leftover that Temporal's tool would skip as
//! "already exists" (fault T6 of contract §5). The job is polled, because the call that waits for
//! it could outlive the 300 s that a transaction may last.

use std::{collections::BTreeSet, time::Duration};

use temporal_dsql_domain::Engine;
use tokio::time::Instant;

use crate::{JobStatus, MigrateError, Progress, objects::Index, session::Session};

/// Between the first two looks at a build.
const FIRST_POLL: Duration = Duration::from_millis(50);
/// How often a run drops the same index to build it anew, before it gives up.
const MAX_REBUILDS: u32 = 3;

/// What one run knows of the build of one index.
#[derive(Debug, Default)]
pub(crate) struct IndexBuild {
    /// The jobs that this run has started or waited for: if one of them fails, it is news. A
    /// failed job of another run is a leftover.
    jobs: BTreeSet<String>,
    waiting_since: Option<Instant>,
    /// Since when the index is invalid and no job is building it.
    idle_since: Option<Instant>,
    rebuilds: u32,
}

impl IndexBuild {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// This run has created the index, which `job` builds.
    pub(crate) fn started(&mut self, job: Option<String>) {
        self.jobs.extend(job);
        self.idle_since = None;
    }

    /// Looks at an invalid index once: waits a little while it is being built, and tells whether
    /// it is a leftover that nobody builds.
    ///
    /// # Errors
    /// The build has failed, or takes too long.
    pub(crate) async fn is_abandoned(
        &mut self,
        session: &mut Session<'_>,
        name: &str,
        index: &Index,
        oid: u32,
    ) -> Result<bool, MigrateError> {
        let jobs = session.index_jobs(name, oid).await?;
        let running = jobs.iter().find(|job| job.status.is_running());
        let failed = jobs.iter().find(|job| job.status == JobStatus::Failed);
        if let Some(job) = running {
            self.jobs.insert(job.id.clone());
            self.idle_since = None;
            self.wait(session, name, Some(job.status)).await?;
            return Ok(false);
        }
        if let Some(job) = failed.filter(|job| self.jobs.contains(&job.id)) {
            return Err(failure(name, index, job.details.clone()));
        }
        let idle = self.idle_since.get_or_insert_with(Instant::now).elapsed();
        let is_over = failed.is_some() || session.engine() == Engine::Postgres;
        if !is_over && idle < session.patience.orphan {
            let status = jobs.first().map(|job| job.status);
            self.wait(session, name, status).await?;
            return Ok(false);
        }
        self.rebuilds += 1;
        if self.rebuilds > MAX_REBUILDS {
            let details = "it was built anew several times and is still invalid".to_owned();
            return Err(failure(name, index, details));
        }
        self.idle_since = None;
        Ok(true)
    }

    async fn wait(
        &mut self,
        session: &mut Session<'_>,
        name: &str,
        status: Option<JobStatus>,
    ) -> Result<(), MigrateError> {
        let waited = self.waiting_since.get_or_insert_with(Instant::now).elapsed();
        if waited >= session.patience.index_build {
            return Err(MigrateError::StillBuilding { index: name.to_owned(), waited });
        }
        session.observer.on(Progress::Waiting { index: name, status, elapsed: waited });
        // A build that ends soon is seen soon, and a long one is not asked about all the time.
        let longest = session.patience.poll;
        tokio::time::sleep((waited / 2).clamp(FIRST_POLL.min(longest), longest)).await;
        Ok(())
    }
}

/// The error for an index that could not be built because of `details`.
pub(crate) fn failure(name: &str, index: &Index, details: String) -> MigrateError {
    MigrateError::IndexBuild {
        index: name.to_owned(),
        table: index.table.clone(),
        columns: index.columns.clone(),
        details,
    }
}
