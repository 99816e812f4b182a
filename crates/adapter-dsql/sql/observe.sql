-- The rows of the conditions of a write set, and the tables in which it removes rows, for servers
-- that refuse `Apply`: one statement inside a transaction. It locks no rows: those that the write
-- set writes conflict with any other write, and the others are locked one by one.

-- name: Observe
WITH current AS (
  SELECT shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time,
    last_write_version, data, data_encoding
  FROM current_executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :current_workflow_id
  UNION ALL
  SELECT shard_id, namespace_id, business_id, run_id, create_request_id, state, status, start_time,
    last_write_version, data, data_encoding
  FROM current_chasm_executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND business_id = :current_business_id
    AND archetype_id = :archetype_id
),
current_run AS (
  SELECT db_record_version, next_event_id, last_write_version
  FROM executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id = (SELECT run_id FROM current)
),
run AS (
  SELECT run_id, db_record_version, next_event_id, last_write_version
  FROM executions
  WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
    AND run_id >= (:observed_run_ids::uuid[])[1]
    AND run_id <= (:observed_run_ids::uuid[])[cardinality(:observed_run_ids::uuid[])]
    AND run_id = ANY(:observed_run_ids::uuid[])
),
-- Whether the replaced runs have rows that the write set does not write, by table.
removable AS (
  SELECT
    EXISTS (
      SELECT 1
      FROM activity_info_maps AS entry
      WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
        AND entry.workflow_id = :workflow_id
        AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
        AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
        AND entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.schedule_id) NOT IN (
          SELECT * FROM UNNEST(
            :activity_info_maps_run_id::uuid[],
            :activity_info_maps_schedule_id::bigint[]
          )
        )
    ) AS activity_info_maps,
    EXISTS (
      SELECT 1
      FROM timer_info_maps AS entry
      WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
        AND entry.workflow_id = :workflow_id
        AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
        AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
        AND entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.timer_id) NOT IN (
          SELECT * FROM UNNEST(
            :timer_info_maps_run_id::uuid[],
            :timer_info_maps_timer_id::text[]
          )
        )
    ) AS timer_info_maps,
    EXISTS (
      SELECT 1
      FROM child_execution_info_maps AS entry
      WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
        AND entry.workflow_id = :workflow_id
        AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
        AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
        AND entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.initiated_id) NOT IN (
          SELECT * FROM UNNEST(
            :child_execution_info_maps_run_id::uuid[],
            :child_execution_info_maps_initiated_id::bigint[]
          )
        )
    ) AS child_execution_info_maps,
    EXISTS (
      SELECT 1
      FROM request_cancel_info_maps AS entry
      WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
        AND entry.workflow_id = :workflow_id
        AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
        AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
        AND entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.initiated_id) NOT IN (
          SELECT * FROM UNNEST(
            :request_cancel_info_maps_run_id::uuid[],
            :request_cancel_info_maps_initiated_id::bigint[]
          )
        )
    ) AS request_cancel_info_maps,
    EXISTS (
      SELECT 1
      FROM signal_info_maps AS entry
      WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
        AND entry.workflow_id = :workflow_id
        AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
        AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
        AND entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.initiated_id) NOT IN (
          SELECT * FROM UNNEST(
            :signal_info_maps_run_id::uuid[],
            :signal_info_maps_initiated_id::bigint[]
          )
        )
    ) AS signal_info_maps,
    EXISTS (
      SELECT 1
      FROM signals_requested_sets AS entry
      WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
        AND entry.workflow_id = :workflow_id
        AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
        AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
        AND entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.signal_id) NOT IN (
          SELECT * FROM UNNEST(
            :signals_requested_sets_run_id::uuid[],
            :signals_requested_sets_signal_id::text[]
          )
        )
    ) AS signals_requested_sets,
    EXISTS (
      SELECT 1
      FROM chasm_node_maps AS entry
      WHERE entry.shard_id = :shard_id AND entry.namespace_id = :namespace_id
        AND entry.workflow_id = :workflow_id
        AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
        AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
        AND entry.run_id = ANY(:replaced_run_ids::uuid[])
        AND (entry.run_id, entry.chasm_path) NOT IN (
          SELECT * FROM UNNEST(
            :chasm_node_maps_run_id::uuid[],
            :chasm_node_maps_chasm_path::text[]
          )
        )
    ) AS chasm_node_maps,
    EXISTS (
      SELECT 1
      FROM buffered_events
      WHERE shard_id = :shard_id AND namespace_id = :namespace_id AND workflow_id = :workflow_id
        AND run_id >= (:replaced_run_ids::uuid[])[1]
        AND run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
        AND run_id = ANY(:replaced_run_ids::uuid[])
    ) AS buffered_events
)
SELECT current.shard_id, current.namespace_id, current.workflow_id, current.run_id,
  current.create_request_id, current.state, current.status, current.start_time,
  current.last_write_version, current.data, current.data_encoding,
  current_run.db_record_version AS current_db_record_version,
  current_run.next_event_id AS current_next_event_id,
  current_run.last_write_version AS current_run_last_write_version,
  run.run_id AS observed_run_id, run.db_record_version, run.next_event_id,
  run.last_write_version AS run_last_write_version,
  removable.*
FROM removable
LEFT JOIN current ON true
LEFT JOIN current_run ON true
LEFT JOIN run ON true;
