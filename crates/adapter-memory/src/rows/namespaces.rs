//! `namespaces`, whose names are unique too, and `namespace_metadata`
//! (temporal-persistence.md#namespaces).

use async_trait::async_trait;
use temporal_dsql_domain::{NamespaceId, NamespaceKey, NamespaceName, NamespacesRow, Table};
use temporal_dsql_ports::{Namespaces, StoreError};

use crate::{
    connection::{Connection, Execute},
    engine::Lock,
    key::{Column, Key, NewRow, Row, UniqueIndex},
    limited_transaction::LimitedTransaction,
};

/// The partition of all namespaces, and of their notification version.
const PARTITION: i32 = 54321;
/// The notification version in a new schema.
const FIRST_VERSION: i64 = 1;

const BY_NAME: UniqueIndex = UniqueIndex { table: Table::Namespaces, name: "idx_namespaces_name" };

/// The row of `namespace_metadata`, which is part of the schema.
pub(crate) fn seed() -> (Key, Row) {
    (metadata_key(), Row::new(FIRST_VERSION))
}

fn all() -> Key {
    Key::new(Table::Namespaces, [Column::Integer(PARTITION)])
}

fn key(id: NamespaceId) -> Key {
    all().with([Column::Uuid(id.0)])
}

fn entry(name: &NamespaceName) -> Key {
    Key::of_entry(BY_NAME, [Column::text(name)])
}

fn metadata_key() -> Key {
    Key::new(Table::NamespaceMetadata, [Column::Integer(PARTITION)])
}

/// The row to write, checked against the limits.
fn namespaces_row(row: &NamespacesRow) -> Result<NewRow, StoreError> {
    let namespace = &row.namespace;
    let values = [("name", namespace.name.len()), ("data", namespace.data.data.len())];
    Ok(NewRow::new(key(namespace.id), row, &values)?)
}

fn select<'t>(
    transaction: &'t LimitedTransaction,
    wanted: &NamespaceKey,
) -> Option<&'t NamespacesRow> {
    match wanted {
        NamespaceKey::Id(id) => transaction.select(&key(*id)),
        NamespaceKey::Name(name) => {
            transaction.range(&all().all()).find(|row: &&NamespacesRow| row.namespace.name == *name)
        }
    }
}

#[async_trait]
impl<E: Execute> Namespaces for Connection<E> {
    async fn insert_into_namespace(&mut self, row: &NamespacesRow) -> Result<u64, StoreError> {
        let (new, entry) = (namespaces_row(row)?, entry(&row.namespace.name));
        self.execute("InsertIntoNamespace", |transaction| {
            let inserted = transaction.insert(&new)?;
            transaction.insert_entry(&entry)?;
            Ok(inserted)
        })
        .await
    }

    async fn update_namespace(&mut self, row: &NamespacesRow) -> Result<u64, StoreError> {
        let new = namespaces_row(row)?;
        let namespace = &row.namespace;
        self.execute("UpdateNamespace", |transaction| {
            let updated = select(transaction, &NamespaceKey::Id(namespace.id)).cloned();
            if let Some(NamespacesRow { namespace: old, .. }) = updated
                && old.name != namespace.name
            {
                transaction.delete_entry(&entry(&old.name));
                transaction.insert_entry(&entry(&namespace.name))?;
            }
            transaction.update(&new)
        })
        .await
    }

    async fn select_from_namespace(
        &mut self,
        key: &NamespaceKey,
    ) -> Result<Option<NamespacesRow>, StoreError> {
        self.execute("SelectFromNamespace", |transaction| Ok(select(transaction, key).cloned()))
            .await
    }

    async fn range_select_from_namespace(
        &mut self,
        min_id: NamespaceId,
        limit: u32,
    ) -> Result<Vec<NamespacesRow>, StoreError> {
        let keys = key(min_id)..all().end();
        self.execute("RangeSelectFromNamespace", |transaction| {
            Ok(transaction.select_range(&keys, Some(limit)))
        })
        .await
    }

    async fn delete_from_namespace(&mut self, wanted: &NamespaceKey) -> Result<u64, StoreError> {
        self.execute("DeleteFromNamespace", |transaction| {
            let found = select(transaction, wanted).map(|row| row.namespace.clone());
            if let Some(namespace) = &found {
                transaction.delete_entry(&entry(&namespace.name));
            }
            transaction.delete_all(found.map(|namespace| key(namespace.id)).as_slice())
        })
        .await
    }

    async fn lock_namespace_metadata(&mut self) -> Result<Option<i64>, StoreError> {
        self.execute("LockNamespaceMetadata", |transaction| {
            Ok(transaction.lock(&metadata_key(), Lock::ForUpdate).copied())
        })
        .await
    }

    async fn select_from_namespace_metadata(&mut self) -> Result<Option<i64>, StoreError> {
        self.execute("SelectFromNamespaceMetadata", |transaction| {
            Ok(transaction.select(&metadata_key()).copied())
        })
        .await
    }

    async fn update_namespace_metadata(
        &mut self,
        notification_version: i64,
    ) -> Result<u64, StoreError> {
        let next = notification_version.saturating_add(1);
        let row = NewRow::new(metadata_key(), &next, &[])?;
        self.execute("UpdateNamespaceMetadata", |transaction| {
            transaction.update_if(&row, |stored: &i64| *stored == notification_version)
        })
        .await
    }
}
