//! The framing of PostgreSQL's protocol 3.0: messages in, messages out.
//!
//! A message is a tag, a length that counts itself, and a payload; only the first message of a
//! client has no tag. Nothing here knows what a message means beyond what the proxy has to see.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The tags that the proxy looks at. A tag may mean one thing from a client and another from a
/// server.
pub(super) mod tag {
    pub(in crate::proxy) const QUERY: u8 = b'Q';
    pub(in crate::proxy) const PARSE: u8 = b'P';
    pub(in crate::proxy) const BIND: u8 = b'B';
    pub(in crate::proxy) const EXECUTE: u8 = b'E';
    pub(in crate::proxy) const SYNC: u8 = b'S';
    pub(in crate::proxy) const FUNCTION_CALL: u8 = b'F';
    pub(in crate::proxy) const FLUSH: u8 = b'H';
    pub(in crate::proxy) const TERMINATE: u8 = b'X';
    pub(in crate::proxy) const PASSWORD: u8 = b'p';
    pub(in crate::proxy) const COPY_DATA: u8 = b'd';
    pub(in crate::proxy) const COPY_DONE: u8 = b'c';
    pub(in crate::proxy) const COPY_FAIL: u8 = b'f';

    pub(in crate::proxy) const READY_FOR_QUERY: u8 = b'Z';
    pub(in crate::proxy) const ERROR_RESPONSE: u8 = b'E';
    pub(in crate::proxy) const PARAMETER_STATUS: u8 = b'S';
}

/// The transaction status that a ReadyForQuery reports.
pub(super) mod status {
    pub(in crate::proxy) const IDLE: u8 = b'I';
    pub(in crate::proxy) const IN_TRANSACTION: u8 = b'T';
}

const LENGTH: usize = 4;
/// PostgreSQL's own bound for a message.
const MAX_MESSAGE: usize = 1 << 30;
/// PostgreSQL's own bound for a first message.
const MAX_FIRST_MESSAGE: usize = 10_000;

/// A whole message with its tag.
#[derive(Clone, Debug)]
pub(super) struct Message(Bytes);

impl Message {
    pub(super) fn new(tag: u8, payload: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(1 + LENGTH + payload.len());
        bytes.put_u8(tag);
        bytes.put_u32(u32::try_from(LENGTH + payload.len()).expect("a message below 4 GiB"));
        bytes.put_slice(payload);
        Self(bytes.freeze())
    }

    /// A simple query.
    pub(super) fn query(sql: &str) -> Self {
        Self::new(tag::QUERY, format!("{sql}\0").as_bytes())
    }

    pub(super) fn ready_for_query(status: u8) -> Self {
        Self::new(tag::READY_FOR_QUERY, &[status])
    }

    /// An error as a server reports it.
    pub(super) fn error(severity: &str, sqlstate: &str, message: &str) -> Self {
        let fields = format!("S{severity}\0V{severity}\0C{sqlstate}\0M{message}\0\0");
        Self::new(tag::ERROR_RESPONSE, fields.as_bytes())
    }

    pub(super) fn tag(&self) -> u8 {
        self.0[0]
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.0[1 + LENGTH..]
    }

    /// The strings at the start of the payload, each ended by a zero byte.
    pub(super) fn strings(&self) -> impl Iterator<Item = String> {
        self.payload()
            .split(|byte| *byte == 0)
            .map(|text| String::from_utf8_lossy(text).into_owned())
    }

    pub(super) fn bytes(self) -> Bytes {
        self.0
    }
}

/// The first message of a client, which has no tag.
#[derive(Debug)]
pub(super) enum FirstMessage {
    /// A session begins.
    Startup(Bytes),
    /// A question about encryption, which the server answers with one byte.
    Encryption(Bytes),
    /// Another session's statement is to be cancelled.
    Cancel(Bytes),
}

