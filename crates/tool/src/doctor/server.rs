//! The checks that ask the server: the login, its version, the schema, times and connections.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use temporal_dsql::{
    Engine, RetryPolicy, SchemaVersion,
    dsql::{Auth, Config, Connector},
    migrate::{
        Advice, ConnectionCount, DatabaseError, IgnoreProgress, MigrateError, Migrator,
        PostgresDatabase, Schema, SchemaDatabase, Timeouts, Verification, VersionRow,
    },
};

use super::{
    LOGIN_LIMIT, STATEMENT_LIMIT, Unanswered,
    check::{Check, without_advice},
    clock::{self, Reading},
    milliseconds, with_holders, within,
};
use crate::progress::ProgressReporter;

pub(super) const LOGIN: &str = "login";
pub(super) const SERVER: &str = "server";
pub(super) const SCHEMA: &str = "schema";
pub(super) const ROUND_TRIP: &str = "round trip";
pub(super) const COMMIT: &str = "commit";
pub(super) const CONNECTIONS: &str = "connections";

/// How often a time is measured.
const SAMPLES: usize = 11;
/// How often a call is repeated that failed for the moment: a session gets one conflict for each
/// change of the catalog (aurora-dsql.md#transient-failures).
const ATTEMPTS: usize = 5;
/// The connections of a cluster, from all clients (aurora-dsql.md#admission).
const CLUSTER_CONNECTIONS: u64 = 10_000;

/// Logs in. If the server refuses the token because of its time, the second check is that of the
/// clock.
pub(super) async fn log_in(
    config: &Config,
    auth: &Auth,
    connector: Connector,
    reporter: Arc<ProgressReporter>,
) -> (Check, Option<Check>, Option<PostgresDatabase>) {
    // A cluster that was idle, or has too many connections, answers so for the moment
    // (aurora-dsql.md#admission).
    let retry =
        RetryPolicy::new(Duration::from_millis(100), Duration::from_secs(2), LOGIN_LIMIT / 2);
    let (before, start) = (SystemTime::now(), Instant::now());
    let connect = PostgresDatabase::connect_observed(connector, None, &retry, reporter);
    let reason = match within(LOGIN_LIMIT, connect).await {
        Ok(database) => {
            let took = start.elapsed();
            let by = match auth {
                Auth::Iam { region } => format!("by an IAM token for {region}"),
                Auth::Password(_) => "by a password".to_owned(),
                Auth::Trust => "without a password".to_owned(),
            };
            let detail = format!(
                "role `{}` is accepted on database `{}` {by}, in {}",
                config.user,
                config.database,
                milliseconds(took)
            );
            let check = Check::ok(LOGIN, detail).with("login_ms", took.as_secs_f64() * 1e3);
            return (check, None, Some(database));
        }
        Err(reason) => reason,
    };
    let mut clock = None;
    if let (Unanswered::Failed(DatabaseError::Authentication { server, .. }), Auth::Iam { .. }) =
        (&reason, auth)
    {
        let hint = server.hint.as_deref().unwrap_or_default();
        clock = clock::judge_refusal(hint, before, config.token_lifetime);
    }
    (Check::of_error(LOGIN, &reason), clock, None)
}

/// Repeats a call that fails for the moment.
async fn repeated<T>(
    database: &mut PostgresDatabase,
    mut call: impl AsyncFnMut(&mut PostgresDatabase) -> Result<T, DatabaseError>,
) -> Result<T, Unanswered<DatabaseError>> {
    let attempts = async {
        for _ in 1..ATTEMPTS {
            match call(database).await {
                Err(error) if error.is_transient() => {}
                other => return other,
            }
        }
        call(database).await
    };
    let answer = within(STATEMENT_LIMIT, attempts).await;
    with_holders(database, answer).await
}

/// The kind of server and its version.
pub(super) async fn version(config: &Config, database: &mut PostgresDatabase) -> Check {
    let version = repeated(database, PostgresDatabase::server_version).await;
    let version = match version {
        Ok(version) => version,
        Err(reason) => return Check::of_error(SERVER, &reason),
    };
    let (engine, schema) = (database.engine(), database.schema());
    let detail = match engine {
        Engine::Dsql => format!("Aurora DSQL, as PostgreSQL {version}; schema {schema}"),
        Engine::Postgres => format!("PostgreSQL {version}; schema {schema}"),
    };
    let expected = config.resolve().map_or(engine, |target| target.engine);
    let check = if expected == engine {
        Check::ok(SERVER, detail)
    } else {
        let detail = format!("{detail}; the configuration says {expected}");
        Check::failed(SERVER, detail, Advice::OtherEngine(engine))
    };
    check.with("engine", engine.to_string()).with("version", version)
}

/// The recorded version of the schema, compared with the catalog and with this release.
pub(super) async fn schema(
    config: &Config,
    schema: &Schema,
    database: &mut PostgresDatabase,
    logical_name: &str,
) -> Check {
    let timeouts = Timeouts::default();
    let mut migrator = Migrator::new(schema, database, logical_name, timeouts, &IgnoreProgress);
    let verified = within(STATEMENT_LIMIT, migrator.verify(None)).await;
    let reason = match with_holders(database, verified).await {
        Ok(verified) => return compared(&verified, schema.newest()),
        Err(reason) => reason,
    };
    if let Unanswered::Failed(error @ MigrateError::NotSetUp { others, .. }) = &reason
        && others.is_empty()
        && let Ok([other, ..]) =
            repeated(database, PostgresDatabase::other_schemas).await.as_deref()
    {
        let advice = Advice::OtherSchema { user: config.user.clone(), schema: other.clone() };
        let usual = Advice::NotRecorded { others: Vec::new() };
        let detail = format!("in schema {}, {}", database.schema(), without_advice(error, &usual));
        return Check::failed(SCHEMA, detail, advice).differs();
    }
    let check = Check::of_error(SCHEMA, &reason);
    match reason {
        Unanswered::Late(..)
        | Unanswered::Failed(
            MigrateError::Database { .. } | MigrateError::DeadlineExceeded { .. },
        ) => check,
        Unanswered::Failed(error) => check.differs().listing(error.differences()),
    }
}

