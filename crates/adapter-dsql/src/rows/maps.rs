//! The seven maps of a run.
//!
//! They share their key prefix and differ in the last key column and in the columns of the value,
//! of which there are three shapes: one blob, none, and the two blobs of a CHASM node.

use std::collections::BTreeSet;

use sqlx::{
    Encode, Postgres, Type,
    postgres::{PgHasArrayType, PgRow},
};
use temporal_dsql_domain::{
    ChasmNode, ExecutionsFilter, IdEntry, MapEntries, MapKeys, MapTable, RunId, Table, TimerEntry,
};
use temporal_dsql_ports::StoreError;
use uuid::Uuid;

use super::{
    decode::Columns,
    executions::{by_key, key, set_id_of, set_run_ids},
    payload::{Payload, column, last_of_each_key},
    session::exact,
};
use crate::{
    arguments::Arguments,
    statement::{Meta, Statement},
    text::Text,
};

/// The statements of one map.
pub(super) struct MapStatements {
    pub(super) replace: Meta,
    select: Meta,
    pub(super) delete: Meta,
    pub(super) delete_all: Meta,
    delete_some: Meta,
}

/// The statements of the file `sql`: their names, in the order of [`MapStatements`].
const fn statements_of(table: Table, sql: &'static str, names: [&'static str; 5]) -> MapStatements {
    const fn meta(table: Table, writes: bool, op: &'static str, text: Text) -> Meta {
        Meta { op, table, writes, text }
    }
    let [replace, select, delete, delete_all, delete_some] = names;
    MapStatements {
        replace: meta(table, true, replace, Text::new(sql, replace)),
        select: meta(table, false, select, Text::new(sql, select)),
        delete: meta(table, true, delete, Text::new(sql, delete)),
        delete_all: meta(table, true, delete_all, Text::new(sql, delete_all)),
        // The same operation of the port, with a limit.
        delete_some: meta(table, true, delete_all, Text::new(sql, delete_some)),
    }
}

static ACTIVITIES: MapStatements = statements_of(
    Table::ActivityInfoMaps,
    include_str!("../../sql/activity_info_maps.sql"),
    [
        "ReplaceIntoActivityInfoMaps",
        "SelectAllFromActivityInfoMaps",
        "DeleteFromActivityInfoMaps",
        "DeleteAllFromActivityInfoMaps",
        "DeleteSomeFromActivityInfoMaps",
    ],
);
static TIMERS: MapStatements = statements_of(
    Table::TimerInfoMaps,
    include_str!("../../sql/timer_info_maps.sql"),
    [
        "ReplaceIntoTimerInfoMaps",
        "SelectAllFromTimerInfoMaps",
        "DeleteFromTimerInfoMaps",
        "DeleteAllFromTimerInfoMaps",
        "DeleteSomeFromTimerInfoMaps",
    ],
);
static CHILD_EXECUTIONS: MapStatements = statements_of(
    Table::ChildExecutionInfoMaps,
    include_str!("../../sql/child_execution_info_maps.sql"),
    [
        "ReplaceIntoChildExecutionInfoMaps",
        "SelectAllFromChildExecutionInfoMaps",
        "DeleteFromChildExecutionInfoMaps",
        "DeleteAllFromChildExecutionInfoMaps",
        "DeleteSomeFromChildExecutionInfoMaps",
    ],
);
static REQUEST_CANCELS: MapStatements = statements_of(
    Table::RequestCancelInfoMaps,
    include_str!("../../sql/request_cancel_info_maps.sql"),
    [
        "ReplaceIntoRequestCancelInfoMaps",
        "SelectAllFromRequestCancelInfoMaps",
        "DeleteFromRequestCancelInfoMaps",
        "DeleteAllFromRequestCancelInfoMaps",
        "DeleteSomeFromRequestCancelInfoMaps",
    ],
);
static SIGNALS: MapStatements = statements_of(
    Table::SignalInfoMaps,
    include_str!("../../sql/signal_info_maps.sql"),
    [
        "ReplaceIntoSignalInfoMaps",
        "SelectAllFromSignalInfoMaps",
        "DeleteFromSignalInfoMaps",
        "DeleteAllFromSignalInfoMaps",
        "DeleteSomeFromSignalInfoMaps",
    ],
);
static SIGNALS_REQUESTED: MapStatements = statements_of(
    Table::SignalsRequestedSets,
    include_str!("../../sql/signals_requested_sets.sql"),
    [
        "ReplaceIntoSignalsRequestedSets",
        "SelectAllFromSignalsRequestedSets",
        "DeleteFromSignalsRequestedSets",
        "DeleteAllFromSignalsRequestedSets",
        "DeleteSomeFromSignalsRequestedSets",
    ],
);
static CHASM_NODES: MapStatements = statements_of(
    Table::ChasmNodeMaps,
    include_str!("../../sql/chasm_node_maps.sql"),
    [
        "ReplaceIntoChasmNodeMaps",
        "SelectAllFromChasmNodeMaps",
        "DeleteFromChasmNodeMaps",
        "DeleteAllFromChasmNodeMaps",
        "DeleteSomeFromChasmNodeMaps",
    ],
);

