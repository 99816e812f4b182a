-- activity_info_maps: the pending activities of a run.

-- Rows of any runs of one id.
-- name: ReplaceIntoActivityInfoMaps
INSERT INTO activity_info_maps (
  shard_id, namespace_id, workflow_id, run_id, schedule_id, data, data_encoding
)
SELECT
  :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.schedule_id, entry.data,
  entry.data_encoding
FROM UNNEST(
  :activity_info_maps_run_id::uuid[],
  :activity_info_maps_schedule_id::bigint[],
  :activity_info_maps_data::bytea[],
  :activity_info_maps_data_encoding::text[]
) AS entry (run_id, schedule_id, data, data_encoding)
ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, schedule_id) DO UPDATE
SET data = excluded.data, data_encoding = excluded.data_encoding;

-- name: SelectAllFromActivityInfoMaps
SELECT schedule_id, data, data_encoding
FROM activity_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;

-- By the keys of the entries, in any runs of one id.
-- name: DeleteFromActivityInfoMaps
DELETE FROM activity_info_maps AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:activity_info_maps_removed_run_id::uuid[])[1]
  AND entry.run_id <= (:activity_info_maps_removed_run_id::uuid[])[
    cardinality(:activity_info_maps_removed_run_id::uuid[])
  ]
  AND entry.schedule_id = ANY(:activity_info_maps_removed_schedule_id::bigint[])
  AND ((entry.run_id, entry.schedule_id) IN (
    SELECT removed.run_id, removed.schedule_id
    FROM UNNEST(
      :activity_info_maps_removed_run_id::uuid[],
      :activity_info_maps_removed_schedule_id::bigint[]
    ) AS removed (run_id, schedule_id)
  )) IS TRUE;

-- All entries of the replaced runs but those that are written.
-- name: DeleteAllFromActivityInfoMaps
DELETE FROM activity_info_maps AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
  AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
  AND entry.run_id = ANY(:replaced_run_ids::uuid[])
  AND (entry.run_id, entry.schedule_id) NOT IN (
    SELECT written.run_id, written.schedule_id
    FROM UNNEST(
      :activity_info_maps_run_id::uuid[],
      :activity_info_maps_schedule_id::bigint[]
    ) AS written (run_id, schedule_id)
  );

-- The first entries of one run, at most as many as the limit.
-- name: DeleteSomeFromActivityInfoMaps
DELETE FROM activity_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
  AND schedule_id <= (
    SELECT max(schedule_id)
    FROM (
      SELECT schedule_id
      FROM activity_info_maps
      WHERE shard_id = :shard_id
        AND namespace_id = :namespace_id
        AND workflow_id = :workflow_id
        AND run_id = :run_id
      ORDER BY schedule_id
      LIMIT :limit
    ) AS first
  );
