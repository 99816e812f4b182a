//! The durable queues between services (temporal-persistence.md#queues): messages of two tables of
//! one shape, and the metadata of their queues.

use std::ops::Range;

use async_trait::async_trait;
use temporal_dsql_domain::{
    DataBlob, FIRST_MESSAGE_ID, InvalidValue, MessageRange, QueueMessage, QueueMetadataRow,
    QueueName, QueueType, QueueV2Key, QueueV2Metadata, QueueV2Type, QueuesRow, Table,
};
use temporal_dsql_ports::{Queues, QueuesV2, StoreError};

use crate::{
    connection::{Connection, Execute},
    engine::Lock,
    key::{Column, Key, NewRow, check_statement},
    limited_transaction::LimitedTransaction,
};

/// The prefix of the keys of the messages of a queue of `queue`.
fn queue(queue_type: QueueType) -> Key {
    Key::new(Table::Queue, [Column::Integer(queue_type.0)])
}

/// The prefix of the keys of the messages of a queue of `queue_messages`.
fn queue_v2(key: &QueueV2Key) -> Key {
    let partition = Column::BigInt(QueueV2Metadata::PARTITION.into());
    let columns = [Column::Integer(key.queue_type.0), Column::text(&key.queue_name), partition];
    Key::new(Table::QueueMessages, columns)
}

fn message_key(queue: &Key, message_id: i64) -> Key {
    queue.with([Column::BigInt(message_id)])
}

fn message_range(queue: &Key, range: MessageRange) -> Range<Key> {
    message_key(queue, range.start)..message_key(queue, range.end)
}

/// A message to insert, checked against the limits.
fn message_row(queue: &Key, message: &QueueMessage) -> Result<NewRow, StoreError> {
    let key = message_key(queue, message.message_id);
    Ok(NewRow::new(key, message, &[("message_payload", message.data.data.len())])?)
}

fn message_rows(queue: &Key, messages: &[QueueMessage]) -> Result<Vec<NewRow>, StoreError> {
    let rows = messages.iter().map(|message| message_row(queue, message));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    check_statement(&rows)?;
    Ok(rows)
}

fn last_message_id(transaction: &LimitedTransaction, queue: &Key) -> Option<i64> {
    let last = transaction.range(&queue.all()).next_back();
    last.map(|message: &QueueMessage| message.message_id)
}

/// The number after `number`, as the column of a `BIGINT` computes it.
fn next(column: &'static str, number: i64) -> Result<i64, InvalidValue> {
    number.checked_add(1).ok_or_else(|| InvalidValue::new(column, "is the largest number"))
}

/// Inserts a message after the last one of the queue. Returns its id.
fn insert_next(
    transaction: &mut LimitedTransaction,
    queue: &Key,
    data: &DataBlob,
) -> Result<i64, StoreError> {
    let message_id = match last_message_id(transaction, queue) {
        Some(last) => next("message_id", last)?,
        None => FIRST_MESSAGE_ID,
    };
    let message = QueueMessage { message_id, data: data.clone() };
    transaction.insert(&message_row(queue, &message)?)?;
    Ok(message_id)
}

/// Refuses a message that exceeds the limits, before its statement.
fn check_next(queue: &Key, data: &DataBlob) -> Result<(), StoreError> {
    let message = QueueMessage { message_id: FIRST_MESSAGE_ID, data: data.clone() };
    message_row(queue, &message).map(drop)
}

fn metadata_key(queue_type: QueueType) -> Key {
    Key::new(Table::QueueMetadata, [Column::Integer(queue_type.0)])
}

/// The row to write, checked against the limits.
fn metadata_row(row: &QueueMetadataRow) -> Result<NewRow, StoreError> {
    Ok(NewRow::new(metadata_key(row.queue_type), row, &[("data", row.data.data.len())])?)
}

fn queues_of(queue_type: QueueV2Type) -> Key {
    Key::new(Table::Queues, [Column::Integer(queue_type.0)])
}

fn queues_key(key: &QueueV2Key) -> Key {
    queues_of(key.queue_type).with([Column::text(&key.queue_name)])
}

/// The row to write, checked against the limits.
fn queues_row(row: &QueuesRow) -> Result<NewRow, StoreError> {
    let values = [("metadata_payload", row.metadata.data.len())];
    Ok(NewRow::new(queues_key(&row.key), row, &values)?)
}

#[async_trait]
impl<E: Execute> Queues for Connection<E> {
    async fn insert_into_messages(
        &mut self,
        queue_type: QueueType,
        messages: &[QueueMessage],
    ) -> Result<u64, StoreError> {
        let rows = message_rows(&queue(queue_type), messages)?;
        self.execute("InsertIntoMessages", |transaction| transaction.insert_all(&rows)).await
    }

