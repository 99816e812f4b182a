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
    cluster_members, cluster_metadata, namespaces, nexus_endpoints, nexus_table_version,
    notification_version,
};

/// A real server whose rows are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// A Temporal 1.32 server whose rows have the schema for DSQL. It has one shard.
    Dsql,
    /// A server on PostgreSQL, with upstream's schema 1.19. Its ids are returned as those of the schema
    /// for DSQL.
    Postgres,
}

impl Recording {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Dsql, Self::Postgres];
}
