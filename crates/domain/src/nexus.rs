//! The rows of `nexus_endpoints` (temporal-persistence.md#nexus-endpoints).

use crate::{DataBlob, NexusEndpointId};

/// A row of `nexus_endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexusEndpointsRow {
    /// Key: the endpoint.
    pub id: NexusEndpointId,
    /// 1 after the insert, and incremented by every update.
    pub version: i64,
    /// The serialized `NexusEndpoint`.
    pub data: DataBlob,
}

/// A part of the list of Nexus endpoints, read at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexusEndpointsPage {
    /// The version of all endpoints together: every change of an endpoint increments it. 0 before
    /// the first.
    pub table_version: i64,
    /// The endpoints, in the order of their ids.
    pub endpoints: Vec<NexusEndpointsRow>,
}
