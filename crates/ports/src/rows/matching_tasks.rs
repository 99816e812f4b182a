//! The row port of task queues and their tasks (temporal-persistence.md#matching).

use std::ops::Range;

use async_trait::async_trait;
use temporal_dsql_domain::{TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueuesRow, TasksRow};

use crate::StoreError;

/// Operations on task queues and their tasks. The kind of a queue selects the tables.
#[async_trait]
pub trait MatchingTasks: Send {
    /// Inserts one task queue.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`].
    async fn insert_into_task_queues(&mut self, row: &TaskQueuesRow) -> Result<u64, StoreError>;

    /// Overwrites all columns but the key of one task queue, unconditionally or only if its range id
    /// is `expected` (compare-and-set).
    async fn update_task_queues(
        &mut self,
        row: &TaskQueuesRow,
        expected: Option<i64>,
    ) -> Result<u64, StoreError>;

    /// Reads one task queue.
    async fn select_from_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<TaskQueuesRow>, StoreError>;

    /// Reads the first `limit` task queues of a kind after `after`, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] if `after` is of the other kind.
    async fn list_task_queues(
        &mut self,
        kind: TaskQueueKind,
        after: Option<&TaskQueueKey>,
        limit: u32,
    ) -> Result<Vec<TaskQueuesRow>, StoreError>;

    /// Locks one task queue `FOR KEY SHARE` and reads the range id. Writes of the queue's owner hold
    /// this lock, which conflicts with a takeover and a deletion
    /// (see [`Shards::read_lock_shards`](crate::Shards::read_lock_shards)).
    async fn read_lock_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<i64>, StoreError>;

    /// Locks one task queue `FOR UPDATE` and reads the range id.
    async fn write_lock_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<i64>, StoreError>;

    /// Deletes one task queue if its range id is `range_id`.
    async fn delete_from_task_queues(
        &mut self,
        queue: &TaskQueueKey,
        range_id: i64,
    ) -> Result<u64, StoreError>;

    /// Inserts tasks of queues of one kind, all or none.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if one of them exists; [`StoreError::InvalidArgument`] for a
    /// queue of the other kind, and for a pass that the queue cannot have.
    async fn insert_into_tasks(
        &mut self,
        kind: TaskQueueKind,
        tasks: &[TasksRow],
    ) -> Result<u64, StoreError>;

    /// Reads the first `limit` tasks of a range, in the order of their levels.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a pass that the queue cannot have.
    async fn select_from_tasks(
        &mut self,
        queue: &TaskQueueKey,
        range: Range<TaskLevel>,
        limit: u32,
    ) -> Result<Vec<TasksRow>, StoreError>;

    /// Deletes the first `limit` tasks below a level. A result below `limit` means that none is left.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a pass that the queue cannot have.
    async fn delete_from_tasks(
        &mut self,
        queue: &TaskQueueKey,
        end: TaskLevel,
        limit: u32,
    ) -> Result<u64, StoreError>;
}
