//! The command `doctor`: whether this machine can work with a cluster, and what a store would do there.
//!
//! The checks are a list of values ([`check`]), in the order in which they depend on each other. A
//! check that depends on a failed one is not made. Every step has a deadline. Nothing is changed; with
//! `--write`, the version row is written as it is. No check shows a secret.

mod check;
mod clock;
mod credentials;
mod network;
mod server;
mod tls;
mod writes;

use std::{fmt, sync::Arc, time::Duration};

use temporal_dsql::{
    dsql::{Auth, Connector, ErrorChain, aws_credentials},
    migrate::{MigrateError, PostgresDatabase},
};

use crate::{
    cli::{Cli, Doctor},
    exit::Failure,
    progress::ProgressReporter,
    target::{self, Resolved},
};
use check::Check;
pub(crate) use check::Examination;

/// How long a name, a TCP connection or a step of the TLS handshake may take.
const NETWORK_LIMIT: Duration = Duration::from_secs(5);
/// How long the chain of AWS credentials may take, which may ask a metadata service or run a process.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(15);
/// How long a login may take; a cluster that was idle takes a moment (aurora-dsql.md#admission).
const LOGIN_LIMIT: Duration = Duration::from_secs(20);
/// How long the answer to a question may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(15);

/// Why a step has no result.
#[derive(Debug)]
pub(crate) enum Unanswered<E> {
    /// It did not end within its deadline, and the sessions that hold the locks that it waited for.
    Late(Duration, Vec<String>),
    Failed(E),
}

impl<E: std::error::Error + 'static> fmt::Display for Unanswered<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(limit, holders) => {
                write!(f, "no answer within {} s", limit.as_secs())?;
                match holders[..] {
                    [] => Ok(()),
                    _ => write!(f, "; it waits for a lock that is held by {}", holders.join(", ")),
                }
            }
            Self::Failed(error) => ErrorChain(error).fmt(f),
        }
    }
}

/// Runs a step under its deadline.
async fn within<T, E>(
    limit: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Unanswered<E>> {
    match tokio::time::timeout(limit, step).await {
        Ok(result) => result.map_err(Unanswered::Failed),
        Err(_) => Err(Unanswered::Late(limit, Vec::new())),
    }
}

/// Makes all checks.
///
/// # Errors
/// The configuration cannot work; nothing was sent.
pub(crate) async fn examine(cli: &Cli, options: &Doctor) -> Result<Examination, Failure> {
    let schema = options.schema.read().map_err(MigrateError::from)?;
    let Resolved { config, target } = target::resolve(cli)?;
    let name = target::logical_database(&cli.connection)?;
    let (auth, name) = (&target.auth, name.as_str());
    let provider = match auth {
        Auth::Iam { region } => Some(aws_credentials(region.clone()).await),
        Auth::Password(_) | Auth::Trust => None,
    };
    let connector = Connector::new(&config, provider.clone())?;
    let reporter = Arc::new(ProgressReporter::new(cli.quiet));
    let mut checks = Vec::new();

    reporter.activity(format!("connecting to {}:{}", config.host, config.port));
    let (check, addresses) = network::resolve(&config).await;
    checks.push(check);
    let (check, stream) = match addresses {
        Some(addresses) => network::connect(&addresses).await,
        None => (needs(network::TCP, "an address"), None),
    };
    checks.push(check);
    let (check, reachable) = match stream {
        Some(stream) => tls::examine(&config, target.tls, stream).await,
        None => (needs(tls::TLS, "a TCP connection"), None),
    };
    checks.push(check);
    let (check, credentials) = credentials::find(auth, provider.as_ref()).await;
    checks.push(check);

    reporter.activity(format!("logging in as {}", config.user));
    let (login, clock, database) = match (reachable, credentials) {
        (Some(()), Some(())) => {
            server::log_in(&config, auth, connector.clone(), Arc::clone(&reporter)).await
        }
        _ => (needs(server::LOGIN, "a connection and credentials"), None, None),
    };
    checks.push(login);

    reporter.activity("asking the server".to_owned());
    match database {
        Some(mut database) => {
            let (clock, round_trip) = server::times(&config, auth, &mut database).await;
            checks.push(clock);
            checks.push(server::version(&config, &mut database).await);
            checks.push(server::schema(&config, &schema, &mut database, name).await);
            let commit = match options.write {
                true => server::commit(&mut database, name).await,
                false => Check::not_checked(server::COMMIT, "--write measures it"),
            };
            let connections = server::connections(&config, &mut database).await;
            // A role may have one connection only.
            database.disconnect().await;
            checks.push(writes::examine(&config, connector, &mut database).await);
            checks.extend([round_trip, commit, connections]);
        }
        None => {
            checks.push(clock.unwrap_or_else(|| needs(clock::CLOCK, "a login")));
            let rest = [
                server::SERVER,
                server::SCHEMA,
                writes::WRITES,
                server::ROUND_TRIP,
                server::COMMIT,
                server::CONNECTIONS,
            ];
            checks.extend(rest.map(|name| needs(name, "a login")));
        }
    }
    Ok(Examination {
        tool: env!("CARGO_PKG_VERSION"),
        schema: temporal_dsql::VERSION.to_string(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        target: format!("{}@{}:{}/{}", config.user, config.host, config.port, config.database),
        checks,
    })
}

/// `answer`; if it is late, with the sessions that hold the locks that the question waits for.
async fn with_holders<T, E>(
    database: &mut PostgresDatabase,
    answer: Result<T, Unanswered<E>>,
) -> Result<T, Unanswered<E>> {
    match answer {
        Err(Unanswered::Late(limit, _)) => {
            // The question still waits on the server. If this one has no answer either, that is all
            // there is to say.
            let holders = within(NETWORK_LIMIT, database.lock_holders()).await;
            Err(Unanswered::Late(limit, holders.unwrap_or_default()))
        }
        other => other,
    }
}

/// A check that depends on one that failed.
fn needs(name: &'static str, what: &str) -> Check {
    Check::not_checked(name, format!("it needs {what}"))
}

/// A duration in milliseconds, to two digits.
fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// A duration in whole seconds, such as `5h 3m 20s`.
fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
