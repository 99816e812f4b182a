-- history_immediate_tasks: immediate tasks of a category without a table of its own.

-- name: InsertIntoHistoryImmediateTasks
INSERT INTO history_immediate_tasks (shard_id, category_id, task_id, data, data_encoding)
SELECT :shard_id, task.category_id, task.task_id, task.data, task.data_encoding
FROM UNNEST(
  :history_immediate_tasks_category_id::integer[],
  :history_immediate_tasks_task_id::bigint[],
  :history_immediate_tasks_data::bytea[],
  :history_immediate_tasks_data_encoding::text[]
) AS task (category_id, task_id, data, data_encoding);

-- name: RangeSelectFromHistoryImmediateTasks
SELECT task_id, data, data_encoding
FROM history_immediate_tasks
WHERE shard_id = :shard_id
  AND category_id = :category_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
ORDER BY task_id
LIMIT :limit;

-- name: DeleteFromHistoryImmediateTasks
DELETE FROM history_immediate_tasks
WHERE shard_id = :shard_id
  AND category_id = :category_id
  AND task_id = :task_id;

-- The first tasks of the range, at most as many as the limit.
-- name: RangeDeleteFromHistoryImmediateTasks
DELETE FROM history_immediate_tasks
WHERE shard_id = :shard_id
  AND category_id = :category_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
  AND task_id <= (
    SELECT max(task_id)
    FROM (
      SELECT task_id
      FROM history_immediate_tasks
      WHERE shard_id = :shard_id
        AND category_id = :category_id
        AND task_id >= :min_task_id
        AND task_id < :end_task_id
      ORDER BY task_id
      LIMIT :limit
    ) AS first
  );
