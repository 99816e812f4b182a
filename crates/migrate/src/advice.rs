//! What to do about a failure: one table, from causes to advice. Errors of commands end with it, and
//! `doctor` prints it below a failed check.

use std::fmt;

use temporal_dsql_domain::{Engine, SchemaVersion};

/// What to do about a failure, by its cause. `Display` is the advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The name of the host has no address.
    NoAddress,
    /// No address of the host accepts.
    Unreachable,
    /// Something else than a database answers, or nothing does.
    OtherProtocol,
    /// The server offers no TLS.
    NoTls,
    /// TLS fails before the certificate is known.
    TlsHandshakeFailed,
    /// The authority of the certificate is not trusted.
    UntrustedIssuer,
    /// The certificate is for other names.
    CertificateForOtherName,
    /// The certificate is not valid at this time.
    CertificateNotValidNow,
    /// The certificate is refused for another reason.
    CertificateRefused,
    /// The server did not get its name, because the endpoint is an address.
    NoServerName,
    /// There are no AWS credentials.
    NoCredentials,
    /// The AWS credentials have expired.
    ExpiredCredentials,
    /// The clocks of the server and of this machine differ.
    Clock,
    /// The server does not accept the IAM token.
    Token,
    /// The server does not accept the password.
    Password,
    /// There is no such database.
    NoDatabase,
    /// The configuration names another engine than that of the server.
    OtherEngine(Engine),
    /// The role can use no schema.
    NoSchema {
        /// The role.
        user: String,
    },
    /// The tables are in another schema than the one that the role works in.
    OtherSchema {
        /// The role.
        user: String,
        /// The schema with the version tables.
        schema: String,
    },
    /// The role has reached its number of connections.
    ConnectionsOfRole,
    /// The database has reached its number of connections.
    ConnectionsOfDatabase,
    /// The server has reached its number of connections.
    ConnectionsOfServer,
    /// The server admits connections at a lower rate.
    ConnectionRate,
    /// The server starts, or wakes up.
    Starting,
    /// The role lacks a privilege on its schema.
    SchemaPrivilege,
    /// The role does not own an object.
    Ownership,
    /// The role lacks another privilege.
    Privilege {
        /// The object, such as `table executions`, if the server names it.
        on: Option<String>,
    },
    /// A policy hides rows of a table from the role.
    RowSecurity,
    /// The server, or the session, is read-only.
    ReadOnly,
    /// Another session holds a lock.
    Locked,
    /// The server cancelled a statement after its own time limit.
    StatementTimeout,
    /// A failure that may pass.
    TransientFailure,
    /// The server refuses the statements that `DSQL_WRITE_FORM` demands.
    WriteForm,
    /// No version is recorded for the logical name.
    NotRecorded {
        /// The names with a recorded version.
        others: Vec<String>,
    },
    /// The recorded version is malformed.
    Malformed {
        /// The version that can be adopted.
        adoptable: Option<SchemaVersion>,
        /// The logical name, if it is another than that of the command.
        other: Option<String>,
    },
    /// The recorded version is newer than the schema.
    Newer {
        /// The version that can be adopted.
        adoptable: Option<SchemaVersion>,
        /// The logical name, if it is another than that of the command.
        other: Option<String>,
    },
    /// The version tables lack a column.
    VersionTables,
    /// An object differs.
    DifferentObjects,
    /// An object differs in a compatible way, and a step works on it.
    CompatibleObjects,
    /// The database has an older version.
    Outdated {
        /// The newest version.
        newest: SchemaVersion,
    },
    /// The database differs from its recorded version.
    Differences,
    /// The database differs from its recorded version in a way that commands and stores take.
    CompatibleDifferences,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => {
                "check the endpoint (--endpoint or CLUSTER_ENDPOINT) and the DNS server of this \
                 machine; a cluster behind a private endpoint has a name in its VPC only"
            }
            Self::Unreachable => {
                "check the endpoint, the port (--port or SQL_PORT; a cluster's is 5432), the security \
                 groups and firewalls between this machine and the server, and that the server runs"
            }
            Self::OtherProtocol => {
                "check that the host and the port are those of the database, and that no proxy is \
                 between"
            }
            Self::NoTls => {
                "turn on TLS at the server, or give a weaker --tls-mode and no CA file for a PostgreSQL \
                 server"
            }
            Self::TlsHandshakeFailed => "the server must offer TLS 1.2 or 1.3; check what is between",
            // aurora-dsql.md#connections
            Self::NoServerName => {
                "give the host name of the cluster as the endpoint, not its address: the name is part \
                 of the TLS handshake"
            }
            Self::UntrustedIssuer => {
                "give the certificate authority of the server with --tls-ca-file or SQL_TLS_CA_FILE; \
                 the public ones are built in"
            }
            Self::CertificateForOtherName => "connect by a host name that is in the certificate",
            Self::CertificateNotValidNow => {
                "renew the certificate of the server, or set the clock of this machine"
            }
            Self::CertificateRefused => "the server needs another certificate; check what is between",
            Self::NoCredentials => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, log in (`aws sso \
                 login`), or give the task or the instance a role"
            }
            Self::ExpiredCredentials => "log in again, or renew them",
            Self::Clock => {
                "synchronise the clock of this machine by NTP (chrony, systemd-timesyncd)"
            }
            Self::Token => {
                "check the role (--user), the region, the clock, and that the credentials may do \
                 dsql:DbConnectAdmin (role admin) or dsql:DbConnect (other roles, after AWS IAM GRANT)"
            }
            Self::Password => "check SQL_USER, SQL_PASSWORD and the pg_hba.conf of the server",
            Self::NoDatabase => "check --database or SQL_DATABASE",
            Self::OtherEngine(engine) => {
                return write!(f, "give --engine {engine} or DSQL_ENGINE={engine}");
            }
            Self::NoSchema { user } => {
                return write!(
                    f,
                    "create one (CREATE SCHEMA {user} AUTHORIZATION {user}), or grant USAGE on one \
                     and set the role's search_path"
                );
            }
            Self::OtherSchema { user, schema } => {
                return write!(
                    f,
                    "version tables are in schema {schema}: to use them, run `ALTER ROLE {user} SET \
                     search_path = {schema}`; to set up the schema that the role works in, run \
                     `temporal-dsql-tool setup-schema`"
                );
            }
            Self::ConnectionsOfRole => {
                "close connections of the role, or raise its limit (ALTER ROLE … CONNECTION LIMIT)"
            }
            Self::ConnectionsOfDatabase => {
                "close connections to the database, or raise its limit (ALTER DATABASE … CONNECTION \
                 LIMIT)"
            }
            Self::ConnectionsOfServer => {
                "close connections of other clients, lower DSQL_MAX_CONNECTIONS, or raise \
                 max_connections of the server"
            }
            Self::ConnectionRate => {
                "run the command again; if it lasts, lower DSQL_CONNECTION_RATE_LIMIT of the services"
            }
            Self::Starting => "wait until the server has started, and run the command again",
            Self::SchemaPrivilege => {
                "grant it CREATE and USAGE on the schema; on DSQL only `admin` may create in \
                 `public`, any other role needs a schema of its own"
            }
            Self::Ownership => "run the command as the owner",
            Self::Privilege { on: None } => "grant it, or run the command as a role that has it",
            Self::Privilege { on: Some(object) } => {
                return write!(
                    f,
                    "grant it SELECT, INSERT, UPDATE and DELETE on {object}, or run the command as a \
                     role that has them"
                );
            }
            Self::RowSecurity => {
                "use a role that sees all rows: one with BYPASSRLS, or the owner of the tables"
            }
            Self::ReadOnly => {
                "connect to a server that accepts writes, not to a replica, and unset \
                 default_transaction_read_only of the role, the database and the server"
            }
            Self::Locked => {
                "wait until that session ends its transaction, or end it (SELECT \
                 pg_terminate_backend(…)), and run the command again"
            }
            Self::StatementTimeout => {
                "raise or unset statement_timeout of the role, the database and the server"
            }
            Self::TransientFailure => "run the command again; if it fails again, check the network",
            Self::WriteForm => "unset DSQL_WRITE_FORM, or set it to statement-per-table",
            Self::NotRecorded { others } if others.is_empty() => "run `setup-schema` first",
            Self::NotRecorded { .. } => {
                "give one of these names with `--logical-database` or SQL_LOGICAL_DATABASE; to record \
                 another name for the same tables, run `update-schema` with the recorded name, and \
                 then `setup-schema` with the other"
            }
            Self::Malformed { adoptable, other } => {
                f.write_str("correct it in table schema_version")?;
                return adoptable
                    .map_or(Ok(()), |version| write!(f, ", or {}", adoption(version, other.as_ref())));
            }
            Self::Newer { adoptable: None, .. } => {
                "if it is a version of your own, give its files with `--schema-dir`; if a release has \
                 made it, use the tool of that release; if not, `adopt-schema` lists the differences \
                 from the known versions"
            }
            Self::Newer { adoptable: Some(version), other } => {
                return write!(
                    f,
                    "{}; but if it is a version of your own, give its files with `--schema-dir`, and \
                     if a newer release has made it, use the tool of that release",
                    adoption(*version, other.as_ref())
                );
            }
            Self::VersionTables => {
                "they are those of another tool: drop both version tables, which have no other rows, \
                 and run `adopt-schema`"
            }
            Self::DifferentObjects => {
                "make them equal to the schema, or rename or drop them, and run the command again"
            }
            Self::CompatibleObjects => "make them equal to the schema, and run the command again",
            Self::Outdated { newest } => {
                return write!(f, "run `temporal-dsql-tool update-schema` to bring it to {newest}");
            }
            Self::Differences => "`temporal-dsql-tool verify` lists them all",
            Self::CompatibleDifferences => {
                "commands go on with it, and stores take it; `temporal-dsql-tool verify` lists all \
                 differences"
            }
        })
    }
}

