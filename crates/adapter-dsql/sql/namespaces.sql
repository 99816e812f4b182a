-- namespaces: the namespaces, all in one partition.

-- name: InsertIntoNamespace
INSERT INTO namespaces
  (partition_id, id, name, is_global, data, data_encoding, notification_version)
VALUES (54321, :id, :name, :is_global, :data, :data_encoding, :notification_version);

-- name: UpdateNamespace
UPDATE namespaces
SET name = :name,
  is_global = :is_global,
  data = :data,
  data_encoding = :data_encoding,
  notification_version = :notification_version
WHERE partition_id = 54321
  AND id = :id;

-- name: SelectFromNamespaceById
SELECT id, name, is_global, data, data_encoding, notification_version
FROM namespaces
WHERE partition_id = 54321
  AND id = :id;

-- name: SelectFromNamespaceByName
SELECT id, name, is_global, data, data_encoding, notification_version
FROM namespaces
WHERE partition_id = 54321
  AND name = :name;

-- name: RangeSelectFromNamespace
SELECT id, name, is_global, data, data_encoding, notification_version
FROM namespaces
WHERE partition_id = 54321
  AND id >= :min_id
ORDER BY id
LIMIT :limit;

-- name: DeleteFromNamespaceById
DELETE FROM namespaces
WHERE partition_id = 54321
  AND id = :id;

-- name: DeleteFromNamespaceByName
DELETE FROM namespaces
WHERE partition_id = 54321
  AND name = :name;
