//! The database port of a migration, and its errors.
//!
//! Every method is one transaction. No method retries: the layer above the port reads the catalog and
//! decides, so that the rules are the same for every database and can be tested without one.

use std::fmt;

use async_trait::async_trait;
use serde::Serialize;
use temporal_dsql_client::ErrorChain;
use temporal_dsql_domain::Engine;

use crate::{
    Advice,
    advice::then,
    objects::{Access, Catalog, ColumnDefinition, Dependent, Scope, Seed},
    schema::Statement,
    version_tables::{VersionChange, VersionRow},
};

/// A database whose schema can be read and changed.
///
/// All names refer to objects of one schema: the one in which the connection creates objects.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait SchemaDatabase: Send {
    /// The kind of server.
    fn engine(&self) -> Engine;

    /// The schema of these objects: `public`, or that of a custom role (aurora-dsql.md#connections).
    fn schema(&self) -> &str;

    /// Reads `scope` of the catalog in one snapshot.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn catalog(&mut self, scope: &Scope) -> Result<Catalog, DatabaseError>;

    /// The objects that are not part of `relations` and keep the server from dropping them: each once
    /// and in an order in which they can be dropped. `None` if the server does not show them, for lack
    /// of a catalog or of a privilege.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn dependents(
        &mut self,
        relations: &[String],
    ) -> Result<Option<Vec<Dependent>>, DatabaseError>;

    /// What the role may do in the schema and with `relations`, and the types with these names. `None`
    /// if the server does not show that.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn access(&mut self, relations: &[String]) -> Result<Option<Access>, DatabaseError>;

    /// Executes one statement in its own transaction. For an asynchronous index, returns the id of
    /// the job that builds it.
    ///
    /// # Errors
    /// Those of the connection and the server. Unless the server refused, the statement may be in
    /// effect.
    async fn execute(&mut self, statement: &Statement) -> Result<Option<String>, DatabaseError>;

    /// The jobs that build or built the index with the object id `oid`, the latest first. If there is
    /// none, the jobs of indexes called `index`, which may have been dropped. DSQL deletes a job 30
    /// minutes after its end (aurora-dsql.md#jobs); PostgreSQL has no jobs.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn index_jobs(&mut self, index: &str, oid: u32) -> Result<Vec<Job>, DatabaseError>;

    /// All rows of `schema_version`, ordered by name. Empty if the table does not exist; every other
    /// failure is an error (temporal-persistence.md#t1).
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn version_rows(&mut self) -> Result<Vec<VersionRow>, DatabaseError>;

    /// Writes the version rows and the history row of `change` in one transaction, if the recorded
    /// versions equal those of [`VersionChange::rows`]. Returns whether it did.
    ///
    /// # Errors
    /// Those of the connection and the server. Unless the server refused, the change may be in
    /// effect.
    async fn record_version(&mut self, change: &VersionChange) -> Result<bool, DatabaseError>;

    /// The number of rows of `table`, counted up to `most`.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn count_rows(&mut self, table: &str, most: u32) -> Result<u32, DatabaseError>;

    /// Whether every row of `seed` exists, identified by the columns `key` of the primary key.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn has_seed(&mut self, seed: &Seed, key: &[String]) -> Result<bool, DatabaseError>;

    /// At most `limit` rows of a table in key order, after the row with the key `after`.
    ///
    /// # Errors
    /// Those of the connection and the server.
    // The mock of this trait needs the named lifetime.
    async fn page<'k>(
        &mut self,
        scan: &Scan,
        after: Option<&'k [String]>,
        limit: usize,
    ) -> Result<Vec<Row>, DatabaseError>;
}

/// A table scan with [`SchemaDatabase::page`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The table.
    pub table: String,
    /// The columns to read.
    pub columns: Vec<String>,
    /// The columns of the primary key.
    pub key: Vec<ColumnDefinition>,
}

/// The values of a row as text, in the order of [`Scan::columns`]; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// A job that builds an index in the background (aurora-dsql.md#jobs).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Its status.
    pub status: JobStatus,
    /// The details that the server reports.
    pub details: String,
}

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Waiting to start.
    Submitted,
    /// Running.
    Processing,
    /// Ended successfully.
    Completed,
    /// Failed or cancelled.
    Failed,
}

impl JobStatus {
    /// Whether it has not ended.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Submitted | Self::Processing)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Submitted => "submitted",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        })
    }
}

