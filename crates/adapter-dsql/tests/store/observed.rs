//! The observability of a store: spans, the log, and metrics.

use std::{collections::BTreeSet, time::Duration};

use crate::support::{
    WAIT_LIMIT, config, current, execution, give_up_after,
    recorder::Recorded,
    store_with_proxy,
    trace::{Span, Trace},
    wait_until,
};
use temporal_dsql_domain::{ArchetypeId, CurrentExecutionsRow};
use temporal_dsql_ports::{
    Attempt, BoxFuture, Outcome, RetryPolicy, Store, StoreError, StoreExt, Transaction,
};
use temporal_dsql_store::{METRICS, connect};
use temporal_dsql_testkit::{OccCode, When, WireFault};
use tokio::sync::Notify;

/// One transaction of two statements.
fn change<'t>(
    transaction: &'t mut dyn Transaction,
    row: &'t CurrentExecutionsRow,
) -> BoxFuture<'t, Result<u64, StoreError>> {
    Box::pin(async move {
        transaction.lock_current_executions(&row.filter()).await?;
        transaction.update_current_executions(row).await
    })
}

/// The operations that were seen, each with its statements.
fn operations(trace: &Trace) -> Vec<(Span, Vec<Span>)> {
    let spans = trace.spans();
    let mut operations = Vec::new();
    for (place, span) in spans.iter().enumerate() {
        match span.name {
            "operation" => {
                let inside = spans.iter().filter(|other| other.parent == Some(place));
                operations.push((span.clone(), inside.cloned().collect()));
            }
            "statement" => {
                let parent = span.parent.map(|parent| spans[parent].name);
                assert_eq!(parent, Some("operation"), "{span:?}");
            }
            other => panic!("a span `{other}`"),
        }
    }
    operations
}

fn values(span: &Span, fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| span.fields.get(field).to_owned()).collect()
}

#[tokio::test]
async fn an_operation_is_one_span_with_every_statement_of_every_attempt_inside() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    let row = current(ArchetypeId::WORKFLOW);
    store.session().insert_into_current_executions(&row).await.unwrap();
    proxy.inject(When::Commit, WireFault::Conflict(OccCode::Oc000));
    let (trace, _guard) = Trace::start();
    store.run("Change", &row, change).await.unwrap();
    let operations = operations(&trace);
    let [(operation, statements)] = &operations[..] else { panic!("{operations:?}") };
    let ended = ["otel.name", "db.operation.name", "attempts", "outcome", "error_class"];
    assert_eq!(values(operation, &ended), ["Change", "Change", "2", "done", ""]);
    let seen: Vec<_> = statements
        .iter()
        .map(|span| values(span, &["db.operation.name", "attempt", "outcome"]).join(" "))
        .collect();
    let of_attempt = |number, commit| {
        [
            format!("BEGIN {number} done"),
            format!("LockCurrentExecutions {number} done"),
            format!("UpdateCurrentExecutions {number} done"),
            format!("COMMIT {number} {commit}"),
        ]
    };
    assert_eq!(seen, [of_attempt(1, "not_applied"), of_attempt(2, "done")].concat());
}

/// The counterpart of the logger of the Go plugin's `newDB` (requirements.md#req-3-1,
/// requirements.md#req-3-2).
#[tokio::test]
async fn a_store_made_by_connect_logs_its_operations_through_the_subscriber_in_place() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let (trace, _guard) = Trace::start();
    let store = connect(&config(&database, proxy.addr()), None).await.unwrap();
    assert_eq!((trace.count("connected"), trace.count("opened")), (1, 1));
    trace.clear();
    store.session().insert_into_executions(&execution()).await.unwrap();
    let operation = trace.spans().into_iter().rfind(|span| span.name == "operation").unwrap();
    assert_eq!(operation.fields.get("db.operation.name"), "InsertIntoExecutions");
    assert_eq!(trace.count("done"), 1);
}

#[tokio::test]
async fn an_autocommit_statement_is_an_operation_and_no_payload_is_recorded() {
    let Some((store, _proxy, _database)) = store_with_proxy().await else { return };
    let mut row = current(ArchetypeId::SCHEDULER);
    row.data = Some(b"a payload nobody may see".to_vec());
    let (trace, _guard) = Trace::start();
    store.session().insert_into_current_executions(&row).await.unwrap();
    let error = store.session().insert_into_current_executions(&row).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }));
    let operations = operations(&trace);
    let [(first, once), (second, again)] = &operations[..] else { panic!("{operations:?}") };
    let ended = ["otel.name", "attempts", "outcome", "error_class"];
    let name = "InsertIntoCurrentExecutions";
    assert_eq!(values(first, &ended), [name, "1", "done", ""]);
    assert_eq!(values(second, &ended), [name, "1", "not_applied", "condition_failed"]);
    let statement = ["db.operation.name", "db.collection.name", "shard", "attempt", "outcome"];
    assert_eq!((once.len(), again.len()), (1, 1));
    let expected = [name, "current_chasm_executions", "7", "1", "done"];
    assert_eq!(values(&once[0], &statement), expected);
    assert!(!trace.text().contains("payload"), "{}", trace.text());
}

