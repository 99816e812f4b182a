//! Chains of batches: what trimming may delete, and how a batch without a previous transaction, or
//! with the transaction of the batch before, is read.

use temporal_dsql_domain::Table;
use temporal_dsql_ports::StoreError;
use temporal_dsql_stores::{PageKey, PageToken, ReadHistory};

use crate::{
    context::{
        TestContext,
        histories::{
            appended, assert_history, backwards, batch, fork, forwards, stored, trim, whole,
        },
    },
    history_fuzz::fuzz_histories,
    scenario::scenario_table,
};

scenario_table! { "history_chains":
    trimming_deletes_nothing_if_the_chain_ends_before_the_first_node;
    trimming_a_fork_that_begins_with_a_backfilled_batch_keeps_its_base_complete;
    trimming_leaves_smaller_transactions_and_nodes_off_the_chain;
    reading_backwards_continues_past_a_backfilled_batch;
    reading_backwards_past_a_backfilled_batch_returns_the_same_batches_as_forwards;
    reading_backwards_without_a_last_transaction_begins_with_the_last_valid_batch;
    a_batch_of_the_same_transaction_as_the_one_before_is_valid;
    a_page_without_a_valid_batch_ends_and_the_next_one_continues;
    a_token_of_the_other_direction_is_refused;
    a_serialized_token_continues_only_the_read_that_returned_it;
    readable_branches_read_the_same_after_a_trim;
}

/// The batches of a branch that the replication backfill has written to; its batches name no
/// previous transaction.
const BACKFILLED: [(i64, i64, i64); 4] = [(1, 10, 0), (4, 11, 10), (6, 12, 0), (8, 13, 12)];

async fn trimming_deletes_nothing_if_the_chain_ends_before_the_first_node(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, nodes) = stored(&shard, &BACKFILLED).await;
    assert_eq!(trim(&shard, &branch, &nodes[3]).await, 0);
    assert_history(&shard, &branch, &nodes.iter().collect::<Vec<_>>()).await;
    // Nothing is deleted either if the rest of the chain would be stale.
    let stale = appended(&shard, &branch, &[(8, 14, 12)]).await;
    assert_eq!(trim(&shard, &branch, &nodes[3]).await, 0);
    assert_eq!(backwards(&shard, &branch, 9, 14).await[0], stale[0]);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 5);
}

async fn trimming_a_fork_that_begins_with_a_backfilled_batch_keeps_its_base_complete(
    ctx: &TestContext,
) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10), (6, 12, 11)]).await;
    let branch = fork(&shard, &base, 6).await;
    let own = appended(&shard, &branch, &[(6, 20, 0)]).await;
    assert_eq!(trim(&shard, &branch, &own[0]).await, 0);
    assert_history(&shard, &base, &[&nodes[0], &nodes[1], &nodes[2]]).await;
    assert_history(&shard, &branch, &[&nodes[0], &nodes[1], &own[0]]).await;
}

async fn trimming_leaves_smaller_transactions_and_nodes_off_the_chain(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    // 11 and 13 are smaller than those of the chain; 14 is at a node that the chain does not have.
    let nodes = [(1, 10, 0), (4, 11, 10), (4, 12, 10), (5, 14, 12), (6, 13, 11), (6, 15, 12)];
    let (branch, nodes) = stored(&shard, &nodes).await;
    assert_eq!(trim(&shard, &branch, &nodes[5]).await, 0);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 6);
    // The chain ends earlier: at its nodes only 13 is larger, and 15 is after its end.
    let (branch, nodes) =
        stored(&shard, &[(1, 10, 0), (4, 13, 10), (4, 12, 10), (6, 15, 12)]).await;
    assert_eq!(trim(&shard, &branch, &nodes[2]).await, 1);
    assert_history(&shard, &branch, &[&nodes[0], &nodes[2], &nodes[3]]).await;
}

async fn reading_backwards_continues_past_a_backfilled_batch(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, nodes) = stored(&shard, &BACKFILLED).await;
    for limit in 1..6 {
        let read = backwards(&shard, &branch, limit, 13).await;
        let ids: Vec<_> = read.iter().map(|node| node.node_id).collect();
        assert_eq!(ids, [8, 6, 4, 1], "limit {limit}");
    }
    assert_history(&shard, &branch, &nodes.iter().collect::<Vec<_>>()).await;
}

async fn reading_backwards_past_a_backfilled_batch_returns_the_same_batches_as_forwards(
    ctx: &TestContext,
) {
    let shard = ctx.owned_shard().await;
    // Before the backfilled batch at node 8, 12 shadows 11; 9 is late.
    let nodes = [(1, 10, 0), (4, 11, 10), (4, 12, 10), (6, 9, 8), (8, 20, 0), (9, 21, 20)];
    let (base, nodes) = stored(&shard, &nodes).await;
    assert_history(&shard, &base, &[&nodes[0], &nodes[2], &nodes[4], &nodes[5]]).await;
    // The same for a batch that is the first one of a fork.
    let branch = fork(&shard, &base, 8).await;
    let own = appended(&shard, &branch, &[(8, 30, 0), (9, 31, 0)]).await;
    assert_history(&shard, &branch, &[&nodes[0], &nodes[2], &own[0], &own[1]]).await;
}

