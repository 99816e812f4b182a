//! The rows of real Temporal servers, for tests and the demo.

mod decode;
mod executions;
mod matching;
mod queue_metadata;
mod related_rows;
mod service_rows;

pub use executions::{current_chasm_executions, current_executions, executions};
pub use matching::{matching_tasks, task_queue_user_data, task_queues};
pub use queue_metadata::queue_metadata;
pub use related_rows::{entries, history_branches, history_nodes, shards, tasks};
pub use service_rows::{
    cluster_members, cluster_metadata, namespaces, nexus_endpoints, nexus_table_versions,
    notification_versions,
};
