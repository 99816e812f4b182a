-- queue_metadata: how far the readers of the queues that a type identifies have read.

-- name: InsertIntoQueueMetadata
INSERT INTO queue_metadata (queue_type, data, data_encoding, version)
VALUES (:queue_type, :data, :data_encoding, :version);

-- name: UpdateQueueMetadata
UPDATE queue_metadata
SET data = :data, data_encoding = :data_encoding, version = version + 1
WHERE queue_type = :queue_type
  AND version = :version;

-- name: SelectFromQueueMetadata
SELECT queue_type, data, data_encoding, version
FROM queue_metadata
WHERE queue_type = :queue_type;

-- name: LockQueueMetadata
SELECT queue_type, data, data_encoding, version
FROM queue_metadata
WHERE queue_type = :queue_type
FOR UPDATE;
