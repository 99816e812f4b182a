//! Round trips on the wire, and the outcome of an operation with a lost or refused answer.

use std::time::Duration;

use crate::support::{
    LONG_RETRIES, advance_after, current, database_with_proxy, execution, faults_have_happened,
    give_up_after, open, store_with_proxy,
};
use temporal_dsql_domain::{
    ArchetypeId, ChasmNode, ChasmPath, Encoding, ImmediateQueue, ImmediateTask, MapEntries,
    MapTable, Tasks,
};
use temporal_dsql_ports::{
    Attempt, DeadlinePassed, Observed, Outcome, RetryPolicy, RunChange, Store, StoreError,
    StoreExt, Within, WriteSet, limits::LimitKind,
};
use temporal_dsql_store::WriteForm;
use temporal_dsql_testkit::{FaultProxy, OccCode, When, WireFault};

/// Longer than any test runs.
const NEVER: Duration = Duration::from_secs(60 * 60);

/// Counts the round trips of each operation after its statements are prepared.
#[tokio::test]
async fn every_autocommit_operation_takes_one_round_trip() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    for archetype in [ArchetypeId::WORKFLOW, ArchetypeId::SCHEDULER] {
        for warm in [false, true] {
            let (row, run) = (current(archetype), execution());
            let (id, key) = (row.filter(), run.filter());
            let mut session = store.session();
            macro_rules! count {
                ($operation:ident($($argument:expr),*)) => {{
                    let before = proxy.round_trips();
                    session.$operation($($argument),*).await.unwrap();
                    let trips = proxy.round_trips() - before;
                    if warm {
                        assert_eq!(trips, 1, "{} of {archetype}", stringify!($operation));
                    }
                }};
            }
            count!(insert_into_executions(&run));
            count!(update_executions(&run));
            count!(select_from_executions(&key));
            count!(read_lock_executions(&key));
            count!(write_lock_executions(&key));
            count!(delete_from_executions(&key));
            count!(insert_into_current_executions(&row));
            count!(update_current_executions(&row));
            count!(select_from_current_executions(&id));
            count!(lock_current_executions(&id));
            count!(lock_current_executions_join_executions(&id));
            count!(delete_from_current_executions(&id, row.run_id));
        }
    }
}

#[tokio::test]
async fn a_transaction_takes_its_statements_and_two_round_trips() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    let row = current(ArchetypeId::WORKFLOW);
    store.session().insert_into_current_executions(&row).await.unwrap();
    let update = || {
        store.run("Update", &row, |transaction, row| {
            Box::pin(async move {
                transaction.lock_current_executions(&row.filter()).await?;
                transaction.update_current_executions(row).await
            })
        })
    };
    update().await.unwrap();
    let before = proxy.round_trips();
    update().await.unwrap();
    assert_eq!(proxy.round_trips() - before, 4, "BEGIN, lock, update, COMMIT");
}

#[tokio::test]
async fn an_autocommit_write_whose_answer_is_lost_is_unknown_and_sent_once() {
    let Some((store, proxy, database)) = store_with_proxy().await else { return };
    for (fault, applied) in [(WireFault::LostRequest, "0"), (WireFault::LostAnswer, "1")] {
        let row = execution();
        // The statement must be prepared, or the fault would hit its preparation.
        store.session().insert_into_executions(&execution()).await.unwrap();
        database.execute("DELETE FROM executions").await.unwrap();
        proxy.inject(When::RoundTrip(1), fault);
        let error = store.session().insert_into_executions(&row).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        let count = database.query("SELECT count(*) FROM executions").await.unwrap();
        assert_eq!(count[0][0].as_deref(), Some(applied));
    }
}

