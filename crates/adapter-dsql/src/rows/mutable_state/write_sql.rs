//! The texts that write one run, its current execution, maps, buffer and tasks in one statement:
//! data-modifying statements in WITH.
//!
//! # Three texts
//! - [`NEW`] inserts a run, which has nothing to remove.
//! - [`UPDATE`] overwrites a run and removes entries by their keys.
//! - [`REPLACE`] overwrites a run and removes what is not written, from some or all of its maps.
//!   It reads those maps whole, which is why an update by keys has a text of its own.
//!
//! Parts that a write has no use for get empty arrays or a false flag, and touch nothing. A text
//! for each combination of parts would save the server some planning and cost every connection
//! a round trip for each text that it has not seen yet.
//!
//! # One snapshot
//! The parts of a statement do not see each other's work, run in any order, and must not touch a
//! row twice. So a part that removes and the one that writes the same table have no row in common:
//! of the entries, only those are bound whose keys are not removed, and where all others are removed,
//! those that are written stay and are overwritten. The buffer's part that appends reads the ids
//! that are there before, and does without them if the buffer is cleared.

use temporal_dsql_domain::Table;

use crate::statement::Meta;

/// `$12` to `$27`: the current execution, and for which of the four parts it is.
macro_rules! write_current {
    () => {
        "inserted_workflow AS (INSERT INTO current_executions (shard_id, namespace_id, \
         workflow_id, run_id, create_request_id, state, status, start_time, last_write_version, \
         data, data_encoding) \
         SELECT $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22 WHERE $24 RETURNING 1), \
         updated_workflow AS (UPDATE current_executions SET run_id = $15, \
         create_request_id = $16, state = $17, status = $18, start_time = $19, \
         last_write_version = $20, data = $21, data_encoding = $22 WHERE shard_id = $12 \
         AND namespace_id = $13 AND workflow_id = $14 AND $25 RETURNING 1), \
         inserted_chasm AS (INSERT INTO current_chasm_executions (shard_id, namespace_id, \
         business_id, run_id, create_request_id, state, status, start_time, last_write_version, \
         data, data_encoding, archetype_id) \
         SELECT $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23 WHERE $26 \
         RETURNING 1), \
         updated_chasm AS (UPDATE current_chasm_executions SET run_id = $15, \
         create_request_id = $16, state = $17, status = $18, start_time = $19, \
         last_write_version = $20, data = $21, data_encoding = $22 WHERE shard_id = $12 \
         AND namespace_id = $13 AND business_id = $14 AND archetype_id = $23 AND $27 RETURNING 1)"
    };
}

/// `$28` to `$48`: the entries of the maps.
macro_rules! replace_entries {
    () => {
        concat!(
            "activities AS (",
            replace_blobs!("activity_info_maps", "schedule_id", "bigint", ["$28", "$29", "$30"]),
            "), timers AS (",
            replace_blobs!("timer_info_maps", "timer_id", "text", ["$31", "$32", "$33"]),
            "), child_executions AS (",
            replace_blobs!(
                "child_execution_info_maps", "initiated_id", "bigint", ["$34", "$35", "$36"]
            ),
            "), request_cancels AS (",
            replace_blobs!(
                "request_cancel_info_maps", "initiated_id", "bigint", ["$37", "$38", "$39"]
            ),
            "), signals AS (",
            replace_blobs!("signal_info_maps", "initiated_id", "bigint", ["$40", "$41", "$42"]),
            "), signals_requested AS (",
            replace_members!("signals_requested_sets", "signal_id", "text", ["$43"]),
            "), chasm_nodes AS (",
            replace_nodes!(
                "chasm_node_maps", "chasm_path", "text", ["$44", "$45", "$46", "$47", "$48"]
            ),
            ")"
        )
    };
}

/// `$52` to `$77`: the tasks.
macro_rules! insert_all_tasks {
    () => {
        concat!(
            "transfer AS (", insert_tasks!("transfer_tasks", ["$52", "$53", "$54"]),
            " RETURNING 1), visibility AS (",
            insert_tasks!("visibility_tasks", ["$55", "$56", "$57"]),
            " RETURNING 1), replication AS (",
            insert_tasks!("replication_tasks", ["$58", "$59", "$60"]),
            " RETURNING 1), replication_dlq AS (",
            insert_queued_tasks!(
                "replication_tasks_dlq", "source_cluster_name": "text", ["$61", "$62", "$63", "$64"]
            ),
            " RETURNING 1), immediate AS (",
            insert_queued_tasks!(
                "history_immediate_tasks", "category_id": "integer", ["$65", "$66", "$67", "$68"]
            ),
            " RETURNING 1), timer AS (", insert_timer_tasks!(["$69", "$70", "$71", "$72"]),
            " RETURNING 1), scheduled AS (",
            insert_scheduled_tasks!(["$73", "$74", "$75", "$76", "$77"]), " RETURNING 1)"
        )
    };
}

/// How many rows were written, where that says whether it was right.
macro_rules! counts {
    () => {
        "SELECT (SELECT count(*) FROM run) AS run, \
         (SELECT count(*) FROM inserted_workflow) + (SELECT count(*) FROM updated_workflow) \
         + (SELECT count(*) FROM inserted_chasm) + (SELECT count(*) FROM updated_chasm) \
         AS current, \
         (SELECT count(*) FROM transfer) + (SELECT count(*) FROM visibility) \
         + (SELECT count(*) FROM replication) + (SELECT count(*) FROM replication_dlq) \
         + (SELECT count(*) FROM immediate) + (SELECT count(*) FROM timer) \
         + (SELECT count(*) FROM scheduled) AS tasks"
    };
}