/// The statements of a map.
pub(super) const fn of(map: MapTable) -> &'static MapStatements {
    match map {
        MapTable::Activities => &ACTIVITIES,
        MapTable::Timers => &TIMERS,
        MapTable::ChildExecutions => &CHILD_EXECUTIONS,
        MapTable::RequestCancels => &REQUEST_CANCELS,
        MapTable::Signals => &SIGNALS,
        MapTable::SignalsRequested => &SIGNALS_REQUESTED,
        MapTable::ChasmNodes => &CHASM_NODES,
    }
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    MapTable::ALL.into_iter().map(of).flat_map(|map| {
        let MapStatements { replace, select, delete, delete_all, delete_some } = map;
        [replace, select, delete, delete_all, delete_some]
    })
}

/// Adds entries to the size of a statement.
pub(super) fn check(
    payload: &mut Payload,
    run: &ExecutionsFilter,
    entries: &MapEntries,
) -> Result<(), StoreError> {
    let table = entries.map().table();
    let prefix = 4 + 16 + run.workflow_id.len() + 16;
    match entries {
        MapEntries::Activities(of)
        | MapEntries::ChildExecutions(of)
        | MapEntries::RequestCancels(of)
        | MapEntries::Signals(of) => {
            of.iter().try_for_each(|entry| payload.blob(table, prefix + 8, &entry.data))
        }
        MapEntries::Timers(of) => of
            .iter()
            .try_for_each(|entry| payload.blob(table, prefix + entry.timer_id.len(), &entry.data)),
        MapEntries::SignalsRequested(of) => {
            of.iter().try_for_each(|signal_id| payload.row(table, prefix + signal_id.len(), &[]))
        }
        MapEntries::ChasmNodes(of) => of.iter().try_for_each(|node| {
            let data = node.data.as_ref().map_or(0, Vec::len);
            let values = [("metadata", node.metadata.data.len()), ("data", data)];
            payload.row(table, prefix + node.path.len(), &values)
        }),
    }
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
    match map {
        MapTable::Activities
        | MapTable::ChildExecutions
        | MapTable::RequestCancels
        | MapTable::Signals => {
            let rows = entries.flat_map(|(run_id, entries)| match entries {
                MapEntries::Activities(of)
                | MapEntries::ChildExecutions(of)
                | MapEntries::RequestCancels(of)
                | MapEntries::Signals(of) => of_run(*run_id, of),
                _ => of_run(*run_id, &[]),
            });
            let rows = last_of_each_key(rows, |(run_id, entry)| (*run_id, entry.id));
            set_keys(arguments, map, "", rows.iter().map(|(run_id, entry)| (*run_id, entry.id)));
            let blobs = rows.iter().map(|(_, entry)| &entry.data);
            arguments.set_blobs(table, ["data", "data_encoding"], blobs);
        }
        MapTable::Timers => {
            let rows = entries.flat_map(|(run_id, entries)| match entries {
                MapEntries::Timers(of) => of_run(*run_id, of),
                _ => of_run(*run_id, &[]),
            });
            let key = |(run_id, entry): &(RunId, &'a TimerEntry)| (*run_id, &*entry.timer_id);
            let rows = last_of_each_key(rows, key);
            set_keys(arguments, map, "", rows.iter().map(key));
            let blobs = rows.iter().map(|(_, entry)| &entry.data);
            arguments.set_blobs(table, ["data", "data_encoding"], blobs);
        }
        MapTable::SignalsRequested => {
            let keys = entries.flat_map(|(run_id, entries)| match entries {
                MapEntries::SignalsRequested(of) => of_run(*run_id, of),
                _ => of_run(*run_id, &[]),
            });
            set_each_key(arguments, map, "", keys.map(|(run_id, id)| (run_id, &**id)));
        }
        MapTable::ChasmNodes => {
            let rows = entries.flat_map(|(run_id, entries)| match entries {
                MapEntries::ChasmNodes(of) => of_run(*run_id, of),
                _ => of_run(*run_id, &[]),
            });
            let key = |(run_id, node): &(RunId, &'a ChasmNode)| (*run_id, &*node.path);
            let rows = last_of_each_key(rows, key);
            set_keys(arguments, map, "", rows.iter().map(key));
            let metadata = rows.iter().map(|(_, node)| &node.metadata);
            arguments.set_blobs(table, ["metadata", "metadata_encoding"], metadata);
            let data = column(&rows, |(_, node)| node.data.as_deref());
            arguments.set_column(table, "data", data);
            let encodings = column(&rows, |(_, node)| node.data_encoding.as_str());
            arguments.set_column(table, "data_encoding", encodings);
        }
    }
}

/// The rows of a run, each with the run.
fn of_run<R>(run_id: RunId, rows: &[R]) -> impl Iterator<Item = (RunId, &R)> {
    rows.iter().map(move |row| (run_id, row))
}

/// Sets the columns of the runs and of the keys. `prefix` stands before the names of both columns.
fn set_keys<'a, K>(
    arguments: &mut Arguments<'a>,
    map: MapTable,
    prefix: &str,
    keys: impl Iterator<Item = (RunId, K)>,
) where
    K: 'a + Send + Sync + Encode<'a, Postgres> + Type<Postgres> + PgHasArrayType,
{
    let (run_ids, keys): (Vec<Uuid>, Vec<K>) = keys.map(|(run_id, key)| (run_id.0, key)).unzip();
    arguments.set_column(map.table(), &format!("{prefix}run_id"), run_ids);
    arguments.set_column(map.table(), &format!("{prefix}{}", stored_names(map).key), keys);
}

/// The same, sorted and once each.
fn set_each_key<'a, K>(
    arguments: &mut Arguments<'a>,
    map: MapTable,
    prefix: &str,
    keys: impl Iterator<Item = (RunId, K)>,
) where
    K: 'a + Ord + Send + Sync + Encode<'a, Postgres> + Type<Postgres> + PgHasArrayType,
{
    set_keys(arguments, map, prefix, keys.collect::<BTreeSet<_>>().into_iter());
}

