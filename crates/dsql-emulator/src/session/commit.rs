//! COMMIT: conflicts, limits, injected faults.

use super::{Block, Session, SessionError, SessionResult};
use crate::{
    cluster::Cluster,
    engine::{
        attempt::reattach, commit_log::NotLogged, footprint::Entry, in_flight::CancelPolicy,
        monitored::Failure, report::Effect, transaction::WriteSetState, worker::Worker,
    },
    faults::{CommitFault, HeldCommit, catalog_conflict, conflict, unavailable},
    wire::DbError,
};

/// The result of an attempt to commit.
enum Committed {
    Done,
    /// The attempt must be repeated when the commit with this number is not pending any more.
    After(u64),
    /// The attempt must be repeated while no other transaction commits.
    Alone,
}

impl Session {
    /// Commits the transaction. Whatever the result, the transaction ends.
    pub(super) async fn commit(&mut self) -> SessionResult<()> {
        let (fault, mut held) = self.fault().await;
        if let Some(held) = &mut held {
            held.released().await;
        }
        let committed = match fault {
            None | Some(CommitFault::Held) => self.try_commit().await,
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
        self.end_transaction();
        if committed.is_err() {
            self.worker.lock().await.rollback().await?;
        }
        committed
    }

    /// The fault of this commit. A transaction counts as a commit if it has run a statement, an
    /// implicit one only if it has effects.
    async fn fault(&mut self) -> (Option<CommitFault>, Option<HeldCommit>) {
        let explicit = self.block == Block::Explicit;
        let counts = {
            let worker = self.worker.lock().await;
            worker.transaction.as_ref().is_some_and(|transaction| {
                transaction.has_run && (explicit || transaction.has_effects())
            })
        };
        if !counts {
            return (None, None);
        }
        self.delay(self.cluster.faults.latency().commit).await;
        self.cluster.faults.next_commit()
    }

    async fn try_commit(&mut self) -> SessionResult<()> {
        if self.transaction_has_run().await
            && self.cluster.clone().versions.is_conflict(self.session_catalog())
        {
            return Err(catalog_conflict().into());
        }
        // A transaction that conflicts with a commit whose result is not known waits for it. Each
        // round checks the age of the transaction.
        loop {
            self.check_limits().await?;
            match self.commit_unless_pending().await? {
                Committed::Done => return Ok(()),
                Committed::After(pending) => self.cluster.commit_log.settled(pending).await,
                Committed::Alone => {}
            }
        }
    }

    async fn commit_unless_pending(&mut self) -> SessionResult<Committed> {
        let cluster = self.cluster.clone();
        let shared_worker = self.worker.clone();
        let alone = {
            let mut worker = shared_worker.lock().await;
            let Some(transaction) = &worker.transaction else { return Ok(Committed::Done) };
            if !transaction.has_effects() && !transaction.has_lost() {
                // A read-only transaction cannot conflict.
                worker.commit().await?;
                return Ok(Committed::Done);
            }
            transaction.writes_at_commit()
        };
        // The commit guard comes before the lock of the worker: a session that waits for the guard
        // can still be detached.
        let guard = cluster.commit_log.lock_commit(alone).await;
        let mut worker = shared_worker.lock().await;
        let Some(transaction) = &mut worker.transaction else { return Ok(Committed::Done) };
        if transaction.has_lost() {
            return Err(conflict().into());
        }
        if alone {
            let footprint = &transaction.effect.footprint;
            if let Some(entry) = cluster.commit_log.conflict(&transaction.snapshot, footprint) {
                return Err(lost(&entry));
            }
            reattach_for_commit(&mut worker, &cluster).await?;
        } else if transaction.writes_at_commit() {
            // It was detached while it waited.
            return Ok(Committed::Alone);
        }
        let Some(transaction) = &mut worker.transaction else { return Ok(Committed::Done) };
        let Effect { footprint, xid, .. } = &mut transaction.effect;
        let logged = match cluster.commit_log.append(&transaction.snapshot, footprint, *xid, &guard)
        {
            Ok(logged) => logged,
            Err(NotLogged::Conflict(entry)) => return Err(lost(&entry)),
            Err(NotLogged::Pending(number)) => return Ok(Committed::After(number)),
        };
        let jobs = std::mem::take(&mut transaction.jobs);
        let changes_catalog = transaction.changes_catalog();
        if let Err(failure) = worker.commit().await {
            // A commit without an answer may have been applied.
            if matches!(failure, Failure::Refused(_)) {
                logged.retract();
            }
            return Err(failure.into());
        }
        drop(logged);
        let origin =
            changes_catalog.then(|| cluster.versions.record_change(self.session_catalog()));
        drop((worker, guard));
        if let Some(origin) = origin {
            jobs.into_iter().for_each(|job| cluster.jobs.start(job, origin));
        }
        Ok(Committed::Done)
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
        let age = transaction.age(self.cluster.faults.clock_shift());
        let limit = limits.transaction_age;
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

fn lost(entry: &Entry) -> SessionError {
    tracing::debug!(relation = entry.relation, key = %entry.key, "a commit lost a conflict");
    conflict().into()
}

/// Reattaches the transaction, and runs the statements that were deferred to the commit.
async fn reattach_for_commit(worker: &mut Worker, cluster: &Cluster) -> SessionResult<()> {
    let was_detached = worker
        .transaction
        .as_ref()
        .is_some_and(|transaction| matches!(transaction.write_set, WriteSetState::Detached(_)));
    loop {
        match reattach(worker, &|| cluster.new_job_id(), CancelPolicy::by_client()).await {
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
        work.push(format!("SELECT pg_toast_temp_dsql.check_deferred('{{{tables}}}')"));
    }
    if !work.is_empty() {
        worker.as_superuser(&work.join("; "), CancelPolicy::by_client()).await?;
    }
    Ok(())
}
