//! Row operations on `history_tree`: Temporal's `history_tree.go`, and the scan of all branches for
//! its `ScanAllTrees`.

use temporal_dsql_domain::{BranchId, BranchKey, HistoryTreeRow, ShardId, Table, TreeId, limits};
use temporal_dsql_ports::StoreError;
use uuid::Uuid;

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "history_trees":
    inserting_a_branch_affects_one_row = "history_tree.go/TestInsert_Success";
    inserting_a_branch_again_overwrites_it = "history_tree.go/TestInsert_Duplicate_Success";
    an_inserted_branch_is_read = "history_tree.go/TestInsertSelect";
    deleting_an_absent_branch_affects_none = "history_tree.go/TestDeleteSelect";
    a_deleted_branch_is_absent = "history_tree.go/TestInsertDeleteSelect";
    the_branches_of_a_tree_are_read_in_id_order;
    each_shard_and_each_tree_has_branches_of_its_own;
    pages_cover_all_branches_in_key_order;
    a_page_begins_after_a_key_whether_or_not_it_exists;
    the_first_page_includes_a_key_of_zeros;
    paging_continues_while_branches_are_deleted_and_added = "temporal-persistence.md#case-9";
    a_branch_of_one_mebibyte_is_stored_and_one_byte_more_is_refused;
}

async fn insert(ctx: &TestContext, row: &HistoryTreeRow) {
    assert_eq!(ctx.store.session().insert_into_history_tree(row).await.unwrap(), 1);
}

async fn select(ctx: &TestContext, branch: &BranchKey) -> Vec<HistoryTreeRow> {
    let mut session = ctx.store.session();
    session.select_from_history_tree(branch.shard_id, branch.tree_id).await.unwrap()
}

async fn page(ctx: &TestContext, after: Option<BranchKey>, limit: u32) -> Vec<HistoryTreeRow> {
    ctx.store.session().paginate_branches_from_history_tree(after, limit).await.unwrap()
}

/// Inserts rows with these keys and returns them in key order.
async fn inserted(ctx: &TestContext, mut keys: Vec<BranchKey>) -> Vec<HistoryTreeRow> {
    let mut rows = Vec::new();
    for key in &keys {
        insert(ctx, &ctx.tree_row(*key)).await;
    }
    keys.sort_unstable();
    for key in keys {
        let changed = ctx.tree_row(key);
        insert(ctx, &changed).await;
        rows.push(changed);
    }
    rows
}

async fn inserting_a_branch_affects_one_row(ctx: &TestContext) {
    insert(ctx, &ctx.tree_row(ctx.branch())).await;
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 1);
}

async fn inserting_a_branch_again_overwrites_it(ctx: &TestContext) {
    let branch = ctx.branch();
    insert(ctx, &ctx.tree_row(branch)).await;
    let again = ctx.tree_row(branch);
    insert(ctx, &again).await;
    assert_eq!(select(ctx, &branch).await, [again]);
}

async fn an_inserted_branch_is_read(ctx: &TestContext) {
    let row = ctx.tree_row(ctx.branch());
    insert(ctx, &row).await;
    assert_eq!(select(ctx, &row.branch).await, [row]);
}

async fn deleting_an_absent_branch_affects_none(ctx: &TestContext) {
    let branch = ctx.branch();
    assert_eq!(ctx.store.session().delete_from_history_tree(&branch).await.unwrap(), 0);
    assert_eq!(select(ctx, &branch).await, []);
}

async fn a_deleted_branch_is_absent(ctx: &TestContext) {
    let row = ctx.tree_row(ctx.branch());
    insert(ctx, &row).await;
    assert_eq!(ctx.store.session().delete_from_history_tree(&row.branch).await.unwrap(), 1);
    assert_eq!(select(ctx, &row.branch).await, []);
}

async fn the_branches_of_a_tree_are_read_in_id_order(ctx: &TestContext) {
    let branch = ctx.branch();
    let rows = inserted(ctx, (0..10).map(|_| ctx.fork(&branch)).collect()).await;
    assert_eq!(select(ctx, &branch).await, rows);
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_history_tree(&rows[3].branch).await.unwrap(), 1);
    let left: Vec<_> = rows.iter().filter(|row| **row != rows[3]).cloned().collect();
    assert_eq!(select(ctx, &branch).await, left);
}

