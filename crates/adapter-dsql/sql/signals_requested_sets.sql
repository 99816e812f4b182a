-- signals_requested_sets: the ids of the signals that a run has received.

-- Rows of any runs of one id; an existing row is not changed.
-- name: ReplaceIntoSignalsRequestedSets
INSERT INTO signals_requested_sets (shard_id, namespace_id, workflow_id, run_id, signal_id)
SELECT :shard_id, :namespace_id, :workflow_id, entry.run_id, entry.signal_id
FROM UNNEST(
  :signals_requested_sets_run_id::uuid[],
  :signals_requested_sets_signal_id::text[]
) AS entry (run_id, signal_id)
ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, signal_id) DO NOTHING;

-- name: SelectAllFromSignalsRequestedSets
SELECT signal_id
FROM signals_requested_sets
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id;

-- By the keys of the entries, in any runs of one id.
-- name: DeleteFromSignalsRequestedSets
DELETE FROM signals_requested_sets AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:signals_requested_sets_removed_run_id::uuid[])[1]
  AND entry.run_id <= (:signals_requested_sets_removed_run_id::uuid[])[
    cardinality(:signals_requested_sets_removed_run_id::uuid[])
  ]
  AND entry.signal_id = ANY(:signals_requested_sets_removed_signal_id::text[])
  AND ((entry.run_id, entry.signal_id) IN (
    SELECT removed.run_id, removed.signal_id
    FROM UNNEST(
      :signals_requested_sets_removed_run_id::uuid[],
      :signals_requested_sets_removed_signal_id::text[]
    ) AS removed (run_id, signal_id)
  )) IS TRUE;

-- All entries of the replaced runs but those that are written.
-- name: DeleteAllFromSignalsRequestedSets
DELETE FROM signals_requested_sets AS entry
WHERE entry.shard_id = :shard_id
  AND entry.namespace_id = :namespace_id
  AND entry.workflow_id = :workflow_id
  AND entry.run_id >= (:replaced_run_ids::uuid[])[1]
  AND entry.run_id <= (:replaced_run_ids::uuid[])[cardinality(:replaced_run_ids::uuid[])]
  AND entry.run_id = ANY(:replaced_run_ids::uuid[])
  AND (entry.run_id, entry.signal_id) NOT IN (
    SELECT written.run_id, written.signal_id
    FROM UNNEST(
      :signals_requested_sets_run_id::uuid[],
      :signals_requested_sets_signal_id::text[]
    ) AS written (run_id, signal_id)
  );

-- The first entries of one run, at most as many as the limit.
-- name: DeleteSomeFromSignalsRequestedSets
DELETE FROM signals_requested_sets
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
  AND signal_id <= (
    SELECT max(signal_id)
    FROM (
      SELECT signal_id
      FROM signals_requested_sets
      WHERE shard_id = :shard_id
        AND namespace_id = :namespace_id
        AND workflow_id = :workflow_id
        AND run_id = :run_id
      ORDER BY signal_id
      LIMIT :limit
    ) AS first
  );
