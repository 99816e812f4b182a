//! Trimming of a history branch: deletes the batches that shadow its committed chain.

use std::collections::BTreeMap;

use temporal_dsql_domain::{
    BranchKey, FIRST_NODE_ID, HistoryBranch, NodeMetadata, NodePosition, ShardId,
};

use super::HistoryStore;
use temporal_dsql_ports::{Store, StoreError};

/// The stored value of "no previous transaction": of the first batch of a history, and of the
/// batches of the replication backfill.
pub(super) const NO_TRANSACTION: i64 = 0;

impl<S: Store> HistoryStore<S> {
    /// Deletes the batches that shadow the history that ends with `last`. They remain from writers
    /// whose transaction failed. Returns their number.
    ///
    /// `last` is the last committed batch of `branch`, which is in the mutable state. The chain of
    /// previous transactions is followed from it to the first node. At each node of the chain,
    /// batches with a larger transaction than the chain's are deleted. Nothing else is deleted:
    /// smaller transactions are shadowed, and other nodes may belong to another branch.
    ///
    /// If the chain does not reach the first node, nothing is deleted. A batch may be missing, or have
    /// no previous transaction (0), as those of the replication backfill. (Temporal's
    /// `TrimHistoryBranch` does the same.)
    ///
    /// # Errors
    /// [`StoreError::Limit`] if reading the nodes of the branch takes more than 1,000 statements, each of one
    /// range and of at most 1,000 nodes; and those of the store, after which trimming again continues.
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

/// The batches that shadow the chain that ends with `last`; none if the chain is incomplete.
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

/// The transaction at each node of the chain that ends with `last`, if it reaches the first node.
fn chain(nodes: &[(BranchKey, NodeMetadata)], last: NodePosition) -> Option<BTreeMap<i64, i64>> {
    let by_txn: BTreeMap<(i64, i64), NodeMetadata> =
        nodes.iter().map(|(_, node)| ((node.txn_id, node.node_id), *node)).collect();
    let mut next = *by_txn.get(&(last.txn_id, last.node_id))?;
    let mut chain = BTreeMap::from([(next.node_id, next.txn_id)]);
    // Every step leads to a smaller node, so the loop ends.
    while next.node_id > FIRST_NODE_ID {
        // A transaction may have written several batches.
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

    /// The transactions of the deleted batches.
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
    fn larger_transactions_at_nodes_of_the_chain_are_deleted() {
        let nodes = [(1, 10, 0), (4, 13, 10), (4, 11, 10), (4, 12, 10), (6, 14, 11)];
        assert_eq!(deleted(&nodes, (6, 14)), [13, 12]);
        assert_eq!(deleted(&nodes, (4, 12)), [13]);
        assert_eq!(deleted(&nodes, (4, 13)), [] as [i64; 0]);
    }

    #[test]
    fn batches_at_other_nodes_are_kept() {
        let nodes = [(1, 10, 0), (4, 11, 10), (5, 12, 11), (6, 15, 12), (6, 13, 11)];
        assert_eq!(deleted(&nodes, (6, 13)), [15]);
    }

    #[test]
    fn nothing_is_deleted_if_the_chain_does_not_reach_the_first_node() {
        let none: [i64; 0] = [];
        let stale = (6, 99, 0);
        let missing = [(1, 10, 0), (6, 14, 11), stale];
        assert_eq!(deleted(&missing, (6, 14)), none, "a batch is missing");
        assert_eq!(deleted(&[(1, 10, 0), (1, 99, 0)], (1, 11)), none, "the last one is missing");
        let elsewhere = [(1, 10, 0), (6, 14, 10), stale];
        assert_eq!(deleted(&elsewhere, (4, 14)), none, "the last one is at another node");
        let cyclic = [(4, 10, 11), (4, 11, 10), (4, 99, 0)];
        assert_eq!(deleted(&cyclic, (4, 11)), none, "it is cyclic");
        let backfilled = [(1, 10, 0), (4, 11, 10), (6, 12, 0), (8, 13, 12), (8, 99, 12)];
        assert_eq!(deleted(&backfilled, (8, 13)), none, "it ends at a backfilled batch");
        let first = [(1, 10, 7), (4, 11, 10), (4, 99, 10)];
        assert_eq!(deleted(&first, (4, 11)), none, "the first batch has a predecessor");
        let below = [(0, 9, 0), (4, 11, 9), (4, 99, 9)];
        assert_eq!(deleted(&below, (4, 11)), none, "it passes the first node");
    }

    #[test]
    fn a_transaction_with_several_batches_is_followed_from_one_to_the_other() {
        let nodes = [(1, 10, 0), (4, 10, 10), (4, 12, 10), (6, 11, 10)];
        assert_eq!(deleted(&nodes, (6, 11)), [12]);
    }
}