/// The statements of a session that has seen a change of the catalog are closed before its next use, and
/// not before the error is returned: that could pass the caller's deadline.
#[tokio::test]
async fn a_refusal_because_of_the_catalog_is_returned_at_once() {
    let Some((database, proxy)) = database_with_proxy().await else { return };
    let store = open(&database, proxy.addr(), RetryPolicy::NEVER).await;
    // Prepares the statement.
    store.session().insert_into_executions(&execution()).await.unwrap();
    let conflict = WireFault::error("40001", OccCode::Oc001.message());
    proxy.inject(When::RoundTrip(1), conflict);
    let before = proxy.round_trips();
    let error = store.session().insert_into_executions(&execution()).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(proxy.round_trips() - before, 1);
    store.session().insert_into_executions(&execution()).await.unwrap();
    // Closes the statements, prepares one, and executes it.
    assert_eq!(proxy.round_trips() - before, 4);
}

#[tokio::test]
async fn an_autocommit_read_whose_answer_is_lost_is_sent_again() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    let row = execution();
    store.session().insert_into_executions(&row).await.unwrap();
    for fault in [WireFault::LostRequest, WireFault::LostAnswer] {
        proxy.inject(When::RoundTrip(1), fault);
        let read = store.session().select_from_executions(&row.filter()).await.unwrap();
        assert_eq!(read.as_ref(), Some(&row));
        assert_eq!(proxy.pending_faults(), 0);
    }
}

#[tokio::test]
async fn a_connection_lost_before_commit_is_definite_and_the_transaction_is_repeated() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    let row = current(ArchetypeId::WORKFLOW);
    proxy.inject(When::Matching("INSERT INTO current_executions".into()), WireFault::LostAnswer);
    let inserted = store
        .run("Insert", &row, |transaction, row| {
            Box::pin(async move { transaction.insert_into_current_executions(row).await })
        })
        .await
        .unwrap();
    assert_eq!((inserted, proxy.pending_faults()), (1, 0));
    let read = store.session().select_from_current_executions(&row.filter()).await.unwrap();
    assert_eq!(read, Some(row));
}

#[tokio::test]
async fn every_kind_of_conflict_is_retried_in_autocommit_too() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    store.session().insert_into_executions(&execution()).await.unwrap();
    for code in [OccCode::Oc000, OccCode::Oc001] {
        let row = execution();
        proxy.inject(When::RoundTrip(1), WireFault::Conflict(code));
        assert_eq!(store.session().insert_into_executions(&row).await.unwrap(), 1);
        assert_eq!(proxy.pending_faults(), 0, "{code:?} was met");
    }
}

#[tokio::test]
async fn after_a_catalog_conflict_statements_are_prepared_again() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    let prepared = |proxy: &FaultProxy| {
        let select = "SELECT shard_id, namespace_id, workflow_id, run_id, next_event_id";
        proxy.statements().iter().filter(|text| text.starts_with(select)).count()
    };
    let key = execution().filter();
    store.session().select_from_executions(&key).await.unwrap();
    store.session().select_from_executions(&key).await.unwrap();
    assert_eq!(prepared(&proxy), 1);
    proxy.inject(When::RoundTrip(1), WireFault::Conflict(OccCode::Oc001));
    store.session().select_from_executions(&key).await.unwrap();
    assert_eq!(prepared(&proxy), 2);
}

#[tokio::test]
async fn an_internal_error_at_commit_is_unknown_and_anywhere_else_definite() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    let unavailable = || WireFault::error("XX000", "server unavailable");
    let row = current(ArchetypeId::WORKFLOW);
    let insert = || {
        store.run("Insert", &row, |transaction, row| {
            Box::pin(async move { transaction.insert_into_current_executions(row).await })
        })
    };
    proxy.inject(When::Commit, unavailable());
    let error = insert().await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    proxy.inject(When::Matching("INSERT INTO current_executions".into()), unavailable());
    assert_eq!(insert().await.unwrap(), 1, "repeated after a definite failure");
    assert_eq!(proxy.pending_faults(), 0);
}

