//! A connection to PostgreSQL in the sight of the monitor.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    monitor::{GRACE, Monitor},
    watch::{CancelledBy, Watch},
};
use crate::{
    upstream::{Connection, Exchange, Rows, UpstreamError, rows},
    wire::{DbError, Message, tag},
};

/// Why a statement has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// PostgreSQL refused it.
    Refused(DbError),
    /// It was cancelled to make way, and has to run again.
    Interrupted,
    /// The connection is gone.
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

/// When a statement was asked for, and who may cancel it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Urgency {
    pub(crate) since: Instant,
    /// Not the monitor: others wait for it.
    pub(crate) urgent: bool,
    /// Not the client: it is none of its statements.
    pub(crate) shielded: bool,
}

impl Urgency {
    pub(crate) fn now() -> Self {
        Self { since: Instant::now(), urgent: false, shielded: false }
    }

    /// A commit waits, and everybody for the commit.
    pub(crate) fn commit() -> Self {
        Self { since: Instant::now(), urgent: true, shielded: false }
    }

    /// The emulator's own work between the statements of clients: a transaction goes back, or makes
    /// way. It waits for nobody, so it is soon over; were it cancelled, the transaction would have
    /// failed with its locks in place, and could not make way any more.
    pub(crate) fn shielded() -> Self {
        Self { since: Instant::now(), urgent: true, shielded: true }
    }
}

/// How long to wait before a statement that made way runs again.
pub(crate) const BEFORE_RETRY: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct Observed {
    connection: Connection,
    watch: Arc<Watch>,
    monitor: Arc<Monitor>,
    broken: bool,
}

impl Observed {
    /// The monitor has to be told of it ([`Monitor::add`]).
    pub(crate) fn new(connection: Connection, monitor: Arc<Monitor>) -> Self {
        let watch = Arc::new(Watch::new(connection.process()));
        Self { connection, watch, monitor, broken: false }
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    pub(crate) fn parameters(&self) -> &[(String, String)] {
        self.connection.parameters()
    }

    /// Whether the connection cannot be used any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// A statement has gone through: the monitor's patience with it starts anew.
    pub(crate) fn has_succeeded(&self) {
        self.monitor.has_succeeded(self.watch.process);
    }

    /// Sends, and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        exchange: &Exchange,
        urgency: Urgency,
    ) -> Result<Vec<Message>, Failure> {
        self.watch.take_off(urgency);
        let process = self.watch.process;
        let (answer, slow) = {
            let answer = self.connection.exchange(exchange);
            tokio::pin!(answer);
            match tokio::time::timeout(GRACE, &mut answer).await {
                Ok(answer) => (answer, false),
                Err(_) => {
                    self.monitor.is_slow(process);
                    (answer.await, true)
                }
            }
        };
        let cancelled_by = self.watch.land().await;
        if slow {
            self.monitor.is_done(process);
        }
        let answer = answer.inspect_err(|_| self.broken = true)?;
        let cancelled = answer
            .iter()
            .any(|message| message.tag() == tag::ERROR && DbError::read(message).code == "57014");
        if cancelled && cancelled_by == Some(CancelledBy::Monitor) {
            return Err(Failure::Interrupted);
        }
        Ok(answer)
    }

    /// Runs `sql`, one statement or more; the rows of all of them.
    pub(crate) async fn query(&mut self, sql: &str, urgency: Urgency) -> Result<Rows, Failure> {
        let answer = self.exchange(&Exchange::query(sql), urgency).await?;
        rows(&answer).map_err(Failure::Refused)
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.monitor.remove(self.watch.process);
    }
}
