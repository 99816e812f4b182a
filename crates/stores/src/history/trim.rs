//! Trimming a branch: deleting the batches that shadow the chain that leads to its last one.

use std::collections::BTreeMap;

use temporal_dsql_domain::{
    BranchKey, FIRST_NODE_ID, HistoryBranch, NodeMetadata, NodePosition, ShardId,
};

use super::HistoryStore;
use temporal_dsql_ports::{Store, StoreError};

/// The previous transaction of a batch that names none: the first one of a history, and those that
/// the replication backfill writes.
pub(super) const NO_TRANSACTION: i64 = 0;

impl<S: Store> HistoryStore<S> {
    /// Deletes the batches that shadow the history that ends with `last`: writers whose commit
    /// failed have left them. Tells how many.
    ///
    /// `last` is the last batch that was committed to `branch`, as the mutable state knows it. The
    /// chain goes back from it, from batch to previous transaction, until the first node. At each
    /// node of the chain, batches of a larger transaction than the chain's are deleted, and nothing
    /// else: smaller transactions are shadowed already, and a node that the chain does not have may
    /// be another branch's.
    ///
    /// If the chain does not lead to the first node, nothing is deleted. That is so where a batch
    /// is missing, which may still be on its way, and where a batch names no previous transaction
    /// (0), as the replication backfill writes them. (`TrimHistoryBranch` of Temporal does the
    /// same.)
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
        let mut session = self.store.session();
        let mut deleted = 0;
        for (key, position) in shadowing(&nodes, last) {
            deleted += session.delete_from_history_node(&key, position).await?;
        }
        Ok(deleted)
    }
}

/// The batches that shadow the chain that ends with `last`; none if there is no such chain.
fn shadowing(
    nodes: &[(BranchKey, NodeMetadata)],
    last: NodePosition,
) -> Vec<(BranchKey, NodePosition)> {
    let Some(chain) = chain(nodes, last) else { return Vec::new() };
    let is_shadowing =
        |node: &NodeMetadata| chain.get(&node.node_id).is_some_and(|txn_id| node.txn_id > *txn_id);
    nodes
        .iter()
        .filter(|(_, node)| is_shadowing(node))
        .map(|(key, node)| (*key, node.position()))
        .collect()
}

/// The transaction at each node of the chain that ends with `last`, if it leads to the first node.
fn chain(nodes: &[(BranchKey, NodeMetadata)], last: NodePosition) -> Option<BTreeMap<i64, i64>> {
    let by_txn: BTreeMap<(i64, i64), NodeMetadata> =
        nodes.iter().map(|(_, node)| ((node.txn_id, node.node_id), *node)).collect();
    let mut next = *by_txn.get(&(last.txn_id, last.node_id))?;
    let mut chain = BTreeMap::from([(next.node_id, next.txn_id)]);
    // Every step is to a smaller node, so that the walk ends.
    while next.node_id > FIRST_NODE_ID {
        // A transaction may have written several batches one after the other.
        let txn_id = next.prev_txn_id;
        let before = by_txn.range((txn_id, i64::MIN)..(txn_id, next.node_id)).next_back();
        next = *before?.1;
        chain.insert(next.node_id, next.txn_id);
    }
    let is_whole = next.node_id == FIRST_NODE_ID && next.prev_txn_id == NO_TRANSACTION;
    is_whole.then_some(chain)
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::{BranchId, TreeId};
    use uuid::Uuid;

    use super::*;

    /// The transactions of the batches that are deleted.
    fn deleted(nodes: &[(i64, i64, i64)], last: (i64, i64)) -> Vec<i64> {
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
        shadowing(&nodes, last).into_iter().map(|(_, position)| position.txn_id).collect()
    }

    #[test]
    fn what_is_larger_at_a_node_of_the_chain_is_deleted() {
        let nodes = [(1, 10, 0), (4, 13, 10), (4, 11, 10), (4, 12, 10), (6, 14, 11)];
        assert_eq!(deleted(&nodes, (6, 14)), [13, 12]);
        assert_eq!(deleted(&nodes, (4, 12)), [13]);
        assert_eq!(deleted(&nodes, (4, 13)), [] as [i64; 0]);
    }

    #[test]
    fn what_is_at_another_node_is_not() {
        let nodes = [(1, 10, 0), (4, 11, 10), (5, 12, 11), (6, 15, 12), (6, 13, 11)];
        assert_eq!(deleted(&nodes, (6, 13)), [15]);
    }

    #[test]
    fn nothing_is_deleted_if_the_chain_does_not_lead_to_the_first_node() {
        let none: [i64; 0] = [];
        let stale = (6, 99, 0);
        let missing = [(1, 10, 0), (6, 14, 11), stale];
        assert_eq!(deleted(&missing, (6, 14)), none, "a batch is missing");
        assert_eq!(deleted(&[(1, 10, 0), (1, 99, 0)], (1, 11)), none, "the last one is missing");
        let elsewhere = [(1, 10, 0), (6, 14, 10), stale];
        assert_eq!(deleted(&elsewhere, (4, 14)), none, "it is at another node");
        let circle = [(4, 10, 11), (4, 11, 10), (4, 99, 0)];
        assert_eq!(deleted(&circle, (4, 11)), none, "it goes in a circle");
        let backfilled = [(1, 10, 0), (4, 11, 10), (6, 12, 0), (8, 13, 12), (8, 99, 12)];
        assert_eq!(deleted(&backfilled, (8, 13)), none, "it ends at a backfilled batch");
        let first = [(1, 10, 7), (4, 11, 10), (4, 99, 10)];
        assert_eq!(deleted(&first, (4, 11)), none, "the first batch is on top of another");
        let below = [(0, 9, 0), (4, 11, 9), (4, 99, 9)];
        assert_eq!(deleted(&below, (4, 11)), none, "it goes past the first node");
    }

    #[test]
    fn a_transaction_with_several_batches_is_followed_from_one_to_the_other() {
        let nodes = [(1, 10, 0), (4, 10, 10), (4, 12, 10), (6, 11, 10)];
        assert_eq!(deleted(&nodes, (6, 11)), [12]);
    }
}
