//! HistoryStore: append, read in both directions, fork, trim and delete.

use futures_util::{StreamExt, future::join_all, stream};
use temporal_dsql_domain::{HistoryBranch, HistoryNode, Table, Timestamp};
use temporal_dsql_ports::StoreError;
use temporal_dsql_stores::{NewBranch, ReadHistory};

use crate::{
    context::{
        TestContext,
        histories::{
            append, appended, assert_history, backwards, batch, fork, forwards, info, root, stored,
            trim, whole,
        },
        owned_shard::OwnedShard,
    },
    scenario::scenario_table,
};

scenario_table! { "history_store":
    the_first_batch_is_appended_and_read = "history_store.go/TestAppendSelect_First";
    batches_are_read_one_after_the_other = "history_store.go/TestAppendSelect_NonShadowing";
    a_larger_transaction_shadows_a_batch = "history_store.go/TestAppendSelect_Shadowing";
    a_fork_has_its_ancestors_batches_before_its_own
        = "history_store.go/TestAppendForkSelect_NoShadowing";
    a_fork_does_not_have_batches_shadowed_in_its_ancestors
        = "history_store.go/TestAppendForkSelect_Shadowing_NonLastBranch";
    a_fork_shadows_its_own_batches
        = "history_store.go/TestAppendForkSelect_Shadowing_LastBranch";
    trimming_deletes_batches_that_shadow_the_chain = "history_store.go/TestAppendSelectTrim";
    trimming_a_fork_deletes_batches_that_shadow_its_ancestors
        = "history_store.go/TestAppendForkSelectTrim_NonLastBranch";
    trimming_a_fork_deletes_batches_that_shadow_its_own
        = "history_store.go/TestAppendForkSelectTrim_LastBranch";
    pages_of_any_size_have_all_batches_in_either_direction = "history_store.go/TestAppendBatches";
    deleting_the_base_first_keeps_the_batches_of_its_fork
        = "history_store.go/TestForkDeleteBranch_DeleteBaseBranchFirst";
    deleting_the_fork_first_keeps_the_base_complete
        = "history_store.go/TestForkDeleteBranch_DeleteForkedBranchFirst";
    reverse_pages_follow_the_chain_through_several_transactions_of_a_node
        = "temporal-persistence.md#case-10";
    paging_continues_while_stale_batches_are_trimmed = "temporal-persistence.md#case-9";
    a_branch_of_five_thousand_batches_is_deleted = "temporal-persistence.md#case-7";
    appending_a_batch_again_changes_nothing;
    a_batch_of_an_ancestor_is_not_appended;
    a_branch_is_not_forked_before_its_first_batch;
    branches_that_are_forked_and_appended_to_at_once_do_not_mix
        = "history_v2_persistence.go/TestConcurrentlyForkAndAppendBranches";
    branches_that_are_created_and_appended_to_at_once_do_not_mix
        = "history_v2_persistence.go/TestConcurrentlyCreateAndAppendBranches";
    pages_skip_shadowed_batches_and_continue_into_a_fork
        = "history_v2_persistence.go/TestReadBranchByPagination";
    a_thousand_branches_that_are_made_at_once_have_ids_of_their_own
        = "history_v2_persistence.go/TestGenUUIDs";
    all_branches_of_all_trees_are_scanned = "history_v2_persistence.go/TestScanAllTrees";
    a_page_limit_of_zero_is_refused;
}

async fn the_first_batch_is_appended_and_read(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, nodes) = stored(&shard, &[(1, 10, 0)]).await;
    assert_history(&shard, &branch, &[&nodes[0]]).await;
    let tree = shard.histories.tree(shard.owner.shard_id, branch.tree_id).await.unwrap();
    assert_eq!(tree, [info(&branch)]);
}

async fn batches_are_read_one_after_the_other(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10), (6, 12, 11)]).await;
    assert_history(&shard, &branch, &[&nodes[0], &nodes[1], &nodes[2]]).await;
}

