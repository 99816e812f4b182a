//! NamespaceStore: Temporal's `metadata_persistence_v2.go`, writers at once, and lost answers.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use temporal_dsql_domain::{Namespace, NamespaceId, NamespaceKey, NamespacesRow, Table};
use temporal_dsql_ports::{ConditionFailed, Outcome, StoreError};
use temporal_dsql_stores::{NamespaceStore, PageKey};

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

scenario_table! { "namespace_store":
    a_namespace_is_created_with_the_notification_version
        = "metadata_persistence_v2.go/TestCreateNamespace";
    a_namespace_is_read_by_its_id_or_its_name = "metadata_persistence_v2.go/TestGetNamespace";
    of_sixteen_creators_of_one_name_one_succeeds
        = "metadata_persistence_v2.go/TestConcurrentCreateNamespace";
    of_sixteen_updates_from_one_version_one_succeeds
        = "metadata_persistence_v2.go/TestConcurrentUpdateNamespace";
    an_update_writes_every_column = "metadata_persistence_v2.go/TestUpdateNamespace";
    an_update_with_another_name_renames = "metadata_persistence_v2.go/TestRenameNamespace",
        "metadata_persistence_v2.go/TestRenameNamespaceSQL";
    a_namespace_is_deleted_by_its_id_or_its_name_also_twice
        = "metadata_persistence_v2.go/TestDeleteNamespace",
        "metadata_persistence_v2.go/TestDeleteNamespaceIdempotency";
    every_namespace_is_on_one_page = "metadata_persistence_v2.go/TestListNamespaces";
    namespaces_in_every_state_are_listed
        = "metadata_persistence_v2.go/TestListNamespaces_DeletedNamespace";
    pages_continue_while_namespaces_are_deleted = "temporal-persistence.md#case-9";
    a_stale_update_is_refused_with_the_stored_version
        = "metadata_persistence_v2.go/TestCASFailureUpdateNamespace";
    a_rename_to_the_name_of_another_namespace_is_refused_with_its_row
        = "metadata_persistence_v2.go/TestRenameNamespaceWithNameConflict";
    each_create_and_update_increments_the_notification_version_by_one
        = "metadata_persistence_v2.go/TestGetMetadataVersionIncrement";
    a_namespace_whose_id_or_name_exists_is_refused_with_the_stored_row
        = "metadata_persistence_v2.go/TestCreateNamespaceWithDuplicateName",
        "metadata_persistence_v2.go/TestCreateNamespaceWithDuplicateID",
        "metadata_persistence_v2.go/TestCreateWithPartialNamespaceDifferentNameSameID";
    a_system_namespace_is_created_once
        = "metadata_persistence_v2.go/TestInitializeSystemNamespaces";
    an_absent_namespace_is_neither_updated_nor_renamed
        = "metadata_persistence_v2.go/TestUpdateNamespaceNotFound",
        "metadata_persistence_v2.go/TestRenameNamespaceNotFound";
    two_namespaces_are_updated_alternately = "temporal-persistence.md#case-11";
    a_create_that_fails_leaves_no_part_of_a_namespace
        = "metadata_persistence_v2.go/TestCreateWithPartialNamespaceSameNameSameID",
        "metadata_persistence_v2.go/TestCreateWithPartialNamespaceSameNameDifferentID";
    an_applied_write_whose_answer_is_lost_is_reported_as_done = "temporal-persistence.md#case-4";
    a_write_that_was_not_applied_stays_unknown = "temporal-persistence.md#case-4";
    conflicts_at_commit_are_retried_and_the_write_is_applied_once
        = "temporal-persistence.md#case-3";
    no_statement_is_sent_after_the_deadline;
    the_namespaces_of_real_servers_are_read_unchanged;
}

fn store(ctx: &TestContext) -> NamespaceStore<SharedStore> {
    NamespaceStore::new(Arc::clone(&ctx.store))
}

fn by_id(namespace: &Namespace) -> NamespaceKey {
    NamespaceKey::Id(namespace.id)
}

fn by_name(namespace: &Namespace) -> NamespaceKey {
    NamespaceKey::Name(namespace.name.clone())
}

fn exists(namespace: &Namespace, notification_version: i64) -> ConditionFailed {
    let observed = NamespacesRow { namespace: namespace.clone(), notification_version };
    ConditionFailed::NamespaceExists { observed: Box::new(observed) }
}

