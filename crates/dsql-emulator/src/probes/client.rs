//! A client that shows what drivers hide: command tags, the transaction status, and fields of errors.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::{PlayError, Recorded};
use crate::upstream::Login;
use crate::wire::{self, BindParts, DbError, Message, Status, WireStream, tag};

/// How long the answer to a statement may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A database server and a role.
#[derive(Clone)]
pub struct Target {
    /// The host name, which is also sent in TLS.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password: a token, on a cluster.
    pub password: String,
    /// The database.
    pub database: String,
    /// How the connection is encrypted.
    pub encryption: Encryption,
}

/// How a connection is encrypted.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// By TLS. The certificate is verified with Mozilla's authorities, Amazon's among them.
    PublicAuthorities,
    /// By TLS. The certificate is verified with this authority, in PEM.
    Authority(String),
    /// Not at all, for a PostgreSQL server on the same machine.
    None,
}

impl fmt::Debug for Target {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A session of a target.
pub(super) struct Client {
    wire: WireStream<Box<dyn Stream>>,
    status: Status,
}

/// How one statement ended.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) tag: Option<String>,
    pub(super) columns: Vec<(String, u32)>,
    pub(super) rows: Vec<Vec<Option<String>>>,
    pub(super) error: Option<DbError>,
}

impl Client {
    pub(super) async fn connect(target: &Target) -> Result<Self, PlayError> {
        let failed = |source| PlayError::Connection { target: target.clone(), source };
        let opened = timeout(ANSWER_LIMIT, Self::open(target)).await;
        match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(PlayError::Refused { target: target.clone(), error }),
            Err(error) => Err(failed(error)),
        }
    }

    async fn open(target: &Target) -> io::Result<Result<Self, DbError>> {
        let socket = TcpStream::connect((target.host.as_str(), target.port)).await?;
        socket.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls_config(&target.encryption)? {
            None => Box::new(socket),
            Some(config) => {
                let mut plain = WireStream::new(socket);
                plain.queue_raw(&wire::FirstMessage::Tls.frame());
                plain.flush().await?;
                if plain.read_byte().await? != b'S' {
                    return Err(io::Error::other("the server does not support TLS"));
                }
                let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
                let connector = TlsConnector::from(Arc::new(config));
                Box::new(connector.connect(name, plain.into_inner()?).await?)
            }
        };
        let mut client = Self { wire: WireStream::new(stream), status: Status::Idle };
        let parameters = [("user", &*target.user), ("database", &*target.database)];
        client.wire.queue_raw(&wire::startup(&parameters).frame());
        client.wire.flush().await?;
        let mut login = Login::new(&target.password);
        loop {
            let message = client.next().await?;
            match message.tag() {
                tag::AUTHENTICATION => {
                    if let Some(answer) = login.answer(&message).map_err(io::Error::other)? {
                        client.wire.queue(&answer);
                        client.wire.flush().await?;
                    }
                }
                tag::READY_FOR_QUERY => return Ok(Ok(client)),
                tag::ERROR => return Ok(Err(DbError::read(&message))),
                _ => {}
            }
        }
    }

    /// Whether the session is in a transaction block.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.status != Status::Idle
    }

    /// Runs a text by the simple protocol; returns the answer to its last statement.
    pub(super) async fn query(&mut self, sql: &str) -> io::Result<Answer> {
        self.exchange(&[wire::query(sql)]).await
    }

    /// Runs a statement by the extended protocol, with NULL for each parameter.
    pub(super) async fn prepared(&mut self, sql: &str) -> io::Result<Answer> {
        let parameters = parameter_count(sql);
        let bind = BindParts { parameters: vec![None; parameters], ..BindParts::default() };
        self.exchange(&[
            wire::parse("", sql, &[]),
            wire::bind("", "", &bind),
            wire::describe_portal(""),
            wire::execute("", 0),
            wire::sync(),
        ])
        .await
    }

    async fn exchange(&mut self, messages: &[Message]) -> io::Result<Answer> {
        let answered = timeout(ANSWER_LIMIT, async {
            messages.iter().for_each(|message| self.wire.queue(message));
            self.wire.flush().await?;
            let mut answer = Answer::default();
            loop {
                let message = self.next().await?;
                match message.tag() {
                    tag::ROW_DESCRIPTION => answer.columns = wire::column_types(&message),
                    tag::DATA_ROW => answer.rows.push(
                        wire::data_values(&message)
                            .into_iter()
                            .map(|v| v.map(|v| String::from_utf8_lossy(&v).into_owned()))
                            .collect(),
                    ),
                    tag::COMMAND_COMPLETE => answer.tag = Some(wire::command_tag(&message)),
                    tag::ERROR => answer.error = Some(DbError::read(&message)),
                    tag::READY_FOR_QUERY => {
                        self.status = Status::read(&message).unwrap_or(Status::Idle);
                        return Ok(answer);
                    }
                    _ => {}
                }
            }
        });
        answered.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn next(&mut self) -> io::Result<Message> {
        self.wire.message().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The highest number of a parameter in a text.
fn parameter_count(sql: &str) -> usize {
    let numbers = sql.split('$').skip(1).filter_map(|behind| {
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        behind[..end].parse().ok()
    });
    numbers.max().unwrap_or(0)
}

fn tls_config(encryption: &Encryption) -> io::Result<Option<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match encryption {
        Encryption::None => return Ok(None),
        Encryption::PublicAuthorities => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Encryption::Authority(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(io::Error::other)?;
                roots.add(certificate).map_err(io::Error::other)?;
            }
        }
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(config))
}

