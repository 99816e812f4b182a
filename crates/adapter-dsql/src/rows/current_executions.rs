//! `current_executions` and `current_chasm_executions`: which run of an id is current.
//!
//! The two tables differ in the name of one column and in one more key column. So each operation has
//! a pair of statements, with the same parameters but for `:archetype_id`.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionState, ExecutionStatus,
    NamespaceId, RunId, ShardId, Table,
};
use temporal_dsql_ports::{CurrentExecutionsRoute, StoreError, limits};

use super::{
    decode::{Columns, timestamp},
    executions::set_id,
    session::exact,
};
use crate::{
    arguments::Arguments,
    statement::{Meta, SqlFile, Statement},
};

/// One operation on either table.
pub(super) struct Pair {
    workflow: Meta,
    chasm: Meta,
}

const WORKFLOW: SqlFile =
    SqlFile::new(Table::CurrentExecutions, include_str!("../../sql/current_executions.sql"));
const CHASM: SqlFile = SqlFile::new(
    Table::CurrentChasmExecutions,
    include_str!("../../sql/current_chasm_executions.sql"),
);

const fn read(name: &'static str) -> Pair {
    Pair { workflow: WORKFLOW.read(name), chasm: CHASM.read(name) }
}

const fn write(name: &'static str) -> Pair {
    Pair { workflow: WORKFLOW.write(name), chasm: CHASM.write(name) }
}

pub(super) static INSERT: Pair = write("InsertIntoCurrentExecutions");
pub(super) static UPDATE: Pair = write("UpdateCurrentExecutions");
pub(super) static SELECT: Pair = read("SelectFromCurrentExecutions");
pub(super) static LOCK: Pair = read("LockCurrentExecutions");
/// Reads a row together with the `executions` row of its run.
pub(super) static SELECT_JOIN: Pair = {
    const NAME: &str = "SelectFromCurrentExecutionsJoinExecutions";
    const OP: &str = "LockCurrentExecutionsJoinExecutions";
    Pair {
        workflow: WORKFLOW.read(NAME).of_operation(OP),
        chasm: CHASM.read(NAME).of_operation(OP),
    }
};
static DELETE: Pair = write("DeleteFromCurrentExecutions");

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&INSERT, &UPDATE, &SELECT, &LOCK, &SELECT_JOIN, &DELETE]
        .into_iter()
        .flat_map(|pair| [&pair.workflow, &pair.chasm])
}

impl Pair {
    /// The statement for the table at `route`.
    pub(super) const fn meta(&'static self, route: CurrentExecutionsRoute) -> &'static Meta {
        match route {
            CurrentExecutionsRoute::CurrentExecutions => &self.workflow,
            CurrentExecutionsRoute::CurrentChasmExecutions { .. } => &self.chasm,
        }
    }
}

/// Sets `:archetype_id`, where the table has it.
fn set_archetype(arguments: &mut Arguments<'_>, route: CurrentExecutionsRoute) {
    if let CurrentExecutionsRoute::CurrentChasmExecutions { archetype_id: ArchetypeId(id) } = route
    {
        arguments.set("archetype_id", i64::from(id));
    }
}

/// The key of a row.
fn key_columns(route: CurrentExecutionsRoute, filter: &CurrentExecutionsFilter) -> Arguments<'_> {
    let mut arguments = Arguments::default();
    set_id(&mut arguments, filter.shard_id, filter.namespace_id, &filter.workflow_id);
    set_archetype(&mut arguments, route);
    arguments
}

/// A statement whose parameters are the key of a row.
pub(super) fn by_key(
    operation: &'static Pair,
    route: CurrentExecutionsRoute,
    filter: &CurrentExecutionsFilter,
) -> Statement {
    exact(operation.meta(route), filter.shard_id, &key_columns(route, filter))
}

/// Sets `:current_run_id` and the columns behind it, of either table; NULL where there is no row.
pub(super) fn set_row<'a>(arguments: &mut Arguments<'a>, row: Option<&'a CurrentExecutionsRow>) {
    let create_request_id = row.map(|row| row.create_request_id.as_str());
    let start_time = row.and_then(|row| row.start_time).map(timestamp);
    arguments.set("current_run_id", row.map(|row| row.run_id.0));
    arguments.set("current_create_request_id", create_request_id);
    arguments.set("current_state", row.map(|row| row.state.number()));
    arguments.set("current_status", row.map(|row| row.status.number()));
    arguments.set("current_start_time", start_time);
    arguments.set("current_last_write_version", row.map(|row| row.last_write_version));
    arguments.set("current_data", row.and_then(|row| row.data.as_deref()));
    arguments.set("current_data_encoding", row.map(|row| row.data_encoding.as_str()));
}

/// The statement [`INSERT`] or [`UPDATE`] for one row.
pub(super) fn of_row(
    operation: &'static Pair,
    route: CurrentExecutionsRoute,
    row: &CurrentExecutionsRow,
) -> Result<Statement, StoreError> {
    limits::check_current_executions_row(row, route.table())?;
    let mut arguments = Arguments::default();
    set_id(&mut arguments, row.shard_id, row.namespace_id, &row.workflow_id);
    set_archetype(&mut arguments, route);
    set_row(&mut arguments, Some(row));
    Ok(exact(operation.meta(route), row.shard_id, &arguments))
}

/// The statement that deletes a row if its run is `run_id`.
pub(super) fn delete(
    route: CurrentExecutionsRoute,
    filter: &CurrentExecutionsFilter,
    run_id: RunId,
) -> Statement {
    let mut arguments = key_columns(route, filter);
    arguments.set("run_id", run_id.0);
    exact(DELETE.meta(route), filter.shard_id, &arguments)
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
