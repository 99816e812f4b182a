//! [`HistoryNodes`] over an executor: the statement of each method.

use async_trait::async_trait;
use temporal_dsql_domain::{
    BranchKey, HistoryNode, HistoryTreeRow, NodeMetadata, NodePage, NodePosition, ShardId, TreeId,
};
use temporal_dsql_ports::{HistoryNodes, StoreError};

use super::{history_node as node, history_tree as tree, session::Rows};
use crate::executor::Executor;

#[async_trait]
impl<E: Executor> HistoryNodes for Rows<E> {
    async fn insert_into_history_node(
        &mut self,
        branch: &BranchKey,
        nodes: &[HistoryNode],
    ) -> Result<u64, StoreError> {
        self.affected(node::insert(branch, nodes)?).await
    }

    async fn delete_from_history_node(
        &mut self,
        branch: &BranchKey,
        position: NodePosition,
    ) -> Result<u64, StoreError> {
        self.affected(node::delete(branch, position)?).await
    }

    async fn range_select_from_history_node(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
    ) -> Result<Vec<HistoryNode>, StoreError> {
        self.list(node::select_page(&node::WHOLE, branch, page)?, node::decode).await
    }

    async fn range_select_metadata_from_history_node(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
    ) -> Result<Vec<NodeMetadata>, StoreError> {
        self.list(node::select_page(&node::METADATA, branch, page)?, node::decode_metadata).await
    }

    async fn range_delete_from_history_node(
        &mut self,
        branch: &BranchKey,
        min_node_id: i64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.affected(node::delete_range(branch, min_node_id, limit)).await
    }

    async fn insert_into_history_tree(&mut self, row: &HistoryTreeRow) -> Result<u64, StoreError> {
        self.affected(tree::insert(row)?).await
    }

    async fn select_from_history_tree(
        &mut self,
        shard_id: ShardId,
        tree_id: TreeId,
    ) -> Result<Vec<HistoryTreeRow>, StoreError> {
        self.list(tree::select(shard_id, tree_id), tree::decode).await
    }

    async fn delete_from_history_tree(&mut self, branch: &BranchKey) -> Result<u64, StoreError> {
        self.affected(tree::delete(branch)).await
    }

    async fn paginate_branches_from_history_tree(
        &mut self,
        after: Option<BranchKey>,
        limit: u32,
    ) -> Result<Vec<HistoryTreeRow>, StoreError> {
        self.list(tree::paginate(after, limit), tree::decode).await
    }
}
