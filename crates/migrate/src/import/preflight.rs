//! Everything that would stop an import later, before anything is written.

use std::{collections::BTreeSet, sync::Arc};

use temporal_dsql_ports::limits::{MAX_KEY_BYTES, MAX_ROW_BYTES, MAX_VALUE_BYTES};

use super::{
    ImportError, ImportPlan, Importer, PlannedTable, Settings,
    error::{Problem, ProblemKind},
    mapping::{self, Conversion, NOT_COPIED, TableMapping},
    privileges,
    source::{self, ServerRow},
    sql::KEY_COLUMN_BYTES,
    target,
};
use crate::{
    Catalog, DatabaseError,
    error::counted,
    postgres::{RawRow, RowSession},
    progress::Progress,
    retry::retried,
};

/// The rows of one table that are listed because they do not fit.
const LISTED: usize = 20;
/// The bytes of a UUID.
const UUID_BYTES: u64 = 16;

/// What a preflight has found and opened.
pub(super) struct Prepared {
    pub(super) plan: ImportPlan,
    /// The tables, in the order of the plan.
    pub(super) tables: Vec<Arc<TableMapping>>,
    /// The session that holds the snapshot.
    pub(super) source: RowSession,
    /// The servers that the source has recorded. A server with another heartbeat has run meanwhile.
    /// `None` if the source has no table of servers.
    pub(super) servers: Option<Vec<ServerRow>>,
}

impl Prepared {
    /// What is left if the tables cannot be read.
    const fn without_tables(plan: ImportPlan, source: RowSession) -> Self {
        Self { plan, tables: Vec::new(), source, servers: None }
    }

    /// # Errors
    /// [`ImportError::Refused`] if there is a problem.
    pub(super) fn checked(self) -> Result<Self, ImportError> {
        if self.plan.problems.is_empty() {
            return Ok(self);
        }
        Err(ImportError::Refused(self.plan.problems))
    }

    /// The rows and bytes of all tables.
    pub(super) fn total(&self) -> (u64, u64) {
        let sum = |of: fn(&PlannedTable) -> u64| self.plan.tables.iter().map(of).sum();
        (sum(|table| table.rows), sum(|table| table.bytes))
    }
}

