//! The databases of the demo, their schema, and stores on them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use temporal_dsql::{
    CurrentExecutionsRow, SchemaVersion, Table,
    dsql::{
        Config, Connector, DsqlStore, SharedCredentialsProvider, connect, emulator_credentials,
    },
    dsql_emulator::{
        DsqlEmulator,
        postgres::{Options, Server},
    },
    migrate::{
        DEFAULT_DATABASE, Digest, IgnoreProgress, Migrator, Plan, PostgresDatabase, RowKey, Schema,
        Setup, Timeouts,
    },
};
use temporal_dsql_testkit::{RecordedDeployment, ScratchDatabase};

/// The PostgreSQL server behind the clusters, which stops when this value is dropped.
pub struct Postgres(Server);

/// A database. If it is an emulated cluster, that stops when this value is dropped.
pub struct Database {
    config: Config,
    credentials: Option<SharedCredentialsProvider>,
    schema: Schema,
    _emulator: Option<DsqlEmulator>,
}

/// The key of a row of `current_executions`, in the form that the digest excludes.
pub fn key(row: &CurrentExecutionsRow) -> RowKey {
    vec![row.shard_id.to_string(), row.namespace_id.to_string(), row.workflow_id.to_string()]
}

impl Postgres {
    /// Starts the server.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub fn start() -> Result<Self> {
        Ok(Self(Server::start(&Options::default()).context("starting PostgreSQL")?))
    }

    /// Starts a cluster without a schema.
    ///
    /// # Errors
    /// The emulator does not start.
    pub async fn cluster(&self) -> Result<Database> {
        let emulator = DsqlEmulator::builder().postgres_url(self.0.url()).start().await?;
        let mut config = Config::from_emulator(&emulator);
        config.pool.connection_rate = 100;
        Ok(Database {
            config,
            credentials: Some(emulator_credentials(&emulator)),
            schema: Schema::embedded()?,
            _emulator: Some(emulator),
        })
    }

    /// The server's own database, without a schema.
    ///
    /// # Errors
    /// The files of the schema cannot be read.
    #[cfg(test)]
    pub fn database(&self) -> Result<Database> {
        let mut config = Config::from_url(&self.0.url())?;
        config.engine = Some(temporal_dsql::Engine::Postgres);
        Ok(Database { config, credentials: None, schema: Schema::embedded()?, _emulator: None })
    }

    /// A copy of the recorded database of a Temporal server on PostgreSQL.
    ///
    /// # Errors
    /// The server refuses a statement.
    pub async fn recorded_deployment(&self) -> Result<ScratchDatabase> {
        Ok(RecordedDeployment::new().create_on(&self.0.url()).await?)
    }
}

impl Database {
    /// Host and port.
    pub fn address(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }

    /// A store on the database.
    ///
    /// # Errors
    /// The store cannot connect.
    pub async fn store(&self) -> Result<DsqlStore> {
        Ok(connect(&self.config, self.credentials.clone()).await?)
    }

    /// Sets up `version`, or the newest one. Returns the number of steps.
    ///
    /// # Errors
    /// Those of the migration.
    pub async fn set_up(&self, version: Option<SchemaVersion>) -> Result<usize> {
        self.migrate(async |migrator| {
            let plan = migrator.plan_setup(&Setup { version, ..Setup::default() }).await?;
            apply(migrator, &plan).await
        })
        .await
    }

    /// Upgrades to the newest version. Returns the number of steps.
    ///
    /// # Errors
    /// Those of the migration.
    pub async fn update(&self) -> Result<usize> {
        self.migrate(async |migrator| {
            let plan = migrator.plan_update(None).await?;
            apply(migrator, &plan).await
        })
        .await
    }

    /// Compares the catalog with the recorded version.
    ///
    /// # Errors
    /// It differs.
    pub async fn verify(&self) -> Result<()> {
        let verification = self.migrate(async |migrator| Ok(migrator.verify(None).await?)).await?;
        ensure!(verification.is_clean(), "{verification}");
        Ok(())
    }

    /// The digest of `current_executions` without the rows in `excluded`.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub async fn digest(&self, excluded: &BTreeSet<RowKey>) -> Result<Digest> {
        self.migrate(async |migrator| {
            Ok(migrator.digest(Table::CurrentExecutions.name(), excluded).await?)
        })
        .await
    }

    /// A session for changes of the schema and for an import.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn connect(&self) -> Result<PostgresDatabase> {
        let connector = Connector::new(&self.config, self.credentials.clone())?;
        Ok(PostgresDatabase::connect(connector, None, &Timeouts::default().retry).await?)
    }

    async fn migrate<T>(
        &self,
        command: impl AsyncFnOnce(&mut Migrator<'_>) -> Result<T>,
    ) -> Result<T> {
        let (mut database, timeouts) = (self.connect().await?, Timeouts::default());
        let schema = &self.schema;
        let mut migrator =
            Migrator::new(schema, &mut database, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
        command(&mut migrator).await
    }
}

async fn apply(migrator: &mut Migrator<'_>, plan: &Plan) -> Result<usize> {
    Ok(migrator.apply(plan).await?.done)
}
