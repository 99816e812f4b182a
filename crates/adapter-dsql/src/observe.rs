//! What the runner reports: spans, warnings and metrics.

use std::time::Duration;

use temporal_dsql_client::{Class, ConnectError, Phase, classify_error};
use temporal_dsql_domain::limits::LimitKind;
use temporal_dsql_ports::{BoxFuture, Cause, Observer, Outcome, StoreError};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    error::Reasons,
    metrics::{
        TX_BACKOFF, TX_CONFLICT, TX_ERROR_CLASS, TX_EXHAUSTED, TX_LATENCY, TX_RETRY, TX_UNKNOWN,
    },
    pool::NoConnection,
};

/// Makes a span of each operation, warns of those that failed without an end, and feeds the
/// `metrics` facade.
pub(crate) struct Operations;

/// The name of the span of an operation.
const SPAN: &str = "operation";

impl Observer for Operations {
    fn instrument<'a>(&self, op: &'static str, operation: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        // `otel.name` is what OpenTelemetry calls the span: the name of a span is one constant.
        let span = tracing::debug_span!(
            SPAN,
            otel.name = op,
            db.operation.name = op,
            attempts = Empty,
            outcome = Empty,
            error_class = Empty
        );
        Box::pin(operation.instrument(span))
    }

    fn on_retry(&self, op: &'static str, attempt: u32, error: &StoreError, backoff: Duration) {
        tracing::debug!(db.operation.name = op, attempt, ?backoff, error = %Reasons(error), "retrying");
        metrics::counter!(TX_RETRY.name, "operation" => op, "attempt" => attempt.to_string())
            .increment(1);
        metrics::histogram!(TX_BACKOFF.name, "operation" => op).record(backoff);
        count(op, error);
    }

    fn on_end(
        &self,
        op: &'static str,
        attempts: u32,
        elapsed: Duration,
        error: Option<&StoreError>,
    ) {
        metrics::histogram!(TX_LATENCY.name, "operation" => op).record(elapsed);
        let span = Span::current();
        // Where the span is not recorded, another one is the current one.
        if span.metadata().is_some_and(|span| span.name() == SPAN) {
            span.record("attempts", attempts);
            span.record("outcome", outcome(error));
            if let Some(error) = error {
                span.record("error_class", ErrorClass::of(error).name());
            }
        }
        let Some(error) = error else { return };
        count(op, error);
        let error_class = ErrorClass::of(error).name();
        let error_text = Reasons(error);
        if error.outcome() == Outcome::Unknown {
            tracing::warn!(
                db.operation.name = op, attempts, ?elapsed, error_class, error = %error_text,
                "no answer to a commit"
            );
            metrics::counter!(TX_UNKNOWN.name, "operation" => op).increment(1);
        } else if error.is_transient() {
            tracing::warn!(
                db.operation.name = op, attempts, ?elapsed, error_class, error = %error_text,
                "gave up"
            );
            metrics::counter!(TX_EXHAUSTED.name, "operation" => op).increment(1);
        }
    }
}

/// How something ended, as spans show it.
pub(crate) fn outcome(error: Option<&StoreError>) -> &'static str {
    match error.map(StoreError::outcome) {
        None => "done",
        Some(Outcome::NotApplied) => "not_applied",
        Some(Outcome::Unknown) => "unknown",
    }
}

fn count(op: &'static str, error: &StoreError) {
    let class = ErrorClass::of(error);
    metrics::counter!(TX_ERROR_CLASS.name, "operation" => op, "error_class" => class.name())
        .increment(1);
    if class == ErrorClass::Retryable {
        metrics::counter!(TX_CONFLICT.name, "operation" => op).increment(1);
    }
}

