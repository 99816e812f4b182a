//! The checks that ask the server: the login, its version, the schema, times and connections.

use std::time::{Duration, Instant, SystemTime};

use temporal_dsql::{
    Engine, RetryPolicy,
    dsql::{Auth, Config, Connector},
    migrate::{
        DatabaseError, IgnoreProgress, MigrateError, Migrator, PostgresDatabase, Schema,
        SchemaDatabase, Timeouts, VersionRow,
    },
};

use super::{
    LOGIN_LIMIT, STATEMENT_LIMIT, Unanswered,
    check::Check,
    clock::{self, Reading},
    milliseconds, within,
};

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
) -> (Check, Option<Check>, Option<PostgresDatabase>) {
    // A cluster that was idle, or has too many connections, answers so for the moment
    // (aurora-dsql.md#admission).
    let retry = RetryPolicy {
        base: Duration::from_millis(100),
        cap: Duration::from_secs(2),
        deadline: LOGIN_LIMIT / 2,
    };
    let (before, start) = (SystemTime::now(), Instant::now());
    let connect = PostgresDatabase::connect(connector, None, &retry);
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
    let advice = match (&reason, auth) {
        (Unanswered::Failed(DatabaseError::Authentication { .. }), Auth::Iam { .. }) => {
            "check the role (--user), the region, the clock, and that the credentials may do \
             dsql:DbConnectAdmin (role admin) or dsql:DbConnect (other roles, after AWS IAM GRANT)"
        }
        (Unanswered::Failed(DatabaseError::Authentication { .. }), _) => {
            "check SQL_USER, SQL_PASSWORD and the pg_hba.conf of the server"
        }
        (Unanswered::Failed(DatabaseError::NoDatabase { .. }), _) => {
            "check --database or SQL_DATABASE"
        }
        (Unanswered::Failed(DatabaseError::Busy(_)), _) => {
            "run the command again; if it lasts, close connections of other clients"
        }
        _ => "the message names the cause",
    };
    (Check::failed(LOGIN, reason, advice), clock, None)
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
    within(STATEMENT_LIMIT, attempts).await
}

/// The failure of a question that no configuration can cause.
fn unanswered(name: &'static str, reason: &Unanswered<DatabaseError>) -> Check {
    Check::failed(name, reason, "run the command again; if it fails again, check the network")
}

/// The kind of server and its version.
pub(super) async fn version(config: &Config, database: &mut PostgresDatabase) -> Check {
    let version = repeated(database, PostgresDatabase::server_version).await;
    let version = match version {
        Ok(version) => version,
        Err(reason) => return unanswered(SERVER, &reason),
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
        let advice = format!("give --engine {engine} or DSQL_ENGINE={engine}");
        Check::failed(SERVER, format!("{detail}; the configuration says {expected}"), advice)
    };
    check.with("engine", engine.to_string()).with("version", version)
}

/// The recorded version of the schema, compared with the catalog and with this release.
pub(super) async fn schema(
    schema: &Schema,
    database: &mut PostgresDatabase,
    logical_name: &str,
) -> Check {
    let timeouts = Timeouts::default();
    let mut migrator = Migrator::new(schema, database, logical_name, timeouts, &IgnoreProgress);
    let newest = schema.newest();
    let verified = match within(STATEMENT_LIMIT, migrator.verify(None)).await {
        Ok(verified) => verified,
        Err(Unanswered::Failed(error @ MigrateError::NotSetUp { .. })) => {
            let advice = "run `temporal-dsql-tool setup-schema`, or give the right \
                          --logical-database";
            return Check::failed(SCHEMA, error, advice).differs();
        }
        Err(
            reason @ (Unanswered::Late(_)
            | Unanswered::Failed(
                MigrateError::Database { .. } | MigrateError::DeadlineExceeded { .. },
            )),
        ) => {
            let advice = "grant the role SELECT on the tables, or run the command again";
            return Check::failed(SCHEMA, reason, advice);
        }
        Err(reason) => {
            let advice = "`temporal-dsql-tool status` shows the recorded versions";
            return Check::failed(SCHEMA, reason, advice).differs();
        }
    };
    let (version, found) = (verified.version, verified.differences.len());
    let check = match verified.differences.first() {
        None if version == newest => {
            Check::ok(SCHEMA, format!("version {version}, exactly; recorded for `{logical_name}`"))
        }
        None => Check::failed(
            SCHEMA,
            format!("version {version}, exactly; this release needs {newest}"),
            format!("run `temporal-dsql-tool update-schema` to bring it to {newest}"),
        )
        .differs(),
        Some(first) => Check::failed(
            SCHEMA,
            match found {
                1 => format!("version {version}, with 1 difference: {first}"),
                _ => format!("version {version}, with {found} differences; the first: {first}"),
            },
            "`temporal-dsql-tool verify` lists them all",
        )
        .differs(),
    };
    check.with("version", version.to_string()).with("differences", found)
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
                return (clock, unanswered(ROUND_TRIP, &reason));
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
        Err(reason) => return unanswered(COMMIT, &reason),
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
            Err(reason) => {
                let advice = "grant the role UPDATE on schema_version, or run the command again \
                              when no other run writes it";
                return Check::failed(COMMIT, reason, advice);
            }
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
    let count = match repeated(database, PostgresDatabase::connection_count).await {
        Ok(count) => count,
        Err(reason) => return unanswered(CONNECTIONS, &reason),
    };
    let Some(count) = count else {
        let detail = format!(
            "in use: unknown, because Aurora DSQL does not tell; the limit of a cluster is \
             {CLUSTER_CONNECTIONS}, and a store takes up to {wanted}"
        );
        let check = Check::ok(CONNECTIONS, detail);
        return check.with("in_use", None::<u64>).with("limit", CLUSTER_CONNECTIONS);
    };
    let detail = format!("{} of {} in use; a store takes up to {wanted}", count.in_use, count.most);
    let check = if count.in_use + wanted > count.most {
        let advice = "lower DSQL_MAX_CONNECTIONS, raise max_connections of the server, or close \
                      connections of other clients";
        Check::warning(CONNECTIONS, detail, advice)
    } else {
        Check::ok(CONNECTIONS, detail)
    };
    check.with("in_use", count.in_use).with("limit", count.most)
}
