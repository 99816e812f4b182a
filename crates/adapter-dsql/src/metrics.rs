//! What the runner reports, as metrics with the names of the Go fork's dashboards
//! (contract §6.2). Latencies and waits are in seconds.

use std::time::Duration;

use temporal_dsql_ports::{Observer, Outcome, StoreError};

use crate::error::Reasons;

/// Feeds the `metrics` facade.
pub(crate) struct Metrics;

impl Observer for Metrics {
    fn on_retry(&self, op: &'static str, attempt: u32, error: &StoreError, backoff: Duration) {
        tracing::debug!(db.operation.name = op, attempt, ?backoff, %error, "retrying");
        metrics::counter!("dsql_tx_retry_total",
            "operation" => op, "attempt" => attempt.to_string())
        .increment(1);
        metrics::histogram!("dsql_tx_backoff", "operation" => op).record(backoff);
        count(op, error);
    }

    fn on_end(
        &self,
        op: &'static str,
        attempts: u32,
        elapsed: Duration,
        error: Option<&StoreError>,
    ) {
        metrics::histogram!("dsql_tx_latency", "operation" => op).record(elapsed);
        let Some(error) = error else { return };
        count(op, error);
        if error.is_transient() && error.outcome() == Outcome::NotApplied {
            tracing::warn!(db.operation.name = op, attempts, ?elapsed, error = %Reasons(error), "gave up");
            metrics::counter!("dsql_tx_exhausted_total", "operation" => op).increment(1);
        }
    }
}

fn count(op: &'static str, error: &StoreError) {
    metrics::counter!("dsql_tx_error_class_total",
        "operation" => op, "error_class" => class(error))
    .increment(1);
    if matches!(error, StoreError::Contended { .. }) {
        metrics::counter!("dsql_tx_conflict_total", "operation" => op).increment(1);
    }
}

/// The fork's error classes.
const fn class(error: &StoreError) -> &'static str {
    use temporal_dsql_domain::limits::LimitKind;
    match error {
        StoreError::Contended { .. } => "retryable",
        StoreError::Condition(_) | StoreError::AlreadyExists { .. } => "condition_failed",
        StoreError::Limit { kind: LimitKind::TransactionAge, .. } => "transaction_timeout",
        StoreError::Unsupported { .. } => "unsupported_feature",
        StoreError::InvalidArgument { .. }
        | StoreError::Limit { .. }
        | StoreError::Unauthorized { .. }
        | StoreError::Corrupt { .. } => "permanent",
        StoreError::Unavailable { .. } => "unknown",
    }
}
