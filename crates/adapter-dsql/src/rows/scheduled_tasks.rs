//! Queues ordered by time, then by task id: two tables of one shape.
//!
//! A range begins at a key of two columns. DSQL turns a comparison of rows into a filter over
//! everything (facts §3.3), so the time bounds the range, and only the tasks of its first
//! microsecond are filtered by id.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ScheduledKey, ScheduledQueue, ScheduledRange, ScheduledTask, ShardId, Table,
};
use temporal_dsql_ports::StoreError;

use super::{
    decode::{Columns, timestamp},
    payload::{Payload, column},
};
use crate::statement::{Meta, Statement};

/// The statements of one table.
struct Queue {
    insert: Meta,
    select: Meta,
    delete: Meta,
    delete_range: Meta,
}

/// The tasks of the range whose bounds are `$2` to `$4`.
macro_rules! in_range {
    () => {
        "shard_id = $1 AND visibility_timestamp >= $2 AND visibility_timestamp < $4 \
         AND (visibility_timestamp > $2 OR task_id >= $3)"
    };
}

#[rustfmt::skip]
macro_rules! queue {
    (
        $table:ident, $name:literal, $sql:literal, $insert:expr, $of_one:literal, $of_range:literal
    ) => {{
        const fn meta(op: &'static str, writes: bool, sql: &'static str) -> Meta {
            Meta { op, table: Table::$table, writes, sql }
        }
        Queue {
            insert: meta(concat!("InsertInto", $name), true, $insert),
            select: meta(
                concat!("RangeSelectFrom", $name),
                false,
                concat!(
                    "SELECT visibility_timestamp, task_id, data, data_encoding FROM ", $sql,
                    " WHERE ", in_range!(), $of_range,
                    " ORDER BY visibility_timestamp, task_id LIMIT $5"
                ),
            ),
            delete: meta(
                concat!("DeleteFrom", $name),
                true,
                concat!(
                    "DELETE FROM ", $sql,
                    " WHERE shard_id = $1 AND visibility_timestamp = $2 AND task_id = $3", $of_one
                ),
            ),
            delete_range: meta(
                concat!("RangeDeleteFrom", $name),
                true,
                concat!(
                    "DELETE FROM ", $sql, " WHERE ", in_range!(), $of_range, " AND ",
                    among_first!(
                        "$5" of $sql by "visibility_timestamp", "task_id"
                        where concat!(in_range!(), $of_range)
                    )
                ),
            ),
        }
    }};
}

static TIMER: Queue = queue!(
    TimerTasks,
    "TimerTasks",
    "timer_tasks",
    insert_timer_tasks!(["$2", "$3", "$4", "$5"]),
    "",
    ""
);
static CATEGORY: Queue = queue!(
    HistoryScheduledTasks,
    "HistoryScheduledTasks",
    "history_scheduled_tasks",
    insert_scheduled_tasks!(["$2", "$3", "$4", "$5", "$6"]),
    " AND category_id = $4",
    " AND category_id = $6"
);

const fn of(queue: ScheduledQueue) -> &'static Queue {
    match queue {
        ScheduledQueue::Timer => &TIMER,
        ScheduledQueue::Category(_) => &CATEGORY,
    }
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&TIMER, &CATEGORY]
        .into_iter()
        .flat_map(|queue| [&queue.insert, &queue.select, &queue.delete, &queue.delete_range])
}

/// Adds the last argument, where the table has it.
fn bind_queue(statement: Statement, queue: ScheduledQueue) -> Statement {
    match queue {
        ScheduledQueue::Timer => statement,
        ScheduledQueue::Category(category) => statement.bind(category),
    }
}

/// Adds tasks to what a statement carries.
pub(super) fn check(
    payload: &mut Payload,
    queue: ScheduledQueue,
    tasks: &[ScheduledTask],
) -> Result<(), StoreError> {
    let key = 4 + 4 + 8 + 8;
    tasks.iter().try_for_each(|task| payload.blob(queue.table(), key, &task.data))
}

/// A task and its queue.
type Row<'a> = (&'a ScheduledQueue, &'a ScheduledTask);

/// Binds rows of one table as one array for each column, as the `insert_…` macros take them.
fn bind_rows(statement: Statement, table: Table, rows: &[Row<'_>]) -> Statement {
    let statement = match table {
        Table::HistoryScheduledTasks => {
            let categories = rows.iter().filter_map(|(queue, _)| match queue {
                ScheduledQueue::Category(category) => Some(*category),
                ScheduledQueue::Timer => None,
            });
            statement.bind(categories.collect::<Vec<_>>())
        }
        _ => statement,
    };
    statement
        .bind(column(rows, |(_, task)| timestamp(task.key.visibility_timestamp)))
        .bind(column(rows, |(_, task)| task.key.task_id))
        .bind(column(rows, |(_, task)| task.data.data.clone()))
        .bind(column(rows, |(_, task)| task.data.encoding.to_string()))
}

/// Binds the tasks of any queues, `timer_tasks` first.
pub(super) fn bind_all(
    statement: Statement,
    queues: &[(ScheduledQueue, Vec<ScheduledTask>)],
) -> Statement {
    [Table::TimerTasks, Table::HistoryScheduledTasks].into_iter().fold(
        statement,
        |statement, table| {
            let rows: Vec<Row<'_>> = queues
                .iter()
                .filter(|(queue, _)| queue.table() == table)
                .flat_map(|(queue, tasks)| tasks.iter().map(move |task| (queue, task)))
                .collect();
            bind_rows(statement, table, &rows)
        },
    )
}

/// The statement that inserts tasks.
pub(super) fn insert(
    shard_id: ShardId,
    queue: ScheduledQueue,
    tasks: &[ScheduledTask],
) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), queue, tasks)?;
    let rows: Vec<Row<'_>> = tasks.iter().map(|task| (&queue, task)).collect();
    let statement = Statement::new(&of(queue).insert, shard_id).bind(shard_id.0);
    Ok(bind_rows(statement, queue.table(), &rows))
}

/// The statement that deletes one task.
pub(super) fn delete(shard_id: ShardId, queue: ScheduledQueue, key: ScheduledKey) -> Statement {
    let statement = Statement::new(&of(queue).delete, shard_id)
        .bind(shard_id.0)
        .bind(timestamp(key.visibility_timestamp))
        .bind(key.task_id);
    bind_queue(statement, queue)
}

fn first_of_range(
    meta: &'static Meta,
    shard_id: ShardId,
    queue: ScheduledQueue,
    range: ScheduledRange,
    limit: u32,
) -> Statement {
    let statement = Statement::new(meta, shard_id)
        .bind(shard_id.0)
        .bind(timestamp(range.from.visibility_timestamp))
        .bind(range.from.task_id)
        .bind(timestamp(range.until))
        .bind(i64::from(limit));
    bind_queue(statement, queue)
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
