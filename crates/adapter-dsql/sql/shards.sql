-- shards: the owner of every shard.

-- name: InsertIntoShards
INSERT INTO shards (shard_id, range_id, data, data_encoding)
VALUES (:shard_id, :range_id, :data, :data_encoding);

-- name: UpdateShards
UPDATE shards
SET range_id = :range_id, data = :data, data_encoding = :data_encoding
WHERE shard_id = :shard_id;

-- name: UpdateShardsIfExpected
UPDATE shards
SET range_id = :range_id, data = :data, data_encoding = :data_encoding
WHERE shard_id = :shard_id
  AND range_id = :expected_range_id;

-- name: SelectFromShards
SELECT shard_id, range_id, data, data_encoding
FROM shards
WHERE shard_id = :shard_id;

-- name: SelectRangeIdFromShards
SELECT range_id
FROM shards
WHERE shard_id = :shard_id;

-- name: LockShardsForKeyShare
SELECT range_id
FROM shards
WHERE shard_id = :shard_id
FOR KEY SHARE;

-- name: LockShardsForUpdate
SELECT range_id
FROM shards
WHERE shard_id = :shard_id
FOR UPDATE;
