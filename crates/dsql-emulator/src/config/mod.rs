//! The configuration of an emulator. What can change while it runs is in [`crate::Faults`].

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

/// DSQL's configurable limits (aurora-dsql.md#limits, aurora-dsql.md#admission). Those of values,
/// rows, keys and objects are fixed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Rows that a transaction may insert, update and delete: 3,000.
    pub transaction_rows: u64,
    /// Bytes that a transaction may write, checked at COMMIT: 10 MiB.
    pub transaction_bytes: u64,
    /// Maximum age of a transaction, checked at COMMIT: 300 s.
    pub transaction_age: Duration,
    /// Open connections: 10,000. PostgreSQL has its own limit, `max_connections`.
    pub connections: usize,
    /// New connections per second, on average: 100.
    pub connection_rate: f64,
    /// New connections at once: 1,000.
    pub connection_burst: f64,
    /// Maximum age of a connection: 60 minutes. An open transaction may still finish, within the
    /// maximum age of a transaction.
    pub session_age: Duration,
    /// Bytes of a message from a client: 10 MiB. A longer message closes the connection.
    pub message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            transaction_rows: 3_000,
            transaction_bytes: 10 * MIB as u64,
            transaction_age: Duration::from_secs(300),
            connections: 10_000,
            connection_rate: 100.0,
            connection_burst: 1_000.0,
            session_age: Duration::from_secs(60 * 60),
            message_bytes: 10 * MIB,
        }
    }
}

/// When a session gets a conflict because another session has changed the catalog
/// (aurora-dsql.md#transient-failures).
///
/// The conflict is `40001` with `(OC001)`, at the session's next statement or COMMIT, once for all
/// changes since the last one. SET, SHOW, RESET and a transaction of only those do not fail. On a
/// cluster it depends on time and chance whether a session gets one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum CatalogConflicts {
    /// No session gets a conflict.
    Off,
    /// A session gets a conflict if the newest change is younger than this. The default is half a
    /// second.
    Within(Duration),
    /// Every session gets a conflict, regardless of the age of the change: the strictest setting.
    Always,
    /// As with `Always`, but with this probability, from 0 to 1.
    WithProbability(f64),
}

impl Default for CatalogConflicts {
    fn default() -> Self {
        Self::Within(Duration::from_millis(500))
    }
}

/// Statements for which no source records DSQL's behaviour, so that clients can be tested both
/// ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unrecorded {
    /// INSERT, UPDATE or DELETE inside of a WITH clause.
    pub(crate) data_modifying_with: bool,
    /// A locking clause in a subquery or a WITH clause. "Any query shape" is permitted since
    /// 2026-08-24 (aurora-dsql.md#locks) [D]; before, clusters refused it.
    pub(crate) locking_subqueries: bool,
}

impl Default for Unrecorded {
    fn default() -> Self {
        Self { data_modifying_with: true, locking_subqueries: true }
    }
}

/// How long asynchronous jobs take (aurora-dsql.md#jobs). On a cluster it is 5 to 30 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobDelays {
    /// From `submitted` to `processing`.
    pub start: Duration,
    /// From `processing` to the end.
    pub work: Duration,
    /// How long the row of a finished job is shown in `sys.jobs`: 30 minutes.
    pub kept: Duration,
}

impl Default for JobDelays {
    fn default() -> Self {
        Self {
            start: Duration::from_millis(50),
            work: Duration::from_millis(250),
            kept: Duration::from_secs(30 * 60),
        }
    }
}

/// AWS credentials for tests. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

impl Credentials {
    /// Credentials that do not expire.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token: None,
        }
    }
}

impl Default for Credentials {
    /// The credentials of AWS's published examples, which secret scanners ignore.
    fn default() -> Self {
        Self::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// The PostgreSQL server behind the emulator.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A server that all emulators of this process share, each with a database of its own. The
    /// first starts it and the last stops it.
    #[default]
    Shared,
    /// A server that is started for this emulator.
    Own,
    /// A running server, by the URL of a superuser. The emulator creates a database and drops it.
    Url(String),
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may have a password.
        f.write_str(match self {
            Self::Shared => "Shared",
            Self::Own => "Own",
            Self::Url(_) => "Url",
        })
    }
}

