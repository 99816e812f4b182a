//! Messages of a client: written to PostgreSQL, and read from the emulator's clients.

use bytes::{BufMut, Bytes, BytesMut};

use super::{DbError, Fields, LENGTH, Message, put_count, put_text, put_value, tag};

/// The protocol version 3.0.
pub const VERSION: i32 = 196_608;
/// The prefix of protocol options in a startup message.
pub const PROTOCOL_OPTION: &str = "_pq_.";

/// The first message of a client, which has no tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstMessage {
    /// StartupMessage.
    Startup(Startup),
    /// SSLRequest.
    Tls,
    /// GSSENCRequest.
    Gssapi,
    /// CancelRequest, for the statement of another session.
    Cancel {
        /// The session's process id.
        process: i32,
        /// The session's secret key.
        secret: i32,
    },
}

/// The startup message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The minor protocol version that the client requests.
    pub minor: i32,
    /// Its parameters, in order.
    pub parameters: Vec<(String, String)>,
}

impl Startup {
    /// The names of its protocol options. The emulator supports none.
    pub fn protocol_options(&self) -> Vec<&str> {
        let names = self.parameters.iter().map(|(name, _)| name.as_str());
        names.filter(|name| name.starts_with(PROTOCOL_OPTION)).collect()
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl FirstMessage {
    /// Reads the payload, which follows the length.
    ///
    /// # Errors
    /// The refusal of a startup message that is malformed or has another protocol version, with
    /// PostgreSQL's SQLSTATE and message.
    pub(super) fn read(payload: Bytes) -> Result<Self, DbError> {
        let malformed = || {
            let message = "invalid startup packet layout: expected terminator as last byte";
            DbError::fatal("08P01", message)
        };
        let mut fields = Fields::new(payload);
        Ok(match fields.i32().ok_or_else(malformed)? {
            80_877_102 => {
                let key = fields.i32().zip(fields.i32()).ok_or_else(malformed)?;
                Self::Cancel { process: key.0, secret: key.1 }
            }
            80_877_103 => Self::Tls,
            80_877_104 => Self::Gssapi,
            version if version >> 16 == 3 => {
                let mut parameters = Vec::new();
                loop {
                    let name = fields.text().ok_or_else(malformed)?;
                    if name.is_empty() {
                        break;
                    }
                    parameters.push((name, fields.text().ok_or_else(malformed)?));
                }
                let startup = Startup { minor: version & 0xffff, parameters };
                fields.at_end(Self::Startup(startup)).ok_or_else(malformed)?
            }
            version => {
                let (major, minor) = (version.cast_unsigned() >> 16, version & 0xffff);
                let message = format!(
                    "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0"
                );
                return Err(DbError::fatal("0A000", message));
            }
        })
    }

    /// Encodes the message with its length.
    pub fn frame(&self) -> Bytes {
        let mut payload = BytesMut::new();
        match self {
            Self::Startup(startup) => {
                payload.put_i32(VERSION + startup.minor);
                for (name, value) in &startup.parameters {
                    put_text(&mut payload, name);
                    put_text(&mut payload, value);
                }
                payload.put_u8(0);
            }
            Self::Tls => payload.put_i32(80_877_103),
            Self::Gssapi => payload.put_i32(80_877_104),
            Self::Cancel { process, secret } => {
                payload.put_i32(80_877_102);
                payload.put_i32(*process);
                payload.put_i32(*secret);
            }
        }
        let mut bytes = BytesMut::with_capacity(LENGTH + payload.len());
        bytes.put_i32(i32::try_from(LENGTH + payload.len()).expect("a short message"));
        bytes.put_slice(&payload);
        bytes.freeze()
    }
}

/// StartupMessage with `parameters`.
pub fn startup(parameters: &[(&str, &str)]) -> FirstMessage {
    let parameters =
        parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    FirstMessage::Startup(Startup { minor: 0, parameters })
}

/// Query.
pub fn query(sql: &str) -> Message {
    text_message(tag::QUERY, &[sql])
}

/// Parse. Parameter types of 0 are inferred by the server.
pub fn parse(name: &str, sql: &str, types: &[u32]) -> Message {
    let mut payload = BytesMut::new();
    put_text(&mut payload, name);
    put_text(&mut payload, sql);
    put_count(&mut payload, types.len());
    for oid in types {
        payload.put_u32(*oid);
    }
    Message::new(tag::PARSE, &payload)
}

/// The text of a Query, in any encoding.
pub fn read_query(message: &Message) -> Option<Bytes> {
    let mut fields = Fields::new(message.payload_bytes());
    let text = fields.text_bytes()?;
    fields.at_end(text)
}

/// Name, text and parameter types of a Parse. The text may be in any encoding.
pub fn read_parse(message: &Message) -> Option<(String, Bytes, Vec<u32>)> {
    let mut fields = Fields::new(message.payload_bytes());
    let (name, sql) = (fields.text()?, fields.text_bytes()?);
    let types = (0..fields.count()?).map(|_| fields.u32()).collect::<Option<_>>()?;
    fields.at_end((name, sql, types))
}

/// The formats and parameters of a Bind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindParts {
    /// Format codes of the parameters: none, one for all, or one for each.
    pub parameter_formats: Vec<i16>,
    /// The parameters.
    pub parameters: Vec<Option<Bytes>>,
    /// Format codes of the columns: none, one for all, or one for each.
    pub result_formats: Vec<i16>,
}

/// Bind.
pub fn bind(portal: &str, statement: &str, parts: &BindParts) -> Message {
    let mut payload = BytesMut::new();
    put_text(&mut payload, portal);
    put_text(&mut payload, statement);
    put_count(&mut payload, parts.parameter_formats.len());
    parts.parameter_formats.iter().for_each(|format| payload.put_i16(*format));
    put_count(&mut payload, parts.parameters.len());
    for parameter in &parts.parameters {
        put_value(&mut payload, parameter.as_deref());
    }
    put_count(&mut payload, parts.result_formats.len());
    parts.result_formats.iter().for_each(|format| payload.put_i16(*format));
    Message::new(tag::BIND, &payload)
}

/// The names of a Bind, and the encoded [`BindParts`] behind them.
pub fn read_bind(message: &Message) -> Option<(String, String, Bytes)> {
    let mut fields = Fields::new(message.payload_bytes());
    Some((fields.text()?, fields.text()?, fields.rest()))
}

/// A Bind with encoded [`BindParts`], which may be malformed.
pub fn bind_encoded(portal: &str, statement: &str, parts: &[u8]) -> Message {
    let mut payload = BytesMut::new();
    put_text(&mut payload, portal);
    put_text(&mut payload, statement);
    payload.put_slice(parts);
    Message::new(tag::BIND, &payload)
}

impl BindParts {
    /// Decodes the bytes behind the names of a Bind.
    pub fn read(encoded: Bytes) -> Option<Self> {
        let mut fields = Fields::new(encoded);
        let parts = Self {
            parameter_formats: formats(&mut fields)?,
            parameters: (0..fields.count()?).map(|_| fields.value()).collect::<Option<_>>()?,
            result_formats: formats(&mut fields)?,
        };
        fields.at_end(parts)
    }

