//! Command-line options and environment variables, and the emulator that they configure.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use dsql_emulator::{
    CatalogConflicts, Credentials, DsqlEmulator, DsqlEmulatorBuilder, JobDelays, Latency, Limits,
};

const AFTER_HELP: &str = "\
On start it prints what clients need as shell variables. The control port injects faults, one \
command per line; `help` lists them.

PostgreSQL's programs are searched in PG_BIN, in Debian's folders and on the PATH. RUST_LOG, such as \
dsql_emulator=debug, enables a log on standard error.

It runs until SIGINT, SIGTERM or SIGHUP and leaves nothing behind. Exit codes: 0 stopped by a \
signal, 1 failed to start, 2 wrong usage.";

/// An emulator of an Amazon Aurora DSQL cluster, in front of a stock PostgreSQL, for tests.
#[derive(Debug, Parser)]
#[command(name = "dsql-emulator", version, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) identity: Identity,
    #[command(flatten)]
    listen: ListenOptions,
    #[command(flatten)]
    limits: LimitOptions,
    #[command(flatten)]
    behaviour: Behaviour,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a token, the password of a connection, and exit
    Token(Token),
    /// Send a command to a running emulator; `control help` lists them
    Control(Control),
    /// Play the recorded and the inferred probes on a cluster, in schemas that are removed
    /// afterwards, and write its answers to a file
    Probes(crate::probes::Probes),
}

#[derive(Args, Debug)]
pub(crate) struct Control {
    /// Its control port
    #[arg(long, value_name = "ADDRESS:PORT", env = "DSQL_EMULATOR_CONTROL")]
    pub(crate) at: SocketAddr,
    /// One command, such as `commit conflict 2`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Token {
    /// Database role
    #[arg(long, short, default_value = "admin")]
    pub(crate) user: String,
    /// How long it is valid, a week at most
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "15min")]
    pub(crate) expires_in: Duration,
}

/// What a client needs to connect, and what its token is signed with.
#[derive(Args, Debug)]
#[command(next_help_heading = "Identity")]
pub(crate) struct Identity {
    /// Host name of the emulator, or several with commas; it must resolve to --listen
    #[arg(
        long = "host",
        global = true,
        value_name = "NAME",
        env = "DSQL_EMULATOR_HOST",
        value_delimiter = ',',
        default_value = "localhost"
    )]
    pub(crate) hosts: Vec<String>,
    /// Region that tokens are signed for
    #[arg(long, global = true, env = "AWS_REGION", default_value = "us-east-1")]
    pub(crate) region: String,
    /// Access key id that tokens are signed with; by default that of AWS's examples
    #[arg(long, global = true, value_name = "ID", env = "AWS_ACCESS_KEY_ID")]
    access_key_id: Option<String>,
    /// Secret access key; prefer the variable, because others can see a process's arguments
    #[arg(
        long,
        global = true,
        value_name = "SECRET",
        env = "AWS_SECRET_ACCESS_KEY",
        hide_env_values = true
    )]
    secret_access_key: Option<String>,
    /// Session token of temporary credentials
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "AWS_SESSION_TOKEN",
        hide_env_values = true
    )]
    session_token: Option<String>,
}

/// The addresses that the emulator listens on, and the PostgreSQL behind it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Listening")]
struct ListenOptions {
    /// Address to listen on
    #[arg(long, value_name = "IP", env = "DSQL_EMULATOR_LISTEN", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Port; 0 selects a free one
    #[arg(long, short, env = "DSQL_EMULATOR_PORT", default_value_t = 0)]
    port: u16,
    /// Control port, always on 127.0.0.1; 0 selects a free one
    #[arg(long, value_name = "PORT", env = "DSQL_EMULATOR_CONTROL_PORT", default_value_t = 0)]
    control_port: u16,
    /// Where to write the certificate authority, while the emulator runs [default: a new file]
    #[arg(long, value_name = "FILE", env = "DSQL_EMULATOR_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Use this PostgreSQL 15 or later, as a superuser, instead of starting one
    #[arg(long, value_name = "URL", env = "DSQL_EMULATOR_POSTGRES_URL", hide_env_values = true)]
    postgres_url: Option<String>,
    /// IAM identity of the credentials, for AWS IAM GRANT
    #[arg(
        long,
        env = "DSQL_EMULATOR_ARN",
        default_value = "arn:aws:iam::123456789012:role/dsql-emulator"
    )]
    arn: String,
}

