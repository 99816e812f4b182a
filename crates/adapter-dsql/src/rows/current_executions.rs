//! `current_executions` and `current_chasm_executions`: which run of an id is current.
//!
//! The two tables differ in the name of one column and in one more key column, so each operation
//! has a pair of statements. The archetype is always the last argument, so that one function binds
//! both.

use std::hash::Hash;

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionState, ExecutionStatus,
    NamespaceId, RunId, ShardId, Table,
};
use temporal_dsql_ports::{CurrentExecutionsRoute, StoreError};

use super::decode::{Columns, timestamp};
use crate::statement::{Meta, Statement};

/// One operation on either table.
struct Pair {
    workflow: Meta,
    chasm: Meta,
}

const fn pair(op: &'static str, writes: bool, workflow: &'static str, chasm: &'static str) -> Pair {
    Pair {
        workflow: Meta { op, table: Table::CurrentExecutions, writes, sql: workflow },
        chasm: Meta { op, table: Table::CurrentChasmExecutions, writes, sql: chasm },
    }
}

static INSERT: Pair = pair(
    "InsertIntoCurrentExecutions",
    true,
    "INSERT INTO current_executions (shard_id, namespace_id, workflow_id, run_id, \
     create_request_id, state, status, start_time, last_write_version, data, data_encoding) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    "INSERT INTO current_chasm_executions (shard_id, namespace_id, business_id, run_id, \
     create_request_id, state, status, start_time, last_write_version, data, data_encoding, \
     archetype_id) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
);

static UPDATE: Pair = pair(
    "UpdateCurrentExecutions",
    true,
    "UPDATE current_executions SET run_id = $4, create_request_id = $5, state = $6, status = $7, \
     start_time = $8, last_write_version = $9, data = $10, data_encoding = $11 \
     WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3",
    "UPDATE current_chasm_executions SET run_id = $4, create_request_id = $5, state = $6, \
     status = $7, start_time = $8, last_write_version = $9, data = $10, data_encoding = $11 \
     WHERE shard_id = $1 AND namespace_id = $2 AND business_id = $3 AND archetype_id = $12",
);

static SELECT: Pair = pair(
    "SelectFromCurrentExecutions",
    false,
    "SELECT shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, \
     start_time, last_write_version, data, data_encoding FROM current_executions \
     WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3",
    "SELECT shard_id, namespace_id, business_id AS workflow_id, run_id, create_request_id, state, \
     status, start_time, last_write_version, data, data_encoding FROM current_chasm_executions \
     WHERE shard_id = $1 AND namespace_id = $2 AND business_id = $3 AND archetype_id = $4",
);

static LOCK: Pair = pair(
    "LockCurrentExecutions",
    false,
    "SELECT shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, \
     start_time, last_write_version, data, data_encoding FROM current_executions \
     WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 FOR UPDATE",
    "SELECT shard_id, namespace_id, business_id AS workflow_id, run_id, create_request_id, state, \
     status, start_time, last_write_version, data, data_encoding FROM current_chasm_executions \
     WHERE shard_id = $1 AND namespace_id = $2 AND business_id = $3 AND archetype_id = $4 \
     FOR UPDATE",
);

static SELECT_JOIN: Pair = pair(
    "LockCurrentExecutionsJoinExecutions",
    false,
    "SELECT c.shard_id, c.namespace_id, c.workflow_id, c.run_id, c.create_request_id, c.state, \
     c.status, c.start_time, e.last_write_version, c.data, c.data_encoding \
     FROM current_executions AS c INNER JOIN executions AS e ON e.shard_id = c.shard_id \
     AND e.namespace_id = c.namespace_id AND e.workflow_id = c.workflow_id \
     AND e.run_id = c.run_id \
     WHERE c.shard_id = $1 AND c.namespace_id = $2 AND c.workflow_id = $3",
    "SELECT c.shard_id, c.namespace_id, c.business_id AS workflow_id, c.run_id, \
     c.create_request_id, c.state, c.status, c.start_time, e.last_write_version, c.data, \
     c.data_encoding \
     FROM current_chasm_executions AS c INNER JOIN executions AS e ON e.shard_id = c.shard_id \
     AND e.namespace_id = c.namespace_id AND e.workflow_id = c.business_id \
     AND e.run_id = c.run_id \
     WHERE c.shard_id = $1 AND c.namespace_id = $2 AND c.business_id = $3 AND c.archetype_id = $4",
);

static DELETE: Pair = pair(
    "DeleteFromCurrentExecutions",
    true,
    "DELETE FROM current_executions \
     WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4",
    "DELETE FROM current_chasm_executions \
     WHERE shard_id = $1 AND namespace_id = $2 AND business_id = $3 AND run_id = $4 \
     AND archetype_id = $5",
);

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&INSERT, &UPDATE, &SELECT, &LOCK, &SELECT_JOIN, &DELETE]
        .into_iter()
        .flat_map(|pair| [&pair.workflow, &pair.chasm])
}