async fn reading_backwards_without_a_last_transaction_begins_with_the_last_valid_batch(
    ctx: &TestContext,
) {
    let shard = ctx.owned_shard().await;
    let (branch, nodes) = stored(&shard, &[(1, 10, 0), (4, 12, 10), (4, 11, 10)]).await;
    for limit in [1, 2, 9] {
        let read = backwards(&shard, &branch, limit, 0).await;
        assert_eq!(read, [nodes[1].clone(), nodes[0].clone()], "limit {limit}");
    }
}

async fn a_batch_of_the_same_transaction_as_the_one_before_is_valid(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, nodes) = stored(&shard, &[(1, 10, 0), (4, 10, 10), (6, 11, 10)]).await;
    let ids: Vec<_> = forwards(&shard, &branch, 2).await.iter().map(|node| node.node_id).collect();
    assert_eq!(ids, [1, 4, 6]);
    assert_history(&shard, &branch, &nodes.iter().collect::<Vec<_>>()).await;
    // The batch is on the chain, so trimming continues past it.
    appended(&shard, &branch, &[(6, 12, 10)]).await;
    assert_eq!(trim(&shard, &branch, &nodes[2]).await, 1);
    assert_history(&shard, &branch, &nodes.iter().collect::<Vec<_>>()).await;
}

/// A page ends even if all of its batches are stale.
async fn a_page_without_a_valid_batch_ends_and_the_next_one_continues(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, first) = stored(&shard, &[(1, 1_000, 0)]).await;
    let stale: Vec<_> = (2..=150).map(|id| batch(ctx, id, id, id - 1)).collect();
    let key = branch.key(shard.owner.shard_id);
    ctx.store.session().insert_into_history_node(&key, &stale).await.unwrap();
    let last = appended(&shard, &branch, &[(151, 1_001, 1_000)]).await;
    let request = whole(&shard, &branch, 1);
    let (mut sizes, mut all, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let page = shard.histories.read(&request, token).await.unwrap();
        sizes.push(page.nodes.len());
        all.extend(page.nodes);
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(all, [first[0].clone(), last[0].clone()]);
    assert_eq!(sizes[..3], [1, 0, 1]);
    let read = backwards(&shard, &branch, 1, 1_001).await;
    assert_eq!(read, [last[0].clone(), first[0].clone()]);
}

async fn a_token_of_the_other_direction_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (branch, _) = stored(&shard, &[(1, 10, 0), (4, 11, 10), (6, 12, 11)]).await;
    let request = whole(&shard, &branch, 1);
    let forward = shard.histories.read(&request, None).await.unwrap().next;
    let reverse = shard.histories.read_reverse(&request, 12, None).await.unwrap().next;
    assert!(forward.is_some() && reverse.is_some());
    for refused in [
        shard.histories.read_reverse(&request, 12, forward).await,
        shard.histories.read(&request, reverse).await,
    ] {
        let error = refused.unwrap_err();
        assert!(
            matches!(error, StoreError::InvalidArgument { field: "page_token", .. }),
            "{error:?}"
        );
    }
}

async fn a_serialized_token_continues_only_the_read_that_returned_it(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let (base, nodes) = stored(&shard, &[(1, 10, 0), (4, 11, 10), (6, 12, 11)]).await;
    let branch = fork(&shard, &base, 6).await;
    let request = whole(&shard, &base, 1);
    let first = shard.histories.read(&request, None).await.unwrap();
    let token = PageToken::from_bytes(&first.next.unwrap().to_bytes()).unwrap();
    // The next page may have another limit.
    let request = ReadHistory { limit: 9, ..request };
    let second = shard.histories.read(&request, Some(token)).await.unwrap();
    assert_eq!((second.nodes, second.next), (nodes[1..].to_vec(), None));
    for other in [
        ReadHistory { branch, ..request.clone() },
        ReadHistory { min_node_id: 2, ..request.clone() },
        ReadHistory { max_node_id: 6, ..request.clone() },
        ReadHistory { shard_id: ctx.shard_id(), ..request.clone() },
    ] {
        let error = shard.histories.read(&other, Some(token)).await.unwrap_err();
        assert!(
            matches!(error, StoreError::InvalidArgument { field: "page_token", .. }),
            "{error:?}"
        );
    }
}

async fn readable_branches_read_the_same_after_a_trim(ctx: &TestContext) {
    const TREES: u32 = 8;
    let seed = ctx.random(|random| random.u64(..));
    let report = fuzz_histories(std::sync::Arc::clone(&ctx.store), seed, TREES).await;
    assert!(report.compared > 0, "seed {seed}: {report:?}");
}
