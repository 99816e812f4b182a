//! Reads of a history branch, page by page, in either direction.
//!
//! The pages contain the valid batches of the ancestors' ranges and of the branch itself. A batch is
//! not valid if a larger transaction shadows it at its node, or if it follows a shadowed batch.
//! Forwards, a batch is valid if its transaction is not smaller than that of the previous valid
//! batch. Backwards, the chain of previous transactions is followed. If a batch has no previous
//! transaction (0), as those of the replication backfill, the previous batch is the last one that is
//! valid forwards.

use temporal_dsql_domain::{
    BranchKey, BranchRange, FIRST_NODE_ID, HistoryBranch, HistoryNode, NodeMetadata, NodeOrder,
    NodePage, NodePosition, ShardId, Table,
};

use super::{
    super::check_limit, HistoryStore, ReadHistory, token::PageToken, trim::NO_TRANSACTION,
};
use temporal_dsql_ports::{Cause, Store, StoreError, limits::LimitKind};

/// A page of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The valid batches, in the order of the read.
    pub nodes: Vec<HistoryNode>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<PageToken>,
}

/// Nodes per statement if only their metadata is read.
const METADATA_PAGE: u32 = 1_000;
/// The most statements that read the metadata of one branch: one million nodes.
const METADATA_STATEMENTS: u32 = 1_000;
/// The most statements of one page. While no valid batch is found, the next nodes are read.
const STATEMENTS: u32 = 100;
/// The position before every node.
const BEFORE_ALL: NodePosition = NodePosition { node_id: i64::MIN, txn_id: i64::MIN };

impl<S: Store> HistoryStore<S> {
    /// Reads a page of valid batches, oldest first. A branch without batches is an empty page.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and for a token of another range, branch or
    /// direction; [`StoreError::Corrupt`] if the transaction ids of the batches are inconsistent; and
    /// those of the store.
    pub async fn read(
        &self,
        request: &ReadHistory,
        token: Option<PageToken>,
    ) -> Result<HistoryPage, StoreError> {
        self.read_in(NodeOrder::Forward, request, BEFORE_ALL, token).await
    }

    /// Reads a page of valid batches, newest first. `last_txn_id` is the transaction of the last batch
    /// of the branch, which is in the mutable state. If it is 0, the read begins with the last batch
    /// that is valid forwards. It is ignored if there is a token.
    ///
    /// # Errors
    /// As [`read`](Self::read); and [`StoreError::Limit`] if the read needs the nodes of the whole
    /// branch, as [`trim`](Self::trim).
    pub async fn read_reverse(
        &self,
        request: &ReadHistory,
        last_txn_id: i64,
        token: Option<PageToken>,
    ) -> Result<HistoryPage, StoreError> {
        let after_all = NodePosition { node_id: request.max_node_id, txn_id: last_txn_id };
        self.read_in(NodeOrder::Reverse, request, after_all, token).await
    }

    async fn read_in(
        &self,
        order: NodeOrder,
        request: &ReadHistory,
        start: NodePosition,
        token: Option<PageToken>,
    ) -> Result<HistoryPage, StoreError> {
        check_limit(request.limit)?;
        let mut token = token.unwrap_or_else(|| PageToken::first(request, order, start));
        token.check(request, order)?;
        let ranges = ranges(request, order);
        let mut session = self.store.session();
        let mut known = None;
        for _ in 0..STATEMENTS {
            let Some(range) = ranges.get(token.range as usize) else {
                return Ok(HistoryPage { nodes: Vec::new(), next: None });
            };
            let page = NodePage {
                min_node_id: range.begin_node_id,
                max_node_id: range.end_node_id,
                order,
                after: token.after,
                limit: request.limit,
            };
            let key = key(request.shard_id, &request.branch, range);
            let found = session.range_select_from_history_node(&key, &page).await?;
            if found.len() < request.limit as usize {
                token.range += 1;
                token.after = None;
            } else {
                token.after = found.last().map(|node| node.metadata().position());
            }
            let nodes = match order {
                NodeOrder::Forward => forwards(found, &mut token.valid)?,
                NodeOrder::Reverse => {
                    if known.is_none() && needs_forward_order(&found, token.valid) {
                        known = Some(self.valid_before(request, token.valid.node_id).await?);
                    }
                    backwards(found, &mut token.valid, known.as_deref().unwrap_or_default())?
                }
            };
            let next = ((token.range as usize) < ranges.len()).then_some(token);
            if !nodes.is_empty() || next.is_none() {
                return Ok(HistoryPage { nodes, next });
            }
        }
        Ok(HistoryPage { nodes: Vec::new(), next: Some(token) })
    }

