//! The seven maps of a run.
//!
//! They share their key prefix and differ in the last key column and in the columns of the value,
//! of which there are three shapes: one blob, none, and the two blobs of a CHASM node.

use std::collections::BTreeSet;

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ChasmNode, DataBlob, ExecutionsFilter, IdEntry, InvalidValue, MapEntries, MapKeys, MapTable,
    RunId, Table, TimerEntry,
};
use temporal_dsql_ports::{StoreError, limits};
use uuid::Uuid;

use super::{
    decode::Columns,
    executions::{key, set_id_of, set_run_ids},
    payload::{Payload, column, last_of_each_key},
    session::exact,
};
use crate::{
    arguments::Arguments,
    error::sqlstate_of,
    statement::{Meta, SqlFile, Statement},
};

/// The SQLSTATE of a text that is longer than its column.
const TOO_LONG: &str = "22001";

/// The statements of one map.
pub(super) struct MapStatements {
    pub(super) replace: Meta,
    pub(super) select: Meta,
    pub(super) delete: Meta,
    pub(super) delete_all: Meta,
    delete_some: Meta,
}

/// The statements of a map in the file `sql/$file.sql`. Their names end with `$name`.
macro_rules! map_statements {
    ($table:ident, $name:literal, $file:literal) => {{
        const FILE: SqlFile =
            SqlFile::new(Table::$table, include_str!(concat!("../../sql/", $file, ".sql")));
        MapStatements {
            replace: FILE.write(concat!("ReplaceInto", $name)),
            select: FILE.read(concat!("SelectAllFrom", $name)),
            delete: FILE.write(concat!("DeleteFrom", $name)),
            delete_all: FILE.write(concat!("DeleteAllFrom", $name)),
            // The same operation of the port, with a limit.
            delete_some: FILE
                .write(concat!("DeleteSomeFrom", $name))
                .of_operation(concat!("DeleteAllFrom", $name)),
        }
    }};
}

static STATEMENTS: [MapStatements; 7] = [
    map_statements!(ActivityInfoMaps, "ActivityInfoMaps", "activity_info_maps"),
    map_statements!(TimerInfoMaps, "TimerInfoMaps", "timer_info_maps"),
    map_statements!(ChildExecutionInfoMaps, "ChildExecutionInfoMaps", "child_execution_info_maps"),
    map_statements!(RequestCancelInfoMaps, "RequestCancelInfoMaps", "request_cancel_info_maps"),
    map_statements!(SignalInfoMaps, "SignalInfoMaps", "signal_info_maps"),
    map_statements!(SignalsRequestedSets, "SignalsRequestedSets", "signals_requested_sets"),
    map_statements!(ChasmNodeMaps, "ChasmNodeMaps", "chasm_node_maps"),
];

/// The statements of a map.
pub(super) fn of(map: MapTable) -> &'static MapStatements {
    let of_map = |statements: &&MapStatements| statements.replace.table == map.table();
    STATEMENTS.iter().find(of_map).expect("every map has statements")
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    STATEMENTS.iter().flat_map(|map| {
        let MapStatements { replace, select, delete, delete_all, delete_some } = map;
        [replace, select, delete, delete_all, delete_some]
    })
}

/// The key of an entry in its run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Id(i64),
    Text(&'a str),
}

impl<'a> Key<'a> {
    const fn len(self) -> usize {
        match self {
            Self::Id(_) => size_of::<i64>(),
            Self::Text(text) => text.len(),
        }
    }

    fn all(keys: &'a MapKeys) -> Vec<Self> {
        match keys {
            MapKeys::Activities(ids)
            | MapKeys::ChildExecutions(ids)
            | MapKeys::RequestCancels(ids)
            | MapKeys::Signals(ids) => column(ids, |id| Self::Id(*id)),
            MapKeys::Timers(ids) => column(ids, |id| Self::Text(id)),
            MapKeys::SignalsRequested(ids) => column(ids, |id| Self::Text(id)),
            MapKeys::ChasmNodes(paths) => column(paths, |path| Self::Text(path)),
        }
    }
}

