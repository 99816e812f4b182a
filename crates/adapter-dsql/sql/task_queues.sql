-- task_queues: the lease and the acknowledgement levels of every normal task queue.

-- name: InsertIntoTaskQueues
INSERT INTO task_queues (range_hash, task_queue_id, range_id, data, data_encoding)
VALUES (:range_hash, :task_queue_id, :range_id, :data, :data_encoding);

-- name: UpdateTaskQueues
UPDATE task_queues
SET range_id = :range_id, data = :data, data_encoding = :data_encoding
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id;

-- name: UpdateTaskQueuesIfExpected
UPDATE task_queues
SET range_id = :range_id, data = :data, data_encoding = :data_encoding
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
  AND range_id = :expected_range_id;

-- name: SelectFromTaskQueues
SELECT range_hash, task_queue_id, range_id, data, data_encoding
FROM task_queues
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id;

-- name: SelectRangeIdFromTaskQueues
SELECT range_id
FROM task_queues
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id;

-- name: LockTaskQueuesForKeyShare
SELECT range_id
FROM task_queues
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
FOR KEY SHARE;

-- name: LockTaskQueuesForUpdate
SELECT range_id
FROM task_queues
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
FOR UPDATE;

-- name: DeleteFromTaskQueues
DELETE FROM task_queues
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
  AND range_id = :expected_range_id;

-- The rest of the hash, then the later hashes. One comparison of rows would be a filter over the whole
-- table (aurora-dsql.md#indexes).
-- name: ListTaskQueues
SELECT range_hash, task_queue_id, range_id, data, data_encoding
FROM (
  (
    SELECT range_hash, task_queue_id, range_id, data, data_encoding
    FROM task_queues
    WHERE range_hash = :range_hash
      AND task_queue_id > :task_queue_id
    ORDER BY task_queue_id
    LIMIT :limit
  )
  UNION ALL
  (
    SELECT range_hash, task_queue_id, range_id, data, data_encoding
    FROM task_queues
    WHERE range_hash > :range_hash
    ORDER BY range_hash, task_queue_id
    LIMIT :limit
  )
) AS queue
ORDER BY range_hash, task_queue_id
LIMIT :limit;
