//! Classes of errors, as metrics and spans show them.

use temporal_dsql_client::{Class, ConnectError, Phase, classify_error};
use temporal_dsql_ports::limits::LimitKind;
use temporal_dsql_ports::{Cause, StoreError};

use crate::error::NoConnection;

/// The class of an error. The first ones are the Go fork's (temporal-persistence.md#metrics); the
/// others divide its class `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    Retryable,
    ConditionFailed,
    Permanent,
    UnsupportedFeature,
    ConnectionLimit,
    TransactionTimeout,
    ConnectionLost,
    Timeout,
    ServerError,
    Unreachable,
    NoToken,
    PoolExhausted,
    PoolClosed,
    Unavailable,
}

impl ErrorClass {
    /// Every class in the order of the variants: its label, and its meaning for the guide for
    /// operators.
    pub(crate) const ALL: [(Self, &str, &str); 14] = [
        (Self::Retryable, "retryable", "a lost conflict"),
        (
            Self::ConditionFailed,
            "condition_failed",
            "a condition of the request did not hold, or a row exists",
        ),
        (
            Self::Permanent,
            "permanent",
            "the request is wrong or too large, a right is missing, or a stored value cannot be read",
        ),
        (
            Self::UnsupportedFeature,
            "unsupported_feature",
            "the server refuses the statement, or a table is missing",
        ),
        (
            Self::ConnectionLimit,
            "connection_limit",
            "the server admits no more connections for the moment",
        ),
        (
            Self::TransactionTimeout,
            "transaction_timeout",
            "a transaction lasted longer than DSQL's 300 s",
        ),
        (Self::ConnectionLost, "connection_lost", "a connection broke"),
        (Self::Timeout, "timeout", "a statement was not answered in time"),
        (Self::ServerError, "server_error", "the server failed or shuts down"),
        (Self::Unreachable, "unreachable", "no connection could be opened"),
        (Self::NoToken, "no_token", "no IAM token could be made"),
        (
            Self::PoolExhausted,
            "pool_exhausted",
            "no connection was free, or allowed by the rate limit, in time",
        ),
        (Self::PoolClosed, "pool_closed", "the store was closed"),
        (Self::Unavailable, "unavailable", "an outage of another kind"),
    ];

    /// The value of the label.
    pub(crate) const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The class of `error`.
    pub(crate) fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::Retryable,
            StoreError::Condition(_) | StoreError::AlreadyExists { .. } => Self::ConditionFailed,
            StoreError::Limit { kind: LimitKind::TransactionAge, .. } => Self::TransactionTimeout,
            StoreError::Unsupported { .. } => Self::UnsupportedFeature,
            StoreError::Unavailable { source, .. } => {
                source.as_ref().map_or(Self::Unavailable, Self::of_outage)
            }
            _ => Self::Permanent,
        }
    }

    fn of_outage(cause: &Cause) -> Self {
        let cause = cause.get();
        if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
            return match classify_error(error, Phase::Opening) {
                None => Self::ConnectionLost,
                Some(Class::Busy) => Self::ConnectionLimit,
                Some(_) => Self::ServerError,
            };
        }
        if cause.is::<tokio::time::error::Elapsed>() {
            return Self::Timeout;
        }
        match cause.downcast_ref::<NoConnection>() {
            Some(NoConnection::Exhausted { .. } | NoConnection::RateLimited { .. }) => {
                return Self::PoolExhausted;
            }
            Some(NoConnection::Closed) => return Self::PoolClosed,
            None => {}
        }
        match cause.downcast_ref::<ConnectError>() {
            Some(ConnectError::Busy { .. }) => Self::ConnectionLimit,
            Some(ConnectError::Unreachable { .. }) => Self::Unreachable,
            Some(ConnectError::Token { .. }) => Self::NoToken,
            Some(ConnectError::Server { .. }) => Self::ServerError,
            // The others are not reported as unavailable.
            _ => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use temporal_dsql_client::connector_with;
    use temporal_dsql_ports::Outcome;

    use super::*;

    fn class(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> &'static str {
        let error = StoreError::Unavailable {
            op: "Op",
            outcome: Outcome::NotApplied,
            source: Some(Cause::new(cause)),
        };
        ErrorClass::of(&error).name()
    }

    #[tokio::test]
    async fn the_class_of_an_outage_names_its_cause() {
        let connector = connector_with(sqlx::postgres::PgConnectOptions::new_without_pgpass());
        let endpoint = connector.endpoint().clone();
        let source = Cause::new("reset");
        let io = || sqlx::Error::Io(io::ErrorKind::ConnectionReset.into());
        let elapsed = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await;
        assert_eq!(class(io()), "connection_lost");
        assert_eq!(class(elapsed.unwrap_err()), "timeout");
        assert_eq!(class(NoConnection::Exhausted { max_connections: 4 }), "pool_exhausted");
        assert_eq!(class(NoConnection::Closed), "pool_closed");
        let unreachable =
            ConnectError::Unreachable { endpoint: endpoint.clone(), source: source.clone() };
        assert_eq!(class(unreachable), "unreachable");
        assert_eq!(class(ConnectError::Busy { endpoint, source }), "connection_limit");
        assert_eq!(class("anything else"), "unavailable");
    }

    #[test]
    fn every_class_has_a_name_that_no_other_has() {
        for (class, name, _) in ErrorClass::ALL {
            assert_eq!(class.name(), name, "{class:?}");
        }
        let mut names = ErrorClass::ALL.map(|(_, name, _)| name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