/// Reads messages from one side of a connection. Dropping a read that is under way loses nothing.
#[derive(Debug)]
pub(super) struct Reader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(8 * 1024) }
    }

    /// The next message; `None` at the end of the stream.
    pub(super) async fn message(&mut self) -> io::Result<Option<Message>> {
        if !self.fill(1 + LENGTH).await? {
            return Ok(None);
        }
        let length = length(&self.buffer[1..], MAX_MESSAGE)?;
        self.take(1 + length).await.map(|bytes| Some(Message(bytes)))
    }

    /// The first message of a client; `None` at the end of the stream.
    pub(super) async fn first_message(&mut self) -> io::Result<Option<FirstMessage>> {
        if !self.fill(LENGTH).await? {
            return Ok(None);
        }
        let length = length(&self.buffer, MAX_FIRST_MESSAGE)?;
        let bytes = self.take(length).await?;
        Ok(Some(match bytes.get(LENGTH..LENGTH + 4) {
            // The version's place holds 1234 and a number: cancel, SSL, GSSAPI.
            Some([4, 210, 22, 46]) => FirstMessage::Cancel(bytes),
            Some([4, 210, 22, 47 | 48]) => FirstMessage::Encryption(bytes),
            _ => FirstMessage::Startup(bytes),
        }))
    }

    /// One byte: the answer to [`FirstMessage::Encryption`].
    pub(super) async fn byte(&mut self) -> io::Result<u8> {
        self.take(1).await.map(|bytes| bytes[0])
    }

    async fn take(&mut self, bytes: usize) -> io::Result<Bytes> {
        if self.fill(bytes).await? {
            Ok(self.buffer.split_to(bytes).freeze())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Reads until the buffer holds `bytes`; `false` if the stream ends cleanly before any.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() < bytes {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(false)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        Ok(true)
    }
}

/// The length at the start of `bytes`; it counts itself.
fn length(bytes: &[u8], most: usize) -> io::Result<usize> {
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    if (LENGTH..=most).contains(&length) {
        Ok(length)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes is not PostgreSQL's protocol"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn messages_are_read_whole_however_the_bytes_arrive() {
        let (mut sender, receiver) = tokio::io::duplex(3);
        let mut reader = Reader::new(receiver);
        let long = "x".repeat(100_000);
        let sent = [Message::query("SELECT 1"), Message::query(&long)];
        let bytes: Vec<u8> = sent.iter().flat_map(|m| m.clone().bytes()).collect();
        let writing = tokio::spawn(async move { sender.write_all(&bytes).await });
        for message in &sent {
            let read = reader.message().await.unwrap().unwrap();
            assert_eq!(read.bytes(), message.clone().bytes());
        }
        writing.await.unwrap().unwrap();
        assert!(reader.message().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_end_in_the_middle_of_a_message_is_an_error() {
        let mut reader = Reader::new(&b"Q\0\0\0\x09SE"[..]);
        let error = reader.message().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_length_that_no_message_has_is_refused() {
        for bytes in [&b"Q\0\0\0\x03"[..], b"Q\xff\xff\xff\xff"] {
            let error = Reader::new(bytes).message().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn the_first_message_is_told_apart_by_its_code() {
        async fn read(code: u32) -> FirstMessage {
            let bytes = [8, code].map(u32::to_be_bytes).concat();
            let message = Reader::new(&bytes[..]).first_message().await.unwrap();
            message.unwrap()
        }
        assert!(matches!(read(80_877_102).await, FirstMessage::Cancel(_)));
        assert!(matches!(read(80_877_103).await, FirstMessage::Encryption(_)));
        assert!(matches!(read(80_877_104).await, FirstMessage::Encryption(_)));
        assert!(matches!(read(196_608).await, FirstMessage::Startup(_)));
    }

    #[test]
    fn strings_are_split_at_their_zero_bytes() {
        let parse = Message::new(tag::PARSE, b"name\0SELECT 1\0\0\0");
        let strings: Vec<_> = parse.strings().take(2).collect();
        assert_eq!(strings, ["name", "SELECT 1"]);
    }
}
