//! NexusEndpointStore and the rows of it: Temporal's `nexus_endpoint_suite.go`, writers at once, and
//! lost answers.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use temporal_dsql_domain::{NexusEndpointId, NexusEndpointsRow, Table};
use temporal_dsql_ports::{ConditionFailed, Outcome, StoreError, limits};
use temporal_dsql_stores::{NexusEndpointStore, PageKey};
use uuid::Uuid;

use crate::{
    context::{
        TestContext,
        conflicts::assert_unknown,
        owned_shard::{SharedStore, assert_refused},
    },
    harness::CommitFailure::{Conflict, LostAnswer, LostCommit},
    interceptors::barrier_after_begin,
    real_data::{self, Recording},
    scenario::scenario_table,
};

scenario_table! { "nexus_endpoints":
    endpoints_are_created_listed_updated_and_deleted
        = "nexus_endpoint_suite.go/TestNexusEndpointsSteadyState";
    a_stale_version_of_the_endpoint_or_the_table_is_refused_with_the_stored_one
        = "nexus_endpoint_suite.go/TestCreateOrUpdateNexusEndpointExpectedErrors";
    a_page_of_another_table_version_is_refused
        = "nexus_endpoint_suite.go/TestListNexusEndpointsExpectedErrors";
    an_endpoint_is_deleted_if_it_exists_and_the_table_version_is_known
        = "nexus_endpoint_suite.go/TestDeleteNexusEndpointExpectedErrors";
    the_first_page_has_every_smallest_id_and_an_empty_one_has_version_0;
    of_sixteen_creators_with_one_table_version_one_succeeds;
    of_sixteen_updates_of_one_endpoint_one_succeeds;
    pages_continue_while_endpoints_are_deleted = "temporal-persistence.md#case-9";
    an_endpoint_of_one_mebibyte_is_stored_and_one_byte_more_is_refused
        = "temporal-persistence.md#case-8";
    versions_that_no_row_has_are_refused;
    an_applied_write_whose_answer_is_lost_is_reported_as_done = "temporal-persistence.md#case-4";
    a_write_that_was_not_applied_stays_unknown = "temporal-persistence.md#case-4";
    conflicts_at_commit_are_retried_and_the_write_is_applied_once
        = "temporal-persistence.md#case-3";
    no_statement_is_sent_after_the_deadline;
    the_nexus_endpoints_of_real_servers_are_read_unchanged;
}

fn store(ctx: &TestContext) -> NexusEndpointStore<SharedStore> {
    NexusEndpointStore::new(Arc::clone(&ctx.store))
}

/// Writes an endpoint, and counts its version and the table version.
async fn write(ctx: &TestContext, row: &mut NexusEndpointsRow, table_version: &mut i64) {
    let next = store(ctx).create_or_update(row, *table_version).await.unwrap();
    assert_eq!(next, row.version + 1);
    row.version = next;
    *table_version += 1;
}

/// A created endpoint, in a table of version 1.
async fn first(ctx: &TestContext) -> NexusEndpointsRow {
    let mut row = ctx.nexus_endpoint();
    write(ctx, &mut row, &mut 0).await;
    row
}

/// All endpoints, read in pages of `limit` with the table version of the first page. The key of each
/// page goes to bytes and back.
async fn list_all(ctx: &TestContext, limit: u32) -> (i64, Vec<NexusEndpointsRow>) {
    let (mut rows, mut from, mut version) = (Vec::new(), None, 0);
    loop {
        let page = store(ctx).list(from, limit, version).await.unwrap();
        version = page.table_version;
        assert!(page.endpoints.items.len() <= limit as usize);
        rows.extend(page.endpoints.items);
        let Some(next) = page.endpoints.next else { return (version, rows) };
        from = Some(NexusEndpointId::from_bytes(&next.to_bytes()).unwrap());
    }
}

/// Asserts the table version and all endpoints.
async fn assert_stored(ctx: &TestContext, version: i64, rows: &[&NexusEndpointsRow]) {
    let mut rows: Vec<_> = rows.iter().copied().cloned().collect();
    rows.sort_by_key(|row| row.id);
    assert_eq!(store(ctx).table_version().await.unwrap(), version);
    for limit in [1, 2, 10] {
        assert_eq!(list_all(ctx, limit).await, (version, rows.clone()), "{limit}");
    }
    for row in &rows {
        assert_eq!(store(ctx).get(row.id).await.unwrap().as_ref(), Some(row));
    }
}