    /// The batches before `node_id` that are valid forwards, oldest first.
    async fn valid_before(
        &self,
        request: &ReadHistory,
        node_id: i64,
    ) -> Result<Vec<NodePosition>, StoreError> {
        let nodes = self.metadata(request.shard_id, &request.branch, node_id).await?;
        let (mut valid, mut last) = (Vec::new(), BEFORE_ALL);
        for (_, node) in nodes {
            if is_next(&node, &mut last)? {
                valid.push(last);
            }
        }
        Ok(valid)
    }

    /// The metadata of all nodes of a branch before `max_node_id`, oldest first, each with the key of
    /// its branch.
    ///
    /// # Errors
    /// [`StoreError::Limit`] after [`METADATA_STATEMENTS`]. Another read would begin with the first node
    /// and end in the same way, so the error is not transient.
    pub(super) async fn metadata(
        &self,
        shard_id: ShardId,
        branch: &HistoryBranch,
        max_node_id: i64,
    ) -> Result<Vec<(BranchKey, NodeMetadata)>, StoreError> {
        let mut session = self.store.session();
        let mut statements = 0;
        let mut all = Vec::new();
        for range in branch.ranges(max_node_id) {
            let key = key(shard_id, branch, &range);
            let mut page = NodePage {
                min_node_id: range.begin_node_id.max(FIRST_NODE_ID),
                max_node_id: range.end_node_id.min(max_node_id),
                order: NodeOrder::Forward,
                after: None,
                limit: METADATA_PAGE,
            };
            while page.min_node_id < page.max_node_id {
                if statements == METADATA_STATEMENTS {
                    return Err(too_long());
                }
                statements += 1;
                let nodes = session.range_select_metadata_from_history_node(&key, &page).await?;
                page.after = nodes.last().map(NodeMetadata::position);
                let is_last = nodes.len() < METADATA_PAGE as usize;
                all.extend(nodes.into_iter().map(|node| (key, node)));
                if is_last {
                    break;
                }
            }
        }
        Ok(all)
    }
}

/// The branch key of a range.
fn key(shard_id: ShardId, branch: &HistoryBranch, range: &BranchRange) -> BranchKey {
    BranchKey { branch_id: range.branch_id, ..branch.key(shard_id) }
}

/// The ranges of the request, in the order of the read.
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

/// Whether `node` is valid after `last`, forwards. If so, sets `last` to it.
fn is_next(node: &NodeMetadata, last: &mut NodePosition) -> Result<bool, StoreError> {
    if node.txn_id < last.txn_id {
        return Ok(false);
    }
    if node.node_id <= last.node_id {
        return Err(inconsistent(node, last));
    }
    *last = node.position();
    Ok(true)
}

/// The valid nodes of `nodes`, which follow `last`. Sets `last` to the last of them.
fn forwards(
    nodes: Vec<HistoryNode>,
    last: &mut NodePosition,
) -> Result<Vec<HistoryNode>, StoreError> {
    let mut valid = |node: HistoryNode| Ok(is_next(&node.metadata(), last)?.then_some(node));
    nodes.into_iter().filter_map(|node| valid(node).transpose()).collect()
}

/// Whether reading `nodes` backwards from `last` may need a previous transaction that is not stored.
fn needs_forward_order(nodes: &[HistoryNode], last: NodePosition) -> bool {
    let lacks_previous =
        |txn_id: i64, node_id: i64| txn_id == NO_TRANSACTION && node_id > FIRST_NODE_ID;
    lacks_previous(last.txn_id, last.node_id)
        || nodes.iter().any(|node| lacks_previous(node.prev_txn_id, node.node_id))
}

