//! Queues ordered by task id: five tables of one shape.
//!
//! Two of them have one more key column, a category or a source cluster. It is the last argument
//! of a statement, so that one function binds them all; where rows are inserted it is a column
//! like the others.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ImmediateQueue, ImmediateRange, ImmediateTask, ShardId, Table};
use temporal_dsql_ports::StoreError;

use super::{
    decode::Columns,
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
                    "SELECT task_id, data, data_encoding FROM ", $sql, " WHERE shard_id = $1 \
                     AND task_id >= $2 AND task_id < $3", $of_range, " ORDER BY task_id LIMIT $4"
                ),
            ),
            delete: meta(
                concat!("DeleteFrom", $name),
                true,
                concat!("DELETE FROM ", $sql, " WHERE shard_id = $1 AND task_id = $2", $of_one),
            ),
            delete_range: meta(
                concat!("RangeDeleteFrom", $name),
                true,
                concat!(
                    "DELETE FROM ", $sql, " WHERE shard_id = $1 AND task_id >= $2 \
                     AND task_id < $3", $of_range, " AND ",
                    among_first!(
                        "$4" of $sql by "task_id" where concat!(
                            "shard_id = $1 AND task_id >= $2 AND task_id < $3", $of_range
                        )
                    )
                ),
            ),
        }
    }};
}

static TRANSFER: Queue = queue!(
    TransferTasks,
    "TransferTasks",
    "transfer_tasks",
    insert_tasks!("transfer_tasks", ["$2", "$3", "$4"]),
    "",
    ""
);
static VISIBILITY: Queue = queue!(
    VisibilityTasks,
    "VisibilityTasks",
    "visibility_tasks",
    insert_tasks!("visibility_tasks", ["$2", "$3", "$4"]),
    "",
    ""
);
static REPLICATION: Queue = queue!(
    ReplicationTasks,
    "ReplicationTasks",
    "replication_tasks",
    insert_tasks!("replication_tasks", ["$2", "$3", "$4"]),
    "",
    ""
);
static REPLICATION_DLQ: Queue = queue!(
    ReplicationTasksDlq,
    "ReplicationDLQTasks",
    "replication_tasks_dlq",
    insert_queued_tasks!(
        "replication_tasks_dlq", "source_cluster_name": "text", ["$2", "$3", "$4", "$5"]
    ),
    " AND source_cluster_name = $3",
    " AND source_cluster_name = $5"
);
static CATEGORY: Queue = queue!(
    HistoryImmediateTasks,
    "HistoryImmediateTasks",
    "history_immediate_tasks",
    insert_queued_tasks!(
        "history_immediate_tasks", "category_id": "integer", ["$2", "$3", "$4", "$5"]
    ),
    " AND category_id = $3",
    " AND category_id = $5"
);

const fn of(queue: &ImmediateQueue) -> &'static Queue {
    match queue {
        ImmediateQueue::Transfer => &TRANSFER,
        ImmediateQueue::Visibility => &VISIBILITY,
        ImmediateQueue::Replication => &REPLICATION,
        ImmediateQueue::ReplicationDlq(_) => &REPLICATION_DLQ,
        ImmediateQueue::Category(_) => &CATEGORY,
    }
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&TRANSFER, &VISIBILITY, &REPLICATION, &REPLICATION_DLQ, &CATEGORY]
        .into_iter()
        .flat_map(|queue| [&queue.insert, &queue.select, &queue.delete, &queue.delete_range])
}

/// Adds the last argument, where the table has it.
fn bind_queue(statement: Statement, queue: &ImmediateQueue) -> Statement {
    match queue {
        ImmediateQueue::ReplicationDlq(cluster) => statement.bind(cluster.to_string()),
        ImmediateQueue::Category(category) => statement.bind(*category),
        ImmediateQueue::Transfer | ImmediateQueue::Visibility | ImmediateQueue::Replication => {
            statement
        }
    }
}

/// Adds tasks to what a statement carries.
pub(super) fn check(
    payload: &mut Payload,
    queue: &ImmediateQueue,
    tasks: &[ImmediateTask],
) -> Result<(), StoreError> {
    let key = 4
        + 8
        + match queue {
            ImmediateQueue::ReplicationDlq(cluster) => cluster.len(),
            ImmediateQueue::Category(_) => 4,
            ImmediateQueue::Transfer | ImmediateQueue::Visibility | ImmediateQueue::Replication => {
                0
            }
        };
    tasks.iter().try_for_each(|task| payload.blob(queue.table(), key, &task.data))
}

