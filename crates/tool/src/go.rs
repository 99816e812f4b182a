//! Command lines that were written for the Go tools (temporal-persistence.md#commands-and-flags): their
//! spelling of flags is taken, and what does not apply here is refused with the line to use instead.
//!
//! `docs/go-tools.md` has a table of such lines, which the tests run.

use std::{collections::BTreeSet, ffi::OsString, fmt, path::Path};

use clap::{Arg, ArgAction, Args};
use temporal_dsql::{SchemaVersion, VERSION};

use crate::{
    cli::{
        AdoptSchema, Cli, Command, Connection, Doctor, RollbackSchema, SetupSchema, Status,
        UpdateSchema, Verify,
    },
    exit::Failure,
};

/// Flags of the Go tools that have no counterpart.
#[derive(Args, Debug, Default)]
pub(crate) struct GoFlags {
    /// Plugin of the Go server [env: SQL_PLUGIN]
    #[arg(long, alias = "pl", global = true, hide = true)]
    pub(crate) plugin: Option<String>,

    /// Refused, because other users can read it
    #[arg(long, alias = "pw", global = true, hide = true)]
    pub(crate) password: Option<Hidden>,

    /// Demands TLS [env: SQL_TLS]
    #[arg(
        long, global = true, hide = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = parse_bool
    )]
    pub(crate) tls: Option<bool>,

    /// [env: SQL_TLS_DISABLE_HOST_VERIFICATION]
    #[arg(
        long, global = true, hide = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = parse_bool
    )]
    pub(crate) tls_disable_host_verification: Option<bool>,

    #[arg(long, global = true, hide = true)]
    tls_cert_file: Option<String>,

    #[arg(long, global = true, hide = true)]
    tls_key_file: Option<String>,

    #[arg(long, global = true, hide = true)]
    tls_server_name: Option<String>,

    #[arg(long, alias = "ca", global = true, hide = true)]
    connect_attributes: Option<String>,
}

/// The flags of the Go tool's `create-database` and `drop-database`.
#[derive(Args, Debug)]
pub(crate) struct DatabaseFlags {
    #[arg(long, hide = true)]
    defaultdb: Option<String>,

    #[arg(long, short, hide = true)]
    pub(crate) force: bool,
}

/// A value that is not shown.
#[derive(Clone)]
pub(crate) struct Hidden(String);

impl From<String> for Hidden {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Gives `command` and its subcommands the forms of flags that Go takes: a value after `=` for each
/// boolean, and flags that are repeated.
pub(crate) fn with_go_forms(command: clap::Command) -> clap::Command {
    let with_value = |arg: Arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .hide_default_value(true)
            .hide_possible_values(true)
            .value_name("BOOL")
            .value_parser(parse_bool),
        _ => arg,
    };
    command.args_override_self(true).mut_args(with_value).mut_subcommands(with_go_forms)
}

/// The flag `-v` and `--version` of the tool itself.
pub(crate) fn version_flag() -> Arg {
    Arg::new("tool-version")
        .short('v')
        .short_alias('V')
        .long("version")
        .action(ArgAction::Version)
        .help("Print the version of the tool")
}

/// A boolean in one of the forms of Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}

/// Turns `-endpoint` into `--endpoint`: Go's flag package takes one dash or two.
pub(crate) fn accept_single_dashes(
    command: &clap::Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let long_names = long_names(command);
    arguments
        .into_iter()
        .map(|argument| {
            let is_long =
                argument.to_str().and_then(|text| text.strip_prefix('-')).is_some_and(|rest| {
                    let name = rest.split_once('=').map_or(rest, |(name, _)| name);
                    name.len() > 1 && long_names.contains(name)
                });
            if is_long {
                let mut doubled = OsString::from("-");
                doubled.push(argument);
                doubled
            } else {
                argument
            }
        })
        .collect()
}

