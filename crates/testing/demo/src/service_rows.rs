//! The recorded rows that belong to no execution: task queues, namespaces, clusters, Nexus endpoints
//! and queues. They are of a Temporal server on PostgreSQL.

use anyhow::{Context, Result, ensure};
use temporal_dsql::{
    ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, NamespaceKey, NamespacesRow,
    NexusEndpointsRow, QueueMetadataRow, Store, Table, TaskQueueKind, TaskQueueLease,
    TaskQueueUserDataRow, TaskQueuesRow, TasksRow,
    stores::{
        ClusterMetadataStore, MatchingTaskStore, NamespaceStore, NexusEndpointStore, QueueStore,
        UserDataStore, UserDataUpdate,
    },
};
use temporal_dsql_conformance::real_data;

use crate::run_rows::Compared;

/// A limit above the number of rows of any table in the recording.
const ALL: u32 = 1_000;

/// The recorded rows that belong to no execution.
pub struct ServiceRows {
    queues: Vec<TaskQueuesRow>,
    tasks: Vec<TasksRow>,
    user_data: Vec<TaskQueueUserDataRow>,
    namespaces: Vec<NamespacesRow>,
    clusters: Vec<ClusterMetadataRow>,
    members: Vec<ClusterMembershipRow>,
    endpoints: Vec<NexusEndpointsRow>,
    queue_metadata: Vec<QueueMetadataRow>,
}

impl ServiceRows {
    pub fn read() -> Self {
        let [_, namespaces] = real_data::namespaces();
        let [_, clusters] = real_data::cluster_metadata();
        let [_, endpoints] = real_data::nexus_endpoints();
        let [_, queue_metadata] = real_data::queue_metadata();
        Self {
            queues: real_data::task_queues(),
            tasks: real_data::matching_tasks(),
            user_data: real_data::task_queue_user_data(),
            namespaces,
            clusters,
            members: real_data::cluster_members(),
            endpoints,
            queue_metadata,
        }
    }

    /// Stores every row, with the stores that a service uses, and compares what is read.
    ///
    /// # Errors
    /// The first difference, and those of the store.
    pub async fn store_and_compare(&self, store: &impl Store) -> Result<Compared> {
        let mut compared = Compared::default();
        self.matching(store, &mut compared).await?;
        self.user_data(store, &mut compared).await?;
        self.namespaces(store, &mut compared).await?;
        self.clusters(store, &mut compared).await?;
        self.endpoints(store, &mut compared).await?;
        self.queues(store, &mut compared).await?;
        Ok(compared)
    }

    async fn matching(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let matching = MatchingTaskStore::new(store);
        let kind = TaskQueueKind::Normal;
        for row in &self.queues {
            matching.create_task_queue(row).await?;
            let of_queue = self.tasks.iter().filter(|task| task.queue == row.queue);
            let tasks: Vec<_> = of_queue.cloned().collect();
            let lease = TaskQueueLease { queue: row.queue, range_id: row.range_id };
            matching.create_tasks(lease, &tasks).await?;
            let all = kind.first_level()..kind.end_level();
            let page = matching.get_tasks(&row.queue, all, ALL).await?;
            ensure!(page.items == tasks, "the tasks of {} differ", row.queue);
            compared.add(Table::Tasks, tasks.len());
        }
        let page = matching.list_task_queues(kind, None, ALL).await?;
        ensure!(page.items == self.queues, "the task queues differ from what was written");
        compared.add(Table::TaskQueues, self.queues.len());
        Ok(())
    }

    async fn user_data(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let user_data = UserDataStore::new(store);
        for row in &self.user_data {
            let update = UserDataUpdate {
                task_queue_name: row.task_queue_name.clone(),
                version: row.version - 1,
                data: row.data.clone(),
                build_ids_added: Vec::new(),
                build_ids_removed: Vec::new(),
            };
            user_data.update(row.namespace_id, &[update]).await?;
            let read = user_data.get(row.namespace_id, &row.task_queue_name).await?;
            ensure!(read.as_ref() == Some(row), "{row:?} was read as {read:?}");
        }
        compared.add(Table::TaskQueueUserData, self.user_data.len());
        Ok(())
    }

    async fn namespaces(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let namespaces = NamespaceStore::new(store);
        for row in &self.namespaces {
            let version = namespaces.create(&row.namespace).await?;
            let key = NamespaceKey::Name(row.namespace.name.clone());
            let read = namespaces.get(&key).await?.context("a namespace is absent")?;
            let is_equal = read.namespace == row.namespace && read.notification_version == version;
            ensure!(is_equal, "{row:?} was read as {read:?}");
        }
        compared.add(Table::Namespaces, self.namespaces.len());
        Ok(())
    }

    async fn clusters(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let clusters = ClusterMetadataStore::new(store);
        for row in &self.clusters {
            // Each save increments the version.
            for version in 0..row.version {
                clusters.save(&ClusterMetadataRow { version, ..row.clone() }).await?;
            }
            let read = clusters.get(&row.cluster_name).await?;
            ensure!(read.as_ref() == Some(row), "{row:?} was read as {read:?}");
        }
        compared.add(Table::ClusterMetadataInfo, self.clusters.len());
        for row in &self.members {
            clusters.upsert_member(row).await?;
        }
        let now = self.members.iter().map(|row| row.last_heartbeat).max();
        let now = now.context("no member is recorded")?;
        let filter = ClusterMembershipFilter::default();
        let page = clusters.members(&filter, now, None, ALL).await?;
        ensure!(page.items == self.members, "the members differ from what was written");
        compared.add(Table::ClusterMembership, self.members.len());
        Ok(())
    }

    async fn endpoints(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let endpoints = NexusEndpointStore::new(store);
        for row in &self.endpoints {
            for version in 0..row.version {
                let change = NexusEndpointsRow { version, ..row.clone() };
                endpoints.create_or_update(&change, endpoints.table_version().await?).await?;
            }
            let read = endpoints.get(row.id).await?;
            ensure!(read.as_ref() == Some(row), "{row:?} was read as {read:?}");
        }
        compared.add(Table::NexusEndpoints, self.endpoints.len());
        Ok(())
    }

    async fn queues(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let queues = QueueStore::new(store);
        for row in &self.queue_metadata {
            store.session().insert_into_queue_metadata(row).await?;
            let read = queues.ack_levels(row.queue_type).await?;
            ensure!(read.as_ref() == Some(row), "{row:?} was read as {read:?}");
        }
        compared.add(Table::QueueMetadata, self.queue_metadata.len());
        Ok(())
    }
}