/// Asserts what is stored under both keys of `namespace`.
async fn assert_stored(ctx: &TestContext, namespace: &Namespace, version: Option<i64>) {
    let row =
        |notification_version| NamespacesRow { namespace: namespace.clone(), notification_version };
    for key in [by_id(namespace), by_name(namespace)] {
        assert_eq!(store(ctx).get(&key).await.unwrap(), version.map(row));
    }
}

async fn assert_version(ctx: &TestContext, version: i64) {
    assert_eq!(store(ctx).notification_version().await.unwrap(), version);
}

async fn a_namespace_is_created_with_the_notification_version(ctx: &TestContext) {
    for version in 1..3 {
        let namespace = ctx.namespace();
        assert_eq!(store(ctx).create(&namespace).await.unwrap(), version);
        assert_stored(ctx, &namespace, Some(version)).await;
    }
}

async fn a_namespace_is_read_by_its_id_or_its_name(ctx: &TestContext) {
    let (namespace, other) = (ctx.namespace(), ctx.namespace());
    assert_stored(ctx, &namespace, None).await;
    store(ctx).create(&namespace).await.unwrap();
    store(ctx).create(&other).await.unwrap();
    assert_stored(ctx, &namespace, Some(1)).await;
    assert_stored(ctx, &other, Some(2)).await;
}

async fn of_sixteen_creators_of_one_name_one_succeeds(ctx: &TestContext) {
    const WRITERS: usize = 16;
    let (synchronized, _) = barrier_after_begin(&ctx.store, WRITERS);
    let name = ctx.namespace().name;
    let all: Vec<_> =
        (0..WRITERS).map(|_| Namespace { name: name.clone(), ..ctx.namespace() }).collect();
    let creates = all.iter().map(|namespace| {
        let store = NamespaceStore::new(Arc::clone(&synchronized));
        let namespace = namespace.clone();
        tokio::spawn(async move { store.create(&namespace).await })
    });
    let results: Vec<_> = join_all(creates).await.into_iter().map(Result::unwrap).collect();
    let winner = results.iter().position(Result::is_ok).expect("a winner");
    for (number, result) in results.into_iter().enumerate() {
        if number != winner {
            assert_refused(result.map(drop), &exists(&all[winner], 1));
            assert_eq!(store(ctx).get(&by_id(&all[number])).await.unwrap(), None);
        }
    }
    assert_stored(ctx, &all[winner], Some(1)).await;
    assert_version(ctx, 2).await;
}

async fn of_sixteen_updates_from_one_version_one_succeeds(ctx: &TestContext) {
    const WRITERS: usize = 16;
    let namespace = ctx.namespace();
    store(ctx).create(&namespace).await.unwrap();
    let (synchronized, _) = barrier_after_begin(&ctx.store, WRITERS);
    let all: Vec<_> = (0..WRITERS).map(|_| ctx.changed_namespace(&namespace)).collect();
    let updates = all.iter().map(|namespace| {
        let store = NamespaceStore::new(Arc::clone(&synchronized));
        let namespace = namespace.clone();
        tokio::spawn(async move { store.update(&namespace, 2).await })
    });
    let results: Vec<_> = join_all(updates).await.into_iter().map(Result::unwrap).collect();
    let winner = results.iter().position(Result::is_ok).expect("a winner");
    let stale = ConditionFailed::NotificationVersion { expected: 2, observed: 3 };
    for (number, result) in results.into_iter().enumerate() {
        if number != winner {
            assert_refused(result, &stale);
        }
    }
    assert_stored(ctx, &all[winner], Some(2)).await;
    assert_version(ctx, 3).await;
}

async fn an_update_writes_every_column(ctx: &TestContext) {
    let (namespace, other) = (ctx.namespace(), ctx.namespace());
    store(ctx).create(&namespace).await.unwrap();
    store(ctx).create(&other).await.unwrap();
    let changed = ctx.changed_namespace(&namespace);
    store(ctx).update(&changed, 3).await.unwrap();
    assert_stored(ctx, &changed, Some(3)).await;
    assert_stored(ctx, &other, Some(2)).await;
    assert_version(ctx, 4).await;
}

async fn an_update_with_another_name_renames(ctx: &TestContext) {
    let namespace = ctx.namespace();
    store(ctx).create(&namespace).await.unwrap();
    // To its own name, too.
    store(ctx).update(&namespace, 2).await.unwrap();
    let renamed = Namespace { name: ctx.namespace().name, ..namespace.clone() };
    store(ctx).update(&renamed, 3).await.unwrap();
    assert_stored(ctx, &renamed, Some(3)).await;
    assert_eq!(store(ctx).get(&by_name(&namespace)).await.unwrap(), None);
    let next = Namespace { name: namespace.name, ..ctx.namespace() };
    assert_eq!(store(ctx).create(&next).await.unwrap(), 4, "the old name is free");
}

