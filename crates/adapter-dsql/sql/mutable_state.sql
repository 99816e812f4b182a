-- All rows of a run, from one snapshot.
--
-- The tables differ in their columns. So the answer has the columns of all of them, and `part`
-- identifies the table of a row. The client sorts the rows, because a sort on the server would
-- include the blobs.

-- name: SelectMutableState
SELECT
  -1 AS part, next_event_id AS id, NULL::text AS name, data, data_encoding,
  state AS other, state_encoding AS other_encoding, last_write_version, db_record_version
FROM executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
UNION ALL
SELECT 0, schedule_id, NULL, data, data_encoding, NULL, NULL, NULL, NULL
FROM activity_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
UNION ALL
SELECT 1, NULL, timer_id, data, data_encoding, NULL, NULL, NULL, NULL
FROM timer_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
UNION ALL
SELECT 2, initiated_id, NULL, data, data_encoding, NULL, NULL, NULL, NULL
FROM child_execution_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
UNION ALL
SELECT 3, initiated_id, NULL, data, data_encoding, NULL, NULL, NULL, NULL
FROM request_cancel_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
UNION ALL
SELECT 4, initiated_id, NULL, data, data_encoding, NULL, NULL, NULL, NULL
FROM signal_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
UNION ALL
SELECT 5, NULL, signal_id, NULL, NULL, NULL, NULL, NULL, NULL
FROM signals_requested_sets
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
UNION ALL
SELECT 6, NULL, chasm_path, data, data_encoding, metadata, metadata_encoding, NULL, NULL
FROM chasm_node_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
UNION ALL
SELECT 7, id, NULL, data, data_encoding, NULL, NULL, NULL, NULL
FROM buffered_events
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;