async fn endpoints_are_created_listed_updated_and_deleted(ctx: &TestContext) {
    assert_eq!(store(ctx).get(ctx.nexus_endpoint().id).await.unwrap(), None);
    assert_stored(ctx, 0, &[]).await;
    let (mut one, mut two, mut three) =
        (ctx.nexus_endpoint(), ctx.nexus_endpoint(), ctx.nexus_endpoint());
    let mut version = 0;
    write(ctx, &mut one, &mut version).await;
    assert_stored(ctx, 1, &[&one]).await;
    write(ctx, &mut two, &mut version).await;
    write(ctx, &mut three, &mut version).await;
    assert_stored(ctx, 3, &[&one, &two, &three]).await;
    three.data = ctx.data();
    write(ctx, &mut three, &mut version).await;
    assert_eq!(three.version, 2);
    assert_stored(ctx, 4, &[&one, &two, &three]).await;
    store(ctx).delete(one.id, 4).await.unwrap();
    assert_stored(ctx, 5, &[&two, &three]).await;
    store(ctx).delete(two.id, 5).await.unwrap();
    store(ctx).delete(three.id, 6).await.unwrap();
    assert_stored(ctx, 7, &[]).await;
    let page = store(ctx).list(None, 10, 7).await.unwrap();
    assert_eq!((page.table_version, page.endpoints.items), (7, Vec::new()));
}

fn table_version(expected: i64, observed: i64) -> ConditionFailed {
    ConditionFailed::NexusTableVersion { expected, observed }
}

fn endpoint_version(row: &NexusEndpointsRow, observed: Option<i64>) -> ConditionFailed {
    ConditionFailed::NexusEndpointVersion { id: row.id, expected: row.version, observed }
}

async fn a_stale_version_of_the_endpoint_or_the_table_is_refused_with_the_stored_one(
    ctx: &TestContext,
) {
    let mut stored = first(ctx).await;
    stored.data = ctx.data();
    write(ctx, &mut stored, &mut 1).await;
    let write = async |row: &NexusEndpointsRow, version| {
        store(ctx).create_or_update(row, version).await.map(drop)
    };
    for version in [0, 1, 3, 10, i64::MAX - 1] {
        let stale = NexusEndpointsRow { version, data: ctx.data(), ..stored.clone() };
        assert_refused(write(&stale, 2).await, &endpoint_version(&stale, Some(2)));
    }
    let absent = NexusEndpointsRow { version: 1, ..ctx.nexus_endpoint() };
    assert_refused(write(&absent, 2).await, &endpoint_version(&absent, None));
    for known in [0, 1, 3, 10] {
        assert_refused(write(&ctx.nexus_endpoint(), known).await, &table_version(known, 2));
        assert_refused(write(&stored, known).await, &table_version(known, 2));
    }
    let messages = [
        (endpoint_version(&stored, Some(3)), "nexus endpoint version mismatch"),
        (table_version(1, 2), "nexus endpoints table version mismatch"),
    ];
    for (condition, message) in messages {
        assert!(condition.to_string().starts_with(message), "{condition}");
    }
    assert_stored(ctx, 2, &[&stored]).await;
}

async fn a_page_of_another_table_version_is_refused(ctx: &TestContext) {
    let refused = store(ctx).list(None, 10, 5).await.map(drop);
    assert_refused(refused, &table_version(5, 0));
    let (one, mut two) = (first(ctx).await, ctx.nexus_endpoint());
    let page = store(ctx).list(None, 1, 0).await.unwrap();
    assert_eq!((page.table_version, page.endpoints.items), (1, vec![one]));
    write(ctx, &mut two, &mut 1).await;
    for known in [1, 3, 100] {
        let refused = store(ctx).list(page.endpoints.next, 1, known).await.map(drop);
        assert_refused(refused, &table_version(known, 2));
    }
    let error = store(ctx).list(None, 0, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "limit", .. }), "{error:?}");
}

async fn an_endpoint_is_deleted_if_it_exists_and_the_table_version_is_known(ctx: &TestContext) {
    let absent = ctx.nexus_endpoint().id;
    let not_found = ConditionFailed::NexusEndpointNotFound { id: absent };
    assert!(not_found.to_string().starts_with("nexus endpoint not found"), "{not_found}");
    assert_refused(store(ctx).delete(absent, 0).await, &not_found);
    assert_refused(store(ctx).delete(absent, 1).await, &table_version(1, 0));
    let stored = first(ctx).await;
    for known in [0, 2, 100] {
        assert_refused(store(ctx).delete(stored.id, known).await, &table_version(known, 1));
    }
    assert_refused(store(ctx).delete(absent, 1).await, &not_found);
    assert_stored(ctx, 1, &[&stored]).await;
    store(ctx).delete(stored.id, 1).await.unwrap();
    assert_stored(ctx, 2, &[]).await;
}

