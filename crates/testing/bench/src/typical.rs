//! The typical execution, whose round trips `docs/performance.md` lists: each operation writes one
//! transfer and one timer task, two activities, four CHASM nodes and one batch of events.

use anyhow::{Result, ensure};
use temporal_dsql::{
    BranchId, BufferedWrite, ChasmNode, ChasmPath, CurrentExecutionsFilter, CurrentExecutionsRow,
    DataBlob, ExecutionState, ExecutionsFilter, ExecutionsRow, Expected, HistoryBranch,
    HistoryNode, HistoryTreeInfo, IdEntry, ImmediateQueue, ImmediateTask, MapEntries, MapKeys,
    MapWrite, MutableStateRows, ScheduledKey, ScheduledQueue, ScheduledTask, ShardId, ShardsRow,
    Store, Tasks, Timestamp, TreeId,
    stores::{
        AppendNodes, CreateExecution, CreateMode, Mutation, Owner, Snapshot, UpdateExecution,
        UpdateMode,
    },
};
use uuid::Uuid;

use crate::rows;

const ACTIVITIES: i64 = 2;
const NODES: usize = 4;

/// The range of task ids of one execution: ids are unique in a shard.
const TASK_IDS: i64 = 1_000_000;

/// One execution and the number of its writes.
pub struct Execution {
    id: u64,
    version: i64,
    /// The id of the last tasks, which is also the transaction id of the last batch of events.
    task_id: i64,
}

impl Execution {
    /// An execution that has not been created. `id` is unique in its shard.
    pub const fn new(id: u64) -> Self {
        Self { id, version: 0, task_id: id as i64 * TASK_IDS }
    }

    /// An execution as read at `version`, which other callers write as well. The next write uses
    /// the task id after `task_id`.
    pub const fn read_at(id: u64, version: i64, task_id: i64) -> Self {
        Self { id, version, task_id }
    }

    /// Its id.
    pub fn id(&self) -> CurrentExecutionsFilter {
        self.current().filter()
    }

    /// Its run.
    pub fn run(&self) -> ExecutionsFilter {
        self.row().filter()
    }

    /// The request that creates it as the current execution of its id.
    pub fn create(&mut self) -> CreateExecution {
        self.step();
        CreateExecution {
            owner: owner(),
            mode: CreateMode::BrandNew,
            snapshot: Snapshot {
                execution: self.row(),
                current: self.current(),
                maps: entries().into(),
                tasks: self.tasks(),
                events: vec![self.events()],
            },
        }
    }

    /// The request that updates it and all of its maps.
    pub fn update(&mut self) -> UpdateExecution {
        let expected = Expected::RecordVersion(self.version);
        self.step();
        let replace = |entries: MapEntries| MapWrite {
            remove: MapKeys::none(entries.map()),
            replace: entries,
        };
        UpdateExecution {
            owner: owner(),
            mode: UpdateMode::UpdateCurrent,
            mutation: Mutation {
                execution: self.row(),
                expected,
                current: self.current(),
                maps: entries().map(replace).into(),
                buffered: BufferedWrite::default(),
                tasks: self.tasks(),
                events: vec![self.events()],
            },
            new: None,
        }
    }

    /// Verifies that `read` is the last write.
    ///
    /// # Errors
    /// `read` differs.
    pub fn check(&self, read: Option<&MutableStateRows>) -> Result<()> {
        let found = read.map(|rows| (rows.execution.db_record_version, rows.maps.as_slice()));
        let entries: usize = found.iter().flat_map(|(_, maps)| *maps).map(MapEntries::len).sum();
        let version = found.map(|(version, _)| version);
        ensure!(
            version == Some(self.version) && entries == ACTIVITIES as usize + NODES,
            "execution {} was written {} times; read: version {version:?}, {entries} entries",
            self.id,
            self.version
        );
        Ok(())
    }

    const fn step(&mut self) {
        self.version += 1;
        self.task_id += 1;
    }