/// `$5` to `$11`: the rest of the row of a run.
macro_rules! update_run {
    () => {
        concat!(
            "run AS (UPDATE executions SET next_event_id = $5, last_write_version = $6, \
             data = $7, data_encoding = $8, state = $9, state_encoding = $10, \
             db_record_version = $11 WHERE ", of_run!(), " RETURNING 1)"
        )
    };
}

/// `$49` to `$51`: events to append. `$85` says whether the buffer is cleared, in which case the
/// places start again.
macro_rules! write_buffer {
    () => {
        concat!(
            "cleared AS (", delete_entries!("buffered_events", "$85"), "), buffered AS (",
            append_events!(
                "CASE WHEN $85 THEN 0 ELSE coalesce(max(id), 0) END", ["$49", "$50", "$51"]
            ),
            ")"
        )
    };
}

/// Deletes entries by their keys; or, if `$all` says so, all but those that are written.
macro_rules! remove {
    ($table:literal, $key:literal: $type:literal, $removed:literal) => {
        delete_entries!($table, concat!($key, " = ANY(", $removed, "::", $type, "[])"))
    };
    (
        $table:literal, $key:literal: $type:literal, $removed:literal,
        or all but $written:literal if $all:literal
    ) => {
        delete_entries!(
            $table,
            concat!(
                "(", $key, " = ANY(", $removed, "::", $type, "[]) OR (", $all, " AND ", $key,
                " <> ALL(", $written, "::", $type, "[])))"
            )
        )
    };
}

/// `$78` to `$84`: keys of entries to remove.
macro_rules! remove_keys {
    () => {
        concat!(
            "removed_activities AS (",
            remove!("activity_info_maps", "schedule_id": "bigint", "$78"),
            "), removed_timers AS (",
            remove!("timer_info_maps", "timer_id": "text", "$79"),
            "), removed_child_executions AS (",
            remove!("child_execution_info_maps", "initiated_id": "bigint", "$80"),
            "), removed_request_cancels AS (",
            remove!("request_cancel_info_maps", "initiated_id": "bigint", "$81"),
            "), removed_signals AS (",
            remove!("signal_info_maps", "initiated_id": "bigint", "$82"),
            "), removed_signals_requested AS (",
            remove!("signals_requested_sets", "signal_id": "text", "$83"),
            "), removed_chasm_nodes AS (",
            remove!("chasm_node_maps", "chasm_path": "text", "$84"),
            ")"
        )
    };
}

/// The same, and `$86` to `$92`: whether all that is not written is removed.
macro_rules! remove_others {
    () => {
        concat!(
            "removed_activities AS (",
            remove!("activity_info_maps", "schedule_id": "bigint", "$78", or all but "$28" if "$86"),
            "), removed_timers AS (",
            remove!("timer_info_maps", "timer_id": "text", "$79", or all but "$31" if "$87"),
            "), removed_child_executions AS (",
            remove!(
                "child_execution_info_maps", "initiated_id": "bigint", "$80", or all but "$34" if "$88"
            ),
            "), removed_request_cancels AS (",
            remove!(
                "request_cancel_info_maps", "initiated_id": "bigint", "$81", or all but "$37" if "$89"
            ),
            "), removed_signals AS (",
            remove!("signal_info_maps", "initiated_id": "bigint", "$82", or all but "$40" if "$90"),
            "), removed_signals_requested AS (",
            remove!("signals_requested_sets", "signal_id": "text", "$83", or all but "$43" if "$91"),
            "), removed_chasm_nodes AS (",
            remove!("chasm_node_maps", "chasm_path": "text", "$84", or all but "$44" if "$92"),
            ")"
        )
    };
}

const fn meta(op: &'static str, sql: &'static str) -> Meta {
    Meta { op, table: Table::Executions, writes: true, sql }
}

/// Writes a new run.
pub(super) static NEW: Meta = meta(
    "WriteNewExecution",
    concat!(
        "WITH run AS (INSERT INTO executions (", run_columns!(), ", next_event_id, \
         last_write_version, data, data_encoding, state, state_encoding, db_record_version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING 1), ", write_current!(),
        ", ", replace_entries!(), ", buffered AS (",
        append_events!("coalesce(max(id), 0)", ["$49", "$50", "$51"]), "), ", insert_all_tasks!(),
        " ", counts!()
    ),
);

/// Writes a run that exists, removing entries by their keys.
pub(super) static UPDATE: Meta = meta(
    "WriteExecution",
    concat!(
        "WITH ", update_run!(), ", ", write_current!(), ", ", remove_keys!(), ", ",
        replace_entries!(), ", ", write_buffer!(), ", ", insert_all_tasks!(), " ", counts!()
    ),
);

/// Writes a run that exists, removing from its maps what is not written.
pub(super) static REPLACE: Meta = meta(
    "ReplaceExecution",
    concat!(
        "WITH ", update_run!(), ", ", write_current!(), ", ", remove_others!(), ", ",
        replace_entries!(), ", ", write_buffer!(), ", ", insert_all_tasks!(), " ", counts!()
    ),
);

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 3] = [&NEW, &UPDATE, &REPLACE];
