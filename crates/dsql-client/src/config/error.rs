//! Errors of a configuration.

use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No host.
    #[error("missing endpoint; set CLUSTER_ENDPOINT (or SQL_HOST) to the host of the cluster")]
    MissingHost,
    /// The endpoint is not a host name alone.
    #[error(
        "endpoint `{host}` {what}; give the host name alone, such as \
         <cluster>.dsql.<region>.on.aws"
    )]
    InvalidHost {
        /// The endpoint, without what is before an `@` in it.
        host: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No region to sign for.
    #[error(
        "the AWS region of `{host}` is not in its name; set REGION or AWS_REGION, or choose the \
         postgres engine"
    )]
    MissingRegion {
        /// The host.
        host: String,
    },
    /// DSQL takes no passwords.
    #[error(
        "a password was given for `{host}`, but Aurora DSQL takes IAM tokens only; unset \
         SQL_PASSWORD, or choose the postgres engine"
    )]
    PasswordOnDsql {
        /// The host.
        host: String,
    },
    /// An IAM token is sent to a verified server only.
    #[error(
        "Aurora DSQL is used with verified TLS only; leave --tls-mode, SQL_TLS_MODE and \
         SQL_TLS_DISABLE_HOST_VERIFICATION out, or set the mode verify-full (SQL_TLS_CA_FILE or \
         --tls-ca-file adds a private authority)"
    )]
    UnverifiedTlsOnDsql,
    /// No credentials to sign with.
    #[error("Aurora DSQL needs IAM tokens, and no AWS credentials provider was given to sign them")]
    MissingCredentials,
    /// A variable of libpq that the driver reads and that its options cannot override.
    #[error("environment variable {name} would change how the database is reached; unset it")]
    LibpqVariable {
        /// The variable.
        name: &'static str,
    },
    /// The value of a variable is wrong.
    #[error("environment variable {name}: {reason}")]
    InvalidVariable {
        /// The variable.
        name: &'static str,
        /// What is wrong and what is allowed. Never the value of a secret.
        reason: String,
    },
    /// A connection URL cannot be read.
    #[error("connection URL {reason}; give postgres://user@host:port/database")]
    InvalidUrl {
        /// What is wrong. Never the password, nor what may be a part of it.
        reason: String,
    },
    /// TLS settings that contradict each other.
    #[error("{0}; unset one of them")]
    ContradictingTls(&'static str),
    /// The file of the certificate authority cannot be used.
    #[error("CA file {} {reason}; give a PEM file with a certificate", file.display())]
    InvalidCaFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Pool settings that contradict each other.
    #[error("pool setting {field} {reason}")]
    InvalidPool {
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
}
