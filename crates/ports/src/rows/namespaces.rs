//! The row port of `namespaces` and `namespace_metadata` (temporal-persistence.md#namespaces).

use async_trait::async_trait;
use temporal_dsql_domain::{NamespaceId, NamespaceKey, NamespacesRow};

use crate::StoreError;

/// Operations on namespaces, and on the notification version of all of them.
#[async_trait]
pub trait Namespaces: Send {
    /// Inserts one namespace.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if a namespace has the id or the name.
    async fn insert_into_namespace(&mut self, row: &NamespacesRow) -> Result<u64, StoreError>;

    /// Overwrites all columns of the namespace with this id, the name included.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if another namespace has the name.
    async fn update_namespace(&mut self, row: &NamespacesRow) -> Result<u64, StoreError>;

    /// Reads one namespace.
    async fn select_from_namespace(
        &mut self,
        key: &NamespaceKey,
    ) -> Result<Option<NamespacesRow>, StoreError>;

    /// Reads the first `limit` namespaces whose ids are `min_id` or greater, in the order of their
    /// ids.
    async fn range_select_from_namespace(
        &mut self,
        min_id: NamespaceId,
        limit: u32,
    ) -> Result<Vec<NamespacesRow>, StoreError>;

    /// Deletes one namespace.
    async fn delete_from_namespace(&mut self, key: &NamespaceKey) -> Result<u64, StoreError>;

    /// Locks the notification version of all namespaces `FOR UPDATE` and reads it. Every write that
    /// raises it holds this lock, so of two such writes at once one loses a conflict.
    async fn lock_namespace_metadata(&mut self) -> Result<Option<i64>, StoreError>;

    /// Reads the notification version of all namespaces; `None` if the row of the schema is missing.
    async fn select_from_namespace_metadata(&mut self) -> Result<Option<i64>, StoreError>;

    /// Raises the notification version by one if it is `notification_version` (compare-and-set).
    async fn update_namespace_metadata(
        &mut self,
        notification_version: i64,
    ) -> Result<u64, StoreError>;
}
