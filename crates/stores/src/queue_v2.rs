//! The queue store of named queues: the dead letters of history tasks.

use std::sync::atomic::{AtomicI64, Ordering};

use temporal_dsql_domain::{
    DataBlob, FIRST_MESSAGE_ID, InvalidValue, QueueMessage, QueueName, QueueV2Key, QueueV2Metadata,
    QueueV2Type, QueuesRow, Table,
};

use super::{CHUNK, Page, check_limit, delete_in_chunks, unknown_commit::idempotent};
use temporal_dsql_ports::{
    BoxFuture, Cause, ConditionFailed, Outcome, Store, StoreError, StoreExt, Transaction, Within,
};

define_store! {
    /// Temporal's `QueueV2`, over any store.
    ///
    /// A queue is identified by its type and its name. The id of a message is one larger than that of
    /// the last message, as in [`QueueStore`](crate::QueueStore). The last message of a queue stays
    /// stored after it is deleted, so that ids never begin again. The metadata of the queue has the
    /// smallest id that is not deleted.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{DataBlob, QueueName, QueueV2Key, QueueV2Type};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{QueueV2Store};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let queues = QueueV2Store::new(MemoryStore::new());
    /// let queue = QueueV2Key {
    ///     queue_type: QueueV2Type::HISTORY_DLQ,
    ///     queue_name: QueueName::new("transfer_active_standby")?,
    /// };
    /// queues.create(&queue).await?;
    /// let id = queues.enqueue(&queue, &DataBlob::proto3(*b"HistoryTask")).await?;
    ///
    /// let page = queues.read(&queue, None, 100).await?;
    /// assert_eq!(page.items[0].message_id, id);
    /// assert_eq!(queues.delete_range(&queue, id).await?, 1);
    /// let list = queues.list(queue.queue_type, None, 100).await?;
    /// assert_eq!((list.items[0].message_count, list.items[0].last_message_id), (0, Some(id)));
    /// # Ok(())
    /// # }
    /// ```
    QueueV2Store
}

/// A queue of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// The name.
    pub queue_name: QueueName,
    /// The number of messages that are not deleted.
    pub message_count: u64,
    /// The id of the last message, even if it is deleted; `None` if the queue never had one.
    pub last_message_id: Option<i64>,
}

