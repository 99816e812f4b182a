//! The statements that are sent, and faults at every round trip.

use std::sync::atomic::{AtomicU32, Ordering};

use temporal_dsql_migrate::{MigrateError, Progress, ProgressObserver, SchemaDatabase};
use temporal_dsql_testkit::{FaultProxy, OccCode, ScratchDatabase, When, WireFault};

use crate::{
    Command, V1_0, V1_1, at, chain, connect, connect_via, history,
    spec::{assert_is, whole},
};

/// Runs `commands` one after the other on a database at 1.0, with `fault` in one round trip of each:
/// the first, then the second, and so on. Every run completes with one row in the history.
async fn at_every_round_trip(commands: &[Command], fault: impl Fn() -> WireFault) {
    let Some(template) = at(V1_0).await else {
        return;
    };
    for unit in 1.. {
        let scratch = ScratchDatabase::create_from_template(&template).await.unwrap();
        let mut expected = vec!["0 > 1.0"];
        let mut happened = 0;
        for command in commands {
            let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
            let mut database = connect_via(&scratch, proxy.addr()).await;
            proxy.inject(When::RoundTrip(unit), fault());
            if let Err(error) = command.run(&mut database).await {
                panic!("{command:?}, {:?} at round trip {unit}: {}", fault(), chain(&error));
            }
            let (version, row) = match command {
                Command::Update => (V1_1, "1.0 > 1.1"),
                Command::Rollback => (V1_0, "1.1 > 1.0"),
                other => panic!("{other:?} has no expectation"),
            };
            expected.push(row);
            assert_is(&connect(&scratch).await.catalog(&whole()).await.unwrap(), version);
            assert_eq!(history(&scratch).await, expected);
            happened += usize::from(proxy.pending_faults() == 0);
        }
        if happened == 0 {
            assert!(unit > 10, "{unit} round trips only");
            return;
        }
    }
}

async fn updated(scratch: &ScratchDatabase) {
    assert_is(&connect(scratch).await.catalog(&whole()).await.unwrap(), V1_1);
    assert_eq!(history(scratch).await, ["0 > 1.0", "1.0 > 1.1"]);
}

#[tokio::test]
async fn t5_an_update_and_a_rollback_whose_connection_breaks_anywhere_complete() {
    for fault in [|| WireFault::LostRequest, || WireFault::LostAnswer] {
        at_every_round_trip(&[Command::Update, Command::Rollback], fault).await;
    }
}

#[tokio::test]
async fn t7_a_conflict_at_any_round_trip_of_an_update_is_retried() {
    let fault = || WireFault::Conflict(OccCode::Oc001);
    at_every_round_trip(&[Command::Update], fault).await;
}

#[tokio::test]
async fn an_internal_server_error_at_any_round_trip_is_retried() {
    let fault = || WireFault::error("XX000", "server unavailable");
    at_every_round_trip(&[Command::Update], fault).await;
}

#[tokio::test]
async fn a_lost_answer_to_commit_is_resolved_by_the_version_row() {
    for fault in [WireFault::LostRequest, WireFault::LostAnswer] {
        let Some(scratch) = at(V1_0).await else {
            return;
        };
        let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
        let mut database = connect_via(&scratch, proxy.addr()).await;
        proxy.inject(When::Commit, fault);
        Command::Update.run(&mut database).await.unwrap();
        assert_eq!(proxy.pending_faults(), 0);
        updated(&scratch).await;
    }
}

#[tokio::test]
async fn a_setup_survives_lost_connections_and_conflicts() {
    let Some(scratch) = ScratchDatabase::create().await else {
        return;
    };
    let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
    let mut database = connect_via(&scratch, proxy.addr()).await;
    for unit in (5..150).step_by(11) {
        let fault = match unit % 3 {
            0 => WireFault::LostAnswer,
            1 => WireFault::Conflict(OccCode::Oc001),
            _ => WireFault::LostRequest,
        };
        proxy.inject(When::RoundTrip(unit), fault);
    }
    Command::Setup(V1_1).run(&mut database).await.unwrap();
    assert_is(&connect(&scratch).await.catalog(&whole()).await.unwrap(), V1_1);
    assert_eq!(history(&scratch).await, ["0 > 1.1"]);
}

#[tokio::test]
async fn a_run_waits_for_the_end_of_an_outage_of_the_host() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
    let mut database = connect_via(&scratch, proxy.addr()).await;
    let mut migrator = crate::migrator(&mut database);
    let plan = Command::Update.plan(&mut migrator).await.unwrap();
    proxy.refuse(true);
    proxy.cut();
    let back = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        proxy.refuse(false);
    };
    let (report, ()) = tokio::join!(migrator.apply(&plan), back);
    assert_eq!(report.unwrap().done, 2);
    updated(&scratch).await;
}

