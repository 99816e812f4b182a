//! The scavenger: branches without an execution are found, and deleted in steps.

use temporal_dsql_domain::{
    BranchKey, DataBlob, Encoding, ExecutionsFilter, ExecutionsRow, HistoryBranch, HistoryTreeInfo,
    HistoryTreeRow, Table, Timestamp,
};
use temporal_dsql_ports::StoreError;
use temporal_dsql_stores::{AppendNodes, NewBranch, OrphanDeletion, OrphanPage};

use crate::{
    context::{
        TestContext,
        histories::{append, appended, assert_history, batch, root},
        owned_shard::OwnedShard,
    },
    real_data::{self, Recording},
    scenario::scenario_table,
};

scenario_table! { "scavenging":
    a_branch_without_an_execution_is_found_and_deleted_in_steps;
    a_branch_of_an_execution_is_kept_until_the_execution_is_deleted;
    a_branch_younger_than_the_age_limit_is_kept;
    a_branch_of_an_unidentifiable_execution_is_never_deleted;
    a_branch_that_another_run_of_its_tree_has_is_kept;
    deleting_a_fork_keeps_the_batches_of_its_base;
    pages_cover_all_branches;
    a_page_and_a_step_have_a_limit_of_at_least_one_row;
    no_branch_of_a_real_server_is_an_orphan_until_its_execution_is_deleted;
}

/// A time after the creation of every branch of a scenario, which is the Unix epoch.
fn later() -> Timestamp {
    Timestamp::from_unix_micros(1).unwrap()
}

/// A run in the shard that is not stored.
fn run(shard: &OwnedShard<'_>) -> ExecutionsRow {
    ExecutionsRow { shard_id: shard.owner.shard_id, ..shard.ctx.execution() }
}

/// A branch for `run` with one batch.
async fn branch_of(shard: &OwnedShard<'_>, run: &ExecutionsFilter) -> HistoryBranch {
    branch_with(shard, HistoryTreeInfo::info_of(run)).await
}

async fn branch_with(shard: &OwnedShard<'_>, info: String) -> HistoryBranch {
    let branch = root(shard.ctx);
    let new_branch =
        HistoryTreeInfo { branch: branch.clone(), fork_time: Timestamp::UNIX_EPOCH, info };
    let nodes = AppendNodes {
        shard_id: shard.owner.shard_id,
        branch: branch.clone(),
        new_branch: Some(new_branch),
        node: batch(shard.ctx, 1, 10, 0),
    };
    shard.histories.append(&nodes).await.unwrap();
    branch
}

async fn insert(shard: &OwnedShard<'_>, row: &ExecutionsRow) {
    shard.ctx.store.session().insert_into_executions(row).await.unwrap();
}

async fn orphans(shard: &OwnedShard<'_>) -> OrphanPage {
    let page = shard.histories.orphans(later(), None, 1_000).await.unwrap();
    assert_eq!(page.next, None);
    page
}

async fn delete(shard: &OwnedShard<'_>, branch: &BranchKey, limit: u32) -> OrphanDeletion {
    shard.histories.delete_orphan(branch, later(), limit).await.unwrap()
}

async fn a_branch_without_an_execution_is_found_and_deleted_in_steps(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let branch = branch_of(&shard, &run(&shard).filter()).await;
    let key = branch.key(shard.owner.shard_id);
    let many: Vec<_> = (2..=2_500).map(|id| batch(ctx, id, id + 10, id + 9)).collect();
    ctx.store.session().insert_into_history_node(&key, &many).await.unwrap();
    assert_eq!(orphans(&shard).await.orphans, [key]);
    for (limit, left) in [(1_500, 1_000), (600, 400)] {
        assert_eq!(delete(&shard, &key, limit).await, OrphanDeletion::More);
        assert_eq!(ctx.fixture.count(Table::HistoryNode).await, left);
        assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 1);
    }
    assert_eq!(orphans(&shard).await.orphans, [key], "a partly deleted branch is found again");
    assert_eq!(delete(&shard, &key, 600).await, OrphanDeletion::Done);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 0);
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, 0);
    assert_eq!(delete(&shard, &key, 600).await, OrphanDeletion::Done);
    assert_eq!(orphans(&shard).await, OrphanPage::default());
}

