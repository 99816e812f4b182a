-- chasm_node_maps: the component tree of a run.

-- Rows of any runs of one id.
-- name: ReplaceIntoChasmNodeMaps
INSERT INTO chasm_node_maps (
  shard_id, namespace_id, workflow_id, run_id, chasm_path, metadata, metadata_encoding, data,
  data_encoding
)
SELECT
  :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.chasm_path, entry.metadata,
  entry.metadata_encoding, entry.data, entry.data_encoding
FROM UNNEST(
  :chasm_node_maps_run_id::uuid[],
  :chasm_node_maps_chasm_path::text[],
  :chasm_node_maps_metadata::bytea[],
  :chasm_node_maps_metadata_encoding::text[],
  :chasm_node_maps_data::bytea[],
  :chasm_node_maps_data_encoding::text[]
) AS entry (run_id, chasm_path, metadata, metadata_encoding, data, data_encoding)
ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, chasm_path) DO UPDATE
SET
  metadata = excluded.metadata,
  metadata_encoding = excluded.metadata_encoding,
  data = excluded.data,
  data_encoding = excluded.data_encoding;

-- name: SelectAllFromChasmNodeMaps
SELECT chasm_path, metadata, metadata_encoding, data, data_encoding
FROM chasm_node_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;

-- By the keys of the entries, in any runs of one id.
-- name: DeleteFromChasmNodeMaps
DELETE FROM chasm_node_maps AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:chasm_node_maps_removed_run_id::uuid[])[1]
  AND entry.run_id <= (:chasm_node_maps_removed_run_id::uuid[])[
    cardinality(:chasm_node_maps_removed_run_id::uuid[])
  ]
  AND entry.chasm_path = ANY(:chasm_node_maps_removed_chasm_path::text[])
  AND ((entry.run_id, entry.chasm_path) IN (
    SELECT removed.run_id, removed.chasm_path
    FROM UNNEST(
      :chasm_node_maps_removed_run_id::uuid[],
      :chasm_node_maps_removed_chasm_path::text[]
    ) AS removed (run_id, chasm_path)
  )) IS TRUE;

-- All entries of the replaced runs but those that are written.
-- name: DeleteAllFromChasmNodeMaps
DELETE FROM chasm_node_maps AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
  AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
  AND entry.run_id = ANY(:replaced_run_ids::uuid[])
  AND (entry.run_id, entry.chasm_path) NOT IN (
    SELECT written.run_id, written.chasm_path
    FROM UNNEST(
      :chasm_node_maps_run_id::uuid[],
      :chasm_node_maps_chasm_path::text[]
    ) AS written (run_id, chasm_path)
  );

-- The first entries of one run, at most as many as the limit.
-- name: DeleteSomeFromChasmNodeMaps
DELETE FROM chasm_node_maps
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
  AND chasm_path <= (
    SELECT max(chasm_path)
    FROM (
      SELECT chasm_path
      FROM chasm_node_maps
      WHERE shard_id = :shard_id
        AND namespace_id = :namespace_id
        AND workflow_id = :workflow_id
        AND run_id = :run_id
      ORDER BY chasm_path
      LIMIT :limit
    ) AS first
  );
