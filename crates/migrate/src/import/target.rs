//! What the target of an import is: at the schema version of this release, and without rows but those
//! of an earlier import of the same source.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{
    ImportError, ImportPlan, Settings,
    error::{Problem, ProblemKind},
    mapping::TableMapping,
    pages::{Cursor, Pages},
    sql::Side,
    values::Rows,
};
use crate::{
    DatabaseError, MigrateError, Migrator, Objects, PostgresDatabase, Schema,
    postgres::{Parameter, RawRow, RowSession},
    retry::retried,
    schema::quoted,
};

/// Tables that are small, and whose rows say which deployment a database belongs to and whether it has
/// changed: a server writes its shards all the time. They are copied first, so that a later run can
/// recognise the source of a run that ended early.
const IDENTIFYING: [&str; 4] = ["shards", "cluster_metadata_info", "namespaces", "nexus_endpoints"];

/// The rows of the target that are listed if they are not those of the source.
const LISTED: usize = 10;

/// The rows of each other table of the target that are looked for at the source: an import that ended
/// early may have copied no table that identifies its source.
const SAMPLE: usize = 64;

/// What to do with a target that cannot be used.
const EMPTY_IT: &str = "use an empty target: `setup-schema --overwrite` drops all rows of this one";

/// The message about a target that a server has used.
const USED: &str = "a server has used the target (cluster_membership has rows): if a deployment runs \
                    there, keep it; an import needs a cluster that no server has used";

/// The place of a table in the order of a copy: before all others if it identifies a deployment.
pub(super) fn rank(table: &str) -> usize {
    IDENTIFYING.iter().position(|name| *name == table).unwrap_or(IDENTIFYING.len())
}