    async fn insert_next_into_messages(
        &mut self,
        queue_type: QueueType,
        data: &DataBlob,
    ) -> Result<i64, StoreError> {
        let queue = queue(queue_type);
        check_next(&queue, data)?;
        self.execute("InsertNextIntoMessages", |transaction| insert_next(transaction, &queue, data))
            .await
    }

    async fn select_from_messages(
        &mut self,
        queue_type: QueueType,
        message_id: i64,
    ) -> Result<Option<QueueMessage>, StoreError> {
        let key = message_key(&queue(queue_type), message_id);
        self.execute("SelectFromMessages", |transaction| Ok(transaction.select(&key).cloned()))
            .await
    }

    async fn range_select_from_messages(
        &mut self,
        queue_type: QueueType,
        range: MessageRange,
        limit: u32,
    ) -> Result<Vec<QueueMessage>, StoreError> {
        let keys = message_range(&queue(queue_type), range);
        let select =
            |transaction: &mut LimitedTransaction| Ok(transaction.select_range(&keys, Some(limit)));
        self.execute("RangeSelectFromMessages", select).await
    }

    async fn delete_from_messages(
        &mut self,
        queue_type: QueueType,
        message_id: i64,
    ) -> Result<u64, StoreError> {
        let key = message_key(&queue(queue_type), message_id);
        self.execute("DeleteFromMessages", |transaction| transaction.delete(&key)).await
    }

    async fn range_delete_from_messages(
        &mut self,
        queue_type: QueueType,
        range: MessageRange,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let keys = message_range(&queue(queue_type), range);
        let delete =
            |transaction: &mut LimitedTransaction| transaction.delete_range(&keys, Some(limit));
        self.execute("RangeDeleteFromMessages", delete).await
    }

    async fn insert_into_queue_metadata(
        &mut self,
        row: &QueueMetadataRow,
    ) -> Result<u64, StoreError> {
        let row = metadata_row(row)?;
        self.execute("InsertIntoQueueMetadata", |transaction| transaction.insert(&row)).await
    }

    async fn update_queue_metadata(&mut self, row: &QueueMetadataRow) -> Result<u64, StoreError> {
        let expected = row.version;
        let version = expected.saturating_add(1);
        let row = metadata_row(&QueueMetadataRow { version, ..row.clone() })?;
        let holds = |stored: &QueueMetadataRow| stored.version == expected;
        self.execute("UpdateQueueMetadata", |transaction| {
            let updated = transaction.update_if(&row, holds)?;
            if updated > 0 {
                next("version", expected)?;
            }
            Ok(updated)
        })
        .await
    }

    async fn select_from_queue_metadata(
        &mut self,
        queue_type: QueueType,
    ) -> Result<Option<QueueMetadataRow>, StoreError> {
        let key = metadata_key(queue_type);
        self.execute("SelectFromQueueMetadata", |transaction| Ok(transaction.select(&key).cloned()))
            .await
    }

    async fn lock_queue_metadata(
        &mut self,
        queue_type: QueueType,
    ) -> Result<Option<QueueMetadataRow>, StoreError> {
        let key = metadata_key(queue_type);
        self.execute("LockQueueMetadata", |transaction| {
            Ok(transaction.lock(&key, Lock::ForUpdate).cloned())
        })
        .await
    }
}