async fn a_namespace_is_deleted_by_its_id_or_its_name_also_twice(ctx: &TestContext) {
    for key in [by_id, by_name] {
        let (namespace, other) = (ctx.namespace(), ctx.namespace());
        store(ctx).create(&namespace).await.unwrap();
        let version = store(ctx).create(&other).await.unwrap();
        for _ in 0..2 {
            store(ctx).delete(&key(&namespace)).await.unwrap();
            assert_stored(ctx, &namespace, None).await;
        }
        assert_stored(ctx, &other, Some(version)).await;
        assert_version(ctx, version + 1).await;
    }
}

/// Creates `count` namespaces; returns their rows in the order of their ids.
async fn create_all(ctx: &TestContext, count: usize) -> Vec<NamespacesRow> {
    let mut rows = Vec::new();
    for _ in 0..count {
        let namespace = ctx.namespace();
        let notification_version = store(ctx).create(&namespace).await.unwrap();
        rows.push(NamespacesRow { namespace, notification_version });
    }
    rows.sort_by_key(|row| row.namespace.id);
    rows
}

/// All namespaces, read in pages of `limit`. The key of each page goes to bytes and back.
async fn list_all(ctx: &TestContext, limit: u32) -> Vec<NamespacesRow> {
    let (mut rows, mut from) = (Vec::new(), None);
    loop {
        let page = store(ctx).list(from, limit).await.unwrap();
        assert!(page.items.len() <= limit as usize);
        rows.extend(page.items);
        let Some(next) = page.next else { return rows };
        from = Some(NamespaceId::from_bytes(&next.to_bytes()).unwrap());
    }
}

async fn every_namespace_is_on_one_page(ctx: &TestContext) {
    assert_eq!(list_all(ctx, 10).await, []);
    let rows = create_all(ctx, 7).await;
    for limit in [1, 2, 3, 7, 8] {
        assert_eq!(list_all(ctx, limit).await, rows, "{limit}");
    }
    let error = store(ctx).list(None, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::InvalidArgument { field: "limit", .. }), "{error:?}");
}

/// Upstream's manager decodes the blob and omits namespaces whose state is deleted. This is done by
/// the service here, which reads on until it has a whole page.
async fn namespaces_in_every_state_are_listed(ctx: &TestContext) {
    let rows = create_all(ctx, 4).await;
    let version = store(ctx).notification_version().await.unwrap();
    let deleted = ctx.changed_namespace(&rows[1].namespace);
    store(ctx).update(&deleted, version).await.unwrap();
    let listed = list_all(ctx, 2).await;
    assert_eq!(listed.len(), rows.len());
    assert_eq!(listed[1].namespace, deleted);
}

async fn pages_continue_while_namespaces_are_deleted(ctx: &TestContext) {
    let rows = create_all(ctx, 8).await;
    let page = store(ctx).list(None, 3).await.unwrap();
    assert_eq!(page.items, rows[..3]);
    for row in [&rows[2], &rows[3], &rows[5]] {
        store(ctx).delete(&by_id(&row.namespace)).await.unwrap();
    }
    let rest = store(ctx).list(page.next, 10).await.unwrap();
    assert_eq!(rest.items, [&rows[4], &rows[6], &rows[7]].map(Clone::clone));
    assert_eq!(rest.next, None);
}

async fn a_stale_update_is_refused_with_the_stored_version(ctx: &TestContext) {
    let namespace = ctx.namespace();
    store(ctx).create(&namespace).await.unwrap();
    for expected in [i64::MIN, 0, 1, 3, i64::MAX] {
        let update = store(ctx).update(&ctx.changed_namespace(&namespace), expected).await;
        assert_refused(update, &ConditionFailed::NotificationVersion { expected, observed: 2 });
    }
    assert_stored(ctx, &namespace, Some(1)).await;
    assert_version(ctx, 2).await;
}

async fn a_rename_to_the_name_of_another_namespace_is_refused_with_its_row(ctx: &TestContext) {
    let (namespace, other) = (ctx.namespace(), ctx.namespace());
    store(ctx).create(&namespace).await.unwrap();
    store(ctx).create(&other).await.unwrap();
    let renamed = Namespace { name: other.name.clone(), ..namespace.clone() };
    assert_refused(store(ctx).update(&renamed, 3).await, &exists(&other, 2));
    assert_stored(ctx, &namespace, Some(1)).await;
    assert_stored(ctx, &other, Some(2)).await;
    assert_version(ctx, 3).await;
}