/// DSQL's configurable limits.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
struct LimitOptions {
    /// Rows that a transaction may change
    #[arg(long, value_name = "ROWS", default_value_t = 3_000)]
    transaction_rows: u64,
    /// Bytes that a transaction may write
    #[arg(long, value_name = "BYTES", default_value = "10485760")]
    transaction_bytes: NonZeroU64,
    /// Maximum age of a transaction at COMMIT
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "300s")]
    transaction_age: Duration,
    /// Open connections
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    connections: usize,
    /// New connections per second
    #[arg(long, value_name = "RATE", default_value_t = 100.0)]
    connection_rate: f64,
    /// New connections at once
    #[arg(long, value_name = "COUNT", default_value_t = 1_000.0)]
    connection_burst: f64,
    /// Maximum age of a connection
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60min")]
    session_age: Duration,
    /// Bytes of a message from a client
    #[arg(long, value_name = "BYTES", default_value_t = 10_485_760)]
    message_bytes: usize,
}

/// Delays, conflicts and refusals that differ between clusters.
#[derive(Args, Debug)]
#[command(next_help_heading = "Behaviour")]
struct Behaviour {
    /// How long an asynchronous job is `submitted`
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "50ms")]
    job_start: Duration,
    /// How long it is `processing` afterwards
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "250ms")]
    job_work: Duration,
    /// How long sys.jobs shows it after its end
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30min")]
    job_kept: Duration,
    /// Minimum time of each round trip
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0ms")]
    latency: Duration,
    /// Minimum time of each commit, in addition to that
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0ms")]
    commit_latency: Duration,
    /// When a session gets 40001 (OC001) after a catalog change: off, always, within a time of the
    /// change such as 500ms, or with a probability such as 0.1
    #[arg(long, value_name = "WHEN", value_parser = conflicts, default_value = "500ms")]
    catalog_conflicts: CatalogConflicts,
    /// Refuse INSERT, UPDATE and DELETE inside of WITH, for which DSQL's behaviour is not recorded
    #[arg(long)]
    refuse_data_modifying_with: bool,
    /// Refuse locking clauses in subqueries, as clusters did until 2026-08
    #[arg(long)]
    refuse_locking_subqueries: bool,
    /// Seed of random decisions
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

impl Cli {
    /// The emulator with these options.
    ///
    /// # Errors
    /// Why the options are invalid.
    pub(crate) fn builder(&self) -> Result<DsqlEmulatorBuilder, String> {
        let Self { identity, listen, limits: options, behaviour, .. } = self;
        let mut limits = Limits::default();
        limits.transaction_rows = options.transaction_rows;
        limits.transaction_bytes = options.transaction_bytes.get();
        limits.transaction_age = options.transaction_age;
        limits.connections = options.connections;
        limits.connection_rate = options.connection_rate;
        limits.connection_burst = options.connection_burst;
        limits.session_age = options.session_age;
        limits.message_bytes = options.message_bytes;
        let builder = DsqlEmulator::builder()
            .hosts(identity.hosts.clone())
            .region(identity.region.clone())
            .credentials(identity.credentials()?)
            .arn(listen.arn.clone())
            .listen(listen.listen)
            .port(listen.port)
            .control_port(listen.control_port)
            .limits(limits)
            .job_delays(JobDelays {
                start: behaviour.job_start,
                work: behaviour.job_work,
                kept: behaviour.job_kept,
            })
            .latency(Latency { round_trip: behaviour.latency, commit: behaviour.commit_latency })
            .catalog_conflicts(behaviour.catalog_conflicts)
            .accept_data_modifying_with(!behaviour.refuse_data_modifying_with)
            .accept_locking_subqueries(!behaviour.refuse_locking_subqueries)
            .seed(behaviour.seed);
        let builder = match &listen.ca_file {
            Some(file) => builder.ca_file(file),
            None => builder,
        };
        Ok(match &listen.postgres_url {
            Some(url) => builder.postgres_url(url),
            None => builder.own_postgres(),
        })
    }
}

