//! `executions`: the mutable state of every run.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ExecutionVersion, ExecutionsFilter, ExecutionsRow, NamespaceId, RunId, ShardId, Table,
};
use temporal_dsql_ports::StoreError;

use super::decode::Columns;
use crate::statement::{Meta, Statement};

const fn meta(op: &'static str, writes: bool, sql: &'static str) -> Meta {
    Meta { op, table: Table::Executions, writes, sql }
}

static INSERT: Meta = meta(
    "InsertIntoExecutions",
    true,
    "INSERT INTO executions (shard_id, namespace_id, workflow_id, run_id, next_event_id, \
     last_write_version, data, data_encoding, state, state_encoding, db_record_version) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
);

static UPDATE: Meta = meta(
    "UpdateExecutions",
    true,
    "UPDATE executions SET next_event_id = $5, last_write_version = $6, data = $7, \
     data_encoding = $8, state = $9, state_encoding = $10, db_record_version = $11 \
     WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4",
);

static SELECT: Meta = meta(
    "SelectFromExecutions",
    false,
    "SELECT shard_id, namespace_id, workflow_id, run_id, next_event_id, last_write_version, \
     data, data_encoding, state, state_encoding, db_record_version FROM executions \
     WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4",
);

static DELETE: Meta = meta(
    "DeleteFromExecutions",
    true,
    "DELETE FROM executions \
     WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4",
);

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 8] = [
    &INSERT,
    &UPDATE,
    &SELECT,
    &DELETE,
    &READ_LOCK.locking,
    &READ_LOCK.reading,
    &WRITE_LOCK.locking,
    &WRITE_LOCK.reading,
];

/// A lock, and the same read without one.
struct LockPair {
    locking: Meta,
    reading: Meta,
}

// Both locks are the same statement: DSQL refuses FOR SHARE (facts §1.4), and FOR KEY SHARE would
// not conflict with an update of these columns (facts §1.3). One table and equality on the whole
// key, so that releases before August 2026 accept it as well.
const fn lock_pair(op: &'static str) -> LockPair {
    LockPair {
        locking: meta(
            op,
            false,
            "SELECT db_record_version, next_event_id, last_write_version FROM executions \
             WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4 \
             FOR UPDATE",
        ),
        reading: meta(
            op,
            false,
            "SELECT db_record_version, next_event_id, last_write_version FROM executions \
             WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4",
        ),
    }
}

static READ_LOCK: LockPair = lock_pair("ReadLockExecutions");
static WRITE_LOCK: LockPair = lock_pair("WriteLockExecutions");

/// Which of the two locks of the port is asked for; they differ in name only.
#[derive(Clone, Copy)]
pub(super) enum Lock {
    Read,
    Write,
}

/// A statement whose first arguments, `$1` to `$4`, are the key of a run.
pub(super) fn by_key(meta: &'static Meta, filter: &ExecutionsFilter) -> Statement {
    Statement::new(meta, filter.shard_id)
        .bind(filter.shard_id.0)
        .bind(filter.namespace_id.0)
        .bind(filter.workflow_id.to_string())
        .bind(filter.run_id.0)
}

/// A statement whose first arguments, `$1` to `$11`, are a whole row.
pub(super) fn whole_row(meta: &'static Meta, row: &ExecutionsRow) -> Statement {
    by_key(meta, &row.filter())
        .bind(row.next_event_id)
        .bind(row.last_write_version)
        .bind(row.data.data.clone())
        .bind(row.data.encoding.to_string())
        .bind(row.state.data.clone())
        .bind(row.state.encoding.to_string())
        .bind(row.db_record_version)
}

/// The statement that inserts `row`.
pub(super) fn insert(row: &ExecutionsRow) -> Result<Statement, StoreError> {
    row.check_limits()?;
    Ok(whole_row(&INSERT, row))
}

/// The statement that overwrites all but the key of `row`.
pub(super) fn update(row: &ExecutionsRow) -> Result<Statement, StoreError> {
    row.check_limits()?;
    Ok(whole_row(&UPDATE, row))
}

/// The statement that reads a row; [`decode`] reads its answer.
pub(super) fn select(filter: &ExecutionsFilter) -> Statement {
    by_key(&SELECT, filter)
}

/// The statement that deletes a row.
pub(super) fn delete(filter: &ExecutionsFilter) -> Statement {
    by_key(&DELETE, filter)
}

/// The statement that locks a row or, where nothing holds a lock, reads the same columns.
/// [`decode_locked`] reads its answer.
pub(super) fn lock(filter: &ExecutionsFilter, lock: Lock, holds_locks: bool) -> Statement {
    let operation = match lock {
        Lock::Read => &READ_LOCK,
        Lock::Write => &WRITE_LOCK,
    };
    by_key(if holds_locks { &operation.locking } else { &operation.reading }, filter)
        .locks(Table::Executions, filter)
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

/// Reads the answer of [`select`].
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