/// Checks the schema of the target: it is that of this release, but columns may hold longer texts.
/// `objects` get the types of those, and `plan` a note of each and the problem, if there is one.
pub(super) async fn check_schema(
    target: &mut PostgresDatabase,
    schema: &Schema,
    objects: &mut Objects,
    logical_name: &str,
    settings: &Settings,
    plan: &mut ImportPlan,
) -> Result<(), ImportError> {
    let mut problem = |message| plan.problems.push(Problem::new(ProblemKind::Target, message));
    let newest = schema.newest();
    let mut migrator =
        Migrator::new(schema, target, logical_name, settings.timeouts, &*settings.observer);
    match migrator.verify(None).await {
        Ok(found) if found.differences.iter().any(|found| found.wider_text().is_none()) => {
            problem(format!("the target is not as it should be: {}", found.to_string().trim_end()));
        }
        Ok(found) if found.version != newest => problem(format!(
            "the target is at schema version {}; run `update-schema` to bring it to {newest}",
            found.version
        )),
        Ok(found) => {
            for difference in &found.differences {
                plan.notes.push(format!("the target holds longer texts: {difference}"));
                let Some((table, column, data_type)) = difference.wider_text() else { continue };
                let columns = objects.tables.get_mut(table).map(|table| &mut table.columns);
                let mut columns = columns.into_iter().flatten();
                if let Some(found) = columns.find(|found| found.name == column) {
                    data_type.clone_into(&mut found.data_type);
                }
            }
        }
        Err(
            error @ (MigrateError::NotSetUp { .. }
            | MigrateError::NewerThanTool { .. }
            | MigrateError::UnreadableVersion { .. }),
        ) => problem(format!("the target: {error}")),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Whether a server has used the target: each writes a row when it starts, and an import none.
pub(super) async fn used_problem(
    session: &mut RowSession,
    settings: &Settings,
) -> Result<Option<Problem>, ImportError> {
    let is_used = has_rows(session, "cluster_membership", settings).await?;
    Ok(is_used.then(|| Problem::new(ProblemKind::TargetUsed, USED)))
}

/// Whether a table has rows.
pub(super) async fn has_rows(
    session: &mut RowSession,
    table: &str,
    settings: &Settings,
) -> Result<bool, ImportError> {
    let retry = settings.retry();
    let text = format!("SELECT 1 FROM {} LIMIT 1", quoted(table));
    let action = format!("looking for rows of {table} at the target");
    Ok(retried!(retry, &action, read_has_rows(session, &text))?)
}

async fn read_has_rows(session: &mut RowSession, text: &str) -> Result<bool, DatabaseError> {
    let mut found = false;
    let mut visit = |_: &RawRow<'_>| {
        found = true;
        true
    };
    session.read(text, &[], &mut visit).await?;
    Ok(found)
}

/// The rows of the target that are not those of the source: of the tables that identify a deployment,
/// of tables that the source does not have, and of the first rows of every other table.
pub(super) async fn row_problems(
    source: &mut RowSession,
    target: &mut RowSession,
    tables: &[Arc<TableMapping>],
    objects: &Objects,
    settings: &Settings,
) -> Result<Vec<Problem>, ImportError> {
    if tables.is_empty() {
        // The mapping has problems of its own.
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for name in objects.tables.keys() {
        let is_mapped = tables.iter().any(|table| table.name == *name);
        if !is_mapped
            && !super::mapping::is_not_copied(name)
            && has_rows(target, name, settings).await?
        {
            found.push(format!("{name} has rows, and the source has no such table"));
        }
    }
    for table in tables.iter().filter(|table| IDENTIFYING.contains(&table.name.as_str())) {
        if has_rows(target, &table.name, settings).await? {
            found.extend(compare(source, target, table, settings).await?);
        }
    }
    for table in tables.iter().filter(|table| table.keeps_keys()) {
        if !IDENTIFYING.contains(&table.name.as_str()) {
            found.extend(strangers(source, target, table, settings).await?);
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let listed = found.len().min(LISTED);
    let more = match found.len() - listed {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let message = format!(
        "the target has rows that the source does not have now: {}{more}; an import continues one of \
         the same rows only; {EMPTY_IT}",
        found[..listed].join("; ")
    );
    Ok(vec![Problem::new(ProblemKind::TargetRows, message)])
}

/// The rows of a table of the target that the source does not have, or has otherwise.
async fn compare(
    source: &mut RowSession,
    target: &mut RowSession,
    table: &Arc<TableMapping>,
    settings: &Settings,
) -> Result<Vec<String>, ImportError> {
    let at_source = hashes(source, table, Side::Source, settings).await?;
    let at_target = hashes(target, table, Side::Target, settings).await?;
    let differ = at_target.iter().filter_map(|(key, hash)| match at_source.get(key) {
        None => Some(format!("{} ({key}) is not there", table.name)),
        Some(other) if other != hash => Some(format!("{} ({key}) differs", table.name)),
        Some(_) => None,
    });
    let mut differ: Vec<_> = differ.collect();
    differ.sort();
    Ok(differ)
}

/// The first rows of a table of the target whose keys the source does not have.
async fn strangers(
    source: &mut RowSession,
    target: &mut RowSession,
    table: &Arc<TableMapping>,
    settings: &Settings,
) -> Result<Vec<String>, ImportError> {
    let pages = Pages::compared(Arc::clone(table), Side::Target);
    let rows = pages.read(target, &mut Cursor::limited(SAMPLE), settings.retry()).await?;
    let strangers = unknown_keys(source, table, &rows, settings).await?;
    let name = &table.name;
    Ok(strangers.into_iter().map(|key| format!("{name} ({key}) is not there")).collect())
}

/// The keys of rows of the target that the source does not have. The table
/// [keeps its keys](TableMapping::keeps_keys).
pub(super) async fn unknown_keys(
    source: &mut RowSession,
    table: &TableMapping,
    rows: &Rows,
    settings: &Settings,
) -> Result<Vec<String>, ImportError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<_> = table
        .key
        .iter()
        .map(|at| Parameter::Array(table.columns[*at].source, &rows.columns()[*at]))
        .collect();
    let (text, action) = (
        table.by_keys(Side::Source),
        format!("looking for rows of {} of the target at the source", table.name),
    );
    let retry = settings.retry();
    let known = retried!(retry, &action, read_keys(source, table, &text, &keys))?;
    let mut unknown = Vec::new();
    for number in 0..rows.len() {
        let key = || table.key.iter().map(|at| rows.columns()[*at].get(number));
        let owned: Vec<_> = key().map(|value| value.map(<[u8]>::to_vec)).collect();
        if !known.contains(&owned) {
            unknown.push(table.shown_key(key()));
        }
    }
    Ok(unknown)
}

async fn read_keys(
    session: &mut RowSession,
    table: &TableMapping,
    text: &str,
    keys: &[Parameter<'_>],
) -> Result<HashSet<Vec<Option<Vec<u8>>>>, DatabaseError> {
    let mut found = HashSet::new();
    let mut visit = |row: &RawRow<'_>| {
        let key = table.key.iter().map(|at| row.value(*at).map(<[u8]>::to_vec));
        found.insert(key.collect());
        true
    };
    session.read(text, keys, &mut visit).await?;
    Ok(found)
}

/// The hash of each row, by its key.
async fn hashes(
    session: &mut RowSession,
    table: &Arc<TableMapping>,
    side: Side,
    settings: &Settings,
) -> Result<HashMap<String, [u8; 32]>, ImportError> {
    let pages = Pages::compared(Arc::clone(table), side);
    let mut cursor = Cursor::default();
    let mut hashes = HashMap::new();
    while !cursor.is_done {
        let rows = pages.read(session, &mut cursor, settings.retry()).await?;
        for number in 0..rows.len() {
            let mut hash = Sha256::new();
            for value in rows.row(number) {
                let length = value.map_or(u64::MAX, |value| value.len() as u64);
                hash.update(length.to_be_bytes());
                hash.update(value.unwrap_or_default());
            }
            let key = table.key.iter().map(|position| rows.columns()[*position].get(number));
            hashes.insert(table.shown_key(key), hash.finalize().into());
        }
    }
    Ok(hashes)
}