impl Identity {
    /// The credentials. Id and secret must both be given, or neither.
    pub(crate) fn credentials(&self) -> Result<Credentials, String> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (id, secret) = (filled(&self.access_key_id), filled(&self.secret_access_key));
        let session_token = filled(&self.session_token);
        match (id, secret) {
            (Some(id), Some(secret)) => {
                Ok(Credentials { session_token, ..Credentials::new(id, secret) })
            }
            (None, None) if session_token.is_none() => Ok(Credentials::default()),
            (None, _) => Err("credentials: --access-key-id or AWS_ACCESS_KEY_ID is missing".into()),
            (_, None) => {
                Err("credentials: --secret-access-key or AWS_SECRET_ACCESS_KEY is missing".into())
            }
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 250ms, 30s or 15min"))
}

fn conflicts(text: &str) -> Result<CatalogConflicts, String> {
    match text {
        "always" => Ok(CatalogConflicts::Always),
        "off" => Ok(CatalogConflicts::Off),
        other => match (other.parse(), duration(other)) {
            (Ok(probability), _) => Ok(CatalogConflicts::WithProbability(probability)),
            (_, Ok(window)) => Ok(CatalogConflicts::Within(window)),
            _ => Err("write `off`, `always`, a time such as 500ms or a probability such as 0.1"
                .to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Parses options without the environment variables of the process that runs the tests.
    fn parsed(arguments: &[&str]) -> Cli {
        let defaults = ["dsql-emulator", "--region=us-east-1", "--host=localhost"];
        let mut cli = Cli::parse_from(defaults.iter().chain(arguments));
        if !arguments.iter().any(|argument| argument.contains("key")) {
            cli.identity.access_key_id = None;
            cli.identity.secret_access_key = None;
            cli.identity.session_token = None;
        }
        cli
    }

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_options_the_program_uses_the_librarys_defaults_and_its_own_server() {
        let configured = parsed(&[]).builder().unwrap();
        assert_eq!(
            format!("{configured:?}"),
            format!("{:?}", DsqlEmulator::builder().own_postgres())
        );
    }

    #[test]
    fn catalog_conflicts_are_off_always_a_window_or_a_probability() {
        for (text, meant) in [
            ("off", CatalogConflicts::Off),
            ("always", CatalogConflicts::Always),
            ("2s", CatalogConflicts::Within(Duration::from_secs(2))),
            ("500ms", CatalogConflicts::default()),
            ("0.25", CatalogConflicts::WithProbability(0.25)),
            ("1", CatalogConflicts::WithProbability(1.0)),
        ] {
            assert_eq!(conflicts(text), Ok(meant), "{text}");
        }
        for wrong in ["never", "", "5 parsecs"] {
            assert!(conflicts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_reach_the_emulator() {
        let configured = parsed(&[
            "--transaction-age=2s",
            "--catalog-conflicts=0.25",
            "--job-work=1min",
            "--refuse-data-modifying-with",
            "--ca-file=ca.pem",
        ]);
        let configured = format!("{:?}", configured.builder().unwrap());
        for part in [
            "transaction_age: 2s",
            "WithProbability(0.25)",
            "work: 60s",
            "data_modifying_with: false, locking_subqueries: true",
            "ca.pem",
        ] {
            assert!(configured.contains(part), "{part}: {configured}");
        }
    }

    #[test]
    fn a_missing_credential_is_named_and_the_secret_is_not_shown() {
        let mut identity = parsed(&[]).identity;
        identity.access_key_id = Some("AKIDEXAMPLE".into());
        assert!(identity.credentials().unwrap_err().contains("AWS_SECRET_ACCESS_KEY"));
        identity.secret_access_key = Some("s3cr3t".into());
        let shown = format!("{:?}", identity.credentials().unwrap());
        assert!(shown.contains("AKIDEXAMPLE") && !shown.contains("s3cr3t"), "{shown}");
    }
}
