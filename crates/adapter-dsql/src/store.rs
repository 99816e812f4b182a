//! The store on DSQL: opening it, and the implementation of [`Store`].

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use temporal_dsql_client::{Config, Connector};
use temporal_dsql_domain::Engine;
use temporal_dsql_ports::{
    ArchetypeRouter, Attempt, CreateTasks, CurrentExecutionsRouter, Deadline, Outcome,
    RecordedVersion, Runner, Session, Store, StoreError, Transaction, Within, WriteSet,
    apply_by_table, create_tasks_by_table,
};

use crate::{
    autocommit::Autocommit,
    capabilities::{Capabilities, Detection},
    executor::Shared,
    metrics,
    observer::OperationObserver,
    open_error::OpenError,
    open_transaction::OpenTransaction,
    pool::Pool,
    rows::{Rows, matching_tasks, mutable_state::apply::OneStatement, statements},
};

/// Temporal's executions on Aurora DSQL, or on stock PostgreSQL for development.
///
/// Clones share the connection pool. An operation is a span `operation`, with its statements as spans
/// `statement` inside, of the installed `tracing` subscriber, and counts in the installed `metrics`
/// recorder ([`METRICS`](crate::METRICS)).
#[derive(Clone)]
pub struct DsqlStore {
    shared: Arc<Shared>,
    engine: Engine,
    detection: Arc<Detection>,
}

impl fmt::Debug for DsqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DsqlStore")
            .field("engine", &self.engine)
            .field("capabilities", &self.capabilities())
            .finish_non_exhaustive()
    }
}

/// Opens a store, and one connection to check that the database accepts the user. This is the
/// counterpart of `newDB` of the Go plugin (requirements.md#req-3-1, requirements.md#req-3-2); the
/// installed `tracing` subscriber corresponds to its logger.
///
/// `credentials` sign the IAM tokens of DSQL; PostgreSQL needs none.
///
/// ```no_run
/// use temporal_dsql_store::{Config, connect};
///
/// # async fn start() -> Result<(), temporal_dsql_store::OpenError> {
/// let store = connect(&Config::from_env()?, None).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The configuration cannot work, or the database cannot be reached or refuses the user.
pub async fn connect(
    config: &Config,
    credentials: Option<SharedCredentialsProvider>,
) -> Result<DsqlStore, OpenError> {
    let connector = Connector::new(config, credentials)?;
    DsqlStore::open(config, connector, Arc::new(ArchetypeRouter)).await
}

impl DsqlStore {
    /// Opens a store over `connector`, with a router of the caller's.
    ///
    /// # Errors
    /// The configuration cannot work; or the database cannot be reached, refuses the user, or refuses
    /// statements that the write configuration demands.
    pub async fn open(
        config: &Config,
        connector: Connector,
        router: Arc<dyn CurrentExecutionsRouter>,
    ) -> Result<Self, OpenError> {
        // It may have been changed since the connector was made.
        config.resolve()?;
        metrics::describe();
        let engine = connector.engine();
        // The statement cache holds all statements of a store, so that none is prepared twice on a
        // connection.
        let connector = connector.statement_cache_capacity(statements().count());
        let shared = Arc::new(Shared {
            pool: Pool::new(connector, config.pool),
            runner: Runner::builder()
                .policy(config.retry)
                .observer(Arc::new(OperationObserver))
                .build(),
            router,
            statement_timeout: config.statement_timeout,
        });
        drop(shared.pool.get().await.map_err(OpenError::Connect)?);
        let detection = Arc::new(Detection::start(config.write_form, &shared).await?);
        tracing::info!(
            host = config.host,
            port = config.port,
            user = config.user,
            database = config.database,
            %engine,
            capabilities = ?detection.known(),
            "opened"
        );
        Ok(Self { shared, engine, detection })
    }

    /// The engine of the database.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// The detected capabilities of the server; `None` while the schema is missing.
    pub fn capabilities(&self) -> Option<Capabilities> {
        self.detection.known()
    }

    /// The server's refusals of the statements that the [`capabilities`](Self::capabilities) lack: of
    /// a whole write set in one statement, of FOR KEY SHARE, or of both. Empty if the server accepts
    /// what the configuration prefers, and while the schema is missing.
    pub fn refusals(&self) -> Vec<StoreError> {
        self.detection.refusals()
    }

    /// Closes the pool. Operations that follow fail as unavailable when their retry policy or their
    /// deadline ends them; open transactions can still be ended.
    pub fn close(&self) {
        self.shared.pool.close();
    }
}

#[async_trait]
impl Store for DsqlStore {
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_> {
        Box::new(self.autocommit(deadline))
    }

    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        let capabilities = self.detection.get(&self.shared).await?;
        let executor = OpenTransaction::begin(Arc::clone(&self.shared), attempt).await?;
        Ok(Box::new(Rows { executor, key_share: capabilities.key_share }))
    }

    fn runner(&self) -> &Runner {
        &self.shared.runner
    }

    async fn apply_until(&self, deadline: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let (op, runner) = (set.op, &shared.runner);
        let detection = self.detection.get(shared);
        if !runner.until(deadline, op, Outcome::NotApplied, detection).await?.one_statement {
            return apply_by_table(&Within::until(self, deadline), set).await;
        }
        let write = OneStatement::new(&*shared.router, set)?;
        let once = |attempt: Attempt| {
            let write = &write;
            async move {
                let answer = shared.send(write.statement()?, attempt, deadline).await;
                write.outcome(&answer.map_err(|error| write.error(error))?.rows)
            }
        };
        runner.retry_until(deadline, op, once).await
    }

    async fn create_tasks_until(
        &self,
        deadline: Deadline,
        request: &CreateTasks<'_>,
    ) -> Result<(), StoreError> {
        request.validate()?;
        let shared = &*self.shared;
        let (op, runner) = (CreateTasks::OP, &shared.runner);
        let detection = self.detection.get(shared);
        if !runner.until(deadline, op, Outcome::NotApplied, detection).await?.one_statement {
            return create_tasks_by_table(&Within::until(self, deadline), request).await;
        }
        let create = matching_tasks::create(request)?;
        let once = |attempt: Attempt| {
            let create = create.clone();
            async move {
                let answer = shared.send(create, attempt, deadline).await?;
                matching_tasks::check_created(request, &answer.rows)
            }
        };
        runner.retry_until(deadline, op, once).await
    }

    async fn schema_version(&self, database: &str) -> Result<Option<RecordedVersion>, StoreError> {
        self.autocommit(Deadline::NEVER).schema_version(database).await
    }
}

impl DsqlStore {
    fn autocommit(&self, deadline: Deadline) -> Rows<Autocommit<'_>> {
        // Outside a transaction a lock is a read: its strength does not matter.
        Rows { executor: Autocommit { shared: &self.shared, deadline }, key_share: true }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use temporal_dsql_client::ConfigError;

    use super::*;

    #[tokio::test]
    async fn a_pool_that_was_changed_since_the_connector_was_made_is_checked_again() {
        let mut config = Config::new("127.0.0.1");
        let connector = Connector::new(&config, None).unwrap();
        config.pool.lifetime = Duration::from_secs(60);
        config.pool.lifetime_jitter = Duration::from_secs(200);
        let opened = DsqlStore::open(&config, connector, Arc::new(ArchetypeRouter)).await;
        let Err(OpenError::Config(ConfigError::InvalidPool { field, .. })) = opened else {
            panic!("{opened:?}");
        };
        assert_eq!(field, "lifetime");
    }
}
