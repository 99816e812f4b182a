//! The context of a scenario: a store, random rows, and shorthands for common row operations.

use std::{
    sync::{Arc, Mutex, atomic::AtomicI32},
    time::Duration,
};

use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsFilter, CurrentExecutionsRow, DataBlob, Encoding, ExecutionState,
    ExecutionStatus, ExecutionsFilter, ExecutionsRow, MapTable, NamespaceId, RequestId, RunId,
    TaskQueueKind, Timestamp, WorkflowId,
};
use temporal_dsql_ports::{Attempt, RetryPolicy, Store, Transaction};
use uuid::Uuid;

use crate::{
    case::Case,
    harness::{Fixture, Harness},
    queue::Queue,
};

/// The context of a scenario.
pub struct TestContext {
    /// The adapter.
    pub harness: Arc<dyn Harness>,
    /// The empty database.
    pub fixture: Arc<dyn Fixture>,
    /// The store on it.
    pub store: Arc<dyn Store>,
    /// The archetype that the scenario runs for; workflow if it has another parameter or none.
    pub archetype: ArchetypeId,
    case: Case,
    random: Mutex<fastrand::Rng>,
    pub(super) next_shard: AtomicI32,
}

/// Valid pairs of state and status, as Temporal's suites use them.
const PAIRS: [(ExecutionState, ExecutionStatus); 9] = [
    (ExecutionState::Created, ExecutionStatus::Running),
    (ExecutionState::Running, ExecutionStatus::Running),
    (ExecutionState::Zombie, ExecutionStatus::Running),
    (ExecutionState::Completed, ExecutionStatus::Completed),
    (ExecutionState::Completed, ExecutionStatus::Failed),
    (ExecutionState::Completed, ExecutionStatus::Canceled),
    (ExecutionState::Completed, ExecutionStatus::Terminated),
    (ExecutionState::Completed, ExecutionStatus::ContinuedAsNew),
    (ExecutionState::Completed, ExecutionStatus::TimedOut),
];

/// The default policy with a longer deadline: sixteen writers of one row take long on a busy
/// machine.
const LONG_DEADLINE: RetryPolicy =
    RetryPolicy::new(Duration::from_millis(20), Duration::from_secs(1), Duration::from_secs(60));

impl TestContext {
    pub(crate) async fn new(harness: Arc<dyn Harness>, case: Case, seed: u64) -> Self {
        let archetype = match case {
            Case::Archetype(archetype) => archetype,
            _ => ArchetypeId::WORKFLOW,
        };
        let mut random = fastrand::Rng::with_seed(seed);
        let fixture = harness.new_fixture(LONG_DEADLINE, random.u64(..)).await;
        let fixture: Arc<dyn Fixture> = Arc::from(fixture);
        Self {
            store: fixture.store(),
            harness,
            fixture,
            archetype,
            case,
            random: Mutex::new(random),
            next_shard: AtomicI32::new(1),
        }
    }

    /// A context for the same scenario with a database of its own, whose store retries as `policy`
    /// says.
    pub async fn with_policy(&self, policy: RetryPolicy) -> Self {
        let mut random = self.random(fastrand::Rng::fork);
        let fixture: Arc<dyn Fixture> =
            Arc::from(self.harness.new_fixture(policy, random.u64(..)).await);
        Self {
            store: fixture.store(),
            harness: Arc::clone(&self.harness),
            fixture,
            archetype: self.archetype,
            case: self.case.clone(),
            random: Mutex::new(random),
            next_shard: AtomicI32::new(1),
        }
    }

    /// The map that the scenario runs for.
    pub fn map(&self) -> MapTable {
        match self.case {
            Case::Map(map) => map,
            _ => panic!("the scenario has no map parameter"),
        }
    }

    /// The task queue that the scenario runs for.
    pub fn queue(&self) -> &Queue {
        match &self.case {
            Case::Queue(queue) => queue,
            _ => panic!("the scenario has no queue parameter"),
        }
    }

    /// The kind of task queues that the scenario runs for.
    pub fn kind(&self) -> TaskQueueKind {
        match self.case {
            Case::Kind(kind) => kind,
            _ => panic!("the scenario has no kind of task queues"),
        }
    }

