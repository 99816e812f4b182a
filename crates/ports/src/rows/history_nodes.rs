//! The row port of `history_node` and `history_tree` (temporal-persistence.md#history).

use async_trait::async_trait;
use temporal_dsql_domain::{
    BranchKey, HistoryNode, HistoryTreeRow, NodeMetadata, NodePage, NodePosition, ShardId, TreeId,
};

use crate::StoreError;

/// Operations on the rows of history.
#[async_trait]
pub trait HistoryNodes: Send {
    /// Inserts nodes and overwrites those with the same node id and transaction, so it is
    /// idempotent. All are written, or none.
    async fn insert_into_history_node(
        &mut self,
        branch: &BranchKey,
        nodes: &[HistoryNode],
    ) -> Result<u64, StoreError>;

    /// Deletes one node.
    async fn delete_from_history_node(
        &mut self,
        branch: &BranchKey,
        position: NodePosition,
    ) -> Result<u64, StoreError>;

    /// Reads a page of nodes in the page's order.
    async fn range_select_from_history_node(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
    ) -> Result<Vec<HistoryNode>, StoreError>;

    /// Reads a page of nodes without their events.
    async fn range_select_metadata_from_history_node(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
    ) -> Result<Vec<NodeMetadata>, StoreError>;

    /// Deletes the first `limit` nodes from `min_node_id` on. A result below `limit` means that none
    /// is left.
    async fn range_delete_from_history_node(
        &mut self,
        branch: &BranchKey,
        min_node_id: i64,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// Inserts a branch, or overwrites it if it exists.
    async fn insert_into_history_tree(&mut self, row: &HistoryTreeRow) -> Result<u64, StoreError>;

    /// Reads all branches of a tree, in the order of their ids.
    async fn select_from_history_tree(
        &mut self,
        shard_id: ShardId,
        tree_id: TreeId,
    ) -> Result<Vec<HistoryTreeRow>, StoreError>;

    /// Deletes the row of a branch, but not its nodes.
    async fn delete_from_history_tree(&mut self, branch: &BranchKey) -> Result<u64, StoreError>;

    /// Reads the first `limit` branches of all shards after `after`, in the order of their keys.
    async fn paginate_branches_from_history_tree(
        &mut self,
        after: Option<BranchKey>,
        limit: u32,
    ) -> Result<Vec<HistoryTreeRow>, StoreError>;
}
