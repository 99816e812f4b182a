//! Reading the answers of the texts that observe and apply.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ExecutionVersion, MapTable, RunId, Table};
use temporal_dsql_ports::{CurrentExecutionsRoute, Observed, RowCounts, StoreError};
use uuid::Uuid;

use super::super::{current_executions as current, decode::Columns};

/// The observed state without the shard: one row for each run that exists, or one row without a
/// run. The current execution is at `route`.
pub(super) fn observed(
    route: Option<CurrentExecutionsRoute>,
    rows: &[PgRow],
) -> Result<Observed, StoreError> {
    let first = first(rows)?;
    let columns = Columns::new(Table::Executions, first);
    let current = match route {
        // The outer join has found a row if its key is not NULL.
        Some(route) if columns.get::<Option<i32>>("shard_id")?.is_some() => {
            Some(current::decode(route, first)?)
        }
        _ => None,
    };
    let mut runs = Vec::new();
    for row in rows {
        let columns = Columns::new(Table::Executions, row);
        if let Some(run_id) = columns.get::<Option<Uuid>>("observed_run_id")? {
            let names = ["db_record_version", "next_event_id", "run_last_write_version"];
            runs.extend(version(&columns, names)?.map(|version| (RunId(run_id), version)));
        }
    }
    let names =
        ["current_db_record_version", "current_next_event_id", "current_run_last_write_version"];
    Ok(Observed { current, current_run: version(&columns, names)?, runs, ..Observed::default() })
}

/// The tables with rows of replaced runs that the write set does not write.
pub(super) fn removable(rows: &[PgRow]) -> Result<Vec<Table>, StoreError> {
    let columns = Columns::new(Table::Executions, first(rows)?);
    let mut tables = Vec::new();
    for table in MapTable::ALL.map(MapTable::table).into_iter().chain([Table::BufferedEvents]) {
        if columns.get(table.name())? {
            tables.push(table);
        }
    }
    Ok(tables)
}

/// The result of a write set in one statement.
pub(super) enum Applied {
    /// The conditions held, and the write set is committed. The observed rows are not decoded: an
    /// error would look as if the write set were not applied.
    Written(RowCounts),
    /// A condition does not hold for what was observed, and nothing was written.
    Refused(Box<Observed>),
}

/// Decodes the answer of a write set in one statement.
pub(super) fn applied(
    route: Option<CurrentExecutionsRoute>,
    rows: &[PgRow],
) -> Result<Applied, StoreError> {
    let columns = Columns::new(Table::Executions, first(rows)?);
    let count = |column| columns.get::<i64>(column).map(i64::unsigned_abs);
    if columns.get("holds")? {
        return Ok(Applied::Written(RowCounts {
            runs: count("runs_written")?,
            current: count("current_written")?,
            tasks: count("tasks_written")?,
        }));
    }
    let range_id = Columns::new(Table::Shards, first(rows)?).get("range_id")?;
    Ok(Applied::Refused(Box::new(Observed { range_id, ..observed(route, rows)? })))
}

fn first(rows: &[PgRow]) -> Result<&PgRow, StoreError> {
    rows.first().ok_or(StoreError::Corrupt {
        table: Table::Executions,
        column: "run_id",
        source: None,
    })
}

/// The versions of a run; `None` if it does not exist.
fn version(
    columns: &Columns<'_>,
    [record, event, write]: [&'static str; 3],
) -> Result<Option<ExecutionVersion>, StoreError> {
    let Some(db_record_version) = columns.get::<Option<i64>>(record)? else { return Ok(None) };
    Ok(Some(ExecutionVersion {
        db_record_version,
        next_event_id: columns.get(event)?,
        last_write_version: columns.get(write)?,
    }))
}
