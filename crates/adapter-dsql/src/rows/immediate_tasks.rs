//! Queues ordered by task id: five tables of one shape.
//!
//! Two of them have one more key column, a category or a source cluster, which identifies the queue.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ImmediateQueue, ImmediateRange, ImmediateTask, ShardId, Table};
use temporal_dsql_ports::StoreError;

use super::{decode::Columns, payload::Payload, session::exact};
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

static TRANSFER: Queue = queue(
    Table::TransferTasks,
    include_str!("../../sql/transfer_tasks.sql"),
    [
        "InsertIntoTransferTasks",
        "RangeSelectFromTransferTasks",
        "DeleteFromTransferTasks",
        "RangeDeleteFromTransferTasks",
    ],
);
static VISIBILITY: Queue = queue(
    Table::VisibilityTasks,
    include_str!("../../sql/visibility_tasks.sql"),
    [
        "InsertIntoVisibilityTasks",
        "RangeSelectFromVisibilityTasks",
        "DeleteFromVisibilityTasks",
        "RangeDeleteFromVisibilityTasks",
    ],
);
static REPLICATION: Queue = queue(
    Table::ReplicationTasks,
    include_str!("../../sql/replication_tasks.sql"),
    [
        "InsertIntoReplicationTasks",
        "RangeSelectFromReplicationTasks",
        "DeleteFromReplicationTasks",
        "RangeDeleteFromReplicationTasks",
    ],
);
static REPLICATION_DLQ: Queue = queue(
    Table::ReplicationTasksDlq,
    include_str!("../../sql/replication_tasks_dlq.sql"),
    [
        "InsertIntoReplicationDLQTasks",
        "RangeSelectFromReplicationDLQTasks",
        "DeleteFromReplicationDLQTasks",
        "RangeDeleteFromReplicationDLQTasks",
    ],
);
static CATEGORY: Queue = queue(
    Table::HistoryImmediateTasks,
    include_str!("../../sql/history_immediate_tasks.sql"),
    [
        "InsertIntoHistoryImmediateTasks",
        "RangeSelectFromHistoryImmediateTasks",
        "DeleteFromHistoryImmediateTasks",
        "RangeDeleteFromHistoryImmediateTasks",
    ],
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

/// The statement that inserts tasks, for each table.
pub(super) fn inserts() -> impl Iterator<Item = (Table, &'static Meta)> {
    [&TRANSFER, &VISIBILITY, &REPLICATION, &REPLICATION_DLQ, &CATEGORY]
        .into_iter()
        .map(|queue| (queue.insert.table, &queue.insert))
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&TRANSFER, &VISIBILITY, &REPLICATION, &REPLICATION_DLQ, &CATEGORY]
        .into_iter()
        .flat_map(|queue| [&queue.insert, &queue.select, &queue.delete, &queue.delete_range])
}

/// The shard and, where the table has it, the column that identifies the queue.
fn queue_columns(shard_id: ShardId, queue: &ImmediateQueue) -> Arguments<'_> {
    let mut arguments = Arguments::default();
    arguments.set("shard_id", shard_id.0);
    match queue {
        ImmediateQueue::ReplicationDlq(cluster) => {
            arguments.set("source_cluster_name", cluster.as_str());
        }
        ImmediateQueue::Category(category) => arguments.set("category_id", category.id()),
        ImmediateQueue::Transfer | ImmediateQueue::Visibility | ImmediateQueue::Replication => {}
    }
    arguments
}

/// Adds tasks to the size of a statement.
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

/// Sets the columns of the tasks of `table`, which are those of its queues among `queues`.
pub(super) fn set_tasks<'a>(
    arguments: &mut Arguments<'a>,
    table: Table,
    queues: &[(&'a ImmediateQueue, &'a [ImmediateTask])],
) {
    let of_table = || queues.iter().filter(move |(queue, _)| queue.table() == table);
    let tasks = || of_table().flat_map(|(_, tasks)| *tasks);
    match table {
        Table::ReplicationTasksDlq => {
            let clusters = of_table().flat_map(|(queue, tasks)| match queue {
                ImmediateQueue::ReplicationDlq(cluster) => vec![cluster.as_str(); tasks.len()],
                _ => Vec::new(),
            });
            arguments.set_column(table, "source_cluster_name", clusters.collect::<Vec<_>>());
        }
        Table::HistoryImmediateTasks => {
            let categories = of_table().flat_map(|(queue, tasks)| match queue {
                ImmediateQueue::Category(category) => vec![category.id(); tasks.len()],
                _ => Vec::new(),
            });
            arguments.set_column(table, "category_id", categories.collect::<Vec<_>>());
        }
        _ => {}
    }
    arguments.set_column(table, "task_id", tasks().map(|task| task.task_id).collect::<Vec<_>>());
    arguments.set_blobs(table, ["data", "data_encoding"], tasks().map(|task| &task.data));
}

/// The statement that inserts tasks.
pub(super) fn insert(
    shard_id: ShardId,
    queue: &ImmediateQueue,
    tasks: &[ImmediateTask],
) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), queue, tasks)?;
    let mut arguments = Arguments::default();
    arguments.set("shard_id", shard_id.0);
    set_tasks(&mut arguments, queue.table(), &[(queue, tasks)]);
    Ok(exact(&of(queue).insert, shard_id, &arguments))
}

/// The statement that deletes one task.
pub(super) fn delete(shard_id: ShardId, queue: &ImmediateQueue, task_id: i64) -> Statement {
    let mut arguments = queue_columns(shard_id, queue);
    arguments.set("task_id", task_id);
    exact(&of(queue).delete, shard_id, &arguments)
}

fn first_of_range(
    meta: &'static Meta,
    shard_id: ShardId,
    queue: &ImmediateQueue,
    range: &ImmediateRange,
    limit: u32,
) -> Statement {
    let mut arguments = queue_columns(shard_id, queue);
    arguments.set("min_task_id", range.start);
    arguments.set("end_task_id", range.end);
    arguments.set("limit", i64::from(limit));
    exact(meta, shard_id, &arguments)
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
