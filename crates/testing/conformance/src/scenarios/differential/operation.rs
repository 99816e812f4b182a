//! An operation, and its result in a comparable form.

use std::ops::Range;

use temporal_dsql_domain::{
    BranchId, ClusterName, CurrentExecutionsFilter, CurrentExecutionsRow, DataBlob,
    ExecutionsFilter, HistoryBranch, HistoryNode, HistoryTreeInfo, HistoryTreeRow, ImmediateQueue,
    ImmediateRange, ImmediateTask, MapEntries, NodePosition, RunId, ScheduledKey, ScheduledQueue,
    ScheduledRange, ScheduledTask, ShardId, ShardsRow, Table, Tasks, Timestamp, TreeId,
};
use temporal_dsql_ports::{
    ConditionFailed, MutableStateRows, Outcome, StoreError, limits::LimitKind,
};
use temporal_dsql_stores::{
    AppendNodes, ConflictResolve, CreateExecution, ExecutionStore, HistoryStore, NewBranch, Owner,
    Page, ReadHistory, SetExecution, ShardStore, TaskStore, UpdateExecution,
};

use crate::context::owned_shard::SharedStore;

/// An operation with its arguments.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    GetOrCreateShard(ShardsRow),
    GetShard(ShardId),
    UpdateShard(ShardsRow, i64),
    AssertOwnership(Owner),
    Create(Box<CreateExecution>),
    Update(Box<UpdateExecution>),
    ConflictResolve(Box<ConflictResolve>),
    Set(Box<SetExecution>),
    Get(ExecutionsFilter),
    GetCurrent(CurrentExecutionsFilter),
    Delete(ExecutionsFilter),
    DeleteCurrent(CurrentExecutionsFilter, RunId),
    AddTasks(Owner, Tasks),
    ImmediatePage(ShardId, ImmediateQueue, ImmediateRange, u32),
    ScheduledPage(ShardId, ScheduledQueue, ScheduledRange, u32),
    CompleteImmediate(ShardId, ImmediateQueue, i64),
    CompleteScheduled(ShardId, ScheduledQueue, ScheduledKey),
    CompleteImmediateRange(ShardId, ImmediateQueue, ImmediateRange),
    CompleteScheduledRange(ShardId, ScheduledQueue, Range<Timestamp>),
    PutToDlq(ShardId, ClusterName, ImmediateTask),
    IsDlqEmpty(ShardId, ClusterName, i64),
    Append(AppendNodes),
    Fork(ShardId, HistoryBranch, i64, NewBranch),
    Tree(ShardId, TreeId),
    AllBranches(u32),
    DeleteBranch(ShardId, HistoryBranch),
    Read(ReadHistory),
    ReadReverse(ReadHistory, i64),
    Trim(ShardId, HistoryBranch, NodePosition),
    /// Row operations that leave rows without their run, as deletions of the Go server do.
    DeleteExecutionRow(ExecutionsFilter),
    InsertMapEntries(ExecutionsFilter, MapEntries),
    InsertBufferedEvents(ExecutionsFilter, Vec<DataBlob>),
}

/// The result of an operation.
pub(super) type OperationResult = Result<Value, Failure>;

/// The value of a successful operation.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Done,
    Flag(bool),
    Count(u64),
    Shard(Option<ShardsRow>),
    Run(Option<Box<MutableStateRows>>),
    Entries(MapEntries),
    Events(Vec<DataBlob>),
    Current(Option<Box<CurrentExecutionsRow>>),
    Immediate(Page<ImmediateTask, i64>),
    Scheduled(Page<ScheduledTask, ScheduledKey>),
    Branch(HistoryBranch),
    Tree(Vec<HistoryTreeInfo>),
    Branches(Vec<HistoryTreeRow>),
    /// Each page, and whether another one follows.
    History(Vec<(Vec<HistoryNode>, bool)>),
}

/// The error of an operation, without details that only some adapters know.
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    Condition(ConditionFailed),
    AlreadyExists(Table),
    InvalidArgument(&'static str),
    Limit(LimitKind),
    /// An error that no operation should cause here, as text.
    Other(Outcome, String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Condition(failed) => Self::Condition(failed),
            StoreError::AlreadyExists { table, .. } => Self::AlreadyExists(table),
            StoreError::InvalidArgument { field, .. } => Self::InvalidArgument(field),
            StoreError::Limit { kind, .. } => Self::Limit(kind),
            other => Self::Other(other.outcome(), other.to_string()),
        }
    }
}

/// The maximum number of pages read of one branch.
const PAGES: usize = 8;

