//! The rows of `cluster_metadata_info` and `cluster_membership`
//! (temporal-persistence.md#cluster-metadata).

use std::fmt;

use crate::{ClusterName, DataBlob, HostId, RpcAddress, Timestamp};

/// A row of `cluster_metadata_info`: what a cluster knows of itself or of another cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMetadataRow {
    /// Key: the name of the cluster.
    pub cluster_name: ClusterName,
    /// The serialized `ClusterMetadata`.
    pub data: DataBlob,
    /// 1 after the insert, and incremented by every update.
    pub version: i64,
}

/// The service that a process belongs to, by Temporal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceType(pub i16);

impl ServiceType {
    /// The frontend service.
    pub const FRONTEND: Self = Self(1);
    /// The history service.
    pub const HISTORY: Self = Self(2);
    /// The matching service.
    pub const MATCHING: Self = Self(3);
    /// The worker service.
    pub const WORKER: Self = Self(4);
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A row of `cluster_membership`: a process of the service, as its last heartbeat described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMembershipRow {
    /// Key: the process.
    pub host_id: HostId,
    /// The service of the process.
    pub role: ServiceType,
    /// Where the other processes reach it.
    pub rpc_address: RpcAddress,
    /// The port of `rpc_address`. Its column holds at most 32,767, and a store refuses a larger one.
    pub rpc_port: u16,
    /// When the process started.
    pub session_start: Timestamp,
    /// When it sent the heartbeat.
    pub last_heartbeat: Timestamp,
    /// When the row expires, if no other heartbeat follows.
    pub record_expiry: Timestamp,
}

/// Which rows of `cluster_membership` are read: those that satisfy every condition that is set. The
/// default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterMembershipFilter {
    /// The process.
    pub host_id: Option<HostId>,
    /// The service.
    pub role: Option<ServiceType>,
    /// The address.
    pub rpc_address: Option<RpcAddress>,
    /// The last heartbeat is later than this.
    pub last_heartbeat_after: Option<Timestamp>,
    /// The process started at this time or later.
    pub session_started_after: Option<Timestamp>,
}

impl ClusterMembershipFilter {
    /// Whether a row satisfies every condition.
    pub fn matches(&self, row: &ClusterMembershipRow) -> bool {
        self.host_id.is_none_or(|host_id| row.host_id == host_id)
            && self.role.is_none_or(|role| row.role == role)
            && self.rpc_address.as_ref().is_none_or(|address| row.rpc_address == *address)
            && self.last_heartbeat_after.is_none_or(|time| row.last_heartbeat > time)
            && self.session_started_after.is_none_or(|time| row.session_start >= time)
    }
}
