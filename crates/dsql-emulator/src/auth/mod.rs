//! The way in: TLS with SNI, a token signed with AWS credentials, and limits on how many come and
//! how fast (aurora-dsql.md#admission).

pub(crate) mod admission;
pub(crate) mod startup;
pub(crate) mod tls;
pub(crate) mod token;

use crate::{Refusal, wire::DbError};

/// The refusal for all that is wrong with a token or a role.
pub(crate) fn access_denied(hint: impl Into<String>) -> DbError {
    DbError::fatal("08006", "unable to accept connection, access denied").with_hint(hint)
}

impl Refusal {
    /// The error that the client gets; `None` if the connection closes without one.
    pub(crate) fn error(self) -> Option<DbError> {
        Some(match self {
            Self::AccessDenied => access_denied("The request was denied on demand"),
            Self::TooManyConnections => {
                DbError::fatal("53300", "Unable to accept connection, too many open connections.")
            }
            Self::RateExceeded => {
                DbError::fatal("53400", "Unable to accept connection, rate exceeded.")
            }
            Self::WakingUp => DbError::fatal(
                "08006",
                "unable to accept connection, waking up cluster, please retry later",
            ),
            Self::Closed => return None,
        })
    }
}
