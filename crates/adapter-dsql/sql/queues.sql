-- queues: the queues with a name, and their metadata.

-- name: InsertIntoQueueV2Metadata
INSERT INTO queues (queue_type, queue_name, metadata_payload, metadata_encoding)
VALUES (:queue_type, :queue_name, :metadata_payload, :metadata_encoding);

-- name: UpdateQueueV2Metadata
UPDATE queues
SET metadata_payload = :metadata_payload, metadata_encoding = :metadata_encoding
WHERE queue_type = :queue_type
  AND queue_name = :queue_name;

-- name: SelectFromQueueV2Metadata
SELECT queue_type, queue_name, metadata_payload, metadata_encoding
FROM queues
WHERE queue_type = :queue_type
  AND queue_name = :queue_name;

-- name: SelectFromQueueV2MetadataForUpdate
SELECT queue_type, queue_name, metadata_payload, metadata_encoding
FROM queues
WHERE queue_type = :queue_type
  AND queue_name = :queue_name
FOR UPDATE;

-- Every name is greater than the empty one, which a name cannot be.
-- name: SelectNameFromQueueV2Metadata
SELECT
  queues.queue_type,
  queues.queue_name,
  queues.metadata_payload,
  queues.metadata_encoding,
  (
    SELECT message.message_id
    FROM queue_messages AS message
    WHERE message.queue_type = queues.queue_type
      AND message.queue_name = queues.queue_name
      AND message.queue_partition = :queue_partition
    ORDER BY message.message_id DESC
    LIMIT 1
  ) AS last_message_id
FROM queues
WHERE queues.queue_type = :queue_type
  AND queues.queue_name > :after_queue_name
ORDER BY queues.queue_name
LIMIT :limit;
