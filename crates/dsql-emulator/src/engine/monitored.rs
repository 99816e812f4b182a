//! A connection to PostgreSQL whose statements the lock monitor sees.

use std::{sync::Arc, time::Duration};

use super::{
    in_flight::{CancelPolicy, CancelledBy, StatementTracker},
    lock_monitor::{LockMonitor, SLOW_AFTER},
};
use crate::{
    upstream::{Connection, Exchange, Rows, UpstreamError, rows},
    wire::{DbError, Message, tag},
};

/// Why a statement has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// PostgreSQL refused it.
    Refused(DbError),
    /// The lock monitor has cancelled it; it must run again.
    Interrupted,
    /// The connection broke.
    Broken(UpstreamError),
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Refused(error) => Self::Refused(error),
            other => Self::Broken(other),
        }
    }
}

/// The delay before a cancelled statement runs again.
pub(crate) const RETRY_DELAY: Duration = Duration::from_millis(1);

/// A connection whose in-flight statement is tracked.
#[derive(Debug)]
pub(crate) struct MonitoredConnection {
    connection: Connection,
    tracker: Arc<StatementTracker>,
    monitor: Arc<LockMonitor>,
    broken: bool,
}

impl MonitoredConnection {
    /// The caller registers it with [`LockMonitor::add`].
    pub(crate) fn new(connection: Connection, monitor: Arc<LockMonitor>) -> Self {
        let tracker = Arc::new(StatementTracker::new(connection.process()));
        Self { connection, tracker, monitor, broken: false }
    }

    pub(crate) fn tracker(&self) -> &Arc<StatementTracker> {
        &self.tracker
    }

    pub(crate) fn parameters(&self) -> &[(String, String)] {
        self.connection.parameters()
    }

    /// Whether the connection cannot be used any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Resets the count of cancellations, after a statement that has succeeded.
    pub(crate) fn reset_cancellations(&self) {
        self.monitor.reset_cancellations(self.tracker.process);
    }

    /// Sends messages and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        exchange: &Exchange,
        policy: CancelPolicy,
    ) -> Result<Vec<Message>, Failure> {
        let (answer, failure) = self.exchange_all(exchange, policy).await?;
        failure.map_or(Ok(answer), Err)
    }

    /// As [`exchange`](Self::exchange), with the answer also of a statement that the lock monitor
    /// has cancelled.
    pub(crate) async fn exchange_all(
        &mut self,
        exchange: &Exchange,
        policy: CancelPolicy,
    ) -> Result<(Vec<Message>, Option<Failure>), Failure> {
        self.tracker.start(policy);
        let process = self.tracker.process;
        let (answer, slow) = {
            let answer = self.connection.exchange(exchange);
            tokio::pin!(answer);
            match tokio::time::timeout(SLOW_AFTER, &mut answer).await {
                Ok(answer) => (answer, false),
                Err(_) => {
                    self.monitor.mark_slow(process);
                    (answer.await, true)
                }
            }
        };
        let cancelled_by = self.tracker.finish().await;
        if slow {
            self.monitor.mark_done(process);
        }
        let answer = answer.inspect_err(|_| self.broken = true)?;
        let cancelled = answer
            .iter()
            .any(|message| message.tag() == tag::ERROR && DbError::read(message).code == "57014");
        let interrupted = cancelled && cancelled_by == Some(CancelledBy::LockMonitor);
        Ok((answer, interrupted.then_some(Failure::Interrupted)))
    }

    /// Runs one or more statements; returns the rows of all of them.
    pub(crate) async fn query(&mut self, sql: &str, policy: CancelPolicy) -> Result<Rows, Failure> {
        let answer = self.exchange(&Exchange::query(sql), policy).await?;
        rows(&answer).map_err(Failure::Refused)
    }
}

impl Drop for MonitoredConnection {
    fn drop(&mut self) {
        self.monitor.remove(self.tracker.process);
    }
}
