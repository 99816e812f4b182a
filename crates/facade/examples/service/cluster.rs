//! An emulated cluster, and the schema of a database.

use temporal_dsql::{
    SchemaVersion,
    dsql::{Config, Connector, SharedCredentialsProvider},
    dsql_emulator::DsqlEmulator,
    migrate::{
        DEFAULT_DATABASE, IgnoreProgress, Migrator, PostgresDatabase, Report, Schema, Setup,
        Timeouts,
    },
};

use super::service::Result;

/// Starts an emulator. `TEST_POSTGRES_URL` is the server that the tests of this repository have;
/// without one, `DsqlEmulator::start()` starts it.
pub async fn start() -> Result<DsqlEmulator> {
    let builder = match std::env::var("TEST_POSTGRES_URL") {
        Ok(url) if !url.is_empty() => DsqlEmulator::builder().postgres_url(url),
        _ => DsqlEmulator::builder(),
    };
    Ok(builder.start().await?)
}

/// Brings the database to `version`, or to the newest one that this release has. It sets up an empty
/// database, upgrades an older one, and changes nothing in one that is up to date. Several processes
/// may do so at the same time, and one that was interrupted does it again.
pub async fn migrate(
    config: &Config,
    credentials: Option<SharedCredentialsProvider>,
    version: Option<SchemaVersion>,
) -> Result<Report> {
    let (schema, timeouts) = (Schema::embedded()?, Timeouts::default());
    let connector = Connector::new(config, credentials)?;
    let mut database = PostgresDatabase::connect(connector, None, &timeouts.retry).await?;
    let mut migrator =
        Migrator::new(&schema, &mut database, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
    let plan = match migrator.status().await?.current {
        None => migrator.plan_setup(&Setup { version, ..Setup::default() }).await?,
        Some(_) => migrator.plan_update(version).await?,
    };
    Ok(migrator.apply(&plan).await?)
}
