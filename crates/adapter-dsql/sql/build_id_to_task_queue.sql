-- build_id_to_task_queue: the task queues of each build id.

-- name: AddToBuildIdToTaskQueueMapping
INSERT INTO build_id_to_task_queue (namespace_id, build_id, task_queue_name)
SELECT :namespace_id, added.build_id, :task_queue_name
FROM UNNEST(:build_ids::text[]) AS added (build_id);

-- The server takes the bounds of the scan from the array, in the collation of the column.
-- name: RemoveFromBuildIdToTaskQueueMapping
DELETE FROM build_id_to_task_queue
WHERE namespace_id = :namespace_id
  AND build_id >= (
    SELECT min(removed.build_id)
    FROM UNNEST(:build_ids::text[]) AS removed (build_id)
  )
  AND build_id <= (
    SELECT max(removed.build_id)
    FROM UNNEST(:build_ids::text[]) AS removed (build_id)
  )
  AND build_id = ANY(:build_ids::text[])
  AND task_queue_name = :task_queue_name;

-- name: GetTaskQueuesByBuildId
SELECT task_queue_name
FROM build_id_to_task_queue
WHERE namespace_id = :namespace_id
  AND build_id = :build_id
ORDER BY task_queue_name;

-- name: CountTaskQueuesByBuildId
SELECT count(*) AS task_queues
FROM build_id_to_task_queue
WHERE namespace_id = :namespace_id
  AND build_id = :build_id;
