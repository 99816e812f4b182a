//! Messages of a server: written to the emulator's clients, and read from PostgreSQL.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    DbError, Fields, Message, Status, VERSION, frontend::text_message, put_count, put_text,
    put_value, tag,
};

/// A column of a result that the emulator produces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// The oid of its type.
    pub type_oid: u32,
    /// The size of its type; -1 if it varies.
    pub type_size: i16,
}

impl Column {
    /// A column of type `text`.
    pub const fn text(name: &'static str) -> Self {
        Self { name, type_oid: 25, type_size: -1 }
    }

    /// A column of type `boolean`.
    pub const fn boolean(name: &'static str) -> Self {
        Self { name, type_oid: 16, type_size: 1 }
    }
}

/// AuthenticationCleartextPassword: DSQL's token is sent as a cleartext password.
pub fn authentication_cleartext() -> Message {
    Message::new(tag::AUTHENTICATION, &3_i32.to_be_bytes())
}

/// AuthenticationOk.
pub fn authentication_ok() -> Message {
    Message::new(tag::AUTHENTICATION, &0_i32.to_be_bytes())
}

/// NegotiateProtocolVersion: version 3.0, and the unknown protocol options.
pub fn negotiate_version(unknown: &[&str]) -> Message {
    let mut payload = BytesMut::new();
    payload.put_i32(VERSION);
    payload.put_i32(i32::try_from(unknown.len()).expect("a few options"));
    unknown.iter().for_each(|name| put_text(&mut payload, name));
    Message::new(tag::NEGOTIATE_VERSION, &payload)
}

/// ParameterStatus.
pub fn parameter_status(name: &str, value: &str) -> Message {
    text_message(tag::PARAMETER_STATUS, &[name, value])
}

/// BackendKeyData.
pub fn key_data(process: i32, secret: i32) -> Message {
    Message::new(tag::KEY_DATA, &[process.to_be_bytes(), secret.to_be_bytes()].concat())
}

/// ReadyForQuery.
pub fn ready_for_query(status: Status) -> Message {
    Message::new(tag::READY_FOR_QUERY, &[status.byte()])
}

/// CommandComplete.
pub fn command_complete(tag: &str) -> Message {
    text_message(self::tag::COMMAND_COMPLETE, &[tag])
}

/// The tag of a CommandComplete.
pub fn command_tag(message: &Message) -> String {
    Fields::new(message.payload_bytes()).text().unwrap_or_default()
}

/// NoticeResponse.
pub fn notice(notice: &DbError) -> Message {
    notice.encode(tag::NOTICE)
}

macro_rules! bare {
    ($($(#[$doc:meta])* $name:ident $tag:ident)*) => {
        $($(#[$doc])* pub fn $name() -> Message { Message::new(tag::$tag, &[]) })*
    };
}
bare! {
    /// ParseComplete.
    parse_complete PARSE_COMPLETE
    /// BindComplete.
    bind_complete BIND_COMPLETE
    /// CloseComplete.
    close_complete CLOSE_COMPLETE
    /// EmptyQueryResponse.
    empty_query EMPTY_QUERY
    /// NoData.
    no_data NO_DATA
    /// PortalSuspended.
    portal_suspended PORTAL_SUSPENDED
}

/// ParameterDescription.
pub fn parameter_description(types: &[u32]) -> Message {
    let mut payload = BytesMut::new();
    put_count(&mut payload, types.len());
    types.iter().for_each(|oid| payload.put_u32(*oid));
    Message::new(tag::PARAMETER_DESCRIPTION, &payload)
}

/// RowDescription, with all columns in text format.
pub fn row_description(columns: &[Column]) -> Message {
    let mut payload = BytesMut::new();
    put_count(&mut payload, columns.len());
    for column in columns {
        put_text(&mut payload, column.name);
        payload.put_u32(0);
        payload.put_i16(0);
        payload.put_u32(column.type_oid);
        payload.put_i16(column.type_size);
        payload.put_i32(-1);
        payload.put_i16(0);
    }
    Message::new(tag::ROW_DESCRIPTION, &payload)
}

/// DataRow.
pub fn data_row(values: &[Option<&[u8]>]) -> Message {
    let mut payload = BytesMut::new();
    put_count(&mut payload, values.len());
    values.iter().for_each(|value| put_value(&mut payload, *value));
    Message::new(tag::DATA_ROW, &payload)
}

/// The values of a DataRow.
pub fn data_values(row: &Message) -> Vec<Option<Bytes>> {
    let mut fields = Fields::new(row.payload_bytes());
    let count = fields.count().unwrap_or(0);
    (0..count).map_while(|_| fields.value()).collect()
}

/// A RowDescription with the formats of a Bind.
pub fn with_column_formats(description: &Message, formats: &[i16]) -> Message {
    let format = |position: usize| match formats {
        [] => 0,
        [all] => *all,
        each => each.get(position).copied().unwrap_or(0),
    };
    let columns = columns(description).into_iter().enumerate().map(|(position, mut column)| {
        let end = column.len() - 2;
        column[end..].copy_from_slice(&format(position).to_be_bytes());
        column
    });
    encode_columns(columns)
}

/// The number of columns of a RowDescription.
pub fn column_count(description: &Message) -> usize {
    Fields::new(description.payload_bytes()).count().unwrap_or(0)
}

/// The names of the columns of a RowDescription, and the OIDs of their types.
pub fn column_types(description: &Message) -> Vec<(String, u32)> {
    let fields = |column: BytesMut| {
        let mut fields = Fields::new(column.freeze());
        let name = fields.text()?;
        // The OID of the table and the number of the column.
        fields.take(4 + 2)?;
        Some((name, fields.u32()?))
    };
    columns(description).into_iter().map_while(fields).collect()
}

/// The columns of a RowDescription, each as its bytes.
fn columns(description: &Message) -> Vec<BytesMut> {
    /// The bytes after a column's name: table, number, type, size, modifier, format.
    const AFTER_NAME: usize = 4 + 2 + 4 + 2 + 4 + 2;
    let mut fields = Fields::new(description.payload_bytes());
    let count = fields.count().unwrap_or(0);
    (0..count)
        .map_while(|_| {
            let mut column = BytesMut::new();
            put_text(&mut column, &fields.text()?);
            column.put_slice(&fields.take(AFTER_NAME)?);
            Some(column)
        })
        .collect()
}

fn encode_columns(columns: impl Iterator<Item = BytesMut>) -> Message {
    let columns: Vec<BytesMut> = columns.collect();
    let mut payload = BytesMut::new();
    put_count(&mut payload, columns.len());
    columns.iter().for_each(|column| payload.put_slice(column));
    Message::new(tag::ROW_DESCRIPTION, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_a_portal_have_the_formats_of_its_bind() {
        let two = row_description(&[Column::text("a"), Column::text("b")]);
        assert_eq!(with_column_formats(&two, &[]), two);
        let last = |message: Message| message.payload()[message.payload().len() - 1];
        assert_eq!(last(with_column_formats(&two, &[1])), 1);
        assert_eq!(last(with_column_formats(&two, &[1, 0])), 0);
    }

    #[test]
    fn a_command_tag_is_read_back() {
        assert_eq!(command_tag(&command_complete("INSERT 0 3")), "INSERT 0 3");
    }
}