    /// The number of formats and of parameters, which come before the parameters themselves.
    pub fn read_counts(encoded: Bytes) -> Option<(usize, usize)> {
        let mut fields = Fields::new(encoded);
        let formats = formats(&mut fields)?.len();
        Some((formats, fields.count()?))
    }
}

fn formats(fields: &mut Fields) -> Option<Vec<i16>> {
    (0..fields.count()?).map(|_| fields.i16()).collect()
}

/// Execute, for at most `rows` rows; 0 for all.
pub fn execute(portal: &str, rows: i32) -> Message {
    let mut payload = BytesMut::new();
    put_text(&mut payload, portal);
    payload.put_i32(rows);
    Message::new(tag::EXECUTE, &payload)
}

/// Portal and row limit of an Execute.
pub fn read_execute(message: &Message) -> Option<(String, usize)> {
    let mut fields = Fields::new(message.payload_bytes());
    let (portal, rows) = (fields.text()?, fields.i32()?);
    fields.at_end((portal, usize::try_from(rows).unwrap_or(0)))
}

/// Describe, for a portal.
pub fn describe_portal(portal: &str) -> Message {
    target(tag::DESCRIBE, b'P', portal)
}

/// Describe, for a prepared statement.
pub fn describe_statement(statement: &str) -> Message {
    target(tag::DESCRIBE, b'S', statement)
}

/// Close, for a prepared statement.
pub fn close_statement(statement: &str) -> Message {
    target(tag::CLOSE, b'S', statement)
}

/// Close, for a portal.
pub fn close_portal(portal: &str) -> Message {
    target(tag::CLOSE, b'P', portal)
}

/// The target of a Describe or Close: `P` or `S`, and the name.
pub fn read_target(message: &Message) -> Option<(u8, String)> {
    let mut fields = Fields::new(message.payload_bytes());
    let target = (fields.byte()?, fields.text()?);
    fields.at_end(target)
}

/// The text of a PasswordMessage.
pub fn read_password(message: &Message) -> Option<String> {
    let mut fields = Fields::new(message.payload_bytes());
    let password = fields.text()?;
    fields.at_end(password)
}

/// Sync.
pub fn sync() -> Message {
    Message::new(tag::SYNC, &[])
}

fn target(tag: u8, kind: u8, name: &str) -> Message {
    let mut payload = BytesMut::new();
    payload.put_u8(kind);
    put_text(&mut payload, name);
    Message::new(tag, &payload)
}

pub(super) fn text_message(tag: u8, texts: &[&str]) -> Message {
    let mut payload = BytesMut::new();
    for text in texts {
        put_text(&mut payload, text);
    }
    Message::new(tag, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(bind: &Message) -> Option<BindParts> {
        BindParts::read(read_bind(bind)?.2)
    }

    #[test]
    fn messages_are_read_back_as_they_were_written() {
        let parsed = read_parse(&parse("s", "SELECT $1", &[23, 0])).unwrap();
        assert_eq!(parsed, ("s".into(), Bytes::from_static(b"SELECT $1"), vec![23, 0]));
        assert_eq!(read_query(&query("SELECT 1")).unwrap(), "SELECT 1");
        let parts = BindParts {
            parameter_formats: vec![1],
            parameters: vec![None, Some(Bytes::from_static(b"x"))],
            result_formats: vec![0, 1],
        };
        let (portal, statement, encoded) = read_bind(&bind("p", "s", &parts)).unwrap();
        assert_eq!((&*portal, &*statement), ("p", "s"));
        assert_eq!(bind_encoded("p", "s", &encoded), bind("p", "s", &parts));
        assert_eq!(BindParts::read_counts(encoded.clone()), Some((1, 2)));
        assert_eq!(BindParts::read(encoded), Some(parts));
        assert_eq!(read_execute(&execute("p", 5)), Some(("p".into(), 5)));
        assert_eq!(read_target(&describe_statement("s")), Some((b'S', "s".into())));
    }

    #[test]
    fn a_long_message_is_read_and_a_truncated_one_is_none() {
        let many = BindParts { parameters: vec![None; 65_535], ..BindParts::default() };
        assert_eq!(parts(&bind("", "", &many)), Some(many));
        let whole = bind("p", "s", &BindParts::default());
        for end in 0..whole.payload().len() {
            assert_eq!(parts(&Message::new(tag::BIND, &whole.payload()[..end])), None);
        }
        assert_eq!(read_parse(&Message::new(tag::PARSE, b"s")), None);
        assert_eq!(read_query(&Message::new(tag::QUERY, b"SELECT 1")), None);
        assert_eq!(read_query(&Message::new(tag::QUERY, b"SELECT 1\0;\0")), None);
        assert_eq!(read_execute(&Message::new(tag::EXECUTE, b"p\0\0")), None);
    }

    #[test]
    fn a_message_with_trailing_bytes_is_rejected() {
        let longer =
            |message: Message| Message::new(message.tag(), &[message.payload(), &[0]].concat());
        assert_eq!(read_query(&longer(query("SELECT 1"))), None);
        assert_eq!(read_parse(&longer(parse("s", "SELECT 1", &[23]))), None);
        assert_eq!(parts(&longer(bind("p", "s", &BindParts::default()))), None);
        assert_eq!(read_execute(&longer(execute("p", 5))), None);
        assert_eq!(read_target(&longer(close_statement("s"))), None);
    }

    #[test]
    fn the_first_message_is_recognised_by_its_code() {
        for first in [
            startup(&[("user", "admin")]),
            FirstMessage::Tls,
            FirstMessage::Gssapi,
            FirstMessage::Cancel { process: 7, secret: -1 },
        ] {
            assert_eq!(FirstMessage::read(first.frame().slice(LENGTH..)), Ok(first));
        }
    }

    #[test]
    fn a_malformed_first_message_is_refused_as_by_postgresql() {
        let code = |payload: &[u8]| {
            let refusal = FirstMessage::read(Bytes::copy_from_slice(payload)).unwrap_err();
            assert_eq!(refusal.severity, "FATAL");
            refusal.code
        };
        assert_eq!(code(&[0, 2, 0, 0]), "0A000");
        let frame = startup(&[("user", "admin")]).frame();
        let whole = &frame[LENGTH..];
        for end in LENGTH..whole.len() {
            assert_eq!(code(&whole[..end]), "08P01", "{end}");
        }
        assert_eq!(code(&[whole, &[0]].concat()), "08P01");
        assert_eq!(code(&whole[..2]), "08P01");
    }
}
