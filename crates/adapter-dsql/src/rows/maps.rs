//! The seven maps of a run.
//!
//! They share their key prefix and differ in the last key column and in the columns of the value,
//! of which there are three shapes: one blob, none, and the two blobs of a CHASM node. So there is
//! one macro for each kind of statement, and one line for each map.
//!
//! Many rows are one statement: each column is an array, and `UNNEST` makes rows of the arrays.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ChasmNode, ExecutionsFilter, IdEntry, MapEntries, MapKeys, MapTable, Table, TimerEntry,
};
use temporal_dsql_ports::StoreError;

use super::{
    decode::Columns,
    executions::by_key,
    payload::{Payload, column},
};
use crate::statement::{Meta, Statement};

/// The statements of one map.
struct MapStatements {
    replace: Meta,
    select: Meta,
    delete: Meta,
    delete_others: Meta,
    delete_all: Meta,
    delete_some: Meta,
}

#[rustfmt::skip]
macro_rules! map_statements {
    (
        $table:ident = $name:literal, $key:literal: $type:literal, [$columns:literal],
        $replace:ident $arguments:tt
    ) => {{
        const fn meta(op: &'static str, writes: bool, sql: &'static str) -> Meta {
            Meta { op, table: Table::$table, writes, sql }
        }
        MapStatements {
            replace: meta(
                concat!("ReplaceInto", stringify!($table)),
                true,
                $replace!($name, $key, $type, $arguments),
            ),
            select: meta(
                concat!("SelectAllFrom", stringify!($table)),
                false,
                concat!("SELECT ", $key, $columns, " FROM ", $name, " WHERE ", of_run!()),
            ),
            delete: meta(
                concat!("DeleteFrom", stringify!($table)),
                true,
                delete_entries!($name, concat!($key, " = ANY($5::", $type, "[])")),
            ),
            delete_others: meta(
                concat!("DeleteOthersFrom", stringify!($table)),
                true,
                delete_entries!($name, concat!($key, " <> ALL($5::", $type, "[])")),
            ),
            delete_all: meta(
                concat!("DeleteAllFrom", stringify!($table)),
                true,
                delete_entries!($name),
            ),
            delete_some: meta(
                concat!("DeleteAllFrom", stringify!($table)),
                true,
                delete_entries!($name, among_first!("$5" of $name by $key where of_run!())),
            ),
        }
    }};
}

static ACTIVITIES: MapStatements = map_statements!(
    ActivityInfoMaps = "activity_info_maps", "schedule_id": "bigint", [", data, data_encoding"],
    replace_blobs["$5", "$6", "$7"]
);
static TIMERS: MapStatements = map_statements!(
    TimerInfoMaps = "timer_info_maps", "timer_id": "text", [", data, data_encoding"],
    replace_blobs["$5", "$6", "$7"]
);
static CHILD_EXECUTIONS: MapStatements = map_statements!(
    ChildExecutionInfoMaps = "child_execution_info_maps", "initiated_id": "bigint",
    [", data, data_encoding"], replace_blobs["$5", "$6", "$7"]
);
static REQUEST_CANCELS: MapStatements = map_statements!(
    RequestCancelInfoMaps = "request_cancel_info_maps", "initiated_id": "bigint",
    [", data, data_encoding"], replace_blobs["$5", "$6", "$7"]
);
static SIGNALS: MapStatements = map_statements!(
    SignalInfoMaps = "signal_info_maps", "initiated_id": "bigint", [", data, data_encoding"],
    replace_blobs["$5", "$6", "$7"]
);
static SIGNALS_REQUESTED: MapStatements = map_statements!(
    SignalsRequestedSets = "signals_requested_sets", "signal_id": "text", [""],
    replace_members["$5"]
);
static CHASM_NODES: MapStatements = map_statements!(
    ChasmNodeMaps = "chasm_node_maps", "chasm_path": "text",
    [", metadata, metadata_encoding, data, data_encoding"],
    replace_nodes["$5", "$6", "$7", "$8", "$9"]
);

