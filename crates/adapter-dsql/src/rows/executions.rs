//! `executions`: the mutable state of every run.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ExecutionVersion, ExecutionsFilter, ExecutionsRow, NamespaceId, RunId, ShardId, Table,
};
use temporal_dsql_ports::{StoreError, limits};

use uuid::Uuid;

use super::{
    decode::Columns,
    payload::{column, last_of_each_key},
    session::exact,
};
use crate::{
    arguments::Arguments,
    statement::{Meta, SqlFile, Statement},
};

const FILE: SqlFile = SqlFile::new(Table::Executions, include_str!("../../sql/executions.sql"));

pub(super) static INSERT: Meta = FILE.write("InsertIntoExecutions");
pub(super) static UPDATE: Meta = FILE.write("UpdateExecutions");
pub(super) static SELECT: Meta = FILE.read("SelectFromExecutions");
pub(super) static DELETE: Meta = FILE.write("DeleteFromExecutions");
/// Deletes the runs `:deleted_run_ids`.
pub(super) static DELETE_ALL: Meta =
    FILE.write("DeleteAllFromExecutions").of_operation("DeleteFromExecutions");

/// A lock, and the same read without one.
pub(super) struct LockPair {
    pub(super) locking: Meta,
    reading: Meta,
}

const fn lock_pair(op: &'static str) -> LockPair {
    LockPair {
        locking: FILE.read("LockExecutions").of_operation(op),
        reading: FILE.read("SelectVersionFromExecutions").of_operation(op),
    }
}

/// The two locks of the port, which differ in name only.
pub(super) static READ_LOCK: LockPair = lock_pair("ReadLockExecutions");
pub(super) static WRITE_LOCK: LockPair = lock_pair("WriteLockExecutions");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 9] = [
    &DELETE_ALL,
    &INSERT,
    &UPDATE,
    &SELECT,
    &DELETE,
    &READ_LOCK.locking,
    &READ_LOCK.reading,
    &WRITE_LOCK.locking,
    &WRITE_LOCK.reading,
];

/// Sets `:shard_id`, `:namespace_id` and `:workflow_id`.
pub(super) fn set_id<'a>(
    arguments: &mut Arguments<'a>,
    shard_id: ShardId,
    namespace_id: NamespaceId,
    workflow_id: &'a str,
) {
    arguments.set("shard_id", shard_id.0);
    arguments.set("namespace_id", namespace_id.0);
    arguments.set("workflow_id", workflow_id);
}

/// Sets the parameters of [`set_id`], of the id of `run`.
pub(super) fn set_id_of<'a>(arguments: &mut Arguments<'a>, run: &'a ExecutionsFilter) {
    set_id(arguments, run.shard_id, run.namespace_id, &run.workflow_id);
}

/// A statement whose parameters are the key of a single run.
pub(super) fn by_key(meta: &'static Meta, run: &ExecutionsFilter) -> Statement {
    exact(meta, run.shard_id, &key(run))
}

/// The key of a single run: the parameters of [`set_id`], and `:run_id`.
pub(super) fn key(run: &ExecutionsFilter) -> Arguments<'_> {
    let mut arguments = Arguments::default();
    set_id_of(&mut arguments, run);
    arguments.set("run_id", run.run_id.0);
    arguments
}

/// Sets an array of runs of one id, which is sorted: `:replaced_run_ids` and the like.
pub(super) fn set_run_ids(
    arguments: &mut Arguments<'_>,
    name: &'static str,
    run_ids: impl IntoIterator<Item = RunId>,
) {
    let mut run_ids: Vec<Uuid> = run_ids.into_iter().map(|run_id| run_id.0).collect();
    run_ids.sort_unstable();
    arguments.set(name, run_ids);
}

/// Sets the columns of `rows`, which are of runs of one id. Of several rows with one key, the last
/// one counts.
pub(super) fn set_rows<'a>(
    arguments: &mut Arguments<'a>,
    rows: impl IntoIterator<Item = &'a ExecutionsRow>,
) {
    let rows = last_of_each_key(rows, |row| row.run_id);
    let table = Table::Executions;
    arguments.set_column(table, "run_id", column(&rows, |row| row.run_id.0));
    arguments.set_column(table, "next_event_id", column(&rows, |row| row.next_event_id));
    arguments.set_column(table, "last_write_version", column(&rows, |row| row.last_write_version));
    arguments.set_column(table, "db_record_version", column(&rows, |row| row.db_record_version));
    arguments.set_blobs(table, ["data", "data_encoding"], rows.iter().map(|row| &row.data));
    arguments.set_blobs(table, ["state", "state_encoding"], rows.iter().map(|row| &row.state));
}

/// The statement [`INSERT`] or [`UPDATE`] for one row.
pub(super) fn of_row(meta: &'static Meta, row: &ExecutionsRow) -> Result<Statement, StoreError> {
    limits::check_executions_row(row)?;
    Ok(of_rows(meta, row, [row]))
}

/// A statement that writes `rows`, which are of the id of `run` and have been checked.
pub(super) fn of_rows<'a>(
    meta: &'static Meta,
    run: &'a ExecutionsRow,
    rows: impl IntoIterator<Item = &'a ExecutionsRow>,
) -> Statement {
    let mut arguments = Arguments::default();
    set_id(&mut arguments, run.shard_id, run.namespace_id, &run.workflow_id);
    set_rows(&mut arguments, rows);
    exact(meta, run.shard_id, &arguments)
}

/// The statement that locks a row or, outside a transaction, reads the same columns.
/// [`decode_locked`] reads its answer.
pub(super) fn lock(
    lock: &'static LockPair,
    filter: &ExecutionsFilter,
    holds_locks: bool,
) -> Statement {
    by_key(if holds_locks { &lock.locking } else { &lock.reading }, filter)
}

/// Reads the answer of [`lock`].
pub(super) fn decode_locked(row: &PgRow) -> Result<ExecutionVersion, StoreError> {
    let columns = Columns::new(Table::Executions, row);
    Ok(ExecutionVersion {
        db_record_version: columns.get("db_record_version")?,
        next_event_id: columns.get("next_event_id")?,
        last_write_version: columns.get("last_write_version")?,
    })
}

/// Reads the answer of [`SELECT`].
pub(super) fn decode(row: &PgRow) -> Result<ExecutionsRow, StoreError> {
    let columns = Columns::new(Table::Executions, row);
    Ok(ExecutionsRow {
        shard_id: ShardId(columns.get("shard_id")?),
        namespace_id: NamespaceId(columns.get("namespace_id")?),
        workflow_id: columns.text("workflow_id")?,
        run_id: RunId(columns.get("run_id")?),
        next_event_id: columns.get("next_event_id")?,
        last_write_version: columns.get("last_write_version")?,
        data: columns.blob("data", "data_encoding")?,
        state: columns.blob("state", "state_encoding")?,
        db_record_version: columns.get("db_record_version")?,
    })
}
