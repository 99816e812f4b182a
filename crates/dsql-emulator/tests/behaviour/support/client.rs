//! A client on the wire protocol, over TLS and with a token, that shows what drivers hide: tags,
//! fields of errors, the order of messages.

use std::{io, sync::Arc};

use dsql_emulator::{
    DsqlEmulator,
    wire::{self, DbError, Message, WireStream, tag},
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// A client connection.
pub struct Client {
    pub wire: WireStream<TlsStream<TcpStream>>,
    /// Process id and secret, for a CancelRequest.
    pub key: (i32, i32),
    pub parameters: Vec<(String, String)>,
}

/// How one statement ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    pub tag: Option<String>,
    pub columns: Vec<String>,
    pub types: Vec<u32>,
    pub rows: Vec<Vec<Option<String>>>,
    pub notices: Vec<String>,
    pub error: Option<DbError>,
}

impl Observation {
    /// The tag of a statement that has succeeded.
    #[track_caller]
    pub fn ok(&self) -> &str {
        match (&self.error, &self.tag) {
            (None, Some(tag)) => tag,
            _ => panic!("not ok: {self:?}"),
        }
    }

    /// SQLSTATE and message of a statement that has failed.
    #[track_caller]
    pub fn refused(&self) -> (&str, &str) {
        match &self.error {
            Some(error) => (&error.code, &error.message),
            None => panic!("not refused: {self:?}"),
        }
    }

    /// The only value.
    #[track_caller]
    pub fn value(&self) -> &str {
        match &self.rows[..] {
            [row] if row.len() == 1 => row[0].as_deref().expect("a value that is not null"),
            _ => panic!("not one value: {self:?}"),
        }
    }
}

/// The parameters of a connection.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    pub host: String,
    pub user: String,
    pub password: String,
    pub database: String,
    pub parameters: Vec<(String, String)>,
    /// Sends SNI in the handshake.
    pub sni: bool,
    /// Starts TLS without an SSLRequest.
    pub direct: bool,
}

impl ConnectOptions {
    pub fn of(emulator: &DsqlEmulator) -> Self {
        Self {
            host: emulator.host().into(),
            user: "admin".into(),
            password: emulator.token("admin"),
            database: "postgres".into(),
            parameters: Vec::new(),
            sni: true,
            direct: false,
        }
    }

    pub fn user(mut self, emulator: &DsqlEmulator, user: &str) -> Self {
        self.user = user.into();
        self.password = emulator.token(user);
        self
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }
}

/// Why a connection was refused.
#[derive(Debug)]
pub enum Refused {
    Error(DbError),
    Closed(io::Error),
}