/// A body that swallows the error of a statement gets it again at COMMIT, and so does one that
/// swallows the error of a write.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test runs the body itself")]
async fn a_failed_write_fails_its_transaction() {
    let Some((store, _proxy, database)) = store_with_proxy().await else { return };
    let row = execution();
    let task = ImmediateTask { task_id: 1, data: row.data.clone() };
    let immediate = vec![(ImmediateQueue::Transfer, vec![task.clone(), task])];
    let twice = Tasks { immediate, scheduled: Vec::new() };
    let mut write = WriteSet::new("Swallow", row.shard_id);
    write.runs.push(RunChange::Insert { row: &row, maps: &[] });
    write.tasks.push(&twice);
    let deletion = row.filter();
    let mut delete = WriteSet::new("Swallow", row.shard_id);
    delete.runs.push(RunChange::Delete(&deletion));
    for of_write in [false, true] {
        let mut transaction = store.begin(Attempt::first("Swallow")).await.unwrap();
        transaction.insert_into_executions(&execution()).await.unwrap();
        let is_duplicate = |error: &StoreError| matches!(error, StoreError::AlreadyExists { .. });
        let failed = if of_write {
            transaction.write(&write, &Observed::default()).await.map(drop)
        } else {
            transaction.insert_into_executions(&row).await.unwrap();
            transaction.insert_into_executions(&row).await.map(drop)
        };
        assert!(is_duplicate(&failed.unwrap_err()), "of a write: {of_write}");
        let later = transaction.write(&delete, &Observed::default()).await.unwrap_err();
        assert!(is_duplicate(&later), "{later:?}");
        let end = transaction.commit().await.unwrap_err();
        assert!(is_duplicate(&end), "{end:?}");
        let left =
            "SELECT (SELECT count(*) FROM executions), (SELECT count(*) FROM transfer_tasks)";
        let left = database.query(left).await.unwrap();
        assert_eq!(left[0], [Some("0".into()), Some("0".into())], "of a write: {of_write}");
    }
}

#[tokio::test]
async fn a_limit_of_the_server_is_reported_and_not_retried() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    store.session().insert_into_executions(&execution()).await.unwrap();
    proxy.inject(When::RoundTrip(1), WireFault::error("54000", "transaction row limit exceeded"));
    let error = store.session().insert_into_executions(&execution()).await.unwrap_err();
    assert!(matches!(error, StoreError::Limit { .. }), "{error:?}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("transaction row limit exceeded"), "{source}");
}

#[tokio::test]
async fn a_message_that_the_server_finds_too_long_is_a_limit_and_not_an_outage() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    store.session().insert_into_executions(&execution()).await.unwrap();
    proxy.inject(When::RoundTrip(1), WireFault::error("08P01", "invalid message length"));
    let error = store.session().insert_into_executions(&execution()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: LimitKind::TransactionBytes, .. }),
        "{error:?}"
    );
    assert_eq!(proxy.pending_faults(), 0);
}

#[tokio::test]
async fn a_statement_without_an_answer_times_out_and_its_connection_is_closed() {
    let Some((_, proxy, database)) = store_with_proxy().await else { return };
    let mut config = crate::support::config(&database, proxy.addr());
    config.retry = RetryPolicy::NEVER;
    let store = temporal_dsql_store::connect(&config, None).await.unwrap();
    store.session().insert_into_executions(&execution()).await.unwrap();
    proxy.inject(When::RoundTrip(1), WireFault::Delay(NEVER));
    let (row, mut session) = (execution(), store.session());
    let insert = session.insert_into_executions(&row);
    let timeout = config.statement_timeout;
    let inserted = advance_after(faults_have_happened(&proxy), timeout, insert).await;
    let error = inserted.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    // Not on the connection that still waits for its answer.
    store.session().insert_into_executions(&execution()).await.unwrap();
}

/// Temporal's `TestSQLiteTransactionContextCancellation`: the transaction of a caller that is
/// dropped during a statement ends, and the pool still works.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the transaction is left half-way on purpose")]
async fn a_transaction_dropped_during_a_statement_is_rolled_back_and_the_pool_works() {
    let Some((store, proxy, database)) = store_with_proxy().await else { return };
    let row = current(ArchetypeId::WORKFLOW);
    for _ in 0..30 {
        let mut transaction = store.begin(Attempt::first("Cancelled")).await.unwrap();
        transaction.insert_into_current_executions(&row).await.unwrap();
        proxy.inject(When::RoundTrip(1), WireFault::Delay(Duration::from_millis(50)));
        let id = row.filter();
        let lock = transaction.lock_current_executions(&id);
        give_up_after(faults_have_happened(&proxy), lock).await;
        drop(transaction);
    }
    let count = database.query("SELECT count(*) FROM current_executions").await.unwrap();
    assert_eq!(count[0][0].as_deref(), Some("0"));
    assert_eq!(store.session().insert_into_current_executions(&row).await.unwrap(), 1);
}

