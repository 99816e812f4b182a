//! `namespaces` and `namespace_metadata`: the namespaces, and the notification version of all of them.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{Namespace, NamespaceId, NamespaceKey, NamespacesRow, Table};
use temporal_dsql_ports::{Namespaces, StoreError};

use super::{
    decode::Columns,
    payload::Payload,
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

const FILE: SqlFile = SqlFile::new(Table::Namespaces, include_str!("../../sql/namespaces.sql"));
const METADATA: SqlFile =
    SqlFile::new(Table::NamespaceMetadata, include_str!("../../sql/namespace_metadata.sql"));

static INSERT: Meta = FILE.write("InsertIntoNamespace");
static UPDATE: Meta = FILE.write("UpdateNamespace");
static SELECT_BY_ID: Meta =
    FILE.read("SelectFromNamespaceById").of_operation("SelectFromNamespace");
static SELECT_BY_NAME: Meta =
    FILE.read("SelectFromNamespaceByName").of_operation("SelectFromNamespace");
static RANGE_SELECT: Meta = FILE.read("RangeSelectFromNamespace");
static DELETE_BY_ID: Meta =
    FILE.write("DeleteFromNamespaceById").of_operation("DeleteFromNamespace");
static DELETE_BY_NAME: Meta =
    FILE.write("DeleteFromNamespaceByName").of_operation("DeleteFromNamespace");
static SELECT_METADATA: Meta = METADATA.read("SelectFromNamespaceMetadata");
static LOCK_METADATA: Meta = METADATA.read("LockNamespaceMetadata");
static READ_METADATA: Meta =
    METADATA.read("SelectFromNamespaceMetadata").of_operation("LockNamespaceMetadata");
static UPDATE_METADATA: Meta = METADATA.write("UpdateNamespaceMetadata");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 11] = [
    &INSERT,
    &UPDATE,
    &SELECT_BY_ID,
    &SELECT_BY_NAME,
    &RANGE_SELECT,
    &DELETE_BY_ID,
    &DELETE_BY_NAME,
    &SELECT_METADATA,
    &LOCK_METADATA,
    &READ_METADATA,
    &UPDATE_METADATA,
];

/// The statement that writes a row, whose values have allowed sizes.
fn write(meta: &'static Meta, row: &NamespacesRow) -> Result<Statement, StoreError> {
    let Namespace { id, name, is_global, data } = &row.namespace;
    let values = [("name", name.len()), ("data", data.data.len())];
    Payload::default().row(Table::Namespaces, 4 + 16, &values)?;
    let mut arguments = Arguments::default();
    arguments.set("id", id.0);
    arguments.set("name", name.as_str());
    arguments.set("is_global", *is_global);
    arguments.set("data", &*data.data);
    arguments.set("data_encoding", data.encoding.as_str());
    arguments.set("notification_version", row.notification_version);
    Ok(exact(meta, None, &arguments))
}

/// One of two statements, by the kind of the key.
fn by_key(key: &NamespaceKey, by_id: &'static Meta, by_name: &'static Meta) -> Statement {
    let mut arguments = Arguments::default();
    match key {
        NamespaceKey::Id(id) => {
            arguments.set("id", id.0);
            exact(by_id, None, &arguments)
        }
        NamespaceKey::Name(name) => {
            arguments.set("name", name.as_str());
            exact(by_name, None, &arguments)
        }
    }
}

fn decode(row: &PgRow) -> Result<NamespacesRow, StoreError> {
    let columns = Columns::new(Table::Namespaces, row);
    Ok(NamespacesRow {
        namespace: Namespace {
            id: NamespaceId(columns.get("id")?),
            name: columns.text("name")?,
            is_global: columns.get("is_global")?,
            data: columns.blob("data", "data_encoding")?,
        },
        notification_version: columns.get("notification_version")?,
    })
}

fn decode_version(row: &PgRow) -> Result<i64, StoreError> {
    Columns::new(Table::NamespaceMetadata, row).get("notification_version")
}

#[async_trait]
impl<E: Executor> Namespaces for Rows<E> {
    async fn insert_into_namespace(&mut self, row: &NamespacesRow) -> Result<u64, StoreError> {
        self.affected(write(&INSERT, row)?).await
    }

    async fn update_namespace(&mut self, row: &NamespacesRow) -> Result<u64, StoreError> {
        self.affected(write(&UPDATE, row)?).await
    }

    async fn select_from_namespace(
        &mut self,
        key: &NamespaceKey,
    ) -> Result<Option<NamespacesRow>, StoreError> {
        self.optional(by_key(key, &SELECT_BY_ID, &SELECT_BY_NAME), decode).await
    }

    async fn range_select_from_namespace(
        &mut self,
        min_id: NamespaceId,
        limit: u32,
    ) -> Result<Vec<NamespacesRow>, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("min_id", min_id.0);
        arguments.set("limit", i64::from(limit));
        self.list(exact(&RANGE_SELECT, None, &arguments), decode).await
    }

    async fn delete_from_namespace(&mut self, key: &NamespaceKey) -> Result<u64, StoreError> {
        self.affected(by_key(key, &DELETE_BY_ID, &DELETE_BY_NAME)).await
    }

    async fn lock_namespace_metadata(&mut self) -> Result<Option<i64>, StoreError> {
        let lock = if E::HOLDS_LOCKS { &LOCK_METADATA } else { &READ_METADATA };
        self.optional(exact(lock, None, &Arguments::default()), decode_version).await
    }

    async fn select_from_namespace_metadata(&mut self) -> Result<Option<i64>, StoreError> {
        self.optional(exact(&SELECT_METADATA, None, &Arguments::default()), decode_version).await
    }

    async fn update_namespace_metadata(
        &mut self,
        notification_version: i64,
    ) -> Result<u64, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("notification_version", notification_version);
        self.affected(exact(&UPDATE_METADATA, None, &arguments)).await
    }
}