/// An entry of any map. A column that the map does not have is `None`.
struct Entry<'a> {
    key: Key<'a>,
    metadata: Option<&'a DataBlob>,
    data: Option<&'a [u8]>,
    data_encoding: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn with_blob(key: Key<'a>, blob: &'a DataBlob) -> Self {
        let data_encoding = Some(blob.encoding.as_str());
        Self { key, metadata: None, data: Some(&blob.data), data_encoding }
    }

    fn all(entries: &'a MapEntries) -> Vec<Self> {
        match entries {
            MapEntries::Activities(of)
            | MapEntries::ChildExecutions(of)
            | MapEntries::RequestCancels(of)
            | MapEntries::Signals(of) => {
                column(of, |entry| Self::with_blob(Key::Id(entry.id), &entry.data))
            }
            MapEntries::Timers(of) => {
                column(of, |entry| Self::with_blob(Key::Text(&entry.timer_id), &entry.data))
            }
            MapEntries::SignalsRequested(of) => column(of, |id| Self {
                key: Key::Text(id),
                metadata: None,
                data: None,
                data_encoding: None,
            }),
            MapEntries::ChasmNodes(of) => column(of, |node| Self {
                key: Key::Text(&node.path),
                metadata: Some(&node.metadata),
                data: node.data.as_deref(),
                data_encoding: Some(node.data_encoding.as_str()),
            }),
        }
    }
}

/// Adds entries to the size of a statement.
pub(super) fn check(
    payload: &mut Payload,
    run: &ExecutionsFilter,
    entries: &MapEntries,
) -> Result<(), StoreError> {
    let prefix = 4 + 16 + run.workflow_id.len() + 16;
    Entry::all(entries).into_iter().try_for_each(|Entry { key, metadata, data, .. }| {
        let metadata = metadata.map_or(0, |metadata| metadata.data.len());
        let values = [("metadata", metadata), ("data", data.map_or(0, <[u8]>::len))];
        payload.row(entries.map().table(), prefix + key.len(), &values)
    })
}

/// Sets the columns of the entries of `map` among `entries`, of any runs of one id. Of several
/// entries with one key, the last one counts.
pub(super) fn set_entries<'a>(
    arguments: &mut Arguments<'a>,
    map: MapTable,
    entries: &[(RunId, &'a MapEntries)],
) {
    let table = map.table();
    let entries = entries.iter().filter(|(_, entries)| entries.map() == map);
    let rows = entries.flat_map(|(run_id, entries)| {
        Entry::all(entries).into_iter().map(move |entry| (*run_id, entry))
    });
    let rows = last_of_each_key(rows, |(run_id, entry)| (*run_id, entry.key));
    set_keys(arguments, map, "", rows.iter().map(|(run_id, entry)| (*run_id, entry.key)));
    if map == MapTable::ChasmNodes {
        let metadata = rows.iter().filter_map(|(_, entry)| entry.metadata);
        arguments.set_blobs(table, ["metadata", "metadata_encoding"], metadata);
    }
    if map != MapTable::SignalsRequested {
        arguments.set_column(table, "data", column(&rows, |(_, entry)| entry.data));
        let encodings = column(&rows, |(_, entry)| entry.data_encoding);
        arguments.set_column(table, "data_encoding", encodings);
    }
}

/// Sets the columns of the runs and of the keys. `prefix` stands before the names of both columns.
fn set_keys<'a>(
    arguments: &mut Arguments<'a>,
    map: MapTable,
    prefix: &str,
    keys: impl Iterator<Item = (RunId, Key<'a>)>,
) {
    let (run_ids, keys): (Vec<Uuid>, Vec<_>) = keys.map(|(run_id, key)| (run_id.0, key)).unzip();
    arguments.set_column(map.table(), &format!("{prefix}run_id"), run_ids);
    let name = format!("{prefix}{}", stored_names(map).key);
    let (mut ids, mut texts) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            Key::Id(id) => ids.push(id),
            Key::Text(text) => texts.push(text),
        }
    }
    if has_text_keys(map) {
        arguments.set_column(map.table(), &name, texts);
    } else {
        arguments.set_column(map.table(), &name, ids);
    }
}

/// Whether the keys of a map are texts, and not numbers.
pub(super) const fn has_text_keys(map: MapTable) -> bool {
    matches!(map, MapTable::Timers | MapTable::SignalsRequested | MapTable::ChasmNodes)
}

/// Stands before the names of the columns of keys whose entries are deleted.
pub(super) const REMOVED: &str = "removed_";

/// Sets the runs and the keys of `map`, which are those among `keys`, sorted and once each.
pub(super) fn set_keys_of<'a>(
    arguments: &mut Arguments<'a>,
    map: MapTable,
    prefix: &str,
    keys: &[(RunId, &'a MapKeys)],
) {
    let keys: BTreeSet<_> = keys
        .iter()
        .filter(|(_, keys)| keys.map() == map)
        .flat_map(|(run_id, keys)| Key::all(keys).into_iter().map(|key| (*run_id, key)))
        .collect();
    set_keys(arguments, map, prefix, keys.into_iter());
}

/// The statement that inserts or overwrites entries.
pub(super) fn replace(
    run: &ExecutionsFilter,
    entries: &MapEntries,
) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), run, entries)?;
    let mut arguments = Arguments::default();
    set_id_of(&mut arguments, run);
    set_entries(&mut arguments, entries.map(), &[(run.run_id, entries)]);
    Ok(exact(&of(entries.map()).replace, run.shard_id, &arguments))
}

