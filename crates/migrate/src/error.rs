//! The errors of a migration. Each message names the object and the remedy.

use std::{fmt, sync::Arc, time::Duration};

use temporal_dsql_domain::SchemaVersion;

use crate::{
    Advice, DatabaseError, Dependent, Difference, HISTORY_TABLE, SchemaError, VERSION_TABLE,
    advice::adoption, escape::escaped,
};

/// The failure of a command on a schema.
///
/// Running the command again is always safe: steps in effect are found in the catalog and skipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The schema files are invalid. Nothing was executed.
    #[error(transparent)]
    Schema(#[from] Arc<SchemaError>),

    /// A call to the database failed.
    #[error("{action} failed")]
    Database {
        /// The failed action.
        action: String,
        /// The cause.
        #[source]
        source: DatabaseError,
    },

    /// A statement failed and is not in effect.
    #[error(
        "cannot {summary}: {refusal}; fix the cause and run the command again; the statement is:\n\
         {statement}"
    )]
    Statement {
        /// The summary of the statement.
        summary: String,
        /// The statement.
        statement: String,
        /// The cause.
        refusal: DatabaseError,
    },

    /// Transient failures lasted until the deadline.
    #[error(
        "{action} did not succeed within {} s, in {}; run the command again to continue",
        waited.as_secs(),
        counted(u64::from(*attempts), "attempt")
    )]
    DeadlineExceeded {
        /// The failed action.
        action: String,
        /// The number of attempts.
        attempts: u32,
        /// The time since the first attempt; since the first failure if the action is repeated
        /// as it is.
        waited: Duration,
        /// The last failure.
        #[source]
        source: DatabaseError,
    },

    /// An existing object differs from the schema. It was not changed.
    #[error(
        "existing objects differ from the schema:{}they were not changed; {}",
        explained(.0),
        on_different(.0)
    )]
    Differs(Vec<Difference>),

    /// The database does not match its recorded version. Nothing was changed.
    #[error(
        "the database is recorded at version {version}, but does not match it:{}nothing was changed; \
         {}{}; `verify` has the whole list",
        explained(differences),
        remedy(differences),
        adoptable.map_or_else(String::new, |found| {
            format!("; if {version} was recorded by mistake, {}", adoption(found, None))
        })
    )]
    Incomplete {
        /// The recorded version.
        version: SchemaVersion,
        /// The missing and different objects.
        differences: Vec<Difference>,
        /// The version that [`plan_adoption`](crate::Migrator::plan_adoption) would record.
        adoptable: Option<SchemaVersion>,
    },

    /// The catalog is that of no version.
    #[error(
        "the database has the tables of none of the versions {}; it differs least from {nearest}:{}\
         nothing was changed; remove the differences without loss of rows, and run the command again",
        list(known),
        explained(differences)
    )]
    NotAdoptable {
        /// The versions of the schema.
        known: Vec<SchemaVersion>,
        /// The version with the fewest differences.
        nearest: SchemaVersion,
        /// The differences from it.
        differences: Vec<Difference>,
    },

    /// The database has none of the tables.
    #[error(
        "the database has none of the tables of the schema, so there is no version to adopt; delete \
         its row in schema_version if there is one, and run `setup-schema`"
    )]
    NothingToAdopt,

    /// Objects of a version newer than the requested one exist.
    #[error(
        "version {version} was requested, but objects of a newer version exist:{}nothing was changed; \
         set up the newer version, or remove them (`rollback-schema` for a database with a recorded \
         version, `setup-schema --overwrite` for one without data)",
        bulleted(drift)
    )]
    Drift {
        /// The requested version.
        version: SchemaVersion,
        /// These objects.
        drift: Vec<Difference>,
    },

    /// Tables to be dropped differ from every version of the schema. Nothing was changed.
    #[error(
        "tables to be dropped differ from every version of this schema, so they may belong to \
         something else:{}nothing was changed; rename or move them, or pass `--drop-different` to drop \
         them with their rows",
        bulleted(.0)
    )]
    DifferentTables(Vec<Difference>),

    /// Objects that are not part of the schema depend on tables to be dropped. Nothing was changed.
    #[error(
        "objects that are not part of the schema depend on tables to be dropped:{}nothing was \
         changed; drop them first{}",
        bulleted(dependents),
        if *.can_drop { ", or pass `--drop-dependents`" } else { "" }
    )]
    HasDependents {
        /// These objects.
        dependents: Vec<Dependent>,
        /// Whether the command can drop all of them on request.
        can_drop: bool,
    },

    /// The role lacks rights that a step needs. Nothing was changed.
    #[error(
        "the role `{role}` lacks rights that this command needs:{}nothing was changed; grant them, or \
         run the command as a role that has them",
        bulleted(missing)
    )]
    LacksRights {
        /// The role.
        role: String,
        /// These rights.
        missing: Vec<String>,
    },

    /// No version is recorded.
    #[error(
        "no schema version is recorded for database `{database}`{}; {}",
        also_recorded(others),
        Advice::NotRecorded { others: others.clone() }
    )]
    NotSetUp {
        /// The requested logical name.
        database: String,
        /// The names for which a version is recorded.
        others: Vec<String>,
    },

    /// No version is recorded, tables are missing, and servers have written others. Nothing was changed.
    #[error(
        "no schema version is recorded, table {missing} is missing and table {table} has rows of \
         servers, so this is not a setup that ended early; nothing was changed; if an `--overwrite` \
         ended early, repeat it; if not, run `adopt-schema`"
    )]
    HasRowsOfServers {
        /// A table with rows.
        table: String,
        /// A table that is missing.
        missing: String,
    },

    /// The logical name of the database is invalid.
    #[error("the logical database name {reason}")]
    InvalidName {
        /// The reason.
        reason: &'static str,
    },

    /// The recorded version is malformed.
    #[error(
        "the version recorded for database `{database}` is `{text}`, which is not a version; {}",
        Advice::Malformed { adoptable: *adoptable, other: is_other.then(|| database.clone()) }
    )]
    UnreadableVersion {
        /// The logical name.
        database: String,
        /// Whether it is another than that of the command.
        is_other: bool,
        /// The recorded text; empty for NULL.
        text: String,
        /// The version that [`plan_adoption`](crate::Migrator::plan_adoption) would record.
        adoptable: Option<SchemaVersion>,
    },

    /// A setup of a database at an older version.
    #[error(
        "version {current} is already recorded, and `setup-schema` changes no recorded version; run \
         `update-schema --version {requested}`"
    )]
    NeedsUpdate {
        /// The recorded version.
        current: SchemaVersion,
        /// The requested version.
        requested: SchemaVersion,
    },

    /// An update or a setup to an older version.
    #[error(
        "the database is at {current}, newer than {requested}; \
         run `rollback-schema --to {requested}` if it should have that version"
    )]
    NeedsRollback {
        /// The recorded version.
        current: SchemaVersion,
        /// The requested version.
        requested: SchemaVersion,
    },

    /// A rollback to a newer version.
    #[error(
        "the database is at {current}, older than {requested}; run `update-schema --version \
         {requested}` if it should have that version"
    )]
    NotARollback {
        /// The recorded version.
        current: SchemaVersion,
        /// The requested version.
        requested: SchemaVersion,
    },

    /// The recorded version is newer than the newest version of the schema.
    #[error(
        "the database is at {current}{}, newer than this tool ({newest}); {}",
        if *is_other { format!(" under the logical name `{database}`") } else { String::new() },
        Advice::Newer { adoptable: *adoptable, other: is_other.then(|| database.clone()) }
    )]
    NewerThanTool {
        /// The logical name.
        database: String,
        /// Whether it is another than that of the command.
        is_other: bool,
        /// The recorded version.
        current: SchemaVersion,
        /// The newest version of the schema.
        newest: SchemaVersion,
        /// The version that [`plan_adoption`](crate::Migrator::plan_adoption) would record.
        adoptable: Option<SchemaVersion>,
    },

    /// The schema has no such version.
    #[error("version {requested} is specified but not found; known versions: {}", list(known))]
    UnknownVersion {
        /// The requested version.
        requested: SchemaVersion,
        /// The versions of the schema.
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
        /// The summary of a statement that is not reversible.
        summary: String,
    },

    /// A table that a rollback would drop has rows.
    #[error(
        "table {table} has {rows}, which would be lost; it was not dropped{}; stop the servers \
         that write it and delete the rows, or pass `--drop-rows`",
        if *.version_lowered { ", but the recorded version is lowered" } else { "" }
    )]
    TableHasRows {
        /// The table.
        table: String,
        /// How many.
        rows: RowCount,
        /// Whether the version had been lowered when the rows were found. Running the rollback again
        /// continues it; `update-schema` reverts it.
        version_lowered: bool,
    },

    /// The same tables are recorded at an older version under another name.
    #[error(
        "the tables are also recorded for database `{database}`, at {version}, and a setup of \
         {requested} would change them; run `update-schema --logical-database {database}` first, or \
         delete its row in schema_version and run `adopt-schema`"
    )]
    OlderElsewhere {
        /// The other logical name.
        database: String,
        /// The version recorded under it.
        version: SchemaVersion,
        /// The requested version.
        requested: SchemaVersion,
    },

    /// An overwrite would drop the recorded version of tables that it leaves. Nothing was changed.
    #[error(
        "database `{database}` is recorded at {version}, with tables that this schema does not have, \
         such as {table}; an overwrite would drop the version and leave the tables; nothing was \
         changed; to overwrite the tables of this schema alone, and keep the recorded version, pass \
         `--disable-versioning` in place of `--version`"
    )]
    RecordedForOtherTables {
        /// The logical name.
        database: String,
        /// The recorded text.
        version: String,
        /// One of these tables.
        table: String,
    },

    /// A concurrent run dropped objects of a version while it was recorded.
    #[error(
        "version {version} is not complete, because a concurrent run dropped objects of this run:\
         {}stop the other run, and run the command again",
        bulleted(missing)
    )]
    ConcurrentlyDropped {
        /// The version.
        version: SchemaVersion,
        /// The dropped objects.
        missing: Vec<Difference>,
    },

    /// A concurrent run changed the recorded version.
    #[error(
        "the version recorded for database `{database}` changed from {expected} to {actual} during \
         this run; check `status`, and run the command again if it is still needed"
    )]
    VersionChanged {
        /// The logical name.
        database: String,
        /// The version that this run had read.
        expected: String,
        /// The version recorded now.
        actual: String,
    },

    /// An index could not be built.
    #[error(
        "index {index} could not be built: {details}; if its rows are not unique, remove the \
         duplicates in {table} ({}); then run the command again: it drops and rebuilds the invalid \
         index",
        columns.join(", ")
    )]
    IndexBuild {
        /// The index.
        index: String,
        /// Its table.
        table: String,
        /// Its columns.
        columns: Vec<String>,
        /// The details that the server reports.
        details: String,
    },

    /// An index is still being built.
    #[error(
        "index {index} is still being built after {} s; run the command again to continue waiting",
        waited.as_secs()
    )]
    StillBuilding {
        /// The index.
        index: String,
        /// How long this run has waited.
        waited: Duration,
    },

    /// A schema file builds an index synchronously, which DSQL does not support.
    #[error("index {index}: write CREATE INDEX ASYNC; DSQL builds indexes in the background only")]
    SynchronousIndex {
        /// The index.
        index: String,
    },

    /// A table has no primary key to read its rows in order.
    #[error("table {table} {reason}, so the digest of its rows cannot be computed")]
    NoDigest {
        /// The table.
        table: String,
        /// The reason.
        reason: &'static str,
    },
}

