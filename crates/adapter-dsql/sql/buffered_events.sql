-- buffered_events: the events of a run that wait for its workflow task to end.

-- Appends to the buffers of any runs of one id. An id is a position (the upper 16 bits) and a
-- random number (the lower 48; 281474976710656 is 2 to the power of 48). New positions of a run
-- follow its largest one.
-- name: InsertIntoBufferedEvents
INSERT INTO buffered_events (
  shard_id, namespace_id, workflow_id, run_id, id, data, data_encoding
)
SELECT
  :shard_id, :namespace_id, :workflow_id::text, event.run_id,
  (
    SELECT coalesce(max(buffered.id), 0) / 281474976710656
    FROM buffered_events AS buffered
    WHERE buffered.shard_id = :shard_id
      AND buffered.namespace_id = :namespace_id
      AND buffered.workflow_id = :workflow_id
      AND buffered.run_id = event.run_id
  ) * 281474976710656 + event.relative_id,
  event.data, event.data_encoding
FROM UNNEST(
  :buffered_events_run_id::uuid[],
  :buffered_events_relative_id::bigint[],
  :buffered_events_data::bytea[],
  :buffered_events_data_encoding::text[]
) AS event (run_id, relative_id, data, data_encoding);

-- name: SelectFromBufferedEvents
SELECT data, data_encoding
FROM buffered_events
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
ORDER BY id;

-- name: DeleteFromBufferedEvents
DELETE FROM buffered_events
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id >= (:cleared_run_ids::uuid[])[1]
  AND run_id <= (:cleared_run_ids::uuid[])[cardinality(:cleared_run_ids::uuid[])]
  AND run_id = ANY(:cleared_run_ids::uuid[]);

-- The first events of one run, at most as many as the limit.
-- name: DeleteSomeFromBufferedEvents
DELETE FROM buffered_events
WHERE shard_id = :shard_id
  AND namespace_id = :namespace_id
  AND workflow_id = :workflow_id
  AND run_id = :run_id
  AND id <= (
    SELECT max(id)
    FROM (
      SELECT id
      FROM buffered_events
      WHERE shard_id = :shard_id
        AND namespace_id = :namespace_id
        AND workflow_id = :workflow_id
        AND run_id = :run_id
      ORDER BY id
      LIMIT :limit
    ) AS first
  );
