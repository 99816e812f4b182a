//! Messages over a byte stream.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{FirstMessage, LENGTH, Message};

/// PostgreSQL's limit for a first message.
const MAX_FIRST_MESSAGE: usize = 10_000;
/// PostgreSQL's limit for a message.
const MAX_MESSAGE: usize = 1 << 30;
/// A buffer that has held more than this is replaced when it is empty, so that one long message or
/// answer does not take memory until the connection ends.
const MAX_KEPT: usize = 64 * 1024;
/// The capacity of a new buffer.
const CAPACITY: usize = 8 * 1024;
/// How long [`WireStream::finish`] may take.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// One side of a connection: reads whole messages, and buffers messages to be written.
///
/// Reads are cancel-safe. A stream that can only be read or only be written has the methods of that
/// direction.
#[derive(Debug)]
pub struct WireStream<S> {
    stream: S,
    incoming: BytesMut,
    outgoing: BytesMut,
    max_message: usize,
}

impl<S> WireStream<S> {
    /// A wire stream over `stream`.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            incoming: BytesMut::with_capacity(CAPACITY),
            outgoing: BytesMut::with_capacity(CAPACITY),
            max_message: MAX_MESSAGE,
        }
    }

    /// Limits the length of messages to `bytes`, according to their length field.
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Queues a message for [`flush`](Self::flush).
    pub fn queue(&mut self, message: &Message) {
        self.outgoing.extend_from_slice(message.frame());
    }

    /// Queues bytes without a tag: a first message.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// The number of queued bytes.
    pub fn queued(&self) -> usize {
        self.outgoing.len()
    }

    /// Discards what was queued and not written.
    pub fn discard_queued(&mut self) {
        self.discard_queued_after(0);
    }

    /// Discards what was queued behind the first `bytes` and not written.
    pub fn discard_queued_after(&mut self, bytes: usize) {
        self.outgoing.truncate(bytes);
    }

    /// The tag of the next message, if its first byte has arrived.
    pub fn next_tag(&self) -> Option<u8> {
        self.incoming.first().copied()
    }

    /// The stream itself, once the read buffer is empty.
    ///
    /// # Errors
    /// The buffer holds bytes that arrived before encryption began.
    pub fn into_inner(self) -> io::Result<S> {
        if self.incoming.is_empty() { Ok(self.stream) } else { Err(not_the_protocol()) }
    }
}

impl<S: AsyncWrite + Unpin> WireStream<S> {
    /// Writes what was queued.
    ///
    /// # Errors
    /// The stream's.
    pub async fn flush(&mut self) -> io::Result<()> {
        let queued = self.outgoing.len();
        while self.outgoing.has_remaining() {
            self.stream.write_buf(&mut self.outgoing).await?;
        }
        if queued > MAX_KEPT {
            self.outgoing = BytesMut::with_capacity(CAPACITY);
        }
        self.stream.flush().await
    }

    /// Writes what was queued and ends the stream, TLS by a close_notify.
    ///
    /// # Errors
    /// The stream's, or a timeout if the peer does not read for five seconds.
    pub async fn finish(&mut self) -> io::Result<()> {
        let end = async {
            self.flush().await?;
            self.stream.shutdown().await
        };
        tokio::time::timeout(FINISH_TIMEOUT, end)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes one byte at once: the answer to an SSLRequest or GSSENCRequest.
    ///
    /// # Errors
    /// The stream's.
    pub async fn send_byte(&mut self, byte: u8) -> io::Result<()> {
        self.stream.write_all(&[byte]).await?;
        self.stream.flush().await
    }
}

impl<S: AsyncRead + Unpin> WireStream<S> {
    /// The next message; `None` at the end of the stream.
    ///
    /// # Errors
    /// The stream's, its end in the middle of a message, or a length that is not allowed.
    pub async fn message(&mut self) -> io::Result<Option<Message>> {
        if !self.fill(1 + LENGTH).await? {
            return Ok(None);
        }
        let length = length(&self.incoming[1..], self.max_message)?;
        self.take(1 + length).await.map(|bytes| Some(Message::from_frame(bytes)))
    }