async fn a_larger_transaction_shadows_a_batch(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    // 12 shadows 11, and 13 follows 11.
    let nodes = [(1, 10, 0), (4, 11, 10), (6, 13, 11), (4, 14, 10), (6, 15, 14)];
    let (branch, nodes) = stored(&shard, &nodes).await;
    assert_history(&shard, &branch, &[&nodes[0], &nodes[3], &nodes[4]]).await;
}

async fn a_fork_has_its_ancestors_batches_before_its_own(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10), (6, 12, 11)]).await;
    let branch = fork(&shard, &base, 6).await;
    let own = appended(&shard, &branch, &[(6, 13, 11), (9, 14, 13)]).await;
    assert_history(&shard, &branch, &[&nodes[0], &nodes[1], &own[0], &own[1]]).await;
    assert_history(&shard, &base, &[&nodes[0], &nodes[1], &nodes[2]]).await;
    // A fork of the fork has the batches of both.
    let second = fork(&shard, &branch, 9).await;
    let last = appended(&shard, &second, &[(9, 15, 13)]).await;
    assert_history(&shard, &second, &[&nodes[0], &nodes[1], &own[0], &last[0]]).await;
    let mut tree = shard.histories.tree(shard.owner.shard_id, base.tree_id).await.unwrap();
    tree.sort_by_key(|info| info.branch.ancestors.len());
    let branches: Vec<_> = tree.into_iter().map(|info| info.branch).collect();
    assert_eq!(branches, [base, branch, second]);
}

async fn a_fork_does_not_have_batches_shadowed_in_its_ancestors(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10), (4, 12, 10)]).await;
    let branch = fork(&shard, &base, 6).await;
    let own = appended(&shard, &branch, &[(6, 13, 12)]).await;
    assert_history(&shard, &branch, &[&nodes[0], &nodes[2], &own[0]]).await;
}

async fn a_fork_shadows_its_own_batches(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10)]).await;
    let branch = fork(&shard, &base, 4).await;
    let own = appended(&shard, &branch, &[(4, 12, 10), (4, 13, 10), (6, 14, 13)]).await;
    assert_history(&shard, &branch, &[&nodes[0], &own[1], &own[2]]).await;
    assert_history(&shard, &base, &[&nodes[0], &nodes[1]]).await;
}

async fn trimming_deletes_batches_that_shadow_the_chain(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    // 12 and 14 are of writers that failed; 13 is the last committed batch.
    let nodes = [(1, 10, 0), (4, 12, 10), (4, 11, 10), (6, 14, 11), (6, 13, 11)];
    let (branch, nodes) = stored(&shard, &nodes).await;
    assert_eq!(trim(&shard, &branch, &nodes[4]).await, 2);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 3);
    assert_history(&shard, &branch, &[&nodes[0], &nodes[2], &nodes[4]]).await;
    assert_eq!(trim(&shard, &branch, &nodes[4]).await, 0);
    // An incomplete chain does not make other batches stale.
    let absent = batch(ctx, 9, 99, 98);
    append(&shard, &branch, &absent).await.unwrap();
    assert_eq!(trim(&shard, &branch, &absent).await, 0);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 4);
}

async fn trimming_a_fork_deletes_batches_that_shadow_its_ancestors(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 12, 10), (4, 11, 10)]).await;
    let branch = fork(&shard, &base, 6).await;
    let own = appended(&shard, &branch, &[(6, 13, 11)]).await;
    assert_eq!(trim(&shard, &branch, &own[0]).await, 1);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 3);
    assert_history(&shard, &branch, &[&nodes[0], &nodes[2], &own[0]]).await;
    assert_history(&shard, &base, &[&nodes[0], &nodes[2]]).await;
}

async fn trimming_a_fork_deletes_batches_that_shadow_its_own(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10)]).await;
    let branch = fork(&shard, &base, 4).await;
    let own = appended(&shard, &branch, &[(4, 13, 10), (4, 12, 10)]).await;
    assert_eq!(trim(&shard, &branch, &own[1]).await, 1);
    assert_history(&shard, &branch, &[&nodes[0], &own[1]]).await;
    assert_history(&shard, &base, &[&nodes[0], &nodes[1]]).await;
}

