//! One connection to PostgreSQL.

use std::io;

use bytes::Bytes;
use tokio::net::TcpStream;

use super::{Login, Target, UpstreamError};
use crate::wire::{self, DbError, Fields, Message, WireStream, tag};

/// A connection to PostgreSQL.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: WireStream<TcpStream>,
    address: String,
    process: i32,
    parameters: Vec<(String, String)>,
    /// A previous answer was not read completely, so the connection cannot be used.
    unfinished: bool,
}

/// Messages that are sent together; the answer ends with one ReadyForQuery.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    /// The messages. The last is a Query or a Sync.
    pub(crate) messages: Vec<Message>,
    /// The messages for a COPY FROM STDIN among them, up to CopyDone or CopyFail. Without them such
    /// a COPY fails.
    pub(crate) copy_data: Option<Vec<Message>>,
}

impl Exchange {
    pub(crate) fn new(messages: Vec<Message>) -> Self {
        Self { messages, copy_data: None }
    }

    pub(crate) fn query(sql: &str) -> Self {
        Self::new(vec![wire::query(sql)])
    }
}

/// No statement starts parallel workers. A worker sets the settings of its leader, and fails at the
/// default text search configuration, which the emulator removes.
const WITHOUT_WORKERS: [(&str, &str); 2] =
    [("max_parallel_workers_per_gather", "0"), ("max_parallel_maintenance_workers", "0")];

/// Rows in text format.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

impl Connection {
    /// Opens a session with `settings`.
    pub(crate) async fn open(
        target: &Target,
        settings: &[(&str, &str)],
    ) -> Result<Self, UpstreamError> {
        let address = target.address();
        let failed = |source| UpstreamError::Io { address: address.clone(), source };
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await;
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let mut parameters =
            vec![("user", target.user.as_str()), ("database", target.database.as_str())];
        parameters.extend_from_slice(&WITHOUT_WORKERS);
        parameters.extend_from_slice(settings);
        let mut connection = Self {
            wire: WireStream::new(stream),
            address: address.clone(),
            process: 0,
            parameters: Vec::new(),
            unfinished: false,
        };
        connection.wire.queue_raw(&wire::startup(&parameters).frame());
        connection.wire.flush().await.map_err(failed)?;
        connection.log_in(target).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, target: &Target) -> Result<(), UpstreamError> {
        let mut login = Login::new(target.password.as_deref().unwrap_or_default());
        loop {
            let message = self.next().await?;
            match message.tag() {
                tag::AUTHENTICATION => {
                    if let Some(answer) = login.answer(&message)? {
                        self.wire.queue(&answer);
                        self.flush().await?;
                    }
                }
                tag::PARAMETER_STATUS => self.note_parameter(&message),
                tag::KEY_DATA => {
                    let mut fields = Fields::new(message.payload_bytes());
                    self.process = fields.i32().unwrap_or(0);
                }
                tag::READY_FOR_QUERY => return Ok(()),
                tag::ERROR => return Err(UpstreamError::Refused(DbError::read(&message))),
                _ => {}
            }
        }
    }

    /// Whether it can be used: no answer was left unread, and it has not broken.
    pub(crate) fn is_usable(&self) -> bool {
        !self.unfinished
    }

    /// The process id of the session.
    pub(crate) fn process(&self) -> i32 {
        self.process
    }

    /// The settings that the server has reported, with their latest values.
    pub(crate) fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    fn note_parameter(&mut self, message: &Message) {
        let mut fields = Fields::new(message.payload_bytes());
        let (Some(name), Some(value)) = (fields.text(), fields.text()) else { return };
        match self.parameters.iter_mut().find(|(known, _)| *known == name) {
            Some((_, former)) => *former = value,
            None => self.parameters.push((name, value)),
        }
    }

    /// Sends messages and reads the whole answer, including ReadyForQuery. Errors of statements are
    /// part of the answer; ParameterStatus messages are not: see [`parameters`](Self::parameters).
    pub(crate) async fn exchange(
        &mut self,
        sent: &Exchange,
    ) -> Result<Vec<Message>, UpstreamError> {
        if self.unfinished {
            return Err(UpstreamError::Protocol("the answer to an earlier statement"));
        }
        self.unfinished = true;
        for message in &sent.messages {
            self.wire.queue(message);
        }
        self.flush().await?;
        let mut answer = Vec::new();
        loop {
            let message = self.next().await?;
            let kind = message.tag();
            if kind == tag::PARAMETER_STATUS {
                self.note_parameter(&message);
                continue;
            }
            answer.push(message);
            if kind == tag::COPY_IN {
                self.send_copy_data(sent.copy_data.as_deref()).await?;
            } else if kind == tag::READY_FOR_QUERY {
                self.unfinished = false;
                return Ok(answer);
            }
        }
    }

    async fn send_copy_data(&mut self, data: Option<&[Message]>) -> Result<(), UpstreamError> {
        match data {
            None => self.wire.queue(&Message::new(tag::COPY_FAIL, b"no data\0")),
            Some(data) => data.iter().for_each(|message| self.wire.queue(message)),
        }
        // During a COPY the server ignores the Sync that was sent after it.
        self.wire.queue(&wire::sync());
        self.flush().await
    }

    /// Runs one or more statements; returns the rows of all of them.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Rows, UpstreamError> {
        let answer = self.exchange(&Exchange::query(sql)).await?;
        rows(&answer).map_err(UpstreamError::Refused)
    }

    async fn next(&mut self) -> Result<Message, UpstreamError> {
        let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
        match self.wire.message().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(self.broken(end())),
            Err(error) => Err(self.broken(error)),
        }
    }

    async fn flush(&mut self) -> Result<(), UpstreamError> {
        self.wire.flush().await.map_err(|error| self.broken(error))
    }

    fn broken(&self, source: io::Error) -> UpstreamError {
        UpstreamError::Io { address: self.address.clone(), source }
    }
}

/// The rows of an answer in text format, or its first error.
pub(crate) fn rows(answer: &[Message]) -> Result<Rows, DbError> {
    if let Some(error) = answer.iter().find(|message| message.tag() == tag::ERROR) {
        return Err(DbError::read(error));
    }
    let text = |value: Option<Bytes>| value.map(|v| String::from_utf8_lossy(&v).into_owned());
    Ok(answer
        .iter()
        .filter(|message| message.tag() == tag::DATA_ROW)
        .map(|row| wire::data_values(row).into_iter().map(text).collect())
        .collect())
}

/// The first value of the first row; `None` if it is null or there is no row.
pub(crate) fn single(rows: Rows) -> Option<String> {
    rows.into_iter().next()?.into_iter().next()?
}
