//! The rows of history: nodes of events on branches of trees (temporal-persistence.md#history).

use crate::{BranchId, DataBlob, InvalidValue, ShardId, TreeId};

/// A branch: the key prefix of its nodes, and its key in `history_tree`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchKey {
    /// The history shard.
    pub shard_id: ShardId,
    /// The tree: one per workflow run.
    pub tree_id: TreeId,
    /// The branch in it.
    pub branch_id: BranchId,
}

/// A row of `history_node`: a batch of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryNode {
    /// Key: the id of the first event.
    pub node_id: i64,
    /// Key: the transaction that wrote the batch. Of several batches at one node, the one with the
    /// largest transaction is valid and shadows the others. (The table stores it negated, so that
    /// the valid one comes first. Only the adapters convert it.)
    pub txn_id: i64,
    /// The transaction of the batch before.
    pub prev_txn_id: i64,
    /// The serialized events.
    pub data: DataBlob,
}

/// A node without its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeMetadata {
    /// The id of the first event.
    pub node_id: i64,
    /// The transaction that wrote the batch.
    pub txn_id: i64,
    /// The transaction of the batch before.
    pub prev_txn_id: i64,
}

/// The order in which nodes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeOrder {
    /// Node ids ascending and, at one node, transactions descending: valid batches first.
    Forward,
    /// The reverse of `Forward`.
    Reverse,
}

/// A position in the order of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePosition {
    /// The node.
    pub node_id: i64,
    /// The transaction at it.
    pub txn_id: i64,
}

/// A page of the nodes of one branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePage {
    /// The first node id of the range.
    pub min_node_id: i64,
    /// The first node id after the range.
    pub max_node_id: i64,
    /// The order.
    pub order: NodeOrder,
    /// The last node of the page before; the page begins right after it, in its order.
    pub after: Option<NodePosition>,
    /// The most nodes of the page.
    pub limit: u32,
}

/// A row of `history_tree`: the record of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryTreeRow {
    /// Key: the branch.
    pub branch: BranchKey,
    /// The serialized `HistoryTreeInfo`.
    pub data: DataBlob,
}

/// A transaction as `history_node` stores it: negated, so that of several batches at one node the
/// one with the largest transaction comes first in the order of the key.
///
/// # Errors
/// `i64::MIN`, which cannot be negated.
pub fn stored_txn_id(txn_id: i64) -> Result<i64, InvalidValue> {
    txn_id.checked_neg().ok_or_else(|| {
        let reason = format!("is {txn_id}, which cannot be negated; it is stored negated");
        InvalidValue::new("txn_id", reason)
    })
}

impl HistoryNode {
    /// The node without its events.
    pub const fn metadata(&self) -> NodeMetadata {
        NodeMetadata { node_id: self.node_id, txn_id: self.txn_id, prev_txn_id: self.prev_txn_id }
    }
}

impl NodeMetadata {
    /// The position of a page that ends with this node.
    pub const fn position(&self) -> NodePosition {
        NodePosition { node_id: self.node_id, txn_id: self.txn_id }
    }
}

impl NodePosition {
    /// Whether a node at `other` comes after this one in `order`.
    pub fn is_before(&self, other: &Self, order: NodeOrder) -> bool {
        let forward = |position: &Self| (position.node_id, std::cmp::Reverse(position.txn_id));
        match order {
            NodeOrder::Forward => forward(self) < forward(other),
            NodeOrder::Reverse => forward(self) > forward(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_one_node_the_larger_transaction_comes_first() {
        let at = |node_id, txn_id| NodePosition { node_id, txn_id };
        let ordered = [at(1, 9), at(1, 3), at(4, 7), at(4, 5), at(6, 1)];
        for (first, later) in ordered.iter().zip(&ordered[1..]) {
            assert!(first.is_before(later, NodeOrder::Forward));
            assert!(!later.is_before(first, NodeOrder::Forward));
            assert!(later.is_before(first, NodeOrder::Reverse));
            assert!(!first.is_before(first, NodeOrder::Forward));
        }
    }
}
