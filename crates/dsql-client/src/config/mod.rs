//! The configuration of a client: the database, authentication, TLS, the pool and retries.
//!
//! [`Config`] is plain data. [`Config::from_env`] reads it from the variables that the Go tool and
//! the Go fork's server use (temporal-persistence.md#commands-and-flags,
//! temporal-persistence.md#environment-variables); [`Config::resolve`] infers what is not set
//! and refuses a configuration that cannot work, before anything is sent.

mod endpoint;
mod env;
mod error;
mod url;
mod variables;
mod write_form;

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;
use temporal_dsql_domain::Engine;
use temporal_dsql_ports::RetryPolicy;

pub(crate) use endpoint::bracketed;
pub use endpoint::region_of_host;
pub use error::ConfigError;
pub use variables::{VARIABLES, Variable};
pub use write_form::WriteForm;

/// The configuration of a client. `Debug` shows no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Host name or address: `<cluster>.dsql.<region>.on.aws` for DSQL.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The database role; `admin` is DSQL's built-in one.
    pub user: String,
    /// The database. DSQL has exactly one, `postgres` (aurora-dsql.md#environment).
    pub database: String,
    /// The engine; inferred if it is not set.
    pub engine: Option<Engine>,
    /// The AWS region that tokens are signed for; by default the region in the host name.
    pub region: Option<String>,
    /// A static password, for PostgreSQL only.
    pub password: Option<SecretString>,
    /// Transport security.
    pub tls: Tls,
    /// The name that the server shows for the connection.
    pub application_name: String,
    /// How long an IAM token is valid. DSQL checks it at connect only (aurora-dsql.md#tokens).
    pub token_lifetime: Duration,
    /// How long opening one connection may take.
    pub connect_timeout: Duration,
    /// How long one statement may take. DSQL refuses `statement_timeout` (aurora-dsql.md#sessions),
    /// so this client stops waiting and closes the connection.
    pub statement_timeout: Duration,
    /// The connection pool.
    pub pool: PoolConfig,
    /// How long conflicts are retried.
    pub retry: RetryPolicy,
    /// The write form.
    pub write_form: WriteForm,
}

/// Values that override environment variables, such as the flags of a command. An empty or blank text
/// counts as no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overrides {
    /// [`Config::host`].
    pub host: Option<String>,
    /// [`Config::port`].
    pub port: Option<u16>,
    /// [`Config::user`].
    pub user: Option<String>,
    /// [`Config::database`].
    pub database: Option<String>,
    /// [`Config::engine`].
    pub engine: Option<Option<Engine>>,
    /// [`Config::region`].
    pub region: Option<String>,
    /// [`Tls::mode`].
    pub tls_mode: Option<TlsMode>,
    /// Whether TLS is demanded: `SQL_TLS`.
    pub tls: Option<bool>,
    /// Whether the host is not verified: `SQL_TLS_DISABLE_HOST_VERIFICATION`.
    pub tls_disable_host_verification: Option<bool>,
    /// [`Tls::ca_file`].
    pub tls_ca_file: Option<PathBuf>,
}

/// Transport security.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// The requirement on the server. By default full verification on DSQL, and TLS if offered on
    /// PostgreSQL.
    pub mode: Option<TlsMode>,
    /// A PEM file with the certificate authority to trust in addition to the public ones.
    pub ca_file: Option<PathBuf>,
}

/// The requirement on the server's transport security, by the names of libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain text. Not possible on DSQL.
    Disable,
    /// TLS if the server offers it, unverified. Not possible on DSQL.
    Prefer,
    /// TLS with any certificate. Not possible on DSQL.
    Require,
    /// TLS with a trusted certificate for the host name.
    VerifyFull,
}

/// The number of connections and their lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// The most connections at a time, those of the reserve included; at most 10,000, which is what
    /// a cluster admits from all clients (aurora-dsql.md#admission).
    pub max_connections: u32,
    /// The least number of open connections, those in use included. A background task replaces
    /// retired ones before a caller needs them, no faster than
    /// [`connection_rate`](Self::connection_rate).
    pub min_connections: u32,
    /// How long a caller waits until a connection is free or the rate limit allows a new one.
    pub acquire_timeout: Duration,
    /// The mean age at which a connection is retired. DSQL closes it at 60 minutes
    /// (aurora-dsql.md#admission).
    pub lifetime: Duration,
    /// Retirement is spread over `lifetime ± lifetime_jitter / 2`.
    pub lifetime_jitter: Duration,
    /// A connection is not handed out in the last moments before its retirement.
    pub guard_window: Duration,
    /// A connection that was idle for longer is checked with one round trip before use. One that was
    /// not used since a statement of the pool timed out is checked as well.
    pub idle_check: Duration,
    /// New connections a second. A cluster admits 100 a second, from all clients
    /// (aurora-dsql.md#admission).
    pub connection_rate: u32,
    /// New connections at once. A cluster admits a burst of 1,000, from all clients.
    pub connection_burst: u32,
}

