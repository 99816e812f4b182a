//! An emulated DSQL cluster with the schema.

use dsql_emulator::DsqlEmulator;
use temporal_dsql::{
    dsql::{Config, Connector, Credentials, DsqlStore, SharedCredentialsProvider, connect},
    migrate::{
        DEFAULT_DATABASE, IgnoreProgress, Migrator, PostgresDatabase, Schema, Setup, Timeouts,
    },
};

use super::Result;

/// A cluster, which stops when this value is dropped.
pub struct Cluster {
    emulator: DsqlEmulator,
}

impl Cluster {
    /// Starts a cluster and sets up the schema.
    pub async fn start() -> Result<Self> {
        let builder = DsqlEmulator::builder();
        // The tests of this repository have a server already; without one, the emulator starts it.
        let builder = match std::env::var("TEST_POSTGRES_URL") {
            Ok(url) if !url.is_empty() => builder.postgres_url(url),
            _ => builder,
        };
        let cluster = Self { emulator: builder.start().await? };
        let schema = Schema::embedded()?;
        let timeouts = Timeouts::default();
        let connector = Connector::new(&cluster.config(), Some(cluster.credentials()))?;
        let mut database = PostgresDatabase::connect(connector, None, &timeouts.retry).await?;
        let mut migrator =
            Migrator::new(&schema, &mut database, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
        let plan = migrator.plan_setup(&Setup::default()).await?;
        migrator.apply(&plan).await?;
        Ok(cluster)
    }

    /// A store on the cluster.
    pub async fn store(&self) -> Result<DsqlStore> {
        Ok(connect(&self.config(), Some(self.credentials())).await?)
    }

    /// On a cluster of AWS, the host name is enough: `Config::new(host)`.
    fn config(&self) -> Config {
        let mut config = Config::new(self.emulator.host());
        config.port = self.emulator.port();
        config.region = Some(self.emulator.region().to_owned());
        config.tls.ca_file = Some(self.emulator.ca_file().to_owned());
        config
    }

    /// On a cluster of AWS: `aws_credentials(region)`, with the feature `aws`.
    fn credentials(&self) -> SharedCredentialsProvider {
        let own = self.emulator.credentials();
        SharedCredentialsProvider::new(Credentials::new(
            &own.access_key_id,
            &own.secret_access_key,
            own.session_token.clone(),
            None,
            "the emulator",
        ))
    }
}
