//! Queues ordered by time, then by task id: two tables of one shape.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ScheduledKey, ScheduledQueue, ScheduledRange, ScheduledTask, ShardId, Table,
};
use temporal_dsql_ports::StoreError;

use super::{
    decode::{Columns, timestamp},
    payload::Payload,
    session::exact,
};
use crate::{
    arguments::Arguments,
    statement::{Meta, Statement},
    text::Text,
};

/// The statements of one table.
struct Queue {
    insert: Meta,
    select: Meta,
    delete: Meta,
    delete_range: Meta,
}

/// The statements of the file `sql`: their names, in the order of [`Queue`].
const fn queue(table: Table, sql: &'static str, names: [&'static str; 4]) -> Queue {
    const fn meta(table: Table, writes: bool, sql: &'static str, op: &'static str) -> Meta {
        Meta { op, table, writes, text: Text::new(sql, op) }
    }
    let [insert, select, delete, delete_range] = names;
    Queue {
        insert: meta(table, true, sql, insert),
        select: meta(table, false, sql, select),
        delete: meta(table, true, sql, delete),
        delete_range: meta(table, true, sql, delete_range),
    }
}

static TIMER: Queue = queue(
    Table::TimerTasks,
    include_str!("../../sql/timer_tasks.sql"),
    [
        "InsertIntoTimerTasks",
        "RangeSelectFromTimerTasks",
        "DeleteFromTimerTasks",
        "RangeDeleteFromTimerTasks",
    ],
);
static CATEGORY: Queue = queue(
    Table::HistoryScheduledTasks,
    include_str!("../../sql/history_scheduled_tasks.sql"),
    [
        "InsertIntoHistoryScheduledTasks",
        "RangeSelectFromHistoryScheduledTasks",
        "DeleteFromHistoryScheduledTasks",
        "RangeDeleteFromHistoryScheduledTasks",
    ],
);

const fn of(queue: ScheduledQueue) -> &'static Queue {
    match queue {
        ScheduledQueue::Timer => &TIMER,
        ScheduledQueue::Category(_) => &CATEGORY,
    }
}

/// The statement that inserts tasks, for each table.
pub(super) fn inserts() -> impl Iterator<Item = (Table, &'static Meta)> {
    [&TIMER, &CATEGORY].into_iter().map(|queue| (queue.insert.table, &queue.insert))
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&TIMER, &CATEGORY]
        .into_iter()
        .flat_map(|queue| [&queue.insert, &queue.select, &queue.delete, &queue.delete_range])
}

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
    Ok(exact(&of(queue).insert, shard_id, &arguments))
}

/// The statement that deletes one task.
pub(super) fn delete(shard_id: ShardId, queue: ScheduledQueue, key: ScheduledKey) -> Statement {
    let mut arguments = queue_columns(shard_id, queue);
    arguments.set("visibility_timestamp", timestamp(key.visibility_timestamp));
    arguments.set("task_id", key.task_id);
    exact(&of(queue).delete, shard_id, &arguments)
}

fn first_of_range(
    meta: &'static Meta,
    shard_id: ShardId,
    queue: ScheduledQueue,
    range: ScheduledRange,
    limit: u32,
) -> Statement {
    let mut arguments = queue_columns(shard_id, queue);
    arguments.set("min_visibility_timestamp", timestamp(range.from.visibility_timestamp));
    arguments.set("min_task_id", range.from.task_id);
    arguments.set("end_visibility_timestamp", timestamp(range.until));
    arguments.set("limit", i64::from(limit));
    exact(meta, shard_id, &arguments)
}

/// The statement that reads the first tasks of a range; [`decode`] reads its answer.
pub(super) fn select(
    shard_id: ShardId,
    queue: ScheduledQueue,
    range: ScheduledRange,
    limit: u32,
) -> Statement {
    first_of_range(&of(queue).select, shard_id, queue, range, limit)
}

/// The statement that deletes the first tasks of a range.
pub(super) fn delete_range(
    shard_id: ShardId,
    queue: ScheduledQueue,
    range: ScheduledRange,
    limit: u32,
) -> Statement {
    first_of_range(&of(queue).delete_range, shard_id, queue, range, limit)
}

/// Reads a row of the answer of [`select`].
pub(super) fn decode(queue: ScheduledQueue, row: &PgRow) -> Result<ScheduledTask, StoreError> {
    let columns = Columns::new(queue.table(), row);
    Ok(ScheduledTask {
        key: ScheduledKey {
            visibility_timestamp: columns.key_time("visibility_timestamp")?,
            task_id: columns.get("task_id")?,
        },
        data: columns.blob("data", "data_encoding")?,
    })
}
