//! The PostgreSQL server that is measured on, started for the run, and databases on it.

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

/// Settings in addition to those of the testkit (`fsync`, `synchronous_commit`, `full_page_writes` and
/// `jit` are off; C locale; UTC). Background work would disturb some rounds and not others.
pub const SETTINGS: &[(&str, &str)] = &[
    ("autovacuum", "off"),
    ("checkpoint_timeout", "1h"),
    ("max_wal_size", "8GB"),
    ("shared_buffers", "256MB"),
];

/// Starts the server.
///
/// # Errors
/// PostgreSQL is not installed, or does not start.
pub fn start_server() -> Result<Server> {
    let settings = SETTINGS.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let options = Options {
        // Those of the connection storm, and those of the emulator itself.
        max_connections: 800,
        settings: settings.collect(),
        ..Options::default()
    };
    Server::start(&options).context("the benchmarks need a PostgreSQL server")
}

/// The path of a program: in the folder of the server's programs, or on the `PATH`.
///
/// # Errors
/// The program is in neither place. A missing peer is not skipped: its table would be incomplete.
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

/// A database with the schema.
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

    /// The database, for statements of the benchmark.
    pub const fn scratch(&self) -> &ScratchDatabase {
        &self.scratch
    }

    /// The configuration of a store of `connections` connections.
    pub fn config(&self, connections: u32) -> Config {
        let mut config = Config::new(self.scratch.host());
        config.port = self.scratch.port();
        config.user = self.scratch.user().into();
        config.database = self.scratch.name().into();
        config.engine = Some(Engine::Postgres);
        config.tls.mode = Some(TlsMode::Disable);
        config.pool.max_connections = connections;
        config.pool.min_connections = 0;
        // No effective limit.
        config.pool.connection_rate = 10_000;
        config.pool.connection_burst = 10_000;
        config
    }

    /// A store of `connections` connections.
    ///
    /// # Errors
    /// The store cannot connect.
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
    let mut timeouts = Timeouts::default();
    timeouts.poll = Duration::from_millis(5);
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
    fn a_program_is_found_in_the_servers_folder_then_on_the_path() {
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
