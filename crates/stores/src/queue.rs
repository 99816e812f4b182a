//! The queue store: durable queues that a type identifies, and their dead letter queues.

use temporal_dsql_domain::{DataBlob, MessageRange, QueueMessage, QueueMetadataRow, QueueType};

use super::{CHUNK, Page, check_limit, delete_in_chunks, unknown_commit::idempotent};
use temporal_dsql_ports::{ConditionFailed, Outcome, Session, Store, StoreError, Within};

define_store! {
    /// Temporal's `Queue`, over any store.
    ///
    /// A queue is identified by its [`QueueType`]. Its dead letter queue is the queue
    /// [`QueueType::dlq`], with the same operations.
    ///
    /// # Ids of messages
    /// The id of a message is one larger than that of the last message of the queue, and 0 in an
    /// empty queue. The statement that inserts a message reads the last id. There is no counter that
    /// all enqueuers write. Of two that insert the same id, one loses a conflict, and is repeated with
    /// the next id. So the ids of a queue are dense, and their order is the order of the commits.
    ///
    /// If the last message of a queue is deleted, ids begin at 0 again, as in Temporal. A reader whose
    /// ack level is larger does not see the new messages. Temporal keeps the message at the smallest
    /// ack level of a queue. For a dead letter queue, whose messages are all deleted, the caller must
    /// reset the ack level.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{DataBlob, QueueType};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{QueueStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let queues = QueueStore::new(MemoryStore::new());
    /// let queue = QueueType::NAMESPACE_REPLICATION;
    /// queues.init(queue, &DataBlob::proto3(*b"QueueMetadata")).await?;
    ///
    /// let message = DataBlob::proto3(*b"ReplicationTask");
    /// assert_eq!(queues.enqueue(queue, &message).await?, 0);
    /// assert_eq!(queues.enqueue(queue, &message).await?, 1);
    ///
    /// let page = queues.read(queue, 0..i64::MAX, 1).await?;
    /// assert_eq!((page.items[0].message_id, page.next), (0, Some(1)));
    /// queues.delete_range(queue, 0..1).await?;
    /// # Ok(())
    /// # }
    /// ```
    QueueStore
}

impl<S: Store> QueueStore<S> {
    /// Creates the metadata of a queue and of its dead letter queue, at version 0. Existing metadata is
    /// kept. It is idempotent, and retried if its outcome is unknown.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] if the queue cannot have a dead letter queue, and those of the
    /// store.
    pub async fn init(&self, queue_type: QueueType, initial: &DataBlob) -> Result<(), StoreError> {
        let mut session = self.store.session();
        for queue_type in [queue_type, queue_type.dlq()?] {
            if session.select_from_queue_metadata(queue_type).await?.is_none() {
                let row = QueueMetadataRow { queue_type, data: initial.clone(), version: 0 };
                idempotent!(insert_or_keep(&mut *session, &row))?;
            }
        }
        Ok(())
    }

    /// Adds a message to the end of a queue. Returns its id.
    ///
    /// # Errors
    /// Those of the store. If the answer is lost, the outcome is unknown: the id is not known, and
    /// another message may have the same bytes. A caller that repeats the operation may add the
    /// message twice.
    pub async fn enqueue(
        &self,
        queue_type: QueueType,
        message: &DataBlob,
    ) -> Result<i64, StoreError> {
        self.store.session().insert_next_into_messages(queue_type, message).await
    }

    /// Reads a page of a range of a queue, in the order of the ids: `next` is the first id of the next
    /// page. To continue, read the range from it on. The messages after the id `last` are the range
    /// `last + 1..i64::MAX`.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn read(
        &self,
        queue_type: QueueType,
        range: MessageRange,
        limit: u32,
    ) -> Result<Page<QueueMessage, i64>, StoreError> {
        check_limit(limit)?;
        let end = range.end;
        let messages =
            self.store.session().range_select_from_messages(queue_type, range, limit).await?;
        let next = |last: &QueueMessage| last.message_id.checked_add(1).filter(|next| *next < end);
        Ok(Page::new(messages, limit, next))
    }

    /// Deletes one message. An absent message is not an error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete(&self, queue_type: QueueType, message_id: i64) -> Result<(), StoreError> {
        self.store.session().delete_from_messages(queue_type, message_id).await.map(drop)
    }

    /// Deletes a range of a queue in chunks, each in a transaction of its own. Returns the number of
    /// deleted messages. After an error, calling it again continues the deletion. The messages before
    /// the id `first` are the range `0..first`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delete_range(
        &self,
        queue_type: QueueType,
        range: MessageRange,
    ) -> Result<u64, StoreError> {
        let mut session = self.store.session();
        Ok(delete_in_chunks!(session.range_delete_from_messages(queue_type, range.clone(), CHUNK)))
    }

    /// Reads the ack levels of a queue, with their version; `None` before [`init`](Self::init).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn ack_levels(
        &self,
        queue_type: QueueType,
    ) -> Result<Option<QueueMetadataRow>, StoreError> {
        self.store.session().select_from_queue_metadata(queue_type).await
    }

    /// Writes the ack levels of a queue if their stored version is `row.version`, and increments the
    /// version. (Upstream does not send the version for a dead letter queue, so that only the first
    /// update succeeds.)
    ///
    /// # Errors
    /// [`ConditionFailed::QueueMetadata`] with the stored version; and those of the store. If the answer
    /// is lost, the row is read. It is reported as done if the next version has these ack levels, and
    /// as a failed condition if it has others. Otherwise the outcome stays unknown.
    pub async fn update_ack_levels(&self, row: &QueueMetadataRow) -> Result<(), StoreError> {
        let mut session = self.store.session();
        let unknown = match session.update_queue_metadata(row).await {
            Ok(0) => None,
            Ok(_) => return Ok(()),
            Err(error) if error.outcome() == Outcome::Unknown => Some(error),
            Err(error) => return Err(error),
        };
        let found = session.select_from_queue_metadata(row.queue_type).await;
        let observed = match (unknown, found) {
            (None, found) => found?.map(|found| found.version),
            (Some(_), Ok(Some(found))) if found.version.checked_sub(1) == Some(row.version) => {
                if found.data == row.data {
                    return Ok(());
                }
                Some(found.version)
            }
            // The update may still take effect, or was overwritten.
            (Some(error), _) => return Err(error),
        };
        let (queue_type, expected) = (row.queue_type, row.version);
        Err(ConditionFailed::QueueMetadata { queue_type, expected, observed }.into())
    }
}

/// Inserts the metadata of a queue. Existing metadata is kept.
async fn insert_or_keep(
    session: &mut (impl Session + ?Sized),
    row: &QueueMetadataRow,
) -> Result<(), StoreError> {
    match session.insert_into_queue_metadata(row).await {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
