-- tasks: the tasks of normal task queues, in the order of their ids.

-- Tasks of any queues.
-- name: InsertIntoTasks
INSERT INTO tasks (
  range_hash, task_queue_id, task_id, data, data_encoding
)
SELECT
  task.range_hash, task.task_queue_id, task.task_id, task.data, task.data_encoding
FROM UNNEST(
  :tasks_range_hash::bigint[],
  :tasks_task_queue_id::uuid[],
  :tasks_task_id::bigint[],
  :tasks_data::bytea[],
  :tasks_data_encoding::text[]
) AS task (range_hash, task_queue_id, task_id, data, data_encoding);

-- Tasks of the owner of a task queue. The row of the queue is locked and its range id compared in the
-- statement that inserts, so that a takeover conflicts with it.
-- name: CreateTasks
WITH lease AS (
  SELECT range_id
  FROM task_queues
  WHERE range_hash = :range_hash
    AND task_queue_id = :task_queue_id
  FOR KEY SHARE
),
written AS (
  INSERT INTO tasks (
    range_hash, task_queue_id, task_id, data, data_encoding
  )
  SELECT
    task.range_hash, task.task_queue_id, task.task_id, task.data, task.data_encoding
  FROM UNNEST(
    :tasks_range_hash::bigint[],
    :tasks_task_queue_id::uuid[],
    :tasks_task_id::bigint[],
    :tasks_data::bytea[],
    :tasks_data_encoding::text[]
  ) AS task (range_hash, task_queue_id, task_id, data, data_encoding)
  WHERE EXISTS (SELECT 1 FROM lease WHERE range_id = :expected_range_id)
  RETURNING 1
)
SELECT
  (SELECT range_id FROM lease) AS range_id,
  (SELECT count(*) FROM written) AS tasks_written;

-- name: SelectFromTasks
SELECT task_id, data, data_encoding
FROM tasks
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
ORDER BY task_id
LIMIT :limit;

-- The first tasks below the end, at most as many as the limit.
-- name: DeleteFromTasks
DELETE FROM tasks
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
  AND task_id < :end_task_id
  AND task_id <= (
    SELECT max(task_id)
    FROM (
      SELECT task_id
      FROM tasks
      WHERE range_hash = :range_hash
        AND task_queue_id = :task_queue_id
        AND task_id < :end_task_id
      ORDER BY task_id
      LIMIT :limit
    ) AS first
  );
