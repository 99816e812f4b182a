//! The history task queues of a shard, and their rows (temporal-persistence.md#history-tasks).
//!
//! An immediate queue is ordered by task id, a scheduled queue by time and task id. The transfer,
//! visibility and replication queues (immediate) and the timer queue (scheduled) have a table each.
//! `history_immediate_tasks` and `history_scheduled_tasks` have the category in the key, and
//! `replication_tasks_dlq` the source cluster.

use std::{fmt, ops::Range};

use crate::{ClusterName, DataBlob, InvalidValue, Table, Timestamp};

/// A category of tasks that has no table of its own, by Temporal's number.
///
/// Transfer (1), timer (2), replication (3) and visibility (4) tasks have tables of their own. A
/// Temporal server does not read these categories from the shared tables, so they are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskCategory(i32);

impl TaskCategory {
    /// Archival: a category of scheduled tasks.
    pub const ARCHIVAL: Self = Self(5);
    /// Outbound: a category of immediate tasks.
    pub const OUTBOUND: Self = Self(7);

    /// Checks the number of a category.
    ///
    /// # Errors
    /// The category has a table of its own.
    pub fn new(id: i32) -> Result<Self, InvalidValue> {
        let table = match id {
            1 => Table::TransferTasks,
            2 => Table::TimerTasks,
            3 => Table::ReplicationTasks,
            4 => Table::VisibilityTasks,
            _ => return Ok(Self(id)),
        };
        Err(InvalidValue::new(
            "category_id",
            format!("is {id}; the tasks of this category are in {table}"),
        ))
    }

    /// The number.
    pub const fn id(self) -> i32 {
        self.0
    }
}

impl fmt::Display for TaskCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A queue ordered by task id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImmediateQueue {
    /// `transfer_tasks`.
    Transfer,
    /// `visibility_tasks`.
    Visibility,
    /// `replication_tasks`.
    Replication,
    /// `replication_tasks_dlq`, one queue for each source cluster.
    ReplicationDlq(ClusterName),
    /// `history_immediate_tasks`, one queue for each category.
    Category(TaskCategory),
}

/// A queue ordered by time, then by task id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScheduledQueue {
    /// `timer_tasks`.
    Timer,
    /// `history_scheduled_tasks`, one queue for each category.
    Category(TaskCategory),
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
    /// The time when the task is due.
    pub visibility_timestamp: Timestamp,
    /// Unique in the shard.
    pub task_id: i64,
}

/// A task of a scheduled queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledTask {
    /// Key: the time when it is due, and its id.
    pub key: ScheduledKey,
    /// The serialized task.
    pub data: DataBlob,
}

/// The tasks that one transaction adds, by queue. Queues without tasks are omitted.
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
    /// The first key of the range.
    pub from: ScheduledKey,
    /// The first time after the range.
    pub until: Timestamp,
}

impl ScheduledKey {
    /// The next key; `None` for the largest key.
    pub fn next(self) -> Option<Self> {
        if let Some(task_id) = self.task_id.checked_add(1) {
            return Some(Self { task_id, ..self });
        }
        let micros = self.visibility_timestamp.unix_micros() + 1;
        let visibility_timestamp = Timestamp::from_unix_micros(micros).ok()?;
        Some(Self { visibility_timestamp, task_id: i64::MIN })
    }
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
    /// The number of tasks.
    pub fn len(&self) -> usize {
        self.immediate.iter().map(|(_, tasks)| tasks.len()).sum::<usize>()
            + self.scheduled.iter().map(|(_, tasks)| tasks.len()).sum::<usize>()
    }

    /// Whether there are tasks of a queue in `table`.
    pub fn has(&self, table: Table) -> bool {
        let immediate = self.immediate.iter().map(|(queue, of)| (queue.table(), of.is_empty()));
        let scheduled = self.scheduled.iter().map(|(queue, of)| (queue.table(), of.is_empty()));
        immediate.chain(scheduled).any(|(of, is_empty)| of == table && !is_empty)
    }

    /// The immediate queues with tasks, in the order of the queues.
    ///
    /// Tasks are inserted in this order, so that every store reports the same duplicate.
    pub fn immediate_in_order(&self) -> Vec<(&ImmediateQueue, &[ImmediateTask])> {
        in_order(&self.immediate)
    }

    /// The scheduled queues with tasks, in the order of the queues. They are inserted after those of
    /// the immediate queues.
    pub fn scheduled_in_order(&self) -> Vec<(&ScheduledQueue, &[ScheduledTask])> {
        in_order(&self.scheduled)
    }

    /// Whether there are no tasks.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_with_a_table_of_its_own_is_refused() {
        for (id, table) in [
            (1, "transfer_tasks"),
            (2, "timer_tasks"),
            (3, "replication_tasks"),
            (4, "visibility_tasks"),
        ] {
            let error = TaskCategory::new(id).unwrap_err();
            assert_eq!(error.field, "category_id");
            assert!(error.reason.contains(table), "{error}");
        }
        for id in [i32::MIN, 0, 5, 7, 8, i32::MAX] {
            assert_eq!(TaskCategory::new(id).unwrap().id(), id);
        }
    }

    #[test]
    fn after_the_last_task_of_a_time_comes_the_first_of_the_next() {
        let key = |micros, task_id| ScheduledKey {
            visibility_timestamp: Timestamp::from_unix_micros(micros).unwrap(),
            task_id,
        };
        assert_eq!(key(5, 7).next(), Some(key(5, 8)));
        assert_eq!(key(5, i64::MAX).next(), Some(key(6, i64::MIN)));
        let last = ScheduledKey { visibility_timestamp: Timestamp::MAX, task_id: i64::MAX };
        assert_eq!(last.next(), None);
    }
}
