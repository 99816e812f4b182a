//! The history service: owns a shard, its executions, their histories and their tasks.

use std::sync::Arc;

use temporal_dsql::{
    ArchetypeId, BranchId, BufferedWrite, CurrentExecutionsFilter, CurrentExecutionsRow, DataBlob,
    ExecutionState, ExecutionStatus, ExecutionsFilter, ExecutionsRow, Expected, FIRST_NODE_ID,
    HistoryBranch, HistoryNode, HistoryTreeInfo, ImmediateQueue, ImmediateTask, NamespaceId,
    RequestId, RunId, ShardId, ShardsRow, Tasks, Timestamp, TreeId, WorkflowId,
    stores::{
        AppendNodes, CreateExecution, CreateMode, ExecutionStore, HistoryStore, Mutation, Owner,
        ReadHistory, ShardStore, Snapshot, TaskStore, UpdateExecution, UpdateMode,
    },
    uuid::Uuid,
};

use super::{AnyStore, Result, matching::Matching};

/// The run of an execution, with what a worker needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub key: ExecutionsFilter,
    pub archetype_id: ArchetypeId,
}

pub struct History {
    owner: Owner,
    executions: ExecutionStore<AnyStore>,
    histories: HistoryStore<AnyStore>,
    tasks: TaskStore<AnyStore>,
}

impl History {
    /// Takes the shard over: with the next range id, all earlier owners lose it.
    pub async fn acquire(store: &AnyStore, shard_id: ShardId, host: &str) -> Result<Self> {
        let shards = ShardStore::new(Arc::clone(store));
        // A Go server keeps the owner and the range id in the blob, too.
        let row = |range_id| ShardsRow { shard_id, range_id, data: DataBlob::proto3(host) };
        let found = shards.get_or_create(&row(0)).await?;
        let range_id = found.range_id + 1;
        shards.update(&row(range_id), found.range_id).await?;
        Ok(Self {
            owner: Owner { shard_id, range_id },
            executions: ExecutionStore::new(Arc::clone(store)),
            histories: HistoryStore::new(Arc::clone(store)),
            tasks: TaskStore::new(Arc::clone(store)),
        })
    }

    /// Starts an execution, if its id has no current execution of this archetype. All rows are
    /// written in one transaction: the run, the current execution, the first event of a workflow,
    /// and a task.
    pub async fn start(
        &self,
        namespace_id: NamespaceId,
        id: &WorkflowId,
        archetype_id: ArchetypeId,
    ) -> Result<Run> {
        let key = ExecutionsFilter {
            shard_id: self.owner.shard_id,
            namespace_id,
            workflow_id: id.clone(),
            run_id: RunId(Uuid::from_u128(fastrand::u128(..))),
        };
        let run = Run { key, archetype_id };
        let execution = run.row(1);
        let task_id = self.owner.range_id << 20 | i64::from(archetype_id == ArchetypeId::ACTIVITY);
        let task = ImmediateTask { task_id, data: run.to_blob() };
        let snapshot = Snapshot {
            current: run.current(&execution, ExecutionState::Running, ExecutionStatus::Running),
            execution,
            maps: Vec::new(),
            tasks: Tasks {
                immediate: vec![(ImmediateQueue::Transfer, vec![task])],
                scheduled: Vec::new(),
            },
            events: run.event(FIRST_NODE_ID, "started"),
        };
        let mode = CreateMode::BrandNew;
        self.executions.create(&CreateExecution { owner: self.owner, mode, snapshot }).await?;
        Ok(run)
    }

    /// Passes all tasks of the shard to the matching service. A task is completed after it is added:
    /// if the service stops in between, it is added again.
    pub async fn dispatch(&self, matching: &Matching) -> Result<usize> {
        let (shard_id, queue) = (self.owner.shard_id, ImmediateQueue::Transfer);
        let mut dispatched = 0;
        let mut from = Some(i64::MIN);
        while let Some(first) = from {
            let page = self.tasks.immediate_page(shard_id, &queue, first..i64::MAX, 1).await?;
            let runs: Vec<Run> =
                page.items.iter().map(|task| Run::from_blob(&task.data)).collect::<Result<_>>()?;
            matching.add(&runs).await?;
            for task in &page.items {
                self.tasks.complete_immediate(shard_id, &queue, task.task_id).await?;
            }
            dispatched += runs.len();
            from = page.next;
        }
        Ok(dispatched)
    }

    /// Completes an execution.
    pub async fn complete(&self, run: &Run) -> Result<()> {
        let execution = run.row(2);
        let mutation = Mutation {
            current: run.current(&execution, ExecutionState::Completed, ExecutionStatus::Completed),
            execution,
            // The version that `start` has written.
            expected: Expected::RecordVersion(1),
            maps: Vec::new(),
            buffered: BufferedWrite::default(),
            tasks: Tasks::default(),
            events: run.event(FIRST_NODE_ID + 1, "completed"),
        };
        let (owner, mode) = (self.owner, UpdateMode::UpdateCurrent);
        self.executions.update(&UpdateExecution { owner, mode, mutation, new: None }).await?;
        Ok(())
    }

