-- visibility_tasks: changes to send to the visibility store.

-- name: InsertIntoVisibilityTasks
INSERT INTO visibility_tasks (shard_id, task_id, data, data_encoding)
SELECT :shard_id, task.task_id, task.data, task.data_encoding
FROM UNNEST(
  :visibility_tasks_task_id::bigint[],
  :visibility_tasks_data::bytea[],
  :visibility_tasks_data_encoding::text[]
) AS task (task_id, data, data_encoding);

-- name: RangeSelectFromVisibilityTasks
SELECT task_id, data, data_encoding
FROM visibility_tasks
WHERE shard_id = :shard_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
ORDER BY task_id
LIMIT :limit;

-- name: DeleteFromVisibilityTasks
DELETE FROM visibility_tasks
WHERE shard_id = :shard_id
  AND task_id = :task_id;

-- The first tasks of the range, at most as many as the limit.
-- name: RangeDeleteFromVisibilityTasks
DELETE FROM visibility_tasks
WHERE shard_id = :shard_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
  AND task_id <= (
    SELECT max(task_id)
    FROM (
      SELECT task_id
      FROM visibility_tasks
      WHERE shard_id = :shard_id
        AND task_id >= :min_task_id
        AND task_id < :end_task_id
      ORDER BY task_id
      LIMIT :limit
    ) AS first
  );
