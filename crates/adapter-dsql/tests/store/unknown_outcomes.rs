//! Lost answers that no later read resolves: the write returns an unknown outcome, whatever error
//! follows, because a caller repeats a write that is reported as not applied.

use crate::support::{LONG_RETRIES, OWNER, blob, current, execution, trace::Trace};
use temporal_dsql_domain::{
    ArchetypeId, DataBlob, ExecutionsRow, ImmediateQueue, ImmediateTask, ShardsRow, TaskLevel,
    TaskQueueKey, TaskQueueKind, TaskQueuesRow, Tasks, TasksRow,
};
use temporal_dsql_ports::{Attempt, Outcome, Store, StoreError, TaskQueueLease};
use temporal_dsql_store::{DsqlStore, WriteForm, connect};
use temporal_dsql_stores::{
    CreateExecution, CreateMode, ExecutionStore, MatchingTaskStore, ShardStore, Snapshot, TaskStore,
};
use temporal_dsql_testkit::{FaultProxy, ScratchDatabase, When, WireFault};

/// How writes are sent: the answer to the one statement is lost, or the one to COMMIT.
const FORMS: [WriteForm; 2] = [WriteForm::OneStatement, WriteForm::StatementPerTable];

async fn opened(form: WriteForm) -> Option<(DsqlStore, FaultProxy, ScratchDatabase)> {
    let (database, proxy) = crate::support::database_with_proxy().await?;
    let mut config = crate::support::config(&database, proxy.addr());
    config.write_form = form;
    let store = connect(&config, None).await.unwrap();
    store.session().insert_into_shards(&crate::support::shard()).await.unwrap();
    Some((store, proxy, database))
}

/// Refuses the next statement with this text with a permanent error.
fn refuse(proxy: &FaultProxy, text: &str) {
    proxy.inject(When::Executing(text.into()), WireFault::error("42501", "permission denied"));
}

fn assert_unknown(error: &StoreError) {
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
}

fn request() -> CreateExecution {
    let current = current(ArchetypeId::SCHEDULER);
    let execution = ExecutionsRow {
        workflow_id: current.workflow_id.clone(),
        run_id: current.run_id,
        ..execution()
    };
    let snapshot = Snapshot {
        execution,
        current,
        maps: Vec::new(),
        tasks: Tasks::default(),
        events: Vec::new(),
    };
    CreateExecution { owner: OWNER, mode: CreateMode::BrandNew, snapshot }
}

