//! The task queues of a shard: seven tables of two shapes (temporal-persistence.md#history-tasks).

use std::ops::Range;

use async_trait::async_trait;
use temporal_dsql_domain::{
    ImmediateQueue, ImmediateRange, ImmediateTask, ScheduledKey, ScheduledQueue, ScheduledRange,
    ScheduledTask, ShardId, Timestamp,
};
use temporal_dsql_ports::{HistoryTasks, StoreError};

use super::method_name;
use crate::{
    connection::{Connection, Execute},
    key::{Column, Key, NewRow, check_statement},
};

/// The prefix of the keys of the tasks of one queue.
fn immediate_key(shard_id: ShardId, queue: &ImmediateQueue) -> Key {
    let shard = Column::Integer(shard_id.0);
    match queue {
        ImmediateQueue::Transfer | ImmediateQueue::Visibility | ImmediateQueue::Replication => {
            Key::new(queue.table(), [shard])
        }
        ImmediateQueue::ReplicationDlq(cluster) => {
            Key::new(queue.table(), [Column::text(cluster), shard])
        }
        ImmediateQueue::Category(category) => {
            Key::new(queue.table(), [shard, Column::Integer(category.id())])
        }
    }
}

fn immediate_range(shard_id: ShardId, queue: &ImmediateQueue, range: ImmediateRange) -> Range<Key> {
    let queue = immediate_key(shard_id, queue);
    queue.with([Column::BigInt(range.start)])..queue.with([Column::BigInt(range.end)])
}

/// The tasks to insert, checked against the limits.
pub(super) fn immediate_rows(
    shard_id: ShardId,
    queue: &ImmediateQueue,
    tasks: &[ImmediateTask],
) -> Result<Vec<NewRow>, StoreError> {
    let queue = immediate_key(shard_id, queue);
    let row = |task: &ImmediateTask| {
        let key = queue.with([Column::BigInt(task.task_id)]);
        NewRow::new(key, task, &[("data", task.data.data.len())])
    };
    Ok(tasks.iter().map(row).collect::<Result<_, _>>()?)
}

/// The prefix of the keys of the tasks of one queue.
fn scheduled_key(shard_id: ShardId, queue: ScheduledQueue) -> Key {
    let shard = Column::Integer(shard_id.0);
    match queue {
        ScheduledQueue::Timer => Key::new(queue.table(), [shard]),
        ScheduledQueue::Category(category) => {
            Key::new(queue.table(), [shard, Column::Integer(category.id())])
        }
    }
}

/// A `TIMESTAMP` is stored as microseconds.
fn time_column(time: Timestamp) -> Column {
    Column::BigInt(time.unix_micros())
}

/// The columns of a task's key in its queue.
fn scheduled_columns(key: ScheduledKey) -> [Column; 2] {
    [time_column(key.visibility_timestamp), Column::BigInt(key.task_id)]
}

/// The tasks to insert, checked against the limits.
pub(super) fn scheduled_rows(
    shard_id: ShardId,
    queue: ScheduledQueue,
    tasks: &[ScheduledTask],
) -> Result<Vec<NewRow>, StoreError> {
    let queue = scheduled_key(shard_id, queue);
    let row = |task: &ScheduledTask| {
        let key = queue.with(scheduled_columns(task.key));
        NewRow::new(key, task, &[("data", task.data.data.len())])
    };
    Ok(tasks.iter().map(row).collect::<Result<_, _>>()?)
}

