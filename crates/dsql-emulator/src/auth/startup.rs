//! The startup phase of a connection: TLS, startup message, token, role.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{
    access_denied,
    admission::ConnectionPermit,
    token::{self, Expected},
};
use crate::{
    cluster::Cluster,
    rules::{Settings, boolean, startup_option},
    sql::literal,
    upstream::{UpstreamError, single},
    wire::{self, DbError, FirstMessage, Message, PROTOCOL_OPTION, Startup, WireStream, tag},
};

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client's connection.
pub(crate) type Client = WireStream<TlsStream<TcpStream>>;

/// A client whose token was accepted, and its session parameters.
pub(crate) struct AuthenticatedClient {
    pub(crate) client: Client,
    pub(crate) user: String,
    /// Settings that are passed to PostgreSQL.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) emulator_settings: Settings,
    pub(crate) permit: ConnectionPermit,
}

/// Authenticates a new connection. `None` if it is not a session: a cancel request, a connection
/// that ended, or a client that was refused.
pub(crate) async fn authenticate(
    socket: TcpStream,
    cluster: &Cluster,
) -> io::Result<Option<AuthenticatedClient>> {
    socket.set_nodelay(true)?;
    let mut first_byte = [0];
    if socket.peek(&mut first_byte).await? == 0 {
        return Ok(None);
    }
    let socket = if first_byte[0] == TLS_HANDSHAKE {
        socket
    } else {
        let Some(socket) = negotiate_encryption(WireStream::new(socket), cluster).await? else {
            return Ok(None);
        };
        socket
    };
    let stream = cluster.tls.acceptor.accept(socket).await?;
    let name = stream.get_ref().1.server_name().map(str::to_ascii_lowercase);
    let mut client = WireStream::new(stream).with_max_message(cluster.config.limits.message_bytes);
    let startup = match first_message(&mut client).await? {
        Some(FirstMessage::Startup(startup)) => startup,
        Some(FirstMessage::Cancel { process, secret }) => {
            cluster.cancel(process, secret).await;
            client.finish().await?;
            return Ok(None);
        }
        _ => return Ok(None),
    };
    match authorize(&mut client, name, &startup, cluster).await? {
        Ok(accepted) => {
            let AcceptedClient { user, settings, emulator_settings, permit } = accepted;
            Ok(Some(AuthenticatedClient { client, user, settings, emulator_settings, permit }))
        }
        Err(Some(refusal)) => {
            client.queue(&refusal.message());
            client.finish().await?;
            Ok(None)
        }
        Err(None) => Ok(None),
    }
}

/// The first message of a client; `None` if there is none, or if it is malformed and was refused.
async fn first_message<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut WireStream<S>,
) -> io::Result<Option<FirstMessage>> {
    let error = match client.first_message().await {
        Ok(first) => return Ok(first),
        Err(error) => error,
    };
    let Some(refusal) = error.get_ref().and_then(|source| source.downcast_ref::<DbError>()) else {
        return Err(error);
    };
    client.queue(&refusal.message());
    client.finish().await?;
    Ok(None)
}

/// Handles the unencrypted messages before the TLS handshake.
async fn negotiate_encryption(
    mut wire: WireStream<TcpStream>,
    cluster: &Cluster,
) -> io::Result<Option<TcpStream>> {
    loop {
        match first_message(&mut wire).await? {
            Some(FirstMessage::Tls) => {
                wire.send_byte(b'S').await?;
                return wire.into_inner().map(Some);
            }
            Some(FirstMessage::Gssapi) => wire.send_byte(b'N').await?,
            Some(FirstMessage::Cancel { process, secret }) => {
                cluster.cancel(process, secret).await;
                return Ok(None);
            }
            Some(FirstMessage::Startup(_)) => {
                // aurora-dsql.md#connections. Only its second half is known [O FIELD].
                let refusal =
                    DbError::fatal("08P01", "unable to accept connection, SSL is mandatory")
                        .with_hint("Connect with sslmode=verify-full");
                wire.queue(&refusal.message());
                wire.flush().await?;
                return Ok(None);
            }
            None => return Ok(None),
        }
    }
}

