//! The executor of statements, and the state that all executors of a store share.

use std::{future::Future, sync::Arc, time::Duration};

use temporal_dsql_client::Phase;
use temporal_dsql_ports::{
    Attempt, CurrentExecutionsRouter, Deadline, Outcome, Runner, StoreError,
};

use crate::{
    pool::Pool,
    statement::{Answer, Statement},
};

/// The state that every executor of one store shares.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    pub(crate) runner: Runner,
    pub(crate) router: Arc<dyn CurrentExecutionsRouter>,
    pub(crate) statement_timeout: Duration,
}

impl Shared {
    /// Sends a statement that is a transaction of its own, on any connection.
    pub(crate) async fn send(
        &self,
        statement: Statement,
        attempt: Attempt,
        deadline: Deadline,
    ) -> Result<Answer, StoreError> {
        // A statement that writes commits by itself.
        let phase = if statement.meta.writes { Phase::Commit } else { Phase::Statement };
        let get = self.pool.get();
        let get = self.runner.until(deadline, attempt.op, Outcome::NotApplied, get);
        let mut connection = get.await?;
        let timeout = self.statement_timeout;
        let run = statement.run(&mut connection, attempt.number, phase, timeout);
        self.runner.until(deadline, attempt.op, phase.outcome_without_answer(), run).await
    }
}

/// Sends statements to the database: by themselves, or inside a transaction.
pub(crate) trait Executor: Send {
    /// Whether a lock is held after its statement.
    const HOLDS_LOCKS: bool;

    /// Runs one statement: one round trip, after the connection has prepared it.
    fn send(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = Result<Answer, StoreError>> + Send;

    /// The router of the store.
    fn router(&self) -> &dyn CurrentExecutionsRouter;
}