/// Names the path of a CHASM node if it is what `error` refuses for its length.
///
/// The database decides, because its column may be wider than that of this release's schema. Its error
/// does not name the column.
pub(super) fn name_long_path<'e>(
    error: StoreError,
    entries: impl IntoIterator<Item = &'e MapEntries>,
) -> StoreError {
    if sqlstate_of(&error).as_deref() != Some(TOO_LONG) {
        return error;
    }
    match (limits::check_chasm_paths(entries, limits::MAX_CHASM_PATH_CHARS), error) {
        (Err(InvalidValue { field, reason }), StoreError::InvalidArgument { source, .. }) => {
            StoreError::InvalidArgument { field, reason, source }
        }
        (_, error) => error,
    }
}

/// The statement that deletes the entries with these keys.
pub(super) fn delete(run: &ExecutionsFilter, keys: &MapKeys) -> Statement {
    let mut arguments = Arguments::default();
    set_id_of(&mut arguments, run);
    set_keys_of(&mut arguments, keys.map(), REMOVED, &[(run.run_id, keys)]);
    exact(&of(keys.map()).delete, run.shard_id, &arguments)
}

/// The statement that deletes all entries but those with these keys.
pub(super) fn delete_others(run: &ExecutionsFilter, keep: &MapKeys) -> Statement {
    let map = keep.map();
    let mut arguments = Arguments::default();
    set_id_of(&mut arguments, run);
    set_run_ids(&mut arguments, "replaced_run_ids", [run.run_id]);
    set_keys_of(&mut arguments, map, "", &[(run.run_id, keep)]);
    exact(&of(map).delete_all, run.shard_id, &arguments)
}

/// The statement that deletes all entries, or the first `limit` of them.
pub(super) fn delete_all(run: &ExecutionsFilter, map: MapTable, limit: Option<u32>) -> Statement {
    if let Some(limit) = limit {
        let mut arguments = key(run);
        arguments.set("limit", i64::from(limit));
        return exact(&of(map).delete_some, run.shard_id, &arguments);
    }
    delete_others(run, &MapKeys::none(map))
}

/// The names of the columns of an entry in an answer.
pub(super) struct Names {
    pub(super) key: &'static str,
    pub(super) metadata: &'static str,
    pub(super) metadata_encoding: &'static str,
}

/// Their names in the table.
const fn stored_names(map: MapTable) -> Names {
    let key = match map {
        MapTable::Activities => "schedule_id",
        MapTable::Timers => "timer_id",
        MapTable::ChildExecutions | MapTable::RequestCancels | MapTable::Signals => "initiated_id",
        MapTable::SignalsRequested => "signal_id",
        MapTable::ChasmNodes => "chasm_path",
    };
    Names { key, metadata: "metadata", metadata_encoding: "metadata_encoding" }
}

/// Reads the answer of [`MapStatements::select`].
pub(super) fn decode(map: MapTable, rows: &[PgRow]) -> Result<MapEntries, StoreError> {
    let mut entries = MapEntries::none(map);
    for row in rows {
        push(&mut entries, row, &stored_names(map))?;
    }
    sort(&mut entries);
    Ok(entries)
}

/// Reads one entry from columns of these names.
pub(super) fn push(entries: &mut MapEntries, row: &PgRow, names: &Names) -> Result<(), StoreError> {
    let map = entries.map();
    let stored = stored_names(map);
    let columns = Columns::new(map.table(), row).called([
        (names.key, stored.key),
        (names.metadata, stored.metadata),
        (names.metadata_encoding, stored.metadata_encoding),
    ]);
    match entries {
        MapEntries::Activities(of)
        | MapEntries::ChildExecutions(of)
        | MapEntries::RequestCancels(of)
        | MapEntries::Signals(of) => of.push(IdEntry {
            id: columns.get(names.key)?,
            data: columns.blob("data", "data_encoding")?,
        }),
        MapEntries::Timers(of) => of.push(TimerEntry {
            timer_id: columns.text(names.key)?,
            data: columns.blob("data", "data_encoding")?,
        }),
        MapEntries::SignalsRequested(of) => of.push(columns.text(names.key)?),
        MapEntries::ChasmNodes(of) => of.push(ChasmNode {
            path: columns.text(names.key)?,
            metadata: columns.blob(names.metadata, names.metadata_encoding)?,
            data: columns.get("data")?,
            data_encoding: columns.encoding("data_encoding")?,
        }),
    }
    Ok(())
}

/// Sorts entries that were read by their keys. The client sorts them, because it has read the whole
/// map, and the collation of a server may differ.
pub(super) fn sort(entries: &mut MapEntries) {
    entries.last_of_each_key();
}