impl Operation {
    /// Executes the operation on `store`.
    pub(super) async fn execute(&self, store: &SharedStore) -> OperationResult {
        let shards = ShardStore::new(store);
        let executions = ExecutionStore::new(store);
        let tasks = TaskStore::new(store);
        let histories = HistoryStore::new(store);
        let mut session = store.session();
        Ok(match self {
            Self::GetOrCreateShard(row) => Value::Shard(Some(shards.get_or_create(row).await?)),
            Self::GetShard(id) => Value::Shard(shards.get(*id).await?),
            Self::UpdateShard(row, previous) => done(shards.update(row, *previous).await?),
            Self::AssertOwnership(owner) => done(shards.assert_ownership(*owner).await?),
            Self::Create(request) => done(executions.create(request).await?),
            Self::Update(request) => done(executions.update(request).await?),
            Self::ConflictResolve(request) => done(executions.conflict_resolve(request).await?),
            Self::Set(request) => done(executions.set(request).await?),
            Self::Get(run) => Value::Run(executions.get(run).await?.map(Box::new)),
            Self::GetCurrent(id) => Value::Current(executions.get_current(id).await?.map(Box::new)),
            Self::Delete(run) => done(executions.delete(run).await?),
            Self::DeleteCurrent(id, run_id) => done(executions.delete_current(id, *run_id).await?),
            Self::AddTasks(owner, added) => done(tasks.add(*owner, added).await?),
            Self::ImmediatePage(shard_id, queue, range, limit) => Value::Immediate(
                tasks.immediate_page(*shard_id, queue, range.clone(), *limit).await?,
            ),
            Self::ScheduledPage(shard_id, queue, range, limit) => {
                Value::Scheduled(tasks.scheduled_page(*shard_id, *queue, *range, *limit).await?)
            }
            Self::CompleteImmediate(shard_id, queue, task_id) => {
                done(tasks.complete_immediate(*shard_id, queue, *task_id).await?)
            }
            Self::CompleteScheduled(shard_id, queue, key) => {
                done(tasks.complete_scheduled(*shard_id, *queue, *key).await?)
            }
            Self::CompleteImmediateRange(shard_id, queue, range) => {
                Value::Count(tasks.complete_immediate_range(*shard_id, queue, range.clone()).await?)
            }
            Self::CompleteScheduledRange(shard_id, queue, times) => Value::Count(
                tasks.complete_scheduled_range(*shard_id, *queue, times.clone()).await?,
            ),
            Self::PutToDlq(shard_id, source, task) => {
                done(tasks.put_to_replication_dlq(*shard_id, source, task).await?)
            }
            Self::IsDlqEmpty(shard_id, source, first) => {
                Value::Flag(tasks.is_replication_dlq_empty(*shard_id, source, *first).await?)
            }
            Self::Append(events) => done(histories.append(events).await?),
            Self::Fork(shard_id, branch, node_id, new) => {
                Value::Branch(histories.fork(*shard_id, branch, *node_id, new.clone()).await?)
            }
            Self::Tree(shard_id, tree_id) => {
                let mut tree = histories.tree(*shard_id, *tree_id).await?;
                tree.sort_by_key(|info| info.branch.branch_id);
                Value::Tree(tree)
            }
            Self::AllBranches(limit) => {
                Value::Branches(histories.all_branches(None, *limit).await?)
            }
            Self::DeleteBranch(shard_id, branch) => {
                done(histories.delete(*shard_id, branch).await?)
            }
            Self::Read(request) => {
                let mut pages = Vec::new();
                let mut token = None;
                for _ in 0..PAGES {
                    let page = histories.read(request, token).await?;
                    pages.push((page.nodes, page.next.is_some()));
                    token = page.next;
                    if token.is_none() {
                        break;
                    }
                }
                Value::History(pages)
            }
            Self::ReadReverse(request, last_txn_id) => {
                let mut pages = Vec::new();
                let mut token = None;
                for _ in 0..PAGES {
                    let page = histories.read_reverse(request, *last_txn_id, token).await?;
                    pages.push((page.nodes, page.next.is_some()));
                    token = page.next;
                    if token.is_none() {
                        break;
                    }
                }
                Value::History(pages)
            }
            Self::Trim(shard_id, branch, last) => {
                Value::Count(histories.trim(*shard_id, branch, *last).await?)
            }
            Self::DeleteExecutionRow(run) => {
                Value::Count(session.delete_from_executions(run).await?)
            }
            Self::InsertMapEntries(run, entries) => {
                Value::Count(session.replace_into_map(run, entries).await?)
            }
            Self::InsertBufferedEvents(run, events) => {
                Value::Count(session.insert_into_buffered_events(run, events).await?)
            }
        })
    }
}

const fn done((): ()) -> Value {
    Value::Done
}

/// A branch to create.
pub(super) const fn new_branch(branch_id: BranchId) -> NewBranch {
    NewBranch {
        branch_id,
        fork_time: temporal_dsql_domain::Timestamp::UNIX_EPOCH,
        info: String::new(),
    }
}
