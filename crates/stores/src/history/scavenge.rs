//! What a scavenger needs: branches that have no execution, and their deletion in bounded steps.
//!
//! Acts that were refused leave branches behind: a Go server appends history before it writes the
//! execution. What ties a branch to an execution is the record of the branch, which names the run
//! that it was made for ([`HistoryTreeInfo::run`]), and the branch tokens in the blobs of executions
//! (their version histories). A branch is an orphan if the run of its record is not there, and no
//! other run of the same tree has its token. Where a record cannot be read, nothing is known, and
//! nothing of its tree is deleted.

use std::collections::HashSet;

use temporal_dsql_domain::{
    BranchKey, ExecutionsRow, HistoryBranch, HistoryTreeInfo, HistoryTreeRow, Timestamp,
};

use super::{super::check_limit, HistoryStore, decode};
use temporal_dsql_ports::{Store, StoreError};

/// A page of the branches of all shards, as a scavenger sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrphanPage {
    /// Branches without an execution.
    pub orphans: Vec<BranchKey>,
    /// Branches of which it cannot be told whether they have one. They are never deleted.
    pub unclear: Vec<BranchKey>,
    /// After which branch the next page begins; `None` if this was the last one. To go on later, it
    /// is all that a scavenger remembers.
    pub next: Option<BranchKey>,
}

/// How far the deletion of an orphan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanDeletion {
    /// The branch is gone, or was not there.
    Done,
    /// There is more to delete: call again.
    More,
    /// The branch is not an orphan, or not clearly one. Nothing was deleted.
    Kept,
}

/// What is known of a branch.
enum Verdict {
    Orphan,
    Used,
    Unclear,
}

impl<S: Store> HistoryStore<S> {
    /// Looks at the next `limit` branches of all shards after `after`, in the order of their keys,
    /// and tells which of those that were made before `older_than` have no execution.
    ///
    /// A branch is made before its execution, so `older_than` is well before now: earlier than any
    /// act that may still be under way, or tried again, began. (Temporal's scavenger leaves branches
    /// alone for 60 days by default.) Executions are looked for in the shard of the branch.
    ///
    /// It sends one statement for the page and, for each branch that is old enough, one for its run;
    /// only if that is absent, one for its tree and one for each run of the tree.
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
            match self.verdict(&row, older_than).await? {
                Verdict::Orphan => page.orphans.push(row.branch),
                Verdict::Used => {}
                Verdict::Unclear => page.unclear.push(row.branch),
            }
        }
        Ok(page)
    }

    /// Deletes at most `limit` nodes of a branch if it is still an orphan, as
    /// [`orphans`](Self::orphans) decides it; nodes that other branches have stay. The branch itself
    /// goes last, so that calling again goes on, also after an error and in another process.
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
        match self.verdict(row, older_than).await? {
            Verdict::Orphan => {}
            Verdict::Used | Verdict::Unclear => return Ok(OrphanDeletion::Kept),
        }
        let tree = rows.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        let branch = decode(row)?.branch;
        if self.delete_some(shard_id, &branch, &tree, limit).await? {
            Ok(OrphanDeletion::Done)
        } else {
            Ok(OrphanDeletion::More)
        }
    }

    async fn verdict(
        &self,
        row: &HistoryTreeRow,
        older_than: Timestamp,
    ) -> Result<Verdict, StoreError> {
        let shard_id = row.branch.shard_id;
        let Some(info) = record(row) else { return Ok(Verdict::Unclear) };
        if info.fork_time >= older_than {
            return Ok(Verdict::Used);
        }
        let Some(own) = info.run(shard_id) else { return Ok(Verdict::Unclear) };
        let mut session = self.store.session();
        if session.select_from_executions(&own).await?.is_some() {
            return Ok(Verdict::Used);
        }
        let mut looked_at = HashSet::from([own.run_id]);
        for other in session.select_from_history_tree(shard_id, row.branch.tree_id).await? {
            let run = record(&other).and_then(|info| info.run(shard_id));
            let Some(run) = run else { return Ok(Verdict::Unclear) };
            if !looked_at.insert(run.run_id) {
                continue;
            }
            match session.select_from_executions(&run).await? {
                Some(execution) if may_have(&execution, &info.branch) => {
                    return Ok(Verdict::Used);
                }
                Some(_) | None => {}
            }
        }
        Ok(Verdict::Orphan)
    }
}

/// What is recorded about a branch, if it can be read and is about the branch of the row.
fn record(row: &HistoryTreeRow) -> Option<HistoryTreeInfo> {
    let info = HistoryTreeInfo::from_blob(&row.data).ok()?;
    (info.branch.key(row.branch.shard_id) == row.branch).then_some(info)
}

/// Whether an execution may have a branch among its version histories: its blob contains the
/// beginning of the branch's token, which is the tree and the branch. A blob of another encoding may
/// have any.
fn may_have(execution: &ExecutionsRow, branch: &HistoryBranch) -> bool {
    let token = HistoryBranch::root(branch.tree_id, branch.branch_id).to_token();
    let data = &execution.data;
    data.encoding.as_str() != "Proto3" || data.data.windows(token.len()).any(|part| part == token)
}
