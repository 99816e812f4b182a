-- tasks_v2: the tasks of fair task queues, in the order of their passes and ids.
--
-- A range begins and ends at a key of two columns. DSQL turns a comparison of rows into a filter over
-- the whole queue (aurora-dsql.md#indexes). So the pass bounds the range, and the id filters only
-- the tasks of its first and last pass.

-- Tasks of any queues.
-- name: InsertIntoTasksV2
INSERT INTO tasks_v2 (
  range_hash, task_queue_id, pass, task_id, data, data_encoding
)
SELECT
  task.range_hash, task.task_queue_id, task.pass, task.task_id, task.data, task.data_encoding
FROM UNNEST(
  :tasks_v2_range_hash::bigint[],
  :tasks_v2_task_queue_id::uuid[],
  :tasks_v2_pass::bigint[],
  :tasks_v2_task_id::bigint[],
  :tasks_v2_data::bytea[],
  :tasks_v2_data_encoding::text[]
) AS task (range_hash, task_queue_id, pass, task_id, data, data_encoding);

-- Tasks of the owner of a task queue. The row of the queue is locked and its range id compared in the
-- statement that inserts, so that a takeover conflicts with it.
-- name: CreateTasksV2
WITH lease AS (
  SELECT range_id
  FROM task_queues_v2
  WHERE range_hash = :range_hash
    AND task_queue_id = :task_queue_id
  FOR KEY SHARE
),
written AS (
  INSERT INTO tasks_v2 (
    range_hash, task_queue_id, pass, task_id, data, data_encoding
  )
  SELECT
    task.range_hash, task.task_queue_id, task.pass, task.task_id, task.data, task.data_encoding
  FROM UNNEST(
    :tasks_v2_range_hash::bigint[],
    :tasks_v2_task_queue_id::uuid[],
    :tasks_v2_pass::bigint[],
    :tasks_v2_task_id::bigint[],
    :tasks_v2_data::bytea[],
    :tasks_v2_data_encoding::text[]
  ) AS task (range_hash, task_queue_id, pass, task_id, data, data_encoding)
  WHERE EXISTS (SELECT 1 FROM lease WHERE range_id = :expected_range_id)
  RETURNING 1
)
SELECT
  (SELECT range_id FROM lease) AS range_id,
  (SELECT count(*) FROM written) AS tasks_written;

-- name: SelectFromTasksV2
SELECT pass, task_id, data, data_encoding
FROM tasks_v2
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
  AND pass >= :min_pass
  AND (pass > :min_pass OR task_id >= :min_task_id)
  AND pass <= :end_pass
  AND (pass < :end_pass OR task_id < :end_task_id)
ORDER BY pass, task_id
LIMIT :limit;

-- The first tasks below the end, at most as many as the limit. The id alone does not identify a task: a
-- task of a higher pass may have the same (temporal-persistence.md#fault-25).
-- name: DeleteFromTasksV2
DELETE FROM tasks_v2
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
  AND pass <= :end_pass
  AND (pass < :end_pass OR task_id < :end_task_id)
  AND pass <= (
    SELECT max(pass)
    FROM (
      SELECT pass, task_id
      FROM tasks_v2
      WHERE range_hash = :range_hash
        AND task_queue_id = :task_queue_id
        AND pass <= :end_pass
        AND (pass < :end_pass OR task_id < :end_task_id)
      ORDER BY pass, task_id
      LIMIT :limit
    ) AS first
  )
  AND (pass, task_id) <= (
    SELECT pass, task_id
    FROM (
      SELECT pass, task_id
      FROM tasks_v2
      WHERE range_hash = :range_hash
        AND task_queue_id = :task_queue_id
        AND pass <= :end_pass
        AND (pass < :end_pass OR task_id < :end_task_id)
      ORDER BY pass, task_id
      LIMIT :limit
    ) AS first
    ORDER BY pass DESC, task_id DESC
    LIMIT 1
  );
