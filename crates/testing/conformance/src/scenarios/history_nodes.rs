//! Row operations on `history_node`: Temporal's `history_node.go`, and reverse paging, where its
//! plugins lose rows (temporal-persistence.md#history, temporal-persistence.md#case-10).

use std::cmp::Reverse;

use temporal_dsql_domain::{
    BranchKey, HistoryNode, NodeMetadata, NodeOrder, NodePage, NodePosition, Table, limits,
};
use temporal_dsql_ports::StoreError;

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    scenario::scenario_table,
};

scenario_table! { "history_nodes":
    inserting_a_node_affects_one_row = "history_node.go/TestInsert_Success";
    inserting_a_node_again_overwrites_it = "history_node.go/TestInsert_Fail_Duplicate";
    an_inserted_node_is_read = "history_node.go/TestInsertSelect_Single";
    pages_cover_all_nodes_largest_transaction_first
        = "history_node.go/TestInsertSelect_Multiple";
    deleting_an_absent_node_affects_none = "history_node.go/TestDeleteSelect";
    a_deleted_node_is_absent = "history_node.go/TestInsertDeleteSelect_Single";
    all_nodes_from_one_on_are_deleted = "history_node.go/TestInsertDeleteSelect_Multiple";
    reverse_pages_cover_every_node_once;
    metadata_has_the_same_pages_as_the_nodes;
    a_page_stays_between_its_bounds_in_either_order;
    a_page_begins_after_a_position_whether_or_not_it_exists;
    paging_continues_while_nodes_are_deleted_in_either_order = "temporal-persistence.md#case-9";
    several_nodes_are_inserted_at_once;
    of_several_nodes_at_one_position_the_last_one_is_stored;
    one_transaction_of_a_node_is_deleted_and_the_others_stay;
    nodes_are_deleted_in_chunks_from_the_first_on;
    each_branch_has_nodes_of_its_own;
    the_largest_and_smallest_numbers_are_read_in_order;
    the_smallest_number_is_no_transaction;
    a_node_that_another_transaction_wrote_since_is_a_conflict;
    a_batch_of_one_mebibyte_is_stored_and_one_byte_more_is_refused;
    three_thousand_nodes_are_deleted_in_one_chunk_and_not_one_more if transaction_limits;
}

/// All nodes of a branch, in one page.
const ALL: NodePage = NodePage {
    min_node_id: i64::MIN,
    max_node_id: i64::MAX,
    order: NodeOrder::Forward,
    after: None,
    limit: 100_000,
};

const ORDERS: [NodeOrder; 2] = [NodeOrder::Forward, NodeOrder::Reverse];

async fn insert(ctx: &TestContext, branch: &BranchKey, nodes: &[HistoryNode]) -> u64 {
    ctx.store.session().insert_into_history_node(branch, nodes).await.unwrap()
}

async fn select(ctx: &TestContext, branch: &BranchKey, page: &NodePage) -> Vec<HistoryNode> {
    ctx.store.session().range_select_from_history_node(branch, page).await.unwrap()
}

async fn delete_from(ctx: &TestContext, branch: &BranchKey, min_node_id: i64, limit: u32) -> u64 {
    let mut session = ctx.store.session();
    session.range_delete_from_history_node(branch, min_node_id, limit).await.unwrap()
}

fn position(node: &HistoryNode) -> NodePosition {
    node.metadata().position()
}

fn in_order(mut nodes: Vec<HistoryNode>, order: NodeOrder) -> Vec<HistoryNode> {
    nodes.sort_by_key(|node| (node.node_id, Reverse(node.txn_id)));
    if order == NodeOrder::Reverse {
        nodes.reverse();
    }
    nodes
}

