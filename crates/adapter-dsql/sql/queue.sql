-- queue: the messages of the queues that a type identifies.

-- name: InsertIntoMessages
INSERT INTO queue (queue_type, message_id, message_payload, message_encoding)
SELECT :queue_type, message.message_id, message.message_payload, message.message_encoding
FROM UNNEST(
  :queue_message_id::bigint[],
  :queue_message_payload::bytea[],
  :queue_message_encoding::text[]
) AS message (message_id, message_payload, message_encoding);

-- The id after the last one. A concurrent statement that computes the same id loses a conflict.
-- name: InsertNextIntoMessages
INSERT INTO queue (queue_type, message_id, message_payload, message_encoding)
SELECT
  :queue_type,
  COALESCE(
    (
      SELECT message_id + 1
      FROM queue
      WHERE queue_type = :queue_type
      ORDER BY message_id DESC
      LIMIT 1
    ),
    :first_message_id
  ),
  :message_payload,
  :message_encoding
RETURNING message_id;

-- name: SelectFromMessages
SELECT message_id, message_payload, message_encoding
FROM queue
WHERE queue_type = :queue_type
  AND message_id = :message_id;

-- name: RangeSelectFromMessages
SELECT message_id, message_payload, message_encoding
FROM queue
WHERE queue_type = :queue_type
  AND message_id >= :min_message_id
  AND message_id < :end_message_id
ORDER BY message_id
LIMIT :limit;

-- name: DeleteFromMessages
DELETE FROM queue
WHERE queue_type = :queue_type
  AND message_id = :message_id;

-- The first messages of the range, at most as many as the limit.
-- name: RangeDeleteFromMessages
DELETE FROM queue
WHERE queue_type = :queue_type
  AND message_id >= :min_message_id
  AND message_id < :end_message_id
  AND message_id <= (
    SELECT max(message_id)
    FROM (
      SELECT message_id
      FROM queue
      WHERE queue_type = :queue_type
        AND message_id >= :min_message_id
        AND message_id < :end_message_id
      ORDER BY message_id
      LIMIT :limit
    ) AS first
  );
