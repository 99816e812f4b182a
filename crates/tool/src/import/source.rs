//! Opens Temporal's database on PostgreSQL, the source of an import.

use std::sync::Arc;

use anyhow::anyhow;
use temporal_dsql::{
    Engine,
    dsql::{Config, ConfigError, Connector, region_of_host},
    migrate::{Advice, MigrateError, PostgresDatabase, Timeouts, import::ImportError},
};

use super::arguments::Source;
use crate::{
    exit::{Exit, Failure, Kind},
    progress::ProgressReporter,
    target::{variable, variable_with_spaces},
};

/// The variable of the source's URL.
const URL: &str = "SQL_SOURCE_URL";
/// The variable of the source's password.
const PASSWORD: &str = "SQL_SOURCE_PASSWORD";

/// The configuration of the source that flags and variables name. Nothing is sent.
pub(super) fn resolve(source: &Source) -> Result<Config, Failure> {
    let flag = source.from.as_ref().map(|url| url.0.clone()).filter(|url| !url.is_empty());
    let is_flag = flag.is_some();
    let (name, url) = match flag {
        Some(url) => ("--from", url),
        None => match variable(URL)? {
            Some(url) => (URL, url),
            None => {
                return Err(Failure::usage(format!(
                    "--from is missing: the URL of Temporal's database on PostgreSQL, \
                     postgres://user@host:port/database; or set {URL}"
                )));
            }
        },
    };
    let invalid = |error: ConfigError| Failure::configuration(format!("{name}: {error}"));
    let mut config = Config::from_url(&url).map_err(invalid)?;
    config.engine = Some(Engine::Postgres);
    if is_flag && config.password.is_some() {
        return Err(Failure::usage(format!(
            "other users can read a password on a command line; leave it out of --from and set \
             {PASSWORD}"
        )));
    }
    if let Some(part) = missing_part(&url) {
        return Err(Failure::configuration(format!(
            "{name}: the URL has no {part}; give postgres://user@host:port/database"
        )));
    }
    if region_of_host(&config.host).is_some() {
        return Err(Failure::configuration(format!(
            "{name}: the source is a DSQL cluster; an import reads Temporal's database on PostgreSQL"
        )));
    }
    if let Some(password) = variable_with_spaces(PASSWORD)? {
        config.password = Some(password.into());
    }
    config.application_name = "temporal-dsql-tool".into();
    config.resolve().map_err(invalid)?;
    Ok(config)
}

/// The part that a URL, which [`Config::from_url`] accepts, does not have, and whose default is that of
/// a cluster.
fn missing_part(url: &str) -> Option<&'static str> {
    let url = url.trim();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (credentials, address) = rest.rsplit_once('@').unwrap_or(("", rest));
    let path = address.split('?').next().and_then(|path| path.split_once('/'));
    if credentials.split(':').next().is_none_or(str::is_empty) {
        Some("user")
    } else if path.is_none_or(|(_, database)| database.trim_matches('/').is_empty()) {
        Some("database")
    } else {
        None
    }
}

/// The source as messages name it, without its password.
pub(super) fn shown(config: &Config) -> String {
    config.shown_url()
}

/// Opens the source.
pub(super) async fn open(
    config: &Config,
    timeouts: &Timeouts,
    reporter: &Arc<ProgressReporter>,
) -> Result<PostgresDatabase, Failure> {
    let named = |failure: Failure, text: String| Failure {
        error: anyhow!(text).context(format!("the source {}", shown(config))),
        ..failure
    };
    let connector = Connector::new(config, None).map_err(|error| {
        let text = error.to_string();
        named(error.into(), text)
    })?;
    let (retry, observer) = (&timeouts.retry, Arc::clone(reporter) as _);
    // The engine is detected, so that a source on DSQL is recognised.
    let engine: Option<Engine> = None;
    let opened = PostgresDatabase::connect_observed(connector, engine, retry, observer).await;
    opened.map_err(|error| {
        let advice = error.advice();
        let failure = Failure::from(error);
        let text = for_source(failure.text(), advice);
        named(failure, text)
    })
}