fn long_names(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().flat_map(|argument| {
        let aliases = argument.get_all_aliases().unwrap_or_default();
        argument.get_long().into_iter().chain(aliases).map(str::to_owned).collect::<Vec<_>>()
    });
    own.chain(command.get_subcommands().flat_map(long_names)).collect()
}

/// A change of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Leaves the flag with this name out.
    Drop(&'static str),
    /// Gives the flag with this name another value.
    Set(&'static str, String),
    /// Sets a variable in front of the command.
    Variable(&'static str, String),
    /// Adds a flag.
    Append(&'static str),
    /// Runs this command, with the same connection.
    Command(&'static [&'static str]),
}

/// What a command line asks for and does not get: the reasons, and the changes that remove them.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    reasons: Vec<String>,
    edits: Vec<Edit>,
}

impl Refusals {
    /// What `cli` asks for that does not depend on the database.
    pub(crate) fn of(cli: &Cli) -> Self {
        let mut refusals = Self::default();
        let go = &cli.go;
        if go.password.as_ref().is_some_and(|password| !password.0.is_empty()) {
            refusals.add(
                "other users can read a password on a command line; Aurora DSQL needs none, and one \
                 for PostgreSQL belongs in SQL_PASSWORD",
                [Edit::Drop("password")],
            );
        }
        for (flag, value, reason) in [
            ("tls-cert-file", &go.tls_cert_file, "client certificates are not supported"),
            ("tls-key-file", &go.tls_key_file, "client certificates are not supported"),
            ("connect-attributes", &go.connect_attributes, "connections have no attributes"),
        ] {
            if is_given(value) {
                refusals.add(&format!("--{flag}: {reason}"), [Edit::Drop(flag)]);
            }
        }
        if is_given(&go.tls_server_name) && go.tls_server_name != cli.connection.endpoint {
            refusals.add(
                "--tls-server-name: the certificate is verified for the name of the endpoint",
                [Edit::Drop("tls-server-name")],
            );
        }
        if let Some((host, port)) = cli.connection.endpoint.as_deref().and_then(host_and_port) {
            refusals.add(
                &format!("endpoint `{host}:{port}` has a port; the endpoint is a host name alone"),
                [Edit::Set("endpoint", host.to_owned()), Edit::Set("port", port.to_owned())],
            );
        }
        refusals.add_schema(&cli.command);
        if let Command::DropDatabase(flags) = &cli.command {
            let mut edits =
                vec![Edit::Command(&["setup-schema", "--version", "0.0", "--overwrite"])];
            edits.extend(flags.force.then_some(Edit::Append("--yes")));
            refusals.add(
                "this tool drops no databases, and an Aurora DSQL cluster has exactly one; \
                 `setup-schema --overwrite` drops the tables of the schema",
                edits,
            );
        }
        refusals
    }

    /// Refuses a schema of another database or of a directory that does not exist.
    fn add_schema(&mut self, command: &Command) {
        let (name, directory) = match command {
            Command::SetupSchema(setup) => (&setup.schema.schema_name, None),
            Command::UpdateSchema(UpdateSchema { schema, .. })
            | Command::RollbackSchema(RollbackSchema { schema, .. })
            | Command::AdoptSchema(AdoptSchema { schema, .. })
            | Command::Doctor(Doctor { schema, .. })
            | Command::Status(Status { schema })
            | Command::Verify(Verify { schema, .. }) => {
                (&schema.name.schema_name, schema.schema_dir.as_deref())
            }
            _ => return,
        };
        let directory = directory.filter(|directory| !directory.as_os_str().is_empty());
        if let Some(name) =
            name.as_deref().filter(|name| *name != temporal_dsql::migrate::SCHEMA_NAME)
        {
            if is_visibility(Path::new(name)) {
                return self.add(NO_VISIBILITY, []);
            }
            let known = temporal_dsql::migrate::SCHEMA_NAME;
            self.add(
                &format!("there is no embedded schema `{name}`, only {known}"),
                [Edit::Set("schema-name", known.to_owned())],
            );
            self.edits.extend(edit_of_version(command));
        }
        let Some(directory) = directory else { return };
        if is_visibility(directory) {
            self.add(NO_VISIBILITY, []);
        } else if let Some(database) = database_of(directory) {
            let shown = directory.display();
            self.add(
                &format!("{shown} is the schema of {database}; the one of Aurora DSQL is embedded"),
                [Edit::Drop("schema-dir")].into_iter().chain(edit_of_version(command)),
            );
        } else if !directory.exists() {
            let shown = directory.display();
            self.add(
                &format!("there is no directory {shown}; the schema of Aurora DSQL is embedded"),
                [Edit::Drop("schema-dir")],
            );
        }
    }

    /// Refuses the plugin of another database.
    pub(crate) fn add_plugin(&mut self, name: &str, is_flag: bool) {
        let (spelled, edit) = match is_flag {
            true => ("--plugin", Edit::Set("plugin", "dsql".to_owned())),
            false => ("SQL_PLUGIN", Edit::Variable("SQL_PLUGIN", "dsql".to_owned())),
        };
        self.add(&format!("{spelled}: `{name}` is the plugin of another database"), [edit]);
    }

    /// Refuses a database other than the one of a cluster.
    pub(crate) fn add_database(&mut self, connection: &Connection, database: &str) {
        const DATABASE: &str = "postgres";
        if database == DATABASE {
            return;
        }
        if database.ends_with("visibility") {
            return self.add(NO_VISIBILITY, []);
        }
        let reason = format!(
            "an Aurora DSQL cluster has one database, `{DATABASE}`, and not `{database}`; the name in \
             the server's configuration is the logical one"
        );
        let has_name = is_given(&connection.logical_database);
        if is_given(&connection.database) {
            let name = Edit::Set("logical-database", database.to_owned());
            self.add(
                &reason,
                [Edit::Drop("database")].into_iter().chain((!has_name).then_some(name)),
            );
        } else {
            let name = Edit::Variable("SQL_LOGICAL_DATABASE", database.to_owned());
            let physical = Edit::Variable("SQL_DATABASE", DATABASE.to_owned());
            self.add(&reason, [physical].into_iter().chain((!has_name).then_some(name)));
        }
    }

    fn add(&mut self, reason: &str, edits: impl IntoIterator<Item = Edit>) {
        self.reasons.push(reason.to_owned());
        self.edits.extend(edits);
    }

    /// Fails if anything is refused.
    pub(crate) fn check(self) -> Result<(), Failure> {
        if self.reasons.is_empty() {
            return Ok(());
        }
        // A command that has no place here has no line to use either.
        let is_out = self.reasons.iter().any(|reason| reason == NO_VISIBILITY);
        let edits = if is_out { Vec::new() } else { self.edits };
        Err(Failure { instead: edits, ..Failure::usage(self.reasons.join("; ")) })
    }
}

/// The change of a version that is one of another schema: of upstream's, or of the fork's under its
/// former name.
fn edit_of_version(command: &Command) -> Option<Edit> {
    let is_newer =
        |version: &Option<SchemaVersion>| version.is_some_and(|version| version > VERSION);
    match command {
        Command::SetupSchema(SetupSchema { version, .. }) if is_newer(version) => {
            Some(Edit::Set("version", VERSION.to_string()))
        }
        Command::UpdateSchema(UpdateSchema { version, .. }) if is_newer(version) => {
            Some(Edit::Drop("version"))
        }
        _ => None,
    }
}

const NO_VISIBILITY: &str = "Aurora DSQL does not store visibility, which needs Elasticsearch or \
                             OpenSearch; leave this command out";

fn is_given(value: &Option<String>) -> bool {
    value.as_deref().is_some_and(|value| !value.trim().is_empty())
}

/// The host and the port of `endpoint`, if it has both and nothing else.
pub(crate) fn host_and_port(endpoint: &str) -> Option<(&str, &str)> {
    let (host, port) = endpoint.trim().rsplit_once(':')?;
    let is_host = !host.is_empty() && !host.contains(['/', '@']);
    let is_host = is_host && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
    (is_host && port.parse::<u16>().is_ok()).then_some((host, port))
}

fn has_component(path: &Path, name: &str) -> bool {
    path.components().any(|component| component.as_os_str() == name)
}

fn is_visibility(path: &Path) -> bool {
    has_component(path, "visibility")
}

/// The database of a directory of upstream's schemas.
fn database_of(path: &Path) -> Option<&'static str> {
    [
        ("postgresql", "PostgreSQL"),
        ("mysql", "MySQL"),
        ("cassandra", "Cassandra"),
        ("sqlite", "SQLite"),
    ]
    .into_iter()
    .find(|(name, _)| has_component(path, name) && has_component(path, "versioned"))
    .map(|(_, database)| database)
}