/// The tables, in the order in which [`bind_all`] binds them.
const TABLES: [Table; 5] = [
    Table::TransferTasks,
    Table::VisibilityTasks,
    Table::ReplicationTasks,
    Table::ReplicationTasksDlq,
    Table::HistoryImmediateTasks,
];

/// A task and its queue.
type Row<'a> = (&'a ImmediateQueue, &'a ImmediateTask);

/// Binds rows of one table as one array for each column, as the `insert_…` macros take them.
fn bind_rows(statement: Statement, table: Table, rows: &[Row<'_>]) -> Statement {
    let statement = match table {
        Table::ReplicationTasksDlq => {
            let clusters = rows.iter().filter_map(|(queue, _)| match queue {
                ImmediateQueue::ReplicationDlq(cluster) => Some(cluster.to_string()),
                _ => None,
            });
            statement.bind(clusters.collect::<Vec<_>>())
        }
        Table::HistoryImmediateTasks => {
            let categories = rows.iter().filter_map(|(queue, _)| match queue {
                ImmediateQueue::Category(category) => Some(*category),
                _ => None,
            });
            statement.bind(categories.collect::<Vec<_>>())
        }
        _ => statement,
    };
    statement
        .bind(column(rows, |(_, task)| task.task_id))
        .bind(column(rows, |(_, task)| task.data.data.clone()))
        .bind(column(rows, |(_, task)| task.data.encoding.to_string()))
}

/// Binds the tasks of any queues, table by table.
pub(super) fn bind_all(
    statement: Statement,
    queues: &[(ImmediateQueue, Vec<ImmediateTask>)],
) -> Statement {
    TABLES.into_iter().fold(statement, |statement, table| {
        let rows: Vec<Row<'_>> = queues
            .iter()
            .filter(|(queue, _)| queue.table() == table)
            .flat_map(|(queue, tasks)| tasks.iter().map(move |task| (queue, task)))
            .collect();
        bind_rows(statement, table, &rows)
    })
}

/// The statement that inserts tasks.
pub(super) fn insert(
    shard_id: ShardId,
    queue: &ImmediateQueue,
    tasks: &[ImmediateTask],
) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), queue, tasks)?;
    let rows: Vec<Row<'_>> = tasks.iter().map(|task| (queue, task)).collect();
    let statement = Statement::new(&of(queue).insert, shard_id).bind(shard_id.0);
    Ok(bind_rows(statement, queue.table(), &rows))
}

/// The statement that deletes one task.
pub(super) fn delete(shard_id: ShardId, queue: &ImmediateQueue, task_id: i64) -> Statement {
    let statement = Statement::new(&of(queue).delete, shard_id).bind(shard_id.0).bind(task_id);
    bind_queue(statement, queue)
}

fn first_of_range(
    meta: &'static Meta,
    shard_id: ShardId,
    queue: &ImmediateQueue,
    range: &ImmediateRange,
    limit: u32,
) -> Statement {
    let statement = Statement::new(meta, shard_id)
        .bind(shard_id.0)
        .bind(range.start)
        .bind(range.end)
        .bind(i64::from(limit));
    bind_queue(statement, queue)
}

/// The statement that reads the first tasks of a range; [`decode`] reads its answer.
pub(super) fn select(
    shard_id: ShardId,
    queue: &ImmediateQueue,
    range: &ImmediateRange,
    limit: u32,
) -> Statement {
    first_of_range(&of(queue).select, shard_id, queue, range, limit)
}

/// The statement that deletes the first tasks of a range.
pub(super) fn delete_range(
    shard_id: ShardId,
    queue: &ImmediateQueue,
    range: &ImmediateRange,
    limit: u32,
) -> Statement {
    first_of_range(&of(queue).delete_range, shard_id, queue, range, limit)
}

/// Reads a row of the answer of [`select`].
pub(super) fn decode(queue: &ImmediateQueue, row: &PgRow) -> Result<ImmediateTask, StoreError> {
    let columns = Columns::new(queue.table(), row);
    Ok(ImmediateTask {
        task_id: columns.get("task_id")?,
        data: columns.blob("data", "data_encoding")?,
    })
}
