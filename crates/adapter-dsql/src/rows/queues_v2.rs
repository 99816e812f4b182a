//! `queues` and `queue_messages`: the queues that a type and a name identify.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    DataBlob, MessageRange, QueueMessage, QueueName, QueueV2Key, QueueV2Metadata, QueueV2Type,
    QueuesRow, Table,
};
use temporal_dsql_ports::{QueuesV2, StoreError};

use super::{
    decode::Columns,
    messages,
    payload::Payload,
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

const MESSAGES: SqlFile =
    SqlFile::new(Table::QueueMessages, include_str!("../../sql/queue_messages.sql"));
const METADATA: SqlFile = SqlFile::new(Table::Queues, include_str!("../../sql/queues.sql"));

static INSERT: Meta = MESSAGES.write("InsertIntoQueueV2Messages");
static INSERT_NEXT: Meta = MESSAGES.write("InsertNextIntoQueueV2Messages").with_computed_key();
static SELECT_RANGE: Meta = MESSAGES.read("RangeSelectFromQueueV2Messages");
static DELETE_RANGE: Meta = MESSAGES.write("RangeDeleteFromQueueV2Messages");
static SELECT_LAST: Meta = MESSAGES.read("GetLastEnqueuedMessageIDV2");
static INSERT_METADATA: Meta = METADATA.write("InsertIntoQueueV2Metadata");
static UPDATE_METADATA: Meta = METADATA.write("UpdateQueueV2Metadata");
static SELECT_METADATA: Meta = METADATA.read("SelectFromQueueV2Metadata");
static LOCK_METADATA: Meta = METADATA.read("SelectFromQueueV2MetadataForUpdate");
static LIST_METADATA: Meta = METADATA.read("SelectNameFromQueueV2Metadata");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 10] = [
    &INSERT,
    &INSERT_NEXT,
    &SELECT_RANGE,
    &DELETE_RANGE,
    &SELECT_LAST,
    &INSERT_METADATA,
    &UPDATE_METADATA,
    &SELECT_METADATA,
    &LOCK_METADATA,
    &LIST_METADATA,
];

const PARTITION: i64 = QueueV2Metadata::PARTITION as i64;

/// The bytes of the key of a queue in `queues`.
fn key_bytes(queue: &QueueV2Key) -> usize {
    4 + queue.queue_name.len()
}

/// The columns of the key of a queue in `queues`.
fn queue_key(queue: &QueueV2Key) -> Arguments<'_> {
    let mut arguments = Arguments::default();
    arguments.set("queue_type", queue.queue_type.0);
    arguments.set("queue_name", queue.queue_name.as_str());
    arguments
}

/// The columns of the key of a queue in `queue_messages`.
fn message_queue(queue: &QueueV2Key) -> Arguments<'_> {
    let mut arguments = queue_key(queue);
    arguments.set("queue_partition", PARTITION);
    arguments
}

fn insert(queue: &QueueV2Key, messages: &[QueueMessage]) -> Result<Statement, StoreError> {
    let mut arguments = message_queue(queue);
    let queue_bytes = key_bytes(queue) + 8;
    messages::set_messages(&mut arguments, Table::QueueMessages, queue_bytes, messages)?;
    Ok(exact(&INSERT, None, &arguments))
}

fn insert_next(queue: &QueueV2Key, data: &DataBlob) -> Result<Statement, StoreError> {
    let mut arguments = message_queue(queue);
    let queue_bytes = key_bytes(queue) + 8;
    messages::set_next(&mut arguments, Table::QueueMessages, queue_bytes, data)?;
    Ok(exact(&INSERT_NEXT, None, &arguments))
}

fn select_range(queue: &QueueV2Key, min_message_id: i64, limit: u32) -> Statement {
    let mut arguments = message_queue(queue);
    arguments.set("min_message_id", min_message_id);
    arguments.set("limit", i64::from(limit));
    exact(&SELECT_RANGE, None, &arguments)
}

fn delete_range(queue: &QueueV2Key, range: &MessageRange, limit: u32) -> Statement {
    let mut arguments = message_queue(queue);
    messages::set_range(&mut arguments, range, limit);
    exact(&DELETE_RANGE, None, &arguments)
}

