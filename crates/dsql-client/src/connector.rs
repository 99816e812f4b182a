//! Opens connections: TLS, the password or token, and errors that name the remedy.

use std::{fmt, path::Path, sync::Arc};

use aws_credential_types::provider::SharedCredentialsProvider;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::ExposeSecret;
use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use temporal_dsql_domain::Engine;
use temporal_dsql_ports::{Cause, Outcome, StoreError};

use crate::{
    config::{
        Auth, CONNECT_TIMEOUT, Config, ConfigError, Target, TlsMode, bracketed, region_of_host,
    },
    sqlstate::{Class, Phase, classify_error},
    token::{IamTokenSource, TokenError, TokenSource},
    token_cache::CachedTokenSource,
};

/// Opens connections to one database.
///
/// ```no_run
/// use temporal_dsql_client::{Config, Connector, open_connection};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let connector = Connector::new(&Config::from_env()?, None)?;
/// let connection = open_connection(&connector).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connector {
    engine: Engine,
    options: PgConnectOptions,
    secret: Secret,
    endpoint: Arc<Endpoint>,
    timeout: std::time::Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("engine", &self.engine)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Secret {
    None,
    Password(secrecy::SecretString),
    Token(Arc<dyn TokenSource>),
}

/// The database that a connector connects to, as error messages name it. No secret is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host, an IPv6 address in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a connection could not be opened. No message contains a secret.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration cannot be used, such as a CA file without a certificate.
    #[error("the connection configuration is invalid")]
    Configuration(#[source] Cause),
    /// The host does not answer.
    #[error("cannot reach {endpoint}; check the endpoint, the port and the network")]
    Unreachable {
        /// The database.
        endpoint: Endpoint,
        /// The error of the network.
        #[source]
        source: Cause,
    },
    /// The certificate or the TLS handshake is not what the configuration demands.
    #[error(
        "{endpoint} did not pass TLS verification; check the host name, and the CA file if the \
         certificate is a private one"
    )]
    Tls {
        /// The database.
        endpoint: Endpoint,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The server refused the user.
    #[error(
        "{endpoint} refused user `{}` on database `{}`; check the user, its password or IAM \
         permission, and the clock of this machine",
        .endpoint.user,
        .endpoint.database
    )]
    Refused {
        /// The database.
        endpoint: Endpoint,
        /// The error of the server.
        #[source]
        source: Cause,
    },
    /// The server has no such database.
    #[error("{endpoint} has no database `{}`; check SQL_DATABASE", .endpoint.database)]
    NoDatabase {
        /// The database.
        endpoint: Endpoint,
        /// The error of the server.
        #[source]
        source: Cause,
    },
    /// The server admits no more connections for the moment.
    #[error("{endpoint} admits no more connections for the moment")]
    Busy {
        /// The database.
        endpoint: Endpoint,
        /// The error of the server.
        #[source]
        source: Cause,
    },
    /// No token could be made.
    #[error("cannot make an IAM token for `{user}`")]
    Token {
        /// The user.
        user: String,
        /// The error of the token source.
        #[source]
        source: TokenError,
    },
    /// The server answered with another error.
    #[error("{endpoint} refused the connection")]
    Server {
        /// The database.
        endpoint: Endpoint,
        /// The error of the server.
        #[source]
        source: Cause,
    },
}

impl ConnectError {
    /// Whether the server answered that it admits no connections for the moment.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        const OP: &str = "Connect";
        let cause = Some(Cause::new(error.clone()));
        match error {
            ConnectError::Unreachable { .. }
            | ConnectError::Busy { .. }
            | ConnectError::Token { .. }
            | ConnectError::Server { .. } => {
                Self::Unavailable { op: OP, outcome: Outcome::NotApplied, source: cause }
            }
            ConnectError::Tls { .. } | ConnectError::Refused { .. } => {
                Self::Unauthorized { op: OP, source: cause }
            }
            ConnectError::Configuration(_) => Self::InvalidArgument {
                field: "configuration",
                reason: "cannot be used for a connection".into(),
                source: cause,
            },
            ConnectError::NoDatabase { endpoint, .. } => Self::InvalidArgument {
                field: "database",
                reason: format!("`{}` does not exist on the server", endpoint.database),
                source: cause,
            },
        }
    }
}

