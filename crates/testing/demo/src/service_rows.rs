//! The recorded rows that belong to no execution: task queues, namespaces, clusters, Nexus endpoints
//! and queues. They are of a Temporal server on PostgreSQL.

use anyhow::{Result, ensure};
use temporal_dsql::{
    ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, NamespaceKey, NamespacesRow,
    NexusEndpointsRow, QueueMetadataRow, QueueV2Type, Store, Table, TaskQueueKind, TaskQueueLease,
    TaskQueueUserDataRow, TaskQueuesRow, TasksRow, Timestamp,
    stores::{
        ClusterMetadataStore, MatchingTaskStore, NamespaceStore, NexusEndpointStore, QueueStore,
        QueueV2Store, UserDataStore, UserDataUpdate,
    },
};
use temporal_dsql_conformance::real_data::{self, Recording};

use crate::run_rows::Compared;

/// A limit above the number of rows of any table in the recording.
const ALL: u32 = 1_000;

/// The recorded rows that belong to no execution.
pub struct ServiceRows {
    queues: Vec<TaskQueuesRow>,
    tasks: Vec<TasksRow>,
    user_data: Vec<TaskQueueUserDataRow>,
    namespaces: Vec<NamespacesRow>,
    notification_version: i64,
    clusters: Vec<ClusterMetadataRow>,
    /// The processes of the server.
    pub members: Vec<ClusterMembershipRow>,
    endpoints: Vec<NexusEndpointsRow>,
    table_version: i64,
    queue_metadata: Vec<QueueMetadataRow>,
}

impl ServiceRows {
    pub fn read() -> Self {
        let recording = Recording::Postgres;
        Self {
            queues: real_data::task_queues(),
            tasks: real_data::matching_tasks(),
            user_data: real_data::task_queue_user_data(),
            namespaces: real_data::namespaces(recording),
            notification_version: real_data::notification_version(recording),
            clusters: real_data::cluster_metadata(recording),
            members: real_data::cluster_members(),
            endpoints: real_data::nexus_endpoints(recording),
            table_version: real_data::nexus_table_version(recording),
            queue_metadata: real_data::queue_metadata(recording),
        }
    }

