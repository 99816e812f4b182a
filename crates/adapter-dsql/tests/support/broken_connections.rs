//! Operations on a store whose idle connections are all broken.

use futures_util::future::join_all;
use temporal_dsql_domain::{
    ArchetypeId, BranchId, ExecutionState, ExecutionsRow, HistoryBranch, HistoryNode,
    HistoryTreeInfo, ImmediateQueue, ImmediateTask, Tasks, Timestamp, TreeId,
};
use temporal_dsql_ports::{Attempt, BufferedWrite, Outcome, Store};
use temporal_dsql_store::DsqlStore;
use temporal_dsql_stores::{
    AppendNodes, CreateExecution, CreateMode, ExecutionStore, Expected, Mutation, Snapshot,
    TaskStore, UpdateExecution, UpdateMode,
};
use uuid::Uuid;

use super::{OWNER, blob, current, execution, trace::Trace};

/// A run with the beginning of a history.
fn snapshot() -> Snapshot {
    let mut current = current(ArchetypeId::WORKFLOW);
    current.state = ExecutionState::Created;
    let execution = ExecutionsRow {
        workflow_id: current.workflow_id.clone(),
        run_id: current.run_id,
        ..execution()
    };
    let id = || Uuid::from_u128(fastrand::u128(..));
    let branch = HistoryBranch::root(TreeId(id()), BranchId(id()));
    let info = HistoryTreeInfo {
        branch: branch.clone(),
        fork_time: Timestamp::UNIX_EPOCH,
        info: String::new(),
    };
    let node = HistoryNode { node_id: 1, txn_id: 1, prev_txn_id: 0, data: blob() };
    let shard_id = OWNER.shard_id;
    let events = vec![AppendNodes { shard_id, branch, new_branch: Some(info), node }];
    Snapshot { execution, current, maps: Vec::new(), tasks: Tasks::default(), events }
}

/// The next change of a run, with one more batch of events.
fn update(of: &Snapshot) -> UpdateExecution {
    let mut execution = of.execution.clone();
    execution.db_record_version += 1;
    execution.next_event_id += 1;
    let mut current = of.current.clone();
    current.state = ExecutionState::Running;
    let first = &of.events[0];
    let node = HistoryNode { node_id: 2, txn_id: 2, prev_txn_id: 1, data: blob() };
    let mutation = Mutation {
        execution,
        current,
        expected: Expected::RecordVersion(of.execution.db_record_version),
        maps: Vec::new(),
        buffered: BufferedWrite::default(),
        tasks: Tasks::default(),
        events: vec![AppendNodes { new_branch: None, node, ..first.clone() }],
    };
    UpdateExecution { owner: OWNER, mode: UpdateMode::UpdateCurrent, mutation, new: None }
}

/// Opens all `size` connections of the pool of `store`, a few at a time; they are idle afterwards.
#[expect(clippy::disallowed_methods, reason = "transactions that hold connections")]
async fn fill(store: &DsqlStore, size: usize) {
    const AT_A_TIME: usize = 8;
    let mut open = Vec::new();
    while open.len() < size {
        let missing = AT_A_TIME.min(size - open.len());
        let begin = |_| store.begin(Attempt::first("Fill"));
        let begun = join_all((0..missing).map(begin)).await;
        open.extend(begun.into_iter().map(Result::unwrap));
    }
    for transaction in open {
        transaction.rollback().await.unwrap();
    }
}

/// Executes one operation of each kind, each after `break_all` has broken all `size` connections:
/// each costs at most one exchange that fails and one connection that is opened.
///
/// A write in one statement has an unknown outcome, because the server may have received and
/// committed it before the connection broke. A transaction fails at BEGIN and is repeated.
pub async fn one_operation_costs_one_connection(
    store: &DsqlStore,
    size: usize,
    break_all: impl AsyncFn(),
) {
    let executions = ExecutionStore::new(store);
    let commits_at_once = store.capabilities().unwrap().one_statement;
    let (trace, _guard) = Trace::start();
    let run = snapshot();
    for operation in ["create", "get", "update", "add", "get_current"] {
        fill(store, size).await;
        break_all().await;
        trace.clear();
        let write = async || match operation {
            "create" => {
                let mode = CreateMode::BrandNew;
                let request = CreateExecution { owner: OWNER, mode, snapshot: run.clone() };
                executions.create(&request).await
            }
            "get" => {
                let found = executions.get(&run.execution.filter()).await?;
                assert_eq!(found.unwrap().execution, run.execution);
                Ok(())
            }
            "update" => executions.update(&update(&run)).await,
            "add" => {
                let task = ImmediateTask { task_id: 1, data: blob() };
                let immediate = vec![(ImmediateQueue::Transfer, vec![task])];
                let tasks = Tasks { immediate, scheduled: Vec::new() };
                TaskStore::new(store).add(OWNER, &tasks).await
            }
            _ => {
                let found = executions.get_current(&run.current.filter()).await?;
                assert_eq!(found.unwrap().state, ExecutionState::Running);
                Ok(())
            }
        };
        let is_read = operation.starts_with("get");
        match write().await {
            Ok(()) => assert!(is_read || !commits_at_once, "{operation}"),
            Err(error) => {
                assert!(commits_at_once && !is_read, "{operation}: {error:?}");
                assert_eq!(error.outcome(), Outcome::Unknown, "{operation}: {error:?}");
                write().await.unwrap();
            }
        }
        let (failed, opened) = (trace.count("failed"), trace.count("connected"));
        assert_eq!((failed, opened), (1, 1), "{operation} with {size} connections broken");
    }
}
