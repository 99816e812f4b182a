//! Reading a branch, page by page, in either direction.
//!
//! The pages go through the parts of the branch, the ancestors' and its own, and leave out batches
//! that are not valid: shadowed by a larger transaction at their node, or written on top of such a
//! one. Forwards, a batch is valid if its transaction is larger than that of the batch before.
//! Backwards, one follows the chain: each batch names the transaction of the one before it.

use temporal_dsql_domain::{
    BranchKey, BranchRange, HistoryBranch, HistoryNode, NodeOrder, NodePage, NodePosition, ShardId,
    Table,
};

use super::{super::check_limit, HistoryStore};
use crate::{Cause, Store, StoreError};

/// A part of a branch that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadHistory {
    /// The history shard.
    pub shard_id: ShardId,
    /// The branch.
    pub branch: HistoryBranch,
    /// The first node.
    pub min_node_id: i64,
    /// The first node that is not read.
    pub max_node_id: i64,
    /// The most nodes that one page looks at. A page may have fewer, because some are not valid.
    pub limit: u32,
}

/// Where a page ended. Opaque to callers, who hand it back for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// The part of the branch that is being read, counted in the order of reading.
    range: usize,
    /// The last node that was looked at in it.
    after: Option<NodePosition>,
    /// The last valid node: forwards, the next one is larger in both; backwards, `txn_id` is the
    /// transaction that the next one has.
    valid: NodePosition,
}

/// A page of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The valid batches, in the order of reading.
    pub nodes: Vec<HistoryNode>,
    /// For the next page; `None` if this was the last one.
    pub next: Option<PageToken>,
}

impl<S: Store> HistoryStore<S> {
    /// Reads a page of valid batches, oldest first. A branch without any is an empty page.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a page of nothing; [`StoreError::Corrupt`] if the batches
    /// contradict each other; and those of the store.
    pub async fn read(
        &self,
        request: &ReadHistory,
        token: Option<PageToken>,
    ) -> Result<HistoryPage, StoreError> {
        let first = PageToken {
            range: 0,
            after: None,
            valid: NodePosition { node_id: i64::MIN, txn_id: i64::MIN },
        };
        self.read_in(NodeOrder::Forward, request, token.unwrap_or(first)).await
    }

    /// Reads a page of valid batches, newest first. `last_txn_id` is the transaction of the batch
    /// to begin with: the last one of the branch, which the mutable state knows.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_reverse(
        &self,
        request: &ReadHistory,
        last_txn_id: i64,
        token: Option<PageToken>,
    ) -> Result<HistoryPage, StoreError> {
        let first = PageToken {
            range: 0,
            after: None,
            valid: NodePosition { node_id: i64::MAX, txn_id: last_txn_id },
        };
        self.read_in(NodeOrder::Reverse, request, token.unwrap_or(first)).await
    }

    async fn read_in(
        &self,
        order: NodeOrder,
        request: &ReadHistory,
        mut token: PageToken,
    ) -> Result<HistoryPage, StoreError> {
        check_limit(request.limit)?;
        let ranges = ranges(request, order);
        let mut session = self.store.session();
        while let Some(range) = ranges.get(token.range) {
            let key =
                BranchKey { branch_id: range.branch_id, ..request.branch.key(request.shard_id) };
            let page = NodePage {
                min_node_id: range.begin_node_id,
                max_node_id: range.end_node_id,
                order,
                after: token.after,
                limit: request.limit,
            };
            let found = session.range_select_from_history_node(&key, &page).await?;
            if found.len() < request.limit as usize {
                token.range += 1;
                token.after = None;
            } else {
                token.after = found.last().map(|node| node.metadata().position());
            }
            let nodes = valid(order, found, &mut token.valid)?;
            let next = (token.range < ranges.len()).then_some(token);
            if !nodes.is_empty() || next.is_none() {
                return Ok(HistoryPage { nodes, next });
            }
        }
        Ok(HistoryPage { nodes: Vec::new(), next: None })
    }
}

