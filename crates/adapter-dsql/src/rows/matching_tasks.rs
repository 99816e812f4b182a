//! Task queues and their tasks: the statements of both kinds (temporal-persistence.md#matching).

use std::ops::Range;

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    Table, TaskLevel, TaskQueueId, TaskQueueKey, TaskQueueKind, TaskQueuesRow, TasksRow,
};
use temporal_dsql_ports::{CreateTasks, MatchingTasks, StoreError, WrongCount};
use uuid::Uuid;

use super::{
    decode::Columns,
    lease::{LeaseStatements, Lock, lease_statements},
    payload::{Payload, column},
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

/// The statements of the tables of one kind.
struct MatchingStatements {
    queues: LeaseStatements,
    delete_queue: Meta,
    list_queues: Meta,
    insert: Meta,
    create: Meta,
    select: Meta,
    delete: Meta,
}

/// The statements of two tables in the files `sql/$file.sql`. Their names end with `$name`.
macro_rules! matching_statements {
    ($queues:ident, $queues_name:literal, $queues_file:literal,
        $tasks:ident, $tasks_name:literal, $tasks_file:literal) => {{
        const QUEUES: SqlFile =
            SqlFile::new(Table::$queues, include_str!(concat!("../../sql/", $queues_file, ".sql")));
        const TASKS: SqlFile =
            SqlFile::new(Table::$tasks, include_str!(concat!("../../sql/", $tasks_file, ".sql")));
        MatchingStatements {
            queues: lease_statements!($queues, $queues_name, $queues_file),
            delete_queue: QUEUES.write(concat!("DeleteFrom", $queues_name)),
            list_queues: QUEUES.read(concat!("List", $queues_name)),
            insert: TASKS.write(concat!("InsertInto", $tasks_name)),
            create: TASKS.write(concat!("Create", $tasks_name)).of_operation(CreateTasks::OP),
            select: TASKS.read(concat!("SelectFrom", $tasks_name)),
            delete: TASKS.write(concat!("DeleteFrom", $tasks_name)),
        }
    }};
}

static NORMAL: MatchingStatements =
    matching_statements!(TaskQueues, "TaskQueues", "task_queues", Tasks, "Tasks", "tasks");
static FAIR: MatchingStatements = matching_statements!(
    TaskQueuesV2,
    "TaskQueuesV2",
    "task_queues_v2",
    TasksV2,
    "TasksV2",
    "tasks_v2"
);

const fn of(kind: TaskQueueKind) -> &'static MatchingStatements {
    match kind {
        TaskQueueKind::Normal => &NORMAL,
        TaskQueueKind::Fair => &FAIR,
    }
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    [&NORMAL, &FAIR].into_iter().flat_map(|of| {
        let others =
            [&of.delete_queue, &of.list_queues, &of.insert, &of.create, &of.select, &of.delete];
        of.queues.all().into_iter().chain(others)
    })
}

/// Bytes of the key of a queue.
const QUEUE_KEY: usize = 8 + 16;
/// Bytes of the key of a task.
const TASK_KEY: usize = QUEUE_KEY + 8 + 8;

fn queue_columns<'a>(queue: &TaskQueueKey) -> Arguments<'a> {
    let mut arguments = Arguments::default();
    arguments.set("range_hash", i64::from(queue.range_hash));
    arguments.set("task_queue_id", queue.task_queue_id.0);
    arguments
}

fn by_key(meta: &'static Meta, queue: &TaskQueueKey) -> Statement {
    exact(meta, None, &queue_columns(queue))
}

/// The columns of a queue, whose blob has an allowed size.
fn columns(row: &TaskQueuesRow) -> Result<Arguments<'_>, StoreError> {
    Payload::default().blob(row.queue.kind.queues_table(), QUEUE_KEY, &row.data)?;
    let mut arguments = queue_columns(&row.queue);
    arguments.set("range_id", row.range_id);
    arguments.set("data", &*row.data.data);
    arguments.set("data_encoding", row.data.encoding.as_str());
    Ok(arguments)
}