/// What an error was, as metrics show it. The first ones are the Go fork's
/// (temporal-persistence.md#metrics); its `unknown` is told apart by the others.
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
    /// All of them. Only the guide needs them together.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 14] = [
        Self::Retryable,
        Self::ConditionFailed,
        Self::Permanent,
        Self::UnsupportedFeature,
        Self::ConnectionLimit,
        Self::TransactionTimeout,
        Self::ConnectionLost,
        Self::Timeout,
        Self::ServerError,
        Self::Unreachable,
        Self::NoToken,
        Self::PoolExhausted,
        Self::PoolClosed,
        Self::Unavailable,
    ];

    /// The value of the label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::ConditionFailed => "condition_failed",
            Self::Permanent => "permanent",
            Self::UnsupportedFeature => "unsupported_feature",
            Self::ConnectionLimit => "connection_limit",
            Self::TransactionTimeout => "transaction_timeout",
            Self::ConnectionLost => "connection_lost",
            Self::Timeout => "timeout",
            Self::ServerError => "server_error",
            Self::Unreachable => "unreachable",
            Self::NoToken => "no_token",
            Self::PoolExhausted => "pool_exhausted",
            Self::PoolClosed => "pool_closed",
            Self::Unavailable => "unavailable",
        }
    }

    /// What it means, for the guide.
    #[cfg(test)]
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Retryable => "a lost conflict",
            Self::ConditionFailed => "a condition of the request did not hold, or a row exists",
            Self::Permanent => {
                "the request is wrong or too large, a right is missing, or a stored value cannot \
                 be read"
            }
            Self::UnsupportedFeature => {
                "the server does not take the statement, or a table is missing"
            }
            Self::ConnectionLimit => "the server admits no more connections for the moment",
            Self::TransactionTimeout => "a transaction lasted longer than DSQL's 300 s",
            Self::ConnectionLost => "a connection broke",
            Self::Timeout => "a statement was not answered in time",
            Self::ServerError => "the server failed or shuts down",
            Self::Unreachable => "no connection could be opened",
            Self::NoToken => "no IAM token could be made",
            Self::PoolExhausted => "all connections were in use for too long",
            Self::PoolClosed => "the store was closed",
            Self::Unavailable => "an outage of another kind",
        }
    }

    /// The class of `error`.
    pub(crate) fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Contended { .. } => Self::Retryable,
            StoreError::Condition(_) | StoreError::AlreadyExists { .. } => Self::ConditionFailed,
            StoreError::Limit { kind: LimitKind::TransactionAge, .. } => Self::TransactionTimeout,
            StoreError::Unsupported { .. } => Self::UnsupportedFeature,
            StoreError::InvalidArgument { .. }
            | StoreError::Limit { .. }
            | StoreError::Unauthorized { .. }
            | StoreError::Corrupt { .. } => Self::Permanent,
            StoreError::Unavailable { source, .. } => {
                source.as_ref().map_or(Self::Unavailable, Self::of_outage)
            }
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
            Some(NoConnection::Exhausted { .. }) => return Self::PoolExhausted,
            Some(NoConnection::Closed) => return Self::PoolClosed,
            None => {}
        }
        match cause.downcast_ref::<ConnectError>() {
            Some(ConnectError::Busy { .. }) => Self::ConnectionLimit,
            Some(ConnectError::Unreachable { .. }) => Self::Unreachable,
            Some(ConnectError::Token { .. }) => Self::NoToken,
            Some(ConnectError::Server { .. }) => Self::ServerError,
            // Those are no outages.
            Some(
                ConnectError::Configuration(_)
                | ConnectError::Tls { .. }
                | ConnectError::Refused { .. }
                | ConnectError::NoDatabase { .. },
            )
            | None => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

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
    async fn the_class_of_an_outage_says_what_it_was() {
        let (host, port) = (String::new(), 5432);
        let source = Cause::new("reset");
        let io = || sqlx::Error::Io(io::ErrorKind::ConnectionReset.into());
        let elapsed = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await;
        assert_eq!(class(io()), "connection_lost");
        assert_eq!(class(elapsed.unwrap_err()), "timeout");
        assert_eq!(class(NoConnection::Exhausted { most: 4 }), "pool_exhausted");
        assert_eq!(class(NoConnection::Closed), "pool_closed");
        let unreachable =
            ConnectError::Unreachable { host: host.clone(), port, source: source.clone() };
        assert_eq!(class(unreachable), "unreachable");
        assert_eq!(class(ConnectError::Busy { host, port, source }), "connection_limit");
        assert_eq!(class("anything else"), "unavailable");
    }

    #[test]
    fn no_two_classes_share_a_name() {
        let mut names = ErrorClass::ALL.map(ErrorClass::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