#[async_trait]
impl<E: Execute> HistoryTasks for Connection<E> {
    async fn insert_into_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        tasks: &[ImmediateTask],
    ) -> Result<u64, StoreError> {
        let tasks = immediate_rows(shard_id, queue, tasks)?;
        check_statement(&tasks)?;
        let op = method_name!("InsertInto", queue.table());
        self.execute(op, |transaction| transaction.insert_all(&tasks)).await
    }

    async fn range_select_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
        limit: u32,
    ) -> Result<Vec<ImmediateTask>, StoreError> {
        let keys = immediate_range(shard_id, queue, range);
        let op = method_name!("RangeSelectFrom", queue.table());
        self.execute(op, |transaction| Ok(transaction.select_range(&keys, Some(limit)))).await
    }

    async fn delete_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        task_id: i64,
    ) -> Result<u64, StoreError> {
        let key = immediate_key(shard_id, queue).with([Column::BigInt(task_id)]);
        let op = method_name!("DeleteFrom", queue.table());
        self.execute(op, |transaction| transaction.delete(&key)).await
    }

    async fn range_delete_from_immediate_tasks(
        &mut self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let keys = immediate_range(shard_id, queue, range);
        let op = method_name!("RangeDeleteFrom", queue.table());
        self.execute(op, |transaction| transaction.delete_range(&keys, Some(limit))).await
    }

    async fn insert_into_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        tasks: &[ScheduledTask],
    ) -> Result<u64, StoreError> {
        let tasks = scheduled_rows(shard_id, queue, tasks)?;
        check_statement(&tasks)?;
        let op = method_name!("InsertInto", queue.table());
        self.execute(op, |transaction| transaction.insert_all(&tasks)).await
    }

    async fn range_select_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        range: ScheduledRange,
        limit: u32,
    ) -> Result<Vec<ScheduledTask>, StoreError> {
        let key = scheduled_key(shard_id, queue);
        let keys = key.with(scheduled_columns(range.from))..key.with([time_column(range.until)]);
        let op = method_name!("RangeSelectFrom", queue.table());
        self.execute(op, |transaction| Ok(transaction.select_range(&keys, Some(limit)))).await
    }

    async fn delete_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        key: ScheduledKey,
    ) -> Result<u64, StoreError> {
        let key = scheduled_key(shard_id, queue).with(scheduled_columns(key));
        let op = method_name!("DeleteFrom", queue.table());
        self.execute(op, |transaction| transaction.delete(&key)).await
    }

    async fn range_delete_from_scheduled_tasks(
        &mut self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        times: Range<Timestamp>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let key = scheduled_key(shard_id, queue);
        let keys = key.with([time_column(times.start)])..key.with([time_column(times.end)]);
        let op = method_name!("RangeDeleteFrom", queue.table());
        self.execute(op, |transaction| transaction.delete_range(&keys, Some(limit))).await
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::{ClusterName, TaskCategory};
    use temporal_dsql_ports::{Store, Transaction};

    use super::*;
    use crate::{
        MemoryStore,
        testing::{blob, conflict},
    };

    const SHARD: ShardId = ShardId(1);

    #[tokio::test]
    async fn inserting_a_task_conflicts_with_inserting_it_into_the_same_queue_only() {
        let dlq = |cluster| ImmediateQueue::ReplicationDlq(ClusterName::new(cluster).unwrap());
        let queues = [
            ImmediateQueue::Transfer,
            ImmediateQueue::Visibility,
            ImmediateQueue::Replication,
            dlq("east"),
            dlq("west"),
            ImmediateQueue::Category(TaskCategory::ARCHIVAL),
            ImmediateQueue::Category(TaskCategory::OUTBOUND),
        ];
        let insert = |queue: ImmediateQueue| {
            async move |transaction: &mut dyn Transaction| {
                let task = ImmediateTask { task_id: 7, data: blob(1) };
                transaction.insert_into_immediate_tasks(SHARD, &queue, &[task]).await.unwrap();
            }
        };
        for one in &queues {
            for other in &queues {
                let store = MemoryStore::new();
                let conflicts = conflict(&store, insert(one.clone()), insert(other.clone())).await;
                assert_eq!(conflicts, one == other, "{one:?}, {other:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_range_that_ends_before_it_starts_is_empty() {
        let store = MemoryStore::new();
        let mut session = store.session();
        let queue = ImmediateQueue::Transfer;
        let task = ImmediateTask { task_id: 7, data: blob(1) };
        session.insert_into_immediate_tasks(SHARD, &queue, &[task]).await.unwrap();
        #[expect(clippy::reversed_empty_ranges, reason = "this is the range in question")]
        let range = 9..2;
        let read =
            session.range_select_from_immediate_tasks(SHARD, &queue, range.clone(), 10).await;
        assert_eq!(read.unwrap(), []);
        let deleted = session.range_delete_from_immediate_tasks(SHARD, &queue, range, 10).await;
        assert_eq!(deleted.unwrap(), 0);
    }
}