impl From<SchemaError> for MigrateError {
    fn from(error: SchemaError) -> Self {
        Self::Schema(Arc::new(error))
    }
}

impl MigrateError {
    /// What to do about it, if other commands and checks give the same advice about the same cause. It
    /// is a part of the message.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Self::Database { source, .. } | Self::DeadlineExceeded { source, .. } => {
                source.advice()
            }
            Self::NotSetUp { others, .. } => Some(Advice::NotRecorded { others: others.clone() }),
            Self::UnreadableVersion { adoptable, is_other, database, .. } => {
                let other = is_other.then(|| database.clone());
                Some(Advice::Malformed { adoptable: *adoptable, other })
            }
            Self::NewerThanTool { adoptable, is_other, database, .. } => {
                let other = is_other.then(|| database.clone());
                Some(Advice::Newer { adoptable: *adoptable, other })
            }
            Self::Differs(differences) => Some(on_different(differences)),
            _ => None,
        }
    }

    /// The differences that stopped the command, if that was the reason.
    pub fn differences(&self) -> &[Difference] {
        match self {
            Self::Differs(differences)
            | Self::DifferentTables(differences)
            | Self::NotAdoptable { differences, .. }
            | Self::Incomplete { differences, .. } => differences,
            Self::Drift { drift: differences, .. } => differences,
            Self::ConcurrentlyDropped { missing: differences, .. } => differences,
            _ => &[],
        }
    }
}