impl Advice {
    /// The advice about an error of a server.
    pub fn on_server_error(sqlstate: &str, message: &str) -> Option<Self> {
        let says = |text: &str| message.contains(text);
        Some(match sqlstate {
            "42501" if says("for schema") => Self::SchemaPrivilege,
            "42501" if says("row-level security") => Self::RowSecurity,
            "42501" if says("must be owner") => Self::Ownership,
            "42501" => {
                let object = message.strip_prefix("permission denied for ");
                let object = object.filter(|object| object.starts_with("table "));
                Self::Privilege { on: object.map(str::to_owned) }
            }
            "25006" => Self::ReadOnly,
            "53300" if says("for role") => Self::ConnectionsOfRole,
            "53300" if says("for database") => Self::ConnectionsOfDatabase,
            "53300" => Self::ConnectionsOfServer,
            "53400" => Self::ConnectionRate,
            "57P03" => Self::Starting,
            "55P03" => Self::Locked,
            "57014" if says("statement timeout") => Self::StatementTimeout,
            "3D000" => Self::NoDatabase,
            // aurora-dsql.md#connections
            "08006" | "08P01" if says("sni was not received") => Self::NoServerName,
            "08006" if says("access denied") => Self::Token,
            _ if sqlstate.starts_with("28") => Self::Password,
            _ if says("waking up cluster") => Self::Starting,
            _ => return None,
        })
    }

