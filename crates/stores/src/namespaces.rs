//! The namespace store: creates, reads, updates and deletes namespaces.

use temporal_dsql_domain::{Namespace, NamespaceId, NamespaceKey, NamespacesRow, Table};

use super::{Page, check_limit};
use temporal_dsql_ports::{
    BoxFuture, Cause, ConditionFailed, Outcome, Store, StoreError, StoreExt, Transaction, Within,
};

define_store! {
    /// Temporal's `MetadataStore`, over any store.
    ///
    /// # The notification version
    /// All namespaces together have one notification version, which every create and every update
    /// increments. The caller of an update sends the version that it has read, and the update fails
    /// if any namespace was created or updated since. A row keeps the version that its last write
    /// has found.
    ///
    /// A create or an update is a transaction that locks the notification version `FOR UPDATE`. So
    /// the writes of namespaces are serial, as upstream.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{DataBlob, Namespace, NamespaceKey, NamespaceName};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{NamespaceStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let namespaces = NamespaceStore::new(MemoryStore::new());
    /// let mut shop = Namespace {
    ///     id: "32049b68-7872-4094-8e63-d0dd59896a83".parse()?,
    ///     name: NamespaceName::new("shop")?,
    ///     is_global: false,
    ///     data: DataBlob::proto3(*b"NamespaceDetail"),
    /// };
    /// namespaces.create(&shop).await?;
    ///
    /// // An update under the notification version, which another name makes a rename.
    /// shop.name = NamespaceName::new("store")?;
    /// namespaces.update(&shop, namespaces.notification_version().await?).await?;
    /// let read = namespaces.get(&NamespaceKey::Id(shop.id)).await?.expect("it is stored");
    /// assert_eq!(read.namespace, shop);
    ///
    /// let page = namespaces.list(None, 100).await?;
    /// assert_eq!(page.items, [read]);
    /// assert_eq!(page.next, None);
    /// namespaces.delete(&NamespaceKey::Name(shop.name)).await?;
    /// # Ok(())
    /// # }
    /// ```
    NamespaceStore
}

impl<S: Store> NamespaceStore<S> {
    /// Creates a namespace. Returns the notification version of its row.
    ///
    /// # Errors
    /// [`ConditionFailed::NamespaceExists`] with the row that has the id or the name, or
    /// [`StoreError::AlreadyExists`] if that row was deleted in the meantime; and those of the store.
    /// If the answer is lost and the stored namespace equals `namespace`, the create is reported as
    /// done.
    pub async fn create(&self, namespace: &Namespace) -> Result<i64, StoreError> {
        let error = match self.store.run("CreateNamespace", namespace, create).await {
            Ok(version) => return Ok(version),
            Err(error) => error,
        };
        let keys = [NamespaceKey::Name(namespace.name.clone()), NamespaceKey::Id(namespace.id)];
        if error.outcome() == Outcome::Unknown
            && let Ok(Some(row)) = self.get(&keys[1]).await
            && row.namespace == *namespace
        {
            return Ok(row.notification_version);
        }
        Err(self.with_duplicate(error, &keys).await)
    }

