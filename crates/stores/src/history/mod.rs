//! Histories: appended to, read both ways, forked, trimmed and deleted.
//!
//! A history is a tree of branches; a branch has nodes of its own and, before them, nodes of its
//! ancestors. Nodes are never changed: a batch that takes the place of another is written at the
//! same node with a larger transaction and shadows it.

mod read;
mod requests;
mod scavenge;
mod token;
mod trim;

use std::{collections::BTreeMap, time::Duration};

use temporal_dsql_domain::{
    BranchId, BranchKey, BranchRange, HistoryBranch, HistoryTreeInfo, HistoryTreeRow, ShardId,
    Table, TreeId,
};

use super::{CHUNK, Rounds, check_limit, unknown_commit::idempotent};
use temporal_dsql_ports::{Cause, Store, StoreError, Within, WriteSet};

pub use read::HistoryPage;
pub use requests::{AppendNodes, NewBranch, ReadHistory};
pub use scavenge::{OrphanDeletion, OrphanPage};
pub use token::PageToken;

/// The history methods of Temporal's `ExecutionStore` and of the manager above it, over any store.
#[derive(Clone, Debug)]
pub struct HistoryStore<S> {
    store: S,
}

impl<S: Store> HistoryStore<S> {
    /// The histories of `store`.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// The same store for acts that end within `limit` from now. They count against it together:
    /// call this for each act, or once for all acts of a request.
    ///
    /// An act that is ended is [`StoreError::Unavailable`], and says by [`StoreError::outcome`]
    /// whether it may have been applied ([`Within`]).
    pub fn within(&self, limit: Duration) -> HistoryStore<Within<&S>> {
        HistoryStore::new(Within::new(&self.store, limit))
    }

    /// Appends a batch of events. Appending it again changes nothing, so a lost answer is simply
    /// asked for again.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] if the node belongs to an ancestor, or `new_branch` is not
    /// `branch`, or the transaction is the smallest number; [`StoreError::Limit`] if the events
    /// are larger than a value may be; and those of the store.
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

    /// Forks a new branch off `branch`: it has the nodes before `fork_node_id`, which must be a
    /// node of `branch` and not its first.
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

    /// Deletes a branch, with those of its nodes, and of its ancestors', that no other branch has.
    ///
    /// The nodes are deleted in chunks that fit a transaction, and the branch last, so that
    /// deleting again finishes what ended early.
    ///
    /// What other branches need is read once, before the first chunk, and nothing is locked: no
    /// branch of the tree may be forked or deleted at the same time. Temporal's lock of the workflow
    /// sees to that.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a branch of the tree cannot be read: what it needs is not known,
    /// so nothing is deleted; and those of the store.
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

    /// Deletes at most `limit` nodes of a branch of `tree` that no other branch has, and the branch
    /// after the last of them; tells whether it is gone.
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
            loop {
                let chunk = u32::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
                if chunk == 0 {
                    return Ok(false);
                }
                let deleted = session.range_delete_from_history_node(&key, from, chunk).await?;
                left = left.saturating_sub(deleted);
                if deleted < u64::from(chunk) {
                    break;
                }
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

/// The parts of `branch` that none of `others` has, from its end backwards. Each is deleted from
/// its begin on.
fn unshared<'a>(
    branch: &HistoryBranch,
    others: impl Iterator<Item = &'a HistoryBranch>,
) -> Vec<BranchRange> {
    const ALL: i64 = i64::MAX;
    // Up to where the nodes of each branch are needed.
    let mut needed: BTreeMap<BranchId, i64> = BTreeMap::new();
    for range in others.flat_map(|other| other.ranges(ALL)) {
        let end = needed.entry(range.branch_id).or_insert(range.end_node_id);
        *end = (*end).max(range.end_node_id);
    }
    let mut unshared = Vec::new();
    for range in branch.ranges(ALL).into_iter().rev() {
        match needed.get(&range.branch_id) {
            None => unshared.push(range),
            // What comes before is needed as well.
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
    fn what_other_branches_have_is_kept() {
        let root = HistoryBranch::root(TreeId(Uuid::nil()), id(1));
        let second = root.fork(6, id(2)).unwrap();
        let third = second.fork(8, id(3)).unwrap();
        // Nobody else: all of it.
        assert_eq!(ranges(&root, &[]), [(id(1), 1)]);
        assert_eq!(ranges(&third, &[]), [(id(3), 8), (id(2), 6), (id(1), 1)]);
        // The root is needed up to the fork.
        assert_eq!(ranges(&root, std::slice::from_ref(&second)), [(id(1), 6)]);
        // The second is needed up to the third's fork, and with it all before.
        assert_eq!(ranges(&second, &[root.clone(), third.clone()]), [(id(2), 8)]);
        // The third's own nodes are its alone; the second's are needed by the second itself.
        assert_eq!(ranges(&third, &[root.clone(), second]), [(id(3), 8)]);
        // Without the second, its nodes were the third's; the root's are still the root's.
        assert_eq!(ranges(&third, &[root]), [(id(3), 8), (id(2), 6)]);
    }
}