/// How long opening one connection may take, by default.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of a cluster, from all clients (aurora-dsql.md#admission).
const CLUSTER_CONNECTIONS: u32 = 10_000;
/// DSQL closes a connection at this age (aurora-dsql.md#admission).
const SESSION_LIMIT: Duration = Duration::from_secs(60 * 60);

impl Default for PoolConfig {
    /// The Go fork's numbers, where it has them (temporal-persistence.md#environment-variables).
    fn default() -> Self {
        Self {
            max_connections: 50,
            min_connections: 5,
            acquire_timeout: Duration::from_secs(30),
            lifetime: Duration::from_secs(11 * 60),
            lifetime_jitter: Duration::from_secs(2 * 60),
            guard_window: Duration::from_secs(45),
            idle_check: Duration::from_secs(60),
            connection_rate: 10,
            connection_burst: 100,
        }
    }
}

impl Config {
    /// A configuration for `host` with the defaults of a DSQL cluster.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 5432,
            user: "admin".into(),
            database: "postgres".into(),
            engine: None,
            region: None,
            password: None,
            tls: Tls::default(),
            application_name: "temporal-dsql".into(),
            token_lifetime: Duration::from_secs(900),
            connect_timeout: CONNECT_TIMEOUT,
            statement_timeout: Duration::from_secs(60),
            pool: PoolConfig::default(),
            retry: RetryPolicy::default(),
            write_form: WriteForm::default(),
        }
    }

    /// Infers what is not set: the engine, the authentication and the transport.
    ///
    /// The engine is, in this order: the one that is set; DSQL if the host name is a cluster's;
    /// PostgreSQL if there is a password; DSQL if there is a region to sign for; PostgreSQL.
    ///
    /// # Errors
    /// The configuration contradicts itself or lacks what its engine needs.
    pub fn resolve(&self) -> Result<Target, ConfigError> {
        endpoint::checked_host(&self.host)?;
        self.check_pool()?;
        let host_region = region_of_host(&self.host);
        let engine = self.engine.unwrap_or(match (&host_region, &self.password, &self.region) {
            (Some(_), _, _) => Engine::Dsql,
            (None, Some(_), _) => Engine::Postgres,
            (None, None, Some(_)) => Engine::Dsql,
            (None, None, None) => Engine::Postgres,
        });
        match engine {
            Engine::Postgres => {
                let tls = match (self.tls.mode, &self.tls.ca_file) {
                    (None | Some(TlsMode::VerifyFull), Some(_)) => TlsMode::VerifyFull,
                    (Some(_), Some(_)) => {
                        return Err(ConfigError::ContradictingTls(
                            "a CA file is given (sslrootcert, SQL_TLS_CA_FILE or --tls-ca-file), but \
                             only the TLS mode verify-full checks certificates (sslmode, SQL_TLS_MODE, \
                             --tls-mode, SQL_TLS_DISABLE_HOST_VERIFICATION)",
                        ));
                    }
                    (mode, None) => mode.unwrap_or(TlsMode::Prefer),
                };
                let auth = self.password.clone().map_or(Auth::Trust, Auth::Password);
                Ok(Target { engine, auth, tls })
            }
            Engine::Dsql => {
                if self.password.is_some() {
                    return Err(ConfigError::PasswordOnDsql { host: self.host.clone() });
                }
                let tls = self.tls.mode.unwrap_or(TlsMode::VerifyFull);
                if tls != TlsMode::VerifyFull {
                    return Err(ConfigError::UnverifiedTlsOnDsql);
                }
                let region = self.region.clone().or(host_region);
                let region =
                    region.ok_or_else(|| ConfigError::MissingRegion { host: self.host.clone() })?;
                Ok(Target { engine, auth: Auth::Iam { region }, tls })
            }
        }
    }

    fn check_pool(&self) -> Result<(), ConfigError> {
        let pool = &self.pool;
        let (most, least) = (pool.max_connections, pool.min_connections);
        let half_jitter = pool.lifetime_jitter / 2;
        let latest = pool.lifetime.saturating_add(half_jitter);
        let (field, reason) = if most == 0 || least > most {
            let demand = "it must be at least 1 and at least min_connections";
            ("max_connections", format!("is {most}; {demand} ({least})"))
        } else if most > CLUSTER_CONNECTIONS {
            ("max_connections", format!("is {most}; a cluster has at most {CLUSTER_CONNECTIONS}"))
        } else if pool.connection_rate == 0 || pool.connection_burst == 0 {
            ("connection_rate", "and connection_burst must be at least 1".into())
        } else if latest >= SESSION_LIMIT {
            let limit = "the database closes at 60 minutes";
            ("lifetime", format!("plus half its jitter is {latest:?}; {limit}"))
        } else if half_jitter.saturating_add(pool.guard_window) >= pool.lifetime {
            let demand = "must be longer than half its jitter and the guard window together";
            ("lifetime", demand.into())
        } else {
            return Ok(());
        };
        Err(ConfigError::InvalidPool { field, reason })
    }
}

