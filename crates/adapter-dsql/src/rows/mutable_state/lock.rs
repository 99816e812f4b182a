//! Taking all locks of a write in one statement: locking sub-selects in FROM.
//!
//! Outer joins, so that a row that is absent shows as NULL and hides nothing. Releases of DSQL
//! before August 2026 refuse a lock without equality on the whole key of one table (facts §1.4).
//!
//! PostgreSQL may take the locks in any order, so two writers of one shard can wait for each
//! other; one of them then loses a conflict (`40P01`). On DSQL nothing waits.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ExecutionVersion, ExecutionsFilter, RunId, Table};
use temporal_dsql_ports::{CurrentExecutionsRoute, Locked, Locks, StoreError};
use uuid::Uuid;

use super::super::{Columns, current_executions as current};
use crate::{
    fence::ShardGuard,
    statement::{Meta, Statement},
};

/// A lock of a shard and of runs; of a current execution, too, where `$source` says which.
#[rustfmt::skip]
macro_rules! lock {
    (@sql $guard:literal, $columns:literal, $source:literal) => {
        Meta {
            op: "LockForWrite",
            table: Table::Executions,
            writes: false,
            sql: concat!(
                "SELECT shard.range_id, run.run_id AS locked_run_id, run.db_record_version, \
                 run.next_event_id, run.run_last_write_version", $columns,
                " FROM (SELECT 1) AS request LEFT JOIN (SELECT range_id FROM shards \
                 WHERE shard_id = $1 ", $guard, ") AS shard ON true", $source,
                " LEFT JOIN (SELECT run_id, db_record_version, next_event_id, \
                 last_write_version AS run_last_write_version FROM executions \
                 WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 \
                 AND run_id = ANY($4::uuid[]) FOR UPDATE) AS run ON true"
            ),
        }
    };
    ($guard:literal) => {
        lock!(@sql $guard, "", "")
    };
    ($guard:literal, $source:literal) => {
        lock!(
            @sql $guard,
            ", current.shard_id, current.namespace_id, current.workflow_id, current.run_id, \
             current.create_request_id, current.state, current.status, current.start_time, \
             current.last_write_version, current.data, current.data_encoding",
            $source
        )
    };
}

/// One statement for each place where the current execution can be.
struct LockForWrite {
    without_current: Meta,
    workflow: Meta,
    chasm: Meta,
}

macro_rules! lock_for_write {
    ($guard:literal) => {
        LockForWrite {
            without_current: lock!($guard),
            workflow: lock!(
                $guard,
                " LEFT JOIN (SELECT shard_id, namespace_id, workflow_id, run_id, \
                 create_request_id, state, status, start_time, last_write_version, data, \
                 data_encoding FROM current_executions WHERE shard_id = $1 \
                 AND namespace_id = $5 AND workflow_id = $6 FOR UPDATE) AS current ON true"
            ),
            chasm: lock!(
                $guard,
                " LEFT JOIN (SELECT shard_id, namespace_id, business_id AS workflow_id, run_id, \
                 create_request_id, state, status, start_time, last_write_version, data, \
                 data_encoding FROM current_chasm_executions WHERE shard_id = $1 \
                 AND namespace_id = $5 AND business_id = $6 AND archetype_id = $7 FOR UPDATE) \
                 AS current ON true"
            ),
        }
    };
}

static FOR_UPDATE: LockForWrite = lock_for_write!("FOR UPDATE");
static FOR_KEY_SHARE: LockForWrite = lock_for_write!("FOR KEY SHARE");

const fn with(guard: ShardGuard) -> &'static LockForWrite {
    match guard {
        ShardGuard::ForUpdate => &FOR_UPDATE,
        ShardGuard::ForKeyShare => &FOR_KEY_SHARE,
    }
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&FOR_UPDATE, &FOR_KEY_SHARE]
        .into_iter()
        .flat_map(|lock| [&lock.without_current, &lock.workflow, &lock.chasm])
}

