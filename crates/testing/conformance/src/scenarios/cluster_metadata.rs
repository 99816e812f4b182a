//! ClusterMetadataStore and the rows of it: Temporal's `cluster_metadata_manager.go`, writers at once,
//! and lost answers.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use temporal_dsql_domain::{
    ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, ClusterName, HostId,
    RpcAddress, ServiceType, Table, Timestamp,
};
use temporal_dsql_ports::{ConditionFailed, Outcome, StoreError, StoreExt, limits};
use temporal_dsql_stores::{ClusterMetadataStore, PageKey};
use uuid::Uuid;

use crate::{
    context::{
        TestContext,
        conflicts::assert_unknown,
        owned_shard::{SharedStore, assert_refused},
        service_rows::time,
    },
    harness::CommitFailure::{Conflict, LostAnswer, LostCommit},
    real_data::{self, Recording},
    scenario::scenario_table,
};

scenario_table! { "cluster_metadata":
    metadata_is_saved_from_its_version_only
        = "cluster_metadata_manager.go/TestInitImmutableMetadataReadWrite";
    every_cluster_is_on_one_page_with_its_name;
    of_sixteen_saves_from_one_version_one_succeeds;
    metadata_of_one_mebibyte_is_stored_and_one_byte_more_is_refused
        = "temporal-persistence.md#case-8";
    versions_that_no_row_has_are_refused;
    pages_continue_while_clusters_are_deleted = "temporal-persistence.md#case-9";
    a_saved_row_whose_answer_is_lost_is_reported_as_saved = "temporal-persistence.md#case-4";
    a_write_that_was_not_applied_stays_unknown = "temporal-persistence.md#case-4";
    conflicts_at_commit_are_retried_and_the_write_is_applied_once
        = "temporal-persistence.md#case-3";
    no_statement_is_sent_after_the_deadline;
    the_membership_is_empty_at_first
        = "cluster_metadata_manager.go/TestClusterMembershipEmptyInitially";
    a_member_is_read_after_its_heartbeat
        = "cluster_metadata_manager.go/TestClusterMembershipUpsertCanReadAny";
    every_member_is_on_one_page_in_the_order_of_the_ids
        = "cluster_metadata_manager.go/TestClusterMembershipUpsertCanPageRead";
    each_filter_excludes_the_members_that_do_not_satisfy_it
        = "cluster_metadata_manager.go/TestClusterMembershipReadFiltersCorrectly";
    an_expired_member_is_neither_read_nor_kept_by_a_prune
        = "cluster_metadata_manager.go/TestClusterMembershipUpsertExpiresCorrectly";
    an_expiry_below_a_second_is_refused
        = "cluster_metadata_manager.go/TestClusterMembershipUpsertInvalidExpiry";
    a_port_that_the_column_does_not_hold_is_refused_by_name;
    more_members_than_a_transaction_may_delete_are_pruned = "temporal-persistence.md#case-7";
    the_cluster_rows_of_real_servers_are_read_unchanged;
}

fn store(ctx: &TestContext) -> ClusterMetadataStore<SharedStore> {
    ClusterMetadataStore::new(Arc::clone(&ctx.store))
}

/// Metadata to save for the first time.
fn cluster(ctx: &TestContext, name: &str) -> ClusterMetadataRow {
    let cluster_name = ClusterName::new(name).unwrap();
    ClusterMetadataRow { cluster_name, data: ctx.data(), version: 0 }
}

fn version(row: &ClusterMetadataRow, observed: Option<i64>) -> ConditionFailed {
    let (cluster_name, expected) = (row.cluster_name.clone(), row.version);
    ConditionFailed::ClusterMetadataVersion { cluster_name, expected, observed }
}

async fn save(ctx: &TestContext, row: &mut ClusterMetadataRow) {
    let next = store(ctx).save(row).await.unwrap();
    assert_eq!(next, row.version + 1);
    row.version = next;
}

async fn get(ctx: &TestContext, row: &ClusterMetadataRow) -> Option<ClusterMetadataRow> {
    store(ctx).get(&row.cluster_name).await.unwrap()
}

