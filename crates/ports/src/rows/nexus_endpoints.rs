//! The row port of `nexus_endpoints` and `nexus_endpoints_partition_status`
//! (temporal-persistence.md#nexus-endpoints).

use async_trait::async_trait;
use temporal_dsql_domain::{NexusEndpointId, NexusEndpointsPage, NexusEndpointsRow};

use crate::StoreError;

/// Operations on Nexus endpoints, and on the version of all of them, the table version.
#[async_trait]
pub trait NexusEndpoints: Send {
    /// Inserts the table version as 1.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`].
    async fn initialize_nexus_endpoints_table_version(&mut self) -> Result<u64, StoreError>;

    /// Increments the table version if it is `last_known` (compare-and-set).
    async fn increment_nexus_endpoints_table_version(
        &mut self,
        last_known: i64,
    ) -> Result<u64, StoreError>;

    /// Reads the table version; 0 if no endpoint was ever written.
    async fn get_nexus_endpoints_table_version(&mut self) -> Result<i64, StoreError>;

    /// Inserts an endpoint with version 1, whatever the version of `row` is.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`].
    async fn insert_into_nexus_endpoints(
        &mut self,
        row: &NexusEndpointsRow,
    ) -> Result<u64, StoreError>;

    /// Overwrites the endpoint if its version is that of `row`, and increments the version
    /// (compare-and-set).
    async fn update_nexus_endpoint(&mut self, row: &NexusEndpointsRow) -> Result<u64, StoreError>;

    /// Reads one endpoint.
    async fn get_nexus_endpoint_by_id(
        &mut self,
        id: NexusEndpointId,
    ) -> Result<Option<NexusEndpointsRow>, StoreError>;

    /// Reads the first `limit` endpoints whose ids are `min_id` or greater, in the order of their
    /// ids, and the table version of the same snapshot.
    async fn list_nexus_endpoints(
        &mut self,
        min_id: NexusEndpointId,
        limit: u32,
    ) -> Result<NexusEndpointsPage, StoreError>;

    /// Deletes one endpoint.
    async fn delete_from_nexus_endpoints(&mut self, id: NexusEndpointId)
    -> Result<u64, StoreError>;
}
