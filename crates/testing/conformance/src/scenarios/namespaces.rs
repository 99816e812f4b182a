//! Row operations on `namespaces` and `namespace_metadata`: Temporal's `namespace.go`.

use std::collections::BTreeSet;

use temporal_dsql_domain::{
    Namespace, NamespaceId, NamespaceKey, NamespaceName, NamespacesRow, Table,
};
use temporal_dsql_ports::{StoreError, limits};
use uuid::Uuid;

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    scenario::scenario_table,
};

scenario_table! { "namespaces":
    inserting_a_namespace_affects_one_row = "namespace.go/TestInsert_Success";
    a_namespace_whose_id_or_name_exists_is_refused_and_changes_nothing
        = "namespace.go/TestInsert_Fail_Duplicate";
    an_inserted_namespace_is_read_by_its_id_and_by_its_name = "namespace.go/TestInsertSelect";
    updating_a_namespace_without_a_change_of_its_version_affects_one_row
        = "namespace.go/TestInsertUpdate_Success";
    updating_an_absent_namespace_affects_none = "namespace.go/TestUpdate_Fail";
    an_updated_namespace_is_read_by_its_id_and_by_its_name = "namespace.go/TestInsertUpdateSelect";
    a_namespace_is_deleted_by_its_id = "namespace.go/TestInsertDeleteSelect_ID";
    a_namespace_is_deleted_by_its_name = "namespace.go/TestInsertDeleteSelect_Name";
    every_namespace_is_on_one_page_in_the_order_of_the_ids
        = "namespace.go/TestInsertSelect_Pagination";
    a_new_schema_has_notification_version_1_which_is_read_and_locked
        = "namespace.go/TestSelectLockMetadata";
    the_notification_version_is_incremented = "namespace.go/TestSelectUpdateSelectMetadata_Success";
    another_notification_version_is_not_incremented
        = "namespace.go/TestSelectUpdateSelectMetadata_Fail";
    a_name_is_free_after_a_rename_and_after_a_delete;
    a_rename_to_the_name_of_another_namespace_is_refused;
    of_two_locks_of_the_notification_version_one_is_committed if optimistic_locks;
    of_two_increments_from_one_version_one_is_made;
    the_longest_name_and_the_largest_blob_are_stored = "temporal-persistence.md#case-8";
}

fn row(ctx: &TestContext) -> NamespacesRow {
    NamespacesRow { namespace: ctx.namespace(), notification_version: 1 }
}

fn keys(row: &NamespacesRow) -> [NamespaceKey; 2] {
    let Namespace { id, name, .. } = &row.namespace;
    [NamespaceKey::Id(*id), NamespaceKey::Name(name.clone())]
}

async fn insert(ctx: &TestContext, row: &NamespacesRow) {
    assert_eq!(ctx.store.session().insert_into_namespace(row).await.unwrap(), 1);
}

/// The namespace that both keys of `row` find.
async fn select(ctx: &TestContext, row: &NamespacesRow) -> Option<NamespacesRow> {
    let [by_id, by_name] = keys(row);
    let mut session = ctx.store.session();
    let found = session.select_from_namespace(&by_id).await.unwrap();
    assert_eq!(session.select_from_namespace(&by_name).await.unwrap(), found);
    found
}

#[track_caller]
fn assert_duplicate(result: Result<u64, StoreError>) {
    let is_duplicate =
        matches!(result, Err(StoreError::AlreadyExists { table: Table::Namespaces, .. }));
    assert!(is_duplicate, "{result:?}");
}

async fn inserting_a_namespace_affects_one_row(ctx: &TestContext) {
    insert(ctx, &row(ctx)).await;
    assert_eq!(ctx.fixture.count(Table::Namespaces).await, 1);
}

async fn a_namespace_whose_id_or_name_exists_is_refused_and_changes_nothing(ctx: &TestContext) {
    let stored = row(ctx);
    insert(ctx, &stored).await;
    let (mut same_id, mut same_name, mut both) = (row(ctx), row(ctx), row(ctx));
    same_id.namespace.id = stored.namespace.id;
    same_name.namespace.name = stored.namespace.name.clone();
    both.namespace = ctx.changed_namespace(&stored.namespace);
    for duplicate in [same_id, same_name, both] {
        assert_duplicate(ctx.store.session().insert_into_namespace(&duplicate).await);
    }
    assert_eq!(select(ctx, &stored).await, Some(stored));
    assert_eq!(ctx.fixture.count(Table::Namespaces).await, 1);
}

