//! The tables of the schema that this product uses.

use std::fmt;

/// A table that this product reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `executions`: the mutable state of every run, of every archetype.
    Executions,
    /// `current_executions`: the current run of each workflow id.
    CurrentExecutions,
    /// `current_chasm_executions`: the current run of each id of other archetypes, since schema 1.1.
    CurrentChasmExecutions,
    /// `activity_info_maps`: pending activities of a run.
    ActivityInfoMaps,
    /// `timer_info_maps`: timers of a run.
    TimerInfoMaps,
    /// `child_execution_info_maps`: child executions of a run.
    ChildExecutionInfoMaps,
    /// `request_cancel_info_maps`: cancellations that a run requested.
    RequestCancelInfoMaps,
    /// `signal_info_maps`: signals that a run sent.
    SignalInfoMaps,
    /// `signals_requested_sets`: signals that a run has received.
    SignalsRequestedSets,
    /// `chasm_node_maps`: the component tree of an execution.
    ChasmNodeMaps,
    /// `buffered_events`: events that are buffered until a workflow task completes.
    BufferedEvents,
    /// `history_immediate_tasks`: immediate tasks of every other category.
    HistoryImmediateTasks,
    /// `history_scheduled_tasks`: scheduled tasks of every other category.
    HistoryScheduledTasks,
    /// `transfer_tasks`: immediate tasks of the transfer category.
    TransferTasks,
    /// `timer_tasks`: scheduled tasks of the timer category.
    TimerTasks,
    /// `replication_tasks`: tasks for other clusters.
    ReplicationTasks,
    /// `replication_tasks_dlq`: tasks of other clusters that failed here.
    ReplicationTasksDlq,
    /// `visibility_tasks`: immediate tasks of the visibility category.
    VisibilityTasks,
    /// `history_node`: batches of history events.
    HistoryNode,
    /// `history_tree`: branches of histories.
    HistoryTree,
    /// `shards`: the owner of each shard.
    Shards,
    /// `task_queues`: the lease of each normal task queue.
    TaskQueues,
    /// `tasks`: the tasks of normal task queues.
    Tasks,
    /// `task_queues_v2`: the lease of each fair task queue.
    TaskQueuesV2,
    /// `tasks_v2`: the tasks of fair task queues.
    TasksV2,
    /// `task_queue_user_data`: the user data of task queues.
    TaskQueueUserData,
    /// `build_id_to_task_queue`: the task queues of each build id.
    BuildIdToTaskQueue,
    /// `namespaces`: the namespaces.
    Namespaces,
    /// `namespace_metadata`: the notification version of all namespaces.
    NamespaceMetadata,
    /// `cluster_metadata_info`: the metadata of each cluster.
    ClusterMetadataInfo,
    /// `cluster_membership`: the processes of the service.
    ClusterMembership,
    /// `nexus_endpoints`: the Nexus endpoints.
    NexusEndpoints,
    /// `nexus_endpoints_partition_status`: the version of all Nexus endpoints together.
    NexusEndpointsPartitionStatus,
    /// `queue`: the messages of the queues that a type identifies.
    Queue,
    /// `queue_metadata`: how far the readers of these queues have read.
    QueueMetadata,
    /// `queues`: the queues with a name.
    Queues,
    /// `queue_messages`: the messages of the queues with a name.
    QueueMessages,
    /// `schema_version`: the schema version of each logical database.
    SchemaVersion,
}

impl Table {
    /// The name in the schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executions => "executions",
            Self::CurrentExecutions => "current_executions",
            Self::CurrentChasmExecutions => "current_chasm_executions",
            Self::ActivityInfoMaps => "activity_info_maps",
            Self::TimerInfoMaps => "timer_info_maps",
            Self::ChildExecutionInfoMaps => "child_execution_info_maps",
            Self::RequestCancelInfoMaps => "request_cancel_info_maps",
            Self::SignalInfoMaps => "signal_info_maps",
            Self::SignalsRequestedSets => "signals_requested_sets",
            Self::ChasmNodeMaps => "chasm_node_maps",
            Self::BufferedEvents => "buffered_events",
            Self::HistoryImmediateTasks => "history_immediate_tasks",
            Self::HistoryScheduledTasks => "history_scheduled_tasks",
            Self::TransferTasks => "transfer_tasks",
            Self::TimerTasks => "timer_tasks",
            Self::ReplicationTasks => "replication_tasks",
            Self::ReplicationTasksDlq => "replication_tasks_dlq",
            Self::VisibilityTasks => "visibility_tasks",
            Self::HistoryNode => "history_node",
            Self::HistoryTree => "history_tree",
            Self::Shards => "shards",
            Self::TaskQueues => "task_queues",
            Self::Tasks => "tasks",
            Self::TaskQueuesV2 => "task_queues_v2",
            Self::TasksV2 => "tasks_v2",
            Self::TaskQueueUserData => "task_queue_user_data",
            Self::BuildIdToTaskQueue => "build_id_to_task_queue",
            Self::Namespaces => "namespaces",
            Self::NamespaceMetadata => "namespace_metadata",
            Self::ClusterMetadataInfo => "cluster_metadata_info",
            Self::ClusterMembership => "cluster_membership",
            Self::NexusEndpoints => "nexus_endpoints",
            Self::NexusEndpointsPartitionStatus => "nexus_endpoints_partition_status",
            Self::Queue => "queue",
            Self::QueueMetadata => "queue_metadata",
            Self::Queues => "queues",
            Self::QueueMessages => "queue_messages",
            Self::SchemaVersion => "schema_version",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