/// A branch of `nodes` nodes, each with `transactions` transactions, inserted in random order.
async fn history(
    ctx: &TestContext,
    nodes: i64,
    transactions: impl Fn(&mut fastrand::Rng) -> i64,
) -> (BranchKey, Vec<HistoryNode>) {
    let branch = ctx.branch();
    let mut rows = Vec::new();
    let mut node_id = 1;
    for _ in 0..nodes {
        let mut txn_id = ctx.random(|random| random.i64(1..1_000));
        for _ in 0..ctx.random(&transactions) {
            rows.push(ctx.node(node_id, txn_id));
            txn_id += ctx.random(|random| random.i64(1..1_000));
        }
        node_id += ctx.random(|random| random.i64(1..4));
    }
    ctx.random(|random| random.shuffle(&mut rows));
    assert_eq!(insert(ctx, &branch, &rows).await, rows.len() as u64);
    (branch, rows)
}

/// Reads all pages, each after the last node of the page before.
async fn read_in_pages(ctx: &TestContext, branch: &BranchKey, first: NodePage) -> Vec<HistoryNode> {
    let mut read: Vec<HistoryNode> = Vec::new();
    let mut page = first;
    loop {
        let nodes = select(ctx, branch, &page).await;
        assert!(nodes.len() <= page.limit as usize);
        let Some(last) = nodes.last() else {
            return read;
        };
        page.after = Some(position(last));
        read.extend(nodes);
    }
}

async fn inserting_a_node_affects_one_row(ctx: &TestContext) {
    assert_eq!(insert(ctx, &ctx.branch(), &[ctx.node(1, 5)]).await, 1);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 1);
}

async fn inserting_a_node_again_overwrites_it(ctx: &TestContext) {
    let (branch, again) = (ctx.branch(), ctx.node(1, 5));
    insert(ctx, &branch, &[ctx.node(1, 5)]).await;
    assert_eq!(insert(ctx, &branch, std::slice::from_ref(&again)).await, 1);
    assert_eq!(select(ctx, &branch, &ALL).await, [again]);
}

async fn an_inserted_node_is_read(ctx: &TestContext) {
    let (branch, node) = (ctx.branch(), ctx.node(1, 5));
    insert(ctx, &branch, std::slice::from_ref(&node)).await;
    let page = NodePage { min_node_id: 1, max_node_id: 2, limit: 1, ..ALL };
    assert_eq!(select(ctx, &branch, &page).await, [node]);
}

async fn pages_cover_all_nodes_largest_transaction_first(ctx: &TestContext) {
    let (branch, rows) = history(ctx, 100, |random| random.i64(2..10)).await;
    let limit = ctx.random(|random| random.u32(10..20));
    let read = read_in_pages(ctx, &branch, NodePage { limit, ..ALL }).await;
    assert_eq!(read, in_order(rows, NodeOrder::Forward), "limit {limit}");
}

async fn deleting_an_absent_node_affects_none(ctx: &TestContext) {
    let branch = ctx.branch();
    let position = NodePosition { node_id: 1, txn_id: 5 };
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_history_node(&branch, position).await.unwrap(), 0);
    assert_eq!(delete_from(ctx, &branch, 1, 100).await, 0);
    assert_eq!(select(ctx, &branch, &ALL).await, []);
}

async fn a_deleted_node_is_absent(ctx: &TestContext) {
    let (branch, node) = (ctx.branch(), ctx.node(1, 5));
    insert(ctx, &branch, std::slice::from_ref(&node)).await;
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_history_node(&branch, position(&node)).await.unwrap(), 1);
    assert_eq!(select(ctx, &branch, &ALL).await, []);
}

async fn all_nodes_from_one_on_are_deleted(ctx: &TestContext) {
    let (branch, rows) = history(ctx, 50, |_| 2).await;
    assert_eq!(delete_from(ctx, &branch, 1, 1_000).await, rows.len() as u64);
    assert_eq!(select(ctx, &branch, &ALL).await, []);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 0);
}

async fn reverse_pages_cover_every_node_once(ctx: &TestContext) {
    let (branch, rows) = history(ctx, 30, |random| random.i64(1..6)).await;
    let expected = in_order(rows, NodeOrder::Reverse);
    // Pages of every size end between two transactions of a node.
    for limit in [1, 2, 3, 7, 200] {
        let page = NodePage { order: NodeOrder::Reverse, limit, ..ALL };
        assert_eq!(read_in_pages(ctx, &branch, page).await, expected, "limit {limit}");
    }
}

