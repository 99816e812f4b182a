//! Reading everything that is stored for a run, in one statement and one snapshot.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    DataBlob, ExecutionsFilter, ExecutionsRow, MapEntries, MapTable, Table,
};
use temporal_dsql_ports::{MutableStateRows, StoreError};

use super::super::{decode::Columns, maps};
use crate::statement::{Meta, SqlFile};

pub(super) static META: Meta =
    SqlFile::new(Table::Executions, include_str!("../../../sql/mutable_state.sql"))
        .read("SelectMutableState");

/// The number of the events in the answer: they follow the maps, which are numbered as in
/// [`MapTable::ALL`].
const BUFFERED: i32 = MapTable::ALL.len() as i32;

/// Reads the answer of [`META`]; `None` without an `executions` row, even if other rows of the run exist.
pub(super) fn decode(
    run: &ExecutionsFilter,
    rows: &[PgRow],
) -> Result<Option<MutableStateRows>, StoreError> {
    let mut execution = None;
    let mut entries = MapTable::ALL.map(MapEntries::none);
    let mut events = Vec::new();
    for row in rows {
        let part: i32 = Columns::new(META.table, row).get("part")?;
        if part == BUFFERED {
            events.push(decode_event(row)?);
        } else if let Some(of) = usize::try_from(part).ok().and_then(|part| entries.get_mut(part)) {
            push(of, row)?;
        } else {
            execution = Some(decode_execution(run, row)?);
        }
    }
    entries.iter_mut().for_each(maps::sort);
    events.sort_by_key(|(id, _)| *id);
    Ok(execution.map(|execution| MutableStateRows {
        execution,
        maps: entries.into(),
        buffered: events.into_iter().map(|(_, event)| event).collect(),
    }))
}

fn decode_execution(run: &ExecutionsFilter, row: &PgRow) -> Result<ExecutionsRow, StoreError> {
    let columns = Columns::new(Table::Executions, row).called([
        ("id", "next_event_id"),
        ("other", "state"),
        ("other_encoding", "state_encoding"),
    ]);
    Ok(ExecutionsRow {
        shard_id: run.shard_id,
        namespace_id: run.namespace_id,
        workflow_id: run.workflow_id.clone(),
        run_id: run.run_id,
        next_event_id: columns.get("id")?,
        last_write_version: columns.get("last_write_version")?,
        data: columns.blob("data", "data_encoding")?,
        state: columns.blob("other", "other_encoding")?,
        db_record_version: columns.get("db_record_version")?,
    })
}

fn decode_event(row: &PgRow) -> Result<(i64, DataBlob), StoreError> {
    let columns = Columns::new(Table::BufferedEvents, row);
    Ok((columns.get("id")?, columns.blob("data", "data_encoding")?))
}

fn push(entries: &mut MapEntries, row: &PgRow) -> Result<(), StoreError> {
    let names = maps::Names {
        key: if maps::has_text_keys(entries.map()) { "name" } else { "id" },
        metadata: "other",
        metadata_encoding: "other_encoding",
    };
    maps::push(entries, row, &names)
}
