//! The history scavenger: finds branches without an execution, and deletes them in bounded steps.
//!
//! A Go server appends history before it writes the execution, so a failed write leaves a branch
//! without an execution: an orphan. A branch belongs to an execution by the run in its record
//! ([`HistoryTreeInfo::run`]), or by its branch token in the version histories of an execution. A
//! branch is an orphan if the run of its record does not exist, and no other run of the same tree
//! has its token. If a record of the tree cannot be decoded, no branch of the tree is deleted.

use std::collections::HashSet;

use temporal_dsql_domain::{
    BranchKey, ExecutionsRow, HistoryBranch, HistoryTreeInfo, HistoryTreeRow, Timestamp,
};

use super::{super::check_limit, HistoryStore, decode};
use temporal_dsql_ports::{Store, StoreError};

/// A page of the branches of all shards, classified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrphanPage {
    /// Branches without an execution.
    pub orphans: Vec<BranchKey>,
    /// Branches that cannot be classified, because a record cannot be decoded. They are never deleted.
    pub unclassified: Vec<BranchKey>,
    /// The continuation key: the branch after which the next page begins; `None` on the last page.
    pub next: Option<BranchKey>,
}

/// The progress of the deletion of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanDeletion {
    /// The branch is deleted, or did not exist.
    Done,
    /// Nodes are left. Call again.
    More,
    /// The branch is not an orphan, or cannot be classified. Nothing was deleted.
    Kept,
}

/// The classification of a branch.
enum Classification {
    Orphan,
    Used,
    Unknown,
}

impl<S: Store> HistoryStore<S> {
    /// Reads the next `limit` branches of all shards after `after`, in the order of their keys, and
    /// classifies those that were created before `older_than`.
    ///
    /// A branch is created before its execution, so `older_than` must be earlier than the begin of
    /// every write that may still be running or be retried. (Temporal's scavenger uses 60 days by
    /// default.) Executions are looked up in the shard of the branch.
    ///
    /// It sends one statement for the page and one for the run of each branch that is old enough. If
    /// that run does not exist, it sends one for the tree and one for each run of the tree.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn orphans(
        &self,
        older_than: Timestamp,
        after: Option<BranchKey>,
        limit: u32,
    ) -> Result<OrphanPage, StoreError> {
        let rows = self.all_branches(after, limit).await?;
        let is_last = rows.len() < limit as usize;
        let next = rows.last().map(|row| row.branch).filter(|_| !is_last);
        let mut page = OrphanPage { next, ..OrphanPage::default() };
        for row in rows {
            match self.classify(&row, older_than).await? {
                Classification::Orphan => page.orphans.push(row.branch),
                Classification::Used => {}
                Classification::Unknown => page.unclassified.push(row.branch),
            }
        }
        Ok(page)
    }

    /// Deletes at most `limit` nodes of a branch if [`orphans`](Self::orphans) still classifies it as
    /// an orphan. Nodes that other branches use are kept. The row of the branch is deleted last, so
    /// that another call, also of another process, continues after an error.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn delete_orphan(
        &self,
        branch: &BranchKey,
        older_than: Timestamp,
        limit: u32,
    ) -> Result<OrphanDeletion, StoreError> {
        check_limit(limit)?;
        let BranchKey { shard_id, tree_id, branch_id } = *branch;
        let rows = self.store.session().select_from_history_tree(shard_id, tree_id).await?;
        let Some(row) = rows.iter().find(|row| row.branch.branch_id == branch_id) else {
            return Ok(OrphanDeletion::Done);
        };
        if !matches!(self.classify(row, older_than).await?, Classification::Orphan) {
            return Ok(OrphanDeletion::Kept);
        }
        let tree = rows.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        let branch = decode(row)?.branch;
        if self.delete_some(shard_id, &branch, &tree, limit).await? {
            Ok(OrphanDeletion::Done)
        } else {
            Ok(OrphanDeletion::More)
        }
    }

    async fn classify(
        &self,
        row: &HistoryTreeRow,
        older_than: Timestamp,
    ) -> Result<Classification, StoreError> {
        let shard_id = row.branch.shard_id;
        let Some(info) = record(row) else { return Ok(Classification::Unknown) };
        if info.fork_time >= older_than {
            return Ok(Classification::Used);
        }
        let Some(own) = info.run(shard_id) else { return Ok(Classification::Unknown) };
        let mut session = self.store.session();
        if session.select_from_executions(&own).await?.is_some() {
            return Ok(Classification::Used);
        }
        let mut checked = HashSet::from([own.run_id]);
        for other in session.select_from_history_tree(shard_id, row.branch.tree_id).await? {
            let run = record(&other).and_then(|info| info.run(shard_id));
            let Some(run) = run else { return Ok(Classification::Unknown) };
            if !checked.insert(run.run_id) {
                continue;
            }
            match session.select_from_executions(&run).await? {
                Some(execution) if may_contain(&execution, &info.branch) => {
                    return Ok(Classification::Used);
                }
                Some(_) | None => {}
            }
        }
        Ok(Classification::Orphan)
    }
}

/// The record of a branch, if it can be decoded and describes the branch of the row.
fn record(row: &HistoryTreeRow) -> Option<HistoryTreeInfo> {
    let info = HistoryTreeInfo::from_blob(&row.data).ok()?;
    (info.branch.key(row.branch.shard_id) == row.branch).then_some(info)
}

/// Whether the version histories of an execution may contain a branch: its blob contains the
/// beginning of the branch token, which is the tree and the branch. A blob with an unknown encoding
/// may contain any branch.
fn may_contain(execution: &ExecutionsRow, branch: &HistoryBranch) -> bool {
    let token = HistoryBranch::root(branch.tree_id, branch.branch_id).to_token();
    let data = &execution.data;
    data.encoding.as_str() != "Proto3" || data.data.windows(token.len()).any(|part| part == token)
}
