//! The two ways a statement reaches the database: by itself, or inside a transaction.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use temporal_dsql_client::Phase;
use temporal_dsql_ports::{
    Attempt, Cause, CurrentExecutionsRouter, Deadline, Outcome, Runner, StoreError, Transaction,
};
use tracing::Instrument;

use crate::{
    pool::{Loan, Pool},
    rows::Rows,
    statement::{Answer, Statement, run_simple},
};

/// What every session of one store shares.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    pub(crate) runner: Runner,
    pub(crate) router: Arc<dyn CurrentExecutionsRouter>,
    pub(crate) statement_timeout: Duration,
}

/// Something that statements can be sent over.
pub(crate) trait Link: Send {
    /// Whether a lock that is taken lasts longer than its statement.
    const HOLDS_LOCKS: bool;

    /// Runs one statement: one round trip, once the connection knows its text.
    fn send(
        &mut self,
        statement: Statement,
    ) -> impl Future<Output = Result<Answer, StoreError>> + Send;

    /// The router of the store.
    fn router(&self) -> &dyn CurrentExecutionsRouter;
}

/// Every statement is a transaction of its own, on any connection.
pub(crate) struct Autocommit<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) deadline: Deadline,
}

impl Link for Autocommit<'_> {
    const HOLDS_LOCKS: bool = false;

    async fn send(&mut self, statement: Statement) -> Result<Answer, StoreError> {
        let Self { shared, deadline } = *self;
        let runner = &shared.runner;
        // A statement that writes commits with the same message that carries it.
        let (phase, ended) = if statement.meta.writes {
            (Phase::Commit, Outcome::Unknown)
        } else {
            (Phase::Statement, Outcome::NotApplied)
        };
        let op = statement.meta.op;
        runner
            .retry_until(deadline, op, |attempt| {
                let statement = statement.clone();
                async move {
                    let get = shared.pool.get();
                    let mut loan = runner.until(deadline, op, Outcome::NotApplied, get).await?;
                    let timeout = shared.statement_timeout;
                    let run = statement.run(&mut loan, attempt.number, phase, timeout);
                    runner.until(deadline, op, ended, run).await
                }
            })
            .await
    }

    fn router(&self) -> &dyn CurrentExecutionsRouter {
        &*self.shared.router
    }
}

/// A transaction on one connection.
pub(crate) struct Open {
    shared: Arc<Shared>,
    attempt: Attempt,
    /// `None` once the transaction is over.
    loan: Option<Loan>,
    /// The error of the statement that failed, or that was given up before its answer: from then
    /// on nothing but a rollback is possible. The server would answer COMMIT with success and the
    /// tag ROLLBACK (aurora-dsql.md#transactions), which the driver does not tell apart, or it
    /// would commit what nobody has seen the answer of.
    failed: Option<StoreError>,
}

impl Open {
    pub(crate) async fn begin(shared: Arc<Shared>, attempt: Attempt) -> Result<Self, StoreError> {
        // The isolation is DSQL's only one (aurora-dsql.md#transactions); stock PostgreSQL must be
        // told.
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";
        let mut loan = shared.pool.get().await?;
        let timeout = shared.statement_timeout;
        run_simple(&mut loan, BEGIN, attempt, Phase::Opening, timeout).await?;
        Ok(Self { shared, attempt, loan: Some(loan), failed: None })
    }

    async fn run(&mut self, statement: Statement) -> Result<Answer, StoreError> {
        let (attempt, timeout) = (self.attempt, self.shared.statement_timeout);
        match &mut self.loan {
            Some(loan) => statement.run(loan, attempt.number, Phase::Statement, timeout).await,
            None => Err(unavailable(attempt, "the transaction is over")),
        }
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let Some(mut loan) = self.loan.take() else { return Ok(()) };
        let (attempt, timeout) = (self.attempt, self.shared.statement_timeout);
        let committed = run_simple(&mut loan, "COMMIT", attempt, Phase::Commit, timeout).await;
        committed.map_err(|error| error.duplicate_is_conflict(attempt.op))
    }

    async fn roll_back(&mut self) -> Result<(), StoreError> {
        match self.loan.take() {
            Some(loan) => roll_back(loan, self.attempt, self.shared.statement_timeout).await,
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

/// Rolls back and gives the connection back, if it is still good.
///
/// One with an answer under way is not: what the driver reads next is that answer, and ROLLBACK
/// would not be sent. It is closed, which ends the transaction, too.
async fn roll_back(mut loan: Loan, attempt: Attempt, timeout: Duration) -> Result<(), StoreError> {
    if loan.broken {
        return Ok(());
    }
    let rolled_back = run_simple(&mut loan, "ROLLBACK", attempt, Phase::Statement, timeout).await;
    loan.broken |= rolled_back.is_err();
    rolled_back
}

impl Link for Open {
    const HOLDS_LOCKS: bool = true;

    async fn send(&mut self, statement: Statement) -> Result<Answer, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        // In case that this future is dropped before the answer.
        self.failed = Some(unavailable(self.attempt, "a statement was given up before its answer"));
        let answer = self.run(statement).await;
        self.failed = answer.as_ref().err().cloned();
        answer
    }

    fn router(&self) -> &dyn CurrentExecutionsRouter {
        &*self.shared.router
    }
}

impl Drop for Open {
    /// Rolls back what was neither committed nor rolled back.
    fn drop(&mut self) {
        let Some(mut loan) = self.loan.take() else { return };
        let is_broken = loan.broken;
        // Until it is rolled back: closing the connection ends the transaction, too, if there is no
        // runtime or it ends before.
        loan.broken = true;
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !is_broken
        {
            let (attempt, timeout) = (self.attempt, self.shared.statement_timeout);
            let rollback = async move {
                loan.broken = false;
                // Nobody is there to be told.
                let _ = roll_back(loan, attempt, timeout).await;
            };
            runtime.spawn(rollback.in_current_span());
        }
    }
}

#[async_trait]
impl Transaction for Rows<Open> {
    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        let open = &mut self.link;
        match open.failed.take() {
            Some(error) => {
                // The error says all there is to say; a server that cannot be told to roll back
                // has lost the connection and rolls back by itself.
                let _ = open.roll_back().await;
                Err(error)
            }
            None => open.commit().await,
        }
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), StoreError> {
        self.link.roll_back().await
    }
}
