//! The matching service: owns a task queue, and hands its tasks to workers.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use temporal_dsql::{
    DataBlob, NamespaceId, TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueueLease, TaskQueueType,
    TaskQueuesRow, TasksRow, stores::MatchingTaskStore,
};

use super::{AnyStore, Result, history::Run};

pub struct Matching {
    lease: TaskQueueLease,
    tasks: MatchingTaskStore<AnyStore>,
    /// The id of the next task. An owner has a block of ids of its own.
    next_task_id: AtomicI64,
}

impl Matching {
    /// Leases the task queue: with the next range id, all earlier owners lose it.
    pub async fn acquire(
        store: &AnyStore,
        namespace_id: NamespaceId,
        name: &str,
        host: &str,
    ) -> Result<Self> {
        let tasks = MatchingTaskStore::new(Arc::clone(store));
        let (kind, of) = (TaskQueueKind::Normal, TaskQueueType::Workflow);
        let queue = TaskQueueKey::new(kind, namespace_id, name, of, 0);
        let row = |range_id| TaskQueuesRow { queue, range_id, data: DataBlob::proto3(host) };
        let range_id = match tasks.get_task_queue(&queue).await? {
            None => {
                tasks.create_task_queue(&row(1)).await?;
                1
            }
            Some(found) => {
                let range_id = found.range_id + 1;
                tasks.update_task_queue(&row(range_id), found.range_id).await?;
                range_id
            }
        };
        Ok(Self {
            lease: TaskQueueLease { queue, range_id },
            tasks,
            next_task_id: AtomicI64::new(range_id * 100_000),
        })
    }

    /// Adds a task for each run, all or none.
    pub async fn add(&self, runs: &[Run]) -> Result<()> {
        let task = |run: &Run| {
            let task_id = self.next_task_id.fetch_add(1, Ordering::Relaxed);
            TasksRow {
                queue: self.lease.queue,
                level: TaskLevel::of_task(task_id),
                data: run.to_blob(),
            }
        };
        let tasks: Vec<TasksRow> = runs.iter().map(task).collect();
        self.tasks.create_tasks(self.lease, &tasks).await?;
        Ok(())
    }

    /// The runs of all tasks of the queue, in the order of their ids.
    pub async fn poll(&self) -> Result<Vec<Run>> {
        let kind = TaskQueueKind::Normal;
        let all = kind.first_level()..kind.end_level();
        let page = self.tasks.get_tasks(&self.lease.queue, all, 100).await?;
        page.items.iter().map(|task| Run::from_blob(&task.data)).collect()
    }

    /// Deletes the tasks of these runs, which are the first of the queue.
    pub async fn acknowledge(&self, runs: &[Run]) -> Result<u64> {
        let end = TaskQueueKind::Normal.end_level();
        let limit = runs.len().try_into()?;
        Ok(self.tasks.complete_tasks_less_than(&self.lease.queue, end, limit).await?)
    }

    /// Deletes the task queue.
    pub async fn delete(&self) -> Result<()> {
        self.tasks.delete_task_queue(self.lease).await?;
        Ok(())
    }
}