/// `message` with the advice about the source in place of the one about the target.
fn for_source(message: String, advice: Option<Advice>) -> String {
    match advice {
        Some(advice) => advice.for_source(&message),
        None => message,
    }
}

/// The failure of an action at one of the databases: it names the side, and has the advice about it.
fn failed_at_a_side(error: MigrateError) -> Failure {
    let (MigrateError::Database { action, .. } | MigrateError::DeadlineExceeded { action, .. }) =
        &error
    else {
        return error.into();
    };
    // Every action at the source says so.
    let side = if action.contains("source") { "source" } else { "target" };
    let is_named = action.contains(side);
    let advice = error.advice().filter(|_| side == "source");
    let failure = Failure::from(error);
    let text = for_source(failure.text(), advice);
    let text = if is_named { text } else { format!("at the {side}: {text}") };
    Failure { error: anyhow!(text), ..failure }
}

/// The failure of an import, with its kind.
pub(super) fn failure(error: ImportError) -> Failure {
    use ImportError as E;
    let kind = match error {
        E::Migrate(error) => return failed_at_a_side(*error),
        E::UnknownTable { .. } => return Failure::usage(error),
        E::Refused(_) | E::FenceRefused(_) | E::Unconvertible { .. } => Kind::Import,
        E::SnapshotLost(_) => Kind::Connection,
        E::Rows { .. } => Kind::Refused,
        E::Unstable { .. } => Kind::ConcurrentRun,
        E::Interrupted { .. } => Kind::Interrupted,
        _ => Kind::Other,
    };
    Failure::new(Exit::Failed, kind, error)
}

#[cfg(test)]
mod tests {
    use temporal_dsql::migrate::{DatabaseError, ServerError};

    use super::*;

    fn denied(action: &str) -> String {
        let server = ServerError {
            sqlstate: "42501".to_owned(),
            message: "permission denied for table shards".to_owned(),
            ..ServerError::default()
        };
        let source = DatabaseError::Denied { user: "u".to_owned(), server: Box::new(server) };
        let error = MigrateError::Database { action: action.to_owned(), source };
        failure(ImportError::from(error)).text()
    }

    #[test]
    fn an_error_names_the_side_and_has_the_advice_about_it() {
        for (action, begins) in [
            ("reading shards of the source", "reading shards of the source failed: "),
            ("opening a snapshot of the source", "opening a snapshot of the source failed: "),
            (
                "looking for rows of shards of the target at the source",
                "looking for rows of shards of the target at the source failed: ",
            ),
            ("fencing the shards of the source", "fencing the shards of the source failed: "),
        ] {
            let text = denied(action);
            assert!(text.starts_with(begins), "{text}");
            assert!(text.contains("grant it SELECT on table shards, and UPDATE, too,"), "{text}");
            assert!(!text.contains("INSERT"), "{text}");
        }
        for (action, begins) in [
            ("reading shards of the target", "reading shards of the target failed: "),
            (
                "looking for rows of shards at the target",
                "looking for rows of shards at the target ",
            ),
            ("copying shards", "at the target: copying shards failed: "),
            ("comparing shards", "at the target: comparing shards failed: "),
            ("reading the catalog", "at the target: reading the catalog failed: "),
        ] {
            let text = denied(action);
            assert!(text.starts_with(begins), "{text}");
            assert!(text.contains("grant it SELECT, INSERT, UPDATE and DELETE on"), "{text}");
        }
    }

    #[test]
    fn the_part_that_a_url_does_not_have_is_found() {
        for (url, part) in [
            ("postgres://u@h:1/d", None),
            ("postgres://u:p@h/d?sslmode=require", None),
            ("postgres://h/d", Some("user")),
            ("postgres://@h/d", Some("user")),
            ("postgres://:p@h/d", Some("user")),
            ("postgres://u@h", Some("database")),
            ("postgres://u@h:1/", Some("database")),
            ("postgres://u@h?sslrootcert=/ca.pem", Some("database")),
        ] {
            assert_eq!(missing_part(url), part, "{url}");
        }
    }
}