/// Dropping an operation ends it; its rollback is still a part of it.
#[tokio::test]
async fn the_rollback_of_a_dropped_transaction_is_inside_its_operation() {
    let Some((store, _proxy, _database)) = store_with_proxy().await else { return };
    let row = current(ArchetypeId::WORKFLOW);
    let (trace, _guard) = Trace::start();
    let request = (row, Notify::new());
    let never = store.run("Never", &request, |transaction, (row, is_locked)| {
        Box::pin(async move {
            transaction.lock_current_executions(&row.filter()).await?;
            is_locked.notify_one();
            std::future::pending::<Result<(), StoreError>>().await
        })
    });
    tokio::select! {
        () = request.1.notified() => {}
        result = never => panic!("it ended: {result:?}"),
    }
    wait_until("never rolled back", async || trace.count("done") >= 3).await;
    let operations = operations(&trace);
    let [(operation, statements)] = &operations[..] else { panic!("{operations:?}") };
    assert_eq!(operation.fields.get("db.operation.name"), "Never");
    assert_eq!(statements[2].fields.get("db.operation.name"), "ROLLBACK");
}

#[tokio::test]
async fn a_commit_without_an_answer_is_warned_of_counted_and_classed_by_what_it_was() {
    let recorded = Recorded::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    let row = current(ArchetypeId::WORKFLOW);
    store.session().insert_into_current_executions(&row).await.unwrap();
    let faults = [
        (WireFault::LostAnswer, "connection_lost"),
        (WireFault::error("XX000", "server unavailable"), "server_error"),
    ];
    for (number, (fault, class)) in (1..).zip(faults) {
        proxy.inject(When::Commit, fault);
        let (trace, _guard) = Trace::start();
        let error = store.run("Change", &row, change).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown);
        let unknown = recorded.total("dsql_tx_unknown_total", &[("operation", "Change")]);
        assert_eq!(unknown, number);
        let of_class = [("operation", "Change"), ("error_class", class)];
        assert_eq!(recorded.total("dsql_tx_error_class_total", &of_class), 1, "{class}");
        let operations = operations(&trace);
        let ended = ["outcome", "error_class"];
        assert_eq!(values(&operations[0].0, &ended), ["unknown", class]);
        let warnings: Vec<_> = trace
            .events()
            .into_iter()
            .filter(|event| event.level == tracing::Level::WARN)
            .map(|event| event.fields)
            .collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].get("message"), "no answer to a commit");
        assert_eq!(warnings[0].get("db.operation.name"), "Change");
        assert_eq!(warnings[0].get("error_class"), class);
    }
    assert_eq!(recorded.total("dsql_tx_exhausted_total", &[]), 0);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a transaction that holds a connection")]
async fn callers_that_wait_for_a_connection_are_counted_once_each_with_and_without_success() {
    let recorded = Recorded::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let mut config = config(&database, proxy.addr());
    config.pool.max_connections = 1;
    config.retry = RetryPolicy::NEVER;
    config.pool.acquire_timeout = Duration::from_millis(500);
    let impatient = connect(&config, None).await.unwrap();
    config.pool.acquire_timeout = WAIT_LIMIT;
    let patient = connect(&config, None).await.unwrap();
    // Of both stores.
    let waits = || recorded.total("dsql_pool_wait_total", &[]);
    let durations = || recorded.total("dsql_pool_wait_duration", &[]);
    let key = execution().filter();
    for store in [&impatient, &patient] {
        store.session().select_from_executions(&key).await.unwrap();
    }
    assert_eq!((waits(), durations()), (0, 0), "a connection was free");
    let _held = impatient.begin(Attempt::first("Hold")).await.unwrap();
    let error = impatient.session().select_from_executions(&key).await.unwrap_err();
    assert_eq!((waits(), durations()), (1, 1), "without success");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("all 1 are in use"), "{source}");
    let exhausted = [("error_class", "pool_exhausted")];
    assert_eq!(recorded.total("dsql_tx_error_class_total", &exhausted), 1);
    let holder = patient.begin(Attempt::first("Hold")).await.unwrap();
    let mut session = patient.session();
    let waiting = async { session.select_from_executions(&key).await.unwrap() };
    let releasing = async {
        wait_until("no caller waits", async || waits() == 2).await;
        holder.rollback().await.unwrap();
    };
    tokio::join!(waiting, releasing);
    assert_eq!((waits(), durations()), (2, 2), "with success");
    let _held = patient.begin(Attempt::first("Hold")).await.unwrap();
    let mut session = patient.session();
    let begins = wait_until("no caller waits", async || waits() == 3);
    give_up_after(begins, session.select_from_executions(&key)).await;
    assert_eq!((waits(), durations()), (3, 3), "with a caller that was dropped");
}

#[tokio::test]
async fn the_described_metrics_are_the_table_and_every_emitted_metric_is_in_it() {
    let recorded = Recorded::default();
    let _recorder = metrics::set_default_local_recorder(&recorded);
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let mut config = config(&database, proxy.addr());
    config.pool.min_connections = 2;
    let store = connect(&config, None).await.unwrap();
    let described = recorded.described();
    assert_eq!(described.len(), METRICS.len());
    for metric in METRICS {
        let expected = (metric.kind, metric.unit, metric.meaning.to_owned());
        assert_eq!(described[metric.name], expected, "{}", metric.name);
    }
    let row = current(ArchetypeId::WORKFLOW);
    store.session().insert_into_current_executions(&row).await.unwrap();
    proxy.inject(When::Commit, WireFault::Conflict(OccCode::Oc000));
    store.run("Change", &row, change).await.unwrap();
    proxy.inject(When::Commit, WireFault::LostAnswer);
    store.run("Change", &row, change).await.unwrap_err();
    // The keeper of the pool refills the reserve and sets the gauges.
    let names = || recorded.emitted().into_iter().map(|(name, ..)| name).collect::<BTreeSet<_>>();
    wait_until("too few to mean anything", async || names().len() >= 12).await;
    for (name, kind, labels) in &recorded.emitted() {
        let metric = METRICS.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("`{name}` is not in the table"));
        assert_eq!(*kind, metric.kind, "{name}");
        assert_eq!(labels, metric.labels, "{name}");
    }
}