/// The Go fork sends an empty text as the id of the first page, which the server refuses
/// (temporal-persistence.md#fault-10). A comparison with the nil id would omit that id.
async fn the_first_page_has_every_smallest_id_and_an_empty_one_has_version_0(ctx: &TestContext) {
    let empty = store(ctx).list(None, 1, 0).await.unwrap();
    assert_eq!(
        (empty.table_version, empty.endpoints.items, empty.endpoints.next),
        (0, vec![], None)
    );
    let mut version = 0;
    let (mut nil, mut max) = (ctx.nexus_endpoint(), ctx.nexus_endpoint());
    nil.id = NexusEndpointId(Uuid::nil());
    max.id = NexusEndpointId(Uuid::max());
    write(ctx, &mut max, &mut version).await;
    write(ctx, &mut nil, &mut version).await;
    assert_stored(ctx, 2, &[&nil, &max]).await;
    let last = store(ctx).list(Some(max.id), 1, 2).await.unwrap();
    assert_eq!((last.endpoints.items, last.endpoints.next), (vec![max], None));
}

async fn of_sixteen_creators_with_one_table_version_one_succeeds(ctx: &TestContext) {
    const WRITERS: usize = 16;
    // Without a table version, and with one.
    for known in 0..2 {
        let (synchronized, _) = barrier_after_begin(&ctx.store, WRITERS);
        let creates = (0..WRITERS).map(|_| {
            let store = NexusEndpointStore::new(Arc::clone(&synchronized));
            let row = ctx.nexus_endpoint();
            tokio::spawn(async move { store.create_or_update(&row, known).await })
        });
        let mut created = 0;
        for result in join_all(creates).await {
            match result.unwrap() {
                Ok(version) => {
                    assert_eq!(version, 1);
                    created += 1;
                }
                refused => assert_refused(refused.map(drop), &table_version(known, known + 1)),
            }
        }
        assert_eq!(created, 1);
        assert_eq!(store(ctx).table_version().await.unwrap(), known + 1);
    }
    assert_eq!(ctx.fixture.count(Table::NexusEndpoints).await, 2);
}

async fn of_sixteen_updates_of_one_endpoint_one_succeeds(ctx: &TestContext) {
    const WRITERS: usize = 16;
    let row = first(ctx).await;
    let (synchronized, _) = barrier_after_begin(&ctx.store, WRITERS);
    let changed: Vec<_> =
        (0..WRITERS).map(|_| NexusEndpointsRow { data: ctx.data(), ..row.clone() }).collect();
    let updates = changed.iter().cloned().map(|row| {
        let store = NexusEndpointStore::new(Arc::clone(&synchronized));
        tokio::spawn(async move { store.create_or_update(&row, 1).await })
    });
    let results: Vec<_> = join_all(updates).await.into_iter().map(Result::unwrap).collect();
    let winner = results.iter().position(Result::is_ok).expect("a winner");
    for (number, result) in results.into_iter().enumerate() {
        if number != winner {
            assert_refused(result.map(drop), &table_version(1, 2));
        }
    }
    let stored = NexusEndpointsRow { version: 2, ..changed[winner].clone() };
    assert_stored(ctx, 2, &[&stored]).await;
}

async fn pages_continue_while_endpoints_are_deleted(ctx: &TestContext) {
    let (mut rows, mut version) = (Vec::new(), 0);
    for _ in 0..6 {
        let mut row = ctx.nexus_endpoint();
        write(ctx, &mut row, &mut version).await;
        rows.push(row);
    }
    rows.sort_by_key(|row| row.id);
    let page = store(ctx).list(None, 2, 0).await.unwrap();
    for deleted in [1, 2, 4] {
        store(ctx).delete(rows[deleted].id, version).await.unwrap();
        version += 1;
    }
    // A caller who does not need one state of all pages passes no table version.
    let rest = store(ctx).list(page.endpoints.next, 10, 0).await.unwrap();
    assert_eq!(rest.endpoints.items, [rows[3].clone(), rows[5].clone()]);
    assert_eq!((rest.table_version, rest.endpoints.next), (version, None));
}

