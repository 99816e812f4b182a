-- timer_info_maps: the user timers of a run.

-- Rows of any runs of one id.
-- name: ReplaceIntoTimerInfoMaps
INSERT INTO timer_info_maps (
  shard_id, namespace_id, workflow_id, run_id, timer_id, data, data_encoding
)
SELECT
  :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.timer_id, entry.data,
  entry.data_encoding
FROM UNNEST(
  :timer_info_maps_run_id::uuid[],
  :timer_info_maps_timer_id::text[],
  :timer_info_maps_data::bytea[],
  :timer_info_maps_data_encoding::text[]
) AS entry (run_id, timer_id, data, data_encoding)
ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, timer_id) DO UPDATE
SET data = excluded.data, data_encoding = excluded.data_encoding;

-- name: SelectAllFromTimerInfoMaps
SELECT timer_id, data, data_encoding
FROM timer_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;

-- By the keys of the entries, in any runs of one id.
-- name: DeleteFromTimerInfoMaps
DELETE FROM timer_info_maps AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:timer_info_maps_removed_run_id::uuid[])[1]
  AND entry.run_id <= (:timer_info_maps_removed_run_id::uuid[])[
    cardinality(:timer_info_maps_removed_run_id::uuid[])
  ]
  AND entry.timer_id = ANY(:timer_info_maps_removed_timer_id::text[])
  AND ((entry.run_id, entry.timer_id) IN (
    SELECT removed.run_id, removed.timer_id
    FROM UNNEST(
      :timer_info_maps_removed_run_id::uuid[],
      :timer_info_maps_removed_timer_id::text[]
    ) AS removed (run_id, timer_id)
  )) IS TRUE;

-- All entries of the replaced runs but those that are written.
-- name: DeleteAllFromTimerInfoMaps
DELETE FROM timer_info_maps AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
  AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
  AND entry.run_id = ANY(:replaced_run_ids::uuid[])
  AND (entry.run_id, entry.timer_id) NOT IN (
    SELECT written.run_id, written.timer_id
    FROM UNNEST(
      :timer_info_maps_run_id::uuid[],
      :timer_info_maps_timer_id::text[]
    ) AS written (run_id, timer_id)
  );

-- The first entries of one run, at most as many as the limit.
-- name: DeleteSomeFromTimerInfoMaps
DELETE FROM timer_info_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
  AND timer_id <= (
    SELECT max(timer_id)
    FROM (
      SELECT timer_id
      FROM timer_info_maps
      WHERE shard_id = :shard_id
        AND namespace_id = :namespace_id
        AND workflow_id = :workflow_id
        AND run_id = :run_id
      ORDER BY timer_id
      LIMIT :limit
    ) AS first
  );
