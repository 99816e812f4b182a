-- timer_tasks: timeouts and user timers.
--
-- A range that is read begins at a key of two columns. DSQL turns a comparison of rows into a
-- filter over the whole queue (aurora-dsql.md#indexes). So the time bounds the range, and the id
-- filters only the tasks of its first microsecond. A range that is deleted has times only.

-- name: InsertIntoTimerTasks
INSERT INTO timer_tasks (shard_id, visibility_timestamp, task_id, data, data_encoding)
SELECT :shard_id, task.visibility_timestamp, task.task_id, task.data, task.data_encoding
FROM UNNEST(
  :timer_tasks_visibility_timestamp::timestamp[],
  :timer_tasks_task_id::bigint[],
  :timer_tasks_data::bytea[],
  :timer_tasks_data_encoding::text[]
) AS task (visibility_timestamp, task_id, data, data_encoding);

-- name: RangeSelectFromTimerTasks
SELECT visibility_timestamp, task_id, data, data_encoding
FROM timer_tasks
WHERE shard_id = :shard_id
  AND visibility_timestamp >= :min_visibility_timestamp
  AND visibility_timestamp < :end_visibility_timestamp
  AND (visibility_timestamp > :min_visibility_timestamp OR task_id >= :min_task_id)
ORDER BY visibility_timestamp, task_id
LIMIT :limit;

-- name: DeleteFromTimerTasks
DELETE FROM timer_tasks
WHERE shard_id = :shard_id
  AND visibility_timestamp = :visibility_timestamp
  AND task_id = :task_id;

-- The first tasks of the range, at most as many as the limit.
-- name: RangeDeleteFromTimerTasks
DELETE FROM timer_tasks
WHERE shard_id = :shard_id
  AND visibility_timestamp >= :min_visibility_timestamp
  AND visibility_timestamp < :end_visibility_timestamp
  AND visibility_timestamp <= (
    SELECT max(visibility_timestamp)
    FROM (
      SELECT visibility_timestamp, task_id
      FROM timer_tasks
      WHERE shard_id = :shard_id
        AND visibility_timestamp >= :min_visibility_timestamp
        AND visibility_timestamp < :end_visibility_timestamp
      ORDER BY visibility_timestamp, task_id
      LIMIT :limit
    ) AS first
  )
  AND (visibility_timestamp, task_id) <= (
    SELECT visibility_timestamp, task_id
    FROM (
      SELECT visibility_timestamp, task_id
      FROM timer_tasks
      WHERE shard_id = :shard_id
        AND visibility_timestamp >= :min_visibility_timestamp
        AND visibility_timestamp < :end_visibility_timestamp
      ORDER BY visibility_timestamp, task_id
      LIMIT :limit
    ) AS first
    ORDER BY visibility_timestamp DESC, task_id DESC
    LIMIT 1
  );
