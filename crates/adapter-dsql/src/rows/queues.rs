//! `queue` and `queue_metadata`: the queues that a type identifies.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    DataBlob, MessageRange, QueueMessage, QueueMetadataRow, QueueType, Table,
};
use temporal_dsql_ports::{Cause, Queues, StoreError};

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

const MESSAGES: SqlFile = SqlFile::new(Table::Queue, include_str!("../../sql/queue.sql"));
const METADATA: SqlFile =
    SqlFile::new(Table::QueueMetadata, include_str!("../../sql/queue_metadata.sql"));

static INSERT: Meta = MESSAGES.write("InsertIntoMessages");
static INSERT_NEXT: Meta = MESSAGES.write("InsertNextIntoMessages").with_computed_key();
static SELECT: Meta = MESSAGES.read("SelectFromMessages");
static SELECT_RANGE: Meta = MESSAGES.read("RangeSelectFromMessages");
static DELETE: Meta = MESSAGES.write("DeleteFromMessages");
static DELETE_RANGE: Meta = MESSAGES.write("RangeDeleteFromMessages");
static INSERT_METADATA: Meta = METADATA.write("InsertIntoQueueMetadata");
static UPDATE_METADATA: Meta = METADATA.write("UpdateQueueMetadata");
static SELECT_METADATA: Meta = METADATA.read("SelectFromQueueMetadata");
static LOCK_METADATA: Meta = METADATA.read("LockQueueMetadata");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 10] = [
    &INSERT,
    &INSERT_NEXT,
    &SELECT,
    &SELECT_RANGE,
    &DELETE,
    &DELETE_RANGE,
    &INSERT_METADATA,
    &UPDATE_METADATA,
    &SELECT_METADATA,
    &LOCK_METADATA,
];

/// The bytes of the key of a queue.
const KEY_BYTES: usize = 4;

fn queue<'a>(queue_type: QueueType) -> Arguments<'a> {
    let mut arguments = Arguments::default();
    arguments.set("queue_type", queue_type.0);
    arguments
}

fn insert(queue_type: QueueType, messages: &[QueueMessage]) -> Result<Statement, StoreError> {
    let mut arguments = queue(queue_type);
    messages::set_messages(&mut arguments, Table::Queue, KEY_BYTES, messages)?;
    Ok(exact(&INSERT, None, &arguments))
}

fn insert_next(queue_type: QueueType, data: &DataBlob) -> Result<Statement, StoreError> {
    let mut arguments = queue(queue_type);
    messages::set_next(&mut arguments, Table::Queue, KEY_BYTES, data)?;
    Ok(exact(&INSERT_NEXT, None, &arguments))
}

fn by_id(meta: &'static Meta, queue_type: QueueType, message_id: i64) -> Statement {
    let mut arguments = queue(queue_type);
    arguments.set("message_id", message_id);
    exact(meta, None, &arguments)
}

fn first_of_range(
    meta: &'static Meta,
    queue_type: QueueType,
    range: &MessageRange,
    limit: u32,
) -> Statement {
    let mut arguments = queue(queue_type);
    messages::set_range(&mut arguments, range, limit);
    exact(meta, None, &arguments)
}

/// The statement that writes the metadata of a queue, whose blob has an allowed size.
fn write_metadata(meta: &'static Meta, row: &QueueMetadataRow) -> Result<Statement, StoreError> {
    Payload::default().blob(Table::QueueMetadata, KEY_BYTES, &row.data)?;
    let mut arguments = queue(row.queue_type);
    arguments.set("data", &*row.data.data);
    arguments.set("data_encoding", row.data.encoding.as_str());
    arguments.set("version", row.version);
    Ok(exact(meta, None, &arguments))
}

fn decode_metadata(row: &PgRow) -> Result<QueueMetadataRow, StoreError> {
    let columns = Columns::new(Table::QueueMetadata, row);
    Ok(QueueMetadataRow {
        queue_type: QueueType(columns.get("queue_type")?),
        data: columns.blob("data", "data_encoding")?,
        version: columns.get("version")?,
    })
}

#[async_trait]
impl<E: Executor> Queues for Rows<E> {
    async fn insert_into_messages(
        &mut self,
        queue_type: QueueType,
        messages: &[QueueMessage],
    ) -> Result<u64, StoreError> {
        self.affected(insert(queue_type, messages)?).await
    }

    async fn insert_next_into_messages(
        &mut self,
        queue_type: QueueType,
        data: &DataBlob,
    ) -> Result<i64, StoreError> {
        let insert = insert_next(queue_type, data)?;
        let id = self.optional(insert, |row| messages::decode_id(Table::Queue, row)).await?;
        id.ok_or_else(|| StoreError::Corrupt {
            table: Table::Queue,
            column: "message_id",
            source: Some(Cause::new("the server returned no id of the inserted message")),
        })
    }

    async fn select_from_messages(
        &mut self,
        queue_type: QueueType,
        message_id: i64,
    ) -> Result<Option<QueueMessage>, StoreError> {
        let select = by_id(&SELECT, queue_type, message_id);
        self.optional(select, |row| messages::decode(Table::Queue, row)).await
    }

    async fn range_select_from_messages(
        &mut self,
        queue_type: QueueType,
        range: MessageRange,
        limit: u32,
    ) -> Result<Vec<QueueMessage>, StoreError> {
        let select = first_of_range(&SELECT_RANGE, queue_type, &range, limit);
        self.list(select, |row| messages::decode(Table::Queue, row)).await
    }

    async fn delete_from_messages(
        &mut self,
        queue_type: QueueType,
        message_id: i64,
    ) -> Result<u64, StoreError> {
        self.affected(by_id(&DELETE, queue_type, message_id)).await
    }

    async fn range_delete_from_messages(
        &mut self,
        queue_type: QueueType,
        range: MessageRange,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.affected(first_of_range(&DELETE_RANGE, queue_type, &range, limit)).await
    }

    async fn insert_into_queue_metadata(
        &mut self,
        row: &QueueMetadataRow,
    ) -> Result<u64, StoreError> {
        self.affected(write_metadata(&INSERT_METADATA, row)?).await
    }

    async fn update_queue_metadata(&mut self, row: &QueueMetadataRow) -> Result<u64, StoreError> {
        self.affected(write_metadata(&UPDATE_METADATA, row)?).await
    }

    async fn select_from_queue_metadata(
        &mut self,
        queue_type: QueueType,
    ) -> Result<Option<QueueMetadataRow>, StoreError> {
        let select = exact(&SELECT_METADATA, None, &queue(queue_type));
        self.optional(select, decode_metadata).await
    }

    async fn lock_queue_metadata(
        &mut self,
        queue_type: QueueType,
    ) -> Result<Option<QueueMetadataRow>, StoreError> {
        let lock = if E::HOLDS_LOCKS { &LOCK_METADATA } else { &SELECT_METADATA };
        self.optional(exact(lock, None, &queue(queue_type)), decode_metadata).await
    }
}