/// Sets the runs and the keys of the entries of `map` to delete, which are those among `keys`.
pub(super) fn set_deleted<'a>(
    arguments: &mut Arguments<'a>,
    map: MapTable,
    keys: &[(RunId, &'a MapKeys)],
) {
    set_keys_of(arguments, map, "removed_", keys);
}

/// Sets the runs and the keys of `map`, which are those among `keys`.
fn set_keys_of<'a>(
    arguments: &mut Arguments<'a>,
    map: MapTable,
    prefix: &str,
    keys: &[(RunId, &'a MapKeys)],
) {
    let keys = keys.iter().filter(|(_, keys)| keys.map() == map);
    match map {
        MapTable::Activities
        | MapTable::ChildExecutions
        | MapTable::RequestCancels
        | MapTable::Signals => {
            let ids = keys.flat_map(|(run_id, keys)| match keys {
                MapKeys::Activities(of)
                | MapKeys::ChildExecutions(of)
                | MapKeys::RequestCancels(of)
                | MapKeys::Signals(of) => of_run(*run_id, of),
                _ => of_run(*run_id, &[]),
            });
            set_each_key(arguments, map, prefix, ids.map(|(run_id, id)| (run_id, *id)));
        }
        MapTable::Timers | MapTable::SignalsRequested | MapTable::ChasmNodes => {
            let texts = keys.flat_map(|(run_id, keys)| {
                let texts: Vec<&'a str> = match keys {
                    MapKeys::Timers(of) => column(of, |id| &**id),
                    MapKeys::SignalsRequested(of) => column(of, |id| &**id),
                    MapKeys::ChasmNodes(of) => column(of, |path| &**path),
                    _ => Vec::new(),
                };
                texts.into_iter().map(move |text| (*run_id, text))
            });
            set_each_key(arguments, map, prefix, texts);
        }
    }
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

/// The statement that reads a map; [`decode`] reads its answer.
pub(super) fn select(run: &ExecutionsFilter, map: MapTable) -> Statement {
    by_key(&of(map).select, run)
}

/// The statement that deletes the entries with these keys.
pub(super) fn delete(run: &ExecutionsFilter, keys: &MapKeys) -> Statement {
    let mut arguments = Arguments::default();
    set_id_of(&mut arguments, run);
    set_deleted(&mut arguments, keys.map(), &[(run.run_id, keys)]);
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

/// Reads the answer of [`select`].
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
