-- task_queue_user_data: the user data of task queues, such as versioning rules.

-- name: InsertIntoTaskQueueUserData
INSERT INTO task_queue_user_data (namespace_id, task_queue_name, data, data_encoding, version)
VALUES (:namespace_id, :task_queue_name, :data, :data_encoding, :version);

-- name: UpdateTaskQueueUserData
UPDATE task_queue_user_data
SET data = :data, data_encoding = :data_encoding, version = :version
WHERE namespace_id = :namespace_id
  AND task_queue_name = :task_queue_name
  AND version = :expected_version;

-- name: GetTaskQueueUserData
SELECT task_queue_name, data, data_encoding, version
FROM task_queue_user_data
WHERE namespace_id = :namespace_id
  AND task_queue_name = :task_queue_name;

-- name: ListTaskQueueUserData
SELECT task_queue_name, data, data_encoding, version
FROM task_queue_user_data
WHERE namespace_id = :namespace_id
  AND task_queue_name > :task_queue_name
ORDER BY task_queue_name
LIMIT :limit;