async fn each_create_and_update_increments_the_notification_version_by_one(ctx: &TestContext) {
    assert_version(ctx, 1).await;
    let namespace = ctx.namespace();
    store(ctx).create(&namespace).await.unwrap();
    for version in 2..6 {
        assert_version(ctx, version).await;
        store(ctx).update(&ctx.changed_namespace(&namespace), version).await.unwrap();
    }
    store(ctx).delete(&by_id(&namespace)).await.unwrap();
    assert_version(ctx, 6).await;
}

async fn a_namespace_whose_id_or_name_exists_is_refused_with_the_stored_row(ctx: &TestContext) {
    let stored = ctx.namespace();
    store(ctx).create(&stored).await.unwrap();
    let same_id = Namespace { id: stored.id, ..ctx.namespace() };
    let same_name = Namespace { name: stored.name.clone(), ..ctx.namespace() };
    for duplicate in [&same_id, &same_name, &stored] {
        let refused = store(ctx).create(duplicate).await;
        assert_refused(refused.map(drop), &exists(&stored, 1));
    }
    assert_eq!(store(ctx).get(&by_name(&same_id)).await.unwrap(), None);
    assert_eq!(store(ctx).get(&by_id(&same_name)).await.unwrap(), None);
    assert_stored(ctx, &stored, Some(1)).await;
    assert_version(ctx, 2).await;
}

/// Every process of a service creates the system namespace when it starts.
async fn a_system_namespace_is_created_once(ctx: &TestContext) {
    let system = ctx.namespace();
    let creates = (0..8).map(|_| {
        let (store, system) = (store(ctx), system.clone());
        tokio::spawn(async move { store.create(&system).await })
    });
    let mut created = 0;
    for result in join_all(creates).await {
        match result.unwrap() {
            Ok(version) => {
                assert_eq!(version, 1);
                created += 1;
            }
            refused => assert_refused(refused.map(drop), &exists(&system, 1)),
        }
    }
    assert_eq!(created, 1);
    assert_stored(ctx, &system, Some(1)).await;
}

async fn an_absent_namespace_is_neither_updated_nor_renamed(ctx: &TestContext) {
    let (absent, other) = (ctx.namespace(), ctx.namespace());
    let not_found = ConditionFailed::NamespaceNotFound { id: absent.id };
    assert_refused(store(ctx).update(&absent, 1).await, &not_found);
    store(ctx).create(&other).await.unwrap();
    let renamed = Namespace { name: other.name.clone(), ..absent.clone() };
    assert_refused(store(ctx).update(&renamed, 2).await, &not_found);
    assert_stored(ctx, &absent, None).await;
    assert_stored(ctx, &other, Some(1)).await;
    assert_version(ctx, 2).await;
}

/// The Go fork compares the version of the row, so only the namespace that was written last can be
/// updated (temporal-persistence.md#fault-5).
async fn two_namespaces_are_updated_alternately(ctx: &TestContext) {
    let mut namespaces = [ctx.namespace(), ctx.namespace()];
    for namespace in &namespaces {
        store(ctx).create(namespace).await.unwrap();
    }
    for round in 0..6 {
        let namespace = &mut namespaces[round % 2];
        *namespace = ctx.changed_namespace(namespace);
        let version = store(ctx).notification_version().await.unwrap();
        store(ctx).update(namespace, version).await.unwrap();
        assert_stored(ctx, namespace, Some(version)).await;
    }
    assert_version(ctx, 9).await;
}

async fn a_create_that_fails_leaves_no_part_of_a_namespace(ctx: &TestContext) {
    let failed = ctx.namespace();
    for _ in 0..2 {
        ctx.fixture.fail_next_commits(&[LostCommit]);
        assert_unknown(store(ctx).create(&failed).await);
        assert_stored(ctx, &failed, None).await;
        assert_version(ctx, 1).await;
    }
    let other = Namespace { name: failed.name.clone(), ..ctx.namespace() };
    assert_eq!(store(ctx).create(&other).await.unwrap(), 1, "with another id");
    store(ctx).delete(&by_name(&failed)).await.unwrap();
    assert_eq!(store(ctx).create(&failed).await.unwrap(), 2, "with the same id");
}