    /// The advice about a connection without TLS, or with a certificate that is not trusted. `reason`
    /// is the text of the error.
    pub fn on_tls_error(reason: &str) -> Self {
        let says = |text: &str| reason.contains(text);
        // An authority with the name of the issuer and another key is one that was made again.
        if says("UnknownIssuer") || says("BadSignature") || says("CA file") {
            Self::UntrustedIssuer
        } else if says("not valid for name") || says("NotValidForName") {
            Self::CertificateForOtherName
        } else if says("expired") || says("Expired") || says("not valid yet") {
            Self::CertificateNotValidNow
        } else if says("does not support TLS") || says("offers no TLS") {
            Self::NoTls
        } else if says("invalid peer certificate") {
            Self::CertificateRefused
        } else {
            Self::TlsHandshakeFailed
        }
    }
}

impl Advice {
    /// `message`, which has this advice, with the advice about the source of an import in its place: a
    /// URL names the source, and an import only reads it.
    ///
    /// ```
    /// use temporal_dsql_migrate::Advice;
    ///
    /// let message = format!("there is no database `t`; {}", Advice::NoDatabase);
    /// assert_eq!(
    ///     Advice::NoDatabase.for_source(&message),
    ///     "there is no database `t`; check the database in --from or SQL_SOURCE_URL"
    /// );
    /// ```
    pub fn for_source(&self, message: &str) -> String {
        message.replacen(&self.to_string(), &self.about_source(), 1)
    }