/// A statement whose answer, an error, arrives after its caller was dropped: the next exchange on
/// that connection would read it in place of its own.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test drops the transaction itself")]
async fn a_connection_whose_statement_was_given_up_does_not_return_in_its_transaction() {
    let Some((_, proxy, database)) = store_with_proxy().await else { return };
    let mut config = crate::support::config(&database, proxy.addr());
    config.pool.max_connections = 1;
    config.pool.min_connections = 0;
    let store = temporal_dsql_store::connect(&config, None).await.unwrap();
    let row = execution();
    store.session().insert_into_executions(&row).await.unwrap();
    for by_drop in [false, true] {
        let mut transaction = store.begin(Attempt::first("GivenUp")).await.unwrap();
        let late = Duration::from_millis(100);
        proxy.inject(When::Executing("INSERT INTO executions".into()), WireFault::Delay(late));
        let duplicate = transaction.insert_into_executions(&row);
        give_up_after(faults_have_happened(&proxy), duplicate).await;
        if by_drop {
            drop(transaction);
        } else {
            transaction.rollback().await.unwrap();
        }
        let read = store.session().select_from_executions(&row.filter()).await;
        assert_eq!(read.unwrap().as_ref(), Some(&row));
    }
}

/// The answer would be a success, and COMMIT, too.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the body of the transaction is written out")]
async fn a_transaction_with_a_statement_that_was_given_up_cannot_be_committed() {
    let Some((store, proxy, _database)) = store_with_proxy().await else { return };
    let (first, second) = (execution(), execution());
    let mut transaction = store.begin(Attempt::first("GivenUp")).await.unwrap();
    transaction.insert_into_executions(&first).await.unwrap();
    let late = Duration::from_millis(100);
    proxy.inject(When::Executing("INSERT INTO executions".into()), WireFault::Delay(late));
    let insert = transaction.insert_into_executions(&second);
    give_up_after(faults_have_happened(&proxy), insert).await;
    tokio::time::sleep(2 * late).await;
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    for row in [first, second] {
        let read = store.session().select_from_executions(&row.filter()).await;
        assert_eq!(read.unwrap(), None);
    }
}

#[tokio::test]
async fn a_time_out_of_range_is_corrupt_and_no_panic() {
    let Some((store, _proxy, database)) = store_with_proxy().await else { return };
    let row = current(ArchetypeId::WORKFLOW);
    store.session().insert_into_current_executions(&row).await.unwrap();
    for time in ["infinity", "-infinity", "12345-01-01"] {
        let sql = format!("UPDATE current_executions SET start_time = '{time}'");
        database.execute(&sql).await.unwrap();
        let read = store.session().select_from_current_executions(&row.filter()).await;
        let error = read.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { column: "start_time", .. }), "{error:?}");
    }
}

/// What the statement of a write returns beside its counts is as it was before the write.
#[tokio::test]
async fn a_write_that_replaces_a_time_out_of_range_is_applied() {
    use temporal_dsql_ports::{CurrentChange, ExpectedCurrent, WriteSet};

    let Some((store, _proxy, database)) = store_with_proxy().await else { return };
    let row = current(ArchetypeId::WORKFLOW);
    store.session().insert_into_current_executions(&row).await.unwrap();
    database.execute("UPDATE current_executions SET start_time = 'infinity'").await.unwrap();
    let mut set = WriteSet::new("Change", row.shard_id);
    let expected = ExpectedCurrent::Run(row.run_id);
    set.current = Some(CurrentChange { id: row.filter(), expected, write: Some(&row) });
    store.apply(&set).await.unwrap();
    let found = store.session().select_from_current_executions(&row.filter()).await.unwrap();
    assert_eq!(found, Some(row));
}