/// The line that `edits` make of `arguments`, the first of which is the program's name; `None` if
/// there is none, or if it could show a secret.
pub(crate) fn line(
    command: &clap::Command,
    arguments: &[OsString],
    edits: &[Edit],
) -> Option<String> {
    let arguments: Vec<&str> =
        arguments.iter().skip(1).map(|argument| argument.to_str()).collect::<Option<_>>()?;
    if edits.is_empty() || arguments.iter().any(|argument| argument.contains('@')) {
        return None;
    }
    let other = edits.iter().find_map(|edit| match edit {
        Edit::Command(words) => Some(*words),
        _ => None,
    });
    let mut words = vec!["temporal-dsql-tool".to_owned()];
    let mut rest = arguments.as_slice();
    let mut set: BTreeSet<&str> = BTreeSet::new();
    let mut current = command;
    while let [word, after @ ..] = rest {
        rest = after;
        let Some((arg, has_value)) = flag(command, current, word) else {
            match current.find_subcommand(word) {
                Some(_) if other.is_some() => break,
                Some(found) => current = found,
                None => {}
            }
            words.push((*word).to_owned());
            continue;
        };
        let takes_next = !has_value && takes_value(arg);
        let long = arg.get_long().unwrap_or_default();
        let value = if takes_next { rest.split_off_first().copied() } else { None };
        match edits.iter().find(|edit| edit.concerns(long)) {
            Some(Edit::Drop(_)) => {}
            Some(Edit::Set(name, value)) => {
                if set.insert(name) {
                    words.extend([format!("--{name}"), value.clone()]);
                }
            }
            _ => words.extend([*word].into_iter().chain(value).map(str::to_owned)),
        }
    }
    words.extend(other.into_iter().flatten().map(|word| (*word).to_owned()));
    for edit in edits {
        match edit {
            Edit::Set(name, value) if !set.contains(name) => {
                words.extend([format!("--{name}"), value.clone()]);
            }
            Edit::Append(flag) => words.push((*flag).to_owned()),
            Edit::Variable(name, value) => words.insert(0, format!("{name}={value}")),
            _ => {}
        }
    }
    let words: Result<Vec<_>, _> = words.iter().map(|word| quoted(word)).collect();
    words.ok().map(|words| words.join(" "))
}