impl Refused {
    /// The error that the client got.
    #[track_caller]
    pub fn error(self) -> DbError {
        match self {
            Self::Error(error) => error,
            Self::Closed(error) => panic!("closed: {error}"),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Closed(error)
    }
}

pub async fn tls(
    emulator: &DsqlEmulator,
    options: &ConnectOptions,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).expect("a certificate");
    roots.add(ca).expect("a certificate authority");
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.enable_sni = options.sni;
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let socket = TcpStream::connect(emulator.addr()).await?;
    socket.set_nodelay(true)?;
    let socket = if options.direct {
        socket
    } else {
        let mut plain = WireStream::new(socket);
        plain.queue_raw(&wire::FirstMessage::Tls.frame());
        plain.flush().await?;
        assert_eq!(plain.read_byte().await?, b'S');
        plain.into_inner()?
    };
    let name = ServerName::try_from(options.host.clone()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

impl Client {
    pub async fn connect(emulator: &DsqlEmulator) -> Self {
        Self::open(emulator, &ConnectOptions::of(emulator)).await.expect("a connection")
    }

    pub async fn open(emulator: &DsqlEmulator, options: &ConnectOptions) -> Result<Self, Refused> {
        let mut wire = WireStream::new(tls(emulator, options).await?);
        let mut parameters = vec![("user", options.user.as_str())];
        parameters.push(("database", &options.database));
        parameters
            .extend(options.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        wire.queue_raw(&wire::startup(&parameters).frame());
        wire.flush().await?;
        let mut client = Self { wire, key: (0, 0), parameters: Vec::new() };
        loop {
            let message = client.next().await?;
            let payload = message.payload();
            match message.tag() {
                tag::AUTHENTICATION if payload == [0, 0, 0, 3] => {
                    let password = format!("{}\0", options.password);
                    client.wire.queue(&Message::new(tag::PASSWORD, password.as_bytes()));
                    client.wire.flush().await?;
                }
                tag::AUTHENTICATION => assert_eq!(payload, [0, 0, 0, 0]),
                tag::PARAMETER_STATUS => {
                    let mut texts = payload.split(|byte| *byte == 0);
                    let mut text =
                        || String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
                    client.parameters.push((text(), text()));
                }
                tag::KEY_DATA => {
                    let number = |at: usize| {
                        i32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"))
                    };
                    client.key = (number(0), number(4));
                }
                tag::READY_FOR_QUERY => return Ok(client),
                tag::ERROR => return Err(Refused::Error(DbError::read(&message))),
                _ => {}
            }
        }
    }

    /// The next message.
    pub async fn next(&mut self) -> io::Result<Message> {
        self.wire.message().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends messages.
    pub async fn send(&mut self, messages: &[Message]) -> io::Result<()> {
        messages.iter().for_each(|message| self.wire.queue(message));
        self.wire.flush().await
    }

    /// Sends messages and reads the answer up to and including ReadyForQuery.
    pub async fn exchange(&mut self, messages: &[Message]) -> io::Result<Vec<Message>> {
        self.send(messages).await?;
        let mut answer = Vec::new();
        loop {
            let message = self.next().await?;
            let kind = message.tag();
            answer.push(message);
            if kind == tag::READY_FOR_QUERY {
                return Ok(answer);
            }
        }
    }

    /// Runs a text by the simple protocol; returns the result of each of its statements.
    pub async fn try_query(&mut self, sql: &str) -> io::Result<Vec<Observation>> {
        let answer = self.exchange(&[wire::query(sql)]).await?;
        Ok(observations(&answer))
    }

    /// The same, on a connection that must not break.
    pub async fn query(&mut self, sql: &str) -> Vec<Observation> {
        self.try_query(sql).await.expect("a living connection")
    }

    /// Runs one statement.
    pub async fn run(&mut self, sql: &str) -> Observation {
        let mut observations = self.query(sql).await;
        assert_eq!(observations.len(), 1, "{sql}: {observations:?}");
        observations.remove(0)
    }

    /// Runs one statement that must succeed; returns its tag.
    pub async fn ok(&mut self, sql: &str) -> String {
        let observation = self.run(sql).await;
        assert!(observation.error.is_none(), "{sql}: {observation:?}");
        observation.tag.expect("a tag")
    }

    /// Runs one statement that must fail; returns SQLSTATE and message.
    pub async fn refused(&mut self, sql: &str) -> (String, String) {
        let observation = self.run(sql).await;
        let error = observation.error.unwrap_or_else(|| panic!("{sql} is not refused"));
        (error.code, error.message)
    }

    /// The one value of a query.
    pub async fn value(&mut self, sql: &str) -> String {
        let observation = self.run(sql).await;
        assert!(observation.error.is_none(), "{sql}: {observation:?}");
        observation.value().to_owned()
    }

    /// Runs one statement by the extended protocol, with parameters as text.
    pub async fn extended(&mut self, sql: &str, parameters: &[&str]) -> Observation {
        let bind = wire::BindParts {
            parameters: parameters.iter().map(|p| Some(p.as_bytes().to_vec().into())).collect(),
            ..wire::BindParts::default()
        };
        let answer = self
            .exchange(&[
                wire::parse("", sql, &[]),
                wire::bind("", "", &bind),
                wire::describe_portal(""),
                wire::execute("", 0),
                wire::sync(),
            ])
            .await
            .expect("a living connection");
        observations(&answer).into_iter().next().unwrap_or_default()
    }
}

/// Groups the messages of an answer by statement.
pub fn observations(answer: &[Message]) -> Vec<Observation> {
    let mut observations = Vec::new();
    let mut current = Observation::default();
    for message in answer {
        match message.tag() {
            tag::ROW_DESCRIPTION => {
                (current.columns, current.types) = wire::column_types(message).into_iter().unzip()
            }
            tag::DATA_ROW => current.rows.push(
                wire::data_values(message)
                    .into_iter()
                    .map(|v| v.map(|v| String::from_utf8_lossy(&v).into_owned()))
                    .collect(),
            ),
            tag::NOTICE => current.notices.push(DbError::read(message).message),
            tag::COMMAND_COMPLETE => {
                current.tag = Some(wire::command_tag(message));
                observations.push(std::mem::take(&mut current));
            }
            tag::EMPTY_QUERY => observations.push(std::mem::take(&mut current)),
            tag::ERROR => {
                current.error = Some(DbError::read(message));
                observations.push(std::mem::take(&mut current));
            }
            _ => {}
        }
    }
    observations
}
