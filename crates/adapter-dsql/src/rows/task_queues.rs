//! The statements of the tables of tasks, which have the same four each.

use temporal_dsql_domain::Table;

use crate::statement::{Meta, SqlFile};

/// The statements of one table.
pub(super) struct QueueStatements {
    pub(super) insert: Meta,
    pub(super) select: Meta,
    pub(super) delete: Meta,
    pub(super) delete_range: Meta,
}

/// The statements of a table in the file `sql/$file.sql`. Their names end with `$name`.
macro_rules! queue_statements {
    ($table:ident, $name:literal, $file:literal) => {{
        const FILE: SqlFile =
            SqlFile::new(Table::$table, include_str!(concat!("../../sql/", $file, ".sql")));
        QueueStatements {
            insert: FILE.write(concat!("InsertInto", $name)),
            select: FILE.read(concat!("RangeSelectFrom", $name)),
            delete: FILE.write(concat!("DeleteFrom", $name)),
            delete_range: FILE.write(concat!("RangeDeleteFrom", $name)),
        }
    }};
}

/// The statements of every table of tasks.
pub(super) static STATEMENTS: [QueueStatements; 7] = [
    queue_statements!(TransferTasks, "TransferTasks", "transfer_tasks"),
    queue_statements!(VisibilityTasks, "VisibilityTasks", "visibility_tasks"),
    queue_statements!(ReplicationTasks, "ReplicationTasks", "replication_tasks"),
    queue_statements!(ReplicationTasksDlq, "ReplicationDLQTasks", "replication_tasks_dlq"),
    queue_statements!(HistoryImmediateTasks, "HistoryImmediateTasks", "history_immediate_tasks"),
    queue_statements!(TimerTasks, "TimerTasks", "timer_tasks"),
    queue_statements!(HistoryScheduledTasks, "HistoryScheduledTasks", "history_scheduled_tasks"),
];

/// The statements of `table`.
pub(super) fn of(table: Table) -> &'static QueueStatements {
    let of_table = |statements: &&QueueStatements| statements.insert.table == table;
    STATEMENTS.iter().find(of_table).expect("every table of tasks has statements")
}

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    STATEMENTS
        .iter()
        .flat_map(|queue| [&queue.insert, &queue.select, &queue.delete, &queue.delete_range])
}