    /// The events of a workflow, page by page.
    pub async fn events_of(&self, run: &Run) -> Result<Vec<String>> {
        let request = ReadHistory {
            shard_id: self.owner.shard_id,
            branch: run.branch(),
            min_node_id: FIRST_NODE_ID,
            max_node_id: i64::MAX,
            limit: 1,
        };
        let mut events = Vec::new();
        let mut token = None;
        loop {
            let page = self.histories.read(&request, token).await?;
            for node in &page.nodes {
                events.push(String::from_utf8(node.data.data.clone())?);
            }
            token = page.next;
            if token.is_none() {
                return Ok(events);
            }
        }
    }

    /// Deletes the history of a run, its current execution and its rows.
    pub async fn delete(&self, run: &Run) -> Result<()> {
        self.histories.delete(self.owner.shard_id, &run.branch()).await?;
        self.executions.delete_current(&run.id(), run.key.run_id).await?;
        self.executions.delete(&run.key).await?;
        Ok(())
    }

    pub async fn is_deleted(&self, run: &Run) -> Result<bool> {
        let rows = self.executions.get(&run.key).await?;
        let current = self.executions.get_current(&run.id()).await?;
        Ok(rows.is_none() && current.is_none())
    }
}

impl Run {
    fn id(&self) -> CurrentExecutionsFilter {
        CurrentExecutionsFilter {
            shard_id: self.key.shard_id,
            namespace_id: self.key.namespace_id,
            workflow_id: self.key.workflow_id.clone(),
            archetype_id: self.archetype_id,
        }
    }

    /// The `executions` row at this version. A server has its mutable state in the blobs.
    fn row(&self, db_record_version: i64) -> ExecutionsRow {
        let ExecutionsFilter { shard_id, namespace_id, ref workflow_id, run_id } = self.key;
        ExecutionsRow {
            shard_id,
            namespace_id,
            workflow_id: workflow_id.clone(),
            run_id,
            next_event_id: db_record_version + 1,
            last_write_version: 0,
            data: DataBlob::proto3(format!("mutable state {db_record_version}")),
            state: DataBlob::proto3(format!("execution state {db_record_version}")),
            db_record_version,
        }
    }

    fn current(
        &self,
        execution: &ExecutionsRow,
        state: ExecutionState,
        status: ExecutionStatus,
    ) -> CurrentExecutionsRow {
        CurrentExecutionsRow::of(
            execution,
            self.archetype_id,
            RequestId::new("request-1").expect("it is short"),
            (state, status),
            Some(Timestamp::now()),
        )
    }

    /// The branch of the events of a workflow: its first branch has the id of the run here.
    fn branch(&self) -> HistoryBranch {
        let id = self.key.run_id.0;
        HistoryBranch::root(TreeId(id), BranchId(id))
    }

    /// An event to write with the run. Only workflows have a history.
    fn event(&self, node_id: i64, event: &str) -> Vec<AppendNodes> {
        if self.archetype_id != ArchetypeId::WORKFLOW {
            return Vec::new();
        }
        let branch = self.branch();
        let new_branch = (node_id == FIRST_NODE_ID).then(|| HistoryTreeInfo {
            branch: branch.clone(),
            fork_time: Timestamp::now(),
            info: HistoryTreeInfo::info_of(&self.key),
        });
        let prev_txn_id = node_id - 1;
        let data = DataBlob::proto3(event);
        let node = HistoryNode { node_id, txn_id: node_id, prev_txn_id, data };
        vec![AppendNodes { shard_id: self.key.shard_id, branch, new_branch, node }]
    }

    /// The run as the data of a task.
    pub fn to_blob(&self) -> DataBlob {
        let ExecutionsFilter { shard_id, namespace_id, workflow_id, run_id } = &self.key;
        let archetype_id = self.archetype_id.0;
        DataBlob::proto3(format!("{shard_id} {namespace_id} {run_id} {archetype_id} {workflow_id}"))
    }

    /// Reads the data of a task.
    pub fn from_blob(blob: &DataBlob) -> Result<Self> {
        let text = std::str::from_utf8(&blob.data)?;
        let fields: Vec<&str> = text.splitn(5, ' ').collect();
        let [shard_id, namespace_id, run_id, archetype_id, workflow_id] = fields[..] else {
            return Err(format!("`{text}` is not a task").into());
        };
        Ok(Self {
            key: ExecutionsFilter {
                shard_id: ShardId(shard_id.parse()?),
                namespace_id: namespace_id.parse()?,
                workflow_id: workflow_id.parse()?,
                run_id: run_id.parse()?,
            },
            archetype_id: ArchetypeId(archetype_id.parse()?),
        })
    }
}
