//! The row ports of the durable queues between services (temporal-persistence.md#queues).

use async_trait::async_trait;
use temporal_dsql_domain::{
    DataBlob, MessageRange, QueueMessage, QueueMetadataRow, QueueName, QueueType, QueueV2Key,
    QueueV2Type, QueuesRow,
};

use crate::StoreError;

/// Operations on `queue` and `queue_metadata`: queues that a type identifies.
#[async_trait]
pub trait Queues: Send {
    /// Inserts messages with ids of the caller's, all or none.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if one of them exists.
    async fn insert_into_messages(
        &mut self,
        queue_type: QueueType,
        messages: &[QueueMessage],
    ) -> Result<u64, StoreError>;

    /// Inserts a message with the id after the last one of the queue, and returns the id. The first
    /// one is [`FIRST_MESSAGE_ID`](temporal_dsql_domain::FIRST_MESSAGE_ID), also after all messages
    /// were deleted.
    ///
    /// Of two sessions that insert the same id, one loses a conflict. A duplicate key is such a
    /// conflict, too.
    async fn insert_next_into_messages(
        &mut self,
        queue_type: QueueType,
        data: &DataBlob,
    ) -> Result<i64, StoreError>;

    /// Reads one message.
    async fn select_from_messages(
        &mut self,
        queue_type: QueueType,
        message_id: i64,
    ) -> Result<Option<QueueMessage>, StoreError>;

    /// Reads the first `limit` messages of a range, in the order of their ids.
    async fn range_select_from_messages(
        &mut self,
        queue_type: QueueType,
        range: MessageRange,
        limit: u32,
    ) -> Result<Vec<QueueMessage>, StoreError>;

    /// Deletes one message.
    async fn delete_from_messages(
        &mut self,
        queue_type: QueueType,
        message_id: i64,
    ) -> Result<u64, StoreError>;

    /// Deletes the first `limit` messages of a range. A result below `limit` means that none is left.
    async fn range_delete_from_messages(
        &mut self,
        queue_type: QueueType,
        range: MessageRange,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// Inserts the metadata of a queue.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`].
    async fn insert_into_queue_metadata(
        &mut self,
        row: &QueueMetadataRow,
    ) -> Result<u64, StoreError>;

    /// Overwrites the metadata of a queue if its version is `row.version`, which is incremented
    /// (compare-and-set).
    async fn update_queue_metadata(&mut self, row: &QueueMetadataRow) -> Result<u64, StoreError>;

    /// Reads the metadata of a queue.
    async fn select_from_queue_metadata(
        &mut self,
        queue_type: QueueType,
    ) -> Result<Option<QueueMetadataRow>, StoreError>;

    /// Locks the metadata of a queue `FOR UPDATE` and reads it.
    async fn lock_queue_metadata(
        &mut self,
        queue_type: QueueType,
    ) -> Result<Option<QueueMetadataRow>, StoreError>;
}

/// Operations on `queues` and `queue_messages`: queues that a type and a name identify. All messages
/// of a queue are in the partition
/// [`PARTITION`](temporal_dsql_domain::QueueV2Metadata::PARTITION).
#[async_trait]
pub trait QueuesV2: Send {
    /// Inserts messages with ids of the caller's, all or none. The queue need not exist.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if one of them exists.
    async fn insert_into_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        messages: &[QueueMessage],
    ) -> Result<u64, StoreError>;

    /// Inserts a message with the id after the last one of the queue, and returns the id; `None` if
    /// the queue does not exist. The first one is
    /// [`FIRST_MESSAGE_ID`](temporal_dsql_domain::FIRST_MESSAGE_ID).
    ///
    /// Of two sessions that insert the same id, one loses a conflict. A duplicate key is such a
    /// conflict, too.
    async fn insert_next_into_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        data: &DataBlob,
    ) -> Result<Option<i64>, StoreError>;

    /// Reads the first `limit` messages from `min_message_id` on, in the order of their ids.
    async fn range_select_from_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        min_message_id: i64,
        limit: u32,
    ) -> Result<Vec<QueueMessage>, StoreError>;

    /// Deletes the first `limit` messages of a range. A result below `limit` means that none is left.
    async fn range_delete_from_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        range: MessageRange,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// The id of the last message of a queue; `None` if it has none.
    async fn last_message_id_of_queue_v2(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<i64>, StoreError>;

    /// Inserts a queue.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`].
    async fn insert_into_queue_v2_metadata(&mut self, row: &QueuesRow) -> Result<u64, StoreError>;

    /// Overwrites the metadata of a queue. The caller holds
    /// [`lock_queue_v2_metadata`](Self::lock_queue_v2_metadata).
    async fn update_queue_v2_metadata(&mut self, row: &QueuesRow) -> Result<u64, StoreError>;

    /// Reads a queue.
    async fn select_from_queue_v2_metadata(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<QueuesRow>, StoreError>;

    /// Locks a queue `FOR UPDATE` and reads it.
    async fn lock_queue_v2_metadata(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<QueuesRow>, StoreError>;

    /// Reads the first `limit` queues of a type whose names are greater than `after`, in the order of
    /// their names, each with the id of its last message.
    async fn range_select_from_queue_v2_metadata(
        &mut self,
        queue_type: QueueV2Type,
        after: Option<&QueueName>,
        limit: u32,
    ) -> Result<Vec<(QueuesRow, Option<i64>)>, StoreError>;
}
