//! The store: a pool, a runner and a router behind the port.

use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use temporal_dsql_domain::{Engine, SchemaVersion};
use temporal_dsql_ports::{
    Attempt, ByArchetype, CurrentExecutionsRouter, Runner, Session, Store, StoreError, Transaction,
};

use crate::{
    config::{Config, ConfigError},
    connect::Connector,
    forms::Forms,
    link::{Autocommit, Open, Shared},
    metrics::Metrics,
    pool::Pool,
    rows::Rows,
    turns::Turns,
};

/// Why a store could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration cannot work; nothing was sent.
    #[error("the configuration cannot work")]
    Config(#[from] ConfigError),
    /// The database did not let the first connection in.
    #[error("the database cannot be used")]
    Connect(#[source] StoreError),
    /// The configuration demands a form of statements that the server refuses.
    #[error("the server does not take {what}; {instead} does without")]
    Refused {
        /// What the server does not take.
        what: &'static str,
        /// The setting that does without.
        instead: &'static str,
        /// The refusal.
        #[source]
        source: StoreError,
    },
    /// Whether the server takes a form of statements could not be found out, for another reason
    /// than that it does not.
    #[error("it cannot be told whether the server takes {what}; {instead} does without")]
    Unclear {
        /// What the server may take.
        what: &'static str,
        /// The setting that does without.
        instead: &'static str,
        /// Why not.
        #[source]
        source: StoreError,
    },
}

/// Temporal's executions on Aurora DSQL, or on stock PostgreSQL for development.
///
/// Cloning shares the connection pool. Operations log through the `tracing` subscriber in place
/// (span `statement`, with `db.operation.name`, `shard` and `attempt`) and count through the
/// `metrics` recorder in place.
#[derive(Clone)]
pub struct DsqlStore {
    shared: Arc<Shared>,
    engine: Engine,
    forms: Forms,
}

/// Opens a store and proves with one connection that the database lets it in. Takes the place of
/// the Go plugin's `newDB` (req 3.1, 3.2): what a logger was passed for, the `tracing` subscriber
/// in place receives.
///
/// `credentials` sign the IAM tokens that DSQL wants; PostgreSQL needs none.
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
    DsqlStore::open(config, connector, Arc::new(ByArchetype)).await
}

impl DsqlStore {
    /// Opens a store over `connector`, with a router of the caller's.
    ///
    /// # Errors
    /// The database cannot be reached, refuses the user, or refuses a form of statements that the
    /// configuration demands.
    pub async fn open(
        config: &Config,
        connector: Connector,
        router: Arc<dyn CurrentExecutionsRouter>,
    ) -> Result<Self, OpenError> {
        let engine = connector.engine();
        let shared = Arc::new(Shared {
            pool: Pool::new(connector, config.pool),
            runner: Runner::builder().policy(config.retry).observer(Arc::new(Metrics)).build(),
            router,
            statement_timeout: config.statement_timeout,
            turns: Arc::new(Turns::new(config.turn_patience)),
        });
        drop(shared.pool.get().await.map_err(OpenError::Connect)?);
        let forms = Forms::choose(config, &shared).await?;
        tracing::info!(
            host = config.host,
            port = config.port,
            user = config.user,
            database = config.database,
            %engine,
            ?forms,
            "opened"
        );
        Ok(Self { shared, engine, forms })
    }

    /// The engine on the other side.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// The forms in which statements are sent.
    pub const fn forms(&self) -> Forms {
        self.forms
    }

    /// Closes the pool. Operations that follow fail; transactions that are open may end.
    pub fn close(&self) {
        self.shared.pool.close();
    }
}

#[async_trait]
impl Store for DsqlStore {
    fn session(&self) -> Box<dyn Session + '_> {
        Box::new(Rows { link: Autocommit(&self.shared), forms: self.forms })
    }

    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        let link = Open::begin(Arc::clone(&self.shared), attempt).await?;
        Ok(Box::new(Rows { link, forms: self.forms }))
    }

    fn runner(&self) -> &Runner {
        &self.shared.runner
    }

    fn writes_in_one_statement(&self) -> bool {
        self.forms.writes_in_one
    }

    async fn schema_version(&self, database: &str) -> Result<Option<SchemaVersion>, StoreError> {
        let link = Autocommit(&self.shared);
        Rows { link, forms: self.forms }.schema_version(database).await
    }
}