async fn an_inserted_namespace_is_read_by_its_id_and_by_its_name(ctx: &TestContext) {
    let (stored, absent) = (row(ctx), row(ctx));
    assert_eq!(select(ctx, &stored).await, None);
    insert(ctx, &stored).await;
    assert_eq!(select(ctx, &stored).await, Some(stored));
    assert_eq!(select(ctx, &absent).await, None);
}

async fn updating_a_namespace_without_a_change_of_its_version_affects_one_row(ctx: &TestContext) {
    let stored = row(ctx);
    insert(ctx, &stored).await;
    let namespace = ctx.changed_namespace(&stored.namespace);
    let changed = NamespacesRow { namespace, ..stored };
    assert_eq!(ctx.store.session().update_namespace(&changed).await.unwrap(), 1);
}

async fn updating_an_absent_namespace_affects_none(ctx: &TestContext) {
    let absent = row(ctx);
    assert_eq!(ctx.store.session().update_namespace(&absent).await.unwrap(), 0);
    assert_eq!(select(ctx, &absent).await, None);
}

async fn an_updated_namespace_is_read_by_its_id_and_by_its_name(ctx: &TestContext) {
    let (stored, other) = (row(ctx), row(ctx));
    insert(ctx, &stored).await;
    insert(ctx, &other).await;
    let namespace = ctx.changed_namespace(&stored.namespace);
    let changed = NamespacesRow { namespace, notification_version: i64::MAX };
    assert_eq!(ctx.store.session().update_namespace(&changed).await.unwrap(), 1);
    assert_eq!(select(ctx, &stored).await, Some(changed));
    assert_eq!(select(ctx, &other).await, Some(other));
}

/// Deletes one of two namespaces by the key `keys(row)[number]`.
async fn delete(ctx: &TestContext, number: usize) {
    let (stored, other) = (row(ctx), row(ctx));
    insert(ctx, &stored).await;
    insert(ctx, &other).await;
    let key = &keys(&stored)[number];
    let mut session = ctx.store.session();
    assert_eq!(session.delete_from_namespace(key).await.unwrap(), 1);
    assert_eq!(select(ctx, &stored).await, None);
    assert_eq!(session.delete_from_namespace(key).await.unwrap(), 0);
    assert_eq!(select(ctx, &other).await, Some(other));
}

async fn a_namespace_is_deleted_by_its_id(ctx: &TestContext) {
    delete(ctx, 0).await;
}

async fn a_namespace_is_deleted_by_its_name(ctx: &TestContext) {
    delete(ctx, 1).await;
}

