//! Queues ordered by time, then by task id: two tables of one shape.

use std::ops::Range;

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ScheduledKey, ScheduledQueue, ScheduledRange, ScheduledTask, ShardId, Table, Timestamp,
};
use temporal_dsql_ports::StoreError;

use super::{
    decode::{Columns, timestamp},
    payload::Payload,
    session::exact,
    task_queues,
};
use crate::{arguments::Arguments, statement::Statement};

/// The shard and, where the table has it, the category, which identifies the queue.
fn queue_columns(shard_id: ShardId, queue: ScheduledQueue) -> Arguments<'static> {
    let mut arguments = Arguments::default();
    arguments.set("shard_id", shard_id.0);
    if let ScheduledQueue::Category(category) = queue {
        arguments.set("category_id", category.id());
    }
    arguments
}

/// Adds tasks to the size of a statement.
pub(super) fn check(
    payload: &mut Payload,
    queue: ScheduledQueue,
    tasks: &[ScheduledTask],
) -> Result<(), StoreError> {
    let key = 4 + 4 + 8 + 8;
    tasks.iter().try_for_each(|task| payload.blob(queue.table(), key, &task.data))
}

/// Sets the columns of the tasks of `table`, which are those of its queues among `queues`.
pub(super) fn set_tasks<'a>(
    arguments: &mut Arguments<'a>,
    table: Table,
    queues: &[(ScheduledQueue, &'a [ScheduledTask])],
) {
    let of_table = || queues.iter().filter(move |(queue, _)| queue.table() == table);
    let tasks = || of_table().flat_map(|(_, tasks)| *tasks);
    if table == Table::HistoryScheduledTasks {
        let categories = of_table().flat_map(|(queue, tasks)| match queue {
            ScheduledQueue::Category(category) => vec![category.id(); tasks.len()],
            ScheduledQueue::Timer => Vec::new(),
        });
        arguments.set_column(table, "category_id", categories.collect::<Vec<_>>());
    }
    let times = tasks().map(|task| timestamp(task.key.visibility_timestamp));
    let ids = tasks().map(|task| task.key.task_id);
    arguments.set_column(table, "visibility_timestamp", times.collect::<Vec<_>>());
    arguments.set_column(table, "task_id", ids.collect::<Vec<_>>());
    arguments.set_blobs(table, ["data", "data_encoding"], tasks().map(|task| &task.data));
}

/// The statement that inserts tasks.
pub(super) fn insert(
    shard_id: ShardId,
    queue: ScheduledQueue,
    tasks: &[ScheduledTask],
) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), queue, tasks)?;
    let mut arguments = Arguments::default();
    arguments.set("shard_id", shard_id.0);
    set_tasks(&mut arguments, queue.table(), &[(queue, tasks)]);
    Ok(exact(&task_queues::of(queue.table()).insert, shard_id, &arguments))
}

/// The statement that deletes one task.
pub(super) fn delete(shard_id: ShardId, queue: ScheduledQueue, key: ScheduledKey) -> Statement {
    let mut arguments = queue_columns(shard_id, queue);
    arguments.set("visibility_timestamp", timestamp(key.visibility_timestamp));
    arguments.set("task_id", key.task_id);
    exact(&task_queues::of(queue.table()).delete, shard_id, &arguments)
}

/// The shard, the queue, the times and the limit of a range.
fn range_columns(
    shard_id: ShardId,
    queue: ScheduledQueue,
    times: Range<Timestamp>,
    limit: u32,
) -> Arguments<'static> {
    let mut arguments = queue_columns(shard_id, queue);
    arguments.set("min_visibility_timestamp", timestamp(times.start));
    arguments.set("end_visibility_timestamp", timestamp(times.end));
    arguments.set("limit", i64::from(limit));
    arguments
}

/// The statement that reads the first tasks of a range; [`decode`] reads the answer.
pub(super) fn select_range(
    shard_id: ShardId,
    queue: ScheduledQueue,
    range: ScheduledRange,
    limit: u32,
) -> Statement {
    let times = range.from.visibility_timestamp..range.until;
    let mut arguments = range_columns(shard_id, queue, times, limit);
    arguments.set("min_task_id", range.from.task_id);
    exact(&task_queues::of(queue.table()).select, shard_id, &arguments)
}

/// The statement that deletes the first tasks of a range of times.
pub(super) fn delete_range(
    shard_id: ShardId,
    queue: ScheduledQueue,
    times: Range<Timestamp>,
    limit: u32,
) -> Statement {
    let arguments = range_columns(shard_id, queue, times, limit);
    exact(&task_queues::of(queue.table()).delete_range, shard_id, &arguments)
}

/// Reads a row of the answer of a read.
pub(super) fn decode(queue: ScheduledQueue, row: &PgRow) -> Result<ScheduledTask, StoreError> {
    let columns = Columns::new(queue.table(), row);
    Ok(ScheduledTask {
        key: ScheduledKey {
            visibility_timestamp: columns.required_time("visibility_timestamp")?,
            task_id: columns.get("task_id")?,
        },
        data: columns.blob("data", "data_encoding")?,
    })
}
