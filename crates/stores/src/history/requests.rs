//! The requests of a [`HistoryStore`](super::HistoryStore).

use temporal_dsql_domain::{
    BranchId, HistoryBranch, HistoryNode, HistoryTreeInfo, HistoryTreeRow, InvalidValue, ShardId,
    Timestamp, stored_txn_id,
};
use temporal_dsql_ports::HistoryChange;

/// A batch of events to append to a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendNodes {
    /// The history shard.
    pub shard_id: ShardId,
    /// The branch.
    pub branch: HistoryBranch,
    /// The record of the branch, if the batch creates it. It describes the same branch.
    pub new_branch: Option<HistoryTreeInfo>,
    /// The batch.
    pub node: HistoryNode,
}

impl AppendNodes {
    /// Validates the request.
    ///
    /// # Errors
    /// The node belongs to an ancestor; `new_branch` describes another branch; the transaction id
    /// cannot be stored.
    pub(crate) fn check(&self) -> Result<(), InvalidValue> {
        let Self { branch, new_branch, node, .. } = self;
        let begin = branch.begin_node_id();
        InvalidValue::unless(node.node_id >= begin, "node_id", || {
            format!(
                "is {}, which belongs to an ancestor: branch {} begins at {begin}",
                node.node_id, branch.branch_id
            )
        })?;
        if let Some(info) = new_branch {
            InvalidValue::unless(info.branch == *branch, "new_branch", || {
                format!("is {:?}, but the events are for {branch:?}", info.branch)
            })?;
        }
        stored_txn_id(node.txn_id).map(drop)
    }

    /// The rows to write.
    pub(crate) fn change(&self) -> HistoryChange<'_> {
        let branch = self.branch.key(self.shard_id);
        let tree =
            self.new_branch.as_ref().map(|info| HistoryTreeRow { branch, data: info.to_blob() });
        HistoryChange { branch, node: &self.node, tree }
    }
}

/// A branch to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBranch {
    /// Its id, which must be unique.
    pub branch_id: BranchId,
    /// The time of its creation.
    pub fork_time: Timestamp,
    /// The run of the branch ([`HistoryTreeInfo::info_of`]), which the scavenger looks for.
    pub info: String,
}

/// A range of a branch to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadHistory {
    /// The history shard.
    pub shard_id: ShardId,
    /// The branch.
    pub branch: HistoryBranch,
    /// The first node id of the range.
    pub min_node_id: i64,
    /// The first node id after the range.
    pub max_node_id: i64,
    /// The most nodes that one statement reads, and so the most batches of a page. A page may have
    /// fewer, or none, and still have a successor: see
    /// [`HistoryPage::next`](super::HistoryPage::next).
    pub limit: u32,
}
