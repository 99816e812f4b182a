-- history_tree: the branches of histories.

-- Branches of any trees.
-- name: InsertIntoHistoryTree
INSERT INTO history_tree (shard_id, tree_id, branch_id, data, data_encoding)
SELECT :shard_id, branch.tree_id, branch.branch_id, branch.data, branch.data_encoding
FROM UNNEST(
  :history_tree_tree_id::uuid[],
  :history_tree_branch_id::uuid[],
  :history_tree_data::bytea[],
  :history_tree_data_encoding::text[]
) AS branch (tree_id, branch_id, data, data_encoding)
ON CONFLICT (shard_id, tree_id, branch_id) DO UPDATE
SET data = excluded.data, data_encoding = excluded.data_encoding;

-- name: SelectFromHistoryTree
SELECT shard_id, tree_id, branch_id, data, data_encoding
FROM history_tree
WHERE shard_id = :shard_id
  AND tree_id = :tree_id
ORDER BY branch_id;

-- name: DeleteFromHistoryTree
DELETE FROM history_tree
WHERE shard_id = :shard_id
  AND tree_id = :tree_id
  AND branch_id = :branch_id;

-- The rest of the tree, then the rest of the shard, then the later shards. One comparison of rows
-- would be a filter over the whole table (aurora-dsql.md#indexes).
-- name: PaginateBranchesFromHistoryTree
SELECT shard_id, tree_id, branch_id, data, data_encoding
FROM (
  (
    SELECT shard_id, tree_id, branch_id, data, data_encoding
    FROM history_tree
    WHERE shard_id = :shard_id
      AND tree_id = :tree_id
      AND branch_id > :branch_id
    ORDER BY branch_id
    LIMIT :limit
  )
  UNION ALL
  (
    SELECT shard_id, tree_id, branch_id, data, data_encoding
    FROM history_tree
    WHERE shard_id = :shard_id
      AND tree_id > :tree_id
    ORDER BY tree_id, branch_id
    LIMIT :limit
  )
  UNION ALL
  (
    SELECT shard_id, tree_id, branch_id, data, data_encoding
    FROM history_tree
    WHERE shard_id > :shard_id
    ORDER BY shard_id, tree_id, branch_id
    LIMIT :limit
  )
) AS branch
ORDER BY shard_id, tree_id, branch_id
LIMIT :limit;