impl Importer<'_> {
    /// The plan, and the snapshot of the source. Without `writes`, only what a comparison needs is
    /// checked.
    pub(super) async fn prepare(&mut self, writes: bool) -> Result<Prepared, ImportError> {
        let settings = self.settings.clone();
        let mut objects = self.schema.objects_at(self.schema.newest());
        let mut plan = ImportPlan {
            source_version: String::new(),
            shards: super::FenceState { shards: 0, fenced: 0 },
            tables: Vec::new(),
            left_out: 0,
            notes: Vec::new(),
            problems: Vec::new(),
        };
        let mut session = self.source.rows();
        let (schema, name) = (self.schema, &self.logical_name);
        target::check_schema(self.target, schema, &mut objects, name, &settings, &mut plan).await?;
        let has_target = plan.problems.is_empty();
        plan.source_version = match source::check_version(self.source, &settings).await {
            Ok(version) => version,
            Err(ImportError::Refused(problems)) => {
                plan.problems.extend(problems);
                return Ok(Prepared::without_tables(plan, session));
            }
            Err(error) => return Err(error),
        };
        let catalog = source::catalog(self.source, &settings).await?;
        let tables = match mapping::check(&catalog, &plan.source_version, &objects) {
            Ok(tables) => tables.into_iter().map(Arc::new).collect(),
            Err(found) => {
                let problem = |message| Problem::new(ProblemKind::Mapping, message);
                plan.problems.extend(found.into_iter().map(problem));
                Vec::new()
            }
        };
        let selected = selected(&tables, &settings)?;
        plan.left_out = (tables.len() - selected.len()) as u64;
        plan.notes.extend(left_out(&catalog, &tables));
        let lacks = privileges::of_source(self.source, &catalog, &tables, &settings).await?;
        let can_read = lacks.is_none();
        plan.problems.extend(lacks);
        if has_target {
            plan.problems
                .extend(privileges::of_target(self.target, &tables, writes, &settings).await?);
        }
        if !can_read {
            return Ok(Prepared::without_tables(plan, session));
        }
        let retry = settings.retry();
        retried!(retry, "opening a snapshot of the source", session.export_snapshot())?;
        plan.problems.extend(source::encoding_problem(&mut session, &settings).await?);
        plan.shards = source::shards(&mut session, &settings).await?;
        plan.problems.extend(source::shards_problem(plan.shards));
        if !settings.rehearse && source::is_standby(&mut session, &settings).await? {
            note_standby(&mut plan, writes);
        }
        let mut servers = None;
        if catalog.tables.contains_key("cluster_membership") {
            let found = source::servers(&mut session, &settings).await?;
            self.note_servers(&mut plan, &ServerRow::running(&found), writes);
            servers = Some(found);
        }
        if has_target && writes {
            let mut target = self.target.rows();
            match target::used_problem(&mut target, &settings).await? {
                // Its rows are those of servers, and are not to be emptied.
                Some(used) => plan.problems.push(used),
                None => {
                    let (source, target) = (&mut session, &mut target);
                    let found = target::row_problems(source, target, &tables, &objects, &settings);
                    plan.problems.extend(found.await?);
                }
            }
        }
        let mut measured = Vec::new();
        for table in selected {
            let (rows, bytes, suspects) = measure(&mut session, &table, &settings).await?;
            if writes && suspects > 0 {
                plan.problems.extend(unfit_rows(&mut session, &table, &settings).await?);
            }
            measured.push((PlannedTable { table: table.name.clone(), rows, bytes }, table));
        }
        // The largest first, so that no job is left with it alone at the end.
        measured.sort_by_key(|(table, _): &(PlannedTable, _)| {
            (target::rank(&table.table), std::cmp::Reverse((table.bytes, table.rows)))
        });
        let (planned, tables) = measured.into_iter().unzip();
        plan.tables = planned;
        Ok(Prepared { plan, tables, source: session, servers })
    }

    /// Servers of the source stop an import, unless it is a rehearsal; a source without a fence is
    /// noted.
    fn note_servers(&self, plan: &mut ImportPlan, servers: &[String], writes: bool) {
        let list = servers.join("; ");
        if !servers.is_empty() && writes && !self.settings.rehearse {
            let message = format!(
                "servers run at the source: {list}; stop them and wait a minute, or pass --rehearse \
                 for an import that is thrown away"
            );
            plan.problems.push(Problem::new(ProblemKind::Servers, message));
        } else if !servers.is_empty() {
            plan.notes.push(format!(
                "servers run at the source: {list}; what they write from now on is not part of this \
                 run"
            ));
        } else if plan.shards.fenced < plan.shards.shards && !self.settings.rehearse {
            plan.notes.push(
                "the source is not fenced: a server that is started there writes what no import \
                 copies; run `fence-source` first"
                    .to_owned(),
            );
        }
    }
}

/// A standby stops an import: what it shows may be older than the import by any time, so neither
/// heartbeats nor shards tell what the primary has.
fn note_standby(plan: &mut ImportPlan, writes: bool) {
    let lacks = "the source is a standby server, which can lack the newest rows of its primary";
    if writes {
        let message = format!(
            "{lacks}; give --from with the primary, or pass --rehearse for an import that is thrown \
             away"
        );
        plan.problems.push(Problem::new(ProblemKind::Source, message));
    } else {
        plan.notes.push(lacks.to_owned());
    }
}

/// The tables that the settings name, or all.
fn selected(
    tables: &[Arc<TableMapping>],
    settings: &Settings,
) -> Result<Vec<Arc<TableMapping>>, ImportError> {
    let mut left: BTreeSet<&str> = settings.tables.iter().map(String::as_str).collect();
    let is_all = left.is_empty();
    let selected: Vec<_> =
        tables.iter().filter(|table| left.remove(table.name.as_str()) || is_all).cloned().collect();
    match left.first() {
        Some(name) if !tables.is_empty() => {
            let known: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
            Err(ImportError::UnknownTable { name: (*name).to_owned(), known: known.join(", ") })
        }
        _ => Ok(selected),
    }
}

/// Notes about the tables of the source that are not copied.
fn left_out(catalog: &Catalog, tables: &[Arc<TableMapping>]) -> Vec<String> {
    let known = NOT_COPIED.iter().filter(|(name, _)| catalog.tables.contains_key(*name));
    let mut notes: Vec<_> =
        known.map(|(name, reason)| format!("{name} is not copied: {reason}")).collect();
    let is_known = |name: &String| {
        mapping::is_not_copied(name) || tables.iter().any(|table| table.name == *name)
    };
    if !tables.is_empty() {
        let foreign = catalog.tables.keys().filter(|name| !is_known(name));
        notes.extend(
            foreign.map(|name| {
                format!("{name} is not copied: it is no table of Temporal's main store")
            }),
        );
    }
    notes
}

