-- namespace_metadata: the notification version of all namespaces, one row of the schema.

-- name: SelectFromNamespaceMetadata
SELECT notification_version
FROM namespace_metadata
WHERE partition_id = 54321;

-- name: LockNamespaceMetadata
SELECT notification_version
FROM namespace_metadata
WHERE partition_id = 54321
FOR UPDATE;

-- name: UpdateNamespaceMetadata
UPDATE namespace_metadata
SET notification_version = notification_version + 1
WHERE partition_id = 54321
  AND notification_version = :notification_version;