impl Connector {
    /// A connector for `config`. `credentials` sign the tokens of DSQL; without them only
    /// PostgreSQL can be reached.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn new(
        config: &Config,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Self, ConfigError> {
        let Target { engine, auth, tls } = checked(config)?;
        let secret = match auth {
            Auth::Trust => Secret::None,
            Auth::Password(password) => Secret::Password(password),
            Auth::Iam { region } => {
                let credentials = credentials.ok_or(ConfigError::MissingCredentials)?;
                let source = IamTokenSource::new(
                    &config.host,
                    region,
                    &config.user,
                    config.token_lifetime,
                    credentials,
                );
                // The other half is the time to connect with the old token.
                let limit = config.connect_timeout / 2;
                Secret::Token(Arc::new(CachedTokenSource::new(source).refresh_within(limit)))
            }
        };
        Ok(Self::with_secret(config, engine, tls, secret))
    }

    /// A connector to DSQL that takes its tokens from `tokens`.
    ///
    /// # Errors
    /// The configuration cannot work, or is not for DSQL.
    pub fn with_tokens(config: &Config, tokens: Arc<dyn TokenSource>) -> Result<Self, ConfigError> {
        let Target { engine, auth, tls } = checked(config)?;
        match auth {
            Auth::Iam { .. } => Ok(Self::with_secret(config, engine, tls, Secret::Token(tokens))),
            Auth::Password(_) | Auth::Trust => {
                Err(ConfigError::MissingRegion { host: config.host.clone() })
            }
        }
    }

    fn with_secret(config: &Config, engine: Engine, tls: TlsMode, secret: Secret) -> Self {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&config.host)
            .port(config.port)
            .username(&config.user)
            .database(&config.database)
            .application_name(&config.application_name)
            .ssl_mode(match tls {
                TlsMode::Disable => PgSslMode::Disable,
                TlsMode::Prefer => PgSslMode::Prefer,
                TlsMode::Require => PgSslMode::Require,
                TlsMode::VerifyFull => PgSslMode::VerifyFull,
            })
            // The store logs operations by name, without the text of their statements.
            .disable_statement_logging();
        // Set in any case, because the driver takes what is not set from variables of libpq.
        options = match &config.tls.ca_file {
            Some(file) => options.ssl_root_cert(file),
            None => options.ssl_root_cert_from_pem(Vec::new()),
        };
        options = options.password("");
        if engine == Engine::Postgres {
            // The isolation of DSQL, for single statements (aurora-dsql.md#transactions).
            options = options.options([("default_transaction_isolation", "repeatable read")]);
        }
        Self {
            engine,
            options,
            secret,
            endpoint: Arc::new(Endpoint {
                host: bracketed(&config.host),
                port: config.port,
                user: config.user.clone(),
                database: config.database.clone(),
            }),
            timeout: config.connect_timeout,
        }
    }

    /// Caches up to `statements` prepared statements on each connection. The driver's default is
    /// 100.
    #[must_use]
    pub fn statement_cache_capacity(mut self, statements: usize) -> Self {
        self.options = self.options.statement_cache_capacity(statements);
        self
    }

    /// The engine that the configuration names or implies.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// The database that the connector connects to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn open(&self) -> Result<PgConnection, ConnectError> {
        let options = match &self.secret {
            Secret::None => self.options.clone(),
            Secret::Password(password) => self.options.clone().password(password.expose_secret()),
            Secret::Token(source) => {
                let user = || self.endpoint.user.clone();
                let token = source.token().await;
                let token = token.map_err(|source| ConnectError::Token { user: user(), source })?;
                self.options.clone().password(token.secret.expose_secret())
            }
        };
        options.connect().await.map_err(|error| self.endpoint.explain(error))
    }
}

