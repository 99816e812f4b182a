-- cluster_metadata_info: the metadata of each cluster, all in one partition.

-- name: InsertIntoClusterMetadata
INSERT INTO cluster_metadata_info (metadata_partition, cluster_name, data, data_encoding, version)
VALUES (0, :cluster_name, :data, :data_encoding, 1);

-- name: UpdateClusterMetadata
UPDATE cluster_metadata_info
SET data = :data, data_encoding = :data_encoding, version = version + 1
WHERE metadata_partition = 0
  AND cluster_name = :cluster_name
  AND version = :version;

-- name: GetClusterMetadata
SELECT cluster_name, data, data_encoding, version
FROM cluster_metadata_info
WHERE metadata_partition = 0
  AND cluster_name = :cluster_name;

-- The first comparison of the names bounds the scan.
-- name: ListClusterMetadata
SELECT cluster_name, data, data_encoding, version
FROM cluster_metadata_info
WHERE metadata_partition = 0
  AND cluster_name >= :cluster_name
  AND (:is_first_page OR cluster_name > :cluster_name)
ORDER BY cluster_name
LIMIT :limit;

-- name: DeleteClusterMetadata
DELETE FROM cluster_metadata_info
WHERE metadata_partition = 0
  AND cluster_name = :cluster_name;
