//! Trimming a branch: deleting the batches that are not on the chain that leads to its last one.

use std::collections::HashMap;

use temporal_dsql_domain::{
    BranchKey, FIRST_NODE_ID, HistoryBranch, NodeMetadata, NodeOrder, NodePage, NodePosition,
    ShardId,
};

use super::HistoryStore;
use crate::{Store, StoreError};

/// Nodes that are looked at per statement; only their metadata is read.
const PAGE: u32 = 1_000;
/// The transaction that the first batch of a history names as the one before it.
const NO_TRANSACTION: i64 = 0;

impl<S: Store> HistoryStore<S> {
    /// Deletes the batches of `branch` up to `last` that are not on the chain of transactions that
    /// ends with `last`: what failed or shadowed writers have left. Tells how many.
    ///
    /// If the chain is not complete, nothing is deleted: the batches that are missing may still be
    /// on their way (`TrimHistoryBranch` of Temporal does the same).
    ///
    /// # Errors
    /// Those of the store. Trimming again goes on where it ended.
    pub async fn trim(
        &self,
        shard_id: ShardId,
        branch: &HistoryBranch,
        last: NodePosition,
    ) -> Result<u64, StoreError> {
        let nodes = self.metadata(shard_id, branch, last.node_id.saturating_add(1)).await?;
        let Some(stale) = off_the_chain(&nodes, last) else { return Ok(0) };
        let mut session = self.store.session();
        let mut deleted = 0;
        for (key, position) in stale {
            deleted += session.delete_from_history_node(&key, position).await?;
        }
        Ok(deleted)
    }

    /// The metadata of all nodes of a branch before `max_node_id`, with the branch each is on.
    async fn metadata(
        &self,
        shard_id: ShardId,
        branch: &HistoryBranch,
        max_node_id: i64,
    ) -> Result<Vec<(BranchKey, NodeMetadata)>, StoreError> {
        let mut session = self.store.session();
        let mut all = Vec::new();
        for range in branch.ranges(max_node_id) {
            let key = BranchKey { branch_id: range.branch_id, ..branch.key(shard_id) };
            let mut page = NodePage {
                min_node_id: range.begin_node_id.max(FIRST_NODE_ID),
                max_node_id: range.end_node_id.min(max_node_id),
                order: NodeOrder::Forward,
                after: None,
                limit: PAGE,
            };
            loop {
                let nodes = session.range_select_metadata_from_history_node(&key, &page).await?;
                page.after = nodes.last().map(NodeMetadata::position);
                let is_last = nodes.len() < PAGE as usize;
                all.extend(nodes.into_iter().map(|node| (key, node)));
                if is_last {
                    break;
                }
            }
        }
        Ok(all)
    }
}

/// The nodes that are not on the chain that ends with `last`; `None` if the chain is broken.
fn off_the_chain(
    nodes: &[(BranchKey, NodeMetadata)],
    last: NodePosition,
) -> Option<Vec<(BranchKey, NodePosition)>> {
    let by_txn: HashMap<i64, NodeMetadata> =
        nodes.iter().map(|(_, node)| (node.txn_id, *node)).collect();
    let mut chain = HashMap::new();
    let mut next = *by_txn.get(&last.txn_id).filter(|node| node.node_id == last.node_id)?;
    loop {
        chain.insert(next.txn_id, next.node_id);
        if next.prev_txn_id == NO_TRANSACTION {
            break;
        }
        let before = *by_txn.get(&next.prev_txn_id)?;
        // The chain goes backwards, so it ends.
        if before.node_id >= next.node_id {
            return None;
        }
        next = before;
    }
    let is_stale = |node: &NodeMetadata| chain.get(&node.txn_id) != Some(&node.node_id);
    Some(
        nodes
            .iter()
            .filter(|(_, node)| is_stale(node))
            .map(|(key, node)| (*key, node.position()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::{BranchId, TreeId};
    use uuid::Uuid;

    use super::*;

    fn stale(nodes: &[(i64, i64, i64)], last: (i64, i64)) -> Option<Vec<i64>> {
        let key = BranchKey {
            shard_id: ShardId(1),
            tree_id: TreeId(Uuid::nil()),
            branch_id: BranchId(Uuid::nil()),
        };
        let nodes: Vec<_> = nodes
            .iter()
            .map(|(node_id, txn_id, prev_txn_id)| {
                let (node_id, txn_id, prev_txn_id) = (*node_id, *txn_id, *prev_txn_id);
                (key, NodeMetadata { node_id, txn_id, prev_txn_id })
            })
            .collect();
        let last = NodePosition { node_id: last.0, txn_id: last.1 };
        off_the_chain(&nodes, last)
            .map(|stale| stale.into_iter().map(|(_, position)| position.txn_id).collect())
    }

    #[test]
    fn what_is_not_on_the_chain_is_stale() {
        let nodes = [(1, 10, 0), (4, 13, 10), (4, 11, 10), (4, 12, 10), (6, 14, 11)];
        assert_eq!(stale(&nodes, (6, 14)), Some(vec![13, 12]));
        assert_eq!(stale(&nodes, (4, 12)), Some(vec![13, 11, 14]));
    }

    #[test]
    fn nothing_is_stale_if_the_chain_is_broken() {
        assert_eq!(stale(&[(1, 10, 0), (6, 14, 11)], (6, 14)), None, "a batch is missing");
        assert_eq!(stale(&[(1, 10, 0)], (1, 11)), None, "the last one is missing");
        assert_eq!(stale(&[(1, 10, 0), (6, 14, 10)], (4, 14)), None, "it is at another node");
        assert_eq!(stale(&[(4, 10, 11), (4, 11, 10)], (4, 11)), None, "it goes in a circle");
    }
}
