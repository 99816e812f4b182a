//! What an import found, did and proved.

use std::fmt;

use serde::Serialize;

use super::{error::Problem, fence::FenceState};
use crate::{Digest, error::counted};

/// What an import would do: the result of a preflight.
#[derive(Clone, Debug, Serialize)]
pub struct ImportPlan {
    /// The schema version of the source.
    pub source_version: String,
    /// The shards of the source, and how many are fenced.
    pub shards: FenceState,
    /// The tables to copy: those that identify the deployment, then the others, the largest first.
    pub tables: Vec<PlannedTable>,
    /// How many tables are left out, because others were named.
    pub left_out: u64,
    /// What an operator should know and does not stop the import.
    pub notes: Vec<String>,
    /// What stops the import; empty if it can begin.
    pub problems: Vec<Problem>,
}

/// A table to copy.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTable {
    /// The table.
    pub table: String,
    /// The rows of the source.
    pub rows: u64,
    /// The bytes of their values.
    pub bytes: u64,
}

/// What an import did, and the comparison of both sides.
#[derive(Clone, Debug, Serialize)]
pub struct ImportReport {
    /// The schema version of the source.
    pub source_version: String,
    /// The shards of the source, and how many are fenced.
    pub shards: FenceState,
    /// The name that the target's version is recorded under: the database name in the configuration of
    /// a server.
    pub logical_database: String,
    /// The tables, by name.
    pub tables: Vec<TableReport>,
    /// How many tables were left out, because others were named.
    pub left_out: u64,
    /// Rows that differ, or that only one side has: the first of each table.
    pub differences: Vec<RowDifference>,
    /// How many rows that were there differ from those that were to be copied.
    pub differing_rows: u64,
    /// What an operator should know.
    pub notes: Vec<String>,
    /// Why the result is not valid; empty if it is: the source has changed, an index of it is damaged, or a
    /// server has used the target.
    pub objections: Vec<String>,
    /// Whether a server has used the target, so that it may be in production.
    pub is_target_used: bool,
    /// Whether servers of the source were allowed to run, so that the target is thrown away.
    pub is_rehearsal: bool,
}

/// One table of a report.
#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// The rows that this run has inserted.
    pub inserted: u64,
    /// The rows that were there and are equal.
    pub found: u64,
    /// The rows of the source, as they should be at the target.
    pub source: Digest,
    /// The rows of the target.
    pub target: Digest,
}

/// A row that differs, or that only one side has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowDifference {
    /// The table.
    pub table: String,
    /// The key.
    pub key: String,
    /// The columns that differ; none if only one side has the row.
    pub columns: Vec<String>,
    /// The only side that has the row.
    pub only_at: Option<Place>,
}

/// A side of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Temporal's database on PostgreSQL.
    Source,
    /// The database that is imported into.
    Target,
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, key, columns, only_at } = self;
        write!(f, "row ({key}) of {table} ")?;
        match only_at {
            Some(Place::Source) => f.write_str("is missing at the target"),
            Some(Place::Target) => f.write_str("is not at the source"),
            None => write!(f, "differs in {}", columns.join(", ")),
        }
    }
}

impl TableReport {
    /// Whether both sides have the same rows.
    pub fn is_exact(&self) -> bool {
        self.source == self.target
    }
}

impl ImportReport {
    /// Whether every row of every table is the same on both sides, and the result is valid.
    pub fn is_exact(&self) -> bool {
        self.has_equal_rows() && self.objections.is_empty()
    }

    fn has_equal_rows(&self) -> bool {
        self.tables.iter().all(TableReport::is_exact) && self.differing_rows == 0
    }
}

/// Lines about the source.
fn source_lines(
    f: &mut fmt::Formatter<'_>,
    version: &str,
    shards: FenceState,
    notes: &[String],
) -> fmt::Result {
    writeln!(
        f,
        "source: schema {version}, {}, {} fenced",
        counted(shards.shards, "shard"),
        shards.fenced
    )?;
    notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
}

impl fmt::Display for ImportPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tables.is_empty() && !self.problems.is_empty() {
            return list_problems(f, &self.problems);
        }
        source_lines(f, &self.source_version, self.shards, &self.notes)?;
        for PlannedTable { table, rows, bytes } in &self.tables {
            writeln!(f, "  {table}: {}, {}", counted(*rows, "row"), counted(*bytes, "byte"))?;
        }
        let total = |of: fn(&PlannedTable) -> u64| self.tables.iter().map(of).sum::<u64>();
        let rows = counted(total(|table| table.rows), "row");
        let bytes = counted(total(|table| table.bytes), "byte");
        writeln!(f, "{}: {rows}, {bytes}", counted(self.tables.len() as u64, "table"))?;
        match self.problems.is_empty() {
            true => writeln!(f, "nothing stops the import"),
            false => list_problems(f, &self.problems),
        }
    }
}

fn list_problems(f: &mut fmt::Formatter<'_>, problems: &[Problem]) -> fmt::Result {
    writeln!(f, "the import cannot begin:")?;
    problems.iter().try_for_each(|problem| writeln!(f, "  - {problem}"))
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        source_lines(f, &self.source_version, self.shards, &self.notes)?;
        for table in &self.tables {
            let TableReport { table: name, inserted, found, source, target } = table;
            if table.is_exact() {
                writeln!(f, "  {name}: {source}; {inserted} inserted, {found} found")?;
            } else {
                writeln!(f, "  {name}: DIFFERS\n    source {source}\n    target {target}")?;
            }
        }
        for difference in &self.differences {
            writeln!(f, "  - {difference}")?;
        }
        let listed = self.differences.len() as u64;
        if self.differing_rows > listed {
            writeln!(f, "  - and {} more", counted(self.differing_rows - listed, "row"))?;
        }
        for objection in &self.objections {
            writeln!(f, "  - {objection}")?;
        }
        let rows: u64 = self.tables.iter().map(|table| table.source.rows()).sum();
        let (rows, tables) = (counted(rows, "row"), counted(self.tables.len() as u64, "table"));
        if !self.has_equal_rows() && self.is_target_used {
            return writeln!(
                f,
                "the target is not equal to the source; nothing was overwritten. What servers have \
                 written at the target differs"
            );
        }
        if !self.has_equal_rows() {
            return writeln!(
                f,
                "the target is not equal to the source; nothing was overwritten. To begin again, empty \
                 the target with `setup-schema --overwrite`"
            );
        }
        if !self.is_exact() {
            return writeln!(
                f,
                "the rows are equal, but the result is not valid, for the reasons above"
            );
        }
        writeln!(f, "the target is equal to the source: {rows} in {tables}")?;
        if self.left_out > 0 {
            let left_out = counted(self.left_out, "table");
            return writeln!(
                f,
                "{left_out} were not named in --tables and not compared; before servers start, run \
                 the command without --tables"
            );
        }
        if self.is_rehearsal {
            return writeln!(
                f,
                "this was a rehearsal; empty the target with `setup-schema --overwrite` before the \
                 import"
            );
        }
        writeln!(
            f,
            "in the configuration of the servers: pluginName: dsql, databaseName: {}, and \
             numHistoryShards: {} as before, which must stay",
            self.logical_database, self.shards.shards
        )
    }
}