async fn metadata_has_the_same_pages_as_the_nodes(ctx: &TestContext) {
    let (branch, rows) = history(ctx, 12, |random| random.i64(1..4)).await;
    for order in ORDERS {
        let rows = in_order(rows.clone(), order);
        for (index, after) in rows.iter().enumerate().step_by(3) {
            let page = NodePage { order, after: Some(position(after)), limit: 4, ..ALL };
            let mut session = ctx.store.session();
            let read = session.range_select_metadata_from_history_node(&branch, &page).await;
            let expected: Vec<NodeMetadata> =
                rows[index + 1..].iter().take(4).map(HistoryNode::metadata).collect();
            assert_eq!(read.unwrap(), expected);
        }
    }
}

async fn a_page_stays_between_its_bounds_in_either_order(ctx: &TestContext) {
    let (branch, rows) = history(ctx, 20, |random| random.i64(1..4)).await;
    for order in ORDERS {
        let rows = in_order(rows.clone(), order);
        for (min_node_id, max_node_id) in [(1, 2), (5, 17), (17, 5), (6, 6), (0, 1), (900, 999)] {
            let expected: Vec<_> = rows
                .iter()
                .filter(|row| (min_node_id..max_node_id).contains(&row.node_id))
                .cloned()
                .collect();
            let page = NodePage { min_node_id, max_node_id, order, limit: 5, ..ALL };
            let read = read_in_pages(ctx, &branch, page).await;
            assert_eq!(read, expected, "{min_node_id}..{max_node_id} {order:?}");
        }
    }
    assert_eq!(select(ctx, &branch, &NodePage { limit: 0, ..ALL }).await, []);
}

async fn a_page_begins_after_a_position_whether_or_not_it_exists(ctx: &TestContext) {
    let branch = ctx.branch();
    let nodes = [(2, 50), (2, 30), (4, 70), (4, 20), (4, 10), (9, 5)]
        .map(|(node_id, txn_id)| ctx.node(node_id, txn_id));
    insert(ctx, &branch, &nodes).await;
    // The number of nodes before each position, in forward order.
    let positions = [
        (1, 1, 0),
        (2, 51, 0),
        (2, 40, 1),
        (2, 1, 2),
        (3, 9, 2),
        (4, 69, 3),
        (9, 1, 6),
        (10, 1, 6),
    ];
    for (node_id, txn_id, before) in positions {
        let after = Some(NodePosition { node_id, txn_id });
        let forward = select(ctx, &branch, &NodePage { after, ..ALL }).await;
        assert_eq!(forward, nodes[before..], "after {node_id}, {txn_id}");
        let reverse = NodePage { after, order: NodeOrder::Reverse, ..ALL };
        let mut reverse = select(ctx, &branch, &reverse).await;
        reverse.reverse();
        assert_eq!(reverse, nodes[..before], "before {node_id}, {txn_id}");
    }
    // A position outside the bounds does not extend the page.
    let bounds = NodePage { min_node_id: 4, max_node_id: 9, ..ALL };
    for (order, node_id) in [(NodeOrder::Forward, 1), (NodeOrder::Reverse, 20)] {
        let after = Some(NodePosition { node_id, txn_id: 1 });
        let page = NodePage { order, after, ..bounds };
        let read = select(ctx, &branch, &page).await;
        assert_eq!(read, in_order(nodes[2..5].to_vec(), order), "{order:?}");
    }
}