/// The configuration of an emulator.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: IpAddr,
    pub(crate) port: u16,
    pub(crate) control_port: u16,
    pub(crate) hosts: Vec<String>,
    pub(crate) region: String,
    pub(crate) credentials: Credentials,
    /// The IAM identity of the credentials, for `AWS IAM GRANT`.
    pub(crate) arn: String,
    /// The file to write the certificate authority to; by default in a temporary folder.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) backend: Backend,
    pub(crate) limits: Limits,
    pub(crate) jobs: JobDelays,
    pub(crate) catalog_conflicts: CatalogConflicts,
    pub(crate) unrecorded: Unrecorded,
    pub(crate) latency: crate::Latency,
    pub(crate) seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            control_port: 0,
            hosts: vec!["localhost".into()],
            region: "us-east-1".into(),
            credentials: Credentials::default(),
            arn: "arn:aws:iam::123456789012:role/dsql-emulator".into(),
            ca_file: None,
            backend: Backend::default(),
            limits: Limits::default(),
            jobs: JobDelays::default(),
            catalog_conflicts: CatalogConflicts::default(),
            unrecorded: Unrecorded::default(),
            latency: crate::Latency::default(),
            seed: 0,
        }
    }
}

/// A setting with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The name of the setting.
    pub setting: &'static str,
    /// Why the value is invalid.
    pub reason: String,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let invalid =
            |setting, reason: &str| Err(ConfigError { setting, reason: reason.to_owned() });
        if self.hosts.is_empty() {
            return invalid("host", "at least one name is needed, for the certificate and for SNI");
        }
        for host in &self.hosts {
            let permitted = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
            if host.is_empty() || !host.chars().all(permitted) || host.parse::<IpAddr>().is_ok() {
                return Err(ConfigError {
                    setting: "host",
                    reason: format!(
                        "`{host}` is not a host name; clients connect by name, because DSQL \
                         requires SNI"
                    ),
                });
            }
        }
        if self.region.is_empty() || !self.region.is_ascii() || self.region.contains([' ', '/']) {
            return invalid("region", "it is not the name of a region");
        }
        let credentials = &self.credentials;
        if credentials.access_key_id.is_empty() || credentials.secret_access_key.is_empty() {
            return invalid("credentials", "access key id and secret access key must not be empty");
        }
        if let CatalogConflicts::WithProbability(p) = self.catalog_conflicts
            && !(0.0..=1.0).contains(&p)
        {
            return invalid("catalog conflicts", "the probability is not between 0 and 1");
        }
        let limits = &self.limits;
        if !(limits.connection_rate > 0.0 && limits.connection_burst >= 1.0) {
            return invalid("limits", "connection rate must be above 0, and burst at least 1");
        }
        if limits.connections == 0 || limits.message_bytes < 1_024 {
            return invalid(
                "limits",
                "at least one connection and messages of 1,024 bytes must be possible",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let invalid = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err().setting
        };
        assert_eq!(invalid(|c| c.hosts.clear()), "host");
        assert_eq!(invalid(|c| c.hosts.push("127.0.0.1".into())), "host");
        assert_eq!(invalid(|c| c.hosts.push("a b".into())), "host");
        assert_eq!(invalid(|c| c.region = String::new()), "region");
        assert_eq!(invalid(|c| c.credentials.access_key_id.clear()), "credentials");
        let p = |c: &mut Config| c.catalog_conflicts = CatalogConflicts::WithProbability(f64::NAN);
        assert_eq!(invalid(p), "catalog conflicts");
        assert_eq!(invalid(|c| c.limits.connection_rate = 0.0), "limits");
        assert_eq!(invalid(|c| c.limits.connections = 0), "limits");
    }

    #[test]
    fn debug_shows_no_secret() {
        let backend = Backend::Url("postgres://u:hunter2@h/d".into());
        let shown = format!("{:?}", Config { backend, ..Config::default() });
        assert!(!shown.contains("wJalr") && !shown.contains("hunter2"), "{shown}");
    }
}
