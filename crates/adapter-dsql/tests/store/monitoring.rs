//! The dashboard and the alerts of `docs/monitoring` name metrics and labels that Prometheus has.
//!
//! The series are those that the exporter of `docs/monitoring/README.md` renders for the table of
//! metrics. That a store emits the metrics of the table, with these labels, is a test of
//! `observed.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::Path,
    process::Command,
};

use metrics::Label;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use temporal_dsql_store::{METRICS, Metric, MetricKind};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitoring");
const DASHBOARD: &str = include_str!("../../../../docs/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../../../docs/monitoring/alerts.yml");
const README: &str = include_str!("../../../../docs/monitoring/README.md");
const GUIDE: &str = include_str!("../../../../docs/operations.md");

/// The bounds of the buckets in `docs/monitoring/README.md`.
fn buckets() -> Vec<f64> {
    let (_, rest) = README.split_once("set_buckets(&[").expect("the example sets buckets");
    let (list, _) = rest.split_once("])").expect("the list of buckets ends");
    let numbers = list.split(',').map(str::trim).filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().expect("a bucket is a number")).collect()
}

/// The labels of each series that Prometheus gets, by its name, and the metric of the series.
fn series() -> BTreeMap<String, (BTreeSet<String>, &'static str)> {
    let mut series = BTreeMap::new();
    for Metric { name, kind, labels, .. } in METRICS {
        let recorder = PrometheusBuilder::new().set_buckets(&buckets()).unwrap().build_recorder();
        let values: Vec<_> = labels.iter().map(|label| Label::new(*label, "value")).collect();
        metrics::with_local_recorder(&recorder, || match kind {
            MetricKind::Counter => metrics::counter!(name, values).increment(1),
            MetricKind::Gauge => metrics::gauge!(name, values).set(1.0),
            MetricKind::Histogram => metrics::histogram!(name, values).record(1.0),
        });
        for line in recorder.handle().render().lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, _) = line.rsplit_once(' ').expect("a series has a value");
            let (rendered, labels) = key.split_once('{').unwrap_or((key, ""));
            let labels =
                labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.into()));
            series.insert(rendered.to_owned(), (labels.collect(), name));
        }
    }
    series
}

/// The names in a PromQL expression, outside of strings.
struct Names {
    /// The names of metrics: those that begin as the store's do.
    metrics: BTreeSet<String>,
    /// The names of labels: in selectors and after `by`.
    labels: BTreeSet<String>,
}

fn names(expression: &str) -> Names {
    let mut names = Names { metrics: BTreeSet::new(), labels: BTreeSet::new() };
    let (mut word, mut last) = (String::new(), String::new());
    let (mut in_string, mut in_selector, mut in_by) = (false, false, false);
    for c in expression.chars().chain([' ']) {
        if c == '"' {
            in_string = !in_string;
        }
        if in_string {
            continue;
        }
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        let ended = std::mem::take(&mut word);
        let is_name = ended.starts_with(|first: char| first.is_ascii_alphabetic());
        if is_name && (in_by || (in_selector && matches!(c, '=' | '!'))) {
            names.labels.insert(ended);
        } else if is_name {
            if ended.starts_with("dsql_") {
                names.metrics.insert(ended.clone());
            }
            last = ended;
        }
        match c {
            '{' => in_selector = true,
            '}' => in_selector = false,
            '(' => in_by = last == "by",
            ')' => in_by = false,
            _ => {}
        }
        if !c.is_whitespace() {
            last.clear();
        }
    }
    names
}

/// Adds to `found` the expressions and the queries of variables in a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if ["expr", "definition", "query"].contains(&name.as_str()) => {
                        found.push(text.to_owned());
                    }
                    _ => expressions(value, found),
                }
            }
        }
        _ => {}
    }
}

/// An alert, as `alerts.yml` writes it. `promtool` checks the syntax of the file.
struct Alert {
    name: &'static str,
    text: &'static str,
}

impl Alert {
    fn all() -> Vec<Self> {
        let alerts = ALERTS.split("- alert: ").skip(1).map(|text| {
            let (name, text) = text.split_once('\n').expect("an alert has an expression");
            Self { name, text }
        });
        alerts.collect()
    }

