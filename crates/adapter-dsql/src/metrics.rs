//! The metrics of a store: one table, from which they are described and emitted, and which the
//! guide for operators shows. The names are those of the Go fork's dashboards
//! (temporal-persistence.md#metrics), where it has them.

use metrics::Unit;
use temporal_dsql_client::TOKEN_REFRESH_FAILURES;

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only increases.
    Counter,
    /// A number that is set to its current value.
    Gauge,
    /// A distribution of values.
    Histogram,
}

/// A metric that a store emits through the `metrics` facade.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The kind.
    pub kind: MetricKind,
    /// The unit of its values.
    pub unit: Unit,
    /// The labels that every value has.
    pub labels: &'static [&'static str],
    /// What it measures, in Markdown.
    pub meaning: &'static str,
    /// The condition of its alert, in Markdown; empty if the metric has no alert.
    pub alert: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
    alert: &'static str,
) -> Metric {
    Metric { name, kind: MetricKind::Counter, unit: Unit::Count, labels, meaning, alert }
}

const fn gauge(name: &'static str, meaning: &'static str, alert: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, unit: Unit::Count, labels: &[], meaning, alert }
}

const fn seconds(
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
    alert: &'static str,
) -> Metric {
    Metric { name, kind: MetricKind::Histogram, unit: Unit::Seconds, labels, meaning, alert }
}

const OPERATION: &[&str] = &["operation"];

pub(crate) const TX_LATENCY: Metric = seconds(
    "dsql_tx_latency",
    OPERATION,
    "time of an operation, with all its attempts and the waits between them",
    "p99 above 500 ms for 10 minutes",
);
pub(crate) const TX_CONFLICT: Metric =
    counter("dsql_tx_conflict_total", OPERATION, "lost conflicts", "above 10/s for 5 minutes");
pub(crate) const TX_RETRY: Metric =
    counter("dsql_tx_retry_total", &["operation", "attempt"], "attempts that are repeated", "");
pub(crate) const TX_BACKOFF: Metric =
    seconds("dsql_tx_backoff", OPERATION, "waits between two attempts", "");
pub(crate) const TX_EXHAUSTED: Metric = counter(
    "dsql_tx_exhausted_total",
    OPERATION,
    "operations that were given up at their deadline, not applied",
    "increase in 5 minutes above 0, for 2 minutes",
);
pub(crate) const TX_UNKNOWN: Metric = counter(
    "dsql_tx_unknown_total",
    OPERATION,
    "operations that ended without an answer to their commit. The stores resolve those whose rows \
     prove what happened; the others reach the caller as `Unknown`",
    "increase in 5 minutes above 0, for 5 minutes",
);
pub(crate) const TX_ERROR_CLASS: Metric = counter(
    "dsql_tx_error_class_total",
    &["operation", "error_class"],
    "failed attempts by class",
    "",
);
pub(crate) const POOL_MAX_OPEN: Metric =
    gauge("dsql_pool_max_open", "connections that the pool may have", "");
pub(crate) const POOL_OPEN: Metric =
    gauge("dsql_pool_open", "connections that are open or being opened", "");
pub(crate) const POOL_IN_USE: Metric = gauge(
    "dsql_pool_in_use",
    "connections that are in use or being opened",
    "above 90 % of `dsql_pool_max_open` for 5 minutes",
);
pub(crate) const POOL_IDLE: Metric =
    gauge("dsql_pool_idle", "open connections that are not in use", "");
pub(crate) const POOL_WAIT: Metric = counter(
    "dsql_pool_wait_total",
    &[],
    "callers that had to wait because all connections were in use",
    "",
);
pub(crate) const POOL_WAIT_DURATION: Metric = seconds(
    "dsql_pool_wait_duration",
    &[],
    "how long they waited, whether or not they got a connection",
    "mean above 1 s for 5 minutes",
);
pub(crate) const KEEPER_TOPUP: Metric =
    counter("dsql_pool_keeper_topup_total", &[], "connections that were opened ahead of need", "");
pub(crate) const KEEPER_TOPUP_FAILURES: Metric = counter(
    "dsql_pool_keeper_topup_failures_total",
    &[],
    "connections that could not be opened ahead of need",
    "increase in 5 minutes above 0, for 5 minutes",
);
pub(crate) const KEEPER_SIZE: Metric =
    gauge("dsql_pool_keeper_current_size", "the same as `dsql_pool_open`", "");
pub(crate) const CLOSED_MAX_LIFETIME: Metric =
    gauge("dsql_db_closed_max_lifetime_total", "connections that were retired by age, so far", "");
const TOKEN_FAILURES: Metric = counter(
    TOKEN_REFRESH_FAILURES,
    &[],
    "IAM tokens that could not be made",
    "increase in 5 minutes above 0, for 5 minutes",
);

/// Every metric that a store emits.
pub const METRICS: [Metric; 18] = [
    TX_LATENCY,
    TX_CONFLICT,
    TX_RETRY,
    TX_BACKOFF,
    TX_EXHAUSTED,
    TX_UNKNOWN,
    TX_ERROR_CLASS,
    POOL_MAX_OPEN,
    POOL_OPEN,
    POOL_IN_USE,
    POOL_IDLE,
    POOL_WAIT,
    POOL_WAIT_DURATION,
    KEEPER_TOPUP,
    KEEPER_TOPUP_FAILURES,
    KEEPER_SIZE,
    CLOSED_MAX_LIFETIME,
    TOKEN_FAILURES,
];

/// Describes [`METRICS`] to the installed recorder.
pub(crate) fn describe() {
    for Metric { name, kind, unit, meaning, .. } in METRICS {
        match kind {
            MetricKind::Counter => metrics::describe_counter!(name, unit, meaning),
            MetricKind::Gauge => metrics::describe_gauge!(name, unit, meaning),
            MetricKind::Histogram => metrics::describe_histogram!(name, unit, meaning),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::error_class::ErrorClass;
    use temporal_dsql_testkit::assert_guide_has_table;

    #[test]
    fn the_guide_shows_this_table_and_nothing_else() {
        let mut table =
            String::from("| Metric | Kind, unit | Meaning | Alert |\n|---|---|---|---|\n");
        for Metric { name, kind, unit, labels, meaning, alert } in METRICS {
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let kind = format!("{kind:?}").to_lowercase();
            let unit = unit.as_str();
            let row = format!("| `{name}{labels}` | {kind}, {unit} | {meaning} | {alert}");
            writeln!(table, "{} |", row.trim_end()).unwrap();
        }
        assert_guide_has_table("What to watch", "| Metric |", &table);
    }

    #[test]
    fn the_guide_shows_every_class_of_error() {
        let mut table = String::from("| `error_class` | What it was |\n|---|---|\n");
        for (_, name, meaning) in ErrorClass::ALL {
            writeln!(table, "| `{name}` | {meaning} |").unwrap();
        }
        assert_guide_has_table("What to watch", "| `error_class` |", &table);
    }

    #[test]
    fn no_two_metrics_share_a_name() {
        let mut names = METRICS.map(|metric| metric.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
