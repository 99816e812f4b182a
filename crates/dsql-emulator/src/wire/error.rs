//! ErrorResponse and NoticeResponse.

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::{Fields, Message, put_text, tag};

/// An error or notice of a server: the fields that clients use, and the others as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbError {
    /// `ERROR`, `FATAL`, or the level of a notice.
    pub severity: String,
    /// The SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
    /// The DETAIL.
    pub detail: Option<String>,
    /// The HINT.
    pub hint: Option<String>,
    /// The position in the statement, in characters from 1.
    pub position: Option<usize>,
    /// Other fields: type and text.
    pub others: Vec<(u8, String)>,
}

impl DbError {
    /// An error with SQLSTATE and message.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            severity: "ERROR".into(),
            code: code.into(),
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            others: Vec::new(),
        }
    }

    /// An error that ends the session.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self { severity: "FATAL".into(), ..Self::new(code, message) }
    }

    /// A notice of level WARNING.
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self { severity: "WARNING".into(), ..Self::new(code, message) }
    }

    /// The same with a DETAIL.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a HINT.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Another field, such as the table (`t`) or the context (`W`).
    pub fn other(&self, field: u8) -> Option<&str> {
        self.others.iter().find(|(kind, _)| *kind == field).map(|(_, text)| text.as_str())
    }

    /// Reads an ErrorResponse or NoticeResponse.
    pub fn read(message: &Message) -> Self {
        let mut error = Self::new("XX000", "");
        let mut fields = Fields::new(message.payload_bytes());
        while let Some(kind) = fields.byte().filter(|kind| *kind != 0) {
            let Some(text) = fields.text() else { break };
            match kind {
                b'S' => {}
                b'V' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'P' => error.position = text.parse().ok(),
                _ => error.others.push((kind, text)),
            }
        }
        error
    }

    /// Encodes it as an ErrorResponse.
    pub fn message(&self) -> Message {
        self.encode(tag::ERROR)
    }

    pub(super) fn encode(&self, tag: u8) -> Message {
        let mut payload = BytesMut::new();
        let mut field = |kind: u8, text: &str| {
            payload.put_u8(kind);
            put_text(&mut payload, text);
        };
        field(b'S', &self.severity);
        field(b'V', &self.severity);
        field(b'C', &self.code);
        field(b'M', &self.message);
        if let Some(detail) = &self.detail {
            field(b'D', detail);
        }
        if let Some(hint) = &self.hint {
            field(b'H', hint);
        }
        if let Some(position) = self.position {
            field(b'P', &position.to_string());
        }
        for (kind, text) in &self.others {
            field(*kind, text);
        }
        payload.put_u8(0);
        Message::new(tag, &payload)
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity, self.message, self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, "; {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DbError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_back_as_it_was_written() {
        let mut error = DbError::new("23505", "duplicate key").with_detail("Key (id)=(1)");
        error.position = Some(8);
        error.others.push((b't', "t".into()));
        assert_eq!(DbError::read(&error.message()), error);
        assert_eq!(error.other(b't'), Some("t"));
        let fatal = DbError::fatal("08006", "no").with_hint("yes");
        assert_eq!(DbError::read(&fatal.message()), fatal);
        assert_eq!(fatal.to_string(), "FATAL: no (08006); yes");
    }
}