impl Answer {
    /// The only value; `None` if it is null or there is not one row.
    pub(super) fn value(&self) -> Option<&str> {
        match &self.rows[..] {
            [row] => row.first()?.as_deref(),
            _ => None,
        }
    }

    /// Whether the session must only learn about a catalog change (aurora-dsql.md#conflicts).
    pub(super) fn is_catalog_conflict(&self) -> bool {
        self.error.as_ref().is_some_and(|e| e.code == "40001" && e.message.contains("(OC001)"))
    }

    /// The answer in the form of the recorder.
    pub(super) fn recorded(&self) -> Recorded {
        if let Some(error) = &self.error {
            return Recorded::error(&error.code, &error.message);
        }
        let rows = self.rows.iter().map(|row| {
            let values = row.iter().zip(&self.columns);
            values.map(|(value, (_, oid))| recorded_value(value.as_deref(), *oid)).collect()
        });
        Recorded {
            outcome: "ok".into(),
            command_tag: self.tag.clone(),
            columns: self.columns.iter().map(|(name, _)| name.clone()).collect(),
            rows: rows.collect(),
            ..Recorded::default()
        }
    }
}

/// Formats a value as the recorder, a program in Go, does.
fn recorded_value(value: Option<&str>, oid: u32) -> String {
    const UUID: u32 = 2950;
    const TEXT_ARRAY: u32 = 1009;
    const INET: u32 = 869;
    let Some(text) = value else { return "NULL".into() };
    match oid {
        UUID => {
            let digits: Vec<char> = text.chars().filter(|c| *c != '-').collect();
            let bytes = digits.chunks(2).map(|pair| {
                let pair: String = pair.iter().collect();
                u8::from_str_radix(&pair, 16).unwrap_or_default().to_string()
            });
            format!("[{}]", bytes.collect::<Vec<_>>().join(" "))
        }
        TEXT_ARRAY => {
            let inner = text.trim_start_matches('{').trim_end_matches('}');
            format!("[{}]", inner.replace(',', " "))
        }
        INET if !text.contains('/') => format!("{text}/32"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_output_has_no_password() {
        let target = Target {
            host: "h".into(),
            port: 5432,
            user: "admin".into(),
            password: "a-token".into(),
            database: "postgres".into(),
            encryption: Encryption::None,
        };
        assert_eq!(format!("{target:?}"), "admin@h:5432/postgres");
    }

    #[test]
    fn parameters_are_counted_by_their_numbers() {
        assert_eq!(parameter_count("SELECT $2::int[], $11, $1"), 11);
        assert_eq!(parameter_count("SELECT 1"), 0);
    }
}