#[tokio::test]
async fn a_create_whose_run_cannot_be_read_stays_unknown() {
    for form in FORMS {
        let Some((store, proxy, _database)) = opened(form).await else { return };
        let request = request();
        proxy.inject(When::AnyCommit, WireFault::LostAnswer);
        refuse(&proxy, "state_encoding, db_record_version FROM executions");
        let executions = ExecutionStore::new(&store);
        assert_unknown(&executions.create(&request).await.unwrap_err());
        assert!(executions.get(&request.snapshot.execution.filter()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn an_add_whose_tasks_cannot_be_read_stays_unknown() {
    for form in FORMS {
        let Some((store, proxy, _database)) = opened(form).await else { return };
        let task = ImmediateTask { task_id: 1, data: blob() };
        let tasks = Tasks {
            immediate: vec![(ImmediateQueue::Transfer, vec![task])],
            scheduled: Vec::new(),
        };
        proxy.inject(When::AnyCommit, WireFault::LostAnswer);
        refuse(&proxy, "FROM transfer_tasks");
        assert_unknown(&TaskStore::new(&store).add(OWNER, &tasks).await.unwrap_err());
    }
}

#[tokio::test]
async fn tasks_that_a_new_owner_may_have_completed_may_have_been_added() {
    for form in FORMS {
        let Some((store, proxy, database)) = opened(form).await else { return };
        let task = ImmediateTask { task_id: 1, data: blob() };
        let tasks = Tasks {
            immediate: vec![(ImmediateQueue::Transfer, vec![task])],
            scheduled: Vec::new(),
        };
        let shards = ShardStore::new(&store);
        // The next owner connects without the proxy.
        let other = crate::support::open(&database, database.addr().unwrap(), LONG_RETRIES).await;
        let runtime = tokio::runtime::Handle::current();
        proxy.inject(
            When::AnyCommit,
            WireFault::after(move || {
                let taken_over = std::thread::spawn(move || {
                    runtime.block_on(async {
                        let shard =
                            ShardsRow { shard_id: OWNER.shard_id, range_id: 2, data: blob() };
                        ShardStore::new(&other).update(&shard, OWNER.range_id).await.unwrap();
                        let queue = ImmediateQueue::Transfer;
                        TaskStore::new(&other).complete_immediate(OWNER.shard_id, &queue, 1).await
                    })
                });
                taken_over.join().unwrap().unwrap();
                temporal_dsql_testkit::HookAction::Close
            }),
        );
        assert_unknown(&TaskStore::new(&store).add(OWNER, &tasks).await.unwrap_err());
        assert_eq!(shards.get(OWNER.shard_id).await.unwrap().unwrap().range_id, 2);
    }
}

#[tokio::test]
async fn a_deletion_that_is_refused_when_it_is_repeated_may_have_happened_before() {
    let Some((store, proxy, _database)) = opened(WriteForm::OneStatement).await else { return };
    let request = request();
    let run = request.snapshot.execution.filter();
    let executions = ExecutionStore::new(&store);
    executions.create(&request).await.unwrap();
    proxy.inject(When::AnyCommit, WireFault::LostAnswer);
    refuse(&proxy, "DELETE FROM executions");
    assert_unknown(&executions.delete(&run).await.unwrap_err());
    assert_eq!(executions.get(&run).await.unwrap(), None);
}

/// The server may still receive COMMIT, or the single statement that saves an owner's progress.
#[tokio::test]
async fn a_claim_or_progress_that_has_not_arrived_stays_unknown() {
    let Some((store, proxy, _database)) = opened(WriteForm::Auto).await else { return };
    let shards = ShardStore::new(&store);
    for range_id in [1, 2] {
        let before = shards.get(OWNER.shard_id).await.unwrap();
        let row = ShardsRow { shard_id: OWNER.shard_id, range_id, data: other_blob(range_id) };
        proxy.inject(When::AnyCommit, WireFault::LostRequest);
        assert_unknown(&shards.update(&row, 1).await.unwrap_err());
        assert_eq!(shards.get(OWNER.shard_id).await.unwrap(), before);
        proxy.inject(When::AnyCommit, WireFault::LostAnswer);
        shards.update(&row, 1).await.unwrap();
        assert_eq!(shards.get(OWNER.shard_id).await.unwrap(), Some(row));
        assert_eq!(proxy.pending_faults(), 0);
    }
}

/// No source says that the server has ended the transaction. If it were open, the next write on the
/// connection would be answered as done, and would be lost.
#[tokio::test]
async fn a_connection_with_an_unknown_outcome_is_closed() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    for form in FORMS {
        let mut config = crate::support::config(&database, proxy.addr());
        config.write_form = form;
        config.pool.max_connections = 1;
        let store = connect(&config, None).await.unwrap();
        database.execute("DELETE FROM shards").await.unwrap();
        store.session().insert_into_shards(&crate::support::shard()).await.unwrap();
        let executions = ExecutionStore::new(&store);
        let (trace, _guard) = Trace::start();
        for sqlstate in ["XX000", "58030", "40003", "ZZ999"] {
            proxy.inject(When::AnyCommit, WireFault::error(sqlstate, "server unavailable"));
            assert_unknown(&executions.create(&request()).await.unwrap_err());
            executions.create(&request()).await.unwrap();
            assert_eq!(trace.count("connected"), 1, "{form:?}, {sqlstate}");
            trace.clear();
        }
        // Nor is a connection kept whose BEGIN has failed.
        proxy.inject(
            When::Executing("BEGIN ISOLATION".to_owned()),
            WireFault::error("XX000", "server unavailable"),
        );
        #[expect(clippy::disallowed_methods, reason = "a transaction without the runner")]
        let transaction = store.begin(Attempt::first("Begin")).await;
        assert!(transaction.is_err(), "{form:?}");
        executions.create(&request()).await.unwrap();
        assert_eq!(trace.count("connected"), 1, "{form:?}, BEGIN");
        trace.clear();
        // After a definite refusal the connection is kept.
        proxy.inject(When::AnyCommit, WireFault::error("54000", "transaction row limit exceeded"));
        executions.create(&request()).await.unwrap_err();
        executions.create(&request()).await.unwrap();
        assert_eq!(trace.count("connected"), 0, "{form:?}");
    }
}

fn other_blob(byte: i64) -> DataBlob {
    DataBlob::new(byte.to_be_bytes(), blob().encoding)
}

/// Two transfer tasks, of which the database of the test below inserts the first.
fn two_tasks() -> Tasks {
    let tasks = [1, 2].map(|task_id| ImmediateTask { task_id, data: blob() }).to_vec();
    Tasks { immediate: vec![(ImmediateQueue::Transfer, tasks)], scheduled: Vec::new() }
}

/// A server could execute the one statement otherwise than it says. Rows of which only some are written
/// are no proof of the others.
#[tokio::test]
async fn a_write_of_too_few_rows_is_never_reported_as_done() {
    for form in FORMS {
        let Some((store, _proxy, database)) = opened(form).await else { return };
        let skip = "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql \
                    AS 'BEGIN RETURN NULL; END'; \
                    CREATE TRIGGER skip BEFORE INSERT ON transfer_tasks FOR EACH ROW \
                    WHEN (NEW.task_id = 2) EXECUTE FUNCTION skip(); \
                    CREATE TRIGGER skip BEFORE INSERT ON tasks FOR EACH ROW \
                    WHEN (NEW.task_id = 2) EXECUTE FUNCTION skip()";
        database.execute(skip).await.unwrap();
        let assert_reported = |error: StoreError| {
            let is_committed = form == WriteForm::OneStatement;
            let expected = if is_committed { Outcome::Unknown } else { Outcome::NotApplied };
            assert_eq!(error.outcome(), expected, "{form:?}: {error:?}");
            assert!(!error.can_be_proved(), "{form:?}: {error:?}");
        };
        let mut create = request();
        create.snapshot.tasks = two_tasks();
        assert_reported(ExecutionStore::new(&store).create(&create).await.unwrap_err());
        database.execute("DELETE FROM transfer_tasks").await.unwrap();
        assert_reported(TaskStore::new(&store).add(OWNER, &two_tasks()).await.unwrap_err());

        let queue = TaskQueueKey::of_upstream_id(TaskQueueKind::Normal, b"queue");
        let matching = MatchingTaskStore::new(&store);
        let row = TaskQueuesRow { queue, range_id: 1, data: blob() };
        matching.create_task_queue(&row).await.unwrap();
        let task = |task_id| {
            let level = TaskLevel { pass: 0, task_id };
            TasksRow { queue, level, data: blob() }
        };
        let lease = TaskQueueLease { queue, range_id: 1 };
        let tasks = [task(1), task(2)];
        assert_reported(matching.create_tasks(lease, &tasks).await.unwrap_err());
    }
}
