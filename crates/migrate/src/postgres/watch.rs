//! Statements that wait for locks of other sessions on PostgreSQL: they are reported, and they can be
//! cancelled on the server. DSQL has no locks to wait for (aurora-dsql.md#transactions).

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use sqlx::{PgConnection, Row as _};
use temporal_dsql_client::{Connector, open_connection};
use tokio::time::{Instant, sleep, timeout};

use super::error::Failure;
use crate::{Progress, ProgressObserver};

/// How long a statement takes before its locks are looked at.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// The interval between two later looks.
const NEXT_LOOK: Duration = Duration::from_secs(10);
/// How often the end of a cancelled statement is looked for.
const CANCEL_INTERVAL: Duration = Duration::from_millis(10);
/// How long a look or a cancellation may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// No session.
const NONE: i32 = 0;

/// The session of a database on PostgreSQL, as a second session sees it.
#[derive(Clone)]
pub struct SessionWatch {
    connector: Connector,
    observer: Arc<dyn ProgressObserver>,
    /// The process of the session on the server.
    process: Arc<AtomicI32>,
}

impl SessionWatch {
    pub(super) fn new(connector: Connector, observer: Arc<dyn ProgressObserver>) -> Self {
        Self { connector, observer, process: Arc::new(AtomicI32::new(NONE)) }
    }

    /// The process of the open session; `None` if there is none, or if it is on DSQL.
    pub(super) fn set_process(&self, process: Option<i32>) {
        self.process.store(process.unwrap_or(NONE), Ordering::Relaxed);
    }

    /// Cancels the statement that the session is running, if there is one, and waits a few seconds for
    /// its end. A server that cannot be reached is not an error: the session ends with its connection.
    pub async fn cancel(&self) {
        if let Some(process) = self.process() {
            let cancel = async {
                let mut connection = open_connection(&self.connector).await.ok()?;
                let query = sqlx::query("SELECT pg_cancel_backend($1)").bind(process);
                query.execute(&mut connection).await.ok()?;
                // The server has only sent a signal.
                let active = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active'";
                let mut is_active = async || {
                    let query = sqlx::query(active).bind(process);
                    query.fetch_optional(&mut connection).await.ok().flatten()
                };
                while is_active().await.is_some() {
                    sleep(CANCEL_INTERVAL).await;
                }
                Some(())
            };
            let _ = timeout(REQUEST_LIMIT, cancel).await;
        }
    }

    /// Awaits `work`, a statement of the session, but no longer than `limit`. While it waits for a
    /// lock, that is reported. After the limit it is cancelled.
    pub(super) async fn run<T>(
        &self,
        limit: Option<Duration>,
        work: impl Future<Output = Result<T, sqlx::Error>> + Send,
    ) -> Result<T, Failure> {
        if self.process().is_none() {
            return within(limit, work).await;
        }
        let result = tokio::select! {
            biased;
            result = within(limit, work) => result,
            never = self.report_locks() => match never {},
        };
        if matches!(result, Err(Failure::TimedOut(_))) {
            self.cancel().await;
        }
        result
    }

    fn process(&self) -> Option<i32> {
        Some(self.process.load(Ordering::Relaxed)).filter(|process| *process != NONE)
    }

    async fn report_locks(&self) -> Infallible {
        let start = Instant::now();
        sleep(FIRST_LOOK).await;
        loop {
            if let Some(process) = self.process()
                && let Ok(Some(holders)) = timeout(REQUEST_LIMIT, self.lock_holders(process)).await
                && !holders.is_empty()
            {
                let (holders, elapsed) = (&holders, start.elapsed());
                self.observer.on(Progress::WaitingForLock { holders, elapsed });
            }
            sleep(NEXT_LOOK).await;
        }
    }

    /// The sessions that hold the locks that `process` waits for; `None` if they cannot be read.
    async fn lock_holders(&self, process: i32) -> Option<Vec<String>> {
        let mut connection = open_connection(&self.connector).await.ok()?;
        lock_holders(&mut connection, Some(process)).await.ok()
    }
}

/// The sessions that hold the locks that `process` waits for; without it, those that any session of
/// this application and this role waits for.
pub(super) async fn lock_holders(
    connection: &mut PgConnection,
    process: Option<i32>,
) -> Result<Vec<String>, sqlx::Error> {
    let query = sqlx::query(
        "SELECT h.pid, coalesce(h.usename::text, ''), coalesce(h.application_name, ''), \
         coalesce(h.state, '') FROM pg_catalog.pg_stat_activity h \
         WHERE h.pid IN (SELECT unnest(pg_catalog.pg_blocking_pids(w.pid)) \
         FROM pg_catalog.pg_stat_activity w WHERE w.pid = $1 OR $1 IS NULL \
         AND w.datname = current_database() AND w.usename = current_user \
         AND w.application_name = current_setting('application_name')) ORDER BY h.pid",
    );
    let rows = query.bind(process).fetch_all(connection).await?;
    let holder = |row: &sqlx::postgres::PgRow| {
        let pid: i32 = row.try_get(0)?;
        let what = (1..4).map(|column| row.try_get::<String, _>(column));
        let mut what: Vec<_> = what.collect::<Result<_, _>>()?;
        what.retain(|text| !text.is_empty());
        Ok(format!("process {pid} ({})", what.join(", ")))
    };
    rows.iter().map(holder).collect()
}

/// `work`, but no longer than `limit`.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, Failure> {
    match limit {
        None => work.await.map_err(Failure::Driver),
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .map_err(|_| Failure::TimedOut(limit))?
            .map_err(Failure::Driver),
    }
}
