-- executions: the mutable state of every run.

-- name: InsertIntoExecutions
INSERT INTO executions (
  shard_id, namespace_id, workflow_id, run_id, next_event_id, last_write_version, data,
  data_encoding, state, state_encoding, db_record_version
)
SELECT
  :shard_id, :namespace_id, :workflow_id, run.run_id, run.next_event_id, run.last_write_version,
  run.data, run.data_encoding, run.state, run.state_encoding, run.db_record_version
FROM UNNEST(
  :executions_run_id::uuid[],
  :executions_next_event_id::bigint[],
  :executions_last_write_version::bigint[],
  :executions_data::bytea[],
  :executions_data_encoding::text[],
  :executions_state::bytea[],
  :executions_state_encoding::text[],
  :executions_db_record_version::bigint[]
) AS run (
  run_id, next_event_id, last_write_version, data, data_encoding, state, state_encoding,
  db_record_version
);

-- name: DeleteAllFromExecutions
DELETE FROM executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id >= (:deleted_run_ids::uuid[])[1]
  AND run_id <= (:deleted_run_ids::uuid[])[cardinality(:deleted_run_ids::uuid[])]
  AND run_id = ANY(:deleted_run_ids::uuid[]);

-- name: UpdateExecutions
UPDATE executions AS run
SET
  next_event_id = written.next_event_id,
  last_write_version = written.last_write_version,
  data = written.data,
  data_encoding = written.data_encoding,
  state = written.state,
  state_encoding = written.state_encoding,
  db_record_version = written.db_record_version
FROM UNNEST(
  :executions_run_id::uuid[],
  :executions_next_event_id::bigint[],
  :executions_last_write_version::bigint[],
  :executions_data::bytea[],
  :executions_data_encoding::text[],
  :executions_state::bytea[],
  :executions_state_encoding::text[],
  :executions_db_record_version::bigint[]
) AS written (
  run_id, next_event_id, last_write_version, data, data_encoding, state, state_encoding,
  db_record_version
)
WHERE run.shard_id = :shard_id
  AND run.namespace_id = :namespace_id
  AND run.workflow_id = :workflow_id
  AND run.run_id >= (:executions_run_id::uuid[])[1]
  AND run.run_id <= (:executions_run_id::uuid[])[cardinality(:executions_run_id::uuid[])]
  AND run.run_id = written.run_id;

-- name: SelectFromExecutions
SELECT
  shard_id, namespace_id, workflow_id, run_id, next_event_id, last_write_version, data,
  data_encoding, state, state_encoding, db_record_version
FROM executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;

-- name: DeleteFromExecutions
DELETE FROM executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;

-- name: SelectVersionFromExecutions
SELECT db_record_version, next_event_id, last_write_version
FROM executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;

-- FOR UPDATE, for a reader as for a writer: DSQL refuses FOR SHARE (aurora-dsql.md#locks), and FOR
-- KEY SHARE does not conflict with an update of these columns (aurora-dsql.md#conflict-matrix). One
-- table and equality on the whole key, so that releases of DSQL before August 2026 accept it.
-- name: LockExecutions
SELECT db_record_version, next_event_id, last_write_version
FROM executions
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
FOR UPDATE;