/// An error response of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// The SQLSTATE.
    pub sqlstate: String,
    /// The message.
    pub message: String,
    /// The detail, if there is one.
    pub detail: Option<String>,
    /// The hint, if there is one.
    pub hint: Option<String>,
    /// The constraint that was violated, if one was.
    pub constraint: Option<String>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)?;
        if let Some(detail) = &self.detail {
            write!(f, "; {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl ServerError {
    fn advice(&self) -> Option<Advice> {
        Advice::on_server_error(&self.sqlstate, &self.message)
    }
}

/// The error of a driver or of a credentials provider.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to a database failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The transaction lost a conflict and was not applied. Common around DDL
    /// (aurora-dsql.md#transient-failures).
    #[error("conflict with another transaction: {0}")]
    Conflict(Box<ServerError>),

    /// The server accepts no more connections now, or is starting. Nothing was applied.
    #[error("the server is busy: {}{}", .0, then(.0.advice()))]
    Busy(Box<ServerError>),

    /// The connection broke, or the server had an internal error. The statement may be in effect.
    #[error("the connection to {host}:{port} broke")]
    Lost {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The cause.
        #[source]
        source: BoxError,
    },

    /// The server refused a statement.
    #[error("the server refused: {}{}", .0, then(.0.advice()))]
    Refused(Box<ServerError>),

    /// The role lacks a privilege.
    #[error("the role `{user}` lacks a privilege: {server}{}", then(server.advice()))]
    Denied {
        /// The role.
        user: String,
        /// The error of the server, which names the object.
        server: Box<ServerError>,
    },

    /// No connection could be made.
    #[error("cannot reach {host}:{port}: {}; {}", ErrorChain(&**source), Advice::Unreachable)]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The cause.
        #[source]
        source: BoxError,
    },

    /// The TLS handshake failed.
    #[error(
        "cannot make a TLS connection to {host}:{port}: {}; {}",
        ErrorChain(&**source),
        Advice::on_tls_error(&source.to_string())
    )]
    Tls {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The cause.
        #[source]
        source: BoxError,
    },

    /// The connection configuration is invalid.
    #[error("the connection configuration is invalid")]
    Configuration(#[source] BoxError),

    /// The server did not accept the credentials.
    #[error(
        "{host}:{port} refused the login of `{user}`: {server}; {}",
        server.advice().unwrap_or(Advice::Password)
    )]
    Authentication {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The role.
        user: String,
        /// The error of the server.
        server: Box<ServerError>,
    },

    /// The credentials provider failed.
    #[error(
        "cannot get credentials for `{user}` at {host}:{port}: {}; {}",
        ErrorChain(&**source),
        Advice::NoCredentials
    )]
    Credentials {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The role.
        user: String,
        /// The cause.
        #[source]
        source: BoxError,
    },

    /// The database does not exist.
    #[error("there is no database `{database}` at {host}:{port}; {}", Advice::NoDatabase)]
    NoDatabase {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The database.
        database: String,
    },

    /// The role can use no schema.
    #[error(
        "the role `{user}` has no schema to work in; {}",
        Advice::NoSchema { user: user.clone() }
    )]
    NoSchema {
        /// The role.
        user: String,
    },

    /// The driver failed, for example to decode a response.
    #[error("the response of the server cannot be read")]
    Driver(#[source] BoxError),
}

impl DatabaseError {
    /// What to do about it. It is a part of the message.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Self::Busy(server) | Self::Refused(server) | Self::Denied { server, .. } => {
                server.advice()
            }
            Self::Authentication { server, .. } => server.advice().or(Some(Advice::Password)),
            Self::Unreachable { .. } => Some(Advice::Unreachable),
            Self::Tls { source, .. } => Some(Advice::on_tls_error(&source.to_string())),
            Self::Credentials { .. } => Some(Advice::NoCredentials),
            Self::NoDatabase { .. } => Some(Advice::NoDatabase),
            Self::NoSchema { user } => Some(Advice::NoSchema { user: user.clone() }),
            Self::Conflict(_) | Self::Lost { .. } | Self::Configuration(_) | Self::Driver(_) => {
                None
            }
        }
    }

    /// Whether a retry of the call may succeed, on the same or on a new connection.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Busy(_) | Self::Lost { .. })
    }

    /// Whether the object or row already exists: a concurrent run was faster, or another object has
    /// the name. The catalog shows which.
    pub fn is_duplicate(&self) -> bool {
        let Self::Refused(server) = self else {
            return false;
        };
        match server.sqlstate.as_str() {
            // Duplicate table. A duplicate object, 42710, is a type: no run makes one, except with its
            // table, which the next probe shows.
            "42P07" => true,
            // Duplicate key: in PostgreSQL's catalog, for two concurrent CREATEs of one name, or in
            // the history, for two records in the same microsecond.
            "23505" => server.constraint.as_deref().is_some_and(|constraint| {
                constraint.starts_with("pg_") || constraint == "schema_update_history_pkey"
            }),
            _ => false,
        }
    }

    /// Whether the object does not exist: for a DROP, a concurrent run was faster.
    pub fn is_undefined(&self) -> bool {
        let Self::Refused(server) = self else {
            return false;
        };
        // Undefined table, undefined object, undefined function.
        matches!(server.sqlstate.as_str(), "42P01" | "42704" | "42883")
    }

    /// Whether a table lacks a column of the statement.
    pub fn is_undefined_column(&self) -> bool {
        matches!(self, Self::Refused(server) if server.sqlstate == "42703")
    }
}
