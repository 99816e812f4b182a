//! Flags and aliases: those of the Go tool (temporal-persistence.md#commands-and-flags) and additional
//! ones.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
    error::{ContextKind, ContextValue},
};
use temporal_dsql::{
    SchemaVersion,
    migrate::{Schema, SchemaError},
};

use crate::{
    go::{self, DatabaseFlags, GoFlags},
    import::arguments::{FenceSource, Import},
};

const AFTER_HELP: &str = "\
Exit codes: 0 done or nothing to do, 1 failed, 2 usage error, 3 the database differs from the \
schema, 143 ended by SIGTERM.

For Aurora DSQL, the tool generates IAM tokens with the credentials of the standard AWS chain. A \
password for PostgreSQL is read from SQL_PASSWORD only, so that it does not appear in process lists.

Every command can be interrupted and run again, and several runs can go on at the same time. Only \
setup-schema --overwrite must run alone, and no update or setup beside a rollback, because they drop \
tables that other runs create.";

/// Sets up, upgrades, verifies and rolls back the schema of Temporal on Amazon Aurora DSQL.
#[derive(Debug, Parser)]
#[command(name = "temporal-dsql-tool", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,

    #[command(flatten)]
    pub(crate) go: GoFlags,

    /// Output format
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,

    /// Print no progress on standard error; errors are still printed
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The connection to the database.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Host of the cluster [env: CLUSTER_ENDPOINT, SQL_HOST]
    #[arg(long, alias = "ep", global = true, value_name = "HOST")]
    pub(crate) endpoint: Option<String>,

    /// TCP port [env: SQL_PORT] [default: 5432]
    #[arg(
        long, short, global = true, value_parser = clap::value_parser!(u16).range(1..),
        allow_negative_numbers = true
    )]
    pub(crate) port: Option<u16>,

    /// Database role [env: SQL_USER] [default: admin]
    #[arg(long, short, global = true)]
    pub(crate) user: Option<String>,

    /// Database to connect to; DSQL has exactly one [env: SQL_DATABASE] [default: postgres]
    #[arg(long, alias = "db", global = true)]
    pub(crate) database: Option<String>,

    /// AWS region of the cluster; by default taken from the host name [env: REGION; AWS_REGION if
    /// the host name contains none]
    #[arg(long, global = true)]
    pub(crate) region: Option<String>,

    /// Kind of server; auto decides by host name, password or region [env: DSQL_ENGINE]
    /// [default: auto]
    #[arg(long, global = true, value_enum)]
    pub(crate) engine: Option<EngineChoice>,

    /// PEM file of a certificate authority to trust [env: SQL_TLS_CA_FILE]
    #[arg(long, global = true, value_name = "FILE", value_parser = path())]
    pub(crate) tls_ca_file: Option<PathBuf>,

    /// TLS mode for a PostgreSQL server; for DSQL only verify-full is accepted
    /// [env: SQL_TLS_MODE]
    #[arg(long, global = true, value_enum)]
    pub(crate) tls_mode: Option<TlsChoice>,

    /// Name under which the schema version is recorded: the database name in the server's
    /// configuration [env: SQL_LOGICAL_DATABASE] [default: postgres]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) logical_database: Option<String>,
}

