-- history_scheduled_tasks: scheduled tasks of a category without a table of its own.
--
-- A range that is read begins at a key of two columns. DSQL turns a comparison of rows into a
-- filter over the whole queue (aurora-dsql.md#indexes). So the time bounds the range, and the id
-- filters only the tasks of its first microsecond. A range that is deleted has times only.

-- name: InsertIntoHistoryScheduledTasks
INSERT INTO history_scheduled_tasks (
  shard_id, category_id, visibility_timestamp, task_id, data, data_encoding
)
SELECT
  :shard_id, task.category_id, task.visibility_timestamp, task.task_id, task.data,
  task.data_encoding
FROM UNNEST(
  :history_scheduled_tasks_category_id::integer[],
  :history_scheduled_tasks_visibility_timestamp::timestamp[],
  :history_scheduled_tasks_task_id::bigint[],
  :history_scheduled_tasks_data::bytea[],
  :history_scheduled_tasks_data_encoding::text[]
) AS task (category_id, visibility_timestamp, task_id, data, data_encoding);

-- name: RangeSelectFromHistoryScheduledTasks
SELECT visibility_timestamp, task_id, data, data_encoding
FROM history_scheduled_tasks
WHERE shard_id = :shard_id
  AND category_id = :category_id
  AND visibility_timestamp >= :min_visibility_timestamp
  AND visibility_timestamp < :end_visibility_timestamp
  AND (visibility_timestamp > :min_visibility_timestamp OR task_id >= :min_task_id)
ORDER BY visibility_timestamp, task_id
LIMIT :limit;

-- name: DeleteFromHistoryScheduledTasks
DELETE FROM history_scheduled_tasks
WHERE shard_id = :shard_id
  AND category_id = :category_id
  AND visibility_timestamp = :visibility_timestamp
  AND task_id = :task_id;

-- The first tasks of the range, at most as many as the limit.
-- name: RangeDeleteFromHistoryScheduledTasks
DELETE FROM history_scheduled_tasks
WHERE shard_id = :shard_id
  AND category_id = :category_id
  AND visibility_timestamp >= :min_visibility_timestamp
  AND visibility_timestamp < :end_visibility_timestamp
  AND visibility_timestamp <= (
    SELECT max(visibility_timestamp)
    FROM (
      SELECT visibility_timestamp, task_id
      FROM history_scheduled_tasks
      WHERE shard_id = :shard_id
        AND category_id = :category_id
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
      FROM history_scheduled_tasks
      WHERE shard_id = :shard_id
        AND category_id = :category_id
        AND visibility_timestamp >= :min_visibility_timestamp
        AND visibility_timestamp < :end_visibility_timestamp
      ORDER BY visibility_timestamp, task_id
      LIMIT :limit
    ) AS first
    ORDER BY visibility_timestamp DESC, task_id DESC
    LIMIT 1
  );
