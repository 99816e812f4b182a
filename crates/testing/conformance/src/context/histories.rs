//! Histories in an owned shard, and the contents of their branches.

use temporal_dsql_domain::{
    BranchId, HistoryBranch, HistoryNode, HistoryTreeInfo, NodePosition, Timestamp,
};
use temporal_dsql_ports::StoreError;
use temporal_dsql_stores::{AppendNodes, NewBranch, ReadHistory};

use super::{owned_shard::OwnedShard, test_context::TestContext};

/// The root branch of a new tree that is not stored.
pub(crate) fn root(ctx: &TestContext) -> HistoryBranch {
    let key = ctx.branch();
    HistoryBranch::root(key.tree_id, key.branch_id)
}

/// A batch at `node_id` by transaction `txn_id`, whose previous transaction is `prev_txn_id`.
pub(crate) fn batch(ctx: &TestContext, node_id: i64, txn_id: i64, prev_txn_id: i64) -> HistoryNode {
    HistoryNode { prev_txn_id, ..ctx.node(node_id, txn_id) }
}

/// The record of a branch.
pub(crate) fn info(branch: &HistoryBranch) -> HistoryTreeInfo {
    let fork_time = Timestamp::UNIX_EPOCH;
    HistoryTreeInfo { branch: branch.clone(), fork_time, info: "scenario".into() }
}

pub(crate) async fn append(
    shard: &OwnedShard<'_>,
    branch: &HistoryBranch,
    node: &HistoryNode,
) -> Result<(), StoreError> {
    let is_first = node.node_id == 1 && branch.ancestors.is_empty();
    let nodes = AppendNodes {
        shard_id: shard.owner.shard_id,
        branch: branch.clone(),
        new_branch: is_first.then(|| info(branch)),
        node: node.clone(),
    };
    shard.histories.append(&nodes).await
}

/// Stores a root branch with these batches, given as (node id, transaction id, previous transaction
/// id).
pub(crate) async fn stored(
    shard: &OwnedShard<'_>,
    nodes: &[(i64, i64, i64)],
) -> (HistoryBranch, Vec<HistoryNode>) {
    let branch = root(shard.ctx);
    let nodes = appended(shard, &branch, nodes).await;
    (branch, nodes)
}

/// Appends batches to `branch`.
pub(crate) async fn appended(
    shard: &OwnedShard<'_>,
    branch: &HistoryBranch,
    nodes: &[(i64, i64, i64)],
) -> Vec<HistoryNode> {
    let mut all = Vec::new();
    for (node_id, txn_id, prev_txn_id) in nodes {
        let node = batch(shard.ctx, *node_id, *txn_id, *prev_txn_id);
        append(shard, branch, &node).await.unwrap();
        all.push(node);
    }
    all
}

pub(crate) async fn fork(
    shard: &OwnedShard<'_>,
    branch: &HistoryBranch,
    node_id: i64,
) -> HistoryBranch {
    let branch_id: BranchId = shard.ctx.branch().branch_id;
    let new = NewBranch { branch_id, fork_time: Timestamp::UNIX_EPOCH, info: "fork".into() };
    shard.histories.fork(shard.owner.shard_id, branch, node_id, new).await.unwrap()
}

pub(crate) fn whole(shard: &OwnedShard<'_>, branch: &HistoryBranch, limit: u32) -> ReadHistory {
    ReadHistory {
        shard_id: shard.owner.shard_id,
        branch: branch.clone(),
        min_node_id: 1,
        max_node_id: i64::MAX,
        limit,
    }
}

/// All pages of a branch, oldest first.
pub(crate) async fn forwards(
    shard: &OwnedShard<'_>,
    branch: &HistoryBranch,
    limit: u32,
) -> Vec<HistoryNode> {
    let request = whole(shard, branch, limit);
    let (mut all, mut token) = (Vec::new(), None);
    loop {
        let page = shard.histories.read(&request, token).await.unwrap();
        assert!(page.nodes.len() <= limit as usize);
        all.extend(page.nodes);
        match page.next {
            Some(next) => token = Some(next),
            None => return all,
        }
    }
}

/// All pages of a branch, newest first.
pub(crate) async fn backwards(
    shard: &OwnedShard<'_>,
    branch: &HistoryBranch,
    limit: u32,
    last_txn_id: i64,
) -> Vec<HistoryNode> {
    let request = whole(shard, branch, limit);
    let (mut all, mut token) = (Vec::new(), None);
    loop {
        let page = shard.histories.read_reverse(&request, last_txn_id, token).await.unwrap();
        all.extend(page.nodes);
        match page.next {
            Some(next) => token = Some(next),
            None => return all,
        }
    }
}

/// Asserts that a branch has these batches when it is read forwards and backwards.
pub(crate) async fn assert_history(
    shard: &OwnedShard<'_>,
    branch: &HistoryBranch,
    expected: &[&HistoryNode],
) {
    let expected: Vec<_> = expected.iter().map(|node| (*node).clone()).collect();
    let last = expected.last().map_or(0, |node| node.txn_id);
    for limit in [1, 2, 100] {
        assert_eq!(forwards(shard, branch, limit).await, expected);
        let mut reversed = backwards(shard, branch, limit, last).await;
        reversed.reverse();
        assert_eq!(reversed, expected);
    }
}

pub(crate) async fn trim(
    shard: &OwnedShard<'_>,
    branch: &HistoryBranch,
    last: &HistoryNode,
) -> u64 {
    let last = NodePosition { node_id: last.node_id, txn_id: last.txn_id };
    shard.histories.trim(shard.owner.shard_id, branch, last).await.unwrap()
}
