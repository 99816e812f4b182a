-- nexus_endpoints: the Nexus endpoints.

-- name: InsertIntoNexusEndpoints
INSERT INTO nexus_endpoints (id, data, data_encoding, version)
VALUES (:id, :data, :data_encoding, 1);

-- name: UpdateNexusEndpoint
UPDATE nexus_endpoints
SET data = :data, data_encoding = :data_encoding, version = version + 1
WHERE id = :id
  AND version = :version;

-- name: GetNexusEndpointByID
SELECT id, data, data_encoding, version
FROM nexus_endpoints
WHERE id = :id;

-- The table version, and NULLs instead of an endpoint if there is none.
-- name: ListNexusEndpoints
SELECT status.table_version, endpoint.id, endpoint.data, endpoint.data_encoding, endpoint.version
FROM (
  SELECT COALESCE(
    (SELECT version FROM nexus_endpoints_partition_status WHERE id = 0),
    0
  ) AS table_version
) AS status
LEFT JOIN (
  SELECT id, data, data_encoding, version
  FROM nexus_endpoints
  WHERE id >= :min_id
  ORDER BY id
  LIMIT :limit
) AS endpoint ON TRUE
ORDER BY endpoint.id;

-- name: DeleteFromNexusEndpoints
DELETE FROM nexus_endpoints
WHERE id = :id;
