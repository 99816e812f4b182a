-- replication_tasks_dlq: changes of other clusters that could not be applied.

-- name: InsertIntoReplicationDLQTasks
INSERT INTO replication_tasks_dlq (shard_id, source_cluster_name, task_id, data, data_encoding)
SELECT :shard_id, task.source_cluster_name, task.task_id, task.data, task.data_encoding
FROM UNNEST(
  :replication_tasks_dlq_source_cluster_name::text[],
  :replication_tasks_dlq_task_id::bigint[],
  :replication_tasks_dlq_data::bytea[],
  :replication_tasks_dlq_data_encoding::text[]
) AS task (source_cluster_name, task_id, data, data_encoding);

-- name: RangeSelectFromReplicationDLQTasks
SELECT task_id, data, data_encoding
FROM replication_tasks_dlq
WHERE shard_id = :shard_id
  AND source_cluster_name = :source_cluster_name
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
ORDER BY task_id
LIMIT :limit;

-- name: DeleteFromReplicationDLQTasks
DELETE FROM replication_tasks_dlq
WHERE shard_id = :shard_id
  AND source_cluster_name = :source_cluster_name
  AND task_id = :task_id;

-- The first tasks of the range, at most as many as the limit.
-- name: RangeDeleteFromReplicationDLQTasks
DELETE FROM replication_tasks_dlq
WHERE shard_id = :shard_id
  AND source_cluster_name = :source_cluster_name
  AND task_id >= :min_task_id
  AND task_id < :end_task_id
  AND task_id <= (
    SELECT max(task_id)
    FROM (
      SELECT task_id
      FROM replication_tasks_dlq
      WHERE shard_id = :shard_id
        AND source_cluster_name = :source_cluster_name
        AND task_id >= :min_task_id
        AND task_id < :end_task_id
      ORDER BY task_id
      LIMIT :limit
    ) AS first
  );