    /// Draws from the scenario's random numbers.
    pub fn random<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.random.lock().unwrap())
    }

    pub(super) fn uuid(&self) -> Uuid {
        Uuid::from_u128(self.random(|random| random.u128(..)))
    }

    pub(super) fn blob(&self) -> Vec<u8> {
        self.random(|random| {
            let length = random.usize(1..200);
            std::iter::repeat_with(|| random.u8(..)).take(length).collect()
        })
    }

    pub(super) fn word(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.random(|random| random.u64(..)))
    }

    /// A run id that is not in use.
    pub fn run_id(&self) -> RunId {
        RunId(self.uuid())
    }

    /// A current execution of this scenario's archetype with a new id.
    pub fn current(&self) -> CurrentExecutionsRow {
        let row = CurrentExecutionsRow {
            shard_id: self.shard_id(),
            namespace_id: NamespaceId(self.uuid()),
            workflow_id: WorkflowId::new(self.word("id")).unwrap(),
            archetype_id: self.archetype,
            run_id: self.run_id(),
            create_request_id: RequestId::new("").unwrap(),
            start_time: None,
            last_write_version: 0,
            state: ExecutionState::Created,
            status: ExecutionStatus::Running,
            data: None,
            data_encoding: Encoding::new("").unwrap(),
        };
        self.changed(&row)
    }

    /// The same id with every other value changed.
    pub fn changed(&self, row: &CurrentExecutionsRow) -> CurrentExecutionsRow {
        let (state, status) = self.random(|random| PAIRS[random.usize(..PAIRS.len())]);
        // From 1970 to 2096.
        let micros = self.random(|random| random.i64(0..4_000_000_000_000_000));
        CurrentExecutionsRow {
            run_id: self.run_id(),
            create_request_id: RequestId::new(self.word("request")).unwrap(),
            start_time: Some(Timestamp::from_unix_micros(micros).unwrap()),
            last_write_version: self.random(|random| random.i64(0..i64::MAX)),
            state,
            status,
            data: Some(self.blob()),
            data_encoding: Encoding::new("Proto3").unwrap(),
            ..row.clone()
        }
    }

    /// The `executions` row of a current execution's run.
    pub fn execution_of(&self, current: &CurrentExecutionsRow) -> ExecutionsRow {
        let proto3 = Encoding::new("Proto3").unwrap();
        ExecutionsRow {
            shard_id: current.shard_id,
            namespace_id: current.namespace_id,
            workflow_id: current.workflow_id.clone(),
            run_id: current.run_id,
            next_event_id: self.random(|random| random.i64(1..i64::MAX)),
            last_write_version: self.random(|random| random.i64(0..i64::MAX)),
            data: DataBlob::new(self.blob(), proto3.clone()),
            state: DataBlob::new(self.blob(), proto3),
            db_record_version: self.random(|random| random.i64(1..i64::MAX)),
        }
    }

    /// An execution with a new id.
    pub fn execution(&self) -> ExecutionsRow {
        self.execution_of(&self.current())
    }

    /// The same execution with every value but the key changed.
    pub fn changed_execution(&self, row: &ExecutionsRow) -> ExecutionsRow {
        let other = self.execution();
        ExecutionsRow {
            shard_id: row.shard_id,
            namespace_id: row.namespace_id,
            workflow_id: row.workflow_id.clone(),
            run_id: row.run_id,
            ..other
        }
    }

    /// Inserts a current execution, outside any transaction.
    pub async fn insert(&self, row: &CurrentExecutionsRow) {
        let rows = self.store.session().insert_into_current_executions(row).await.unwrap();
        assert_eq!(rows, 1);
    }

    /// Inserts an execution, outside any transaction.
    pub async fn insert_execution(&self, row: &ExecutionsRow) {
        let rows = self.store.session().insert_into_executions(row).await.unwrap();
        assert_eq!(rows, 1);
    }

    /// Reads a current execution, outside any transaction.
    pub async fn read(&self, filter: &CurrentExecutionsFilter) -> Option<CurrentExecutionsRow> {
        self.store.session().select_from_current_executions(filter).await.unwrap()
    }

    /// Reads an execution, outside any transaction.
    pub async fn read_execution(&self, filter: &ExecutionsFilter) -> Option<ExecutionsRow> {
        self.store.session().select_from_executions(filter).await.unwrap()
    }

    /// Begins a transaction whose statements the scenario interleaves with others.
    #[expect(clippy::disallowed_methods, reason = "the scenario interleaves the statements")]
    pub async fn begin(&self, op: &'static str) -> Box<dyn Transaction> {
        self.store.begin(Attempt::first(op)).await.unwrap()
    }
}