async fn metadata_is_saved_from_its_version_only(ctx: &TestContext) {
    let mut row = cluster(ctx, "testing");
    assert_eq!(get(ctx, &row).await, None);
    let absent = ClusterMetadataRow { version: 1, ..row.clone() };
    assert_refused(store(ctx).save(&absent).await.map(drop), &version(&absent, None));
    for saved in 1..4 {
        save(ctx, &mut row).await;
        assert_eq!(row.version, saved);
        assert_eq!(get(ctx, &row).await.as_ref(), Some(&row));
        for other in [0, saved - 1, saved + 1, i64::MAX - 1] {
            let stale = ClusterMetadataRow { data: ctx.data(), version: other, ..row.clone() };
            let refused = store(ctx).save(&stale).await.map(drop);
            assert_refused(refused, &version(&stale, Some(saved)));
        }
        assert_eq!(get(ctx, &row).await.as_ref(), Some(&row));
        row.data = ctx.data();
    }
    let mut other = cluster(ctx, "active");
    save(ctx, &mut other).await;
    for _ in 0..2 {
        store(ctx).delete(&row.cluster_name).await.unwrap();
        assert_eq!(get(ctx, &row).await, None);
    }
    assert_eq!(get(ctx, &other).await, Some(other));
    save(ctx, &mut ClusterMetadataRow { version: 0, ..row }).await;
}

/// All clusters, read in pages of `limit`. The key of each page goes to bytes and back.
async fn list_all(ctx: &TestContext, limit: u32) -> Vec<ClusterMetadataRow> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = store(ctx).list(after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit as usize);
        rows.extend(page.items);
        let Some(next) = page.next else { return rows };
        after = Some(ClusterName::from_bytes(&next.to_bytes()).unwrap());
    }
}

/// Saves these clusters; returns them in the order of their names.
async fn save_all(ctx: &TestContext, names: &[&str]) -> Vec<ClusterMetadataRow> {
    let mut rows: Vec<_> = names.iter().map(|name| cluster(ctx, name)).collect();
    for row in &mut rows {
        save(ctx, row).await;
    }
    rows.sort_by(|one, other| one.cluster_name.cmp(&other.cluster_name));
    rows
}

/// Upstream's list lacks the name, so its pages never end.
async fn every_cluster_is_on_one_page_with_its_name(ctx: &TestContext) {
    assert_eq!(list_all(ctx, 10).await, []);
    let longest = "🦀".repeat(255);
    let names = ["east", "", "East", "east-1", "転", "a", &longest];
    let rows = save_all(ctx, &names).await;
    for limit in [1, 2, 3, 7, 8] {
        assert_eq!(list_all(ctx, limit).await, rows, "{limit}");
    }
    let error = store(ctx).list(None, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "limit", .. }), "{error:?}");
}

async fn of_sixteen_saves_from_one_version_one_succeeds(ctx: &TestContext) {
    let mut row = cluster(ctx, "active");
    for _ in 0..2 {
        let rows: Vec<_> =
            (0..16).map(|_| ClusterMetadataRow { data: ctx.data(), ..row.clone() }).collect();
        let saves = rows.iter().cloned().map(|row| {
            let store = store(ctx);
            tokio::spawn(async move { store.save(&row).await })
        });
        let results: Vec<_> = join_all(saves).await.into_iter().map(Result::unwrap).collect();
        let winner = results.iter().position(Result::is_ok).expect("a winner");
        let next = row.version + 1;
        for (number, result) in results.into_iter().enumerate() {
            if number != winner {
                assert_refused(result.map(drop), &version(&row, Some(next)));
            }
        }
        row = ClusterMetadataRow { version: next, ..rows[winner].clone() };
        assert_eq!(get(ctx, &row).await.as_ref(), Some(&row));
    }
}

async fn metadata_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let mut row = cluster(ctx, "active");
    row.data.data = vec![7; limits::MAX_VALUE_BYTES];
    save(ctx, &mut row).await;
    for version in [0, 1] {
        let mut larger = ClusterMetadataRow { version, ..row.clone() };
        larger.data.data.push(7);
        let error = store(ctx).save(&larger).await.unwrap_err();
        let kind = limits::LimitKind::ValueBytes;
        assert!(matches!(&error, StoreError::Limit { kind: of, .. } if *of == kind), "{error:?}");
    }
    assert_eq!(get(ctx, &row).await, Some(row));
}

async fn versions_that_no_row_has_are_refused(ctx: &TestContext) {
    for version in [-1, i64::MIN, i64::MAX] {
        let row = ClusterMetadataRow { version, ..cluster(ctx, "active") };
        let error = store(ctx).save(&row).await.unwrap_err();
        assert!(matches!(error, StoreError::InvalidArgument { field: "version", .. }), "{error:?}");
    }
    assert_eq!(list_all(ctx, 1).await, []);
}

