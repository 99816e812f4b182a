-- The deletion of one run, as one statement. It has no condition. The answer has the columns of
-- `Apply` that are read if the conditions hold.

-- name: Delete
WITH executions_deleted AS (
  DELETE FROM executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
),
activity_info_maps_deleted AS (
  DELETE FROM activity_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
),
timer_info_maps_deleted AS (
  DELETE FROM timer_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
),
child_execution_info_maps_deleted AS (
  DELETE FROM child_execution_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
),
request_cancel_info_maps_deleted AS (
  DELETE FROM request_cancel_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
),
signal_info_maps_deleted AS (
  DELETE FROM signal_info_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
),
signals_requested_sets_deleted AS (
  DELETE FROM signals_requested_sets
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
),
chasm_node_maps_deleted AS (
  DELETE FROM chasm_node_maps
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
),
buffered_events_deleted AS (
  DELETE FROM buffered_events
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = :run_id
)
SELECT true AS holds, 0::bigint AS runs_written, 0::bigint AS current_written,
  0::bigint AS tasks_written;
