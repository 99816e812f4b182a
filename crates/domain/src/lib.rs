//! Pure domain types of Temporal persistence on Amazon Aurora DSQL.
//!
//! The rows of Temporal's execution tables as types: archetypes, ids, times, states, blobs, maps,
//! tasks, history branches and schema versions. Constructors validate, and conversions keep stored
//! values unchanged. The crate has no I/O and no async code, and only [`Timestamp::now`] reads a clock.
//! Comments cite the sources of rules by file and anchor; the files are in `docs/reference`.
#![warn(missing_debug_implementations, missing_docs, clippy::unwrap_used)]

mod archetype;
mod blob;
mod branch;
mod cluster;
mod engine;
mod error;
mod history;
mod ids;
mod maps;
mod matching;
mod namespaces;
mod nexus;
mod queues;
mod rows;
mod schema_version;
mod shards;
mod state;
mod state_rules;
mod table;
mod tasks;
mod text;
mod timestamp;

pub use archetype::ArchetypeId;
pub use blob::DataBlob;
pub use branch::{BranchRange, FIRST_NODE_ID, HistoryBranch, HistoryTreeInfo};
pub use cluster::{ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, ServiceType};
pub use engine::Engine;
pub use error::InvalidValue;
pub use history::{
    BranchKey, HistoryNode, HistoryTreeRow, NodeMetadata, NodeOrder, NodePage, NodePosition,
    stored_txn_id,
};
pub use ids::{
    BranchId, HostId, NamespaceId, NexusEndpointId, RunId, ShardId, TaskQueueId, TreeId,
};
pub use maps::{ChasmNode, IdEntry, MapEntries, MapKeys, MapTable, TimerEntry};
pub use matching::{
    TaskLevel, TaskQueueBuildIds, TaskQueueKey, TaskQueueKind, TaskQueueType, TaskQueueUserDataRow,
    TaskQueuesRow, TasksRow,
};
pub use namespaces::{Namespace, NamespaceKey, NamespacesRow};
pub use nexus::{NexusEndpointsPage, NexusEndpointsRow};
pub use queues::{
    FIRST_MESSAGE_ID, MessageRange, QueueMessage, QueueMetadataRow, QueueType, QueueV2Key,
    QueueV2Metadata, QueueV2Type, QueuesRow,
};
pub use rows::{
    CurrentExecutionsFilter, CurrentExecutionsRow, ExecutionVersion, ExecutionsFilter,
    ExecutionsRow,
};
pub use schema_version::{SchemaVersion, VERSION};
pub use shards::ShardsRow;
pub use state::{ExecutionState, ExecutionStatus, Unrecognized};
pub use state_rules::{check_create_state, check_update_state};
pub use table::Table;
pub use tasks::{
    ImmediateQueue, ImmediateRange, ImmediateTask, ScheduledKey, ScheduledQueue, ScheduledRange,
    ScheduledTask, TaskCategory, Tasks,
};
pub use text::{
    BuildId, BusinessId, ChasmPath, ClusterName, Encoding, NamespaceName, QueueName, RequestId,
    RpcAddress, SignalId, TaskQueueName, TimerId, WorkflowId,
};
pub use timestamp::Timestamp;
