//! Opens Temporal's database on PostgreSQL, the source of an import.

use std::sync::Arc;

use temporal_dsql::{
    Engine,
    dsql::{Config, Connector},
    migrate::{PostgresDatabase, Timeouts, import::ImportError},
};

use super::arguments::Source;
use crate::{
    exit::{Exit, Failure, Kind},
    progress::ProgressReporter,
    target::variable,
};

/// The variable of the source's URL.
const URL: &str = "SQL_SOURCE_URL";
/// The variable of the source's password.
const PASSWORD: &str = "SQL_SOURCE_PASSWORD";

/// The configuration of the source that flags and variables name. Nothing is sent.
pub(super) fn resolve(source: &Source) -> Result<Config, Failure> {
    let flag = source.from.as_ref().map(|url| url.0.clone()).filter(|url| !url.is_empty());
    let is_flag = flag.is_some();
    let url = match flag {
        Some(url) => url,
        None => variable(URL)?.ok_or_else(|| {
            Failure::usage(format!(
                "--from is missing: the URL of Temporal's database on PostgreSQL, \
                 postgres://user@host:port/database; or set {URL}"
            ))
        })?,
    };
    let mut config = Config::from_url(&url)?;
    config.engine = Some(Engine::Postgres);
    if is_flag && config.password.is_some() {
        return Err(Failure::usage(format!(
            "other users can read a password on a command line; leave it out of --from and set \
             {PASSWORD}"
        )));
    }
    if let Some(password) = variable(PASSWORD)? {
        config.password = Some(password.into());
    }
    config.application_name = "temporal-dsql-tool".into();
    Ok(config)
}

/// The source as messages name it, without its password.
pub(super) fn shown(config: &Config) -> String {
    let Config { host, port, user, database, .. } = config;
    format!("postgres://{user}@{host}:{port}/{database}")
}

/// Opens the source.
pub(super) async fn open(
    config: &Config,
    timeouts: &Timeouts,
    reporter: &Arc<ProgressReporter>,
) -> Result<PostgresDatabase, Failure> {
    let connector = Connector::new(config, None)?;
    let (retry, observer) = (&timeouts.retry, Arc::clone(reporter) as _);
    // The engine is detected, so that a source on DSQL is recognised.
    let engine: Option<Engine> = None;
    let opened = PostgresDatabase::connect_observed(connector, engine, retry, observer).await;
    opened.map_err(|error| {
        let failure = Failure::from(error);
        let error = failure.error.context(format!("the source {}", shown(config)));
        Failure { error, ..failure }
    })
}

/// The failure of an import, with its kind.
pub(super) fn failure(error: ImportError) -> Failure {
    use ImportError as E;
    let kind = match error {
        E::Migrate(error) => return (*error).into(),
        E::UnknownTable { .. } => return Failure::usage(error),
        E::Refused(_) | E::Unconvertible { .. } => Kind::Import,
        E::SnapshotLost(_) => Kind::Connection,
        E::Rows { .. } => Kind::Refused,
        E::Unstable { .. } => Kind::ConcurrentRun,
        E::Interrupted { .. } => Kind::Interrupted,
        _ => Kind::Other,
    };
    Failure::new(Exit::Failed, kind, error)
}
