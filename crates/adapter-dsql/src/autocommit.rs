//! The executor that commits every statement by itself, and repeats it under the runner.

use temporal_dsql_client::Phase;
use temporal_dsql_ports::{CurrentExecutionsRouter, Deadline, Outcome, StoreError};

use crate::{
    executor::{Executor, Shared},
    statement::{Answer, Statement},
};

/// Every statement is a transaction of its own, on any connection.
pub(crate) struct Autocommit<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) deadline: Deadline,
}

impl Executor for Autocommit<'_> {
    const HOLDS_LOCKS: bool = false;

    async fn send(&mut self, statement: Statement) -> Result<Answer, StoreError> {
        let Self { shared, deadline } = *self;
        let runner = &shared.runner;
        // A statement that writes commits by itself.
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
                    let mut connection =
                        runner.until(deadline, op, Outcome::NotApplied, get).await?;
                    let timeout = shared.statement_timeout;
                    let run = statement.run(&mut connection, attempt.number, phase, timeout);
                    runner.until(deadline, op, ended, run).await
                }
            })
            .await
    }

    fn router(&self) -> &dyn CurrentExecutionsRouter {
        &*self.shared.router
    }
}
