//! The row port of the user data of task queues, and of their build ids
//! (temporal-persistence.md#matching).

use async_trait::async_trait;
use temporal_dsql_domain::{
    BuildId, NamespaceId, TaskQueueBuildIds, TaskQueueName, TaskQueueUserDataRow,
};

use crate::StoreError;

/// Operations on the user data of task queues, and on their build ids.
#[async_trait]
pub trait TaskQueueUserData: Send {
    /// Inserts the user data of one task queue.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`].
    async fn insert_into_task_queue_user_data(
        &mut self,
        row: &TaskQueueUserDataRow,
    ) -> Result<u64, StoreError>;

    /// Overwrites all columns but the key of one row if its version is `expected` (compare-and-set).
    async fn update_task_queue_user_data(
        &mut self,
        row: &TaskQueueUserDataRow,
        expected: i64,
    ) -> Result<u64, StoreError>;

    /// Reads the user data of one task queue.
    async fn get_task_queue_user_data(
        &mut self,
        namespace_id: NamespaceId,
        task_queue_name: &TaskQueueName,
    ) -> Result<Option<TaskQueueUserDataRow>, StoreError>;

    /// Reads the user data of the first `limit` task queues of a namespace after `after`, in the order
    /// of their names.
    async fn list_task_queue_user_data(
        &mut self,
        namespace_id: NamespaceId,
        after: Option<&TaskQueueName>,
        limit: u32,
    ) -> Result<Vec<TaskQueueUserDataRow>, StoreError>;

    /// Inserts build ids of a task queue, all or none.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if one of them exists.
    async fn add_to_build_id_to_task_queue_mapping(
        &mut self,
        of: &TaskQueueBuildIds,
    ) -> Result<u64, StoreError>;

    /// Deletes build ids of a task queue.
    async fn remove_from_build_id_to_task_queue_mapping(
        &mut self,
        of: &TaskQueueBuildIds,
    ) -> Result<u64, StoreError>;

    /// Reads the task queues of a build id, in the order of their names.
    async fn get_task_queues_by_build_id(
        &mut self,
        namespace_id: NamespaceId,
        build_id: &BuildId,
    ) -> Result<Vec<TaskQueueName>, StoreError>;

    /// Counts the task queues of a build id.
    async fn count_task_queues_by_build_id(
        &mut self,
        namespace_id: NamespaceId,
        build_id: &BuildId,
    ) -> Result<u64, StoreError>;
}
