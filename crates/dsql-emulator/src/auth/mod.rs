//! The way in: TLS with SNI, a token signed with AWS credentials, and limits on how many come and
//! how fast (aurora-dsql.md#admission).

pub(crate) mod admission;
pub(crate) mod startup;
pub(crate) mod tls;
pub(crate) mod token;

use crate::wire::DbError;

/// The refusal for all that is wrong with a token or a role.
pub(crate) fn access_denied(hint: impl Into<String>) -> DbError {
    DbError::fatal("08006", "unable to accept connection, access denied").with_hint(hint)
}
