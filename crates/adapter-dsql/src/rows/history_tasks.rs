//! [`HistoryTasks`] over an executor: the statement of each method.

use std::ops::Range;

use async_trait::async_trait;
use temporal_dsql_domain::{
    ImmediateQueue, ImmediateRange, ImmediateTask, ScheduledKey, ScheduledQueue, ScheduledRange,
    ScheduledTask, ShardId, Timestamp,
};
use temporal_dsql_ports::{HistoryTasks, StoreError};

use super::{
    immediate_tasks as immediate, scheduled_tasks as scheduled, session::Rows, task_queues,
};
use crate::executor::Executor;

#[async_trait]
impl<E: Executor> HistoryTasks for Rows<E> {
    async fn insert_into_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        tasks: &[ImmediateTask],
    ) -> Result<u64, StoreError> {
        self.affected(immediate::insert(shard_id, queue, tasks)?).await
    }

    async fn range_select_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
        limit: u32,
    ) -> Result<Vec<ImmediateTask>, StoreError> {
        let select = &task_queues::of(queue.table()).select;
        let select = immediate::first_of_range(select, shard_id, queue, &range, limit);
        self.list(select, |row| immediate::decode(queue, row)).await
    }

    async fn delete_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        task_id: i64,
    ) -> Result<u64, StoreError> {
        self.affected(immediate::delete(shard_id, queue, task_id)).await
    }

    async fn range_delete_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let delete = &task_queues::of(queue.table()).delete_range;
        self.affected(immediate::first_of_range(delete, shard_id, queue, &range, limit)).await
    }

    async fn insert_into_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        tasks: &[ScheduledTask],
    ) -> Result<u64, StoreError> {
        self.affected(scheduled::insert(shard_id, queue, tasks)?).await
    }

    async fn range_select_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        range: ScheduledRange,
        limit: u32,
    ) -> Result<Vec<ScheduledTask>, StoreError> {
        let select = scheduled::select_range(shard_id, queue, range, limit);
        self.list(select, |row| scheduled::decode(queue, row)).await
    }

    async fn delete_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        key: ScheduledKey,
    ) -> Result<u64, StoreError> {
        self.affected(scheduled::delete(shard_id, queue, key)).await
    }

    async fn range_delete_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        times: Range<Timestamp>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.affected(scheduled::delete_range(shard_id, queue, times, limit)).await
    }
}
