//! A task queue, immediate or scheduled, with one interface for both.

use std::fmt;

use temporal_dsql_domain::{
    ClusterName, ImmediateQueue, ImmediateTask, ScheduledKey, ScheduledQueue, ScheduledRange,
    ScheduledTask, ShardId, Table, TaskCategory, Timestamp,
};
use temporal_dsql_ports::{Session, StoreError};

/// A task queue. Its tasks are [`ScheduledTask`]s; those of an immediate queue have the Unix epoch
/// as their time, which is not stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// Ordered by task id.
    Immediate(ImmediateQueue),
    /// Ordered by time, then by task id.
    Scheduled(ScheduledQueue),
}

impl Queue {
    /// One queue of every table.
    pub fn all() -> [Self; 7] {
        let cluster = ClusterName::new("cluster-b").unwrap();
        [
            Self::Immediate(ImmediateQueue::Transfer),
            Self::Immediate(ImmediateQueue::Visibility),
            Self::Immediate(ImmediateQueue::Replication),
            Self::Immediate(ImmediateQueue::ReplicationDlq(cluster)),
            Self::Immediate(ImmediateQueue::Category(TaskCategory::OUTBOUND)),
            Self::Scheduled(ScheduledQueue::Timer),
            Self::Scheduled(ScheduledQueue::Category(TaskCategory::ARCHIVAL)),
        ]
    }

    /// Its table.
    pub const fn table(&self) -> Table {
        match self {
            Self::Immediate(queue) => queue.table(),
            Self::Scheduled(queue) => queue.table(),
        }
    }

    /// Another queue of the same table, if the table has several.
    pub fn sibling(&self) -> Option<Self> {
        Some(match self {
            Self::Immediate(ImmediateQueue::Category(category)) => {
                Self::Immediate(ImmediateQueue::Category(following(*category)))
            }
            Self::Immediate(ImmediateQueue::ReplicationDlq(_)) => {
                let cluster = ClusterName::new("cluster-c").unwrap();
                Self::Immediate(ImmediateQueue::ReplicationDlq(cluster))
            }
            Self::Scheduled(ScheduledQueue::Category(category)) => {
                Self::Scheduled(ScheduledQueue::Category(following(*category)))
            }
            Self::Immediate(
                ImmediateQueue::Transfer | ImmediateQueue::Visibility | ImmediateQueue::Replication,
            )
            | Self::Scheduled(ScheduledQueue::Timer) => return None,
        })
    }

    /// A key of this queue. An immediate queue ignores the time.
    pub const fn key(&self, time: Timestamp, task_id: i64) -> ScheduledKey {
        let visibility_timestamp = match self {
            Self::Immediate(_) => Timestamp::UNIX_EPOCH,
            Self::Scheduled(_) => time,
        };
        ScheduledKey { visibility_timestamp, task_id }
    }

    /// Inserts tasks.
    pub async fn insert(
        &self,
        session: &mut (impl Session + ?Sized),
        shard_id: ShardId,
        tasks: &[ScheduledTask],
    ) -> Result<u64, StoreError> {
        match self {
            Self::Immediate(queue) => {
                let tasks: Vec<_> = tasks.iter().map(immediate).collect();
                session.insert_into_immediate_tasks(shard_id, queue, &tasks).await
            }
            Self::Scheduled(queue) => {
                session.insert_into_scheduled_tasks(shard_id, *queue, tasks).await
            }
        }
    }

    /// Reads the first `limit` tasks from `from` on.
    pub async fn select(
        &self,
        session: &mut (impl Session + ?Sized),
        shard_id: ShardId,
        from: ScheduledKey,
        limit: u32,
    ) -> Result<Vec<ScheduledTask>, StoreError> {
        match self {
            Self::Immediate(queue) => {
                let range = from.task_id..i64::MAX;
                let tasks = session
                    .range_select_from_immediate_tasks(shard_id, queue, range, limit)
                    .await?;
                Ok(tasks.into_iter().map(scheduled).collect())
            }
            Self::Scheduled(queue) => {
                let range = ScheduledRange { from, until: Timestamp::MAX };
                session.range_select_from_scheduled_tasks(shard_id, *queue, range, limit).await
            }
        }
    }

    /// Deletes one task.
    pub async fn delete(
        &self,
        session: &mut (impl Session + ?Sized),
        shard_id: ShardId,
        key: ScheduledKey,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Immediate(queue) => {
                session.delete_from_immediate_tasks(shard_id, queue, key.task_id).await
            }
            Self::Scheduled(queue) => {
                session.delete_from_scheduled_tasks(shard_id, *queue, key).await
            }
        }
    }

    /// Deletes the first `limit` tasks from `from` on.
    pub async fn range_delete(
        &self,
        session: &mut (impl Session + ?Sized),
        shard_id: ShardId,
        from: ScheduledKey,
        limit: u32,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Immediate(queue) => {
                let range = from.task_id..i64::MAX;
                session.range_delete_from_immediate_tasks(shard_id, queue, range, limit).await
            }
            Self::Scheduled(queue) => {
                let times = from.visibility_timestamp..Timestamp::MAX;
                session.range_delete_from_scheduled_tasks(shard_id, *queue, times, limit).await
            }
        }
    }
}

fn immediate(task: &ScheduledTask) -> ImmediateTask {
    ImmediateTask { task_id: task.key.task_id, data: task.data.clone() }
}

fn scheduled(task: ImmediateTask) -> ScheduledTask {
    let key = ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id: task.task_id };
    ScheduledTask { key, data: task.data }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)
    }
}

fn following(category: TaskCategory) -> TaskCategory {
    TaskCategory::new(category.id() + 1).expect("a larger category has no table of its own")
}
