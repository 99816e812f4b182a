//! Asynchronous jobs: indexes that become valid, constraints that are validated
//! (aurora-dsql.md#jobs).
//!
//! The work is done immediately or at the end; the job takes time only to imitate a cluster.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    Faults, JobDelays,
    catalog::{CatalogVersions, Origin},
    engine::{
        in_flight::CancelPolicy,
        lock_monitor::LockMonitor,
        monitored::{Failure, MonitoredConnection},
        transaction::{Job, Work},
    },
    sql::literal,
    upstream::{Connection, Target, single},
};

/// The details of a failed build of a unique index [D].
const DUPLICATES: &str = "Found duplicate key while validating index for UCVs";
/// The alphabet of base 32 (RFC 4648), in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The jobs of a cluster.
pub(crate) struct Jobs {
    delays: JobDelays,
    target: Target,
    monitor: Arc<LockMonitor>,
    versions: Arc<CatalogVersions>,
    faults: Faults,
    /// By id: the channel that delivers whether the job succeeded, when it ends.
    known: Mutex<HashMap<String, watch::Receiver<Option<bool>>>>,
}

impl Jobs {
    pub(crate) fn new(
        delays: JobDelays,
        target: Target,
        monitor: Arc<LockMonitor>,
        versions: Arc<CatalogVersions>,
        faults: Faults,
    ) -> Self {
        Self { delays, target, monitor, versions, faults, known: Mutex::default() }
    }

    /// Starts a job, which belongs to the catalog change at `origin`.
    pub(crate) fn start(self: &Arc<Self>, job: Job, origin: Origin) {
        let (ended, end) = watch::channel(None);
        self.known().insert(job.id.clone(), end);
        let jobs = self.clone();
        let hold = self.faults.job_hold();
        tokio::spawn(async move {
            if let Some(mut hold) = hold {
                // Nothing is sent: the error is the release.
                let _ = hold.changed().await;
            }
            let result = jobs.run(&job, origin).await;
            if let Err(failure) = &result {
                tracing::error!(job = job.id, ?failure, "an asynchronous job failed");
            }
            let _ = ended.send(Some(matches!(result, Ok(true))));
        });
    }

    /// Waits until a job ends; whether it succeeded. `None` if there is no such job.
    pub(crate) async fn wait(&self, id: &str) -> Option<bool> {
        let mut end = self.known().get(id).cloned()?;
        let succeeded = end.wait_for(Option::is_some).await.ok()?;
        *succeeded
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Option<bool>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, job: &Job, origin: Origin) -> Result<bool, Failure> {
        let delays = self.delays;
        let id = literal(&job.id);
        tokio::time::sleep(delays.start).await;
        let connection = Connection::open(&self.target, &[]).await?;
        let mut connection = MonitoredConnection::new(connection, self.monitor.clone());
        self.monitor.add(connection.tracker(), None);
        let processing = format!(
            "UPDATE pg_toast_temp_dsql.job SET status = 'processing', update_time = clock_timestamp() \
             WHERE job_id = {id}"
        );
        connection.query(&processing, CancelPolicy::cancellable()).await?;
        tokio::time::sleep(delays.work).await;

        let failed = match &job.work {
            Work::Index { duplicates: true, .. } => Some(DUPLICATES.to_owned()),
            Work::Index { oid, .. } => {
                let sql = format!(
                    "UPDATE pg_catalog.pg_index SET indisvalid = true WHERE indexrelid = {oid}"
                );
                connection.query(&sql, CancelPolicy::cancellable()).await?;
                None
            }
            Work::Validate { constraint } => validate(&mut connection, *constraint).await?,
            Work::Drop => None,
        };
        let (status, details) = match &failed {
            None => ("completed", "NULL".to_owned()),
            Some(details) => ("failed", literal(details)),
        };
        let end = format!(
            "UPDATE pg_toast_temp_dsql.job SET status = '{status}', details = {details}, \
             update_time = clock_timestamp() WHERE job_id = {id}"
        );
        connection.query(&end, CancelPolicy::cancellable()).await?;
        if job.work != Work::Drop {
            // The end of a job is a catalog change as well (aurora-dsql.md#jobs).
            self.versions.record_job_end(origin);
        }
        Ok(failed.is_none())
    }
}

/// Validates a constraint; returns the details of the failure in DSQL's words.
async fn validate(
    connection: &mut MonitoredConnection,
    constraint: u32,
) -> Result<Option<String>, Failure> {
    // The table and the constraint may have been renamed since.
    let statement = format!(
        "SELECT pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT %I', \
         pg_toast_temp_dsql.table_name(conrelid), conname) \
         FROM pg_catalog.pg_constraint WHERE oid = {constraint}"
    );
    let Some(sql) = single(connection.query(&statement, CancelPolicy::cancellable()).await?) else {
        return Ok(Some("constraint does not exist".to_owned()));
    };
    loop {
        match connection.query(&sql, CancelPolicy::cancellable()).await {
            Ok(_) => return Ok(None),
            Err(Failure::Interrupted) => {}
            Err(Failure::Refused(error)) => {
                let message = error.message;
                // PostgreSQL's message contains the relation, DSQL's does not.
                let shorter = match (message.find(" of relation "), message.find(" is violated")) {
                    (Some(from), Some(to)) if from < to => {
                        format!("{}{}", &message[..from], &message[to..])
                    }
                    _ => message,
                };
                return Ok(Some(shorter));
            }
            Err(broken) => return Err(broken),
        }
    }
}

/// A new id: 16 bytes in base 32, 26 characters.
pub(crate) fn new_id(random: u128) -> String {
    // The last character has only three of its five bits from the number.
    (0..26)
        .map(|position| {
            let shift = 123_i32 - 5 * position;
            let bits = if shift >= 0 { random >> shift } else { random << -shift };
            char::from(ALPHABET[(bits & 31) as usize])
        })
        .collect()
}

/// Whether `text` has the form of a job id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_sixteen_bytes_in_base_32() {
        assert_eq!(new_id(0), "a".repeat(26));
        assert_eq!(new_id(u128::MAX), format!("{}4", "7".repeat(25)));
        // The result of other implementations of RFC 4648 for the bytes 00 01 … 0f.
        let bytes: [u8; 16] = std::array::from_fn(|byte| byte as u8);
        assert_eq!(new_id(u128::from_be_bytes(bytes)), "aaaqeayeaudaocajbifqydiob4");
    }

    #[test]
    fn other_texts_are_not_ids() {
        assert!(is_id(&new_id(42)));
        for text in ["", "no-such-job", "AAAQEAYEAUDAOCAJBIFQYDIOB4", "aaaqeayeaudaocajbifqydiob40"]
        {
            assert!(!is_id(text), "{text}");
        }
    }
}
