//! The requests of a [`HistoryStore`](super::HistoryStore).

use temporal_dsql_domain::{
    BranchId, HistoryBranch, HistoryNode, HistoryTreeInfo, HistoryTreeRow, InvalidValue, ShardId,
    Timestamp, stored_txn_id,
};
use temporal_dsql_ports::HistoryChange;

/// A batch of events that is appended to a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendNodes {
    /// The history shard.
    pub shard_id: ShardId,
    /// The branch.
    pub branch: HistoryBranch,
    /// What is recorded about the branch, if this makes it. It is the same branch.
    pub new_branch: Option<HistoryTreeInfo>,
    /// The batch.
    pub node: HistoryNode,
}

impl AppendNodes {
    /// Checks what would be wrong on every store.
    ///
    /// # Errors
    /// The node belongs to an ancestor; what is recorded is another branch than the one that the
    /// batch is for; the transaction cannot be stored.
    pub(crate) fn check(&self) -> Result<(), InvalidValue> {
        let Self { branch, new_branch, node, .. } = self;
        let begin = branch.begin_node_id();
        if node.node_id < begin {
            return Err(InvalidValue::new(
                "node_id",
                format!(
                    "is {}, which belongs to an ancestor: branch {} begins at {begin}",
                    node.node_id, branch.branch_id
                ),
            ));
        }
        if let Some(info) = new_branch
            && info.branch != *branch
        {
            return Err(InvalidValue::new(
                "new_branch",
                format!("is {:?}, but the events are for {branch:?}", info.branch),
            ));
        }
        stored_txn_id(node.txn_id).map(drop)
    }

    /// The rows that it writes.
    pub(crate) fn change(&self) -> HistoryChange<'_> {
        let branch = self.branch.key(self.shard_id);
        let tree =
            self.new_branch.as_ref().map(|info| HistoryTreeRow { branch, data: info.to_blob() });
        HistoryChange { branch, node: &self.node, tree }
    }
}

/// A branch that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBranch {
    /// Its id, which nobody else has.
    pub branch_id: BranchId,
    /// The time of its making.
    pub fork_time: Timestamp,
    /// For which run it is made ([`HistoryTreeInfo::info_of`]): the scavenger finds it by that.
    pub info: String,
}

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
    /// The most nodes that one statement looks at, and so the most batches of a page. A page may
    /// have fewer, or none, and not be the last one: [`HistoryPage::next`] says whether it is.
    pub limit: u32,
}