/// The parts of the branch that the request touches, in the order of reading.
fn ranges(request: &ReadHistory, order: NodeOrder) -> Vec<BranchRange> {
    let mut ranges: Vec<_> = request
        .branch
        .ranges(request.max_node_id)
        .into_iter()
        .map(|range| BranchRange {
            begin_node_id: range.begin_node_id.max(request.min_node_id),
            end_node_id: range.end_node_id.min(request.max_node_id),
            ..range
        })
        .filter(|range| range.begin_node_id < range.end_node_id)
        .collect();
    if order == NodeOrder::Reverse {
        ranges.reverse();
    }
    ranges
}

/// The valid ones of `nodes`, which come after `last`; moves `last` on.
fn valid(
    order: NodeOrder,
    nodes: Vec<HistoryNode>,
    last: &mut NodePosition,
) -> Result<Vec<HistoryNode>, StoreError> {
    let mut valid = Vec::with_capacity(nodes.len());
    for node in nodes {
        let is_valid = match order {
            NodeOrder::Forward => node.txn_id > last.txn_id,
            NodeOrder::Reverse => node.txn_id == last.txn_id,
        };
        if !is_valid {
            continue;
        }
        let is_in_order = match order {
            NodeOrder::Forward => node.node_id > last.node_id,
            NodeOrder::Reverse => node.node_id < last.node_id,
        };
        if !is_in_order {
            return Err(StoreError::Corrupt {
                table: Table::HistoryNode,
                column: "txn_id",
                source: Some(Cause::new(format!(
                    "node {} of transaction {} does not come after node {}",
                    node.node_id, node.txn_id, last.node_id
                ))),
            });
        }
        *last = NodePosition {
            node_id: node.node_id,
            txn_id: match order {
                NodeOrder::Forward => node.txn_id,
                NodeOrder::Reverse => node.prev_txn_id,
            },
        };
        valid.push(node);
    }
    Ok(valid)
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::{DataBlob, Encoding};

    use super::*;

    fn node(node_id: i64, txn_id: i64, prev_txn_id: i64) -> HistoryNode {
        let data = DataBlob::new(Vec::new(), Encoding::new("Proto3").unwrap());
        HistoryNode { node_id, txn_id, prev_txn_id, data }
    }

    const FIRST: NodePosition = NodePosition { node_id: i64::MIN, txn_id: i64::MIN };

    fn txns(nodes: &[HistoryNode]) -> Vec<i64> {
        nodes.iter().map(|node| node.txn_id).collect()
    }

    #[test]
    fn forwards_the_largest_transaction_at_a_node_is_valid_and_so_is_what_follows_it() {
        // At node 4, 12 shadows 11; node 6 of 11 was written on top of the shadowed one.
        let nodes = vec![
            node(1, 10, 0),
            node(4, 12, 10),
            node(4, 11, 10),
            node(6, 11, 11),
            node(6, 13, 12),
        ];
        let mut last = FIRST;
        assert_eq!(txns(&valid(NodeOrder::Forward, nodes, &mut last).unwrap()), [10, 12, 13]);
        assert_eq!(last, NodePosition { node_id: 6, txn_id: 13 });
    }

    #[test]
    fn backwards_the_chain_of_transactions_is_followed() {
        let nodes = vec![
            node(6, 11, 11),
            node(6, 13, 12),
            node(4, 11, 10),
            node(4, 12, 10),
            node(1, 10, 0),
        ];
        let mut last = NodePosition { node_id: i64::MAX, txn_id: 13 };
        assert_eq!(txns(&valid(NodeOrder::Reverse, nodes, &mut last).unwrap()), [13, 12, 10]);
        assert_eq!(last, NodePosition { node_id: 1, txn_id: 0 });
    }

    #[test]
    fn a_larger_transaction_at_an_earlier_node_is_a_contradiction() {
        let mut last = NodePosition { node_id: 4, txn_id: 12 };
        let error = valid(NodeOrder::Forward, vec![node(4, 13, 12)], &mut last).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { table: Table::HistoryNode, .. }));
    }
}