async fn pages_continue_while_clusters_are_deleted(ctx: &TestContext) {
    let rows = save_all(ctx, &["a", "b", "c", "d", "e"]).await;
    let page = store(ctx).list(None, 2).await.unwrap();
    assert_eq!(page.items, rows[..2]);
    for row in [&rows[1], &rows[3]] {
        store(ctx).delete(&row.cluster_name).await.unwrap();
    }
    let rest = store(ctx).list(page.next.as_ref(), 2).await.unwrap();
    assert_eq!(rest.items, [rows[2].clone(), rows[4].clone()]);
}

async fn a_saved_row_whose_answer_is_lost_is_reported_as_saved(ctx: &TestContext) {
    let mut row = cluster(ctx, "active");
    ctx.fixture.fail_next_commits(&[LostAnswer; 3]);
    save(ctx, &mut row).await;
    row.data = ctx.data();
    save(ctx, &mut row).await;
    assert_eq!(get(ctx, &row).await.as_ref(), Some(&row));
    store(ctx).delete(&row.cluster_name).await.unwrap();
    assert_eq!(get(ctx, &row).await, None);
    // A heartbeat writes the same row again.
    let member = ctx.cluster_member(100);
    ctx.fixture.fail_next_commits(&[LostAnswer, LostCommit]);
    store(ctx).upsert_member(&member).await.unwrap();
    assert_eq!(members(ctx, &ClusterMembershipFilter::default(), time(100)).await, [member]);
    assert_eq!(ctx.fixture.faults_left(), 0);
}

async fn a_write_that_was_not_applied_stays_unknown(ctx: &TestContext) {
    let mut row = cluster(ctx, "active");
    ctx.fixture.fail_next_commits(&[LostCommit]);
    assert_unknown(store(ctx).save(&row).await);
    assert_eq!(get(ctx, &row).await, None);
    save(ctx, &mut row).await;
    ctx.fixture.fail_next_commits(&[LostCommit; 2]);
    let changed = ClusterMetadataRow { data: ctx.data(), ..row.clone() };
    assert_unknown(store(ctx).save(&changed).await);
    assert_unknown(store(ctx).delete(&row.cluster_name).await);
    assert_eq!(get(ctx, &row).await, Some(row));
    // A heartbeat is sent at most three times.
    ctx.fixture.fail_next_commits(&[LostCommit; 3]);
    assert_unknown(store(ctx).upsert_member(&ctx.cluster_member(100)).await);
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_eq!(ctx.fixture.count(Table::ClusterMembership).await, 0);
}

async fn conflicts_at_commit_are_retried_and_the_write_is_applied_once(ctx: &TestContext) {
    let mut row = cluster(ctx, "active");
    for _ in 0..2 {
        ctx.fixture.fail_next_commits(&[Conflict; 4]);
        row.data = ctx.data();
        save(ctx, &mut row).await;
        assert_eq!(get(ctx, &row).await.as_ref(), Some(&row));
    }
    let member = ctx.cluster_member(100);
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    store(ctx).upsert_member(&member).await.unwrap();
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    assert_eq!(store(ctx).prune_members(time(111)).await.unwrap(), 1);
    assert_eq!(ctx.fixture.faults_left(), 0);
}

async fn no_statement_is_sent_after_the_deadline(ctx: &TestContext) {
    let mut row = cluster(ctx, "active");
    save(ctx, &mut row).await;
    let (all, name, filter) = (store(ctx), &row.cluster_name, ClusterMembershipFilter::default());
    let late = all.within(Duration::ZERO);
    let errors = [
        late.save(&row).await.unwrap_err(),
        late.delete(name).await.unwrap_err(),
        late.get(name).await.unwrap_err(),
        late.list(None, 1).await.unwrap_err(),
        late.members(&filter, time(0), None, 1).await.unwrap_err(),
        late.upsert_member(&ctx.cluster_member(100)).await.unwrap_err(),
        late.prune_members(Timestamp::MAX).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    }
    assert_eq!(get(ctx, &row).await, Some(row));
    assert_eq!(ctx.fixture.count(Table::ClusterMembership).await, 0);
}

/// The members that satisfy `filter` at the time `now`.
async fn members(
    ctx: &TestContext,
    filter: &ClusterMembershipFilter,
    now: Timestamp,
) -> Vec<ClusterMembershipRow> {
    let page = store(ctx).members(filter, now, None, 1_000).await.unwrap();
    assert_eq!(page.next, None);
    page.items
}

