-- queue_messages: the messages of the queues with a name.

-- name: InsertIntoQueueV2Messages
INSERT INTO queue_messages (
  queue_type, queue_name, queue_partition, message_id, message_payload, message_encoding
)
SELECT
  :queue_type, :queue_name, :queue_partition, message.message_id, message.message_payload,
  message.message_encoding
FROM UNNEST(
  :queue_messages_message_id::bigint[],
  :queue_messages_message_payload::bytea[],
  :queue_messages_message_encoding::text[]
) AS message (message_id, message_payload, message_encoding);

-- The id after the last one, if the queue exists. A concurrent statement that computes the same id
-- loses a conflict.
-- name: InsertNextIntoQueueV2Messages
INSERT INTO queue_messages (
  queue_type, queue_name, queue_partition, message_id, message_payload, message_encoding
)
SELECT
  queues.queue_type,
  queues.queue_name,
  :queue_partition,
  COALESCE(
    (
      SELECT message_id + 1
      FROM queue_messages
      WHERE queue_type = :queue_type
        AND queue_name = :queue_name
        AND queue_partition = :queue_partition
      ORDER BY message_id DESC
      LIMIT 1
    ),
    :first_message_id
  ),
  :message_payload,
  :message_encoding
FROM queues
WHERE queues.queue_type = :queue_type
  AND queues.queue_name = :queue_name
RETURNING message_id;

-- name: RangeSelectFromQueueV2Messages
SELECT message_id, message_payload, message_encoding
FROM queue_messages
WHERE queue_type = :queue_type
  AND queue_name = :queue_name
  AND queue_partition = :queue_partition
  AND message_id >= :min_message_id
ORDER BY message_id
LIMIT :limit;

-- The first messages of the range, at most as many as the limit.
-- name: RangeDeleteFromQueueV2Messages
DELETE FROM queue_messages
WHERE queue_type = :queue_type
  AND queue_name = :queue_name
  AND queue_partition = :queue_partition
  AND message_id >= :min_message_id
  AND message_id < :end_message_id
  AND message_id <= (
    SELECT max(message_id)
    FROM (
      SELECT message_id
      FROM queue_messages
      WHERE queue_type = :queue_type
        AND queue_name = :queue_name
        AND queue_partition = :queue_partition
        AND message_id >= :min_message_id
        AND message_id < :end_message_id
      ORDER BY message_id
      LIMIT :limit
    ) AS first
  );

-- name: GetLastEnqueuedMessageIDV2
SELECT message_id
FROM queue_messages
WHERE queue_type = :queue_type
  AND queue_name = :queue_name
  AND queue_partition = :queue_partition
ORDER BY message_id DESC
LIMIT 1;