    fn about_source(&self) -> String {
        const URL: &str = "--from or SQL_SOURCE_URL";
        match self {
            Self::Unreachable => format!(
                "check the host and the port in {URL}, the firewalls between this machine and the \
                 server, and that the server runs"
            ),
            Self::NoTls => {
                format!(
                    "turn on TLS at the server, or give a weaker ?sslmode= in {URL} and no sslrootcert"
                )
            }
            Self::UntrustedIssuer => format!(
                "give the certificate authority of the server with ?sslrootcert= in {URL}; the public \
                 ones are built in"
            ),
            Self::Password => format!(
                "check the user in {URL}, SQL_SOURCE_PASSWORD and the pg_hba.conf of the server"
            ),
            Self::NoDatabase => format!("check the database in {URL}"),
            Self::NoSchema { .. } => {
                "grant it USAGE on the schema of Temporal's tables, and set its \
                                      search_path to that schema"
                    .to_owned()
            }
            Self::SchemaPrivilege => "grant it USAGE on the schema".to_owned(),
            Self::ConnectionsOfServer => {
                "close connections of other clients, lower --jobs, or raise \
                                          max_connections of the server"
                    .to_owned()
            }
            // The fence changes this table.
            Self::Privilege { on: Some(object) } if object == "table shards" => format!(
                "grant it SELECT on {object}, and UPDATE, too, for fence-source and unfence-source"
            ),
            Self::Privilege { on: Some(object) } => format!("grant it SELECT on {object}"),
            other => other.to_string(),
        }
    }
}

/// What to do if the database has exactly the tables of `version`, for the logical name of the command
/// or for `other`.
pub(crate) fn adoption(version: SchemaVersion, other: Option<&String>) -> String {
    let name = other.map_or_else(String::new, |name| format!(" --logical-database {name}"));
    format!("run `adopt-schema{name}` to record {version}, whose tables the database has exactly")
}

/// `advice` at the end of a message.
pub(crate) fn then(advice: Option<Advice>) -> String {
    advice.map_or_else(String::new, |advice| format!("; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_about_a_source_names_its_url_and_no_setting_of_the_target() {
        let on = |object: &str| Advice::Privilege { on: Some(object.to_owned()) };
        for (advice, part) in [
            (Advice::Unreachable, "the port in --from or SQL_SOURCE_URL"),
            (Advice::NoTls, "?sslmode= in --from or SQL_SOURCE_URL"),
            (Advice::UntrustedIssuer, "?sslrootcert= in --from or SQL_SOURCE_URL"),
            (Advice::Password, "SQL_SOURCE_PASSWORD"),
            (Advice::NoDatabase, "the database in --from or SQL_SOURCE_URL"),
            (Advice::NoSchema { user: "u".to_owned() }, "USAGE on the schema of Temporal's tables"),
            (Advice::SchemaPrivilege, "grant it USAGE on the schema"),
            (Advice::ConnectionsOfServer, "lower --jobs"),
            (on("table tasks"), "grant it SELECT on table tasks"),
            (
                on("table shards"),
                "grant it SELECT on table shards, and UPDATE, too, for fence-source",
            ),
            (Advice::Locked, "wait until that session ends"),
        ] {
            let message = advice.for_source(&format!("it failed; {advice}"));
            let expected = message.starts_with("it failed; ") && message.contains(part);
            assert!(expected, "{advice:?}: {message}");
            for of_target in ["--port", "SQL_PORT", "SQL_USER", "SQL_PASSWORD", "--database"] {
                assert!(!message.contains(of_target), "{message}");
            }
            for of_target in ["SQL_DATABASE", "--tls-", "INSERT", "CREATE", "DSQL"] {
                assert!(!message.contains(of_target), "{message}");
            }
        }
    }
}
