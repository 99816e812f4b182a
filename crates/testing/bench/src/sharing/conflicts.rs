//! The number of conflicts that the stores of this process have lost, from their metric.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Result, anyhow};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_global_recorder,
};

/// The metric that a store increments with each lost conflict.
const METRIC: &str = "dsql_tx_conflict_total";

/// A recorder of this metric.
#[derive(Clone, Default)]
pub struct Conflicts(Arc<AtomicU64>);

impl Conflicts {
    /// Installs the recorder for the rest of the process.
    ///
    /// # Errors
    /// The process has a recorder.
    pub fn install() -> Result<Self> {
        let own = Self::default();
        set_global_recorder(own.clone())
            .map_err(|_| anyhow!("the process has a recorder of metrics already"))?;
        Ok(own)
    }

    /// The number of conflicts since the installation.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// [`count`](Self::count), for [`join`](crate::load::join).
    pub fn counter(&self) -> impl Fn() -> Result<u64> + use<> {
        let own = self.clone();
        move || Ok(own.count())
    }
}

impl Recorder for Conflicts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == METRIC { Counter::from_arc(Arc::clone(&self.0)) } else { Counter::noop() }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql::dsql::METRICS;

    use super::*;

    #[test]
    fn conflicts_of_all_operations_are_counted_and_nothing_else() {
        let conflicts = Conflicts::default();
        metrics::with_local_recorder(&conflicts, || {
            metrics::counter!(METRIC, "operation" => "A").increment(1);
            metrics::counter!(METRIC, "operation" => "B").increment(2);
            metrics::counter!("another").increment(4);
        });
        assert_eq!(conflicts.count(), 3);
    }

    #[test]
    fn a_store_has_the_metric() {
        assert!(METRICS.iter().any(|metric| metric.name == METRIC), "{METRICS:?}");
    }
}