/// The statement that takes `locks`, whose current execution is at `route`; [`decode`] reads its
/// answer. `None` if they are not all of one shard and one id, which one statement cannot say.
pub(super) fn statement(
    locks: &Locks,
    route: Option<CurrentExecutionsRoute>,
    guard: ShardGuard,
) -> Option<Statement> {
    let shard_id = locks.shard_id;
    let id = |run: &ExecutionsFilter| (run.namespace_id, run.workflow_id.to_string());
    let (namespace_id, workflow_id) = locks.runs.first().map(id).unzip();
    let one_id = locks.runs.iter().all(|run| {
        run.shard_id == shard_id
            && Some(run.namespace_id) == namespace_id
            && Some(&*run.workflow_id) == workflow_id.as_deref()
    });
    if !one_id || locks.current.as_ref().is_some_and(|current| current.shard_id != shard_id) {
        return None;
    }
    let meta = match route {
        None => &with(guard).without_current,
        Some(CurrentExecutionsRoute::CurrentExecutions) => &with(guard).workflow,
        Some(CurrentExecutionsRoute::CurrentChasmExecutions { .. }) => &with(guard).chasm,
    };
    let run_ids: Vec<Uuid> = locks.runs.iter().map(|run| run.run_id.0).collect();
    let statement = Statement::new(meta, shard_id)
        .bind(shard_id.0)
        .bind(namespace_id.map_or(Uuid::nil(), |namespace_id| namespace_id.0))
        .bind(workflow_id.unwrap_or_default())
        .bind(run_ids);
    let statement = match (&locks.current, route) {
        (Some(current), Some(route)) => current::bind_archetype(
            statement.bind(current.namespace_id.0).bind(current.workflow_id.to_string()),
            route,
        ),
        _ => statement,
    };
    // The row that most others want: of the shard, if they are kept off it, or else of the id.
    Some(match (guard, &locks.current, route, locks.runs.first()) {
        (ShardGuard::ForUpdate, ..) => statement.locks(Table::Shards, shard_id),
        (ShardGuard::ForKeyShare, Some(current), Some(route), _) => {
            statement.locks(route.table(), current::key(route, current))
        }
        (ShardGuard::ForKeyShare, _, _, Some(run)) => statement.locks(Table::Executions, run),
        (ShardGuard::ForKeyShare, ..) => statement,
    })
}

/// Reads the answer of [`statement`]: one row for each run that exists, or one row without.
pub(super) fn decode(
    locks: &Locks,
    route: Option<CurrentExecutionsRoute>,
    rows: &[PgRow],
) -> Result<Locked, StoreError> {
    let first = rows.first().ok_or(StoreError::Corrupt {
        table: Table::Executions,
        column: "run_id",
        source: None,
    })?;
    let current = match route {
        Some(route) if is_there(route, first)? => Some(current::decode(route, first)?),
        _ => None,
    };
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.extend(decode_run(row)?);
    }
    // In the order in which they were asked for.
    let run = |filter: &ExecutionsFilter| found.iter().find(|(id, _)| *id == filter.run_id);
    Ok(Locked {
        range_id: Columns::new(Table::Shards, first).get("range_id")?,
        current,
        runs: locks.runs.iter().filter_map(run).copied().collect(),
    })
}

/// Whether the outer join found a current execution: its key is not NULL.
fn is_there(route: CurrentExecutionsRoute, row: &PgRow) -> Result<bool, StoreError> {
    Ok(Columns::new(route.table(), row).get::<Option<i32>>("shard_id")?.is_some())
}

fn decode_run(row: &PgRow) -> Result<Option<(RunId, ExecutionVersion)>, StoreError> {
    let columns = Columns::new(Table::Executions, row);
    let Some(run_id) = columns.get::<Option<Uuid>>("locked_run_id")? else {
        return Ok(None);
    };
    let version = ExecutionVersion {
        db_record_version: columns.get("db_record_version")?,
        next_event_id: columns.get("next_event_id")?,
        last_write_version: columns.get("run_last_write_version")?,
    };
    Ok(Some((RunId(run_id), version)))
}
