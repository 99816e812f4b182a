//! Finds and opens the database that flags and environment variables name.

use std::sync::{Arc, OnceLock};

use temporal_dsql::{
    Engine,
    dsql::{Auth, Config, ConfigError, Connector, Overrides, Target, TlsMode, aws_credentials},
    migrate::{DEFAULT_DATABASE, PostgresDatabase, SessionWatch, Timeouts},
};

use crate::{
    cli::{Cli, Connection, EngineChoice, TlsChoice},
    exit::Failure,
    go::{Refusals, host_and_port},
    progress::ProgressReporter,
};

/// The variable of the logical database name.
const LOGICAL_DATABASE: &str = "SQL_LOGICAL_DATABASE";
/// The variable of the Go server's plugin.
const PLUGIN: &str = "SQL_PLUGIN";
/// The plugins of servers that this tool is for.
const PLUGINS: [&str; 3] = ["dsql", "postgres12", "postgres12_pgx"];

/// The configuration that flags and variables make, and what it means.
pub(crate) struct Resolved {
    pub(crate) config: Config,
    pub(crate) target: Target,
}

/// Resolves flags and variables. Nothing is sent.
pub(crate) fn resolve(cli: &Cli) -> Result<Resolved, Failure> {
    let mut refusals = Refusals::of(cli);
    let resolved = configured(cli);
    if let Ok(Resolved { config, target }) = &resolved
        && target.engine == Engine::Dsql
    {
        refusals.add_database(&cli.connection, &config.database);
    }
    if let Some(Plugin { name, is_flag }) = plugin(cli)?
        && !PLUGINS.contains(&name.as_str())
    {
        refusals.add_plugin(&name, is_flag);
    }
    refusals.check()?;
    resolved
}

fn configured(cli: &Cli) -> Result<Resolved, Failure> {
    let mut config = Config::from_env_with(overrides(cli)?)?;
    config.application_name = "temporal-dsql-tool".into();
    let target = config.resolve()?;
    Ok(Resolved { config, target })
}

/// Opens the database that the flags and variables name. `watch` is set to its session.
pub(crate) async fn open(
    cli: &Cli,
    timeouts: &Timeouts,
    reporter: &Arc<ProgressReporter>,
    watch: &OnceLock<SessionWatch>,
) -> Result<PostgresDatabase, Failure> {
    let Resolved { config, target } = resolve(cli)?;
    let (engine, credentials) = match target.auth {
        // A server that authenticates by IAM tokens is DSQL, so the engine is not detected.
        Auth::Iam { region } => (Some(Engine::Dsql), Some(aws_credentials(region).await)),
        Auth::Password(_) | Auth::Trust => (config.engine, None),
    };
    let connector = Connector::new(&config, credentials)?;
    let observer = Arc::clone(reporter) as _;
    let database =
        PostgresDatabase::connect_observed(connector, engine, &timeouts.retry, observer).await?;
    // There is one database in a run.
    let _ = watch.set(database.watch().clone());
    Ok(database)
}

/// The name that the version is recorded under.
pub(crate) fn logical_database(connection: &Connection) -> Result<String, Failure> {
    match &connection.logical_database {
        Some(name) => Ok(name.clone()),
        None => Ok(variable(LOGICAL_DATABASE)?.unwrap_or_else(|| DEFAULT_DATABASE.to_owned())),
    }
}

/// The value of a variable without the spaces around it; `None` if it is unset or empty.
pub(crate) fn variable(name: &'static str) -> Result<Option<String>, Failure> {
    let value = variable_with_spaces(name)?.map(|value| value.trim().to_owned());
    Ok(value.filter(|value| !value.is_empty()))
}

/// The same with its spaces, which are part of a password.
pub(crate) fn variable_with_spaces(name: &'static str) -> Result<Option<String>, Failure> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let value = value.into_string().map_err(|_| not_utf_8(name))?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}

fn not_utf_8(name: &str) -> Failure {
    Failure::configuration(format!("environment variable {name}: is not UTF-8"))
}

/// Checks that the variables that this tool or its AWS credentials chain reads are UTF-8.
pub(crate) fn check_variables() -> Result<(), Failure> {
    for (name, value) in std::env::vars_os() {
        let is_read = |name: &str| {
            ["AWS_", "SQL_", "DSQL_"].iter().any(|prefix| name.starts_with(prefix))
                || ["CLUSTER_ENDPOINT", "REGION", "RUST_LOG"].contains(&name)
        };
        if let Some(name) = name.to_str().filter(|name| is_read(name))
            && value.to_str().is_none()
        {
            return Err(not_utf_8(name));
        }
    }
    Ok(())
}

/// A plugin of the Go server.
struct Plugin {
    name: String,
    /// Whether a flag names it, and not the variable.
    is_flag: bool,
}

/// The plugin that is named.
fn plugin(cli: &Cli) -> Result<Option<Plugin>, Failure> {
    let flag = cli.go.plugin.as_deref().map(str::trim).filter(|name| !name.is_empty());
    match flag {
        Some(name) => Ok(Some(Plugin { name: name.to_owned(), is_flag: true })),
        None => Ok(variable(PLUGIN)?.map(|name| Plugin { name, is_flag: false })),
    }
}

/// The flags that are given.
fn overrides(cli: &Cli) -> Result<Overrides, Failure> {
    let flags = &cli.connection;
    // The port is refused with the line to use.
    let host = flags.endpoint.as_deref();
    let host = host.map(|host| host_and_port(host).map_or(host, |(host, _)| host).to_owned());
    let engine = flags.engine.map(|choice| match choice {
        EngineChoice::Auto => None,
        EngineChoice::Dsql => Some(Engine::Dsql),
        EngineChoice::Postgres => Some(Engine::Postgres),
    });
    // Plugins of PostgreSQL stand for any server that speaks its protocol.
    let is_dsql = plugin(cli)?.is_some_and(|plugin| plugin.name == PLUGINS[0]);
    let mut overrides = Overrides::default();
    overrides.host = host;
    overrides.port = flags.port;
    overrides.user = flags.user.clone();
    overrides.database = flags.database.clone();
    overrides.engine = engine.or(is_dsql.then_some(Some(Engine::Dsql)));
    overrides.region = flags.region.clone();
    overrides.tls_mode = flags.tls_mode.map(|choice| match choice {
        TlsChoice::Disable => TlsMode::Disable,
        TlsChoice::Prefer => TlsMode::Prefer,
        TlsChoice::Require => TlsMode::Require,
        TlsChoice::VerifyFull => TlsMode::VerifyFull,
    });
    overrides.tls = cli.go.tls;
    overrides.tls_disable_host_verification = cli.go.tls_disable_host_verification;
    overrides.tls_ca_file = flags.tls_ca_file.clone();
    Ok(overrides)
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::configuration(error)
    }
}