async fn pages_of_any_size_have_all_batches_in_either_direction(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let batches: Vec<_> = (0..40).map(|n| (1 + 3 * n, 1 + n, n)).collect();
    let (branch, nodes) = stored(&shard, &batches).await;
    for limit in [1, 7, 39, 40, 41] {
        assert_eq!(forwards(&shard, &branch, limit).await, nodes);
        let mut reversed = backwards(&shard, &branch, limit, 40).await;
        reversed.reverse();
        assert_eq!(reversed, nodes);
    }
    // A range of nodes: the first is included, the last excluded.
    let request = ReadHistory { min_node_id: 4, max_node_id: 13, ..whole(&shard, &branch, 100) };
    let part = shard.histories.read(&request, None).await.unwrap();
    assert_eq!((part.nodes, part.next), (nodes[1..4].to_vec(), None));
}

/// A base and a fork of it, each with one more batch than they share.
async fn forked(shard: &OwnedShard<'_>) -> (HistoryBranch, HistoryBranch, Vec<HistoryNode>) {
    let (base, mut nodes) = stored(shard, &[(1, 10, 0), (4, 11, 10), (6, 12, 11)]).await;
    let branch = fork(shard, &base, 6).await;
    nodes.extend(appended(shard, &branch, &[(6, 13, 11)]).await);
    (base, branch, nodes)
}

async fn deleting_the_base_first_keeps_the_batches_of_its_fork(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, branch, nodes) = forked(&shard).await;
    let shard_id = shard.owner.shard_id;
    shard.histories.delete(shard_id, &base).await.unwrap();
    assert_history(&shard, &branch, &[&nodes[0], &nodes[1], &nodes[3]]).await;
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 3);
    shard.histories.delete(shard_id, &branch).await.unwrap();
    // A branch without a batch, which Temporal's manager reports as not found.
    assert_history(&shard, &branch, &[]).await;
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 0);
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 0);
}

async fn deleting_the_fork_first_keeps_the_base_complete(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, branch, nodes) = forked(&shard).await;
    let shard_id = shard.owner.shard_id;
    shard.histories.delete(shard_id, &branch).await.unwrap();
    assert_history(&shard, &base, &[&nodes[0], &nodes[1], &nodes[2]]).await;
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 3);
    shard.histories.delete(shard_id, &base).await.unwrap();
    shard.histories.delete(shard_id, &base).await.unwrap();
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 0);
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 0);
}

async fn reverse_pages_follow_the_chain_through_several_transactions_of_a_node(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let branch = root(ctx);
    // At each node, three writers failed before the one that committed, and one came after it.
    let (mut chain, mut prev) = (Vec::new(), 0);
    for n in 0..8 {
        let node_id = 1 + 2 * n;
        let valid = 100 * (n + 1) + 50;
        for failed in [1, 2, 3] {
            append(&shard, &branch, &batch(ctx, node_id, valid - failed, prev)).await.unwrap();
        }
        let node = batch(ctx, node_id, valid, prev);
        append(&shard, &branch, &node).await.unwrap();
        chain.push(node);
        prev = valid;
    }
    for limit in [1, 2, 3, 4, 5, 100] {
        let mut reversed = backwards(&shard, &branch, limit, prev).await;
        reversed.reverse();
        assert_eq!(reversed, chain, "limit {limit}");
        assert_eq!(forwards(&shard, &branch, limit).await, chain, "limit {limit}");
    }
}

async fn paging_continues_while_stale_batches_are_trimmed(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let batches = [(1, 10, 0), (3, 12, 10), (5, 16, 12), (5, 14, 12), (7, 17, 14), (7, 15, 14)];
    let (branch, nodes) = stored(&shard, &batches).await;
    let request = whole(&shard, &branch, 2);
    let first = shard.histories.read(&request, None).await.unwrap();
    assert_eq!(trim(&shard, &branch, &nodes[5]).await, 2);
    let mut all = first.nodes;
    let mut token = first.next;
    while token.is_some() {
        let page = shard.histories.read(&request, token).await.unwrap();
        all.extend(page.nodes);
        token = page.next;
    }
    assert_eq!(all, [0, 1, 3, 5].map(|index: usize| nodes[index].clone()));
}

