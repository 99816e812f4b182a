//! Failures: their exit codes, their kinds and their text.

use std::process::ExitCode;

use serde::Serialize;
use temporal_dsql::{
    dsql::ErrorChain,
    migrate::{DatabaseError, MigrateError},
};

use crate::go::Edit;

/// The exit codes of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Usage error; nothing was sent.
    Usage = 2,
    /// The database differs from the schema.
    Differences = 3,
    /// Ended by SIGTERM, as a shell reports it.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The kind of a failure, for scripts. `docs/operations.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The arguments are not valid, or name what does not apply here.
    Usage,
    /// A variable, a connection setting or a combination of them is not valid.
    Configuration,
    /// The server cannot be reached, or the connection broke.
    Connection,
    /// The server does not accept the credentials, or there are none.
    Login,
    /// The role lacks a privilege.
    Privilege,
    /// The server refused a statement.
    Refused,
    /// Transient failures lasted until the deadline.
    Deadline,
    /// The schema files are not valid.
    SchemaFiles,
    /// The database differs from the schema.
    Differences,
    /// The recorded version does not allow the command.
    Version,
    /// Rows would be lost.
    Rows,
    /// Objects of others depend on tables to be dropped.
    Dependents,
    /// An index could not be built, or is still being built.
    IndexBuild,
    /// A concurrent run has changed the database.
    ConcurrentRun,
    /// `--prove` found that rows have changed, or cannot read them.
    Proof,
    /// An import was refused before anything was written.
    Import,
    /// The question was not answered with yes.
    NotConfirmed,
    /// A signal ended the run.
    Interrupted,
    /// Any other failure of this process, such as an output that cannot be written.
    Other,
}

impl Kind {
    /// Every kind, with what it means in the guide.
    #[cfg(test)]
    const TABLE: [(Self, &str); 19] = [
        (Self::Usage, "the arguments are invalid, or ask for what does not apply here"),
        (Self::Configuration, "a variable or a connection setting is invalid"),
        (Self::Connection, "the server cannot be reached, or the connection broke"),
        (Self::Login, "there are no credentials, or the server does not accept them"),
        (Self::Privilege, "the role lacks a privilege"),
        (Self::Refused, "the server refused a statement"),
        (Self::Deadline, "transient failures lasted until the deadline"),
        (Self::SchemaFiles, "the schema files are invalid"),
        (Self::Differences, "the database differs from the schema"),
        (Self::Version, "the recorded version does not allow the command"),
        (Self::Rows, "rows would be lost"),
        (
            Self::Dependents,
            "objects that are not part of the schema depend on tables to be dropped",
        ),
        (Self::IndexBuild, "an index could not be built, or is still being built"),
        (Self::ConcurrentRun, "a concurrent run changed the database"),
        (Self::Proof, "`--prove` found changed rows, or cannot read them"),
        (Self::Import, "an import was refused before anything was written"),
        (Self::NotConfirmed, "the question was not answered with yes"),
        (Self::Interrupted, "Ctrl-C or SIGTERM ended the run"),
        (Self::Other, "anything else, such as output that cannot be written"),
    ];
}

/// A failed run.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) kind: Kind,
    pub(crate) error: anyhow::Error,
    /// The changes that make a valid command line of this one.
    pub(crate) instead: Vec<Edit>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, kind, error: error.into(), instead: Vec::new() }
    }

    /// A usage error.
    pub(crate) fn usage(reason: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, Kind::Usage, anyhow::anyhow!("{reason}"))
    }

    /// An invalid configuration.
    pub(crate) fn configuration(reason: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, Kind::Configuration, anyhow::anyhow!("{reason}"))
    }

    /// The error and its causes. A cause that is part of the text before it is left out.
    pub(crate) fn text(&self) -> String {
        ErrorChain(&*self.error).to_string()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, Kind::Other, error)
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::new(Exit::Failed, kind_of_database_error(&error), error)
    }
}

const fn kind_of_database_error(error: &DatabaseError) -> Kind {
    match error {
        DatabaseError::Conflict(_) | DatabaseError::Busy(_) => Kind::Deadline,
        DatabaseError::Lost { .. }
        | DatabaseError::Unreachable { .. }
        | DatabaseError::Tls { .. }
        | DatabaseError::Driver(_) => Kind::Connection,
        DatabaseError::Refused(_) => Kind::Refused,
        DatabaseError::Denied { .. } | DatabaseError::NoSchema { .. } => Kind::Privilege,
        DatabaseError::Configuration(_) | DatabaseError::NoDatabase { .. } => Kind::Configuration,
        DatabaseError::Authentication { .. } | DatabaseError::Credentials { .. } => Kind::Login,
        _ => Kind::Other,
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        use MigrateError as E;
        let (exit, kind) = match &error {
            E::Schema(_) | E::SynchronousIndex { .. } => (Exit::Failed, Kind::SchemaFiles),
            E::Database { source, .. } => (Exit::Failed, kind_of_database_error(source)),
            E::Statement { refusal, .. } => (Exit::Failed, kind_of_database_error(refusal)),
            E::DeadlineExceeded { .. } => (Exit::Failed, Kind::Deadline),
            E::Differs(_)
            | E::DifferentTables(_)
            | E::Incomplete { .. }
            | E::NotAdoptable { .. }
            | E::Drift { .. } => (Exit::Differences, Kind::Differences),
            E::UnknownVersion { .. } | E::InvalidName { .. } => (Exit::Usage, Kind::Usage),
            E::NotSetUp { .. }
            | E::HasRowsOfServers { .. }
            | E::NothingToAdopt
            | E::UnreadableVersion { .. }
            | E::NeedsUpdate { .. }
            | E::NeedsRollback { .. }
            | E::NotARollback { .. }
            | E::NewerThanTool { .. }
            | E::Irreversible { .. }
            | E::OlderElsewhere { .. }
            | E::RecordedForOtherTables { .. } => (Exit::Failed, Kind::Version),
            E::LacksRights { .. } => (Exit::Failed, Kind::Privilege),
            E::TableHasRows { .. } => (Exit::Failed, Kind::Rows),
            E::HasDependents { .. } => (Exit::Failed, Kind::Dependents),
            E::ConcurrentlyDropped { .. } | E::VersionChanged { .. } => {
                (Exit::Failed, Kind::ConcurrentRun)
            }
            E::IndexBuild { .. } | E::StillBuilding { .. } => (Exit::Failed, Kind::IndexBuild),
            E::NoDigest { .. } => (Exit::Failed, Kind::Proof),
            _ => (Exit::Failed, Kind::Other),
        };
        Self::new(exit, kind, error)
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_testkit::assert_guide_has_table;

    use super::*;

    #[test]
    fn the_guide_lists_every_kind() {
        let mut table = String::from("| `kind` | Meaning |\n|---|---|\n");
        for (kind, meaning) in Kind::TABLE {
            let name = serde_json::to_value(kind).unwrap();
            table.push_str(&format!("| `{}` | {meaning} |\n", name.as_str().unwrap()));
        }
        assert_eq!(Kind::TABLE.map(|(kind, _)| kind as usize), std::array::from_fn(|at| at));
        assert_eq!(Kind::Other as usize + 1, Kind::TABLE.len());
        assert_guide_has_table("Scripting", "| `kind` |", &table);
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let inner = anyhow::anyhow!("no route to host");
        let failure =
            Failure::from(inner.context("the server says: no route to host").context("a"));
        assert_eq!(failure.text(), "a: the server says: no route to host");
    }
}
