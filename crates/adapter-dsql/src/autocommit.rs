//! The executor that commits every statement by itself, and repeats it under the runner.

use temporal_dsql_ports::{CurrentExecutionsRouter, Deadline, StoreError};

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
        let once = |attempt| shared.send(statement.clone(), attempt, deadline);
        shared.runner.retry_until(deadline, statement.meta.op, once).await
    }

    fn router(&self) -> &dyn CurrentExecutionsRouter {
        &*self.shared.router
    }
}
