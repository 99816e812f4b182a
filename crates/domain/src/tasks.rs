//! The task queues of a shard and their rows (contract §1.5).
//!
//! There are two shapes. An immediate queue is ordered by task id; a scheduled queue by time, then
//! by task id. Three tables of the first shape and one of the second are for one category each; two
//! more have the category in the key, and the replication DLQ its source cluster.

use std::ops::Range;

use crate::{ClusterName, DataBlob, Table, Timestamp};

/// A queue ordered by task id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImmediateQueue {
    /// `transfer_tasks`.
    Transfer,
    /// `visibility_tasks`.
    Visibility,
    /// `replication_tasks`.
    Replication,
    /// `replication_tasks_dlq`, one queue for each cluster that tasks come from.
    ReplicationDlq(ClusterName),
    /// `history_immediate_tasks`, one queue for each category.
    Category(i32),
}

/// A queue ordered by time, then by task id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScheduledQueue {
    /// `timer_tasks`.
    Timer,
    /// `history_scheduled_tasks`, one queue for each category.
    Category(i32),
}

/// A task of an immediate queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImmediateTask {
    /// Key: unique in the shard, ascending in the order of creation.
    pub task_id: i64,
    /// The serialized task.
    pub data: DataBlob,
}

/// The key of a task in a scheduled queue. Two tasks of the same microsecond are in the order of
/// their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduledKey {
    /// When the task is due.
    pub visibility_timestamp: Timestamp,
    /// Unique in the shard.
    pub task_id: i64,
}

/// A task of a scheduled queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledTask {
    /// Key: when it is due, and which it is.
    pub key: ScheduledKey,
    /// The serialized task.
    pub data: DataBlob,
}

/// Tasks that one transaction adds, by queue. Queues without tasks are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// For immediate queues.
    pub immediate: Vec<(ImmediateQueue, Vec<ImmediateTask>)>,
    /// For scheduled queues.
    pub scheduled: Vec<(ScheduledQueue, Vec<ScheduledTask>)>,
}

/// Tasks of an immediate queue with these ids.
pub type ImmediateRange = Range<i64>;

/// Tasks of a scheduled queue from one key, inclusive, to a time, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledRange {
    /// The first key that is in the range.
    pub from: ScheduledKey,
    /// The first time that is not.
    pub until: Timestamp,
}

impl ImmediateQueue {
    /// The table.
    pub const fn table(&self) -> Table {
        match self {
            Self::Transfer => Table::TransferTasks,
            Self::Visibility => Table::VisibilityTasks,
            Self::Replication => Table::ReplicationTasks,
            Self::ReplicationDlq(_) => Table::ReplicationTasksDlq,
            Self::Category(_) => Table::HistoryImmediateTasks,
        }
    }
}

impl ScheduledQueue {
    /// The table.
    pub const fn table(self) -> Table {
        match self {
            Self::Timer => Table::TimerTasks,
            Self::Category(_) => Table::HistoryScheduledTasks,
        }
    }
}

impl Tasks {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.immediate.iter().map(|(_, tasks)| tasks.len()).sum::<usize>()
            + self.scheduled.iter().map(|(_, tasks)| tasks.len()).sum::<usize>()
    }

    /// The tasks of the immediate queues that have some, in the order of the queues.
    ///
    /// Tasks are inserted in this order, so that of two that exist already every store tells the
    /// same one.
    pub fn immediate_in_order(&self) -> Vec<(&ImmediateQueue, &[ImmediateTask])> {
        in_order(&self.immediate)
    }

    /// The tasks of the scheduled queues that have some, in the order of the queues. They are
    /// inserted after those of the immediate queues.
    pub fn scheduled_in_order(&self) -> Vec<(&ScheduledQueue, &[ScheduledTask])> {
        in_order(&self.scheduled)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn in_order<Q: Ord, T>(queues: &[(Q, Vec<T>)]) -> Vec<(&Q, &[T])> {
    let with_tasks = queues.iter().filter(|(_, tasks)| !tasks.is_empty());
    let mut in_order: Vec<_> = with_tasks.map(|(queue, tasks)| (queue, &**tasks)).collect();
    in_order.sort_by_key(|(queue, _)| *queue);
    in_order
}