/// The statement that reads the queues after a key; [`decode_queue`] reads its answer.
fn list(
    kind: TaskQueueKind,
    after: Option<&TaskQueueKey>,
    limit: u32,
) -> Result<Statement, StoreError> {
    after.map(|after| kind.check_queue(after)).transpose()?;
    let mut arguments = after.map_or_else(
        || {
            // Before every queue: hashes are not negative.
            let mut arguments = Arguments::default();
            arguments.set("range_hash", -1_i64);
            arguments.set("task_queue_id", Uuid::nil());
            arguments
        },
        queue_columns,
    );
    arguments.set("limit", i64::from(limit));
    Ok(exact(&of(kind).list_queues, None, &arguments))
}

/// Sets the columns of tasks, which their queues can have and whose blobs have an allowed size.
fn set_tasks<'a>(
    arguments: &mut Arguments<'a>,
    kind: TaskQueueKind,
    tasks: &'a [TasksRow],
) -> Result<(), StoreError> {
    kind.check_tasks(tasks)?;
    let table = kind.tasks_table();
    let mut payload = Payload::default();
    tasks.iter().try_for_each(|task| payload.blob(table, TASK_KEY, &task.data))?;
    let hashes = column(tasks, |task| i64::from(task.queue.range_hash));
    arguments.set_column(table, "range_hash", hashes);
    arguments.set_column(table, "task_queue_id", column(tasks, |task| task.queue.task_queue_id.0));
    if kind == TaskQueueKind::Fair {
        arguments.set_column(table, "pass", column(tasks, |task| task.level.pass));
    }
    arguments.set_column(table, "task_id", column(tasks, |task| task.level.task_id));
    arguments.set_blobs(table, ["data", "data_encoding"], tasks.iter().map(|task| &task.data));
    Ok(())
}

/// The statement that adds tasks under a lease; [`check_created`] reads its answer.
pub(crate) fn create(request: &CreateTasks<'_>) -> Result<Statement, StoreError> {
    let CreateTasks { lease, tasks } = request;
    let kind = lease.queue.kind;
    let mut arguments = queue_columns(&lease.queue);
    arguments.set("expected_range_id", lease.range_id);
    set_tasks(&mut arguments, kind, tasks)?;
    Ok(exact(&of(kind).create, None, &arguments))
}

/// Reads the answer of [`create`].
///
/// # Errors
/// [`ConditionFailed::TaskQueueLeaseLost`](temporal_dsql_ports::ConditionFailed). The statement is
/// committed, so a wrong number of rows is an unknown outcome.
pub(crate) fn check_created(request: &CreateTasks<'_>, answer: &[PgRow]) -> Result<(), StoreError> {
    let lease = &request.lease;
    let kind = lease.queue.kind;
    let Some(row) = answer.first() else {
        return Err(WrongCount::committed(CreateTasks::OP, "the statement has returned no row"));
    };
    lease.check(Columns::new(kind.queues_table(), row).get("range_id")?)?;
    let written: i64 = Columns::new(kind.tasks_table(), row).get("tasks_written")?;
    request
        .verify(written.unsigned_abs())
        .map_err(|error| WrongCount::committed(CreateTasks::OP, error))
}

fn set_end(arguments: &mut Arguments<'_>, kind: TaskQueueKind, end: TaskLevel) {
    if kind == TaskQueueKind::Fair {
        arguments.set("end_pass", end.pass);
    }
    arguments.set("end_task_id", end.task_id);
}

/// The statement that reads the first tasks of a range; [`decode_task`] reads its answer.
fn select(
    queue: &TaskQueueKey,
    range: &Range<TaskLevel>,
    limit: u32,
) -> Result<Statement, StoreError> {
    let kind = queue.kind;
    kind.check_level(range.start)?;
    kind.check_level(range.end)?;
    let mut arguments = queue_columns(queue);
    if kind == TaskQueueKind::Fair {
        arguments.set("min_pass", range.start.pass);
    }
    arguments.set("min_task_id", range.start.task_id);
    set_end(&mut arguments, kind, range.end);
    arguments.set("limit", i64::from(limit));
    Ok(exact(&of(kind).select, None, &arguments))
}

/// The statement that deletes the first tasks below a level.
fn delete(queue: &TaskQueueKey, end: TaskLevel, limit: u32) -> Result<Statement, StoreError> {
    queue.kind.check_level(end)?;
    let mut arguments = queue_columns(queue);
    set_end(&mut arguments, queue.kind, end);
    arguments.set("limit", i64::from(limit));
    Ok(exact(&of(queue.kind).delete, None, &arguments))
}

