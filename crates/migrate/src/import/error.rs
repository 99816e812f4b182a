//! Why an import ends without a report, and what a preflight finds.

use std::fmt;

use serde::Serialize;

use crate::{DatabaseError, MigrateError};

/// The SQLSTATEs of a snapshot that cannot be imported, in the releases of PostgreSQL: an invalid
/// parameter, an undefined object, and an object that is not in the state for it.
const SNAPSHOT_STATES: [&str; 3] = ["22023", "42704", "55000"];

/// The failure of an import. Running the command again is always safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The preflight found what would stop the import. Nothing was written.
    #[error("the import cannot begin:{}nothing was written", listed(.0))]
    Refused(Vec<Problem>),

    /// The source does not have what a fence is made of. Nothing was written.
    #[error("the fence of the source cannot be changed:{}nothing was written", listed(.0))]
    FenceRefused(Vec<Problem>),

    /// A call to a database failed, or the target cannot be verified.
    #[error(transparent)]
    Migrate(Box<MigrateError>),

    /// A table was named that is not copied.
    #[error("there is no table `{name}` to import; the tables are {known}")]
    UnknownTable {
        /// The name.
        name: String,
        /// The tables.
        known: String,
    },

    /// The session that holds the snapshot of the source has ended, and another session needed it.
    #[error(
        "the session that holds the snapshot of the source has ended; run the command again to \
         continue"
    )]
    SnapshotLost(#[source] DatabaseError),

    /// A row of the source cannot be converted. The preflight reports such rows, so this one is new.
    #[error("row ({key}) of {table} at the source cannot be imported: {reason}")]
    Unconvertible {
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// Why not.
        reason: String,
    },

    /// The target refused rows.
    #[error("the target refused rows of {table}, from ({first}) to ({last})")]
    Rows {
        /// The table.
        table: String,
        /// The key of the first row of the chunk.
        first: String,
        /// The key of the last row.
        last: String,
        /// The cause.
        #[source]
        source: Box<MigrateError>,
    },

    /// Rows that another session inserted and deleted again.
    #[error(
        "rows of {table} appear and vanish at the target; stop what else writes there, and run the \
         command again to continue"
    )]
    Unstable {
        /// The table.
        table: String,
    },

    /// The import was asked to stop.
    #[error(
        "stopped between two chunks, after {rows} rows; run the same command again to continue"
    )]
    Interrupted {
        /// The rows that were copied or compared.
        rows: u64,
    },

    /// A job ended without a result.
    #[error("a job of the import ended unexpectedly")]
    Job(#[source] crate::BoxError),
}

impl From<MigrateError> for ImportError {
    /// A session of the source that opens again is refused because of its snapshot only if the session
    /// that holds the snapshot has ended.
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Database { source: DatabaseError::Refused(server), .. }
                if SNAPSHOT_STATES.contains(&server.sqlstate.as_str())
                    && server.message.contains("snapshot") =>
            {
                Self::SnapshotLost(DatabaseError::Refused(server))
            }
            error => Self::Migrate(Box::new(error)),
        }
    }
}

/// What would stop an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its kind, for scripts.
    pub kind: ProblemKind,
    /// What it is, and what to do.
    pub message: String,
}

/// The kind of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The source is not a Temporal database on PostgreSQL in UTF-8.
    Source,
    /// The source has a schema version that cannot be imported.
    SourceVersion,
    /// The mapping does not have what differs between the catalogs.
    Mapping,
    /// The target is not exactly at the schema version of this release.
    Target,
    /// A server has used the target.
    TargetUsed,
    /// The target has rows that are not those of the source.
    TargetRows,
    /// Servers run at the source.
    Servers,
    /// Rows of the source do not fit.
    Rows,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A list with a line for each problem, and a line break on each side.
fn listed(problems: &[Problem]) -> String {
    let lines: String = problems.iter().map(|problem| format!("  - {problem}\n")).collect();
    format!("\n{lines}")
}
