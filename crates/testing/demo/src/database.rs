//! The database of the demo: its server, its schema, and stores on it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use dsql_emulator::DsqlEmulator;
use temporal_dsql::{
    CurrentExecutionsRow, Engine, SchemaVersion, Table,
    dsql::{Config, Connector, DsqlStore, connect},
    migrate::{
        DEFAULT_DATABASE, Digest, IgnoreProgress, Migrator, Plan, PostgresDatabase, RowKey, Schema,
        Setup, Timeouts,
    },
};
use temporal_dsql_testkit::postgres::{Options, Server};

/// The database that the demo runs on.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Kind {
    /// The DSQL emulator, over TLS and with IAM tokens.
    Emulator,
    /// Stock PostgreSQL.
    Postgres,
}

/// A database on a server of its own, which stops when this value is dropped.
pub struct Database {
    config: Config,
    credentials: Option<SharedCredentialsProvider>,
    schema: Schema,
    // Declared before its server: fields are dropped in this order.
    emulator: Option<DsqlEmulator>,
    _server: Server,
}

/// The key of a row of `current_executions`, in the form that the digest excludes.
pub fn key(row: &CurrentExecutionsRow) -> RowKey {
    vec![row.shard_id.to_string(), row.namespace_id.to_string(), row.workflow_id.to_string()]
}

impl Database {
    /// Starts the server.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub async fn start(kind: Kind) -> Result<Self> {
        let server = Server::start(&Options::default()).context("starting PostgreSQL")?;
        let (mut config, credentials, emulator) = match kind {
            Kind::Emulator => {
                let emulator = DsqlEmulator::builder().postgres_url(server.url()).start().await?;
                let own = emulator.credentials();
                let (key, secret) = (&own.access_key_id, &own.secret_access_key);
                let credentials = Credentials::from_keys(key, secret, own.session_token.clone());
                let mut config = Config::new(emulator.host());
                config.port = emulator.port();
                config.region = Some(emulator.region().to_owned());
                config.tls.ca_file = Some(emulator.ca_file().to_owned());
                (config, Some(SharedCredentialsProvider::new(credentials)), Some(emulator))
            }
            Kind::Postgres => {
                let mut config = Config::new(server.addr().ip().to_string());
                config.port = server.addr().port();
                config.user = "postgres".into();
                config.engine = Some(Engine::Postgres);
                (config, None, None)
            }
        };
        config.pool.connection_rate = 100;
        let schema = Schema::embedded()?;
        Ok(Self { config, credentials, schema, emulator, _server: server })
    }

    /// A description in one line.
    pub fn description(&self) -> String {
        let (host, port) = (&self.config.host, self.config.port);
        match &self.emulator {
            Some(emulator) => format!(
                "The DSQL emulator on {host}:{port}, started for this demo: TLS, and IAM tokens for \
                 region {}",
                emulator.region()
            ),
            None => format!("PostgreSQL on {host}:{port}, started for this demo"),
        }
    }

    /// A store on the database.
    ///
    /// # Errors
    /// The store cannot connect.
    pub async fn store(&self) -> Result<DsqlStore> {
        Ok(connect(&self.config, self.credentials.clone()).await?)
    }

    /// Sets up `version`.
    ///
    /// # Errors
    /// Those of the migration.
    pub async fn set_up(&self, version: SchemaVersion) -> Result<String> {
        self.migrate(async |migrator| {
            let setup = Setup { version: Some(version), ..Setup::default() };
            let plan = migrator.plan_setup(&setup).await?;
            apply(migrator, &plan).await
        })
        .await
    }

    /// Upgrades to the newest version.
    ///
    /// # Errors
    /// Those of the migration.
    pub async fn update(&self) -> Result<String> {
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
        print!("{verification}");
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
    pub async fn connect(&self, timeouts: &Timeouts) -> Result<PostgresDatabase> {
        let connector = Connector::new(&self.config, self.credentials.clone())?;
        Ok(PostgresDatabase::connect(connector, None, &timeouts.retry).await?)
    }

    async fn migrate<T>(
        &self,
        command: impl AsyncFnOnce(&mut Migrator<'_>) -> Result<T>,
    ) -> Result<T> {
        let timeouts = Timeouts::default();
        let mut database = self.connect(&timeouts).await?;
        let mut migrator =
            Migrator::new(&self.schema, &mut database, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
        command(&mut migrator).await
    }
}

async fn apply(migrator: &mut Migrator<'_>, plan: &Plan) -> Result<String> {
    let report = migrator.apply(plan).await?;
    let version = plan.to.map_or_else(String::new, |version| version.to_string());
    Ok(format!("version {version}: {} steps done", report.done))
}
