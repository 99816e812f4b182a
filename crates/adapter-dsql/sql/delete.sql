-- An act that deletes runs and does nothing else, as one statement: `Apply` with the parts that it
-- has no use for left out. No condition guards it. It answers as `Apply` does.

-- name: Delete
WITH executions_deleted AS (
  DELETE FROM executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
),
activity_info_maps_deleted AS (
  DELETE FROM activity_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
),
timer_info_maps_deleted AS (
  DELETE FROM timer_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
),
child_execution_info_maps_deleted AS (
  DELETE FROM child_execution_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
),
request_cancel_info_maps_deleted AS (
  DELETE FROM request_cancel_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
),
signal_info_maps_deleted AS (
  DELETE FROM signal_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
),
signals_requested_sets_deleted AS (
  DELETE FROM signals_requested_sets
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
),
chasm_node_maps_deleted AS (
  DELETE FROM chasm_node_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
),
buffered_events_deleted AS (
  DELETE FROM buffered_events
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:deleted_run_ids::uuid[])[1]
    AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
    AND run_id = ANY(:deleted_run_ids::uuid[])
)
SELECT true AS holds, 0::bigint AS runs_written, 0::bigint AS current_written,
  0::bigint AS tasks_written;