/// The rows of a table, the bytes of their values, and how many rows must be looked at.
async fn measure(
    session: &mut RowSession,
    table: &TableMapping,
    settings: &Settings,
) -> Result<(u64, u64, u64), ImportError> {
    let retry = settings.retry();
    let action = format!("counting the rows of {} of the source", table.name);
    let start = tokio::time::Instant::now();
    let text = table.measure();
    let counts = retried!(retry, &action, read_counts(session, &text))?;
    let (rows, elapsed) = (counts.0, start.elapsed());
    settings.observer.on(Progress::Reading { table: &table.name, rows, elapsed });
    Ok(counts)
}

async fn read_counts(
    session: &mut RowSession,
    text: &str,
) -> Result<(u64, u64, u64), DatabaseError> {
    let mut counts = (0, 0, 0);
    let mut visit = |row: &RawRow<'_>| {
        let [rows, bytes, suspects] = [0, 1, 2].map(|column| row.number(column).unsigned_abs());
        counts = (rows, bytes, suspects);
        true
    };
    session.scan(text, &mut visit).await?;
    Ok(counts)
}

/// The rows of a table that do not fit, with their keys and reasons.
async fn unfit_rows(
    session: &mut RowSession,
    table: &TableMapping,
    settings: &Settings,
) -> Result<Vec<Problem>, ImportError> {
    let retry = settings.retry();
    let action = format!("looking for rows of {} of the source that do not fit", table.name);
    let text = table.rows_that_may_not_fit();
    let (listed, count) = retried!(retry, &action, read_unfit(session, table, &text))?;
    let mut problems = listed;
    if count > LISTED {
        problems.push(format!(
            "{} of {} do not fit",
            counted((count - LISTED) as u64, "more row"),
            table.name
        ));
    }
    Ok(problems.into_iter().map(|message| Problem::new(ProblemKind::Rows, message)).collect())
}

async fn read_unfit(
    session: &mut RowSession,
    table: &TableMapping,
    text: &str,
) -> Result<(Vec<String>, usize), DatabaseError> {
    let (mut listed, mut count) = (Vec::new(), 0);
    let mut visit = |row: &RawRow<'_>| {
        if let Some(reason) = unfit(table, row) {
            count += 1;
            if listed.len() < LISTED {
                let key = (0..table.key.len()).map(|column| row.value(column));
                let key = table.shown_source_key(key);
                listed.push(format!("row ({key}) of {} does not fit: {reason}", table.name));
            }
        }
        true
    };
    session.scan(text, &mut visit).await?;
    Ok((listed, count))
}

/// Why a row does not fit: its key is followed by the lengths of each column.
fn unfit(table: &TableMapping, row: &RawRow<'_>) -> Option<String> {
    let keys = table.key.len();
    let bytes =
        |position: usize| usize::try_from(row.number(keys + 2 * position)).unwrap_or(usize::MAX);
    for (position, column) in table.columns.iter().enumerate() {
        let name = &column.name;
        let size = bytes(position);
        if size > MAX_VALUE_BYTES {
            return Some(format!(
                "{name} has {size} bytes, and a value has at most {MAX_VALUE_BYTES}"
            ));
        }
        let mut characters = row.number(keys + 2 * position + 1).unsigned_abs();
        match column.conversion {
            Conversion::Uuid if characters != UUID_BYTES => {
                return Some(format!("{name} has {characters} bytes in place of the 16 of a UUID"));
            }
            // Part of the key, so it was read.
            Conversion::Utf8 => {
                let at = table.key.iter().position(|key| *key == position);
                let value = at.and_then(|at| row.value(at)).unwrap_or_default();
                match column.conversion.apply(value) {
                    Err(reason) => return Some(format!("{name} {reason}")),
                    Ok(text) => characters = String::from_utf8_lossy(&text).chars().count() as u64,
                }
            }
            _ => {}
        }
        if let Some(most) = column.max_chars
            && characters > most as u64
        {
            return Some(format!("{name} has {characters} characters, and the column {most}"));
        }
    }
    let key: usize = table.key.iter().map(|position| bytes(*position)).sum();
    let key = key + KEY_COLUMN_BYTES * (keys - 1);
    if key > MAX_KEY_BYTES {
        return Some(format!("its key has {key} bytes, and a key has at most {MAX_KEY_BYTES}"));
    }
    let all: usize = (0..table.columns.len()).map(bytes).sum();
    (all > MAX_ROW_BYTES)
        .then(|| format!("it has {all} bytes, and a row has at most {MAX_ROW_BYTES}"))
}