/// Opens a connection, within the timeout of the configuration, which includes the time that a token
/// takes. This is a function because [`Connector`] is part of the facade, which has no type of the
/// driver.
///
/// # Errors
/// See [`ConnectError`].
pub async fn open_connection(connector: &Connector) -> Result<PgConnection, ConnectError> {
    let endpoint = &connector.endpoint;
    match tokio::time::timeout(connector.timeout, connector.open()).await {
        Ok(Ok(connection)) => {
            tracing::debug!(host = endpoint.host, user = endpoint.user, "connected");
            Ok(connection)
        }
        Ok(Err(error)) => Err(error),
        Err(elapsed) => {
            let error = std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed);
            Err(endpoint.explain(error.into()))
        }
    }
}

/// A connector that connects with `options` of the driver as they are, without an IAM token. For settings
/// that [`Config`] does not have.
pub fn connector_with(options: PgConnectOptions) -> Connector {
    let host = options.get_host().to_owned();
    let engine = region_of_host(&host).map_or(Engine::Postgres, |_| Engine::Dsql);
    let endpoint = Endpoint {
        host: bracketed(&host),
        port: options.get_port(),
        user: options.get_username().to_owned(),
        database: options.get_database().unwrap_or_default().to_owned(),
    };
    Connector {
        engine,
        options,
        secret: Secret::None,
        endpoint: Arc::new(endpoint),
        timeout: CONNECT_TIMEOUT,
    }
}

/// Refuses the variables that the driver reads from the environment and that its options cannot
/// override. A connection is what its [`Config`] says and nothing else; DSQL refuses most of what
/// `PGOPTIONS` can say (aurora-dsql.md#sessions).
fn check_environment(is_set: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
    match ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"].into_iter().find(|name| is_set(name)) {
        Some(name) => Err(ConfigError::LibpqVariable { name }),
        None => Ok(()),
    }
}

/// What `config` means, after the checks of what the driver reads by itself.
fn checked(config: &Config) -> Result<Target, ConfigError> {
    let target = config.resolve()?;
    check_environment(|name| std::env::var_os(name).is_some())?;
    config.tls.ca_file.as_deref().map_or(Ok(()), check_ca_file)?;
    Ok(target)
}

/// Checks that `file` has a certificate. The driver reads it again for each connection.
fn check_ca_file(file: &Path) -> Result<(), ConfigError> {
    let invalid = |reason| ConfigError::InvalidCaFile { file: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let mut certificates = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|error| invalid(format!("is not valid PEM: {error}")))?;
        certificates += 1;
    }
    match certificates {
        0 if pem.is_empty() => Err(invalid("is empty".to_owned())),
        0 => Err(invalid("has no certificate in PEM form".to_owned())),
        _ => Ok(()),
    }
}