const fn of(map: MapTable) -> &'static MapStatements {
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
        let MapStatements { replace, select, delete, delete_others, delete_all, delete_some } = map;
        [replace, select, delete, delete_others, delete_all, delete_some]
    })
}

/// Adds entries to what a statement carries.
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

/// Binds entries as one array for each column, as the `replace_…` macros take them.
///
/// No two of the entries may have the same key.
pub(super) fn bind_entries(statement: Statement, entries: &MapEntries) -> Statement {
    match entries {
        MapEntries::Activities(of)
        | MapEntries::ChildExecutions(of)
        | MapEntries::RequestCancels(of)
        | MapEntries::Signals(of) => statement
            .bind(column(of, |entry| entry.id))
            .bind(column(of, |entry| entry.data.data.clone()))
            .bind(column(of, |entry| entry.data.encoding.to_string())),
        MapEntries::Timers(of) => statement
            .bind(column(of, |entry| entry.timer_id.to_string()))
            .bind(column(of, |entry| entry.data.data.clone()))
            .bind(column(of, |entry| entry.data.encoding.to_string())),
        MapEntries::SignalsRequested(of) => statement.bind(column(of, ToString::to_string)),
        MapEntries::ChasmNodes(of) => statement
            .bind(column(of, |node| node.path.to_string()))
            .bind(column(of, |node| node.metadata.data.clone()))
            .bind(column(of, |node| node.metadata.encoding.to_string()))
            .bind(column(of, |node| node.data.clone()))
            .bind(column(of, |node| node.data_encoding.to_string())),
    }
}

/// Binds keys as one array.
pub(super) fn bind_keys(statement: Statement, keys: &MapKeys) -> Statement {
    match keys {
        MapKeys::Activities(of)
        | MapKeys::ChildExecutions(of)
        | MapKeys::RequestCancels(of)
        | MapKeys::Signals(of) => statement.bind(of.clone()),
        MapKeys::Timers(of) => statement.bind(column(of, ToString::to_string)),
        MapKeys::SignalsRequested(of) => statement.bind(column(of, ToString::to_string)),
        MapKeys::ChasmNodes(of) => statement.bind(column(of, ToString::to_string)),
    }
}

/// The statement that inserts or overwrites entries.
pub(super) fn replace(
    run: &ExecutionsFilter,
    entries: &MapEntries,
) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), run, entries)?;
    // A statement may not write a row twice.
    let mut entries = entries.clone();
    entries.last_of_each_key();
    Ok(bind_entries(by_key(&of(entries.map()).replace, run), &entries))
}

/// The statement that reads a map; [`decode`] reads its answer.
pub(super) fn select(run: &ExecutionsFilter, map: MapTable) -> Statement {
    by_key(&of(map).select, run)
}

/// The statement that deletes the entries with these keys.
pub(super) fn delete(run: &ExecutionsFilter, keys: &MapKeys) -> Statement {
    bind_keys(by_key(&of(keys.map()).delete, run), keys)
}

/// The statement that deletes the entries with other keys than these.
pub(super) fn delete_others(run: &ExecutionsFilter, kept: &MapKeys) -> Statement {
    bind_keys(by_key(&of(kept.map()).delete_others, run), kept)
}

/// The statement that deletes all entries, or the first `limit` of them.
pub(super) fn delete_all(run: &ExecutionsFilter, map: MapTable, limit: Option<u32>) -> Statement {
    match limit {
        None => by_key(&of(map).delete_all, run),
        Some(limit) => by_key(&of(map).delete_some, run).bind(i64::from(limit)),
    }
}

/// What the columns of an entry are called in an answer.
pub(super) struct Names {
    pub(super) key: &'static str,
    pub(super) metadata: &'static str,
    pub(super) metadata_encoding: &'static str,
}

/// What they are called in the table.
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

/// Puts entries that were read in the order of their keys. Done here and not by the server: the
/// whole map is here anyway, and a server sorts text by its own rules.
pub(super) fn sort(entries: &mut MapEntries) {
    entries.last_of_each_key();
}
