//! The row ports: the operations on the rows of each table family, one trait per family.
//!
//! Every method is one statement, unless it is documented otherwise. Writes return the number of
//! affected rows. An absent row is `None` or an empty list. A duplicate key is
//! `StoreError::AlreadyExists`. Other errors are those of the connection, and [`StoreError::Limit`]
//! for values that exceed a limit of DSQL. After an error inside a transaction, the transaction can
//! only be rolled back.
//!
//! [`StoreError::Limit`]: crate::StoreError::Limit

mod cluster_metadata;
mod execution_maps;
mod history_execution;
mod history_nodes;
mod history_tasks;
mod matching_tasks;
mod mutable_state;
mod namespaces;
mod nexus_endpoints;
mod queues;
mod shards;
mod task_queue_user_data;

pub use cluster_metadata::ClusterMetadata;
pub use execution_maps::ExecutionMaps;
pub use history_execution::HistoryExecution;
pub use history_nodes::HistoryNodes;
pub use history_tasks::HistoryTasks;
pub use matching_tasks::MatchingTasks;
pub use mutable_state::{MutableState, MutableStateRows};
pub use namespaces::Namespaces;
pub use nexus_endpoints::NexusEndpoints;
pub use queues::{Queues, QueuesV2};
pub use shards::Shards;
pub use task_queue_user_data::TaskQueueUserData;