/// The valid nodes of `nodes`, which precede `last`. Sets `last` to the last of them. `known` are the
/// batches that are valid forwards, for batches without a previous transaction.
fn backwards(
    nodes: Vec<HistoryNode>,
    last: &mut NodePosition,
    known: &[NodePosition],
) -> Result<Vec<HistoryNode>, StoreError> {
    let mut valid = Vec::with_capacity(nodes.len());
    for node in nodes {
        if last.txn_id == NO_TRANSACTION {
            let before = known.partition_point(|known| known.node_id < last.node_id);
            last.txn_id = known[..before].last().map_or(NO_TRANSACTION, |known| known.txn_id);
        }
        if node.txn_id != last.txn_id {
            continue;
        }
        if node.node_id >= last.node_id {
            return Err(inconsistent(&node.metadata(), last));
        }
        *last = NodePosition { node_id: node.node_id, txn_id: node.prev_txn_id };
        valid.push(node);
    }
    Ok(valid)
}

fn too_long() -> StoreError {
    StoreError::Limit {
        kind: LimitKind::Other,
        source: Some(Cause::new(format!(
            "the nodes of a branch are read in at most {METADATA_STATEMENTS} statements, each of one \
             range of the branch and of at most {METADATA_PAGE} nodes"
        ))),
    }
}

fn inconsistent(node: &NodeMetadata, last: &NodePosition) -> StoreError {
    StoreError::Corrupt {
        table: Table::HistoryNode,
        column: "txn_id",
        source: Some(Cause::new(format!(
            "node {} of transaction {} is read next to node {}, which is inconsistent with their transactions",
            node.node_id, node.txn_id, last.node_id
        ))),
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::{BranchId, DataBlob, Encoding, TreeId};
    use temporal_dsql_memory::MemoryStore;
    use uuid::Uuid;

    use super::*;

    fn node(node_id: i64, txn_id: i64, prev_txn_id: i64) -> HistoryNode {
        let data = DataBlob::new(Vec::new(), Encoding::new("Proto3").unwrap());
        HistoryNode { node_id, txn_id, prev_txn_id, data }
    }

    fn txns(nodes: &[HistoryNode]) -> Vec<i64> {
        nodes.iter().map(|node| node.txn_id).collect()
    }

    #[test]
    fn forwards_the_largest_transaction_at_a_node_is_valid_and_so_are_its_successors() {
        // At node 4, 12 shadows 11; node 6 of 11 follows the shadowed batch.
        let nodes = vec![
            node(1, 10, 0),
            node(4, 12, 10),
            node(4, 11, 10),
            node(6, 11, 11),
            node(6, 13, 12),
            node(8, 13, 13),
        ];
        let mut last = BEFORE_ALL;
        assert_eq!(txns(&forwards(nodes, &mut last).unwrap()), [10, 12, 13, 13]);
        assert_eq!(last, NodePosition { node_id: 8, txn_id: 13 });
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
        assert!(!needs_forward_order(&nodes, last));
        assert_eq!(txns(&backwards(nodes, &mut last, &[]).unwrap()), [13, 12, 10]);
        assert_eq!(last, NodePosition { node_id: 1, txn_id: 0 });
    }

    #[tokio::test]
    async fn a_branch_of_more_ranges_than_one_read_has_statements_is_a_limit_and_not_an_outage() {
        let store = HistoryStore::new(MemoryStore::new());
        let id = |number: i64| BranchId(Uuid::from_u128(number as u128));
        let mut branch = HistoryBranch::root(TreeId(Uuid::nil()), id(1));
        for node_id in 2..=i64::from(METADATA_STATEMENTS) {
            branch = branch.fork(node_id, id(node_id)).unwrap();
        }
        let last = NodePosition { node_id: 5_000, txn_id: 1 };
        assert_eq!(store.trim(ShardId(1), &branch, last).await.unwrap(), 0);
        let branch = branch.fork(2_000, id(2_000)).unwrap();
        let error = store.trim(ShardId(1), &branch, last).await.unwrap_err();
        assert!(matches!(error, StoreError::Limit { .. }), "{error:?}");
        assert!(!error.is_transient(), "{error:?}");
    }

    #[test]
    fn a_larger_transaction_at_an_earlier_node_is_an_error() {
        let mut last = NodePosition { node_id: 4, txn_id: 12 };
        let error = forwards(vec![node(4, 13, 12)], &mut last).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { table: Table::HistoryNode, .. }));
        let mut last = NodePosition { node_id: 4, txn_id: 12 };
        let error = backwards(vec![node(4, 12, 11)], &mut last, &[]).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { table: Table::HistoryNode, .. }));
    }
}