impl Endpoint {
    fn explain(&self, error: sqlx::Error) -> ConnectError {
        let endpoint = self.clone();
        if let Some(class) = classify_error(&error, Phase::Opening) {
            let source = Cause::new(error);
            return match class {
                Class::Unauthenticated | Class::Denied => {
                    ConnectError::Refused { endpoint, source }
                }
                Class::NoDatabase => ConnectError::NoDatabase { endpoint, source },
                Class::Busy => ConnectError::Busy { endpoint, source },
                _ => ConnectError::Server { endpoint, source },
            };
        }
        match error {
            sqlx::Error::Configuration(source) => ConnectError::Configuration(Cause::new(source)),
            sqlx::Error::Tls(source) => ConnectError::Tls { endpoint, source: Cause::new(source) },
            // rustls reports a certificate that it does not trust through std::io.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                ConnectError::Tls { endpoint, source: Cause::new(error) }
            }
            error => ConnectError::Unreachable { endpoint, source: Cause::new(error) },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use aws_credential_types::{Credentials, credential_fn::provide_credentials_fn};
    use tokio::time::Instant;

    use super::*;
    use crate::token::{MockTokenSource, Token};

    struct Silent;

    #[async_trait::async_trait]
    impl TokenSource for Silent {
        async fn token(&self) -> Result<Token, TokenError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_source_that_does_not_answer_counts_against_the_timeout_of_the_connection() {
        let config = Config { password: Some("p".to_owned().into()), ..Config::new("localhost") };
        let mut connector = Connector::new(&config, None).unwrap();
        connector.secret = Secret::Token(std::sync::Arc::new(Silent));
        let refused = open_connection(&connector).await.unwrap_err();
        let ConnectError::Unreachable { source, .. } = refused else { panic!("{refused:?}") };
        let Some(sqlx::Error::Io(error)) = source.get().downcast_ref() else {
            panic!("{source:?}")
        };
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_takes_one_token_and_fails_without_it_before_anything_is_sent() {
        let mut tokens = MockTokenSource::new();
        let failure = || Err(TokenError::Credentials("no profile".into()));
        tokens.expect_token().once().returning(failure);
        let config = Config { region: Some("eu-west-1".into()), ..Config::new("db.invalid") };
        let connector = Connector::with_tokens(&config, Arc::new(tokens)).unwrap();
        let error = open_connection(&connector).await.unwrap_err();
        assert!(matches!(&error, ConnectError::Token { user, .. } if user == "admin"), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_without_an_answer_leaves_time_to_connect_with_the_old_token() {
        let calls = AtomicU32::new(0);
        let credentials = provide_credentials_fn(move || {
            let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                match is_first {
                    true => Ok(Credentials::from_keys("id", "key", None)),
                    false => std::future::pending().await,
                }
            }
        });
        let mut config = Config { region: Some("r".into()), ..Config::new("db.invalid") };
        config.connect_timeout = Duration::from_secs(2);
        let credentials = SharedCredentialsProvider::new(credentials);
        let connector = Connector::new(&config, Some(credentials)).unwrap();
        let Secret::Token(tokens) = &connector.secret else { panic!("no tokens") };
        tokens.token().await.unwrap();
        tokio::time::advance(config.token_lifetime.mul_f64(0.9)).await;
        let start = Instant::now();
        let token = tokio::time::timeout(config.connect_timeout, tokens.token()).await;
        token.expect("in time").expect("the old token");
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[test]
    fn a_ca_file_without_a_certificate_is_refused_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = directory.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        for (file, reason) in [
            (directory.path().join("missing.pem"), "cannot be read: No such file"),
            (directory.path().to_owned(), "cannot be read: Is a directory"),
            (write("empty.pem", ""), "is empty"),
            (write("text.pem", "not a certificate"), "has no certificate"),
            (write("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"), "is not valid PEM"),
        ] {
            let mut config = Config::new("localhost");
            config.tls.ca_file = Some(file.clone());
            let Err(error) = Connector::new(&config, None) else { panic!("{file:?} is taken") };
            let text = error.to_string();
            assert!(text.contains(&file.display().to_string()) && text.contains(reason), "{text}");
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_in_front_of_the_port() {
        let connector = Connector::new(&Config::new("::1"), None).unwrap();
        let error = connector.endpoint().explain(std::io::Error::other("down").into());
        assert!(error.to_string().starts_with("cannot reach [::1]:5432;"), "{error}");
    }

    #[test]
    fn a_variable_that_the_driver_would_read_is_refused_by_its_name() {
        assert_eq!(check_environment(|name| name == "PGPASSWORD"), Ok(()));
        for name in ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
            let refused = check_environment(|set| set == name);
            assert_eq!(refused, Err(ConfigError::LibpqVariable { name }));
        }
    }
}