/// A path, which Go takes as absent if it is empty.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Human-readable text
    Text,
    /// One JSON object
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineChoice {
    Auto,
    Dsql,
    Postgres,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsChoice {
    Disable,
    Prefer,
    Require,
    VerifyFull,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Set up an empty database at one version
    #[command(alias = "setup")]
    SetupSchema(SetupSchema),
    /// Update a database to a newer version
    #[command(alias = "update")]
    UpdateSchema(UpdateSchema),
    /// Check whether this machine can work with the cluster, and what a store would do there
    Doctor(Doctor),
    /// Show the recorded version, the expected version and the pending steps
    Status(Status),
    /// Compare a database with its recorded version; exit code 3 if they differ
    Verify(Verify),
    /// Roll back to an older version
    #[command(alias = "rollback")]
    RollbackSchema(RollbackSchema),
    /// Record the version that the tables have, in place of one that no release has made
    #[command(alias = "adopt")]
    AdoptSchema(AdoptSchema),
    /// Move a deployment from PostgreSQL: copy its rows, and prove that both sides are equal; exit code
    /// 3 if they differ
    Import(Import),
    /// Keep the servers of a deployment on PostgreSQL from writing, before it is imported
    FenceSource(FenceSource),
    /// Let the servers of a deployment on PostgreSQL write again
    UnfenceSource(FenceSource),
    /// Not applicable: a DSQL cluster has exactly one database
    #[command(alias = "create", hide = true)]
    CreateDatabase(DatabaseFlags),
    /// Not applicable: a DSQL cluster has exactly one database
    #[command(alias = "drop", hide = true)]
    DropDatabase(DatabaseFlags),
    /// Print a completion script for a shell
    Completions(Completions),
}

impl Command {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::SetupSchema(_) => "setup-schema",
            Self::UpdateSchema(_) => "update-schema",
            Self::Doctor(_) => "doctor",
            Self::Status(_) => "status",
            Self::Verify(_) => "verify",
            Self::RollbackSchema(_) => "rollback-schema",
            Self::AdoptSchema(_) => "adopt-schema",
            Self::Import(_) => "import",
            Self::FenceSource(_) => "fence-source",
            Self::UnfenceSource(_) => "unfence-source",
            Self::CreateDatabase(_) => "create-database",
            Self::DropDatabase(_) => "drop-database",
            Self::Completions(_) => "completions",
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct SetupSchema {
    /// Version to set up [default: the newest]
    #[arg(long, short, conflicts_with = "disable_versioning")]
    pub(crate) version: Option<SchemaVersion>,

    #[command(flatten)]
    pub(crate) schema: SchemaName,

    /// File of SQL statements to run instead of the embedded schema; needs --version
    #[arg(long, short = 'f', value_name = "FILE", value_parser = path(), conflicts_with = "schema_name")]
    pub(crate) schema_file: Option<PathBuf>,

    /// Set up without version tables
    #[arg(long, short)]
    pub(crate) disable_versioning: bool,

    /// Drop every table of this schema with its rows first; asks for confirmation without --yes
    #[arg(long, short)]
    pub(crate) overwrite: bool,

    /// With --overwrite, also drop tables that have the name of a table of this schema and differ from
    /// every version of it
    #[arg(long, requires = "overwrite")]
    pub(crate) drop_different: bool,

    /// With --overwrite, also drop views, foreign keys and functions that depend on the dropped tables
    #[arg(long, requires = "overwrite")]
    pub(crate) drop_dependents: bool,

    #[command(flatten)]
    pub(crate) safety: SafetyFlags,
}

#[derive(Args, Debug)]
pub(crate) struct UpdateSchema {
    /// Version to update to [default: the newest]
    #[arg(long, short, alias = "target-version")]
    pub(crate) version: Option<SchemaVersion>,

    #[command(flatten)]
    pub(crate) schema: SchemaVersions,

    #[command(flatten)]
    pub(crate) proof: Proof,

    /// Print the statements with their transaction boundaries; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Measure a commit, too: the version row is written as it is
    #[arg(long)]
    pub(crate) write: bool,

    #[command(flatten)]
    pub(crate) schema: SchemaVersions,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) schema: SchemaVersions,
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Version to compare with [default: the recorded one]
    #[arg(long, short)]
    pub(crate) version: Option<SchemaVersion>,

    #[command(flatten)]
    pub(crate) schema: SchemaVersions,
}

#[derive(Args, Debug)]
pub(crate) struct AdoptSchema {
    #[command(flatten)]
    pub(crate) schema: SchemaVersions,

    /// Print the statements with their transaction boundaries; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RollbackSchema {
    /// Version to roll back to
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: SchemaVersion,

    /// Drop the tables of the newer versions even if they have rows; asks for confirmation without
    /// --yes
    #[arg(long)]
    pub(crate) drop_rows: bool,

    /// Drop views, foreign keys and functions that depend on the dropped tables, too
    #[arg(long)]
    pub(crate) drop_dependents: bool,

    #[command(flatten)]
    pub(crate) schema: SchemaVersions,

    #[command(flatten)]
    pub(crate) proof: Proof,

    #[command(flatten)]
    pub(crate) safety: SafetyFlags,
}

/// The choice of the embedded schema.
#[derive(Args, Debug)]
pub(crate) struct SchemaName {
    /// Embedded schema: dsql/temporal
    #[arg(long, short = 's', value_name = "NAME")]
    pub(crate) schema_name: Option<String>,
}

/// The schema versions of a command: the embedded ones, or those of a directory.
#[derive(Args, Debug)]
pub(crate) struct SchemaVersions {
    #[command(flatten)]
    pub(crate) name: SchemaName,

    /// Directory of schema versions to use instead of the embedded ones
    #[arg(long, short = 'd', value_name = "DIR", value_parser = path(), conflicts_with = "schema_name")]
    pub(crate) schema_dir: Option<PathBuf>,
}

impl SchemaVersions {
    /// The embedded versions, or those of `--schema-dir`. Go takes an empty path as absent.
    pub(crate) fn read(&self) -> Result<Schema, SchemaError> {
        match self.schema_dir.as_deref().filter(|directory| !directory.as_os_str().is_empty()) {
            None => Schema::embedded(),
            Some(directory) => Schema::from_directory(directory),
        }
    }
}

/// The check that the command changes no row of `current_executions`.
#[derive(Args, Debug)]
pub(crate) struct Proof {
    /// Compare digests of all rows of current_executions before and after; writers must be stopped
    #[arg(long)]
    pub(crate) prove: bool,
}

/// The flags of commands that drop tables.
#[derive(Args, Debug)]
pub(crate) struct SafetyFlags {
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,

    /// Print the statements with their transaction boundaries; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Shell
    pub(crate) shell: clap_complete::Shell,
}

/// The definition of the command line.
pub(crate) fn command() -> clap::Command {
    go::with_go_forms(Cli::command()).disable_version_flag(true).arg(go::version_flag())
}

/// Parses `arguments`, the first of which is the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let command = command();
    let arguments = go::accept_single_dashes(&command, arguments);
    let matches = command.clone().try_get_matches_from(arguments).map_err(|mut error| {
        // A hidden flag would be refused.
        if let Some(ContextValue::String(flag)) = error.get(ContextKind::SuggestedArg)
            && go::is_hidden(&command, flag)
        {
            error.remove(ContextKind::SuggestedArg);
        }
        error
    })?;
    Cli::from_arg_matches(&matches)
}