impl Pair {
    const fn meta(&'static self, route: CurrentExecutionsRoute) -> &'static Meta {
        match route {
            CurrentExecutionsRoute::CurrentExecutions => &self.workflow,
            CurrentExecutionsRoute::CurrentChasmExecutions { .. } => &self.chasm,
        }
    }
}

/// Adds the last argument, where the table has it.
pub(super) fn bind_archetype(statement: Statement, route: CurrentExecutionsRoute) -> Statement {
    match route {
        CurrentExecutionsRoute::CurrentExecutions => statement,
        CurrentExecutionsRoute::CurrentChasmExecutions { archetype_id: ArchetypeId(id) } => {
            statement.bind(i64::from(id))
        }
    }
}

fn by_id(
    operation: &'static Pair,
    route: CurrentExecutionsRoute,
    filter: &CurrentExecutionsFilter,
) -> Statement {
    Statement::new(operation.meta(route), filter.shard_id)
        .bind(filter.shard_id.0)
        .bind(filter.namespace_id.0)
        .bind(filter.workflow_id.to_string())
}

/// Binds the eleven columns that both tables have; NULL where there is no row.
pub(super) fn bind_columns(statement: Statement, row: Option<&CurrentExecutionsRow>) -> Statement {
    statement
        .bind(row.map(|row| row.shard_id.0))
        .bind(row.map(|row| row.namespace_id.0))
        .bind(row.map(|row| row.workflow_id.to_string()))
        .bind(row.map(|row| row.run_id.0))
        .bind(row.map(|row| row.create_request_id.to_string()))
        .bind(row.map(|row| row.state.number()))
        .bind(row.map(|row| row.status.number()))
        .bind(row.and_then(|row| row.start_time).map(timestamp))
        .bind(row.map(|row| row.last_write_version))
        .bind(row.and_then(|row| row.data.clone()))
        .bind(row.map(|row| row.data_encoding.to_string()))
}

fn whole_row(
    operation: &'static Pair,
    route: CurrentExecutionsRoute,
    row: &CurrentExecutionsRow,
) -> Result<Statement, StoreError> {
    row.check_limits(route.table())?;
    let statement = Statement::new(operation.meta(route), row.shard_id);
    Ok(bind_archetype(bind_columns(statement, Some(row)), route))
}

/// The statement that inserts `row`.
pub(super) fn insert(
    route: CurrentExecutionsRoute,
    row: &CurrentExecutionsRow,
) -> Result<Statement, StoreError> {
    whole_row(&INSERT, route, row)
}

/// The statement that overwrites all but the key of `row`.
pub(super) fn update(
    route: CurrentExecutionsRoute,
    row: &CurrentExecutionsRow,
) -> Result<Statement, StoreError> {
    whole_row(&UPDATE, route, row)
}

/// The statement that deletes a row if its run is `run_id`.
pub(super) fn delete(
    route: CurrentExecutionsRoute,
    filter: &CurrentExecutionsFilter,
    run_id: RunId,
) -> Statement {
    bind_archetype(by_id(&DELETE, route, filter).bind(run_id.0), route)
}

/// The statement that reads a row. [`decode`] reads its answer.
pub(super) fn select(route: CurrentExecutionsRoute, filter: &CurrentExecutionsFilter) -> Statement {
    bind_archetype(by_id(&SELECT, route, filter), route)
}

/// The statement that locks and reads a row.
pub(super) fn lock(route: CurrentExecutionsRoute, filter: &CurrentExecutionsFilter) -> Statement {
    bind_archetype(by_id(&LOCK, route, filter), route).locks(route.table(), key(route, filter))
}

/// What tells the row of `filter` from the others of its table: the same for a workflow that is
/// named and one that is assumed.
pub(super) fn key(
    route: CurrentExecutionsRoute,
    filter: &CurrentExecutionsFilter,
) -> impl Hash + use<'_> {
    (filter.shard_id, filter.namespace_id, &filter.workflow_id, route)
}

/// The statement that reads a row together with the `executions` row of its run.
pub(super) fn select_join(
    route: CurrentExecutionsRoute,
    filter: &CurrentExecutionsFilter,
) -> Statement {
    bind_archetype(by_id(&SELECT_JOIN, route, filter), route)
}

/// Reads the answer of a select or lock.
pub(super) fn decode(
    route: CurrentExecutionsRoute,
    row: &PgRow,
) -> Result<CurrentExecutionsRow, StoreError> {
    let columns = Columns::new(route.table(), row);
    Ok(CurrentExecutionsRow {
        shard_id: ShardId(columns.get("shard_id")?),
        namespace_id: NamespaceId(columns.get("namespace_id")?),
        workflow_id: columns.text("workflow_id")?,
        archetype_id: route.archetype_id(),
        run_id: RunId(columns.get("run_id")?),
        create_request_id: columns.text("create_request_id")?,
        start_time: columns.time("start_time")?,
        last_write_version: columns.get("last_write_version")?,
        state: ExecutionState::from_stored(columns.get("state")?),
        status: ExecutionStatus::from_stored(columns.get("status")?),
        data: columns.get("data")?,
        data_encoding: columns.text("data_encoding")?,
    })
}
