//! The task store of matching: task queues with a lease, and their tasks.

use std::ops::Range;

use temporal_dsql_domain::{TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueuesRow, TasksRow};

use super::{check_limit, delete_in_chunks, lease, page::Page};
use temporal_dsql_ports::{
    ConditionFailed, CreateTasks, Outcome, Store, StoreError, TaskQueueLease, Within,
};

define_store! {
    /// Temporal's `TaskStore` of matching, for normal and fair task queues, over any store. Its user
    /// data are in the [`UserDataStore`](crate::UserDataStore).
    ///
    /// The rows of different owners of a task queue must differ, as Temporal's do: `TaskQueueInfo` has
    /// the time of its last update in nanoseconds. After a lost answer a row is compared with the one that
    /// was written, and an equal row proves that it was written.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{DataBlob, TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueueType, TaskQueuesRow, TasksRow};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_ports::{TaskQueueLease};
    /// # use temporal_dsql_stores::{MatchingTaskStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let matching = MatchingTaskStore::new(MemoryStore::new());
    /// let namespace_id = "32049b68-7872-4094-8e63-d0dd59896a83".parse()?;
    /// let kind = TaskQueueKind::Normal;
    /// let queue = TaskQueueKey::new(kind, namespace_id, "orders", TaskQueueType::Workflow, 0);
    /// let data = DataBlob::proto3(*b"TaskQueueInfo");
    /// matching.create_task_queue(&TaskQueuesRow { queue, range_id: 1, data }).await?;
    ///
    /// // The owner adds tasks under its lease.
    /// let lease = TaskQueueLease { queue, range_id: 1 };
    /// let level = TaskLevel::of_task(100_000);
    /// let task = TasksRow { queue, level, data: DataBlob::proto3(*b"AllocatedTaskInfo") };
    /// matching.create_tasks(lease, std::slice::from_ref(&task)).await?;
    ///
    /// let all = kind.first_level()..kind.end_level();
    /// assert_eq!(matching.get_tasks(&queue, all, 100).await?.items, [task]);
    /// assert_eq!(matching.complete_tasks_less_than(&queue, kind.end_level(), 100).await?, 1);
    /// matching.delete_task_queue(lease).await?;
    /// # Ok(())
    /// # }
    /// ```
    MatchingTaskStore
}

impl<S: Store> MatchingTaskStore<S> {
    /// Creates a task queue.
    ///
    /// # Errors
    /// [`ConditionFailed::TaskQueueExists`] with the stored range id; and those of the store. If the
    /// answer is lost, the row is read: if it equals `row`, the creation is reported as done.
    pub async fn create_task_queue(&self, row: &TaskQueuesRow) -> Result<(), StoreError> {
        const OP: &str = "CreateTaskQueue";
        let attempt = async || {
            let mut session = self.store.session();
            let Err(error) = session.insert_into_task_queues(row).await else { return Ok(()) };
            let exists = matches!(error, StoreError::AlreadyExists { .. });
            if !exists && error.outcome() == Outcome::NotApplied {
                return Err(error);
            }
            match session.select_from_task_queues(&row.queue).await {
                Ok(Some(found)) if !exists && found == *row => Ok(()),
                Ok(Some(TaskQueuesRow { queue, range_id, .. })) => {
                    Err(ConditionFailed::TaskQueueExists { queue, range_id }.into())
                }
                // The queue was deleted since the insert, which is repeated; or the insert may still
                // take effect.
                Ok(None) => Err(error.duplicate_is_conflict(OP)),
                Err(failed) => Err(if exists { failed } else { error }),
            }
        };
        let deadline = self.store.deadline();
        self.store.runner().retry_until(deadline, OP, |_| attempt()).await
    }