impl Edit {
    fn concerns(&self, flag: &str) -> bool {
        matches!(self, Self::Drop(name) | Self::Set(name, _) if *name == flag)
    }
}

/// `word` for a shell. An assignment in front of a command is one word.
fn quoted(word: &str) -> Result<String, shlex::QuoteError> {
    match word.split_once('=') {
        Some((name, value)) if !word.starts_with('-') => {
            Ok(format!("{name}={}", shlex::try_quote(value)?))
        }
        _ => Ok(shlex::try_quote(word)?.into_owned()),
    }
}

/// The flag of `current` or of `root` that `word` is, and whether its value is in it.
fn flag<'c>(
    root: &'c clap::Command,
    current: &'c clap::Command,
    word: &str,
) -> Option<(&'c Arg, bool)> {
    let (spelled, has_value) =
        word.split_once('=').map_or((word, false), |(spelled, _)| (spelled, true));
    let is_named = |arg: &&Arg| match spelled.strip_prefix("--") {
        Some(name) => {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long().into_iter().chain(aliases).any(|long| long == name)
        }
        None => {
            let mut short = spelled.strip_prefix('-').unwrap_or_default().chars();
            let first = short.next();
            first.is_some() && short.next().is_none() && arg.get_short() == first
        }
    };
    let arg = current.get_arguments().chain(root.get_arguments()).find(is_named)?;
    Some((arg, has_value))
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set) && !arg.is_require_equals_set()
}