async fn a_branch_of_an_execution_is_kept_until_the_execution_is_deleted(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let row = run(&shard);
    insert(&shard, &row).await;
    let key = branch_of(&shard, &row.filter()).await.key(shard.owner.shard_id);
    assert_eq!(orphans(&shard).await, OrphanPage::default());
    assert_eq!(delete(&shard, &key, 9).await, OrphanDeletion::Kept);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 1);
    ctx.store.session().delete_from_executions(&row.filter()).await.unwrap();
    assert_eq!(orphans(&shard).await.orphans, [key]);
    // A branch is kept if its execution is created after the branch was listed.
    insert(&shard, &row).await;
    assert_eq!(delete(&shard, &key, 9).await, OrphanDeletion::Kept);
    ctx.store.session().delete_from_executions(&row.filter()).await.unwrap();
    assert_eq!(delete(&shard, &key, 9).await, OrphanDeletion::Done);
}

async fn a_branch_younger_than_the_age_limit_is_kept(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let key = branch_of(&shard, &run(&shard).filter()).await.key(shard.owner.shard_id);
    let made = Timestamp::UNIX_EPOCH;
    let page = shard.histories.orphans(made, None, 9).await.unwrap();
    assert_eq!(page, OrphanPage::default());
    let deletion = shard.histories.delete_orphan(&key, made, 9).await.unwrap();
    assert_eq!(deletion, OrphanDeletion::Kept);
    assert_eq!(orphans(&shard).await.orphans, [key]);
}

async fn a_branch_of_an_unidentifiable_execution_is_never_deleted(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let shard_id = shard.owner.shard_id;
    let mut unclear = Vec::new();
    let run_id = ctx.run_id();
    for info in ["", "a scenario", "::", &format!("namespace:w:{run_id}")] {
        unclear.push(branch_with(&shard, info.to_owned()).await.key(shard_id));
    }
    // Records that cannot be decoded, and one of another branch.
    let other = HistoryTreeInfo {
        branch: root(ctx),
        fork_time: Timestamp::UNIX_EPOCH,
        info: HistoryTreeInfo::info_of(&run(&shard).filter()),
    };
    let json = DataBlob::new(*b"{}", Encoding::new("Json").unwrap());
    for data in [ctx.data(), json, other.to_blob()] {
        let branch = BranchKey { shard_id, ..ctx.branch() };
        let row = HistoryTreeRow { branch, data };
        ctx.store.session().insert_into_history_tree(&row).await.unwrap();
        unclear.push(branch);
    }
    // Also a branch whose own record can be decoded, in a tree with one whose record cannot.
    let clear = branch_of(&shard, &run(&shard).filter()).await;
    let beside = ctx.fork(&clear.key(shard_id));
    let row = HistoryTreeRow { branch: beside, data: ctx.data() };
    ctx.store.session().insert_into_history_tree(&row).await.unwrap();
    unclear.extend([clear.key(shard_id), beside]);

    unclear.sort_unstable();
    let nodes = ctx.fixture.count(Table::HistoryNode).await;
    let page = orphans(&shard).await;
    assert_eq!((page.orphans, &page.unclassified), (Vec::new(), &unclear));
    for key in &unclear {
        assert_eq!(delete(&shard, key, 9).await, OrphanDeletion::Kept);
    }
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, nodes);
    assert_eq!(ctx.fixture.count(Table::HistoryTree).await, unclear.len() as u64);
}

async fn a_branch_that_another_run_of_its_tree_has_is_kept(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let shard_id = shard.owner.shard_id;
    let mut owner = run(&shard);
    let base = branch_of(&shard, &owner.filter()).await;
    let new = NewBranch {
        branch_id: ctx.branch().branch_id,
        fork_time: Timestamp::UNIX_EPOCH,
        info: HistoryTreeInfo::info_of(&run(&shard).filter()),
    };
    let fork = shard.histories.fork(shard_id, &base, 4, new).await.unwrap();
    // The blob of the base's run contains the token of the fork between other bytes.
    let blob = [&b"before"[..], &fork.to_token(), b"after"].concat();
    owner.data = DataBlob::new(blob, Encoding::new("Proto3").unwrap());
    insert(&shard, &owner).await;
    assert_eq!(orphans(&shard).await, OrphanPage::default());
    assert_eq!(delete(&shard, &fork.key(shard_id), 9).await, OrphanDeletion::Kept);
    // Data in an unknown encoding cannot be searched.
    owner.data = DataBlob::new(*b"{}", Encoding::new("Json").unwrap());
    ctx.store.session().update_executions(&owner).await.unwrap();
    assert_eq!(orphans(&shard).await, OrphanPage::default());
    // A token of the base alone does not keep the fork.
    owner.data = DataBlob::new(base.to_token(), Encoding::new("Proto3").unwrap());
    ctx.store.session().update_executions(&owner).await.unwrap();
    assert_eq!(orphans(&shard).await.orphans, [fork.key(shard_id)]);
}

