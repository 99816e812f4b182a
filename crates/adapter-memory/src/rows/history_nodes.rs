//! `history_node` and `history_tree`: batches of events, and their branches
//! (temporal-persistence.md#history).

use std::ops::Range;

use async_trait::async_trait;
use temporal_dsql_domain::{
    BranchKey, HistoryNode, HistoryTreeRow, NodeMetadata, NodeOrder, NodePage, NodePosition,
    ShardId, Table, TreeId, stored_txn_id,
};
use temporal_dsql_ports::{HistoryNodes, StoreError};

use super::last_of_each_key;
use crate::{
    connection::{Connection, Execute},
    key::{Column, Key, NewRow, check_statement},
    limited_transaction::LimitedTransaction,
};

/// The key of a branch in `history_tree`, which is the prefix of the keys of its nodes.
fn branch_key(table: Table, branch: &BranchKey) -> Key {
    tree_key(table, branch.shard_id, branch.tree_id).with([Column::Uuid(branch.branch_id.0)])
}

fn tree_key(table: Table, shard_id: ShardId, tree_id: TreeId) -> Key {
    Key::new(table, [Column::Integer(shard_id.0), Column::Uuid(tree_id.0)])
}

/// The key of a node on its branch.
fn node_key(branch: &Key, position: NodePosition) -> Result<Key, StoreError> {
    let txn_id = stored_txn_id(position.txn_id)?;
    Ok(branch.with([Column::BigInt(position.node_id), Column::BigInt(txn_id)]))
}

/// The nodes to write, checked against the limits.
pub(super) fn node_rows(
    branch: &BranchKey,
    nodes: &[HistoryNode],
) -> Result<Vec<NewRow>, StoreError> {
    let branch = branch_key(Table::HistoryNode, branch);
    let row = |node: &HistoryNode| {
        let key = node_key(&branch, node.metadata().position())?;
        Ok(NewRow::new(key, node, &[("data", node.data.data.len())])?)
    };
    nodes.iter().map(row).collect()
}

/// The branch to write, checked against the limits.
pub(super) fn tree_row(row: &HistoryTreeRow) -> Result<NewRow, StoreError> {
    let key = branch_key(Table::HistoryTree, &row.branch);
    Ok(NewRow::new(key, row, &[("data", row.data.data.len())])?)
}

/// The keys of a page and of the rest of its range.
fn page_keys(branch: &BranchKey, page: &NodePage) -> Result<Range<Key>, StoreError> {
    let branch = branch_key(Table::HistoryNode, branch);
    let node = |id| branch.with([Column::BigInt(id)]);
    let mut keys = node(page.min_node_id)..node(page.max_node_id);
    if let Some(after) = page.after {
        let after = node_key(&branch, after)?;
        match page.order {
            NodeOrder::Forward => keys.start = keys.start.max(after.end()),
            NodeOrder::Reverse => keys.end = keys.end.min(after),
        }
    }
    Ok(keys)
}

impl<E: Execute> Connection<E> {
    /// Reads a page, converting each node with `read`.
    async fn select_page<T: Send>(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
        read: fn(&HistoryNode) -> T,
    ) -> Result<Vec<T>, StoreError> {
        let keys = page_keys(branch, page)?;
        let limit = page.limit as usize;
        self.execute("RangeSelectFromHistoryNode", |transaction: &mut LimitedTransaction| {
            let nodes = transaction.range(&keys);
            Ok(match page.order {
                NodeOrder::Forward => nodes.take(limit).map(read).collect(),
                NodeOrder::Reverse => nodes.rev().take(limit).map(read).collect(),
            })
        })
        .await
    }
}

#[async_trait]
impl<E: Execute> HistoryNodes for Connection<E> {
    async fn insert_into_history_node(
        &mut self,
        branch: &BranchKey,
        nodes: &[HistoryNode],
    ) -> Result<u64, StoreError> {
        let nodes = node_rows(branch, nodes)?;
        check_statement(&nodes)?;
        let nodes = last_of_each_key(nodes);
        self.execute("InsertIntoHistoryNode", |transaction| transaction.replace_all(&nodes)).await
    }

    async fn delete_from_history_node(
        &mut self,
        branch: &BranchKey,
        position: NodePosition,
    ) -> Result<u64, StoreError> {
        let key = node_key(&branch_key(Table::HistoryNode, branch), position)?;
        self.execute("DeleteFromHistoryNode", |transaction| transaction.delete(&key)).await
    }

    async fn range_select_from_history_node(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
    ) -> Result<Vec<HistoryNode>, StoreError> {
        self.select_page(branch, page, HistoryNode::clone).await
    }

    async fn range_select_metadata_from_history_node(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
    ) -> Result<Vec<NodeMetadata>, StoreError> {
        self.select_page(branch, page, HistoryNode::metadata).await
    }

    async fn range_delete_from_history_node(
        &mut self,
        branch: &BranchKey,
        min_node_id: i64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let branch = branch_key(Table::HistoryNode, branch);
        let keys = branch.with([Column::BigInt(min_node_id)])..branch.end();
        self.execute("RangeDeleteFromHistoryNode", |transaction| {
            transaction.delete_range(&keys, Some(limit))
        })
        .await
    }

    async fn insert_into_history_tree(&mut self, row: &HistoryTreeRow) -> Result<u64, StoreError> {
        let row = [tree_row(row)?];
        self.execute("InsertIntoHistoryTree", |transaction| transaction.replace_all(&row)).await
    }

    async fn select_from_history_tree(
        &mut self,
        shard_id: ShardId,
        tree_id: TreeId,
    ) -> Result<Vec<HistoryTreeRow>, StoreError> {
        let tree = tree_key(Table::HistoryTree, shard_id, tree_id).all();
        self.execute("SelectFromHistoryTree", |transaction| {
            Ok(transaction.select_range(&tree, None))
        })
        .await
    }

    async fn delete_from_history_tree(&mut self, branch: &BranchKey) -> Result<u64, StoreError> {
        let key = branch_key(Table::HistoryTree, branch);
        self.execute("DeleteFromHistoryTree", |transaction| transaction.delete(&key)).await
    }

    async fn paginate_branches_from_history_tree(
        &mut self,
        after: Option<BranchKey>,
        limit: u32,
    ) -> Result<Vec<HistoryTreeRow>, StoreError> {
        let mut keys = Key::new(Table::HistoryTree, []).all();
        if let Some(after) = after {
            keys.start = branch_key(Table::HistoryTree, &after).end();
        }
        self.execute("PaginateBranchesFromHistoryTree", |transaction| {
            Ok(transaction.select_range(&keys, Some(limit)))
        })
        .await
    }
}
