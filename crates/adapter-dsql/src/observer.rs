//! The observer of the runner: spans, warnings and metrics of operations.

use std::time::Duration;

use temporal_dsql_client::ErrorChain;
use temporal_dsql_ports::{BoxFuture, Observer, Outcome, StoreError};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    error_class::ErrorClass,
    metrics::{
        TX_BACKOFF, TX_CONFLICT, TX_ERROR_CLASS, TX_EXHAUSTED, TX_LATENCY, TX_RETRY, TX_UNKNOWN,
    },
};

/// Makes a span of each operation, warns of operations with an unknown outcome or a passed deadline,
/// and counts in the `metrics` facade.
pub(crate) struct OperationObserver;

/// The name of the span of an operation.
const SPAN: &str = "operation";

impl Observer for OperationObserver {
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
        tracing::debug!(db.operation.name = op, attempt, ?backoff, error = %ErrorChain(error), "retrying");
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
        let error_text = ErrorChain(error);
        let (message, counter) = if error.outcome() == Outcome::Unknown {
            ("no answer to a commit", TX_UNKNOWN)
        } else if error.is_transient() {
            ("gave up", TX_EXHAUSTED)
        } else {
            return;
        };
        tracing::warn!(
            db.operation.name = op, attempts, ?elapsed, error_class, error = %error_text,
            "{message}"
        );
        metrics::counter!(counter.name, "operation" => op).increment(1);
    }
}

/// The outcome of an operation or a statement, as spans show it.
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
