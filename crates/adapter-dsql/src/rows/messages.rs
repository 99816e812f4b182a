//! The messages of durable queues: what `queue` and `queue_messages` have in common.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{DataBlob, FIRST_MESSAGE_ID, MessageRange, QueueMessage, Table};
use temporal_dsql_ports::StoreError;

use super::{
    decode::Columns,
    payload::{Payload, column},
};
use crate::arguments::Arguments;

/// The columns of a message's blob.
const BLOB: [&str; 2] = ["message_payload", "message_encoding"];

fn check(
    payload: &mut Payload,
    table: Table,
    queue_bytes: usize,
    data: &DataBlob,
) -> Result<(), StoreError> {
    payload.row(table, queue_bytes + 8, &[(BLOB[0], data.data.len())])
}

/// Adds the columns of messages to insert into a queue, whose key in `table` has `queue_bytes`.
pub(super) fn set_messages<'a>(
    arguments: &mut Arguments<'a>,
    table: Table,
    queue_bytes: usize,
    messages: &'a [QueueMessage],
) -> Result<(), StoreError> {
    let mut payload = Payload::default();
    messages
        .iter()
        .try_for_each(|message| check(&mut payload, table, queue_bytes, &message.data))?;
    arguments.set_column(table, "message_id", column(messages, |message| message.message_id));
    arguments.set_blobs(table, BLOB, messages.iter().map(|message| &message.data));
    Ok(())
}

/// Adds the columns of a message to insert after the last one of a queue, whose key in `table` has
/// `queue_bytes`.
pub(super) fn set_next<'a>(
    arguments: &mut Arguments<'a>,
    table: Table,
    queue_bytes: usize,
    data: &'a DataBlob,
) -> Result<(), StoreError> {
    check(&mut Payload::default(), table, queue_bytes, data)?;
    arguments.set("first_message_id", FIRST_MESSAGE_ID);
    arguments.set(BLOB[0], &*data.data);
    arguments.set(BLOB[1], data.encoding.as_str());
    Ok(())
}

/// Adds a range of messages, of which at most `limit` are affected.
pub(super) fn set_range(arguments: &mut Arguments<'_>, range: &MessageRange, limit: u32) {
    arguments.set("min_message_id", range.start);
    arguments.set("end_message_id", range.end);
    arguments.set("limit", i64::from(limit));
}

/// Reads a message of `table`.
pub(super) fn decode(table: Table, row: &PgRow) -> Result<QueueMessage, StoreError> {
    let data = Columns::new(table, row).blob(BLOB[0], BLOB[1])?;
    Ok(QueueMessage { message_id: decode_id(table, row)?, data })
}

/// Reads the id of a message of `table`.
pub(super) fn decode_id(table: Table, row: &PgRow) -> Result<i64, StoreError> {
    Columns::new(table, row).get("message_id")
}