    /// Reads a task queue; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get_task_queue(
        &self,
        queue: &TaskQueueKey,
    ) -> Result<Option<TaskQueuesRow>, StoreError> {
        self.store.session().select_from_task_queues(queue).await
    }

    /// Writes the task queue if its range id is `previous_range_id`.
    ///
    /// A new range id is a takeover, which conflicts with every write of the previous owner. With the
    /// same range id the owner saves its progress.
    ///
    /// # Errors
    /// [`ConditionFailed::TaskQueueLeaseLost`] with the stored range id; and those of the store. If the
    /// answer is lost, the row is read: if it equals `row`, the update is reported as done.
    pub async fn update_task_queue(
        &self,
        row: &TaskQueuesRow,
        previous_range_id: i64,
    ) -> Result<(), StoreError> {
        lease::update(&self.store, row, previous_range_id).await
    }

    /// Reads a page of the task queues of a kind, in the order of their keys. The next page begins after
    /// the last queue of this one.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0 and for a key of the other kind; and those of the
    /// store.
    pub async fn list_task_queues(
        &self,
        kind: TaskQueueKind,
        after: Option<&TaskQueueKey>,
        limit: u32,
    ) -> Result<Page<TaskQueuesRow, TaskQueueKey>, StoreError> {
        check_limit(limit)?;
        let queues = self.store.session().list_task_queues(kind, after, limit).await?;
        Ok(Page::new(queues, limit, |last| Some(last.queue)))
    }

    /// Deletes a task queue of its owner. The tasks are not deleted.
    ///
    /// # Errors
    /// [`ConditionFailed::TaskQueueLeaseLost`] with the stored range id; and those of the store. If the
    /// answer is lost and the queue is absent, the deletion is reported as done.
    pub async fn delete_task_queue(&self, lease: TaskQueueLease) -> Result<(), StoreError> {
        let TaskQueueLease { queue, range_id } = lease;
        let mut session = self.store.session();
        let deleted = session.delete_from_task_queues(&queue, range_id).await;
        match deleted {
            Ok(0) => {
                let found = session.select_from_task_queues(&queue).await?;
                Err(lease.lost(found.map(|found| found.range_id)).into())
            }
            Ok(_) => Ok(()),
            Err(error) if error.outcome() == Outcome::Unknown => {
                match session.select_from_task_queues(&queue).await {
                    Ok(None) => Ok(()),
                    Ok(Some(found)) if found.range_id != range_id => {
                        Err(lease.lost(Some(found.range_id)).into())
                    }
                    Ok(Some(_)) | Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Adds tasks to a task queue and its subqueues, all or none. With no tasks, it only checks the lease.
    ///
    /// # Errors
    /// [`ConditionFailed::TaskQueueLeaseLost`]; [`StoreError::AlreadyExists`] if one of the tasks exists;
    /// [`StoreError::InvalidArgument`] for a task of a queue of the other kind, and for a pass that its
    /// queue cannot have; and those of the store. If the answer is lost and the first task is stored, the
    /// operation is reported as done: only the owner uses its task ids. If the task is absent, the outcome
    /// stays unknown: the write may still take effect, or the task is completed already.
    pub async fn create_tasks(
        &self,
        lease: TaskQueueLease,
        tasks: &[TasksRow],
    ) -> Result<(), StoreError> {
        let Some(first) = tasks.first() else {
            let found = self.get_task_queue(&lease.queue).await?;
            return Ok(lease.check(found.map(|found| found.range_id))?);
        };
        match self.store.create_tasks(&CreateTasks { lease, tasks }).await {
            Err(error) if error.can_be_proved() => match self.has(first).await {
                Ok(true) => Ok(()),
                Ok(false) | Err(_) => Err(error),
            },
            created => created,
        }
    }

    /// Whether `task` is stored. A task at the largest level of its queue is in no range, so it is not
    /// found.
    async fn has(&self, task: &TasksRow) -> Result<bool, StoreError> {
        let only = task.level..next_level(task).unwrap_or(task.level);
        let found = self.store.session().select_from_tasks(&task.queue, only, 1).await?;
        Ok(found.first() == Some(task))
    }

    /// Reads a page of the tasks of a queue, or of a subqueue. To continue, read the range from `next` on.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and for a pass that the queue cannot have; and
    /// those of the store.
    pub async fn get_tasks(
        &self,
        queue: &TaskQueueKey,
        range: Range<TaskLevel>,
        limit: u32,
    ) -> Result<Page<TasksRow, TaskLevel>, StoreError> {
        check_limit(limit)?;
        let end = range.end;
        let tasks = self.store.session().select_from_tasks(queue, range, limit).await?;
        Ok(Page::new(tasks, limit, |last| next_level(last).filter(|next| *next < end)))
    }

    /// Deletes the first tasks of a queue below `end`, at most `limit`, in chunks, each in a transaction
    /// of its own. Returns the number of deleted tasks; fewer than `limit` means that none is left. After
    /// an error, calling it again continues the deletion.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and for a pass that the queue cannot have;
    /// [`StoreError::Unavailable`] after one million tasks, if `limit` is larger; and those of the store.
    pub async fn complete_tasks_less_than(
        &self,
        queue: &TaskQueueKey,
        end: TaskLevel,
        limit: u32,
    ) -> Result<u64, StoreError> {
        check_limit(limit)?;
        let limit = u64::from(limit);
        let mut session = self.store.session();
        Ok(delete_in_chunks!(limit, chunk => session.delete_from_tasks(queue, end, chunk)))
    }
}

/// The next level in the queue of `task`; `None` after its largest one.
fn next_level(task: &TasksRow) -> Option<TaskLevel> {
    task.level.next().filter(|next| task.queue.kind.check_level(*next).is_ok())
}