async fn deleting_a_fork_keeps_the_batches_of_its_base(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let shard_id = shard.owner.shard_id;
    let owner = run(&shard);
    insert(&shard, &owner).await;
    let base = root(ctx);
    let first = batch(ctx, 1, 10, 0);
    let info = HistoryTreeInfo {
        branch: base.clone(),
        fork_time: Timestamp::UNIX_EPOCH,
        info: HistoryTreeInfo::info_of(&owner.filter()),
    };
    let nodes =
        AppendNodes { shard_id, branch: base.clone(), new_branch: Some(info), node: first.clone() };
    shard.histories.append(&nodes).await.unwrap();
    let more = appended(&shard, &base, &[(4, 11, 10), (6, 12, 11)]).await;
    let new = NewBranch {
        branch_id: ctx.branch().branch_id,
        fork_time: Timestamp::UNIX_EPOCH,
        info: HistoryTreeInfo::info_of(&run(&shard).filter()),
    };
    let fork = shard.histories.fork(shard_id, &base, 4, new).await.unwrap();
    append(&shard, &fork, &batch(ctx, 4, 20, 10)).await.unwrap();
    let key = fork.key(shard_id);
    assert_eq!(orphans(&shard).await.orphans, [key]);
    assert_eq!(delete(&shard, &key, 9).await, OrphanDeletion::Done);
    assert_history(&shard, &base, &[&first, &more[0], &more[1]]).await;
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 3);
}

async fn pages_cover_all_branches(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut expected = Vec::new();
    for number in 0..11 {
        let row = run(&shard);
        let key = branch_of(&shard, &row.filter()).await.key(shard.owner.shard_id);
        if number % 3 == 0 {
            insert(&shard, &row).await;
        } else {
            expected.push(key);
        }
    }
    expected.sort_unstable();
    for limit in [1, 4, 11, 12] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = shard.histories.orphans(later(), after, limit).await.unwrap();
            found.extend(page.orphans);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "limit {limit}");
    }
}

async fn a_page_and_a_step_have_a_limit_of_at_least_one_row(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let key = branch_of(&shard, &run(&shard).filter()).await.key(shard.owner.shard_id);
    let page = shard.histories.orphans(later(), None, 0).await.map(drop);
    let step = shard.histories.delete_orphan(&key, later(), 0).await.map(drop);
    for refused in [page, step] {
        assert!(
            matches!(refused, Err(StoreError::InvalidArgument { field: "limit", .. })),
            "{refused:?}"
        );
    }
}

async fn no_branch_of_a_real_server_is_an_orphan_until_its_execution_is_deleted(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let mut session = ctx.store.session();
    let executions = real_data::executions(Recording::Dsql);
    for row in &executions {
        session.insert_into_executions(row).await.unwrap();
    }
    let branches = real_data::history_branches(Recording::Dsql);
    for row in &branches {
        session.insert_into_history_tree(row).await.unwrap();
    }
    let all = async || {
        let page = shard.histories.orphans(Timestamp::MAX, None, 10_000).await.unwrap();
        assert_eq!(page.unclassified, []);
        page.orphans
    };
    assert_eq!(all().await, []);
    // The token of a branch is found in the blob of its execution, as the server wrote it.
    let row = &branches[branches.len() / 2];
    let info = HistoryTreeInfo::from_blob(&row.data).unwrap();
    let run = info.run(row.branch.shard_id).unwrap();
    let execution = executions.iter().find(|execution| execution.filter() == run).unwrap();
    let token = info.branch.to_token();
    assert!(execution.data.data.windows(token.len()).any(|part| part == token));
    session.delete_from_executions(&run).await.unwrap();
    assert_eq!(all().await, [row.branch]);
}
