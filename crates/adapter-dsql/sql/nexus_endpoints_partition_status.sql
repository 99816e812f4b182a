-- nexus_endpoints_partition_status: the version of all Nexus endpoints together, one row.

-- name: InitializeNexusEndpointsTableVersion
INSERT INTO nexus_endpoints_partition_status (id, version)
VALUES (0, 1);

-- name: IncrementNexusEndpointsTableVersion
UPDATE nexus_endpoints_partition_status
SET version = version + 1
WHERE id = 0
  AND version = :last_known;

-- name: GetNexusEndpointsTableVersion
SELECT version
FROM nexus_endpoints_partition_status
WHERE id = 0;