#[async_trait]
impl<E: Execute> QueuesV2 for Connection<E> {
    async fn insert_into_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        messages: &[QueueMessage],
    ) -> Result<u64, StoreError> {
        let rows = message_rows(&queue_v2(queue), messages)?;
        self.execute("InsertIntoQueueV2Messages", |transaction| transaction.insert_all(&rows)).await
    }

    async fn insert_next_into_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        data: &DataBlob,
    ) -> Result<Option<i64>, StoreError> {
        let (messages, key) = (queue_v2(queue), queues_key(queue));
        check_next(&messages, data)?;
        self.execute("InsertNextIntoQueueV2Messages", |transaction| {
            match transaction.select::<QueuesRow>(&key) {
                Some(_) => insert_next(transaction, &messages, data).map(Some),
                None => {
                    // The statement is a write, even if it affects no row.
                    transaction.insert_all(&[])?;
                    Ok(None)
                }
            }
        })
        .await
    }

    async fn range_select_from_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        min_message_id: i64,
        limit: u32,
    ) -> Result<Vec<QueueMessage>, StoreError> {
        let queue = queue_v2(queue);
        let keys = message_key(&queue, min_message_id)..queue.end();
        let select =
            |transaction: &mut LimitedTransaction| Ok(transaction.select_range(&keys, Some(limit)));
        self.execute("RangeSelectFromQueueV2Messages", select).await
    }

    async fn range_delete_from_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        range: MessageRange,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let keys = message_range(&queue_v2(queue), range);
        let delete =
            |transaction: &mut LimitedTransaction| transaction.delete_range(&keys, Some(limit));
        self.execute("RangeDeleteFromQueueV2Messages", delete).await
    }

    async fn last_message_id_of_queue_v2(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<i64>, StoreError> {
        let queue = queue_v2(queue);
        self.execute("GetLastEnqueuedMessageIDV2", |transaction| {
            Ok(last_message_id(transaction, &queue))
        })
        .await
    }

    async fn insert_into_queue_v2_metadata(&mut self, row: &QueuesRow) -> Result<u64, StoreError> {
        let row = queues_row(row)?;
        self.execute("InsertIntoQueueV2Metadata", |transaction| transaction.insert(&row)).await
    }

    async fn update_queue_v2_metadata(&mut self, row: &QueuesRow) -> Result<u64, StoreError> {
        let row = queues_row(row)?;
        self.execute("UpdateQueueV2Metadata", |transaction| transaction.update(&row)).await
    }

    async fn select_from_queue_v2_metadata(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<QueuesRow>, StoreError> {
        let key = queues_key(queue);
        self.execute("SelectFromQueueV2Metadata", |transaction| {
            Ok(transaction.select(&key).cloned())
        })
        .await
    }

    async fn lock_queue_v2_metadata(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<QueuesRow>, StoreError> {
        let key = queues_key(queue);
        self.execute("SelectFromQueueV2MetadataForUpdate", |transaction| {
            Ok(transaction.lock(&key, Lock::ForUpdate).cloned())
        })
        .await
    }

    async fn range_select_from_queue_v2_metadata(
        &mut self,
        queue_type: QueueV2Type,
        after: Option<&QueueName>,
        limit: u32,
    ) -> Result<Vec<(QueuesRow, Option<i64>)>, StoreError> {
        let of_type = queues_of(queue_type);
        let from = match after {
            Some(name) => of_type.with([Column::text(name)]).end(),
            None => of_type.clone(),
        };
        let keys = from..of_type.end();
        self.execute("SelectNameFromQueueV2Metadata", |transaction| {
            let rows: Vec<QueuesRow> = transaction.select_range(&keys, Some(limit));
            let with_last = rows.into_iter().map(|row| {
                let last = last_message_id(transaction, &queue_v2(&row.key));
                (row, last)
            });
            Ok(with_last.collect())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_ports::{Store, Transaction};

    use super::*;
    use crate::{
        MemoryStore,
        testing::{begin, blob, conflict},
    };

    const QUEUE: QueueType = QueueType::NAMESPACE_REPLICATION;

    fn named(name: &str) -> QueuesRow {
        let queue_name = QueueName::new(name).unwrap();
        let key = QueueV2Key { queue_type: QueueV2Type::HISTORY_DLQ, queue_name };
        QueuesRow { key, metadata: blob(1) }
    }

    #[tokio::test]
    async fn two_enqueues_conflict_in_one_queue_only() {
        for other in [QUEUE, QueueType(-1), QueueType(2)] {
            let store = MemoryStore::new();
            let enqueue = |queue: QueueType| {
                async move |transaction: &mut dyn Transaction| {
                    let enqueued = transaction.insert_next_into_messages(queue, &blob(1)).await;
                    assert_eq!(enqueued.unwrap(), FIRST_MESSAGE_ID);
                }
            };
            let conflicts = conflict(&store, enqueue(QUEUE), enqueue(other)).await;
            assert_eq!(conflicts, other == QUEUE, "{other}");
        }
        let (one, other) = (named("one"), named("other"));
        for (second, expected) in [(&one, true), (&other, false)] {
            let store = MemoryStore::new();
            for row in [&one, &other] {
                store.session().insert_into_queue_v2_metadata(row).await.unwrap();
            }
            let enqueue = |row: QueuesRow| {
                async move |transaction: &mut dyn Transaction| {
                    let data = blob(1);
                    let enqueued =
                        transaction.insert_next_into_queue_v2_messages(&row.key, &data).await;
                    assert_eq!(enqueued.unwrap(), Some(FIRST_MESSAGE_ID));
                }
            };
            let conflicts = conflict(&store, enqueue(one.clone()), enqueue(second.clone())).await;
            assert_eq!(conflicts, expected, "{second:?}");
        }
    }

    /// A message that was inserted and deleted since the snapshot of another enqueue keeps its id.
    #[tokio::test]
    async fn an_enqueue_conflicts_with_a_message_that_is_deleted_again() {
        let store = MemoryStore::new();
        let mut late = begin(&store).await;
        let late_id = late.insert_next_into_messages(QUEUE, &blob(1)).await.unwrap();
        let mut session = store.session();
        let id = session.insert_next_into_messages(QUEUE, &blob(2)).await.unwrap();
        assert_eq!(session.delete_from_messages(QUEUE, id).await.unwrap(), 1);
        assert_eq!(late_id, id);
        assert!(matches!(late.commit().await, Err(StoreError::Conflict { .. })));
    }
}