    fn expression(&self) -> &'static str {
        let (_, rest) = self.text.split_once("expr:").expect("an alert has an expression");
        rest.split_once("\n        for:").expect("an alert has a duration").0
    }

    fn annotation(&self, name: &str) -> &'static str {
        let annotation = self
            .text
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':').map(str::trim));
        annotation.unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }
}

/// Asserts that every series of `expression` exists and has every label; returns their metrics.
#[track_caller]
fn assert_exist(expression: &str) -> BTreeSet<&'static str> {
    let series = series();
    let Names { metrics, labels } = names(expression);
    let mut found = BTreeSet::new();
    for metric in metrics {
        let (has, name) =
            series.get(&metric).unwrap_or_else(|| panic!("no series `{metric}`: {expression}"));
        for label in &labels {
            // Prometheus adds the labels of the target.
            let exists = has.contains(label) || ["job", "instance"].contains(&label.as_str());
            assert!(exists, "`{metric}` has no label `{label}`: {expression}");
        }
        found.insert(*name);
    }
    found
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let mut found = Vec::new();
    expressions(&serde_json::from_str(DASHBOARD).unwrap(), &mut found);
    let shown: BTreeSet<_> = found.iter().flat_map(|text| assert_exist(text)).collect();
    let emitted: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, emitted);
}

#[test]
fn a_metric_has_an_alert_if_and_only_if_the_table_says_so() {
    let alerts = Alert::all();
    let of_rules: BTreeSet<_> =
        alerts.iter().flat_map(|alert| assert_exist(alert.expression())).collect();
    for Metric { name, alert, .. } in METRICS {
        // The bound of an alert can be another metric.
        let is_bound = METRICS.iter().any(|other| other.alert.contains(&format!("`{name}`")));
        assert_eq!(of_rules.contains(name), !alert.is_empty() || is_bound, "{name}: `{alert}`");
    }
    let in_table = METRICS.iter().filter(|metric| !metric.alert.is_empty()).count();
    assert_eq!(alerts.len(), in_table);
}

#[test]
fn the_latency_bound_of_an_alert_is_the_bound_of_a_bucket() {
    let latency = Alert::all().into_iter().find(|alert| alert.name == "DsqlLatencyHigh").unwrap();
    let (_, bound) = latency.expression().rsplit_once('>').unwrap();
    assert!(buckets().contains(&bound.trim().parse().unwrap()), "{bound}: {:?}", buckets());
}

#[test]
fn every_alert_has_texts_and_a_section_of_the_guide() {
    const BASE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/operations.md", "#");
    for alert in Alert::all() {
        assert!(!alert.annotation("summary").is_empty(), "{}", alert.name);
        assert!(!alert.annotation("description").is_empty(), "{}", alert.name);
        assert_eq!(
            alert.annotation("runbook_url").strip_prefix(BASE),
            Some(&*alert.name.to_lowercase())
        );
        let heading = format!("\n### {}\n", alert.name);
        assert!(GUIDE.contains(&heading), "docs/operations.md has no section {}", alert.name);
    }
}

#[test]
fn the_names_of_an_expression_are_found() {
    let found = names("sum by (le, a) (rate(dsql_x_bucket{b=\"dsql_no\",c!~\"$d\"}[5m])) > dsql_y");
    assert_eq!(found.metrics, ["dsql_x_bucket", "dsql_y"].map(str::to_owned).into());
    assert_eq!(found.labels, ["a", "b", "c", "le"].map(str::to_owned).into());
}

/// Runs `promtool` in `docs/monitoring`, if it is installed: Debian's package `prometheus` has it.
fn promtool(arguments: &[&str]) {
    match Command::new("promtool").args(arguments).current_dir(Path::new(FOLDER)).output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The test harness does not capture what is written here.
            let line = format!(
                "skipped: promtool is not installed (Debian's package `prometheus`), so \
                 `promtool {}` was not run\n",
                arguments.join(" ")
            );
            io::stderr().write_all(line.as_bytes()).unwrap();
        }
        Err(error) => panic!("promtool: {error}"),
    }
}

#[test]
fn promtool_accepts_the_alerts() {
    promtool(&["check", "rules", "--lint-fatal", "alerts.yml"]);
}

#[test]
fn each_alert_fires_above_its_bound_only() {
    promtool(&["test", "rules", "alerts_test.yml"]);
}