async fn every_namespace_is_on_one_page_in_the_order_of_the_ids(ctx: &TestContext) {
    let mut rows: Vec<_> = (0..7).map(|_| row(ctx)).collect();
    rows[0].namespace.id = NamespaceId::MIN;
    rows[1].namespace.id = NamespaceId(Uuid::max());
    for row in &rows {
        insert(ctx, row).await;
    }
    rows.sort_by_key(|row| row.namespace.id);
    let mut session = ctx.store.session();
    for limit in [1, 2, 3, 7, 8] {
        let (mut read, mut from) = (Vec::new(), Some(NamespaceId::MIN));
        while let Some(min_id) = from {
            let page = session.range_select_from_namespace(min_id, limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            from = page.last().and_then(|row| row.namespace.id.next());
            read.extend(page);
        }
        assert_eq!(read, rows, "{limit}");
    }
}

async fn a_new_schema_has_notification_version_1_which_is_read_and_locked(ctx: &TestContext) {
    let mut session = ctx.store.session();
    assert_eq!(session.select_from_namespace_metadata().await.unwrap(), Some(1));
    // Outside a transaction a lock is a read.
    assert_eq!(session.lock_namespace_metadata().await.unwrap(), Some(1));
    let mut transaction = ctx.begin("Lock").await;
    assert_eq!(transaction.lock_namespace_metadata().await.unwrap(), Some(1));
    transaction.commit().await.unwrap();
}

async fn the_notification_version_is_incremented(ctx: &TestContext) {
    let mut session = ctx.store.session();
    for version in 1..4 {
        assert_eq!(session.update_namespace_metadata(version).await.unwrap(), 1);
        let read = session.select_from_namespace_metadata().await.unwrap();
        assert_eq!(read, Some(version + 1));
    }
}

async fn another_notification_version_is_not_incremented(ctx: &TestContext) {
    let mut session = ctx.store.session();
    for other in [i64::MIN, 0, 2, 1_001, i64::MAX] {
        assert_eq!(session.update_namespace_metadata(other).await.unwrap(), 0);
        assert_eq!(session.select_from_namespace_metadata().await.unwrap(), Some(1));
    }
}

async fn a_name_is_free_after_a_rename_and_after_a_delete(ctx: &TestContext) {
    let stored = row(ctx);
    insert(ctx, &stored).await;
    let mut renamed = stored.clone();
    renamed.namespace.name = ctx.namespace().name;
    let mut session = ctx.store.session();
    assert_eq!(session.update_namespace(&renamed).await.unwrap(), 1);
    assert_eq!(select(ctx, &renamed).await, Some(renamed.clone()));
    let by_old_name = keys(&stored)[1].clone();
    assert_eq!(session.select_from_namespace(&by_old_name).await.unwrap(), None);
    for name in [stored.namespace.name, renamed.namespace.name.clone()] {
        let mut next = row(ctx);
        next.namespace.name = name;
        if next.namespace.name == renamed.namespace.name {
            assert_duplicate(session.insert_into_namespace(&next).await);
            session.delete_from_namespace(&keys(&renamed)[0]).await.unwrap();
        }
        insert(ctx, &next).await;
        assert_eq!(select(ctx, &next).await, Some(next));
    }
}

async fn a_rename_to_the_name_of_another_namespace_is_refused(ctx: &TestContext) {
    let (stored, other) = (row(ctx), row(ctx));
    insert(ctx, &stored).await;
    insert(ctx, &other).await;
    let mut renamed = stored.clone();
    renamed.namespace.name = other.namespace.name.clone();
    assert_duplicate(ctx.store.session().update_namespace(&renamed).await);
    assert_eq!(select(ctx, &stored).await, Some(stored));
    assert_eq!(select(ctx, &other).await, Some(other));
}

async fn of_two_locks_of_the_notification_version_one_is_committed(ctx: &TestContext) {
    let (mut first, mut second) = (ctx.begin("First").await, ctx.begin("Second").await);
    for transaction in [&mut first, &mut second] {
        assert_eq!(transaction.lock_namespace_metadata().await.unwrap(), Some(1));
    }
    assert_eq!(first.insert_into_namespace(&row(ctx)).await.unwrap(), 1);
    assert_eq!(second.insert_into_namespace(&row(ctx)).await.unwrap(), 1);
    first.commit().await.unwrap();
    assert_conflict(second.commit().await);
    assert_eq!(ctx.fixture.count(Table::Namespaces).await, 1);
}

async fn of_two_increments_from_one_version_one_is_made(ctx: &TestContext) {
    let mut late = ctx.begin("Late").await;
    assert_eq!(late.select_from_namespace_metadata().await.unwrap(), Some(1));
    assert_eq!(ctx.store.session().update_namespace_metadata(1).await.unwrap(), 1);
    let updated = late.update_namespace_metadata(1).await;
    assert_conflict(settle(late, updated).await);
    let read = ctx.store.session().select_from_namespace_metadata().await.unwrap();
    assert_eq!(read, Some(2));
}

async fn the_longest_name_and_the_largest_blob_are_stored(ctx: &TestContext) {
    let mut names = BTreeSet::new();
    for character in ["a", "転", "🦀"] {
        let mut large = row(ctx);
        large.namespace.name = NamespaceName::new(character.repeat(255)).unwrap();
        large.namespace.data.data = vec![7; limits::MAX_VALUE_BYTES];
        insert(ctx, &large).await;
        names.insert(large.namespace.name.clone());
        assert_eq!(select(ctx, &large).await.as_ref(), Some(&large));
        large.namespace.data.data.push(7);
        for result in [
            ctx.store.session().update_namespace(&large).await,
            ctx.store.session().insert_into_namespace(&large).await,
        ] {
            let kind = limits::LimitKind::ValueBytes;
            let is_limit =
                matches!(&result, Err(StoreError::Limit { kind: of, .. }) if *of == kind);
            assert!(is_limit, "{result:?}");
        }
    }
    assert_eq!(ctx.fixture.count(Table::Namespaces).await, names.len() as u64);
}