fn decode_queue(kind: TaskQueueKind, row: &PgRow) -> Result<TaskQueuesRow, StoreError> {
    let columns = Columns::new(kind.queues_table(), row);
    let range_hash = columns.get::<i64>("range_hash")?;
    Ok(TaskQueuesRow {
        queue: TaskQueueKey {
            kind,
            range_hash: range_hash
                .try_into()
                .map_err(|error| columns.corrupt("range_hash", error))?,
            task_queue_id: TaskQueueId(columns.get("task_queue_id")?),
        },
        range_id: columns.get("range_id")?,
        data: columns.blob("data", "data_encoding")?,
    })
}

fn decode_task(queue: &TaskQueueKey, row: &PgRow) -> Result<TasksRow, StoreError> {
    let columns = Columns::new(queue.kind.tasks_table(), row);
    let pass = match queue.kind {
        TaskQueueKind::Normal => 0,
        TaskQueueKind::Fair => columns.get("pass")?,
    };
    Ok(TasksRow {
        queue: *queue,
        level: TaskLevel { pass, task_id: columns.get("task_id")? },
        data: columns.blob("data", "data_encoding")?,
    })
}

#[async_trait]
impl<E: Executor> MatchingTasks for Rows<E> {
    async fn insert_into_task_queues(&mut self, row: &TaskQueuesRow) -> Result<u64, StoreError> {
        let insert = &of(row.queue.kind).queues.insert;
        self.affected(exact(insert, None, &columns(row)?)).await
    }

    async fn update_task_queues(
        &mut self,
        row: &TaskQueuesRow,
        expected: Option<i64>,
    ) -> Result<u64, StoreError> {
        let mut arguments = columns(row)?;
        if let Some(range_id) = expected {
            arguments.set("expected_range_id", range_id);
        }
        let update = of(row.queue.kind).queues.update(expected.is_some());
        let update = exact(update, None, &arguments);
        self.affected(update).await
    }

    async fn select_from_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<TaskQueuesRow>, StoreError> {
        let select = by_key(&of(queue.kind).queues.select, queue);
        self.optional(select, |row| decode_queue(queue.kind, row)).await
    }

    async fn list_task_queues(
        &mut self,
        kind: TaskQueueKind,
        after: Option<&TaskQueueKey>,
        limit: u32,
    ) -> Result<Vec<TaskQueuesRow>, StoreError> {
        self.list(list(kind, after, limit)?, |row| decode_queue(kind, row)).await
    }

    async fn read_lock_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<i64>, StoreError> {
        let queues = &of(queue.kind).queues;
        let lock = by_key(queues.read_lock(E::HOLDS_LOCKS, self.key_share), queue);
        self.optional(lock, |row| queues.decode_range_id(row)).await
    }

    async fn write_lock_task_queues(
        &mut self,
        queue: &TaskQueueKey,
    ) -> Result<Option<i64>, StoreError> {
        let queues = &of(queue.kind).queues;
        let lock = by_key(queues.write_lock(E::HOLDS_LOCKS), queue);
        self.optional(lock, |row| queues.decode_range_id(row)).await
    }

    async fn delete_from_task_queues(
        &mut self,
        queue: &TaskQueueKey,
        range_id: i64,
    ) -> Result<u64, StoreError> {
        let mut arguments = queue_columns(queue);
        arguments.set("expected_range_id", range_id);
        let delete = exact(&of(queue.kind).delete_queue, None, &arguments);
        self.affected(delete).await
    }

    async fn insert_into_tasks(
        &mut self,
        kind: TaskQueueKind,
        tasks: &[TasksRow],
    ) -> Result<u64, StoreError> {
        let mut arguments = Arguments::default();
        set_tasks(&mut arguments, kind, tasks)?;
        let insert = exact(&of(kind).insert, None, &arguments);
        self.affected(insert).await
    }

    async fn select_from_tasks(
        &mut self,
        queue: &TaskQueueKey,
        range: Range<TaskLevel>,
        limit: u32,
    ) -> Result<Vec<TasksRow>, StoreError> {
        self.list(select(queue, &range, limit)?, |row| decode_task(queue, row)).await
    }

    async fn delete_from_tasks(
        &mut self,
        queue: &TaskQueueKey,
        end: TaskLevel,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.affected(delete(queue, end, limit)?).await
    }
}