/// The statement that writes the metadata of a queue, which has an allowed size.
fn write_metadata(meta: &'static Meta, row: &QueuesRow) -> Result<Statement, StoreError> {
    let values = [("metadata_payload", row.metadata.data.len())];
    Payload::default().row(Table::Queues, key_bytes(&row.key), &values)?;
    let mut arguments = queue_key(&row.key);
    arguments.set("metadata_payload", &*row.metadata.data);
    arguments.set("metadata_encoding", row.metadata.encoding.as_str());
    Ok(exact(meta, None, &arguments))
}

fn list(queue_type: QueueV2Type, after: Option<&QueueName>, limit: u32) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("queue_type", queue_type.0);
    arguments.set("queue_partition", PARTITION);
    arguments.set("after_queue_name", after.map_or("", QueueName::as_str));
    arguments.set("limit", i64::from(limit));
    exact(&LIST_METADATA, None, &arguments)
}

fn decode_message(row: &PgRow) -> Result<QueueMessage, StoreError> {
    messages::decode(Table::QueueMessages, row)
}

fn decode_id(row: &PgRow) -> Result<i64, StoreError> {
    messages::decode_id(Table::QueueMessages, row)
}

fn decode_metadata(row: &PgRow) -> Result<QueuesRow, StoreError> {
    let columns = Columns::new(Table::Queues, row);
    let queue_type = QueueV2Type(columns.get("queue_type")?);
    let key = QueueV2Key { queue_type, queue_name: columns.text("queue_name")? };
    Ok(QueuesRow { key, metadata: columns.blob("metadata_payload", "metadata_encoding")? })
}

#[async_trait]
impl<E: Executor> QueuesV2 for Rows<E> {
    async fn insert_into_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        messages: &[QueueMessage],
    ) -> Result<u64, StoreError> {
        self.affected(insert(queue, messages)?).await
    }

    async fn insert_next_into_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        data: &DataBlob,
    ) -> Result<Option<i64>, StoreError> {
        self.optional(insert_next(queue, data)?, decode_id).await
    }

    async fn range_select_from_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        min_message_id: i64,
        limit: u32,
    ) -> Result<Vec<QueueMessage>, StoreError> {
        self.list(select_range(queue, min_message_id, limit), decode_message).await
    }

    async fn range_delete_from_queue_v2_messages(
        &mut self,
        queue: &QueueV2Key,
        range: MessageRange,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.affected(delete_range(queue, &range, limit)).await
    }

    async fn last_message_id_of_queue_v2(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<i64>, StoreError> {
        let select = exact(&SELECT_LAST, None, &message_queue(queue));
        self.optional(select, decode_id).await
    }

    async fn insert_into_queue_v2_metadata(&mut self, row: &QueuesRow) -> Result<u64, StoreError> {
        self.affected(write_metadata(&INSERT_METADATA, row)?).await
    }

    async fn update_queue_v2_metadata(&mut self, row: &QueuesRow) -> Result<u64, StoreError> {
        self.affected(write_metadata(&UPDATE_METADATA, row)?).await
    }

    async fn select_from_queue_v2_metadata(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<QueuesRow>, StoreError> {
        let select = exact(&SELECT_METADATA, None, &queue_key(queue));
        self.optional(select, decode_metadata).await
    }

    async fn lock_queue_v2_metadata(
        &mut self,
        queue: &QueueV2Key,
    ) -> Result<Option<QueuesRow>, StoreError> {
        let lock = if E::HOLDS_LOCKS { &LOCK_METADATA } else { &SELECT_METADATA };
        self.optional(exact(lock, None, &queue_key(queue)), decode_metadata).await
    }

    async fn range_select_from_queue_v2_metadata(
        &mut self,
        queue_type: QueueV2Type,
        after: Option<&QueueName>,
        limit: u32,
    ) -> Result<Vec<(QueuesRow, Option<i64>)>, StoreError> {
        let decode = |row: &PgRow| {
            let last = Columns::new(Table::Queues, row).get("last_message_id")?;
            Ok((decode_metadata(row)?, last))
        };
        self.list(list(queue_type, after, limit), decode).await
    }
}