async fn paging_continues_while_nodes_are_deleted_in_either_order(ctx: &TestContext) {
    for order in ORDERS {
        let (branch, rows) = history(ctx, 10, |_| 3).await;
        let rows = in_order(rows, order);
        let page = NodePage { order, limit: 7, ..ALL };
        let first = select(ctx, &branch, &page).await;
        assert_eq!(first, rows[..7]);
        // A node that was read, the last one that was read, the next one, and a later one.
        let mut session = ctx.store.session();
        for index in [2, 6, 7, 20] {
            let deleted = session.delete_from_history_node(&branch, position(&rows[index])).await;
            assert_eq!(deleted.unwrap(), 1);
        }
        let after = first.last().map(position);
        let others = read_in_pages(ctx, &branch, NodePage { after, ..page }).await;
        let expected: Vec<_> = [&rows[8..20], &rows[21..]].concat();
        assert_eq!(others, expected, "{order:?}");
    }
}

async fn several_nodes_are_inserted_at_once(ctx: &TestContext) {
    let branch = ctx.branch();
    let mut nodes = [(1, 5), (1, 9), (4, 7)].map(|(node_id, txn_id)| ctx.node(node_id, txn_id));
    assert_eq!(insert(ctx, &branch, &nodes).await, 3);
    assert_eq!(insert(ctx, &branch, &[]).await, 0);
    // An existing node and a new one.
    nodes[2] = ctx.node(4, 7);
    let new = ctx.node(6, 1);
    assert_eq!(insert(ctx, &branch, &[new.clone(), nodes[2].clone()]).await, 2);
    let expected = in_order([&nodes[..], &[new]].concat(), NodeOrder::Forward);
    assert_eq!(select(ctx, &branch, &ALL).await, expected);
}

async fn of_several_nodes_at_one_position_the_last_one_is_stored(ctx: &TestContext) {
    let branch = ctx.branch();
    let nodes = [(1, 5), (2, 5), (1, 5)].map(|(node_id, txn_id)| ctx.node(node_id, txn_id));
    assert_eq!(insert(ctx, &branch, &nodes).await, 2);
    assert_eq!(select(ctx, &branch, &ALL).await, [nodes[2].clone(), nodes[1].clone()]);
}

async fn one_transaction_of_a_node_is_deleted_and_the_others_stay(ctx: &TestContext) {
    let branch = ctx.branch();
    let nodes = [9, 5, 1].map(|txn_id| ctx.node(3, txn_id));
    insert(ctx, &branch, &nodes).await;
    let mut session = ctx.store.session();
    for (txn_id, deleted) in [(5, 1), (5, 0), (-5, 0)] {
        let position = NodePosition { node_id: 3, txn_id };
        assert_eq!(session.delete_from_history_node(&branch, position).await.unwrap(), deleted);
    }
    assert_eq!(select(ctx, &branch, &ALL).await, [nodes[0].clone(), nodes[2].clone()]);
}

async fn nodes_are_deleted_in_chunks_from_the_first_on(ctx: &TestContext) {
    let branch = ctx.branch();
    let mut left: Vec<_> = (1..=5).flat_map(|id| [ctx.node(id, 9), ctx.node(id, 4)]).collect();
    insert(ctx, &branch, &left).await;
    // The first two nodes are before the range and are kept.
    for deleted in [4, 2, 0] {
        assert_eq!(delete_from(ctx, &branch, 3, 4).await, deleted as u64);
        left.drain(4..4 + deleted);
        assert_eq!(select(ctx, &branch, &ALL).await, left);
    }
}

async fn each_branch_has_nodes_of_its_own(ctx: &TestContext) {
    let (branch, other) = (ctx.branch(), ctx.branch());
    let branches = [
        branch,
        ctx.fork(&branch),
        BranchKey { tree_id: other.tree_id, ..branch },
        BranchKey { shard_id: other.shard_id, ..branch },
    ];
    let mut nodes = Vec::new();
    for branch in &branches {
        nodes.push(vec![ctx.node(1, 5), ctx.node(2, 5)]);
        insert(ctx, branch, &nodes[nodes.len() - 1]).await;
    }
    for (branch, nodes) in branches.iter().zip(&nodes) {
        assert_eq!(select(ctx, branch, &ALL).await, *nodes);
        assert_eq!(delete_from(ctx, branch, 1, 9).await, 2);
    }
}

