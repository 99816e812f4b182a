-- replication_tasks: changes to send to other clusters.

-- name: InsertIntoReplicationTasks
INSERT INTO replication_tasks (shard_id, task_id, data, data_encoding)
SELECT :shard_id, task.task_id, task.data, task.data_encoding
FROM UNNEST(
  :replication_tasks_task_id::bigint[],
  :replication_tasks_data::bytea[],
  :replication_tasks_data_encoding::text[]
) AS task (task_id, data, data_encoding);

-- name: RangeSelectFromReplicationTasks
SELECT task_id, data, data_encoding
FROM replication_tasks
WHERE shard_id = :shard_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
ORDER BY task_id
LIMIT :limit;

-- name: DeleteFromReplicationTasks
DELETE FROM replication_tasks
WHERE shard_id = :shard_id
  AND task_id = :task_id;

-- The first tasks of the range, at most as many as the limit.
-- name: RangeDeleteFromReplicationTasks
DELETE FROM replication_tasks
WHERE shard_id = :shard_id
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
  AND task_id <= (
    SELECT max(task_id)
    FROM (
      SELECT task_id
      FROM replication_tasks
      WHERE shard_id = :shard_id
        AND task_id >= :min_task_id
        AND task_id < :end_task_id
      ORDER BY task_id
      LIMIT :limit
    ) AS first
  );
