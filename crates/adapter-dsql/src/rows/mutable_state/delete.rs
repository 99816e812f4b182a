//! Deleting everything that is stored for a run, in one statement.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ExecutionsFilter, Table};
use temporal_dsql_ports::StoreError;

use super::{super::executions::by_key, only_row};
use crate::statement::{Meta, Statement};

#[rustfmt::skip]
pub(super) static META: &Meta = &Meta {
    op: "DeleteMutableState",
    table: Table::Executions,
    writes: true,
    sql: concat!(
        "WITH activities AS (", delete_entries!("activity_info_maps"), "), \
         timers AS (", delete_entries!("timer_info_maps"), "), \
         child_executions AS (", delete_entries!("child_execution_info_maps"), "), \
         request_cancels AS (", delete_entries!("request_cancel_info_maps"), "), \
         signals AS (", delete_entries!("signal_info_maps"), "), \
         signals_requested AS (", delete_entries!("signals_requested_sets"), "), \
         chasm_nodes AS (", delete_entries!("chasm_node_maps"), "), \
         buffered AS (", delete_entries!("buffered_events"), "), \
         run AS (DELETE FROM executions WHERE ", of_run!(), " RETURNING 1) \
         SELECT count(*) AS run FROM run"
    ),
};

/// The statement.
pub(super) fn statement(run: &ExecutionsFilter) -> Statement {
    by_key(META, run)
}

/// How many rows of `executions` it deleted.
pub(super) fn decode(rows: &[PgRow]) -> Result<u64, StoreError> {
    Ok(only_row(META, rows)?.get::<i64>("run")?.unsigned_abs())
}