/// The session parameters of an accepted client.
struct AcceptedClient {
    user: String,
    settings: Vec<(String, String)>,
    emulator_settings: Settings,
    permit: ConnectionPermit,
}

/// Checks limits, token and role. The error is the refusal to send; `None` closes the connection
/// without one.
async fn authorize(
    client: &mut Client,
    name: Option<String>,
    startup: &Startup,
    cluster: &Cluster,
) -> io::Result<Result<AcceptedClient, Option<DbError>>> {
    if let Some(refusal) = cluster.faults.next_connection() {
        return Ok(Err(refusal.error()));
    }
    let Some(name) = name else {
        let refusal = DbError::fatal("08006", "unable to accept connection, sni was not received");
        return Ok(Err(Some(refusal)));
    };
    let permit = match cluster.admission.admit(std::time::Instant::now()) {
        Ok(permit) => permit,
        Err(refusal) => return Ok(Err(refusal.error())),
    };
    let unknown = startup.protocol_options();
    if startup.minor > 0 || !unknown.is_empty() {
        client.queue(&wire::negotiate_version(&unknown));
    }
    client.queue(&wire::authentication_cleartext());
    client.flush().await?;
    let Some(password) = client.message().await? else { return Ok(Err(None)) };
    let checked = match read_password(&password) {
        Ok(token) => check_startup(&token, &name, startup, cluster).await,
        Err(refusal) => Err(refusal),
    };
    Ok(checked.map_err(Some).map(|(user, settings, emulator_settings)| AcceptedClient {
        user,
        settings,
        emulator_settings,
        permit,
    }))
}

/// The text of a PasswordMessage. The refusals of other messages are PostgreSQL's.
fn read_password(message: &Message) -> Result<String, DbError> {
    if message.tag() != tag::PASSWORD {
        let kind = message.tag();
        let message = format!("expected password response, got message type {kind}");
        return Err(DbError::fatal("08P01", message));
    }
    wire::read_password(message)
        .ok_or_else(|| DbError::fatal("08P01", "invalid password packet size"))
}

type StartupParameters = (String, Vec<(String, String)>, Settings);

async fn check_startup(
    token: &str,
    name: &str,
    startup: &Startup,
    cluster: &Cluster,
) -> Result<StartupParameters, DbError> {
    let config = &cluster.config;
    if !config.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) {
        return Err(access_denied(format!("There is no cluster `{name}` here")));
    }
    let user = startup.get("user").unwrap_or_default().to_owned();
    let expected = Expected {
        credentials: &config.credentials,
        host: name,
        region: &config.region,
        user: &user,
        now: cluster.faults.now(),
    };
    token::verify(token, &expected).map_err(access_denied)?;
    check_role(&user, cluster).await?;
    let database = startup.get("database").unwrap_or(&user);
    if database != "postgres" {
        let message = format!("database \"{database}\" does not exist");
        return Err(DbError::fatal("3D000", message));
    }
    let mut settings = role_settings(&user, cluster).await?;
    let mut emulator_settings = Settings::default();
    for (name, value) in parameters(startup)? {
        startup_option(&name)?;
        match name.as_str() {
            "disable_sync_create_index" => {
                emulator_settings.sync_index = boolean(&value) == Some(false);
            }
            _ => settings.push((name, value)),
        }
    }
    Ok((user, settings, emulator_settings))
}

