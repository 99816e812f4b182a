//! The row port of the history task queues of a shard (temporal-persistence.md#history-tasks).

use std::ops::Range;

use async_trait::async_trait;
use temporal_dsql_domain::{
    ImmediateQueue, ImmediateRange, ImmediateTask, ScheduledKey, ScheduledQueue, ScheduledRange,
    ScheduledTask, ShardId, Timestamp,
};

use crate::StoreError;

/// Operations on history tasks, by queue.
#[async_trait]
pub trait HistoryTasks: Send {
    /// Inserts tasks, all or none.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if one of them exists.
    async fn insert_into_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        tasks: &[ImmediateTask],
    ) -> Result<u64, StoreError>;

    /// Reads the first `limit` tasks of a range, in the order of their ids.
    async fn range_select_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
        limit: u32,
    ) -> Result<Vec<ImmediateTask>, StoreError>;

    /// Deletes one task.
    async fn delete_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        task_id: i64,
    ) -> Result<u64, StoreError>;

    /// Deletes the first `limit` tasks of a range. A result below `limit` means that none is left.
    async fn range_delete_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// Inserts tasks, all or none.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if one of them exists.
    async fn insert_into_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        tasks: &[ScheduledTask],
    ) -> Result<u64, StoreError>;

    /// Reads the first `limit` tasks of a range, in the order of their keys.
    async fn range_select_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        range: ScheduledRange,
        limit: u32,
    ) -> Result<Vec<ScheduledTask>, StoreError>;

    /// Deletes one task.
    async fn delete_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        key: ScheduledKey,
    ) -> Result<u64, StoreError>;

    /// Deletes the first `limit` tasks that are due at these times, whatever their ids. A result below
    /// `limit` means that none is left.
    async fn range_delete_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        times: Range<Timestamp>,
        limit: u32,
    ) -> Result<u64, StoreError>;
}
