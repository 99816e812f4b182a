//! A recorder of metrics that a test can read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use temporal_dsql_store::MetricKind;

/// The described and the emitted metrics.
#[derive(Clone, Default)]
pub struct Recorded(Arc<Inner>);

#[derive(Default)]
struct Inner {
    described: Mutex<BTreeMap<String, (MetricKind, Unit, String)>>,
    emitted: Mutex<BTreeMap<Key, (MetricKind, Arc<AtomicU64>)>>,
}

/// Counts the values that it is given.
struct Values(Arc<AtomicU64>);

impl HistogramFn for Values {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Recorded {
    /// Kind, unit and meaning of what was described, by name.
    pub fn described(&self) -> BTreeMap<String, (MetricKind, Unit, String)> {
        self.0.described.lock().unwrap().clone()
    }

    /// Name, kind and names of the labels of what was emitted.
    pub fn emitted(&self) -> Vec<(String, MetricKind, Vec<String>)> {
        let emitted = self.0.emitted.lock().unwrap();
        let shape = |(key, (kind, _)): (&Key, &(MetricKind, _))| {
            let labels = key.labels().map(|label| label.key().to_owned()).collect();
            (key.name().to_owned(), *kind, labels)
        };
        emitted.iter().map(shape).collect()
    }

    /// The sum of a counter over all keys that have this name and each of these labels; of a
    /// histogram, the number of its values.
    pub fn total(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let emitted = self.0.emitted.lock().unwrap();
        let has = |key: &Key, (label, value): &(&str, &str)| {
            key.labels().any(|of| of.key() == *label && of.value() == *value)
        };
        emitted
            .iter()
            .filter(|(key, _)| key.name() == name && labels.iter().all(|label| has(key, label)))
            .map(|(_, (_, value))| value.load(Ordering::SeqCst))
            .sum()
    }

    fn describe(
        &self,
        name: &KeyName,
        kind: MetricKind,
        unit: Option<Unit>,
        meaning: &SharedString,
    ) {
        let described = (kind, unit.unwrap(), meaning.to_string());
        self.0.described.lock().unwrap().insert(name.as_str().to_owned(), described);
    }

    fn register(&self, key: &Key, kind: MetricKind) -> Arc<AtomicU64> {
        let mut emitted = self.0.emitted.lock().unwrap();
        Arc::clone(&emitted.entry(key.clone()).or_insert((kind, Arc::default())).1)
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe(&name, MetricKind::Counter, unit, &meaning);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe(&name, MetricKind::Gauge, unit, &meaning);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe(&name, MetricKind::Histogram, unit, &meaning);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(key, MetricKind::Counter))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(key, MetricKind::Gauge))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Values(self.register(key, MetricKind::Histogram))))
    }
}
