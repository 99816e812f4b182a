//! Connections to the underlying PostgreSQL server.
//!
//! A driver would hide messages that the emulator forwards. This client connects without TLS, as a
//! rule over loopback.

mod connection;
mod login;
mod scram;
mod target;

pub(crate) use connection::{Connection, Exchange, Rows, rows, single};
pub(crate) use login::Login;
pub(crate) use target::Target;

use std::io;

use crate::wire::DbError;

/// Why a request to PostgreSQL failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The connection broke, or could not be made.
    #[error("the connection to PostgreSQL at {address} failed")]
    Io {
        /// The address of PostgreSQL.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// PostgreSQL reported an error.
    #[error("PostgreSQL reported an error: {0}")]
    Refused(DbError),
    /// PostgreSQL requires an authentication method that the emulator does not support.
    #[error(
        "PostgreSQL requires the authentication method {0}; the emulator supports trust, password \
         and scram-sha-256"
    )]
    Authentication(String),
    /// PostgreSQL sent an unexpected message.
    #[error("PostgreSQL sent an unexpected message: {0}")]
    Protocol(&'static str),
}

impl UpstreamError {
    /// The error that PostgreSQL reported, if it did.
    pub(crate) fn refusal(&self) -> Option<&DbError> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}
