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
use temporal_dsql_client::Connector;
use tokio::time::{Instant, sleep, timeout};

use super::error::Failure;
use crate::{Progress, ProgressObserver};

/// How long a statement takes before its locks are looked at.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// The interval between two later looks.
const NEXT_LOOK: Duration = Duration::from_secs(10);
/// How long a look or a cancellation may take.
const PATIENCE: Duration = Duration::from_secs(5);
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

    /// Cancels the statement that the session is running, if there is one, within a few seconds. A
    /// server that cannot be reached is not an error: the session ends with its connection.
    pub async fn cancel(&self) {
        if let Some(process) = self.process() {
            let cancel = async {
                let mut connection = self.connector.connect().await.ok()?;
                let query = sqlx::query("SELECT pg_cancel_backend($1)").bind(process);
                query.execute(&mut connection).await.ok()
            };
            let _ = timeout(PATIENCE, cancel).await;
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
                && let Ok(Some(holders)) = timeout(PATIENCE, self.lock_holders(process)).await
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
        let mut connection: PgConnection = self.connector.connect().await.ok()?;
        let query = sqlx::query(
            "SELECT pid, coalesce(usename::text, ''), coalesce(application_name, ''), \
             coalesce(state, '') FROM pg_catalog.pg_stat_activity \
             WHERE pid = ANY (pg_catalog.pg_blocking_pids($1)) ORDER BY pid",
        );
        let rows = query.bind(process).fetch_all(&mut connection).await.ok()?;
        let holder = |row: &sqlx::postgres::PgRow| {
            let pid: i32 = row.try_get(0).ok()?;
            let what: Vec<String> = (1..4).map_while(|column| row.try_get(column).ok()).collect();
            let what: Vec<_> = what.into_iter().filter(|text| !text.is_empty()).collect();
            Some(format!("process {pid} ({})", what.join(", ")))
        };
        rows.iter().map(holder).collect()
    }
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