async fn a_branch_of_five_thousand_batches_is_deleted(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, _) = stored(&shard, &[(1, 1, 0)]).await;
    let key = branch.key(shard.owner.shard_id);
    let many: Vec<_> = (2..=5_000).map(|id| batch(ctx, id, id, id - 1)).collect();
    for part in many.chunks(2_500) {
        ctx.store.session().insert_into_history_node(&key, part).await.unwrap();
    }
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 5_000);
    shard.histories.delete(shard.owner.shard_id, &branch).await.unwrap();
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 0);
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 0);
}

async fn appending_a_batch_again_changes_nothing(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10)]).await;
    for node in &nodes {
        append(&shard, &branch, node).await.unwrap();
    }
    assert_history(&shard, &branch, &[&nodes[0], &nodes[1]]).await;
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 2);
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 1);
}

async fn a_batch_of_an_ancestor_is_not_appended(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10), (6, 12, 11)]).await;
    let branch = fork(&shard, &base, 6).await;
    let error = append(&shard, &branch, &batch(ctx, 4, 13, 10)).await.unwrap_err();
    let StoreError::InvalidArgument { field, reason, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(field, "node_id");
    assert!(reason.contains("ancestor"), "{reason}");
    assert_history(&shard, &base, &[&nodes[0], &nodes[1], &nodes[2]]).await;
}

async fn a_branch_is_not_forked_before_its_first_batch(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, _) = stored(&shard, &[(1, 10, 0)]).await;
    let branch_id = ctx.branch().branch_id;
    let new = NewBranch { branch_id, fork_time: Timestamp::UNIX_EPOCH, info: "fork".into() };
    let error = shard.histories.fork(shard.owner.shard_id, &base, 1, new).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "fork_node_id", .. }));
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 1);
}

async fn branches_that_are_forked_and_appended_to_at_once_do_not_mix(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10)]).await;
    let forks = (0..8).map(|number| {
        let (shard, base) = (&shard, &base);
        async move {
            let branch = fork(shard, base, 4).await;
            let txn = 100 * (number + 1);
            let own = [(4, txn, 10), (6, txn + 1, txn), (9, txn + 2, txn + 1)];
            let own = appended(shard, &branch, &own).await;
            (branch, own)
        }
    });
    for (branch, own) in join_all(forks).await {
        assert_history(&shard, &branch, &[&nodes[0], &own[0], &own[1], &own[2]]).await;
    }
    assert_history(&shard, &base, &[&nodes[0], &nodes[1]]).await;
    let tree = shard.histories.tree(shard.owner.shard_id, base.tree_id).await.unwrap();
    assert_eq!(tree.len(), 9);
}

async fn branches_that_are_created_and_appended_to_at_once_do_not_mix(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let tree = ctx.branch();
    let created = (0..8).map(|_| {
        let shard = &shard;
        async move {
            let branch = HistoryBranch::root(tree.tree_id, ctx.branch().branch_id);
            let nodes = [(1, 1, 0), (4, 2, 1), (5, 3, 2), (9, 4_000, 3)];
            let nodes = appended(shard, &branch, &nodes).await;
            assert_history(shard, &branch, &nodes.iter().collect::<Vec<_>>()).await;
            (branch, nodes)
        }
    });
    let created = join_all(created).await;
    let branches = shard.histories.tree(shard.owner.shard_id, tree.tree_id).await.unwrap();
    assert_eq!(branches.len(), 8);

    let overwritten = created.iter().map(|(branch, nodes)| {
        let shard = &shard;
        async move {
            // A smaller transaction does not shadow a batch.
            appended(shard, branch, &[(5, 0, 2)]).await;
            assert_history(shard, branch, &nodes.iter().collect::<Vec<_>>()).await;
            // Larger ones do; the last one shadows all before.
            let others = [(5, 3_000, 2), (5, 3_001, 2), (7, 3_002, 3_001), (9, 4_001, 3_002)];
            let others = appended(shard, branch, &others).await;
            let expected = [&nodes[0], &nodes[1], &others[1], &others[2], &others[3]];
            assert_history(shard, branch, &expected).await;
        }
    });
    join_all(overwritten).await;
    for (branch, _) in &created {
        shard.histories.delete(shard.owner.shard_id, branch).await.unwrap();
    }
    let left = shard.histories.tree(shard.owner.shard_id, tree.tree_id).await.unwrap();
    assert_eq!(left, []);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 0);
}