impl<S: Store> QueueV2Store<S> {
    /// Creates a queue.
    ///
    /// # Errors
    /// [`ConditionFailed::QueueExists`], and those of the store. If the answer is lost and the queue
    /// exists and nothing of it was deleted, the operation is reported as done.
    pub async fn create(&self, queue: &QueueV2Key) -> Result<(), StoreError> {
        let metadata = QueueV2Metadata { min_message_id: FIRST_MESSAGE_ID };
        let row = QueuesRow { key: queue.clone(), metadata: metadata.to_blob() };
        let mut session = self.store.session();
        match session.insert_into_queue_v2_metadata(&row).await {
            Ok(_) => Ok(()),
            Err(StoreError::AlreadyExists { .. }) => {
                Err(ConditionFailed::QueueExists { queue: queue.clone() }.into())
            }
            Err(error) if error.outcome() == Outcome::Unknown => {
                match session.select_from_queue_v2_metadata(queue).await {
                    Ok(Some(found)) if found == row => Ok(()),
                    Ok(_) | Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Adds a message to the end of a queue. Returns its id.
    ///
    /// # Errors
    /// [`ConditionFailed::QueueNotFound`], and those of the store. If the answer is lost, the outcome is
    /// unknown, as that of [`QueueStore::enqueue`](crate::QueueStore::enqueue).
    pub async fn enqueue(&self, queue: &QueueV2Key, message: &DataBlob) -> Result<i64, StoreError> {
        let mut session = self.store.session();
        let id = session.insert_next_into_queue_v2_messages(queue, message).await?;
        id.ok_or_else(|| not_found(queue))
    }

    /// Reads a page of a queue, in the order of the ids, from the id `from` on, or from the beginning.
    /// `next` is the first id of the next page. Deleted messages are not read.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0; [`ConditionFailed::QueueNotFound`];
    /// [`StoreError::Corrupt`] if the metadata of the queue cannot be read, or the encoding of a message
    /// is not one of Temporal's; and those of the store.
    pub async fn read(
        &self,
        queue: &QueueV2Key,
        from: Option<i64>,
        limit: u32,
    ) -> Result<Page<QueueMessage, i64>, StoreError> {
        check_limit(limit)?;
        let mut session = self.store.session();
        let row = session.select_from_queue_v2_metadata(queue).await?;
        let min = metadata(&row.ok_or_else(|| not_found(queue))?)?.min_message_id;
        let from = from.map_or(min, |from| from.max(min));
        let messages = session.range_select_from_queue_v2_messages(queue, from, limit).await?;
        messages.iter().try_for_each(|message| check_encoding(queue, message))?;
        Ok(Page::new(messages, limit, |last| last.message_id.checked_add(1)))
    }

    /// Deletes the messages of a queue up to the id `last`, inclusive. Returns their number.
    ///
    /// The metadata of the queue is written first, in one transaction: no message of the range is read
    /// afterwards. Then the rows are deleted in chunks, each in a transaction of its own, except that of
    /// the last message of the queue. After an error, calling it again continues the deletion; it counts
    /// only the messages that the metadata still had. It is retried if its outcome is unknown; the number
    /// is then that of all messages that were deleted since the call began.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] if `last` is negative; [`ConditionFailed::QueueNotFound`];
    /// [`StoreError::Corrupt`] if the metadata of the queue cannot be read; and those of the store.
    pub async fn delete_range(&self, queue: &QueueV2Key, last: i64) -> Result<u64, StoreError> {
        InvalidValue::unless(last >= FIRST_MESSAGE_ID, "message_id", || {
            format!("is {last}; it must be at least {FIRST_MESSAGE_ID}")
        })?;
        let request = (queue, last, AtomicI64::new(i64::MAX));
        let mut attempts = 0;
        let deleted = idempotent!({
            attempts += 1;
            self.store.run("RangeDeleteMessages", &request, delete_until)
        })?;
        let mut session = self.store.session();
        delete_in_chunks!(session.range_delete_from_queue_v2_messages(
            queue,
            FIRST_MESSAGE_ID..deleted.rows_end,
            CHUNK
        ));
        // An attempt whose answer was lost may have raised the smallest id.
        let min = if attempts == 1 { deleted.min } else { request.2.into_inner() };
        Ok(deleted.new_min.saturating_sub(min).try_into().unwrap_or_default())
    }

    /// Reads a page of the queues of a type, in the order of their names, after the name `after`.
    /// `next` is the name to continue after.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0; [`StoreError::Corrupt`] if the metadata of a
    /// queue cannot be read; and those of the store.
    pub async fn list(
        &self,
        queue_type: QueueV2Type,
        after: Option<&QueueName>,
        limit: u32,
    ) -> Result<Page<QueueInfo, QueueName>, StoreError> {
        check_limit(limit)?;
        let mut session = self.store.session();
        let rows = session.range_select_from_queue_v2_metadata(queue_type, after, limit).await?;
        let info = |(row, last): (QueuesRow, Option<i64>)| {
            let min = metadata(&row)?.min_message_id;
            let count = last.map_or(0, |last| last.saturating_add(1).saturating_sub(min));
            Ok(QueueInfo {
                queue_name: row.key.queue_name,
                message_count: count.try_into().unwrap_or_default(),
                last_message_id: last,
            })
        };
        let queues = rows.into_iter().map(info).collect::<Result<_, StoreError>>()?;
        Ok(Page::new(queues, limit, |last: &QueueInfo| Some(last.queue_name.clone())))
    }
}

/// What a deletion has removed from the metadata of a queue.
struct Deleted {
    /// The smallest id before.
    min: i64,
    /// The smallest id afterwards.
    new_min: i64,
    /// The first row that stays stored.
    rows_end: i64,
}

/// Raises the smallest id of a queue to the one after `last`, but not beyond the end of the queue, and
/// lowers `first_min` to the one before.
fn delete_until<'t>(
    transaction: &'t mut dyn Transaction,
    (queue, last, first_min): &'t (&QueueV2Key, i64, AtomicI64),
) -> BoxFuture<'t, Result<Deleted, StoreError>> {
    Box::pin(async move {
        let row = transaction.lock_queue_v2_metadata(queue).await?;
        let row = row.ok_or_else(|| not_found(queue))?;
        let min = metadata(&row)?.min_message_id;
        first_min.fetch_min(min, Ordering::Relaxed);
        let Some(stored) = transaction.last_message_id_of_queue_v2(queue).await? else {
            return Ok(Deleted { min, new_min: min, rows_end: FIRST_MESSAGE_ID });
        };
        let new_min = stored.min(*last).saturating_add(1).max(min);
        if new_min > min {
            let metadata = QueueV2Metadata { min_message_id: new_min }.to_blob();
            transaction.update_queue_v2_metadata(&QueuesRow { metadata, ..row }).await?;
        }
        Ok(Deleted { min, new_min, rows_end: new_min.min(stored) })
    })
}

fn not_found(queue: &QueueV2Key) -> StoreError {
    ConditionFailed::QueueNotFound { queue: queue.clone() }.into()
}

fn metadata(row: &QueuesRow) -> Result<QueueV2Metadata, StoreError> {
    QueueV2Metadata::from_blob(&row.metadata).map_err(|error| StoreError::Corrupt {
        table: Table::Queues,
        column: "metadata_payload",
        source: Some(Cause::new(format!("queue {}: {error}", row.key))),
    })
}

/// Refuses a message that the caller could not decode.
fn check_encoding(queue: &QueueV2Key, message: &QueueMessage) -> Result<(), StoreError> {
    let encoding = &message.data.encoding;
    if encoding.is_known() {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        table: Table::QueueMessages,
        column: "message_encoding",
        source: Some(Cause::new(format!(
            "message {} of queue {queue} has the unknown encoding `{encoding}`",
            message.message_id
        ))),
    })
}
