//! Why a migration stopped. Each error names the thing and says what to do.

use std::time::Duration;

use temporal_dsql_domain::SchemaVersion;

use crate::{DatabaseError, Difference, SchemaError, VersionRow};

/// Why a command on a schema failed.
///
/// Whatever it is, running the command again is safe: what is in effect is found in the catalog
/// and skipped.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The schema files are wrong. Nothing ran.
    #[error(transparent)]
    Schema(#[from] SchemaError),

    /// The database could not be asked.
    #[error("{action} failed")]
    Database {
        /// What was being done.
        action: String,
        /// Why it failed.
        #[source]
        source: DatabaseError,
    },

    /// A statement failed and is not in effect.
    #[error("cannot {summary}: `{statement}` failed; repair the cause and run the command again")]
    Statement {
        /// What it was to do.
        summary: String,
        /// The statement.
        statement: String,
        /// Why it failed.
        #[source]
        source: DatabaseError,
    },

    /// Conflicts, or a lost connection, did not end in time.
    #[error(
        "{action} did not succeed within {} s, in {attempts} attempt(s); run the command again to \
         continue",
        waited.as_secs()
    )]
    DeadlineExceeded {
        /// What was being done.
        action: String,
        /// How often it was tried.
        attempts: u32,
        /// For how long.
        waited: Duration,
        /// The last failure.
        #[source]
        source: DatabaseError,
    },

    /// An object exists, but is not what the schema says. It was left as it is.
    #[error(
        "what exists is not what the schema says: {}; it was left as it is; make it equal to the \
         schema, or move it out of the way, and run the command again",
        sentences(.0)
    )]
    Differs(Vec<Difference>),

    /// A database does not have what its recorded version says. Nothing was changed.
    #[error(
        "the database is recorded at version {version}, but does not have all of it: {}; \
         nothing was changed; see `verify`, and restore what is missing from a backup",
        sentences(differences)
    )]
    Incomplete {
        /// The recorded version.
        version: SchemaVersion,
        /// What is missing or different.
        differences: Vec<Difference>,
    },

    /// Objects of a newer version are there.
    #[error(
        "version {version} was asked for, but objects of a newer one are there: {}; \
         nothing was changed; set up that version, or remove them (`rollback-schema` for a \
         database with a recorded version, `setup-schema --overwrite` for one without data)",
        sentences(drift)
    )]
    Drift {
        /// The version that was asked for.
        version: SchemaVersion,
        /// What is there.
        drift: Vec<Difference>,
    },

    /// No version is recorded.
    #[error(
        "no schema version is recorded for database `{database}`{}; run `setup-schema` first",
        also_recorded(others)
    )]
    NotSetUp {
        /// The logical name that was asked for.
        database: String,
        /// The names for which a version is recorded.
        others: Vec<String>,
    },

    /// The logical name of the database cannot be recorded.
    #[error("the logical database name {reason}")]
    InvalidName {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The recorded version cannot be read.
    #[error(
        "the version recorded for database `{database}` is `{text}`, which is not a version; \
         correct it in table schema_version"
    )]
    UnreadableVersion {
        /// The logical name.
        database: String,
        /// What is recorded.
        text: String,
    },

    /// A setup found an older version.
    #[error(
        "the database is at {current}; `setup-schema` sets up empty databases only; \
         run `update-schema` to bring it to {requested}"
    )]
    NeedsUpdate {
        /// The recorded version.
        current: SchemaVersion,
        /// The version that was asked for.
        requested: SchemaVersion,
    },

    /// An update or a setup would go backwards.
    #[error(
        "the database is at {current}, newer than {requested}; \
         run `rollback-schema --to {requested}` to go back"
    )]
    NeedsRollback {
        /// The recorded version.
        current: SchemaVersion,
        /// The version that was asked for.
        requested: SchemaVersion,
    },

    /// A rollback would go forwards.
    #[error(
        "the database is at {current}, older than {requested}; run `update-schema` to go forward"
    )]
    NotARollback {
        /// The recorded version.
        current: SchemaVersion,
        /// The version that was asked for.
        requested: SchemaVersion,
    },

    /// The database is newer than everything that this tool knows.
    #[error(
        "the database is at {current}, newer than this tool ({newest}); use the tool of a release \
         that knows {current}"
    )]
    NewerThanTool {
        /// The recorded version.
        current: SchemaVersion,
        /// The newest version of the schema.
        newest: SchemaVersion,
    },

    /// There is no such version.
    #[error("version {requested} is specified but not found; there are: {}", list(known))]
    UnknownVersion {
        /// The version that was asked for.
        requested: SchemaVersion,
        /// The versions that there are.
        known: Vec<SchemaVersion>,
    },

    /// A version cannot be rolled back by dropping its tables.
    #[error(
        "version {version} does more than add tables ({summary}), so it cannot be rolled back; \
         restore a backup instead"
    )]
    Irreversible {
        /// The version.
        version: SchemaVersion,
        /// What it does.
        summary: String,
    },

    /// A table that a rollback would drop has rows.
    #[error(
        "table {table} has rows, which would be lost; nothing was dropped{}; stop the servers \
         that write it and delete the rows, or say that they may be dropped",
        if *.version_lowered { ", but the recorded version is lowered" } else { "" }
    )]
    TableHasRows {
        /// The table.
        table: String,
        /// Whether the version had been lowered when the rows were found. Running the rollback
        /// again continues; running `update-schema` goes back.
        version_lowered: bool,
    },

    /// The same tables are recorded at a newer version under another name.
    #[error(
        "the tables are also recorded for database `{database}`, at {version}; roll that back \
         first (with its name as the logical database), or delete its row in schema_version"
    )]
    RecordedElsewhere {
        /// The other logical name.
        database: String,
        /// The version recorded under it.
        version: SchemaVersion,
    },

    /// The same tables are recorded at an older version under another name.
    #[error(
        "the tables are also recorded for database `{database}`, at {version}, and a setup of \
         {requested} would change them; run `update-schema` with its name as the logical database \
         first, or delete its row in schema_version"
    )]
    OlderElsewhere {
        /// The other logical name.
        database: String,
        /// The version recorded under it.
        version: SchemaVersion,
        /// The version that was asked for.
        requested: SchemaVersion,
    },

    /// What this run had made or found was gone before its version could be recorded.
    #[error(
        "version {version} was not recorded, because what this run had brought about is gone \
         again: {}; another run drops it; see that only one of them goes on, and run the command \
         again",
        sentences(missing)
    )]
    ConcurrentlyDropped {
        /// The version.
        version: SchemaVersion,
        /// What is gone.
        missing: Vec<Difference>,
    },

    /// Another run changed the version to something else.
    #[error(
        "the version recorded for database `{database}` changed to {actual} while this ran, \
         expected {expected}; see `status`, and run the command that you want again"
    )]
    VersionChanged {
        /// The logical name.
        database: String,
        /// What this run had seen.
        expected: String,
        /// What is recorded now.
        actual: String,
    },

    /// An index could not be built.
    #[error(
        "index {index} could not be built: {details}; if its rows are not unique, remove the \
         duplicates in {table} ({}); then run the command again: it drops the invalid index and \
         builds it anew",
        columns.join(", ")
    )]
    IndexBuild {
        /// The index.
        index: String,
        /// Its table.
        table: String,
        /// Its columns.
        columns: Vec<String>,
        /// What the server says.
        details: String,
    },

    /// An index is still being built.
    #[error(
        "index {index} is still being built after {} s; run the command again to go on waiting",
        waited.as_secs()
    )]
    StillBuilding {
        /// The index.
        index: String,
        /// How long this run has waited.
        waited: Duration,
    },

    /// A schema file builds an index in a way that DSQL does not take.
    #[error("index {index}: write CREATE INDEX ASYNC; DSQL builds indexes in the background only")]
    SynchronousIndex {
        /// The index.
        index: String,
    },

    /// A table has no primary key, so its rows have no order to read them in.
    #[error("table {table} {reason}, so no digest of its rows can be made")]
    NoDigest {
        /// The table.
        table: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl MigrateError {
    /// The error that the version of `row` is malformed.
    pub(crate) fn unreadable_version(row: &VersionRow) -> Self {
        Self::UnreadableVersion {
            database: row.database.clone(),
            text: row.version.clone().unwrap_or_default(),
        }
    }

    /// How the database differs from what the command needs, if that is what stopped it.
    pub fn differences(&self) -> &[Difference] {
        match self {
            Self::Differs(differences) | Self::Incomplete { differences, .. } => differences,
            Self::Drift { drift: differences, .. } => differences,
            Self::ConcurrentlyDropped { missing: differences, .. } => differences,
            _ => &[],
        }
    }
}

fn sentences(differences: &[Difference]) -> String {
    let sentences: Vec<_> = differences.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}

fn list(versions: &[SchemaVersion]) -> String {
    let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
    versions.join(", ")
}

fn also_recorded(others: &[String]) -> String {
    if others.is_empty() {
        return String::new();
    }
    format!(" (there is one for `{}`)", others.join("`, `"))
}
