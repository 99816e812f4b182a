//! Queues ordered by task id: five tables of one shape.
//!
//! Two of them have one more key column, a category or a source cluster, which identifies the queue.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ImmediateQueue, ImmediateRange, ImmediateTask, ShardId, Table};
use temporal_dsql_ports::StoreError;

use super::{decode::Columns, payload::Payload, session::exact, task_queues};
use crate::{
    arguments::Arguments,
    statement::{Meta, Statement},
};

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
    let queue_key = match queue {
        ImmediateQueue::ReplicationDlq(cluster) => cluster.len(),
        ImmediateQueue::Category(_) => 4,
        ImmediateQueue::Transfer | ImmediateQueue::Visibility | ImmediateQueue::Replication => 0,
    };
    let key = 4 + queue_key + 8;
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
    Ok(exact(&task_queues::of(queue.table()).insert, shard_id, &arguments))
}

/// The statement that deletes one task.
pub(super) fn delete(shard_id: ShardId, queue: &ImmediateQueue, task_id: i64) -> Statement {
    let mut arguments = queue_columns(shard_id, queue);
    arguments.set("task_id", task_id);
    exact(&task_queues::of(queue.table()).delete, shard_id, &arguments)
}

/// The statement that reads or deletes the first tasks of a range; [`decode`] reads the answer of
/// the read.
pub(super) fn first_of_range(
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

/// Reads a row of the answer of a read.
pub(super) fn decode(queue: &ImmediateQueue, row: &PgRow) -> Result<ImmediateTask, StoreError> {
    let columns = Columns::new(queue.table(), row);
    Ok(ImmediateTask {
        task_id: columns.get("task_id")?,
        data: columns.blob("data", "data_encoding")?,
    })
}
