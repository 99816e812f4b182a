//! The executor of statements, and the state that all executors of a store share.

use std::{future::Future, sync::Arc, time::Duration};

use temporal_dsql_ports::{CurrentExecutionsRouter, Runner, StoreError};

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