/// The advice about objects that differ from the schema.
fn on_different(differences: &[Difference]) -> Advice {
    let lacks_column = |difference: &Difference| match difference {
        Difference::MissingColumn { table, .. } => table == VERSION_TABLE || table == HISTORY_TABLE,
        _ => false,
    };
    if differences.iter().any(lacks_column) {
        Advice::VersionTables
    } else if differences.iter().all(Difference::is_compatible) {
        Advice::CompatibleObjects
    } else {
        Advice::DifferentObjects
    }
}

/// The number of rows of a table, counted up to [`MOST`](Self::MOST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowCount(pub(crate) u32);

impl RowCount {
    /// More rows are not counted.
    pub const MOST: u32 = 10_000;

    /// Whether there is any row.
    pub(crate) const fn is_some(self) -> bool {
        self.0 > 0
    }
}

impl fmt::Display for RowCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&counted(u64::from(self.0), "row"))?;
        f.write_str(if self.0 < Self::MOST { "" } else { " or more" })
    }
}

/// `number` with the singular or the plural of `noun`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A list with a line for each item, and a line break on each side.
fn bulleted(items: &[impl fmt::Display]) -> String {
    let lines: String = items.iter().map(|found| format!("  - {found}\n")).collect();
    format!("\n{lines}")
}