async fn the_membership_is_empty_at_first(ctx: &TestContext) {
    assert_eq!(members(ctx, &ClusterMembershipFilter::default(), Timestamp::MIN).await, []);
    assert_eq!(store(ctx).prune_members(Timestamp::MAX).await.unwrap(), 0);
}

async fn a_member_is_read_after_its_heartbeat(ctx: &TestContext) {
    let member = ctx.cluster_member(100);
    let any = ClusterMembershipFilter::default();
    store(ctx).upsert_member(&member).await.unwrap();
    assert_eq!(members(ctx, &any, time(100)).await, std::slice::from_ref(&member));
    let next = ClusterMembershipRow {
        role: ServiceType(-1),
        rpc_address: RpcAddress::new("").unwrap(),
        rpc_port: 0,
        ..ClusterMembershipRow { host_id: member.host_id, ..ctx.cluster_member(200) }
    };
    store(ctx).upsert_member(&next).await.unwrap();
    assert_eq!(members(ctx, &any, time(200)).await, [next]);
}

/// The Go fork returns the ids of processes in another form, so that the second page fails
/// (temporal-persistence.md#fault-11).
async fn every_member_is_on_one_page_in_the_order_of_the_ids(ctx: &TestContext) {
    let mut rows: Vec<_> = (0..100).map(|_| ctx.cluster_member(100)).collect();
    rows[0].host_id = HostId(Uuid::nil());
    rows[1].host_id = HostId(Uuid::max());
    for row in &rows {
        store(ctx).upsert_member(row).await.unwrap();
    }
    rows.sort_by_key(|row| row.host_id);
    let any = ClusterMembershipFilter::default();
    for limit in [9, 10, 100, 101] {
        let (mut read, mut from) = (Vec::new(), None);
        loop {
            let page = store(ctx).members(&any, time(100), from, limit).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            read.extend(page.items);
            let Some(next) = page.next else { break };
            from = Some(HostId::from_bytes(&next.to_bytes()).unwrap());
        }
        assert_eq!(read, rows, "{limit}");
    }
    let error = store(ctx).members(&any, time(100), None, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "limit", .. }), "{error:?}");
}

async fn each_filter_excludes_the_members_that_do_not_satisfy_it(ctx: &TestContext) {
    let one = ctx.cluster_member(100);
    let other = ClusterMembershipRow {
        role: ServiceType::MATCHING,
        rpc_address: RpcAddress::new("127.0.0.2").unwrap(),
        ..ctx.cluster_member(105)
    };
    for row in [&one, &other] {
        store(ctx).upsert_member(row).await.unwrap();
    }
    let none = ClusterMembershipFilter::default;
    let (host_id, role) = (Some(other.host_id), Some(other.role));
    let rpc_address = Some(other.rpc_address.clone());
    let only_other = [
        ClusterMembershipFilter { host_id, ..none() },
        ClusterMembershipFilter { role, ..none() },
        ClusterMembershipFilter { rpc_address: rpc_address.clone(), ..none() },
        // Later than the heartbeat of the first member, and the start of the second.
        ClusterMembershipFilter { last_heartbeat_after: Some(time(100)), ..none() },
        ClusterMembershipFilter { session_started_after: Some(time(5)), ..none() },
        ClusterMembershipFilter {
            host_id,
            role,
            rpc_address,
            last_heartbeat_after: Some(time(104)),
            session_started_after: Some(time(0)),
        },
    ];
    for filter in only_other {
        let read = members(ctx, &filter, time(106)).await;
        assert_eq!(read, std::slice::from_ref(&other), "{filter:?}");
    }
    let neither = [
        ClusterMembershipFilter { host_id: Some(one.host_id), role, ..none() },
        ClusterMembershipFilter { last_heartbeat_after: Some(time(105)), ..none() },
        ClusterMembershipFilter { session_started_after: Some(time(6)), ..none() },
        ClusterMembershipFilter { role: Some(ServiceType::FRONTEND), ..none() },
    ];
    for filter in neither {
        assert_eq!(members(ctx, &filter, time(106)).await, [], "{filter:?}");
    }
    assert_eq!(members(ctx, &none(), time(106)).await.len(), 2);
    let limited = store(ctx)
        .members(&ClusterMembershipFilter { role, ..none() }, time(106), None, 1)
        .await
        .unwrap();
    assert_eq!(limited.items, [other], "the limit counts members that satisfy the filter");
}

