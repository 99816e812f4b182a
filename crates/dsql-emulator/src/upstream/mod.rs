//! Connections to the PostgreSQL that does the work.
//!
//! No driver: one would hide what the emulator passes on, and this one talks to a server of its
//! own choosing, over loopback as a rule.

mod connection;
mod scram;
mod target;

pub(crate) use connection::{Connection, Exchange, Rows, rows, single};
pub(crate) use target::Target;

use std::io;

use crate::wire::DbError;

/// Why PostgreSQL did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The connection broke, or could not be made.
    #[error("the connection to PostgreSQL at {address} failed")]
    Io {
        /// Where PostgreSQL is.
        address: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// PostgreSQL refused.
    #[error("PostgreSQL refused: {0}")]
    Refused(DbError),
    /// PostgreSQL asks for a kind of authentication that the emulator does not do.
    #[error(
        "PostgreSQL asks for {0}; the emulator can do trust, password and scram-sha-256 \
         authentication"
    )]
    Authentication(String),
    /// PostgreSQL said something that does not belong there.
    #[error("PostgreSQL sent something unexpected: {0}")]
    Protocol(&'static str),
}

impl UpstreamError {
    /// The server's own words, if it said any.
    pub(crate) fn refusal(&self) -> Option<&DbError> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}
