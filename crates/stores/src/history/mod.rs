//! The history store: appends, reads, forks, trims and deletes history branches.
//!
//! A history is a tree of branches. A branch has its own nodes and, before them, nodes of its
//! ancestors. Nodes are never updated: a batch that replaces another is written with the same node
//! id and a larger transaction id, and shadows it.

mod read;
mod requests;
mod scavenge;
mod token;
mod trim;

use std::collections::BTreeMap;

use temporal_dsql_domain::{
    BranchId, BranchKey, BranchRange, HistoryBranch, HistoryTreeInfo, HistoryTreeRow, ShardId,
    Table, TreeId,
};

use super::{CHUNK, Rounds, check_limit, delete_in_chunks, unknown_commit::idempotent};
use temporal_dsql_ports::{Cause, Store, StoreError, Within, WriteSet};

pub use read::HistoryPage;
pub use requests::{AppendNodes, NewBranch, ReadHistory};
pub use scavenge::{OrphanDeletion, OrphanPage};
pub use token::PageToken;

define_store! {
    /// The history methods of Temporal's `ExecutionStore` and of its history manager, over any store.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{DataBlob, FIRST_NODE_ID, HistoryBranch, HistoryNode, HistoryTreeInfo, ShardId, Timestamp, TreeId};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{AppendNodes, HistoryStore, ReadHistory};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let histories = HistoryStore::new(MemoryStore::new());
    /// let tree_id: TreeId = "32049b68-7872-4094-8e63-d0dd59896a83".parse()?;
    /// let branch = HistoryBranch::root(tree_id, "8b2c55ae-9f3d-4f5e-8d3f-8e8d1f7a5c11".parse()?);
    /// let batch = |node_id, new_branch| AppendNodes {
    ///     shard_id: ShardId(1),
    ///     branch: branch.clone(),
    ///     new_branch,
    ///     node: HistoryNode {
    ///         node_id,
    ///         txn_id: node_id,
    ///         prev_txn_id: node_id - 1,
    ///         data: DataBlob::proto3(*b"History"),
    ///     },
    /// };
    /// // The first batch of a branch also describes it.
    /// let info = HistoryTreeInfo {
    ///     branch: branch.clone(),
    ///     fork_time: Timestamp::now(),
    ///     info: "namespace:workflow:run".into(),
    /// };
    /// histories.append(&batch(FIRST_NODE_ID, Some(info))).await?;
    /// histories.append(&batch(FIRST_NODE_ID + 1, None)).await?;
    ///
    /// let request = ReadHistory {
    ///     shard_id: ShardId(1),
    ///     branch: branch.clone(),
    ///     min_node_id: FIRST_NODE_ID,
    ///     max_node_id: i64::MAX,
    ///     limit: 1,
    /// };
    /// let page = histories.read(&request, None).await?;
    /// assert_eq!(page.nodes[0].node_id, FIRST_NODE_ID);
    /// let page = histories.read(&request, page.next).await?;
    /// assert_eq!(page.nodes[0].node_id, FIRST_NODE_ID + 1);
    /// histories.delete(ShardId(1), &branch).await?;
    /// # Ok(())
    /// # }
    /// ```
    HistoryStore
}

impl<S: Store> HistoryStore<S> {
    /// Appends a batch of events. It is idempotent, and retried if its outcome is unknown.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] if the node belongs to an ancestor, if `new_branch` describes
    /// another branch than `branch`, or if the transaction id is `i64::MIN`; [`StoreError::Limit`] if
    /// the events exceed the size of a value; and those of the store.
    pub async fn append(&self, nodes: &AppendNodes) -> Result<(), StoreError> {
        nodes.check()?;
        let change = nodes.change();
        if change.tree.is_none() {
            let node = std::slice::from_ref(change.node);
            let mut session = self.store.session();
            return idempotent!(session.insert_into_history_node(&change.branch, node)).map(drop);
        }
        let mut set = WriteSet::new("AppendHistoryNodes", nodes.shard_id);
        set.history.push(change);
        idempotent!(self.store.apply(&set))
    }

    /// Creates a branch that shares the nodes of `branch` before `fork_node_id`, which must be a node
    /// of `branch` and not its first.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for the first node, and those of the store.
    pub async fn fork(
        &self,
        shard_id: ShardId,
        branch: &HistoryBranch,
        fork_node_id: i64,
        new: NewBranch,
    ) -> Result<HistoryBranch, StoreError> {
        let forked = branch.fork(fork_node_id, new.branch_id)?;
        let info =
            HistoryTreeInfo { branch: forked.clone(), fork_time: new.fork_time, info: new.info };
        let row = HistoryTreeRow { branch: forked.key(shard_id), data: info.to_blob() };
        let mut session = self.store.session();
        idempotent!(session.insert_into_history_tree(&row))?;
        Ok(forked)
    }

    /// Reads all branches of a tree.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a branch cannot be read, and those of the store.
    pub async fn tree(
        &self,
        shard_id: ShardId,
        tree_id: TreeId,
    ) -> Result<Vec<HistoryTreeInfo>, StoreError> {
        let rows = self.store.session().select_from_history_tree(shard_id, tree_id).await?;
        rows.iter().map(decode).collect()
    }