/// The result of a comparison with the recorded version.
fn compared(verified: &Verification, newest: SchemaVersion) -> Check {
    let Verification { database, version, differences, .. } = verified;
    let found = match &differences[..] {
        [] => format!("version {version}, exactly"),
        [one] => format!("version {version}, with 1 difference: {one}"),
        [first, ..] => {
            let count = differences.len();
            format!("version {version}, with {count} differences; the first: {first}")
        }
    };
    let is_outdated = *version < newest;
    let check = if is_outdated && (verified.compatible || verified.adoptable.is_some()) {
        // An update goes on with compatible differences, and the objects of a newer version are in
        // effect for it.
        let detail = format!("{found}; this release needs {newest}");
        Check::failed(SCHEMA, detail, Advice::Outdated { newest }).differs()
    } else if differences.is_empty() {
        Check::ok(SCHEMA, format!("{found}; recorded for `{database}`"))
    } else if verified.compatible {
        Check::warning(SCHEMA, found, Advice::CompatibleDifferences)
    } else {
        Check::failed(SCHEMA, found, Advice::Differences).differs()
    };
    let check = check.listing(differences);
    check.with("version", version.to_string()).with("differences", differences.len())
}

/// The clock of the server and the time of a round trip.
pub(super) async fn times(
    config: &Config,
    auth: &Auth,
    database: &mut PostgresDatabase,
) -> (Check, Check) {
    // The first call prepares the statement.
    let mut readings = Vec::new();
    for sample in 0..=SAMPLES {
        match repeated(database, Reading::take).await {
            Ok(_) if sample == 0 => {}
            Ok(reading) => readings.push(reading),
            Err(reason) => {
                let clock = clock::judge(&[], None);
                return (clock, Check::of_error(ROUND_TRIP, &reason));
            }
        }
    }
    let tokens = matches!(auth, Auth::Iam { .. }).then_some(config.token_lifetime);
    let clock = clock::judge(&readings, tokens);
    let times = readings.iter().map(|reading| reading.round_trip).collect();
    (clock, of_times(ROUND_TRIP, times, "of a SELECT"))
}

/// The time of a commit that writes the version row as it is.
pub(super) async fn commit(database: &mut PostgresDatabase, logical_name: &str) -> Check {
    let read = async |database: &mut PostgresDatabase| database.version_rows().await;
    let rows = match repeated(database, read).await {
        Ok(rows) => rows,
        Err(reason) => return Check::of_error(COMMIT, &reason),
    };
    let is_ours = |row: &VersionRow| row.database == logical_name;
    let Some(row) = rows.into_iter().find(is_ours) else {
        return Check::not_checked(COMMIT, "no version is recorded, so there is no row to write");
    };
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let rewrite = async |database: &mut PostgresDatabase| database.rewrite_version(&row).await;
        match repeated(database, rewrite).await {
            Ok(Some(time)) => times.push(time),
            Ok(None) => {
                let detail = "another run changed the version meanwhile";
                return Check::not_checked(COMMIT, detail);
            }
            Err(reason) => return Check::of_error(COMMIT, &reason),
        }
    }
    of_times(COMMIT, times, "of a COMMIT that writes the version row as it is")
}

/// The check of measured times, of which there is at least one.
fn of_times(name: &'static str, mut times: Vec<Duration>, what: &str) -> Check {
    times.sort_unstable();
    let (least, median) = (times[0], times[times.len() / 2]);
    let detail = format!(
        "median {}, least {}, {what}, {} times",
        milliseconds(median),
        milliseconds(least),
        times.len()
    );
    Check::ok(name, detail)
        .with("median_ms", median.as_secs_f64() * 1e3)
        .with("least_ms", least.as_secs_f64() * 1e3)
}

/// The connections in use, against their limit.
pub(super) async fn connections(config: &Config, database: &mut PostgresDatabase) -> Check {
    let wanted = u64::from(config.pool.max_connections);
    let counts = match repeated(database, PostgresDatabase::connection_counts).await {
        Ok(counts) => counts,
        Err(reason) => return Check::of_error(CONNECTIONS, &reason),
    };
    let Some(count) = counts.first() else {
        let detail = format!(
            "in use: unknown, because Aurora DSQL does not tell; the limit of a cluster is \
             {CLUSTER_CONNECTIONS}, and a store takes up to {wanted}"
        );
        let check = Check::ok(CONNECTIONS, detail);
        return check.with("in_use", None::<u64>).with("limit", CLUSTER_CONNECTIONS);
    };
    let ConnectionCount { of, in_use, most } = count;
    let detail =
        format!("{in_use} of {most} in use, the limit of {of}; a store takes up to {wanted}");
    let check = if in_use + wanted > *most {
        let advice = match *of {
            "the role" => Advice::ConnectionsOfRole,
            "the database" => Advice::ConnectionsOfDatabase,
            _ => Advice::ConnectionsOfServer,
        };
        Check::warning(CONNECTIONS, detail, advice)
    } else {
        Check::ok(CONNECTIONS, detail)
    };
    check.with("in_use", *in_use).with("limit", *most)
}