async fn an_expired_member_is_neither_read_nor_kept_by_a_prune(ctx: &TestContext) {
    let (one, other) = (ctx.cluster_member(100), ctx.cluster_member(101));
    for row in [&one, &other] {
        store(ctx).upsert_member(row).await.unwrap();
    }
    let any = ClusterMembershipFilter::default();
    assert_eq!(members(ctx, &any, time(109)).await.len(), 2);
    assert_eq!(members(ctx, &any, time(110)).await, std::slice::from_ref(&other));
    assert_eq!(store(ctx).prune_members(time(110)).await.unwrap(), 0, "it expires at this time");
    assert_eq!(store(ctx).prune_members(time(111)).await.unwrap(), 1);
    assert_eq!(members(ctx, &any, Timestamp::MIN).await, [other]);
    assert_eq!(store(ctx).prune_members(Timestamp::MAX).await.unwrap(), 1);
    assert_eq!(ctx.fixture.count(Table::ClusterMembership).await, 0);
}

async fn an_expiry_below_a_second_is_refused(ctx: &TestContext) {
    let at = |micros: i64| Timestamp::from_unix_micros(time(100).unix_micros() + micros).unwrap();
    let member = ctx.cluster_member(100);
    for micros in [0, -1, 999_999, -1_000_000] {
        let row = ClusterMembershipRow { record_expiry: at(micros), ..member.clone() };
        let error = store(ctx).upsert_member(&row).await.unwrap_err();
        let names_expiry =
            matches!(error, StoreError::InvalidArgument { field: "record_expiry", .. });
        assert!(names_expiry, "{error:?}");
    }
    assert_eq!(ctx.fixture.count(Table::ClusterMembership).await, 0);
    let row = ClusterMembershipRow { record_expiry: at(1_000_000), ..member };
    store(ctx).upsert_member(&row).await.unwrap();
}

async fn a_port_that_the_column_does_not_hold_is_refused_by_name(ctx: &TestContext) {
    let any = ClusterMembershipFilter::default();
    let mut row = ctx.cluster_member(100);
    row.rpc_port = 32_767;
    store(ctx).upsert_member(&row).await.unwrap();
    for rpc_port in [32_768, u16::MAX] {
        let large = ClusterMembershipRow { rpc_port, ..row.clone() };
        let error = store(ctx).upsert_member(&large).await.unwrap_err();
        let names_port = matches!(error, StoreError::InvalidArgument { field: "rpc_port", .. });
        assert!(names_port, "{error:?}");
    }
    assert_eq!(members(ctx, &any, time(100)).await, [row]);
}

async fn more_members_than_a_transaction_may_delete_are_pruned(ctx: &TestContext) {
    const EXPIRED: usize = 3_200;
    let expired: Vec<_> = (0..EXPIRED).map(|_| ctx.cluster_member(100)).collect();
    let kept = ctx.cluster_member(1_000);
    store(ctx).upsert_member(&kept).await.unwrap();
    for rows in expired.chunks(1_600) {
        ctx.store
            .run("Insert", rows, |transaction, rows| {
                Box::pin(async move {
                    for row in rows {
                        transaction.upsert_cluster_membership(row).await?;
                    }
                    Ok(())
                })
            })
            .await
            .unwrap();
    }
    assert_eq!(store(ctx).prune_members(time(111)).await.unwrap(), EXPIRED as u64);
    let any = ClusterMembershipFilter::default();
    assert_eq!(members(ctx, &any, Timestamp::MIN).await, [kept]);
}

async fn the_cluster_rows_of_real_servers_are_read_unchanged(ctx: &TestContext) {
    for rows in Recording::ALL.map(real_data::cluster_metadata) {
        for row in &rows {
            let mut new = ClusterMetadataRow { version: 0, ..row.clone() };
            while new.version < row.version {
                save(ctx, &mut new).await;
            }
        }
        assert_eq!(list_all(ctx, 1).await, rows);
        assert!(!rows.is_empty());
        for row in rows {
            store(ctx).delete(&row.cluster_name).await.unwrap();
        }
    }
    let rows = real_data::cluster_members();
    assert_eq!(rows.len(), 4, "one of each service");
    for row in &rows {
        store(ctx).upsert_member(row).await.unwrap();
    }
    let now = rows.iter().map(|row| row.last_heartbeat).max().unwrap();
    assert_eq!(members(ctx, &ClusterMembershipFilter::default(), now).await, rows);
}
