-- ---------------------------------------------------------------------------------------------
-- Event histories. Ids are UUID, where upstream has BYTEA.
-- ---------------------------------------------------------------------------------------------

-- One row per branch of a history tree: the metadata of the branch.
CREATE TABLE history_tree (
  shard_id INTEGER NOT NULL,
  tree_id UUID NOT NULL,
  branch_id UUID NOT NULL,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, tree_id, branch_id)
);

-- One row per event batch of a branch. Of the rows with one node_id, the reader uses the one to
-- which prev_txn_id links.
CREATE TABLE history_node (
  shard_id INTEGER NOT NULL,
  tree_id UUID NOT NULL,
  branch_id UUID NOT NULL,
  node_id BIGINT NOT NULL,
  txn_id BIGINT NOT NULL,
  prev_txn_id BIGINT NOT NULL DEFAULT 0,
  data BYTEA NOT NULL,
  data_encoding VARCHAR(16) NOT NULL,
  PRIMARY KEY (shard_id, tree_id, branch_id, node_id, txn_id)
);
