-- current_executions: the current run of every workflow id.

-- name: InsertIntoCurrentExecutions
INSERT INTO current_executions (
  shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time,
  last_write_version, data, data_encoding
)
VALUES (
  :shard_id, :namespace_id, :workflow_id, :current_run_id, :current_create_request_id,
  :current_state, :current_status, :current_start_time, :current_last_write_version, :current_data,
  :current_data_encoding
);

-- name: UpdateCurrentExecutions
UPDATE current_executions
SET
  run_id = :current_run_id,
  create_request_id = :current_create_request_id,
  state = :current_state,
  status = :current_status,
  start_time = :current_start_time,
  last_write_version = :current_last_write_version,
  data = :current_data,
  data_encoding = :current_data_encoding
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id;

-- name: SelectFromCurrentExecutions
SELECT
  shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time,
  last_write_version, data, data_encoding
FROM current_executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id;

-- name: LockCurrentExecutions
SELECT
  shard_id, namespace_id, workflow_id, run_id, create_request_id, state, status, start_time,
  last_write_version, data, data_encoding
FROM current_executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
FOR UPDATE;

-- The version is that of the run. The sub-select is executed once and bounds the scan of executions
-- to the current run. A join by `run_id` can read all runs of the id.
-- name: SelectFromCurrentExecutionsJoinExecutions
SELECT
  c.shard_id, c.namespace_id, c.workflow_id, c.run_id, c.create_request_id, c.state, c.status,
  c.start_time, e.last_write_version, c.data, c.data_encoding
FROM current_executions AS c
INNER JOIN executions AS e
  ON e.shard_id = c.shard_id
  AND e.namespace_id = c.namespace_id
  AND e.workflow_id = c.workflow_id
  AND e.run_id = (
    SELECT run_id
    FROM current_executions
    WHERE shard_id = :shard_id
      AND namespace_id = :namespace_id
      AND workflow_id = :workflow_id
  )
WHERE c.shard_id = :shard_id
  AND c.namespace_id = :namespace_id
  AND c.workflow_id = :workflow_id;

-- name: DeleteFromCurrentExecutions
DELETE FROM current_executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;
