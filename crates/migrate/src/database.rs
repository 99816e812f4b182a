//! The port to a database: what a migration asks of it, and how it may fail.
//!
//! Every method is one round trip and one transaction. None of them tries again: what to do about
//! a failure is decided above the port, by asking the catalog, so that it is decided in one way
//! for every database and can be tested without one.

use std::fmt;

use async_trait::async_trait;
use serde::Serialize;
use temporal_dsql_domain::Engine;

use crate::{
    objects::{Catalog, ColumnDefinition, Seed},
    schema::Statement,
    version_tables::{VersionChange, VersionRow},
};

/// A database whose schema can be read and changed.
///
/// All names mean objects of one schema: the one that the connection creates objects in.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait SchemaDatabase: Send {
    /// The kind of server.
    fn engine(&self) -> Engine;

    /// The schema of all names: `public`, or that of a custom role (aurora-dsql.md#connections).
    fn schema(&self) -> &str;

    /// Reads the whole catalog of the schema in one snapshot.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn catalog(&mut self) -> Result<Catalog, DatabaseError>;

    /// Runs one statement in a transaction of its own. For an asynchronous index, tells the id of
    /// the job that builds it.
    ///
    /// # Errors
    /// Those of the connection and the server. Unless the server refused, the statement may be in
    /// effect.
    async fn execute(&mut self, statement: &Statement) -> Result<Option<String>, DatabaseError>;

    /// The jobs that build, or built, the index with the object id `oid`, the latest first. Only
    /// if there is none, those of the name `index`: an index that was dropped had that name, too.
    /// DSQL forgets a job 30 minutes after its end (aurora-dsql.md#jobs); PostgreSQL has none.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn index_jobs(&mut self, index: &str, oid: u32) -> Result<Vec<Job>, DatabaseError>;

    /// All rows of `schema_version`, in the order of their names. Empty if there is no such
    /// table; every other failure is an error (temporal-persistence.md#t1).
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn version_rows(&mut self) -> Result<Vec<VersionRow>, DatabaseError>;

    /// Writes the version row and the history row of `change` in one transaction, if the version
    /// is still the one that the change starts from; tells whether it was.
    ///
    /// # Errors
    /// Those of the connection and the server. Unless the server refused, the change may be in
    /// effect.
    async fn record_version(&mut self, change: &VersionChange) -> Result<bool, DatabaseError>;

    /// Whether `table` has any row.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn has_rows(&mut self, table: &str) -> Result<bool, DatabaseError>;

    /// Whether every row of `seed` is there, by the columns `key` of its primary key.
    ///
    /// # Errors
    /// Those of the connection and the server.
    async fn has_seed(&mut self, seed: &Seed, key: &[String]) -> Result<bool, DatabaseError>;

    /// At most `limit` rows of a table in the order of its key, after the row with the key
    /// `after`.
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

/// Which rows to read with [`SchemaDatabase::page`], and how.
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
    /// How far it is.
    pub status: JobStatus,
    /// What the server says about it.
    pub details: String,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits for its turn.
    Submitted,
    /// It is running.
    Processing,
    /// It has ended well.
    Completed,
    /// It has failed, or was cancelled.
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

/// What a server says when it refuses.
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

/// The error of a driver or of a source of credentials, kept as it was.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to a database failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The transaction lost against another one and did nothing; the next attempt may win. Normal
    /// around DDL (aurora-dsql.md#transient-failures).
    #[error("conflict with another transaction: {0}")]
    Conflict(Box<ServerError>),

    /// The server takes no more connections now, or is waking up. Nothing was done.
    #[error("the server is busy: {0}")]
    Busy(Box<ServerError>),

    /// The connection broke, or the server failed inside. What was under way may be in effect.
    #[error("the connection to {host}:{port} broke")]
    Lost {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What happened.
        #[source]
        source: BoxError,
    },

    /// The server refused a statement.
    #[error("the server refused: {0}")]
    Refused(Box<ServerError>),

    /// The role lacks a right.
    #[error("the role `{user}` lacks a right: {server}; {advice}")]
    Denied {
        /// The role.
        user: String,
        /// What the server says, which names the object.
        server: Box<ServerError>,
        /// What to do.
        advice: &'static str,
    },

    /// No connection could be made.
    #[error("cannot reach {host}:{port}; check the endpoint, the port and the network")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: BoxError,
    },

    /// No connection that can be trusted could be made.
    #[error(
        "cannot make a TLS connection to {host}:{port}; check that the host name is the one in its \
         certificate, and the CA file if one is given"
    )]
    Tls {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: BoxError,
    },

    /// The connection is configured in a way that cannot work.
    #[error("the connection is not configured right")]
    Configuration(#[source] BoxError),

    /// The server did not accept the credentials.
    #[error("{host}:{port} does not let `{user}` in: {server}")]
    Authentication {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The role.
        user: String,
        /// What the server says.
        server: Box<ServerError>,
    },

    /// No credentials could be had.
    #[error("cannot get credentials for `{user}` at {host}:{port}")]
    Credentials {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The role.
        user: String,
        /// Why.
        #[source]
        source: BoxError,
    },

    /// The database does not exist.
    #[error("there is no database `{database}` at {host}:{port}; DSQL has one, `postgres`")]
    NoDatabase {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The database.
        database: String,
    },

    /// There is no schema that the role may use.
    #[error(
        "the role `{user}` has no schema to work in; create one (CREATE SCHEMA {user} \
         AUTHORIZATION {user}), or grant USAGE on one and set the role's search_path"
    )]
    NoSchema {
        /// The role.
        user: String,
    },

    /// The driver failed in a way that has nothing to do with the server.
    #[error("the answer of the server cannot be read")]
    Driver(#[source] BoxError),
}

impl DatabaseError {
    /// Whether the same call may succeed if it is made again, on the same or on a new connection.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Busy(_) | Self::Lost { .. })
    }

    /// Whether it says that what a statement makes is there already: a concurrent run was faster,
    /// or another object has the name. The catalog knows which it is.
    pub fn is_duplicate(&self) -> bool {
        let Self::Refused(server) = self else {
            return false;
        };
        match server.sqlstate.as_str() {
            // Duplicate table, duplicate object.
            "42P07" | "42710" => true,
            // Duplicate key: of PostgreSQL's own catalog, when two create an object of one name,
            // or of the history, when two record a version in the same microsecond.
            "23505" => server.constraint.as_deref().is_some_and(|constraint| {
                constraint.starts_with("pg_") || constraint == "schema_update_history_pkey"
            }),
            _ => false,
        }
    }

    /// Whether it says that what a statement names is not there: for one that drops it, a
    /// concurrent run was faster.
    pub fn is_undefined(&self) -> bool {
        let Self::Refused(server) = self else {
            return false;
        };
        // Undefined table, undefined object.
        matches!(server.sqlstate.as_str(), "42P01" | "42704")
    }
}