async fn each_shard_and_each_tree_has_branches_of_its_own(ctx: &TestContext) {
    let branch = ctx.branch();
    let other = ctx.branch();
    for key in [
        branch,
        BranchKey { tree_id: other.tree_id, ..branch },
        BranchKey { shard_id: other.shard_id, ..branch },
    ] {
        let row = ctx.tree_row(key);
        insert(ctx, &row).await;
        assert_eq!(select(ctx, &key).await, [row]);
    }
}

/// Branches of several trees in several shards, in key order.
async fn random_branches(ctx: &TestContext) -> Vec<HistoryTreeRow> {
    let mut keys = Vec::new();
    for _ in 0..3 {
        let shard = ctx.branch();
        for _ in 0..3 {
            let tree = BranchKey { shard_id: shard.shard_id, ..ctx.branch() };
            keys.extend((0..3).map(|_| ctx.fork(&tree)));
        }
    }
    ctx.random(|random| random.shuffle(&mut keys));
    inserted(ctx, keys).await
}

async fn pages_cover_all_branches_in_key_order(ctx: &TestContext) {
    let rows = random_branches(ctx).await;
    for limit in [1, 4, 9, 26, 27, 28] {
        let mut read: Vec<HistoryTreeRow> = Vec::new();
        loop {
            let page = page(ctx, read.last().map(|row| row.branch), limit).await;
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read, rows, "limit {limit}");
    }
}

async fn a_page_begins_after_a_key_whether_or_not_it_exists(ctx: &TestContext) {
    let rows = random_branches(ctx).await;
    assert_eq!(page(ctx, Some(rows[12].branch), 5).await, rows[13..18]);
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_history_tree(&rows[12].branch).await.unwrap(), 1);
    assert_eq!(page(ctx, Some(rows[12].branch), 5).await, rows[13..18]);
    assert_eq!(page(ctx, Some(rows[26].branch), 5).await, []);
}

async fn the_first_page_includes_a_key_of_zeros(ctx: &TestContext) {
    let zero = BranchKey {
        shard_id: ShardId(0),
        tree_id: TreeId(Uuid::nil()),
        branch_id: BranchId(Uuid::nil()),
    };
    let last = BranchKey {
        shard_id: ShardId(i32::MAX),
        tree_id: TreeId(Uuid::max()),
        branch_id: BranchId(Uuid::max()),
    };
    let rows = inserted(ctx, vec![ctx.branch(), zero, last]).await;
    assert_eq!(page(ctx, None, 9).await, rows);
    assert_eq!(rows[0].branch, zero);
    assert_eq!(page(ctx, Some(zero), 9).await, rows[1..]);
    assert_eq!(page(ctx, Some(last), 9).await, []);
}

async fn paging_continues_while_branches_are_deleted_and_added(ctx: &TestContext) {
    let rows = random_branches(ctx).await;
    let first = page(ctx, None, 9).await;
    assert_eq!(first, rows[..9]);
    let mut session = ctx.store.session();
    for index in [0, 8, 9, 20] {
        let deleted = session.delete_from_history_tree(&rows[index].branch).await.unwrap();
        assert_eq!(deleted, 1);
    }
    // The new key is before all keys that are not read yet.
    let early = BranchKey { shard_id: ShardId(0), ..ctx.branch() };
    insert(ctx, &ctx.tree_row(early)).await;
    let second = page(ctx, first.last().map(|row| row.branch), 9).await;
    assert_eq!(second, rows[10..19]);
    let third = page(ctx, second.last().map(|row| row.branch), 9).await;
    let expected: Vec<_> = [&rows[19..20], &rows[21..]].concat();
    assert_eq!(third, expected);
}

async fn a_branch_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let mut row = ctx.tree_row(ctx.branch());
    row.data.data = vec![7; limits::MAX_VALUE_BYTES];
    insert(ctx, &row).await;
    let mut larger = row.clone();
    larger.data.data.push(7);
    let error = ctx.store.session().insert_into_history_tree(&larger).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(select(ctx, &row.branch).await, [row]);
}