/// `differences` as a list, with the reason why each is one that stops a command.
fn explained(differences: &[Difference]) -> String {
    let line = |difference: &Difference| match difference.obstacle() {
        Some(obstacle) => format!("{difference}; {obstacle}"),
        None => difference.to_string(),
    };
    bulleted(&differences.iter().map(line).collect::<Vec<_>>())
}

/// What to do about `differences` from the recorded version.
fn remedy(differences: &[Difference]) -> &'static str {
    let missing = differences.iter().filter(|difference| difference.is_missing()).count();
    if missing == differences.len() {
        "restore what is missing from a backup"
    } else if missing == 0 {
        "nothing is missing; make what differs equal to the schema"
    } else {
        "restore what is missing from a backup, and make what differs equal to the schema"
    }
}

fn list(versions: &[SchemaVersion]) -> String {
    let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
    versions.join(", ")
}

fn also_recorded(others: &[String]) -> String {
    if others.is_empty() {
        return String::new();
    }
    format!(" (there is one for `{}`)", escaped(&others.join("`, `")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerError;

    fn missing(table: &str) -> Difference {
        Difference::MissingTable { table: table.to_owned() }
    }

    #[test]
    fn differences_are_a_list_with_a_line_for_each() {
        let both = || vec![missing("a"), missing("b")];
        let version = SchemaVersion::new(1, 0);
        for error in [
            MigrateError::Differs(both()),
            MigrateError::DifferentTables(both()),
            MigrateError::Incomplete { version, differences: both(), adoptable: None },
            MigrateError::Drift { version, drift: both() },
            MigrateError::ConcurrentlyDropped { version, missing: both() },
        ] {
            let text = error.to_string();
            assert!(text.contains(":\n  - table a is missing\n  - table b is missing\n"), "{text}");
        }
    }

    #[test]
    fn a_refused_statement_leads_with_its_cause_and_says_it_once() {
        let server = ServerError {
            sqlstate: "2BP01".to_owned(),
            message: "other objects depend on it".to_owned(),
            ..ServerError::default()
        };
        let error = MigrateError::Statement {
            summary: "drop table t".to_owned(),
            statement: "DROP TABLE t".to_owned(),
            refusal: DatabaseError::Refused(Box::new(server)),
        };
        assert_eq!(
            error.to_string(),
            "cannot drop table t: the server refused: other objects depend on it (SQLSTATE 2BP01); \
             fix the cause and run the command again; the statement is:\nDROP TABLE t"
        );
        assert!(std::error::Error::source(&error).is_none());
    }

    #[test]
    fn rows_are_counted_up_to_a_limit_and_in_english() {
        let shown = |rows| RowCount(rows).to_string();
        assert_eq!(shown(1), "1 row");
        assert_eq!(shown(9_999), "9999 rows");
        assert_eq!(shown(10_000), "10000 rows or more");
    }
}
