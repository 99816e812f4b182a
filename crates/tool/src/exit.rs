//! Exit codes, and the exit code of each failure.

use std::process::ExitCode;

use temporal_dsql::dsql::ConfigError;
use temporal_dsql::migrate::MigrateError;

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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failed run, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// A usage error.
    pub(crate) fn usage(reason: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, anyhow::anyhow!("{reason}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        let exit = match &error {
            MigrateError::Differs(_)
            | MigrateError::DifferentTables(_)
            | MigrateError::Incomplete { .. }
            | MigrateError::NotAdoptable { .. }
            | MigrateError::Drift { .. } => Exit::Differences,
            MigrateError::UnknownVersion { .. } | MigrateError::InvalidName { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, error)
    }
}