async fn an_endpoint_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let mut large = ctx.nexus_endpoint();
    large.data.data = vec![7; limits::MAX_VALUE_BYTES];
    write(ctx, &mut large, &mut 0).await;
    let mut larger = large.clone();
    larger.data.data.push(7);
    for version in [0, 1] {
        let row = NexusEndpointsRow { version, ..larger.clone() };
        let error = store(ctx).create_or_update(&row, 1).await.unwrap_err();
        let kind = limits::LimitKind::ValueBytes;
        assert!(matches!(&error, StoreError::Limit { kind: of, .. } if *of == kind), "{error:?}");
    }
    assert_stored(ctx, 1, &[&large]).await;
}

async fn versions_that_no_row_has_are_refused(ctx: &TestContext) {
    for version in [-1, i64::MIN, i64::MAX] {
        let row = NexusEndpointsRow { version, ..ctx.nexus_endpoint() };
        let error = store(ctx).create_or_update(&row, 0).await.unwrap_err();
        assert!(matches!(error, StoreError::InvalidArgument { field: "version", .. }), "{error:?}");
        let row = ctx.nexus_endpoint();
        let refused = store(ctx).create_or_update(&row, version).await.map(drop);
        assert_refused(refused, &table_version(version, 0));
    }
    assert_stored(ctx, 0, &[]).await;
}

async fn an_applied_write_whose_answer_is_lost_is_reported_as_done(ctx: &TestContext) {
    let (mut row, mut version) = (ctx.nexus_endpoint(), 0);
    ctx.fixture.fail_next_commits(&[LostAnswer; 3]);
    write(ctx, &mut row, &mut version).await;
    row.data = ctx.data();
    write(ctx, &mut row, &mut version).await;
    assert_stored(ctx, 2, &[&row]).await;
    store(ctx).delete(row.id, version).await.unwrap();
    assert_stored(ctx, 3, &[]).await;
    assert_eq!(ctx.fixture.faults_left(), 0);
}

async fn a_write_that_was_not_applied_stays_unknown(ctx: &TestContext) {
    let row = first(ctx).await;
    ctx.fixture.fail_next_commits(&[LostCommit; 3]);
    assert_unknown(store(ctx).create_or_update(&ctx.nexus_endpoint(), 1).await);
    let changed = NexusEndpointsRow { data: ctx.data(), ..row.clone() };
    assert_unknown(store(ctx).create_or_update(&changed, 1).await);
    assert_unknown(store(ctx).delete(row.id, 1).await);
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_stored(ctx, 1, &[&row]).await;
}

async fn conflicts_at_commit_are_retried_and_the_write_is_applied_once(ctx: &TestContext) {
    let (mut row, mut version) = (ctx.nexus_endpoint(), 0);
    for _ in 0..2 {
        ctx.fixture.fail_next_commits(&[Conflict; 4]);
        row.data = ctx.data();
        write(ctx, &mut row, &mut version).await;
        assert_stored(ctx, version, &[&row]).await;
    }
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    store(ctx).delete(row.id, version).await.unwrap();
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_stored(ctx, 3, &[]).await;
}

async fn no_statement_is_sent_after_the_deadline(ctx: &TestContext) {
    let row = first(ctx).await;
    let all = store(ctx);
    let late = all.within(Duration::ZERO);
    let errors = [
        late.create_or_update(&ctx.nexus_endpoint(), 1).await.unwrap_err(),
        late.delete(row.id, 1).await.unwrap_err(),
        late.get(row.id).await.unwrap_err(),
        late.list(None, 1, 0).await.unwrap_err(),
        late.table_version().await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    }
    assert_stored(ctx, 1, &[&row]).await;
}

async fn the_nexus_endpoints_of_real_servers_are_read_unchanged(ctx: &TestContext) {
    let mut version = 0;
    for recording in Recording::ALL {
        let rows = real_data::nexus_endpoints(recording);
        assert_eq!((rows.len(), real_data::nexus_table_version(recording)), (1, 1));
        for row in &rows {
            let mut new = NexusEndpointsRow { version: 0, ..row.clone() };
            while new.version < row.version {
                write(ctx, &mut new, &mut version).await;
            }
        }
        let rows: Vec<_> = rows.iter().collect();
        assert_stored(ctx, version, &rows).await;
        for row in rows {
            store(ctx).delete(row.id, version).await.unwrap();
            version += 1;
        }
    }
}
