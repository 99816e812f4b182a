//! `history_node` and `history_tree`: batches of events, and their branches
//! (temporal-persistence.md#history).

use std::{collections::BTreeMap, ops::Range};

use async_trait::async_trait;
use temporal_dsql_domain::{
    BranchKey, HistoryNode, HistoryTreeRow, NodeMetadata, NodeOrder, NodePage, NodePosition,
    ShardId, Table, TreeId, stored_txn_id,
};
use temporal_dsql_ports::{HistoryNodes, StoreError};

use crate::{
    connection::{Connection, Execute},
    key::{Column, Key, KeyOf, NewRow, PrimaryKey, StoredRow, check_statement},
    limited_transaction::LimitedTransaction,
};

impl StoredRow for HistoryNode {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        [("data", self.data.data.len())]
    }
}

impl StoredRow for HistoryTreeRow {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        [("data", self.data.data.len())]
    }
}

impl PrimaryKey for BranchKey {
    type Row = HistoryTreeRow;

    fn to_key(&self) -> Key {
        branch_key(Table::HistoryTree, self)
    }
}

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

/// The nodes to write, checked against the limits. Of several at one position the last one is
/// written.
pub(super) fn ready(branch: &BranchKey, nodes: &[HistoryNode]) -> Result<Vec<NewRow>, StoreError> {
    let branch = branch_key(Table::HistoryNode, branch);
    let mut rows = Vec::with_capacity(nodes.len());
    for node in nodes {
        let key = node_key(&branch, node.metadata().position())?;
        rows.push(NewRow::new(&KeyOf::from(key), node.clone())?);
    }
    check_statement(&rows)?;
    let last: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
    Ok(last.into_values().collect())
}

/// The branch to write, checked against the limits.
pub(super) fn ready_tree(row: &HistoryTreeRow) -> Result<NewRow, StoreError> {
    Ok(NewRow::new(&row.branch, row.clone())?)
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

/// Reads a page, converting each node with `read`.
fn select_page<T>(
    transaction: &LimitedTransaction,
    keys: Range<Key>,
    page: &NodePage,
    read: impl Fn(&HistoryNode) -> T,
) -> Vec<T> {
    let nodes = transaction.range(keys);
    let limit = page.limit as usize;
    match page.order {
        NodeOrder::Forward => nodes.take(limit).map(read).collect(),
        NodeOrder::Reverse => nodes.rev().take(limit).map(read).collect(),
    }
}

#[async_trait]
impl<E: Execute> HistoryNodes for Connection<E> {
    async fn insert_into_history_node(
        &mut self,
        branch: &BranchKey,
        nodes: &[HistoryNode],
    ) -> Result<u64, StoreError> {
        let nodes = ready(branch, nodes)?;
        self.executor
            .execute("InsertIntoHistoryNode", |transaction| transaction.replace_all(&nodes))
            .await
    }

    async fn delete_from_history_node(
        &mut self,
        branch: &BranchKey,
        position: NodePosition,
    ) -> Result<u64, StoreError> {
        let key = node_key(&branch_key(Table::HistoryNode, branch), position)?;
        self.executor
            .execute("DeleteFromHistoryNode", |transaction| transaction.delete_key(&key))
            .await
    }

    async fn range_select_from_history_node(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
    ) -> Result<Vec<HistoryNode>, StoreError> {
        let keys = page_keys(branch, page)?;
        self.executor
            .execute("RangeSelectFromHistoryNode", |transaction| {
                Ok(select_page(transaction, keys.clone(), page, HistoryNode::clone))
            })
            .await
    }

    async fn range_select_metadata_from_history_node(
        &mut self,
        branch: &BranchKey,
        page: &NodePage,
    ) -> Result<Vec<NodeMetadata>, StoreError> {
        let keys = page_keys(branch, page)?;
        self.executor
            .execute("RangeSelectFromHistoryNode", |transaction| {
                Ok(select_page(transaction, keys.clone(), page, HistoryNode::metadata))
            })
            .await
    }

    async fn range_delete_from_history_node(
        &mut self,
        branch: &BranchKey,
        min_node_id: i64,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let branch = branch_key(Table::HistoryNode, branch);
        let keys = branch.with([Column::BigInt(min_node_id)])..branch.end();
        self.executor
            .execute("RangeDeleteFromHistoryNode", |transaction| {
                transaction.delete_range(keys.clone(), Some(limit))
            })
            .await
    }

    async fn insert_into_history_tree(&mut self, row: &HistoryTreeRow) -> Result<u64, StoreError> {
        let row = [ready_tree(row)?];
        self.executor
            .execute("InsertIntoHistoryTree", |transaction| transaction.replace_all(&row))
            .await
    }

    async fn select_from_history_tree(
        &mut self,
        shard_id: ShardId,
        tree_id: TreeId,
    ) -> Result<Vec<HistoryTreeRow>, StoreError> {
        let tree = tree_key(Table::HistoryTree, shard_id, tree_id);
        self.executor
            .execute("SelectFromHistoryTree", |transaction| {
                Ok(transaction.range(tree.all()).cloned().collect())
            })
            .await
    }

    async fn delete_from_history_tree(&mut self, branch: &BranchKey) -> Result<u64, StoreError> {
        self.executor
            .execute("DeleteFromHistoryTree", |transaction| transaction.delete(branch))
            .await
    }

    async fn paginate_branches_from_history_tree(
        &mut self,
        after: Option<BranchKey>,
        limit: u32,
    ) -> Result<Vec<HistoryTreeRow>, StoreError> {
        let mut keys = Key::new(Table::HistoryTree, []).all();
        if let Some(after) = after {
            keys.start = after.to_key().end();
        }
        self.executor
            .execute("PaginateBranchesFromHistoryTree", |transaction| {
                Ok(transaction.range(keys.clone()).take(limit as usize).cloned().collect())
            })
            .await
    }
}