/// The engine, authentication and transport of a [`Config`], all inferred.
#[derive(Clone, Debug)]
pub struct Target {
    /// The engine.
    pub engine: Engine,
    /// How to authenticate.
    pub auth: Auth,
    /// The transport.
    pub tls: TlsMode,
}

/// How to authenticate. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub enum Auth {
    /// With a token that is signed with AWS credentials for this region.
    Iam {
        /// The region.
        region: String,
    },
    /// With a static password.
    Password(SecretString),
    /// Without a secret: the server trusts the address.
    Trust,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws";

    #[test]
    fn a_cluster_host_means_dsql_with_tokens_for_its_region_and_full_verification() {
        let target = Config::new(CLUSTER).resolve().unwrap();
        assert_eq!(target.engine, Engine::Dsql);
        assert_eq!(target.tls, TlsMode::VerifyFull);
        assert!(matches!(target.auth, Auth::Iam { region } if region == "eu-central-1"));
    }

    #[test]
    fn a_password_means_postgres_and_is_refused_on_dsql() {
        let mut config = Config::new("127.0.0.1");
        config.password = Some("hunter2".into());
        config.region = Some("eu-central-1".into());
        let target = config.resolve().unwrap();
        assert_eq!(target.engine, Engine::Postgres);
        assert!(matches!(target.auth, Auth::Password(_)));
        config.host = CLUSTER.into();
        let error = config.resolve().unwrap_err();
        assert_eq!(error, ConfigError::PasswordOnDsql { host: CLUSTER.into() });
    }

    #[test]
    fn a_region_without_a_password_means_dsql_wherever_it_runs() {
        let mut config = Config::new("localhost");
        config.region = Some("us-east-1".into());
        assert_eq!(config.resolve().unwrap().engine, Engine::Dsql);
        config.engine = Some(Engine::Postgres);
        assert_eq!(config.resolve().unwrap().engine, Engine::Postgres);
    }

    #[test]
    fn dsql_without_a_region_or_without_verified_tls_is_refused() {
        let mut config = Config::new("localhost");
        config.engine = Some(Engine::Dsql);
        assert!(matches!(config.resolve(), Err(ConfigError::MissingRegion { .. })));
        config.region = Some("us-east-1".into());
        for mode in [TlsMode::Disable, TlsMode::Prefer, TlsMode::Require] {
            config.tls.mode = Some(mode);
            assert_eq!(config.resolve().unwrap_err(), ConfigError::UnverifiedTlsOnDsql);
        }
    }

    #[test]
    fn a_ca_file_that_the_mode_does_not_use_is_refused() {
        let mut config = Config::new("127.0.0.1");
        config.tls.ca_file = Some("ca.pem".into());
        assert_eq!(config.resolve().unwrap().tls, TlsMode::VerifyFull);
        for mode in [TlsMode::Disable, TlsMode::Prefer, TlsMode::Require] {
            config.tls.mode = Some(mode);
            let error = config.resolve().unwrap_err();
            assert!(matches!(error, ConfigError::ContradictingTls(_)), "{error}");
            assert!(error.to_string().contains("sslrootcert"), "{error}");
        }
    }

    #[test]
    fn debug_output_shows_no_password() {
        let mut config = Config::new("127.0.0.1");
        config.password = Some("hunter2".into());
        let shown = format!("{config:?} {:?}", config.resolve().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_pool_lifetime_beyond_sixty_minutes_is_refused() {
        let mut config = Config::new(CLUSTER);
        config.pool.lifetime = Duration::from_secs(59 * 60 + 30);
        let error = config.resolve().unwrap_err();
        assert!(error.to_string().contains("60 minutes"), "{error}");
        config.pool.lifetime = Duration::from_secs(60);
        assert!(config.resolve().is_err(), "the guard window would swallow the whole life");
    }
}