async fn pages_skip_shadowed_batches_and_continue_into_a_fork(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    // Three batches at node 6 are late: the batch at node 5 contains their events.
    let batches =
        [(1, 1, 0), (4, 2, 1), (5, 6, 2), (6, 3, 2), (6, 4, 2), (6, 5, 2), (9, 7, 6), (10, 8, 7)];
    let (base, nodes) = stored(&shard, &batches).await;
    // A range that begins in the middle of a batch begins with the next batch; its reader checks
    // the events.
    let middle = ReadHistory { min_node_id: 6, max_node_id: 10, ..whole(&shard, &base, 4) };
    let page = shard.histories.read(&middle, None).await.unwrap();
    assert_eq!(page.nodes, [nodes[5].clone(), nodes[6].clone()]);

    let more = appended(&shard, &base, &[(11, 9, 8), (12, 10, 9), (13, 11, 10)]).await;
    let branch = fork(&shard, &base, 13).await;
    let own = [(13, 12, 10), (14, 13, 12), (15, 14, 13), (18, 15, 14)];
    let own = appended(&shard, &branch, &own).await;
    let expected: Vec<_> = [&nodes[..3], &nodes[6..], &more[..2], &own[..]].concat();
    for limit in 1..=12 {
        assert_eq!(forwards(&shard, &branch, limit).await, expected, "limit {limit}");
    }
    // The limit may differ from page to page.
    let (mut found, mut token) = (Vec::new(), None);
    for limit in [3, 3, 3, 3, 1, 2, 1, 1, 100] {
        let page = shard.histories.read(&whole(&shard, &branch, limit), token).await.unwrap();
        found.extend(page.nodes);
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!((found, token), (expected, None));
    // A range in the middle of the last batch is an empty page.
    let after = ReadHistory { min_node_id: 19, ..whole(&shard, &branch, 3) };
    let page = shard.histories.read(&after, None).await.unwrap();
    assert_eq!((page.nodes, page.next), (Vec::new(), None));
    for branch in [&branch, &base] {
        shard.histories.delete(shard.owner.shard_id, branch).await.unwrap();
    }
    let left = shard.histories.tree(shard.owner.shard_id, base.tree_id).await.unwrap();
    assert_eq!(left, []);
}

/// The caller chooses the id of a branch; two branches with one id would be one branch.
async fn a_thousand_branches_that_are_made_at_once_have_ids_of_their_own(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, _) = stored(&shard, &[(1, 1, 0)]).await;
    let forks = (0..1_000).map(|_| fork(&shard, &base, 2));
    let forks = stream::iter(forks).buffer_unordered(16).collect::<Vec<_>>().await;
    assert_eq!(forks.len(), 1_000);
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 1_001);
}

async fn all_branches_of_all_trees_are_scanned(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    // The first page of an empty table without a start key (temporal-persistence.md#fault-8).
    assert_eq!(shard.histories.all_branches(None, 100).await.unwrap(), []);
    let mut keys = Vec::new();
    for _ in 0..101 {
        let (branch, _) = stored(&shard, &[(1, 10, 0)]).await;
        keys.push(branch.key(shard.owner.shard_id));
    }
    keys.sort();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = shard.histories.all_branches(after, 10).await.unwrap();
        found.extend(page.iter().map(|row| row.branch));
        match page.last() {
            Some(row) => after = Some(row.branch),
            None => break,
        }
    }
    assert_eq!(found, keys);
}

async fn a_page_limit_of_zero_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    stored(&shard, &[(1, 10, 0)]).await;
    let refused = shard.histories.all_branches(None, 0).await;
    assert!(
        matches!(refused, Err(StoreError::InvalidArgument { field: "limit", .. })),
        "{refused:?}"
    );
}