    /// Stores every row, with the stores that a service uses.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn store(&self, store: &impl Store) -> Result<()> {
        let matching = MatchingTaskStore::new(store);
        for row in &self.queues {
            matching.create_task_queue(row).await?;
            let lease = TaskQueueLease { queue: row.queue, range_id: row.range_id };
            matching.create_tasks(lease, &self.tasks_of(row)).await?;
        }
        for row in &self.user_data {
            let update = UserDataUpdate {
                task_queue_name: row.task_queue_name.clone(),
                version: row.version - 1,
                data: row.data.clone(),
                build_ids_added: Vec::new(),
                build_ids_removed: Vec::new(),
            };
            UserDataStore::new(store).update(row.namespace_id, &[update]).await?;
        }
        for row in &self.namespaces {
            NamespaceStore::new(store).create(&row.namespace).await?;
        }
        let clusters = ClusterMetadataStore::new(store);
        for row in &self.clusters {
            // Each save increments the version.
            for version in 0..row.version {
                clusters.save(&ClusterMetadataRow { version, ..row.clone() }).await?;
            }
        }
        for row in &self.members {
            clusters.upsert_member(row).await?;
        }
        let endpoints = NexusEndpointStore::new(store);
        for row in &self.endpoints {
            for version in 0..row.version {
                let change = NexusEndpointsRow { version, ..row.clone() };
                endpoints.create_or_update(&change, endpoints.table_version().await?).await?;
            }
        }
        for row in &self.queue_metadata {
            store.session().insert_into_queue_metadata(row).await?;
        }
        Ok(())
    }

    /// Reads every row, with the stores that a service uses, and compares it with the recording.
    ///
    /// # Errors
    /// The first difference, and those of the store.
    pub async fn compare(&self, store: &impl Store) -> Result<Compared> {
        let mut compared = Compared::default();
        self.compare_matching(store, &mut compared).await?;
        self.compare_namespaces(store, &mut compared).await?;
        self.compare_clusters(store, &mut compared).await?;
        self.compare_endpoints(store, &mut compared).await?;
        self.compare_queues(store, &mut compared).await?;
        Ok(compared)
    }

    fn tasks_of(&self, row: &TaskQueuesRow) -> Vec<TasksRow> {
        self.tasks.iter().filter(|task| task.queue == row.queue).cloned().collect()
    }

    async fn compare_matching(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let matching = MatchingTaskStore::new(store);
        let kind = TaskQueueKind::Normal;
        for row in &self.queues {
            let all = kind.first_level()..kind.end_level();
            let page = matching.get_tasks(&row.queue, all, ALL).await?;
            ensure!(page.items == self.tasks_of(row), "the tasks of {} differ", row.queue);
            compared.add(Table::Tasks, page.items.len());
        }
        let page = matching.list_task_queues(kind, None, ALL).await?;
        ensure!(page.items == self.queues, "the task queues differ from what was written");
        compared.add(Table::TaskQueues, self.queues.len());
        let fair = matching.list_task_queues(TaskQueueKind::Fair, None, ALL).await?;
        ensure!(fair.items.is_empty(), "no fair task queue was written: {:?}", fair.items);
        for row in &self.user_data {
            let page = UserDataStore::new(store).list(row.namespace_id, None, ALL).await?;
            let in_namespace =
                |other: &&TaskQueueUserDataRow| other.namespace_id == row.namespace_id;
            let written: Vec<_> = self.user_data.iter().filter(in_namespace).cloned().collect();
            ensure!(page.items == written, "{written:?} was read as {:?}", page.items);
        }
        compared.add(Table::TaskQueueUserData, self.user_data.len());
        Ok(())
    }

    async fn compare_namespaces(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let namespaces = NamespaceStore::new(store);
        for row in &self.namespaces {
            let id = NamespaceKey::Id(row.namespace.id);
            for key in [id, NamespaceKey::Name(row.namespace.name.clone())] {
                let read = namespaces.get(&key).await?;
                ensure!(read.as_ref() == Some(row), "{row:?} was read as {read:?}");
            }
        }
        let version = namespaces.notification_version().await?;
        ensure!(version == self.notification_version, "the notification version is {version}");
        let count = namespaces.list(None, ALL).await?.items.len();
        ensure!(count == self.namespaces.len(), "there are {count} namespaces");
        compared.add(Table::Namespaces, count);
        compared.add(Table::NamespaceMetadata, 1);
        Ok(())
    }

    async fn compare_clusters(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let clusters = ClusterMetadataStore::new(store);
        let page = clusters.list(None, ALL).await?;
        ensure!(page.items == self.clusters, "{:?} was read as {page:?}", self.clusters);
        compared.add(Table::ClusterMetadataInfo, self.clusters.len());
        // Also those that have expired.
        let filter = ClusterMembershipFilter::default();
        let page = clusters.members(&filter, Timestamp::MIN, None, ALL).await?;
        ensure!(page.items == self.members, "the members differ from what was written");
        compared.add(Table::ClusterMembership, self.members.len());
        Ok(())
    }

    async fn compare_endpoints(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let endpoints = NexusEndpointStore::new(store);
        for row in &self.endpoints {
            let read = endpoints.get(row.id).await?;
            ensure!(read.as_ref() == Some(row), "{row:?} was read as {read:?}");
        }
        let list = endpoints.list(None, ALL, self.table_version).await?;
        ensure!(list.endpoints.items == self.endpoints, "the endpoints differ: {list:?}");
        compared.add(Table::NexusEndpoints, self.endpoints.len());
        compared.add(Table::NexusEndpointsPartitionStatus, 1);
        Ok(())
    }

    async fn compare_queues(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let queues = QueueStore::new(store);
        for row in &self.queue_metadata {
            let read = queues.ack_levels(row.queue_type).await?;
            ensure!(read.as_ref() == Some(row), "{row:?} was read as {read:?}");
            let page = queues.read(row.queue_type, 0..i64::MAX, ALL).await?;
            ensure!(page.items.is_empty(), "no message was written: {page:?}");
        }
        compared.add(Table::QueueMetadata, self.queue_metadata.len());
        for queue_type in [QueueV2Type::HISTORY_NORMAL, QueueV2Type::HISTORY_DLQ] {
            let page = QueueV2Store::new(store).list(queue_type, None, ALL).await?;
            ensure!(page.items.is_empty(), "no queue of the second version was written: {page:?}");
        }
        Ok(())
    }
}
