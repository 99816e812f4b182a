//! The row ports: one module per trait, which implements Temporal's statements.
//!
//! An oversized row or an unspecified archetype is refused before the statement, so it does not end a
//! transaction.

mod buffered_events;
mod cluster_metadata;
mod execution_maps;
mod history_execution;
mod history_nodes;
mod history_tasks;
mod lease;
mod matching_tasks;
mod mutable_state;
mod namespaces;
mod nexus_endpoints;
mod queues;
mod shards;
mod task_queue_user_data;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::key::NewRow;

#[cfg(test)]
pub(crate) use history_execution::executions_row;
pub(crate) use matching_tasks::check_create_tasks;
pub(crate) use mutable_state::check;
pub(crate) use namespaces::seed;

/// The name of Temporal's method: a verb, and the table of a map, of tasks or of task queues.
macro_rules! method_name {
    ($verb:literal, $table:expr) => {{
        use temporal_dsql_domain::Table;
        match $table {
            Table::ActivityInfoMaps => concat!($verb, "ActivityInfoMaps"),
            Table::TimerInfoMaps => concat!($verb, "TimerInfoMaps"),
            Table::ChildExecutionInfoMaps => concat!($verb, "ChildExecutionInfoMaps"),
            Table::RequestCancelInfoMaps => concat!($verb, "RequestCancelInfoMaps"),
            Table::SignalInfoMaps => concat!($verb, "SignalInfoMaps"),
            Table::SignalsRequestedSets => concat!($verb, "SignalsRequestedSets"),
            Table::ChasmNodeMaps => concat!($verb, "ChasmNodeMaps"),
            Table::TransferTasks => concat!($verb, "TransferTasks"),
            Table::VisibilityTasks => concat!($verb, "VisibilityTasks"),
            Table::ReplicationTasks => concat!($verb, "ReplicationTasks"),
            Table::ReplicationTasksDlq => concat!($verb, "ReplicationDLQTasks"),
            Table::HistoryImmediateTasks => concat!($verb, "HistoryImmediateTasks"),
            Table::TimerTasks => concat!($verb, "TimerTasks"),
            Table::HistoryScheduledTasks => concat!($verb, "HistoryScheduledTasks"),
            Table::TaskQueues => concat!($verb, "TaskQueues"),
            Table::TaskQueuesV2 => concat!($verb, "TaskQueuesV2"),
            Table::Tasks => concat!($verb, "Tasks"),
            Table::TasksV2 => concat!($verb, "TasksV2"),
            other => unreachable!("{other} has no map and no tasks"),
        }
    }};
}
use method_name;

/// The last row of each key, in the order of the keys.
fn last_of_each_key(rows: Vec<NewRow>) -> Vec<NewRow> {
    let last: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
    last.into_values().collect()
}