    /// One batch of events; the first batch begins the branch.
    fn events(&self) -> AppendNodes {
        let id = Uuid::from_u128(self.id.into());
        let branch = HistoryBranch::root(TreeId(id), BranchId(id));
        let info = || HistoryTreeInfo {
            branch: branch.clone(),
            fork_time: Timestamp::UNIX_EPOCH,
            info: HistoryTreeInfo::info_of(&self.run()),
        };
        AppendNodes {
            shard_id: owner().shard_id,
            new_branch: (self.version == 1).then(info),
            node: HistoryNode {
                // A batch has one event.
                node_id: self.version,
                txn_id: self.task_id,
                prev_txn_id: if self.version == 1 { 0 } else { self.task_id - 1 },
                data: blob(),
            },
            branch,
        }
    }

    fn current(&self) -> CurrentExecutionsRow {
        CurrentExecutionsRow { state: ExecutionState::Running, ..rows::row(self.id) }
    }

    fn row(&self) -> ExecutionsRow {
        let current = self.current();
        ExecutionsRow {
            shard_id: current.shard_id,
            namespace_id: current.namespace_id,
            workflow_id: current.workflow_id,
            run_id: current.run_id,
            next_event_id: self.version + 1,
            last_write_version: current.last_write_version,
            data: blob(),
            state: blob(),
            db_record_version: self.version,
        }
    }

    /// New tasks with each write.
    fn tasks(&self) -> Tasks {
        let task_id = self.task_id;
        let transfer = ImmediateTask { task_id, data: blob() };
        let key = ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id };
        let timer = ScheduledTask { key, data: blob() };
        Tasks {
            immediate: vec![(ImmediateQueue::Transfer, vec![transfer])],
            scheduled: vec![(ScheduledQueue::Timer, vec![timer])],
        }
    }
}

/// Creates the shard of all executions.
///
/// # Errors
/// The store fails.
pub async fn create_shard(store: &impl Store) -> Result<()> {
    let Owner { shard_id, range_id } = owner();
    let shard = ShardsRow { shard_id, range_id, data: blob() };
    store.session().insert_into_shards(&shard).await?;
    Ok(())
}

fn owner() -> Owner {
    let shard_id: ShardId = rows::row(0).shard_id;
    Owner { shard_id, range_id: 1 }
}

fn entries() -> [MapEntries; 2] {
    let node = |number| ChasmNode {
        path: ChasmPath::new(format!("node-{number}")).expect("a short path"),
        metadata: blob(),
        data: Some(blob().data),
        data_encoding: blob().encoding,
    };
    [
        MapEntries::Activities((0..ACTIVITIES).map(|id| IdEntry { id, data: blob() }).collect()),
        MapEntries::ChasmNodes((0..NODES).map(node).collect()),
    ]
}

/// A blob of the size of a current execution's data.
fn blob() -> DataBlob {
    let row = rows::row(0);
    DataBlob::new(row.data.unwrap_or_default(), row.data_encoding)
}

#[cfg(test)]
mod tests {
    use temporal_dsql::{
        memory::MemoryStore,
        stores::{ExecutionStore, HistoryStore, ReadHistory},
    };

    use super::*;

    #[tokio::test]
    async fn an_execution_is_created_updated_and_read_as_it_was_written() {
        let store = MemoryStore::new();
        create_shard(&store).await.unwrap();
        let executions = ExecutionStore::new(&store);
        let mut execution = Execution::new(7);
        executions.create(&execution.create()).await.unwrap();
        for _ in 0..2 {
            executions.update(&execution.update()).await.unwrap();
        }
        let read = executions.get(&execution.run()).await.unwrap();
        assert_eq!(read.as_ref().unwrap().execution.db_record_version, 3);
        execution.check(read.as_ref()).unwrap();
        let error = Execution::new(7).check(read.as_ref()).unwrap_err().to_string();
        assert!(error.contains("was written 0 times; read: version Some(3)"), "{error}");
        assert!(execution.check(None).is_err());
        let AppendNodes { shard_id, branch, .. } = execution.events();
        let history = ReadHistory { shard_id, branch, min_node_id: 1, max_node_id: 9, limit: 9 };
        let read = HistoryStore::new(&store).read(&history, None).await.unwrap();
        let batches = read.nodes.iter().map(|node| node.node_id).collect::<Vec<_>>();
        assert_eq!(batches, [1, 2, 3], "each operation has written one batch of events");
        let trees = HistoryStore::new(&store).tree(shard_id, history.branch.tree_id).await.unwrap();
        assert_eq!(trees.len(), 1, "the creation has begun the branch");
    }
}
