//! The row port of `cluster_metadata_info` and `cluster_membership`
//! (temporal-persistence.md#cluster-metadata).

use async_trait::async_trait;
use temporal_dsql_domain::{
    ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, ClusterName, HostId,
    Timestamp,
};

use crate::StoreError;

/// Operations on the metadata of clusters, and on the processes of this cluster.
#[async_trait]
pub trait ClusterMetadata: Send {
    /// Inserts the metadata of a cluster with version 1 if the version of `row` is 0. Otherwise
    /// overwrites the row with this version, and increments the version (compare-and-set).
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if the version is 0 and the cluster has metadata.
    async fn save_cluster_metadata(&mut self, row: &ClusterMetadataRow) -> Result<u64, StoreError>;

    /// Reads the metadata of one cluster.
    async fn get_cluster_metadata(
        &mut self,
        name: &ClusterName,
    ) -> Result<Option<ClusterMetadataRow>, StoreError>;

    /// Reads the metadata of the first `limit` clusters whose names are greater than `after`, in the
    /// order of their names.
    async fn list_cluster_metadata(
        &mut self,
        after: Option<&ClusterName>,
        limit: u32,
    ) -> Result<Vec<ClusterMetadataRow>, StoreError>;

    /// Deletes the metadata of one cluster.
    async fn delete_cluster_metadata(&mut self, name: &ClusterName) -> Result<u64, StoreError>;

    /// Reads the first `limit` processes that satisfy `filter`, expire after `now`, and have the id
    /// `min_host_id` or a greater one, in the order of their ids.
    async fn get_cluster_members(
        &mut self,
        filter: &ClusterMembershipFilter,
        now: Timestamp,
        min_host_id: HostId,
        limit: u32,
    ) -> Result<Vec<ClusterMembershipRow>, StoreError>;

    /// Inserts a process, or overwrites it.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a port that the column does not hold
    /// ([`check_rpc_port`](crate::limits::check_rpc_port)).
    async fn upsert_cluster_membership(
        &mut self,
        row: &ClusterMembershipRow,
    ) -> Result<u64, StoreError>;

    /// Deletes processes that expire before `before`: the first `limit` of them in the order of
    /// their ids.
    async fn prune_cluster_membership(
        &mut self,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError>;
}