/// The column holds the negated number, which does not exist for the smallest one.
async fn the_smallest_number_is_no_transaction(ctx: &TestContext) {
    let branch = ctx.branch();
    let node = ctx.node(1, 1);
    insert(ctx, &branch, std::slice::from_ref(&node)).await;
    let position = NodePosition { node_id: 1, txn_id: i64::MIN };
    let page = |order| NodePage { after: Some(position), order, ..ALL };
    let mut session = ctx.store.session();
    for refusal in [
        session.insert_into_history_node(&branch, &[ctx.node(1, i64::MIN)]).await,
        session.delete_from_history_node(&branch, position).await,
        session
            .range_select_from_history_node(&branch, &page(NodeOrder::Forward))
            .await
            .map(|nodes| nodes.len() as u64),
        session
            .range_select_metadata_from_history_node(&branch, &page(NodeOrder::Reverse))
            .await
            .map(|nodes| nodes.len() as u64),
    ] {
        assert!(
            matches!(refusal, Err(StoreError::InvalidArgument { field: "txn_id", .. })),
            "{refusal:?}"
        );
    }
    assert_eq!(select(ctx, &branch, &ALL).await, [node]);
}

async fn the_largest_and_smallest_numbers_are_read_in_order(ctx: &TestContext) {
    let branch = ctx.branch();
    // The column holds the negated transaction id, so the smallest number is not valid.
    let edges = [i64::MIN + 1, -1, 0, 1, i64::MAX];
    let mut nodes = Vec::new();
    for node_id in [i64::MIN, -1, 0, i64::MAX - 1] {
        for txn_id in edges {
            let prev_txn_id = if txn_id < 0 { i64::MIN } else { i64::MAX };
            nodes.push(HistoryNode { prev_txn_id, ..ctx.node(node_id, txn_id) });
        }
    }
    insert(ctx, &branch, &nodes).await;
    for order in ORDERS {
        let read = read_in_pages(ctx, &branch, NodePage { order, limit: 3, ..ALL }).await;
        assert_eq!(read, in_order(nodes.clone(), order));
    }
}

async fn a_node_that_another_transaction_wrote_since_is_a_conflict(ctx: &TestContext) {
    let (branch, node) = (ctx.branch(), ctx.node(1, 5));
    let mut late = ctx.begin("Late").await;
    assert_eq!(late.range_select_from_history_node(&branch, &ALL).await.unwrap(), []);
    insert(ctx, &branch, std::slice::from_ref(&node)).await;
    let written = late.insert_into_history_node(&branch, &[ctx.node(1, 5)]).await;
    assert_conflict(settle(late, written).await);
    assert_eq!(select(ctx, &branch, &ALL).await, [node]);
}

async fn a_batch_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let (branch, mut node) = (ctx.branch(), ctx.node(1, 5));
    node.data.data = vec![7; limits::MAX_VALUE_BYTES];
    assert_eq!(insert(ctx, &branch, std::slice::from_ref(&node)).await, 1);
    let mut larger = node.clone();
    larger.data.data.push(7);
    let both = [ctx.node(2, 5), larger];
    let error = ctx.store.session().insert_into_history_node(&branch, &both).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(select(ctx, &branch, &ALL).await, [node]);
}

async fn three_thousand_nodes_are_deleted_in_one_chunk_and_not_one_more(ctx: &TestContext) {
    let branch = ctx.branch();
    let most = u32::try_from(limits::MAX_TRANSACTION_ROWS).unwrap();
    let nodes: Vec<_> = (0..=i64::from(most)).map(|node_id| ctx.node(node_id, 1)).collect();
    insert(ctx, &branch, &nodes[..1]).await;
    insert(ctx, &branch, &nodes[1..]).await;
    let mut session = ctx.store.session();
    let error = session.range_delete_from_history_node(&branch, 0, most + 1).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::TransactionRows, .. }),
        "{error:?}"
    );
    assert_eq!(delete_from(ctx, &branch, 0, most).await, u64::from(most));
    assert_eq!(select(ctx, &branch, &ALL).await, nodes[nodes.len() - 1..]);
}