/// Whether help does not show the flag of `command` or of a subcommand that `word` is.
pub(crate) fn is_hidden(command: &clap::Command, word: &str) -> bool {
    let is_hidden = |inner| flag(command, inner, word).is_some_and(|(arg, _)| arg.is_hide_set());
    is_hidden(command) || command.get_subcommands().any(is_hidden)
}

/// The name of the subcommand in `arguments`, the first of which is the program's name.
pub(crate) fn subcommand(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let mut words = arguments.iter().skip(1).map(|word| word.to_str().unwrap_or_default());
    while let Some(word) = words.next() {
        match flag(command, command, word) {
            Some((arg, false)) if takes_value(arg) => drop(words.next()),
            Some(_) => {}
            None => {
                if let Some(found) = command.find_subcommand(word) {
                    return Some(found.get_name().to_owned());
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn booleans_have_gos_forms_and_the_last_of_repeated_flags_counts() {
        for (flags, quiet) in [
            ("--quiet", true),
            ("-q", true),
            ("-quiet", true),
            ("--quiet=1", true),
            ("-q=T", true),
            ("--quiet=false", false),
            ("--quiet --quiet=F", false),
            ("--quiet=0 -q", true),
        ] {
            let line = format!("t {flags} setup -o=true --overwrite=false -v 9.9 -v 1.0 -y=1");
            let cli = cli::parse(words(&line)).unwrap();
            assert_eq!(cli.quiet, quiet, "{flags}");
            let Command::SetupSchema(setup) = cli.command else { panic!("{line}") };
            assert!(!setup.overwrite && setup.safety.yes);
            assert_eq!(setup.version.unwrap().to_string(), "1.0");
        }
        let error = cli::parse(words("t --quiet=yes status")).unwrap_err().to_string();
        assert!(error.contains("--quiet") && error.contains("true or false"), "{error}");
    }

    #[test]
    fn a_line_is_edited_by_flag_however_it_is_spelled() {
        let edits = [
            Edit::Set("endpoint", "h".into()),
            Edit::Set("port", "6432".into()),
            Edit::Drop("password"),
            Edit::Drop("database"),
            Edit::Variable("SQL_LOGICAL_DATABASE", "a b".into()),
        ];
        for given in [
            "t --ep h:6432 -u u --pw p --db=temporal -q setup -v 0.0",
            "t -ep=h:6432 -u u -password p -database temporal -q setup -v 0.0",
        ] {
            let command = cli::command();
            let given = accept_single_dashes(&command, words(given));
            assert_eq!(
                line(&command, &given, &edits).unwrap(),
                "SQL_LOGICAL_DATABASE='a b' temporal-dsql-tool --endpoint h -u u -q setup -v 0.0 \
                 --port 6432"
            );
        }
        let command = cli::command();
        assert_eq!(line(&command, &words("t --ep p@h status"), &edits), None);
        let other = [Edit::Command(&["setup-schema", "--overwrite"])];
        assert_eq!(
            line(&command, &words("t -p 1 drop -f"), &other).unwrap(),
            "temporal-dsql-tool -p 1 setup-schema --overwrite"
        );
    }

    #[test]
    fn a_password_is_not_part_of_debug_output() {
        let cli = cli::parse(words("t --pw hunter2 status")).unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
    }
}