/// The name of the command in `arguments`, which are invalid otherwise.
pub(crate) fn command_of(arguments: &[OsString]) -> Option<String> {
    let command = command();
    go::subcommand(&command, &go::accept_single_dashes(&command, arguments.iter().cloned()))
}

/// Whether the invalid `arguments` request JSON output.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let is = |argument: &OsString, text: &str| {
        argument.to_str().is_some_and(|argument| argument.trim_start_matches('-') == text)
    };
    arguments.iter().any(|argument| is(argument, "output=json"))
        || arguments.windows(2).any(|pair| is(&pair[0], "output") && is(&pair[1], "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        super::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_and_alias_of_the_go_tool_is_taken() {
        // temporal-persistence.md#commands-and-flags
        for line in [
            "t --endpoint h --port 6432 --user u --database d --region r --quiet setup-schema",
            "t --ep h -p 6432 -u u --db d -q setup",
            "t -endpoint h -port 6432 -user u -db=d -quiet=false setup -version 1.0",
            "t setup-schema --schema-name dsql/temporal --version 1.1 --overwrite",
            "t setup -s dsql/temporal -v v1.1 -o",
            "t setup -f schema.sql -v 1.0",
            "t setup --schema-file schema.sql --disable-versioning",
            "t setup -d",
            "t update-schema --schema-name dsql/temporal --version 1.1",
            "t update -s dsql/temporal --target-version 1.1",
            "t update -d some/dir -v 1.1",
            "t --plugin dsql --pw p --ca a=b --tls --tls-disable-host-verification=0 status",
            "t --tls-cert-file= --tls-key-file= --tls-ca-file= --tls-server-name= status",
            "t --db d create --defaultdb e",
            "t drop-database -f --defaultdb e",
            "t update --schema-dir some/dir --overwrite-not-a-flag",
        ] {
            let parsed = parse(line);
            assert_eq!(parsed.is_ok(), !line.contains("not-a-flag"), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn json_output_is_recognised_in_invalid_arguments() {
        for (line, expected) in [
            ("t --output json nonsense", true),
            ("t nonsense --output=json", true),
            ("t nonsense -output json", true),
            ("t nonsense --output text", false),
            ("t status json", false),
        ] {
            let arguments: Vec<_> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(wants_json(&arguments), expected, "{line}");
        }
    }

    #[test]
    fn a_flag_that_would_be_refused_is_not_suggested() {
        for (line, suggested) in [("t --pasword x status", false), ("t --endpont h status", true)] {
            let error = parse(line).unwrap_err().to_string();
            assert_eq!(error.contains("a similar argument exists"), suggested, "{error}");
        }
    }

    #[test]
    fn the_command_of_invalid_arguments_is_the_first_word_that_is_no_value() {
        for (line, command) in [
            ("t setup --no-such-flag", Some("setup-schema")),
            ("t -endpoint verify -p 1 status --version", Some("status")),
            ("t --quiet=no verify", Some("verify")),
            ("t --output json nonsense", None),
            ("t --endpoint status", None),
        ] {
            let arguments: Vec<_> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(command_of(&arguments).as_deref(), command, "{line}");
        }
    }

    #[test]
    fn flags_may_come_before_or_after_the_command() {
        let before = parse("t --endpoint h status").unwrap();
        let after = parse("t status --endpoint h").unwrap();
        assert_eq!(before.connection.endpoint, after.connection.endpoint);
    }

    #[test]
    fn tables_of_an_import_may_have_spaces_around_them() {
        let line = ["t", "import", "--tables", "shards, tasks ,executions"].map(OsString::from);
        let Command::Import(import) = super::parse(line).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(import.tables, ["shards", "tasks", "executions"]);
    }

    #[test]
    fn contradicting_flags_are_refused_by_name() {
        // temporal-persistence.md#validation
        for (line, named) in [
            ("t setup --version 1.1 --disable-versioning", "--disable-versioning"),
            ("t setup --schema-file f --schema-name dsql/temporal", "--schema-name"),
            ("t update --schema-dir d --schema-name dsql/temporal", "--schema-name"),
            ("t setup --version 1.2a", "1.2a"),
            ("t update --version latest", "latest"),
            ("t rollback-schema", "--to"),
            ("t setup --drop-different", "--overwrite"),
            ("t setup --drop-dependents", "--overwrite"),
            ("t --port 99999 status", "99999"),
            ("t --port 0 status", "1..=65535"),
            ("t --port -1 status", "1..=65535"),
            ("t import --jobs 0", "1..=64"),
            ("t import --jobs -1", "1..=64"),
            ("t --engine mysql status", "mysql"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