async fn an_applied_write_whose_answer_is_lost_is_reported_as_done(ctx: &TestContext) {
    let namespace = ctx.namespace();
    ctx.fixture.fail_next_commits(&[LostAnswer; 4]);
    assert_eq!(store(ctx).create(&namespace).await.unwrap(), 1);
    let changed = ctx.changed_namespace(&namespace);
    store(ctx).update(&changed, 2).await.unwrap();
    assert_stored(ctx, &changed, Some(2)).await;
    let renamed = Namespace { name: ctx.namespace().name, ..changed };
    store(ctx).update(&renamed, 3).await.unwrap();
    assert_stored(ctx, &renamed, Some(3)).await;
    store(ctx).delete(&by_name(&renamed)).await.unwrap();
    assert_stored(ctx, &renamed, None).await;
    assert_version(ctx, 4).await;
    assert_eq!(ctx.fixture.faults_left(), 0);
}

async fn a_write_that_was_not_applied_stays_unknown(ctx: &TestContext) {
    let (namespace, other) = (ctx.namespace(), ctx.namespace());
    store(ctx).create(&namespace).await.unwrap();
    ctx.fixture.fail_next_commits(&[LostCommit; 4]);
    assert_unknown(store(ctx).create(&other).await);
    assert_unknown(store(ctx).update(&ctx.changed_namespace(&namespace), 2).await);
    assert_unknown(store(ctx).delete(&by_id(&namespace)).await);
    assert_unknown(store(ctx).delete(&by_name(&namespace)).await);
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_stored(ctx, &namespace, Some(1)).await;
    assert_stored(ctx, &other, None).await;
    assert_version(ctx, 2).await;
}

async fn conflicts_at_commit_are_retried_and_the_write_is_applied_once(ctx: &TestContext) {
    let namespace = ctx.namespace();
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    assert_eq!(store(ctx).create(&namespace).await.unwrap(), 1);
    let changed = ctx.changed_namespace(&namespace);
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    store(ctx).update(&changed, 2).await.unwrap();
    assert_stored(ctx, &changed, Some(2)).await;
    ctx.fixture.fail_next_commits(&[Conflict; 4]);
    store(ctx).delete(&by_id(&namespace)).await.unwrap();
    assert_eq!(ctx.fixture.faults_left(), 0);
    assert_version(ctx, 3).await;
    assert_eq!(ctx.fixture.count(Table::Namespaces).await, 0);
}

async fn no_statement_is_sent_after_the_deadline(ctx: &TestContext) {
    let namespace = ctx.namespace();
    store(ctx).create(&namespace).await.unwrap();
    let (all, key) = (store(ctx), by_id(&namespace));
    let late = all.within(Duration::ZERO);
    let errors = [
        late.create(&ctx.namespace()).await.unwrap_err(),
        late.update(&ctx.changed_namespace(&namespace), 2).await.unwrap_err(),
        late.delete(&key).await.unwrap_err(),
        late.get(&key).await.unwrap_err(),
        late.list(None, 1).await.unwrap_err(),
        late.notification_version().await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    }
    assert_stored(ctx, &namespace, Some(1)).await;
    assert_version(ctx, 2).await;
    assert_eq!(ctx.fixture.count(Table::Namespaces).await, 1);
}

async fn the_namespaces_of_real_servers_are_read_unchanged(ctx: &TestContext) {
    let mut seen = BTreeSet::new();
    for rows in Recording::ALL.map(real_data::namespaces) {
        for row in &rows {
            let namespace = &row.namespace;
            seen.insert(namespace.name.to_string());
            // As a row of the server, and as a namespace that the store creates.
            let mut session = ctx.store.session();
            assert_eq!(session.insert_into_namespace(row).await.unwrap(), 1);
            assert_stored(ctx, namespace, Some(row.notification_version)).await;
            store(ctx).delete(&by_id(namespace)).await.unwrap();
            let version = store(ctx).create(namespace).await.unwrap();
            assert_stored(ctx, namespace, Some(version)).await;
        }
        let mut sorted = rows.clone();
        sorted.sort_by_key(|row| row.namespace.id);
        let listed = list_all(ctx, 2).await.into_iter().map(|row| row.namespace);
        assert!(listed.eq(sorted.into_iter().map(|row| row.namespace)));
        for row in &rows {
            store(ctx).delete(&by_name(&row.namespace)).await.unwrap();
        }
    }
    assert!(seen.contains("temporal-system"), "{seen:?}");
    // The server on PostgreSQL began with the version of the schema, and created all of its
    // namespaces; the development server began with 0.
    let created = real_data::namespaces(Recording::Postgres);
    let version = real_data::notification_version(Recording::Postgres);
    assert_eq!(1 + created.len() as i64, version);
}
