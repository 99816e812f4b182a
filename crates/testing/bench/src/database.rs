//! The PostgreSQL that is measured on: started for the run, gone with it.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use aws_credential_types::provider::SharedCredentialsProvider;
use temporal_dsql::{
    Engine, SchemaVersion,
    dsql::{Config, Connector, DsqlStore, TlsMode, connect},
    migrate::{
        DEFAULT_DATABASE, IgnoreProgress, MigrateError, Migrator, Plan, PostgresDatabase, Report,
        Schema, Setup, Timeouts,
    },
};
use temporal_dsql_testkit::{
    ScratchDatabase,
    postgres::{Options, Server},
};

/// What differs from PostgreSQL's defaults, besides what the testkit sets for every server: no
/// syncing (`fsync`, `synchronous_commit` and `full_page_writes` are off), C locale, UTC. Nothing
/// that runs in the background may hit one round and spare another.
pub const SETTINGS: &[(&str, &str)] = &[
    ("autovacuum", "off"),
    ("checkpoint_timeout", "1h"),
    ("jit", "off"),
    ("max_wal_size", "8GB"),
    ("shared_buffers", "256MB"),
];

/// Starts the server.
///
/// # Errors
/// There is no PostgreSQL, or it does not start.
pub fn start_server() -> Result<Server> {
    let settings = SETTINGS.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let options = Options {
        // The storm's, and those that the emulator keeps for itself.
        max_connections: 800,
        settings: settings.collect(),
        ..Options::default()
    };
    Server::start(&options).context("the benchmarks need a PostgreSQL server")
}

/// A program of PostgreSQL: beside the server's, or on the `PATH`.
///
/// # Errors
/// It is in neither place. A peer that is missing is not skipped: a table without it would look
/// like a result.
pub fn program(server: &Server, name: &str) -> Result<PathBuf> {
    find_program(server.programs(), &env::var_os("PATH").unwrap_or_default(), name)
}

fn find_program(beside: &Path, path: &std::ffi::OsStr, name: &str) -> Result<PathBuf> {
    let folders = [beside.to_owned()].into_iter().chain(env::split_paths(path));
    for folder in folders {
        let file = folder.join(name);
        if file.is_file() {
            return Ok(file);
        }
    }
    bail!(
        "`{name}` is neither in {} nor on the PATH; install it (Debian: `apt-get install \
         postgresql postgresql-contrib`)",
        beside.display()
    )
}

/// A database of its own on the server, with the schema in it.
pub struct Database {
    scratch: ScratchDatabase,
}

impl Database {
    /// A database with the schema of `version`.
    ///
    /// # Errors
    /// The server or the migration refuses.
    pub async fn create(server: &Server, version: SchemaVersion) -> Result<Self> {
        let scratch = ScratchDatabase::create_on(&server.url()).await?;
        let database = Self { scratch };
        let setup = Setup { version: Some(version), ..Setup::default() };
        let config = database.config(1);
        migrate(&config, None, async |migrator| migrator.plan_setup(&setup).await).await?;
        Ok(database)
    }

    /// The database itself, for statements of the benchmark's own.
    pub const fn scratch(&self) -> &ScratchDatabase {
        &self.scratch
    }

    /// How a store of `connections` connections reaches it.
    pub fn config(&self, connections: u32) -> Config {
        let mut config = Config::new(self.scratch.host());
        config.port = self.scratch.port();
        config.user = self.scratch.user().into();
        config.database = self.scratch.name().into();
        config.engine = Some(Engine::Postgres);
        config.tls.mode = Some(TlsMode::Disable);
        config.pool.max_connections = connections;
        config.pool.min_connections = 0;
        // The server is our own: nothing is to be spared.
        config.pool.connection_rate = 10_000;
        config.pool.connection_burst = 10_000;
        config
    }

    /// A store of `connections` connections.
    ///
    /// # Errors
    /// The server does not let it in.
    pub async fn store(&self, connections: u32) -> Result<DsqlStore> {
        Ok(connect(&self.config(connections), None).await?)
    }
}

/// Makes a plan with `plan` and applies it, over `config`.
///
/// # Errors
/// Those of the migration.
pub async fn migrate(
    config: &Config,
    credentials: Option<SharedCredentialsProvider>,
    plan: impl AsyncFnOnce(&mut Migrator<'_>) -> Result<Plan, MigrateError>,
) -> Result<Report> {
    let schema = Schema::embedded()?;
    let timeouts = Timeouts { poll: Duration::from_millis(5), ..Timeouts::default() };
    let connector = Connector::new(config, credentials)?;
    let mut database = PostgresDatabase::connect(connector, None, &timeouts.retry).await?;
    let mut migrator =
        Migrator::new(&schema, &mut database, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
    let plan = plan(&mut migrator).await?;
    Ok(migrator.apply(&plan).await?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_found_beside_the_server_then_on_the_path() {
        let (beside, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let find = || find_program(beside.path(), path.path().as_os_str(), "pgbench");
        let error = find().unwrap_err().to_string();
        assert!(error.contains("`pgbench` is neither in"), "{error}");
        assert!(error.contains("apt-get install postgresql"), "{error}");
        fs::write(path.path().join("pgbench"), "").unwrap();
        assert_eq!(find().unwrap(), path.path().join("pgbench"));
        fs::write(beside.path().join("pgbench"), "").unwrap();
        assert_eq!(find().unwrap(), beside.path().join("pgbench"));
    }
}