#[tokio::test]
async fn only_statements_that_dsql_supports_are_sent() {
    let Some(scratch) = ScratchDatabase::create().await else {
        return;
    };
    let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
    let mut database = connect_via(&scratch, proxy.addr()).await;
    for command in [Command::Setup(V1_0), Command::Update, Command::Rollback, Command::Overwrite] {
        command.run(&mut database).await.unwrap();
    }
    let statements = proxy.statements();
    let mut in_transaction = false;
    for statement in &statements {
        let upper = statement.to_uppercase();
        let first = upper.split_whitespace().next().unwrap_or_default();
        assert!(!statement.trim_end_matches(';').contains(';'), "several statements: {statement}");
        for forbidden in ["SAVEPOINT", "ADVISORY", "LOCK TABLE", "WAIT_FOR_JOB", "TRUNCATE"] {
            assert!(!upper.contains(forbidden), "{statement}");
        }
        match first {
            "BEGIN" => in_transaction = true,
            "COMMIT" | "ROLLBACK" => in_transaction = false,
            "CREATE" | "DROP" | "ALTER" => assert!(!in_transaction, "{statement}"),
            "SET" => assert!(upper.starts_with("SET SEARCH_PATH TO"), "{statement}"),
            "SELECT" | "INSERT" | "UPDATE" => {}
            other => panic!("{other}: {statement}"),
        }
    }
    let begins = statements.iter().filter(|text| text.starts_with("BEGIN")).count();
    assert_eq!(begins, 4, "one transaction for each version that is recorded");
}

#[tokio::test]
async fn the_round_trips_of_an_update_do_not_depend_on_the_number_of_rows() {
    let mut round_trips = Vec::new();
    for rows in [0, 10_000] {
        let Some(scratch) = at(V1_0).await else {
            return;
        };
        for table in ["current_executions", "executions"] {
            let columns = match table {
                "executions" => {
                    "n, gen_random_uuid(), 'w', gen_random_uuid(), 1, 1, '', '', '', ''"
                }
                _ => "n, gen_random_uuid(), 'w', gen_random_uuid(), 'r', 1, 1, 0, now(), 0, '', ''",
            };
            let insert = format!(
                "INSERT INTO {table} SELECT {columns} FROM generate_series(1, {rows}) AS n"
            );
            scratch.execute(&insert).await.unwrap();
        }
        let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
        let mut database = connect_via(&scratch, proxy.addr()).await;
        Command::Update.run(&mut database).await.unwrap();
        round_trips.push((proxy.round_trips(), proxy.statements()));
    }
    assert_eq!(round_trips[0], round_trips[1]);
}

#[tokio::test]
async fn a_dry_run_sends_only_selects() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
    let mut database = connect_via(&scratch, proxy.addr()).await;
    let mut migrator = crate::migrator(&mut database);
    for command in [Command::Setup(V1_0), Command::Update, Command::Rollback, Command::Overwrite] {
        command.plan(&mut migrator).await.unwrap();
    }
    migrator.status().await.unwrap();
    migrator.verify(None).await.unwrap();
    for statement in proxy.statements() {
        assert!(
            statement.starts_with("SELECT") || statement.starts_with("SET search_path"),
            "{statement}"
        );
    }
}

/// Injects a conflict into every retry.
struct Conflicts<'p> {
    proxy: &'p FaultProxy,
    retries: AtomicU32,
}

impl ProgressObserver for Conflicts<'_> {
    fn on(&self, progress: Progress<'_>) {
        if let Progress::Retrying { .. } = progress {
            self.retries.fetch_add(1, Ordering::Relaxed);
            self.proxy.inject(When::RoundTrip(1), WireFault::Conflict(OccCode::Oc000));
        }
    }
}

#[tokio::test]
async fn endless_conflicts_end_at_the_deadline_with_the_last_conflict() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
    let mut database = connect_via(&scratch, proxy.addr()).await;
    let mut timeouts = temporal_dsql_migrate::Timeouts::default();
    timeouts.retry.base = std::time::Duration::from_millis(5);
    timeouts.retry.deadline = std::time::Duration::from_millis(200);
    let observer = Conflicts { proxy: &proxy, retries: AtomicU32::new(0) };
    proxy.inject(When::RoundTrip(1), WireFault::Conflict(OccCode::Oc000));
    let mut migrator = temporal_dsql_migrate::Migrator::new(
        crate::embedded(),
        &mut database,
        "postgres",
        timeouts,
        &observer,
    );
    let error = migrator.plan_update(None).await.unwrap_err();
    let MigrateError::DeadlineExceeded { attempts, .. } = &error else {
        panic!("{}", chain(&error));
    };
    assert_eq!(*attempts, observer.retries.load(Ordering::Relaxed) + 1);
    let text = chain(&error);
    assert!(text.contains("reading the schema version did not succeed within"), "{text}");
    assert!(text.contains("(OC000)"), "{text}");
}