/// The one statement of a write inserts into many tables.
#[tokio::test]
async fn a_duplicate_that_names_no_table_is_not_taken_for_the_run() {
    use temporal_dsql_domain::{CurrentExecutionsRow, Table};
    use temporal_dsql_stores::{CreateExecution, CreateMode, ExecutionStore, Snapshot};

    const UNNAMED: &str = "duplicate key value violates unique constraint";
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let open = async |retry| {
        let mut config = crate::support::config(&database, proxy.addr());
        config.write_form = WriteForm::OneStatement;
        config.retry = retry;
        temporal_dsql_store::connect(&config, None).await.unwrap()
    };
    let refuse = |message: &str| {
        let text = When::Executing("INSERT INTO executions".into());
        proxy.inject(text, WireFault::error("23505", message));
    };
    let request = || {
        let execution = execution();
        let current = CurrentExecutionsRow {
            workflow_id: execution.workflow_id.clone(),
            run_id: execution.run_id,
            ..current(ArchetypeId::WORKFLOW)
        };
        let snapshot = Snapshot {
            execution,
            current,
            maps: Vec::new(),
            tasks: Tasks::default(),
            events: Vec::new(),
        };
        CreateExecution { owner: crate::support::OWNER, mode: CreateMode::BrandNew, snapshot }
    };
    let once = open(RetryPolicy::NEVER).await;
    once.session().insert_into_shards(&crate::support::shard()).await.unwrap();
    let executions = ExecutionStore::new(&once);
    // Such a duplicate key may be in any table. One of the run or of the current execution means
    // that another transaction inserted the row first. The next attempt distinguishes them.
    let of_creators = ["executions_pkey", "current_executions_pkey"];
    let named = of_creators.map(|name| format!("{UNNAMED} \"{name}\""));
    for message in [UNNAMED].into_iter().chain(named.iter().map(String::as_str)) {
        refuse(message);
        let error = executions.create(&request()).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{message}: {error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
    refuse(&format!("{UNNAMED} \"timer_tasks_pkey\""));
    let error = executions.create(&request()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::AlreadyExists { table: Table::TimerTasks, .. }),
        "{error:?}"
    );
    // The next attempt finds no row, and inserts it.
    let store = open(LONG_RETRIES).await;
    let executions = ExecutionStore::new(&store);
    let request = request();
    refuse(UNNAMED);
    executions.create(&request).await.unwrap();
    let run = &request.snapshot.execution;
    assert_eq!(executions.get(&run.filter()).await.unwrap().unwrap().execution, *run);
}

/// The outcome of a write that the caller's deadline ends depends on what was on the wire.
#[tokio::test]
async fn a_write_that_its_deadline_ends_reports_whether_it_may_have_been_applied() {
    const LIMIT: Duration = Duration::from_secs(60);
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let mut config = crate::support::config(&database, proxy.addr());
    config.statement_timeout = NEVER;
    let store = temporal_dsql_store::connect(&config, None).await.unwrap();
    // A row of its own each time: the server keeps the locks of a transaction whose end it has not
    // received. The statements are prepared on the remaining connection, so that none of them is
    // prepared later.
    let inserted = async || {
        let row = current(ArchetypeId::WORKFLOW);
        let mut session = store.session();
        assert_eq!(session.insert_into_current_executions(&row).await.unwrap(), 1);
        assert_eq!(session.update_current_executions(&row).await.unwrap(), 1);
        assert_eq!(
            session.select_from_current_executions(&row.filter()).await.unwrap().as_ref(),
            Some(&row)
        );
        row
    };
    let assert_ended = |error: StoreError, outcome, what: &str| {
        assert_eq!(error.outcome(), outcome, "{what}: {error:?}");
        let StoreError::Unavailable { source: Some(cause), .. } = error else {
            panic!("{what}: {error:?}");
        };
        assert!(cause.get().is::<DeadlinePassed>(), "{what}: {cause:?}");
    };
    for (unit, what, outcome) in [
        (1, "BEGIN", Outcome::NotApplied),
        (2, "the statement", Outcome::NotApplied),
        (3, "COMMIT", Outcome::Unknown),
    ] {
        let row = inserted().await;
        proxy.inject(When::RoundTrip(unit), WireFault::Delay(NEVER));
        let within = Within::new(&store, LIMIT);
        let update = within.run("Update", &row, |transaction, row| {
            Box::pin(async move { transaction.update_current_executions(row).await })
        });
        let updated = advance_after(faults_have_happened(&proxy), LIMIT, update).await;
        assert_ended(updated.unwrap_err(), outcome, what);
    }
    // A statement by itself: a read applies nothing, a write may have been applied.
    let id = inserted().await.filter();
    proxy.inject(When::RoundTrip(1), WireFault::Delay(NEVER));
    let within = Within::new(&store, LIMIT);
    let mut session = within.session();
    let read = session.select_from_current_executions(&id);
    let read = advance_after(faults_have_happened(&proxy), LIMIT, read).await;
    assert_ended(read.unwrap_err(), Outcome::NotApplied, "a read");
    let row = inserted().await;
    proxy.inject(When::RoundTrip(1), WireFault::Delay(NEVER));
    let within = Within::new(&store, LIMIT);
    let mut session = within.session();
    let write = session.update_current_executions(&row);
    let written = advance_after(faults_have_happened(&proxy), LIMIT, write).await;
    assert_ended(written.unwrap_err(), Outcome::Unknown, "a write");
    // The pool still works; none of its connections waits for an answer.
    inserted().await;
}

#[tokio::test]
async fn a_path_of_a_chasm_node_may_be_as_long_as_the_column_that_the_database_has() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else {
        return;
    };
    let row = execution();
    let nodes = |characters| {
        MapEntries::ChasmNodes(vec![ChasmNode {
            path: ChasmPath::new("p".repeat(characters)).unwrap(),
            metadata: crate::support::blob(),
            data: None,
            data_encoding: Encoding::new("").unwrap(),
        }])
    };
    for characters in [255, 1_000, 1_536] {
        let column =
            format!("ALTER TABLE chasm_node_maps ALTER chasm_path TYPE VARCHAR({characters})");
        database.execute(&column).await.unwrap();
        let store = crate::support::open(&database, proxy.addr(), LONG_RETRIES).await;
        let (fits, longer) = ([nodes(characters)], nodes(characters.min(1_535) + 1));
        let run = row.filter();
        store.session().replace_into_map(&run, &fits[0]).await.unwrap();
        store.session().delete_all_from_map(&run, MapTable::ChasmNodes, None).await.unwrap();
        if characters < 1_536 {
            // As a statement of its own and as a part of a write set.
            let alone = store.session().replace_into_map(&run, &longer).await;
            let maps = [longer];
            let mut set = WriteSet::new("Create", row.shard_id);
            set.runs.push(RunChange::Insert { row: &row, maps: &maps });
            for error in [alone.map(drop).unwrap_err(), store.apply(&set).await.unwrap_err()] {
                let StoreError::InvalidArgument { field: "chasm_path", reason, .. } = &error else {
                    panic!("{error:?}");
                };
                let expected = format!("is {} characters long", characters + 1);
                assert!(reason.starts_with(&expected), "{reason}");
            }
            let found = store.session().select_from_executions(&run).await.unwrap();
            assert_eq!(found, None, "nothing is applied");
        }
        let mut set = WriteSet::new("Create", row.shard_id);
        set.runs.push(RunChange::Insert { row: &row, maps: &fits });
        store.apply(&set).await.unwrap();
        let found = store.session().select_all_from_map(&run, MapTable::ChasmNodes).await.unwrap();
        assert_eq!(found, fits[0]);
        store.session().delete_all_from_map(&run, MapTable::ChasmNodes, None).await.unwrap();
        store.session().delete_from_executions(&run).await.unwrap();
    }
}
