-- child_execution_info_maps: the pending child executions of a run.

-- Rows of any runs of one id.
-- name: ReplaceIntoChildExecutionInfoMaps
INSERT INTO child_execution_info_maps (
  shard_id, namespace_id, workflow_id, run_id, initiated_id, data, data_encoding
)
SELECT
  :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.initiated_id, entry.data,
  entry.data_encoding
FROM UNNEST(
  :child_execution_info_maps_run_id::uuid[],
  :child_execution_info_maps_initiated_id::bigint[],
  :child_execution_info_maps_data::bytea[],
  :child_execution_info_maps_data_encoding::text[]
) AS entry (run_id, initiated_id, data, data_encoding)
ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, initiated_id) DO UPDATE
SET data = excluded.data, data_encoding = excluded.data_encoding;

-- name: SelectAllFromChildExecutionInfoMaps
SELECT initiated_id, data, data_encoding
FROM child_execution_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;

-- By the keys of the entries, in any runs of one id.
-- name: DeleteFromChildExecutionInfoMaps
DELETE FROM child_execution_info_maps AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:child_execution_info_maps_removed_run_id::uuid[])[1]
  AND entry.run_id <= (:child_execution_info_maps_removed_run_id::uuid[])[
    cardinality(:child_execution_info_maps_removed_run_id::uuid[])
  ]
  AND entry.initiated_id = ANY(:child_execution_info_maps_removed_initiated_id::bigint[])
  AND ((entry.run_id, entry.initiated_id) IN (
    SELECT removed.run_id, removed.initiated_id
    FROM UNNEST(
      :child_execution_info_maps_removed_run_id::uuid[],
      :child_execution_info_maps_removed_initiated_id::bigint[]
    ) AS removed (run_id, initiated_id)
  )) IS TRUE;

-- All entries of the replaced runs but those that are written.
-- name: DeleteAllFromChildExecutionInfoMaps
DELETE FROM child_execution_info_maps AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
  AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
  AND entry.run_id = ANY(:replaced_run_ids::uuid[])
  AND (entry.run_id, entry.initiated_id) NOT IN (
    SELECT written.run_id, written.initiated_id
    FROM UNNEST(
      :child_execution_info_maps_run_id::uuid[],
      :child_execution_info_maps_initiated_id::bigint[]
    ) AS written (run_id, initiated_id)
  );

-- The first entries of one run, at most as many as the limit.
-- name: DeleteSomeFromChildExecutionInfoMaps
DELETE FROM child_execution_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
  AND initiated_id <= (
    SELECT max(initiated_id)
    FROM (
      SELECT initiated_id
      FROM child_execution_info_maps
      WHERE shard_id = :shard_id
        AND namespace_id = :namespace_id
        AND workflow_id = :workflow_id
        AND run_id = :run_id
      ORDER BY initiated_id
      LIMIT :limit
    ) AS first
  );