/// The settings of the role (`ALTER ROLE … SET`). PostgreSQL applies them only to the role that
/// opens a connection, which is the superuser.
async fn role_settings(user: &str, cluster: &Cluster) -> Result<Vec<(String, String)>, DbError> {
    let question = format!(
        "SELECT c.setting FROM pg_catalog.pg_db_role_setting s \
         JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
         JOIN pg_catalog.pg_database_of_host d ON d.oid = s.setdatabase \
         CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(setting) \
         WHERE r.rolname = {} AND d.datname = {}",
        literal(user),
        literal(&cluster.target.database)
    );
    let rows = cluster.query(&question).await.map_err(|error| unavailable(&error))?;
    let pair = |row: Vec<Option<String>>| {
        let setting = row.into_iter().next()??;
        setting.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

fn unavailable(error: &UpstreamError) -> DbError {
    tracing::error!(%error, "a role could not be looked up");
    DbError::fatal("XX000", "server unavailable")
}

/// Checks that a role other than `admin` exists and is mapped to the client's IAM identity.
async fn check_role(user: &str, cluster: &Cluster) -> Result<(), DbError> {
    if user == "admin" {
        return Ok(());
    }
    let arn = &cluster.config.arn;
    let question = format!(
        "SELECT r.rolcanlogin AND EXISTS (SELECT 1 FROM pg_toast_temp_dsql.iam_mapping m \
         WHERE m.role = r.oid AND m.arn = {}) \
         FROM pg_catalog.pg_roles r WHERE r.rolname = {}",
        literal(arn),
        literal(user)
    );
    let found = cluster.query(&question).await.map_err(|error| unavailable(&error))?;
    match single(found).as_deref() {
        Some("t") => Ok(()),
        Some(_) => Err(access_denied(format!(
            "User {arn} is not authorized to perform: dsql:DbConnect as role {user}; \
             map it with AWS IAM GRANT"
        ))),
        // The SQLSTATE is observed [O FIELD].
        None => Err(DbError::fatal("08P01", format!("role \"{user}\" does not exist"))),
    }
}

/// The settings of a startup message, including those in `options`.
fn parameters(startup: &Startup) -> Result<Vec<(String, String)>, DbError> {
    let mut parameters = Vec::new();
    for (name, value) in &startup.parameters {
        match name.as_str() {
            "user" | "database" => {}
            "options" => parameters.extend(options(value)?),
            name if name.starts_with(PROTOCOL_OPTION) => {}
            name => parameters.push((name.to_ascii_lowercase(), value.clone())),
        }
    }
    Ok(parameters)
}

/// Parses `-c name=value` and `--name=value`, with backslashes before spaces.
fn options(text: &str) -> Result<Vec<(String, String)>, DbError> {
    let mut words = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        let word = words.last_mut().expect("a word");
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            c if c.is_whitespace() && !escaped => words.push(String::new()),
            c => word.push(c),
        }
        escaped = false;
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c") {
            Some("") => words.next(),
            Some(setting) => Some(setting.to_owned()),
            None => word.strip_prefix("--").map(str::to_owned),
        };
        let pair = setting.as_deref().and_then(|setting| setting.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            DbError::fatal("42601", format!("invalid command-line argument for server: {word}"))
        })?;
        settings.push((name.replace('-', "_").to_ascii_lowercase(), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings_in_both_spellings() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            options("-c search_path=a,\\ b  --TimeZone=UTC -cextra-float-digits=2").unwrap(),
            [pair("search_path", "a, b"), pair("timezone", "UTC"), pair("extra_float_digits", "2")]
        );
        assert_eq!(options("").unwrap(), []);
        for wrong in ["-c", "-c x", "-d 5", "word"] {
            assert_eq!(options(wrong).unwrap_err().severity, "FATAL", "{wrong}");
        }
    }

    #[test]
    fn a_setting_that_is_not_allowed_is_named() {
        let startup = Startup {
            minor: 0,
            parameters: vec![
                ("user".into(), "admin".into()),
                ("options".into(), "-c statement_timeout=5".into()),
            ],
        };
        let [(name, _)] = &parameters(&startup).unwrap()[..] else { panic!("one setting") };
        let refusal = startup_option(name).unwrap_err();
        assert_eq!(refusal.severity, "FATAL");
        assert_eq!(
            refusal.message,
            "setting configuration parameter \"statement_timeout\" not supported"
        );
        for allowed in ["DateStyle", "client_encoding", "TimeZone", "application_name"] {
            assert_eq!(startup_option(allowed), Ok(()));
        }
    }
}