    /// Reads a page of all branches of all shards, in the order of their keys, after `after`.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn all_branches(
        &self,
        after: Option<BranchKey>,
        limit: u32,
    ) -> Result<Vec<HistoryTreeRow>, StoreError> {
        check_limit(limit)?;
        self.store.session().paginate_branches_from_history_tree(after, limit).await
    }

    /// Deletes a branch and those nodes, of it and of its ancestors, that no other branch uses.
    ///
    /// The nodes are deleted in chunks, each in a transaction of its own, and the row of the branch
    /// last. After an error, deleting again completes the deletion.
    ///
    /// The other branches of the tree are read before each thousand deleted nodes, without a lock.
    /// So no branch of the tree may be forked or deleted concurrently. Temporal's workflow lock
    /// ensures it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a branch of the tree cannot be decoded: the nodes that it uses are
    /// not known, so nothing is deleted; and those of the store.
    pub async fn delete(
        &self,
        shard_id: ShardId,
        branch: &HistoryBranch,
    ) -> Result<(), StoreError> {
        let mut rounds = Rounds::new("DeleteHistoryBranch");
        loop {
            rounds.begin()?;
            let tree = self.tree(shard_id, branch.tree_id).await?;
            if self.delete_some(shard_id, branch, &tree, CHUNK).await? {
                return Ok(());
            }
        }
    }

    /// Deletes at most `limit` nodes of a branch of `tree` that no other branch uses, and the row of
    /// the branch after the last of them. Returns whether the branch is deleted.
    async fn delete_some(
        &self,
        shard_id: ShardId,
        branch: &HistoryBranch,
        tree: &[HistoryTreeInfo],
        limit: u32,
    ) -> Result<bool, StoreError> {
        let others = tree.iter().map(|info| &info.branch);
        let others = others.filter(|other| other.branch_id != branch.branch_id);
        let mut session = self.store.session();
        let mut left = u64::from(limit);
        for range in unshared(branch, others) {
            let key = BranchKey { branch_id: range.branch_id, ..branch.key(shard_id) };
            let from = range.begin_node_id;
            let deleted = delete_in_chunks!(
                left, chunk => session.range_delete_from_history_node(&key, from, chunk)
            );
            left = left.saturating_sub(deleted);
            if left == 0 {
                return Ok(false);
            }
        }
        session.delete_from_history_tree(&branch.key(shard_id)).await?;
        Ok(true)
    }
}

fn decode(row: &HistoryTreeRow) -> Result<HistoryTreeInfo, StoreError> {
    HistoryTreeInfo::from_blob(&row.data).map_err(|error| StoreError::Corrupt {
        table: Table::HistoryTree,
        column: "data",
        source: Some(Cause::new(error)),
    })
}

/// The ranges of `branch` that none of `others` uses, from its end backwards.
fn unshared<'a>(
    branch: &HistoryBranch,
    others: impl Iterator<Item = &'a HistoryBranch>,
) -> Vec<BranchRange> {
    const ALL: i64 = i64::MAX;
    // The end of the nodes that `others` use, by branch.
    let mut needed: BTreeMap<BranchId, i64> = BTreeMap::new();
    for range in others.flat_map(|other| other.ranges(ALL)) {
        let end = needed.entry(range.branch_id).or_insert(range.end_node_id);
        *end = (*end).max(range.end_node_id);
    }
    let mut unshared = Vec::new();
    for range in branch.ranges(ALL).into_iter().rev() {
        match needed.get(&range.branch_id) {
            None => unshared.push(range),
            // The nodes before it are used as well.
            Some(&ALL) => break,
            Some(&end) => {
                unshared.push(BranchRange { begin_node_id: end, ..range });
                break;
            }
        }
    }
    unshared
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::TreeId;
    use uuid::Uuid;

    use super::*;

    const fn id(number: u128) -> BranchId {
        BranchId(Uuid::from_u128(number))
    }

    fn ranges(branch: &HistoryBranch, others: &[HistoryBranch]) -> Vec<(BranchId, i64)> {
        let unshared = unshared(branch, others.iter());
        unshared.iter().map(|range| (range.branch_id, range.begin_node_id)).collect()
    }

    #[test]
    fn nodes_that_other_branches_use_are_kept() {
        let root = HistoryBranch::root(TreeId(Uuid::nil()), id(1));
        let second = root.fork(6, id(2)).unwrap();
        let third = second.fork(8, id(3)).unwrap();
        // No other branch.
        assert_eq!(ranges(&root, &[]), [(id(1), 1)]);
        assert_eq!(ranges(&third, &[]), [(id(3), 8), (id(2), 6), (id(1), 1)]);
        // The root is used up to the fork.
        assert_eq!(ranges(&root, std::slice::from_ref(&second)), [(id(1), 6)]);
        // The second is used up to the third's fork, and so are the nodes before it.
        assert_eq!(ranges(&second, &[root.clone(), third.clone()]), [(id(2), 8)]);
        // Only the third uses its own nodes.
        assert_eq!(ranges(&third, &[root.clone(), second]), [(id(3), 8)]);
        // Without the second, only the third uses the second's nodes. The root uses its own.
        assert_eq!(ranges(&third, &[root]), [(id(3), 8), (id(2), 6)]);
    }
}
