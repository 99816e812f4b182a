//! PostgreSQL's wire protocol, version 3.0: framing, and the messages of clients and servers.
//!
//! The emulator is a server for its clients and a client of PostgreSQL, and forwards most messages
//! unchanged. A [`Message`] therefore is its bytes; functions read and write the fields of single
//! messages. Proxies and test clients can use this module as well.

mod backend;
mod error;
mod frontend;
mod stream;

pub use backend::{
    Column, authentication_cleartext, authentication_ok, bind_complete, close_complete,
    column_count, column_types, command_complete, command_tag, data_row, data_values, empty_query,
    key_data, negotiate_version, no_data, notice, parameter_description, parameter_status,
    parse_complete, portal_suspended, ready_for_query, row_description, with_column_formats,
};
pub use error::DbError;
pub use frontend::{
    BindParts, FirstMessage, PROTOCOL_OPTION, Startup, VERSION, bind, bind_encoded, close_portal,
    close_statement, describe_portal, describe_statement, execute, parse, query, read_bind,
    read_execute, read_parse, read_password, read_query, read_target, startup, sync,
};
pub use stream::WireStream;

use bytes::{BufMut, Bytes, BytesMut};

/// The tags of messages. A tag can have one meaning from a client and another from a server.
pub mod tag {
    #![allow(missing_docs)]
    pub const BIND: u8 = b'B';
    pub const CLOSE: u8 = b'C';
    pub const DESCRIBE: u8 = b'D';
    pub const EXECUTE: u8 = b'E';
    pub const FLUSH: u8 = b'H';
    pub const FUNCTION_CALL: u8 = b'F';
    pub const PARSE: u8 = b'P';
    pub const PASSWORD: u8 = b'p';
    pub const QUERY: u8 = b'Q';
    pub const SYNC: u8 = b'S';
    pub const TERMINATE: u8 = b'X';

    pub const AUTHENTICATION: u8 = b'R';
    pub const BIND_COMPLETE: u8 = b'2';
    pub const CLOSE_COMPLETE: u8 = b'3';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const DATA_ROW: u8 = b'D';
    pub const EMPTY_QUERY: u8 = b'I';
    pub const ERROR: u8 = b'E';
    pub const KEY_DATA: u8 = b'K';
    pub const NEGOTIATE_VERSION: u8 = b'v';
    pub const NOTICE: u8 = b'N';
    pub const NO_DATA: u8 = b'n';
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    pub const PARAMETER_STATUS: u8 = b'S';
    pub const PARSE_COMPLETE: u8 = b'1';
    pub const PORTAL_SUSPENDED: u8 = b's';
    pub const READY_FOR_QUERY: u8 = b'Z';
    pub const ROW_DESCRIPTION: u8 = b'T';

    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_FAIL: u8 = b'f';
    pub const COPY_IN: u8 = b'G';
    pub const COPY_OUT: u8 = b'H';
}

/// The transaction status that a ReadyForQuery reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No transaction.
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a transaction block that has failed.
    Failed,
}

impl Status {
    /// Its byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }

    /// The status of a ReadyForQuery message; `None` if it has none of the three.
    pub fn read(ready_for_query: &Message) -> Option<Self> {
        match ready_for_query.payload() {
            [b'I'] => Some(Self::Idle),
            [b'T'] => Some(Self::InTransaction),
            [b'E'] => Some(Self::Failed),
            _ => None,
        }
    }
}

/// The size of a length field, whose value includes itself.
pub(crate) const LENGTH: usize = 4;

/// A message with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Bytes);

impl Message {
    /// A message with this payload.
    ///
    /// # Panics
    /// The payload has 2 GiB or more.
    pub fn new(tag: u8, payload: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(1 + LENGTH + payload.len());
        bytes.put_u8(tag);
        let length = i32::try_from(LENGTH + payload.len()).expect("a message below 2 GiB");
        bytes.put_i32(length);
        bytes.put_slice(payload);
        Self(bytes.freeze())
    }

    pub(crate) fn from_frame(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The tag.
    pub fn tag(&self) -> u8 {
        self.0[0]
    }

    /// The payload: the bytes after tag and length.
    pub fn payload(&self) -> &[u8] {
        &self.0[1 + LENGTH..]
    }

    /// The payload, without a copy.
    pub fn payload_bytes(&self) -> Bytes {
        self.0.slice(1 + LENGTH..)
    }

    /// The frame: tag, length, payload.
    pub fn frame(&self) -> &[u8] {
        &self.0
    }

    /// The frame, without a copy.
    pub fn into_frame(self) -> Bytes {
        self.0
    }
}

/// Reads the fields of a payload in order. Every method returns `None` when the payload ends too
/// early.
#[derive(Debug)]
pub(crate) struct Fields(Bytes);

impl Fields {
    pub(crate) fn new(payload: Bytes) -> Self {
        Self(payload)
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<Bytes> {
        (self.0.len() >= count).then(|| self.0.split_to(count))
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.take(2).map(|bytes| i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.take(4).map(|bytes| i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A count, up to 65,535.
    pub(crate) fn count(&mut self) -> Option<usize> {
        self.i16().map(|count| usize::from(count.cast_unsigned()))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.i32().map(i32::cast_unsigned)
    }

    /// A zero-terminated string. Invalid UTF-8 is replaced.
    pub(crate) fn text(&mut self) -> Option<String> {
        self.text_bytes().map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// A zero-terminated string as bytes: not all clients write UTF-8.
    pub(crate) fn text_bytes(&mut self) -> Option<Bytes> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.0.split_to(end);
        let _zero = self.byte();
        Some(text)
    }

    /// A value with a length before it; `Some(None)` is NULL.
    pub(crate) fn value(&mut self) -> Option<Option<Bytes>> {
        match self.i32()? {
            -1 => Some(None),
            length => self.take(usize::try_from(length).ok()?).map(Some),
        }
    }

    /// Returns `value` if no bytes are left: a message must not be longer than its fields.
    pub(crate) fn at_end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }

    pub(crate) fn rest(self) -> Bytes {
        self.0
    }
}

pub(crate) fn put_text(buffer: &mut BytesMut, text: &str) {
    buffer.put_slice(text.as_bytes());
    buffer.put_u8(0);
}

/// Writes a count, which the caller keeps below 65,536.
pub(crate) fn put_count(buffer: &mut BytesMut, count: usize) {
    buffer.put_u16(u16::try_from(count).expect("a count that fits"));
}

pub(crate) fn put_value(buffer: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        None => buffer.put_i32(-1),
        Some(bytes) => {
            buffer.put_i32(i32::try_from(bytes.len()).expect("a value below 2 GiB"));
            buffer.put_slice(bytes);
        }
    }
}
