//! ShardStore: create, read and update shards.

use futures_util::future::join_all;
use temporal_dsql_domain::ShardsRow;
use temporal_dsql_ports::ConditionFailed;

use crate::{
    context::{TestContext, owned_shard::assert_refused},
    scenario::scenario_table,
};

scenario_table! { "shard_store":
    a_shard_that_is_absent_is_created = "shard.go/TestGetOrCreateShard_Create";
    a_shard_that_exists_is_read_and_not_created = "shard.go/TestGetOrCreateShard_Get";
    an_update_from_another_range_id_is_refused_and_changes_nothing
        = "shard.go/TestUpdateShard_OwnershipLost";
    an_update_from_the_recorded_range_id_is_made = "shard.go/TestUpdateShard_Success";
    all_eight_concurrent_creators_of_a_shard_read_the_same_row;
    an_absent_shard_is_not_updated;
    a_stale_update_never_decreases_the_range_id;
}

async fn a_shard_that_is_absent_is_created(ctx: &TestContext) {
    let owned = ctx.owned_shard().await;
    let row = ctx.shard();
    assert_eq!(owned.shards.get(row.shard_id).await.unwrap(), None);
    assert_eq!(owned.shards.get_or_create(&row).await.unwrap(), row);
    assert_eq!(owned.shards.get(row.shard_id).await.unwrap(), Some(row));
}

async fn a_shard_that_exists_is_read_and_not_created(ctx: &TestContext) {
    let owned = ctx.owned_shard().await;
    let other = ShardsRow { shard_id: owned.shard.shard_id, ..ctx.shard() };
    assert_eq!(owned.shards.get_or_create(&other).await.unwrap(), owned.shard);
    assert_eq!(owned.shards.get(other.shard_id).await.unwrap(), Some(owned.shard));
}

/// The condition that the shard is owned with the range id `observed`.
fn lost(row: &ShardsRow, expected: i64, observed: Option<i64>) -> ConditionFailed {
    ConditionFailed::ShardOwnershipLost { shard_id: row.shard_id, expected, observed }
}

async fn an_update_from_another_range_id_is_refused_and_changes_nothing(ctx: &TestContext) {
    let owned = ctx.owned_shard().await;
    let next = owned.takeover();
    for wrong in [owned.shard.range_id - 1, next.range_id, 0] {
        let expected = lost(&next, wrong, Some(owned.shard.range_id));
        assert_refused(owned.shards.update(&next, wrong).await, &expected);
        let read = owned.shards.get(next.shard_id).await.unwrap();
        assert_eq!(read.as_ref(), Some(&owned.shard));
    }
}

async fn an_update_from_the_recorded_range_id_is_made(ctx: &TestContext) {
    let owned = ctx.owned_shard().await;
    let next = owned.takeover();
    owned.shards.update(&next, owned.shard.range_id).await.unwrap();
    assert_eq!(owned.shards.get(next.shard_id).await.unwrap(), Some(next));
}

async fn all_eight_concurrent_creators_of_a_shard_read_the_same_row(ctx: &TestContext) {
    let owned = ctx.owned_shard().await;
    let shard_id = ctx.shard_id();
    let creators = (0..8).map(|_| {
        let (shards, row) = (owned.shards.clone(), ShardsRow { shard_id, ..ctx.shard() });
        tokio::spawn(async move { shards.get_or_create(&row).await.unwrap() })
    });
    let rows: Vec<_> = join_all(creators).await.into_iter().map(|row| row.unwrap()).collect();
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
    assert_eq!(owned.shards.get(shard_id).await.unwrap().as_ref(), Some(&rows[0]));
}

async fn an_absent_shard_is_not_updated(ctx: &TestContext) {
    let owned = ctx.owned_shard().await;
    let absent = ctx.shard();
    assert_refused(owned.shards.update(&absent, 1).await, &lost(&absent, 1, None));
    assert_eq!(owned.shards.get(absent.shard_id).await.unwrap(), None);
}

/// The Go fork's unconditional update allows it (temporal-persistence.md#fault-2).
async fn a_stale_update_never_decreases_the_range_id(ctx: &TestContext) {
    let owned = ctx.owned_shard().await;
    let next = owned.takeover();
    owned.shards.update(&next, owned.shard.range_id).await.unwrap();
    // The deposed owner saves its progress, and claims the shard with its old range id.
    let progress = ShardsRow { data: ctx.data(), ..owned.shard.clone() };
    let claim = ShardsRow { data: ctx.data(), ..next.clone() };
    for stale in [progress, claim] {
        let expected = lost(&next, owned.shard.range_id, Some(next.range_id));
        assert_refused(owned.shards.update(&stale, owned.shard.range_id).await, &expected);
    }
    assert_eq!(owned.shards.get(next.shard_id).await.unwrap(), Some(next));
}
