-- history_node: batches of events. txn_id is stored negated (temporal-persistence.md#history).

-- Nodes of any branches.
-- name: InsertIntoHistoryNode
INSERT INTO history_node (
  shard_id, tree_id, branch_id, node_id, txn_id, prev_txn_id, data, data_encoding
)
SELECT
  :shard_id, node.tree_id, node.branch_id, node.node_id, node.txn_id, node.prev_txn_id, node.data,
  node.data_encoding
FROM UNNEST(
  :history_node_tree_id::uuid[],
  :history_node_branch_id::uuid[],
  :history_node_node_id::bigint[],
  :history_node_txn_id::bigint[],
  :history_node_prev_txn_id::bigint[],
  :history_node_data::bytea[],
  :history_node_data_encoding::text[]
) AS node (tree_id, branch_id, node_id, txn_id, prev_txn_id, data, data_encoding)
ON CONFLICT (shard_id, tree_id, branch_id, node_id, txn_id) DO UPDATE
SET
  prev_txn_id = excluded.prev_txn_id,
  data = excluded.data,
  data_encoding = excluded.data_encoding;

-- name: DeleteFromHistoryNode
DELETE FROM history_node
WHERE shard_id = :shard_id
  AND tree_id = :tree_id
  AND branch_id = :branch_id
  AND node_id = :node_id
  AND txn_id = :txn_id;

-- The first nodes from :min_node_id on, at most as many as the limit. A comparison of rows is a
-- filter (aurora-dsql.md#indexes), so the node alone bounds the scan.
-- name: RangeDeleteFromHistoryNode
DELETE FROM history_node
WHERE shard_id = :shard_id
  AND tree_id = :tree_id
  AND branch_id = :branch_id
  AND node_id >= :min_node_id
  AND node_id <= (
    SELECT max(node_id)
    FROM (
      SELECT node_id, txn_id
      FROM history_node
      WHERE shard_id = :shard_id
        AND tree_id = :tree_id
        AND branch_id = :branch_id
        AND node_id >= :min_node_id
      ORDER BY node_id, txn_id
      LIMIT :limit
    ) AS first
  )
  AND (node_id, txn_id) <= (
    SELECT node_id, txn_id
    FROM (
      SELECT node_id, txn_id
      FROM history_node
      WHERE shard_id = :shard_id
        AND tree_id = :tree_id
        AND branch_id = :branch_id
        AND node_id >= :min_node_id
      ORDER BY node_id, txn_id
      LIMIT :limit
    ) AS first
    ORDER BY node_id DESC, txn_id DESC
    LIMIT 1
  );

-- name: RangeSelectFromHistoryNode
SELECT node_id, txn_id, prev_txn_id, data, data_encoding
FROM history_node
WHERE shard_id = :shard_id
  AND tree_id = :tree_id
  AND branch_id = :branch_id
  AND node_id >= :min_node_id
  AND node_id < :end_node_id
  AND (node_id > :after_node_id OR (node_id = :after_node_id AND txn_id > :after_txn_id))
ORDER BY node_id, txn_id
LIMIT :limit;

-- name: RangeSelectReverseFromHistoryNode
SELECT node_id, txn_id, prev_txn_id, data, data_encoding
FROM history_node
WHERE shard_id = :shard_id
  AND tree_id = :tree_id
  AND branch_id = :branch_id
  AND node_id >= :min_node_id
  AND node_id < :end_node_id
  AND (node_id < :after_node_id OR (node_id = :after_node_id AND txn_id < :after_txn_id))
ORDER BY node_id DESC, txn_id DESC
LIMIT :limit;

-- name: RangeSelectMetadataFromHistoryNode
SELECT node_id, txn_id, prev_txn_id
FROM history_node
WHERE shard_id = :shard_id
  AND tree_id = :tree_id
  AND branch_id = :branch_id
  AND node_id >= :min_node_id
  AND node_id < :end_node_id
  AND (node_id > :after_node_id OR (node_id = :after_node_id AND txn_id > :after_txn_id))
ORDER BY node_id, txn_id
LIMIT :limit;

-- name: RangeSelectMetadataReverseFromHistoryNode
SELECT node_id, txn_id, prev_txn_id
FROM history_node
WHERE shard_id = :shard_id
  AND tree_id = :tree_id
  AND branch_id = :branch_id
  AND node_id >= :min_node_id
  AND node_id < :end_node_id
  AND (node_id < :after_node_id OR (node_id = :after_node_id AND txn_id < :after_txn_id))
ORDER BY node_id DESC, txn_id DESC
LIMIT :limit;