    /// The first message of a client, which has no tag; `None` at the end of the stream.
    ///
    /// # Errors
    /// As [`message`](Self::message). The source of the error is a [`DbError`](super::DbError) if
    /// the message is malformed or has another protocol version.
    pub async fn first_message(&mut self) -> io::Result<Option<FirstMessage>> {
        if !self.fill(LENGTH).await? {
            return Ok(None);
        }
        let length = length(&self.incoming, MAX_FIRST_MESSAGE)?;
        let bytes = self.take(length).await?;
        FirstMessage::read(bytes.slice(LENGTH..))
            .map(Some)
            .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal))
    }

    /// Reads one byte: the answer to an SSLRequest or GSSENCRequest.
    ///
    /// # Errors
    /// The stream's, or its end.
    pub async fn read_byte(&mut self) -> io::Result<u8> {
        self.take(1).await.map(|bytes| bytes[0])
    }

    async fn take(&mut self, bytes: usize) -> io::Result<Bytes> {
        if self.fill(bytes).await? {
            let message = self.incoming.split_to(bytes).freeze();
            if bytes > MAX_KEPT {
                let mut rest = BytesMut::with_capacity(CAPACITY);
                rest.extend_from_slice(&self.incoming);
                self.incoming = rest;
            }
            Ok(message)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Reads until `bytes` have arrived; `false` if the stream ends before the first byte.
    async fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.incoming.len() < bytes {
            self.incoming.reserve(bytes - self.incoming.len());
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return if self.incoming.is_empty() {
                    Ok(false)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        Ok(true)
    }
}

fn not_the_protocol() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is not PostgreSQL's protocol")
}

/// Reads the length at the start of `bytes`, which includes itself.
fn length(bytes: &[u8], most: usize) -> io::Result<usize> {
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    if (LENGTH..=most).contains(&length) {
        Ok(length)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes is not allowed here"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[tokio::test]
    async fn messages_are_read_whole_however_the_bytes_arrive() {
        let (sender, receiver) = tokio::io::duplex(3);
        let mut sender = WireStream::new(sender);
        let mut receiver = WireStream::new(receiver);
        let sent = [wire::query("SELECT 1"), wire::query(&"x".repeat(100_000))];
        for message in &sent {
            sender.queue(message);
        }
        let writing = tokio::spawn(async move { sender.flush().await });
        for message in &sent {
            assert_eq!(receiver.message().await.unwrap().as_ref(), Some(message));
        }
        writing.await.unwrap().unwrap();
        assert!(receiver.message().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_invalid_length_is_refused_before_the_payload_arrives() {
        for (bytes, most) in [
            (&b"Q\0\0\0\x03"[..], MAX_MESSAGE),
            (b"Q\xff\xff\xff\xff", MAX_MESSAGE),
            (b"Q\0\0\x08\0", 1_000),
        ] {
            let (mut sender, receiver) = tokio::io::duplex(64);
            sender.write_all(bytes).await.unwrap();
            let mut reader = WireStream::new(receiver).with_max_message(most);
            let error = reader.message().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn an_end_in_the_middle_of_a_message_is_an_error() {
        let (mut sender, receiver) = tokio::io::duplex(64);
        sender.write_all(b"Q\0\0\0\x09SE").await.unwrap();
        drop(sender);
        let error = WireStream::new(receiver).message().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_long_message_takes_no_memory_after_it_is_read_or_written() {
        let (sender, receiver) = tokio::io::duplex(1_000_000);
        let (mut sender, mut receiver) = (WireStream::new(sender), WireStream::new(receiver));
        let messages = [wire::query(&"x".repeat(10 * MAX_KEPT)), wire::query("SELECT 1")];
        messages.iter().for_each(|message| sender.queue(message));
        sender.flush().await.unwrap();
        assert!(sender.outgoing.capacity() <= CAPACITY);
        for message in &messages {
            assert_eq!(receiver.message().await.unwrap().as_ref(), Some(message));
            assert!(receiver.incoming.capacity() <= CAPACITY);
        }
    }

    #[tokio::test]
    async fn the_next_tag_is_seen_without_taking_the_message() {
        let (mut sender, receiver) = tokio::io::duplex(64);
        let mut reader = WireStream::new(receiver);
        assert_eq!(reader.next_tag(), None);
        let two = [wire::sync().frame(), wire::query("x").frame()].concat();
        sender.write_all(&two).await.unwrap();
        reader.message().await.unwrap().unwrap();
        assert_eq!(reader.next_tag(), Some(wire::tag::QUERY));
    }
}