    /// Reads a namespace by its id or its name; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, key: &NamespaceKey) -> Result<Option<NamespacesRow>, StoreError> {
        self.store.session().select_from_namespace(key).await
    }

    /// Reads the notification version of all namespaces.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the row of the schema is missing, and those of the store.
    pub async fn notification_version(&self) -> Result<i64, StoreError> {
        let version = self.store.session().select_from_namespace_metadata().await?;
        version.ok_or_else(no_metadata)
    }

    /// Overwrites a namespace, if the notification version of all namespaces is
    /// `notification_version`. Another name renames it.
    ///
    /// # Errors
    /// [`ConditionFailed::NotificationVersion`] with the stored version;
    /// [`ConditionFailed::NamespaceNotFound`]; [`ConditionFailed::NamespaceExists`] with the other
    /// namespace that has the name, or [`StoreError::AlreadyExists`] if that was renamed or deleted
    /// in the meantime; and those of the store. If the answer is lost and the stored row is the one
    /// of this update, the update is reported as done.
    pub async fn update(
        &self,
        namespace: &Namespace,
        notification_version: i64,
    ) -> Result<(), StoreError> {
        let row = NamespacesRow { namespace: namespace.clone(), notification_version };
        let Err(error) = self.store.run("UpdateNamespace", &row, update).await else {
            return Ok(());
        };
        if error.outcome() == Outcome::Unknown
            && let Ok(Some(stored)) = self.get(&NamespaceKey::Id(namespace.id)).await
            && stored == row
        {
            return Ok(());
        }
        Err(self.with_duplicate(error, &[NamespaceKey::Name(namespace.name.clone())]).await)
    }

    /// Deletes a namespace by its id or its name. An absent namespace is not an error. The
    /// notification version stays.
    ///
    /// # Errors
    /// Those of the store. If the answer is lost and the namespace is absent, the delete is reported
    /// as done.
    pub async fn delete(&self, key: &NamespaceKey) -> Result<(), StoreError> {
        let Err(error) = self.store.session().delete_from_namespace(key).await else {
            return Ok(());
        };
        if error.outcome() == Outcome::Unknown && matches!(self.get(key).await, Ok(None)) {
            return Ok(());
        }
        Err(error)
    }

    /// Reads a page of all namespaces, in the order of their ids: `next` is the smallest id of the
    /// next page. Namespaces in every state are listed: the state is in the blob, which this store
    /// does not decode.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn list(
        &self,
        from: Option<NamespaceId>,
        limit: u32,
    ) -> Result<Page<NamespacesRow, NamespaceId>, StoreError> {
        check_limit(limit)?;
        let from = from.unwrap_or(NamespaceId::MIN);
        let rows = self.store.session().range_select_from_namespace(from, limit).await?;
        Ok(Page::new(rows, limit, |last| last.namespace.id.next()))
    }

    /// Adds to a duplicate the row that it duplicates: the first that one of `keys` finds.
    async fn with_duplicate(&self, error: StoreError, keys: &[NamespaceKey]) -> StoreError {
        if matches!(error, StoreError::AlreadyExists { .. }) {
            for key in keys {
                if let Ok(Some(row)) = self.get(key).await {
                    return ConditionFailed::NamespaceExists { observed: Box::new(row) }.into();
                }
            }
        }
        error
    }
}

/// The body of a create.
fn create<'t>(
    transaction: &'t mut dyn Transaction,
    namespace: &'t Namespace,
) -> BoxFuture<'t, Result<i64, StoreError>> {
    Box::pin(async move {
        let notification_version = lock_version(transaction).await?;
        let row = NamespacesRow { namespace: namespace.clone(), notification_version };
        transaction.insert_into_namespace(&row).await?;
        increment_version(transaction, notification_version).await?;
        Ok(notification_version)
    })
}

/// The body of an update.
fn update<'t>(
    transaction: &'t mut dyn Transaction,
    row: &'t NamespacesRow,
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        let (expected, observed) = (row.notification_version, lock_version(transaction).await?);
        if observed != expected {
            return Err(ConditionFailed::NotificationVersion { expected, observed }.into());
        }
        if transaction.update_namespace(row).await? == 0 {
            return Err(ConditionFailed::NamespaceNotFound { id: row.namespace.id }.into());
        }
        increment_version(transaction, expected).await
    })
}

async fn lock_version(transaction: &mut dyn Transaction) -> Result<i64, StoreError> {
    transaction.lock_namespace_metadata().await?.ok_or_else(no_metadata)
}

/// Increments the version, which is locked.
async fn increment_version(
    transaction: &mut dyn Transaction,
    version: i64,
) -> Result<(), StoreError> {
    match transaction.update_namespace_metadata(version).await? {
        0 => Err(no_metadata()),
        _ => Ok(()),
    }
}

fn no_metadata() -> StoreError {
    StoreError::Corrupt {
        table: Table::NamespaceMetadata,
        column: "notification_version",
        source: Some(Cause::new(
            "the row of the schema is missing: partition_id 54321, notification_version 1",
        )),
    }
}
