//! Task queues and their tasks: two tables of each kind (temporal-persistence.md#matching).

use std::ops::Range;

use async_trait::async_trait;
use temporal_dsql_domain::{
    Table, TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueuesRow, TasksRow,
};
use temporal_dsql_ports::{CreateTasks, MatchingTasks, StoreError};

use super::{lease, method_name};
use crate::{
    connection::{Connection, Execute},
    engine::Lock,
    key::{Column, Key, NewRow, check_statement},
};

/// The key of a queue in `table`, and the prefix of the keys of its tasks.
fn key_in(table: Table, queue: &TaskQueueKey) -> Key {
    let hash = Column::BigInt(queue.range_hash.into());
    Key::new(table, [hash, Column::Uuid(queue.task_queue_id.0)])
}

fn queue_key(queue: &TaskQueueKey) -> Key {
    key_in(queue.kind.queues_table(), queue)
}

fn task_key(queue: &TaskQueueKey, level: TaskLevel) -> Key {
    let TaskLevel { pass, task_id } = level;
    let tasks = key_in(queue.kind.tasks_table(), queue);
    match queue.kind {
        TaskQueueKind::Normal => tasks.with([Column::BigInt(task_id)]),
        TaskQueueKind::Fair => tasks.with([Column::BigInt(pass), Column::BigInt(task_id)]),
    }
}

/// The queue to write, checked against the limits.
fn queues_row(row: &TaskQueuesRow) -> Result<NewRow, StoreError> {
    Ok(NewRow::new(queue_key(&row.queue), row, &[("data", row.data.data.len())])?)
}

/// The tasks to insert, checked against the rules of their queues and the limits.
fn task_rows(kind: TaskQueueKind, tasks: &[TasksRow]) -> Result<Vec<NewRow>, StoreError> {
    kind.check_tasks(tasks)?;
    let row = |task: &TasksRow| {
        NewRow::new(task_key(&task.queue, task.level), task, &[("data", task.data.data.len())])
    };
    let rows = tasks.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    check_statement(&rows)?;
    Ok(rows)
}

/// Checks the tasks of a request before its condition, as the single statement of the adapter for
/// DSQL does.
///
/// # Errors
/// Those of [`CreateTasks::validate`], and [`StoreError::Limit`].
pub(crate) fn check_create_tasks(request: &CreateTasks<'_>) -> Result<(), StoreError> {
    task_rows(request.lease.queue.kind, request.tasks).map(drop)
}

#[async_trait]
impl<E: Execute> MatchingTasks for Connection<E> {
    async fn insert_into_task_queues(&mut self, row: &TaskQueuesRow) -> Result<u64, StoreError> {
        let op = method_name!("InsertInto", row.queue.kind.queues_table());
        let row = queues_row(row)?;
        self.execute(op, |transaction| transaction.insert(&row)).await
    }

    async fn update_task_queues(
        &mut self,
        row: &TaskQueuesRow,
        expected: Option<i64>,
    ) -> Result<u64, StoreError> {
        let op = method_name!("Update", row.queue.kind.queues_table());
        let row = queues_row(row)?;
        self.execute(op, |transaction| lease::update::<TaskQueuesRow>(transaction, &row, expected))
            .await
    }

    async fn select_from_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<TaskQueuesRow>, StoreError> {
        let op = method_name!("SelectFrom", queue.kind.queues_table());
        let key = queue_key(queue);
        self.execute(op, |transaction| Ok(transaction.select(&key).cloned())).await
    }

    async fn list_task_queues(
        &mut self,
        kind: TaskQueueKind,
        after: Option<&TaskQueueKey>,
        limit: u32,
    ) -> Result<Vec<TaskQueuesRow>, StoreError> {
        after.map(|after| kind.check_queue(after)).transpose()?;
        let op = method_name!("List", kind.queues_table());
        let all = Key::new(kind.queues_table(), []).all();
        let from = after.map_or(all.start, |after| queue_key(after).end());
        let keys = from..all.end;
        self.execute(op, |transaction| Ok(transaction.select_range(&keys, Some(limit)))).await
    }

    async fn read_lock_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<i64>, StoreError> {
        let op = method_name!("ReadLock", queue.kind.queues_table());
        let key = queue_key(queue);
        self.execute(op, |transaction| {
            Ok(lease::lock::<TaskQueuesRow>(transaction, &key, Lock::ForKeyShare))
        })
        .await
    }

    async fn write_lock_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<i64>, StoreError> {
        let op = method_name!("WriteLock", queue.kind.queues_table());
        let key = queue_key(queue);
        self.execute(op, |transaction| {
            Ok(lease::lock::<TaskQueuesRow>(transaction, &key, Lock::ForUpdate))
        })
        .await
    }

    async fn delete_from_task_queues(
        &mut self,
        queue: &TaskQueueKey,
        range_id: i64,
    ) -> Result<u64, StoreError> {
        let op = method_name!("DeleteFrom", queue.kind.queues_table());
        let key = queue_key(queue);
        let is_owned = |row: &TaskQueuesRow| row.range_id == range_id;
        self.execute(op, |transaction| transaction.delete_if(&key, is_owned)).await
    }

    async fn insert_into_tasks(
        &mut self,
        kind: TaskQueueKind,
        tasks: &[TasksRow],
    ) -> Result<u64, StoreError> {
        let tasks = task_rows(kind, tasks)?;
        let op = method_name!("InsertInto", kind.tasks_table());
        self.execute(op, |transaction| transaction.insert_all(&tasks)).await
    }

    async fn select_from_tasks(
        &mut self,
        queue: &TaskQueueKey,
        range: Range<TaskLevel>,
        limit: u32,
    ) -> Result<Vec<TasksRow>, StoreError> {
        queue.kind.check_level(range.start)?;
        queue.kind.check_level(range.end)?;
        let keys = task_key(queue, range.start)..task_key(queue, range.end);
        let op = method_name!("SelectFrom", queue.kind.tasks_table());
        self.execute(op, |transaction| Ok(transaction.select_range(&keys, Some(limit)))).await
    }

    async fn delete_from_tasks(
        &mut self,
        queue: &TaskQueueKey,
        end: TaskLevel,
        limit: u32,
    ) -> Result<u64, StoreError> {
        queue.kind.check_level(end)?;
        let keys = key_in(queue.kind.tasks_table(), queue)..task_key(queue, end);
        let op = method_name!("DeleteFrom", queue.kind.tasks_table());
        self.execute(op, |transaction| transaction.delete_range(&keys, Some(limit))).await
    }
}
