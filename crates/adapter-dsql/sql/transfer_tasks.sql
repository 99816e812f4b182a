-- transfer_tasks: work to hand over to matching and to other executions.

-- name: InsertIntoTransferTasks
INSERT INTO transfer_tasks (shard_id, task_id, data, data_encoding)
SELECT :shard_id, task.task_id, task.data, task.data_encoding
FROM UNNEST(
  :transfer_tasks_task_id::bigint[],
  :transfer_tasks_data::bytea[],
  :transfer_tasks_data_encoding::text[]
) AS task (task_id, data, data_encoding);

-- name: RangeSelectFromTransferTasks
SELECT task_id, data, data_encoding
FROM transfer_tasks
WHERE shard_id = :shard_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
ORDER BY task_id
LIMIT :limit;

-- name: DeleteFromTransferTasks
DELETE FROM transfer_tasks
WHERE shard_id = :shard_id
  AND task_id = :task_id;

-- The first tasks of the range, at most as many as the limit.
-- name: RangeDeleteFromTransferTasks
DELETE FROM transfer_tasks
WHERE shard_id = :shard_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
  AND task_id <= (
    SELECT max(task_id)
    FROM (
      SELECT task_id
      FROM transfer_tasks
      WHERE shard_id = :shard_id
        AND task_id >= :min_task_id
        AND task_id < :end_task_id
      ORDER BY task_id
      LIMIT :limit
    ) AS first
  );
