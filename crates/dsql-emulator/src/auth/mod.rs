//! Authentication of clients: TLS with SNI, IAM tokens, and limits on connections
//! (aurora-dsql.md#admission).

pub(crate) mod admission;
pub(crate) mod startup;
pub(crate) mod tls;
pub(crate) mod token;

use crate::{Refusal, wire::DbError};

/// The refusal of a wrong token or role.
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
