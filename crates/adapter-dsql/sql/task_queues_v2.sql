-- task_queues_v2: the lease and the acknowledgement levels of every fair task queue.

-- name: InsertIntoTaskQueuesV2
INSERT INTO task_queues_v2 (range_hash, task_queue_id, range_id, data, data_encoding)
VALUES (:range_hash, :task_queue_id, :range_id, :data, :data_encoding);

-- name: UpdateTaskQueuesV2
UPDATE task_queues_v2
SET range_id = :range_id, data = :data, data_encoding = :data_encoding
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id;

-- name: UpdateTaskQueuesV2IfExpected
UPDATE task_queues_v2
SET range_id = :range_id, data = :data, data_encoding = :data_encoding
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
  AND range_id = :expected_range_id;

-- name: SelectFromTaskQueuesV2
SELECT range_hash, task_queue_id, range_id, data, data_encoding
FROM task_queues_v2
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id;

-- name: SelectRangeIdFromTaskQueuesV2
SELECT range_id
FROM task_queues_v2
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id;

-- name: LockTaskQueuesV2ForKeyShare
SELECT range_id
FROM task_queues_v2
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
FOR KEY SHARE;

-- name: LockTaskQueuesV2ForUpdate
SELECT range_id
FROM task_queues_v2
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
FOR UPDATE;

-- name: DeleteFromTaskQueuesV2
DELETE FROM task_queues_v2
WHERE range_hash = :range_hash
  AND task_queue_id = :task_queue_id
  AND range_id = :expected_range_id;

-- The rest of the hash, then the later hashes. One comparison of rows would be a filter over the whole
-- table (aurora-dsql.md#indexes).
-- name: ListTaskQueuesV2
SELECT range_hash, task_queue_id, range_id, data, data_encoding
FROM (
  (
    SELECT range_hash, task_queue_id, range_id, data, data_encoding
    FROM task_queues_v2
    WHERE range_hash = :range_hash
      AND task_queue_id > :task_queue_id
    ORDER BY task_queue_id
    LIMIT :limit
  )
  UNION ALL
  (
    SELECT range_hash, task_queue_id, range_id, data, data_encoding
    FROM task_queues_v2
    WHERE range_hash > :range_hash
    ORDER BY range_hash, task_queue_id
    LIMIT :limit
  )
) AS queue
ORDER BY range_hash, task_queue_id
LIMIT :limit;
