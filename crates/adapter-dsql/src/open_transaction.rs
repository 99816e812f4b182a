//! The executor of one transaction: a connection of the pool between BEGIN and COMMIT or ROLLBACK.

use std::{sync::Arc, time::Duration};

use temporal_dsql_client::Phase;
use temporal_dsql_ports::{Attempt, Cause, CurrentExecutionsRouter, Outcome, StoreError};
use tracing::Instrument;

use crate::{
    executor::{Executor, Shared},
    pool::PooledConnection,
    statement::{Answer, Statement, run_simple},
};

/// A transaction on one connection.
pub(crate) struct OpenTransaction {
    shared: Arc<Shared>,
    attempt: Attempt,
    /// `None` once the transaction is over.
    connection: Option<PooledConnection>,
    /// The error of the statement that failed, or that was cancelled before its answer. The
    /// transaction can then only be rolled back: the server would answer COMMIT with success and the
    /// tag ROLLBACK (aurora-dsql.md#transactions), which the driver does not report, or it would
    /// commit a statement whose answer was not read.
    failed: Option<StoreError>,
}

impl OpenTransaction {
    pub(crate) async fn begin(shared: Arc<Shared>, attempt: Attempt) -> Result<Self, StoreError> {
        // DSQL has no other isolation (aurora-dsql.md#transactions); the default of PostgreSQL is
        // READ COMMITTED.
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";
        let mut connection = shared.pool.get().await?;
        let timeout = shared.statement_timeout;
        let begun = run_simple(&mut connection, BEGIN, attempt, Phase::Opening, timeout).await;
        begun.inspect_err(|error| {
            // Unless it lost a conflict, the transaction may have begun nevertheless. A
            // write on the connection would then be answered as done, and would be lost.
            connection.broken |= !matches!(error, StoreError::Conflict { .. });
        })?;
        Ok(Self { shared, attempt, connection: Some(connection), failed: None })
    }

    /// Commits; or, after a failed statement, rolls back and returns the error of that statement.
    pub(crate) async fn end(&mut self) -> Result<(), StoreError> {
        match self.failed.take() {
            Some(error) => {
                // A server that cannot be reached rolls back by itself.
                let _ = self.roll_back().await;
                Err(error)
            }
            None => self.commit().await,
        }
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        let (attempt, timeout) = (self.attempt, self.shared.statement_timeout);
        let committed =
            run_simple(&mut connection, "COMMIT", attempt, Phase::Commit, timeout).await;
        committed.map_err(|error| error.duplicate_is_conflict(attempt.op))
    }

    /// Rolls back, unless the transaction has ended.
    pub(crate) async fn roll_back(&mut self) -> Result<(), StoreError> {
        match self.connection.take() {
            Some(connection) => {
                roll_back(connection, self.attempt, self.shared.statement_timeout).await
            }
            None => Ok(()),
        }
    }
}

fn unavailable(attempt: Attempt, reason: &'static str) -> StoreError {
    StoreError::Unavailable {
        op: attempt.op,
        outcome: Outcome::NotApplied,
        source: Some(Cause::new(reason)),
    }
}

/// Rolls back and returns the connection to the pool.
///
/// A connection whose last answer was not read is closed instead, which ends the transaction, too:
/// the driver would read that answer first, and not send ROLLBACK.
async fn roll_back(
    mut connection: PooledConnection,
    attempt: Attempt,
    timeout: Duration,
) -> Result<(), StoreError> {
    if connection.broken {
        return Ok(());
    }
    let rolled_back =
        run_simple(&mut connection, "ROLLBACK", attempt, Phase::Statement, timeout).await;
    connection.broken |= rolled_back.is_err();
    rolled_back
}

impl Executor for OpenTransaction {
    const HOLDS_LOCKS: bool = true;

    async fn send(&mut self, statement: Statement) -> Result<Answer, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        // Stays if this future is dropped before the answer.
        self.failed =
            Some(unavailable(self.attempt, "a statement was cancelled before its answer"));
        let (attempt, timeout) = (self.attempt, self.shared.statement_timeout);
        let answer = match &mut self.connection {
            Some(connection) => {
                statement.run(connection, attempt.number, Phase::Statement, timeout).await
            }
            None => Err(unavailable(attempt, "the transaction is over")),
        };
        self.failed = answer.as_ref().err().cloned();
        answer
    }

    fn router(&self) -> &dyn CurrentExecutionsRouter {
        &*self.shared.router
    }
}

impl Drop for OpenTransaction {
    /// Rolls back what was neither committed nor rolled back.
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let is_broken = connection.broken;
        // The connection is closed unless the rollback runs: without a runtime, or if the runtime
        // ends first, closing it ends the transaction, too.
        connection.broken = true;
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !is_broken
        {
            let (attempt, timeout) = (self.attempt, self.shared.statement_timeout);
            let rollback = async move {
                connection.broken = false;
                // There is no caller to report the error to.
                let _ = roll_back(connection, attempt, timeout).await;
            };
            runtime.spawn(rollback.in_current_span());
        }
    }
}
