//! COMMIT: conflicts, limits, injected faults.

use super::{Block, Session, SessionError, SessionResult};
use crate::{
    cluster::Cluster,
    engine::{
        attempt::reattach, in_flight::CancelPolicy, monitored::Failure, transaction::WriteSetState,
        worker::Worker,
    },
    faults::{CommitFault, catalog_conflict, conflict, unavailable},
    wire::DbError,
};

impl Session {
    /// Commits the transaction. Whatever the result, the transaction ends.
    pub(super) async fn commit(&mut self) -> SessionResult<()> {
        let fault = self.fault().await;
        let committed = match fault {
            None => self.try_commit().await,
            Some(CommitFault::Conflict) => Err(conflict().into()),
            Some(CommitFault::CatalogConflict) => Err(catalog_conflict().into()),
            Some(CommitFault::Unavailable { applied: false }) => Err(unavailable().into()),
            Some(CommitFault::LostAnswer { applied: false }) => Err(SessionError::Close),
            Some(CommitFault::Unavailable { applied: true }) => {
                self.try_commit().await.and(Err(unavailable().into()))
            }
            Some(CommitFault::LostAnswer { applied: true }) => {
                // If the commit fails, the error is the answer that is lost.
                let _ = self.try_commit().await;
                Err(SessionError::Close)
            }
        };
        self.block = Block::None;
        self.failed = false;
        self.portals.clear();
        if committed.is_err() {
            self.worker.lock().await.rollback().await?;
        }
        committed
    }

    /// The fault of this commit. A transaction counts as a commit if it has run a statement, an
    /// implicit one only if it has effects.
    async fn fault(&mut self) -> Option<CommitFault> {
        let explicit = self.block == Block::Explicit;
        let counts = {
            let worker = self.worker.lock().await;
            worker.transaction.as_ref().is_some_and(|transaction| {
                transaction.has_run && (explicit || transaction.has_effects())
            })
        };
        if !counts {
            return None;
        }
        self.delay(self.cluster.faults.latency().commit).await;
        self.cluster.faults.next_commit()
    }

    async fn try_commit(&mut self) -> SessionResult<()> {
        let cluster = self.cluster.clone();
        let worker = self.worker.clone();
        let is_read_only = {
            let worker = worker.lock().await;
            worker
                .transaction
                .as_ref()
                .is_none_or(|transaction| !transaction.has_effects() && !transaction.has_lost())
        };
        if self.transaction_has_run().await && cluster.versions.is_conflict(self.session_catalog())
        {
            return Err(catalog_conflict().into());
        }
        if is_read_only {
            // A read-only transaction cannot conflict.
            self.check_limits().await?;
            let mut worker = worker.lock().await;
            return worker.commit().await.map_err(SessionError::from);
        }
        // The commit guard comes before the lock of the worker: a session that waits for the guard
        // can still be detached.
        let guard = cluster.commit_log.lock_commit().await;
        self.check_limits().await?;
        let mut worker = worker.lock().await;
        let Some(transaction) = &worker.transaction else { return Ok(()) };
        if transaction.has_lost() {
            return Err(conflict().into());
        }
        let footprint = &transaction.effect.footprint;
        if let Some(entry) = cluster.commit_log.conflict(&transaction.snapshot, footprint) {
            tracing::debug!(relation = entry.relation, key = %entry.key, "a commit lost a conflict");
            return Err(conflict().into());
        }
        reattach_for_commit(&mut worker, &cluster).await?;
        let (footprint, jobs, changes_catalog) = match &mut worker.transaction {
            Some(transaction) => (
                std::mem::take(&mut transaction.effect.footprint),
                std::mem::take(&mut transaction.jobs),
                transaction.changes_catalog(),
            ),
            None => return Ok(()),
        };
        let logged = cluster.commit_log.append(&footprint, &guard);
        if let Err(failure) = worker.commit().await {
            // A commit without an answer may have been applied.
            if matches!(failure, Failure::Refused(_)) {
                cluster.commit_log.retract(logged, &guard);
            }
            return Err(failure.into());
        }
        let origin =
            changes_catalog.then(|| cluster.versions.record_change(self.session_catalog()));
        drop((worker, guard));
        if let Some(origin) = origin {
            jobs.into_iter().for_each(|job| cluster.jobs.start(job, origin));
        }
        Ok(())
    }

    async fn transaction_has_run(&self) -> bool {
        let worker = self.worker.lock().await;
        worker.transaction.as_ref().is_some_and(|transaction| transaction.has_run)
    }

    /// aurora-dsql.md#limits: age and size, at COMMIT.
    async fn check_limits(&self) -> SessionResult<()> {
        const MIB: u64 = 1024 * 1024;
        let limits = &self.cluster.config.limits;
        let worker = self.worker.lock().await;
        let Some(transaction) = &worker.transaction else { return Ok(()) };
        let (age, limit) = (transaction.since.elapsed(), limits.transaction_age);
        if age > limit {
            let limit = limit.as_secs();
            return Err(DbError::new(
                "54000",
                format!("transaction age limit of {limit}s exceeded"),
            )
            .with_detail(format!("Current transaction age {}s exceeds {limit}s", age.as_secs()))
            .into());
        }
        let (bytes, limit) = (transaction.effect.footprint.bytes, limits.transaction_bytes);
        if bytes >= limit {
            let (bytes, limit) = (bytes.div_ceil(MIB), limit.div_ceil(MIB));
            return Err(DbError::new(
                "54000",
                format!("transaction size limit {limit}mb exceeded"),
            )
            .with_detail(format!("Current transaction size {bytes}mb > {limit}mb"))
            .into());
        }
        Ok(())
    }
}

/// Reattaches the transaction, and runs the statements that were deferred to the commit.
async fn reattach_for_commit(worker: &mut Worker, cluster: &Cluster) -> SessionResult<()> {
    let was_detached = worker
        .transaction
        .as_ref()
        .is_some_and(|transaction| matches!(transaction.write_set, WriteSetState::Detached(_)));
    loop {
        match reattach(worker, &|| cluster.new_job_id(), CancelPolicy::commit()).await {
            Ok(true) => break,
            // The commit log does not know of tables without triggers.
            Ok(false) => return Err(conflict().into()),
            Err(Failure::Interrupted) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    let Some(transaction) = &worker.transaction else { return Ok(()) };
    let tables: Vec<String> =
        transaction.effect.changes.tables().map(|oid| oid.to_string()).collect();
    let mut work = transaction.at_commit.clone();
    if was_detached && !tables.is_empty() {
        let tables = tables.join(",");
        work.push(format!("SELECT dsql_emulator.check_deferred('{{{tables}}}')"));
    }
    if !work.is_empty() {
        worker.as_superuser(&work.join("; "), CancelPolicy::commit()).await?;
    }
    Ok(())
}
