-- schema_version: the version of the schema.

-- name: ReadSchemaVersion
SELECT curr_version, min_compatible_version
FROM schema_version
WHERE version_partition = 0
  AND db_name = :db_name;
