//! The rows of namespaces, cluster metadata, members and Nexus endpoints of two real servers.

use serde::Deserialize;
use temporal_dsql_domain::{
    ClusterMembershipRow, ClusterMetadataRow, ClusterName, HostId, Namespace, NamespaceId,
    NamespaceName, NamespacesRow, NexusEndpointId, NexusEndpointsRow, RpcAddress, ServiceType,
};
use uuid::Uuid;

use super::{
    Recording,
    decode::{Blob, id, lines, recorded},
};

/// The namespaces, in the order of their notification versions.
pub fn namespaces(recording: Recording) -> Vec<NamespacesRow> {
    let mut rows: Vec<_> = recorded!(recording, "namespaces").map(NamespaceLine::into).collect();
    rows.sort_by_key(|row: &NamespacesRow| row.notification_version);
    rows
}

/// The notification version of all namespaces.
pub fn notification_version(recording: Recording) -> i64 {
    let MetadataLine { notification_version } =
        recorded!(recording, "namespace_metadata").next().unwrap();
    notification_version
}

/// The cluster metadata.
pub fn cluster_metadata(recording: Recording) -> Vec<ClusterMetadataRow> {
    recorded!(recording, "cluster_metadata_info").map(ClusterLine::into).collect()
}

/// The members of the cluster of the server on PostgreSQL, in the order of their ids.
pub fn cluster_members() -> Vec<ClusterMembershipRow> {
    let rows = lines(include_str!("../../data/temporal-postgres-1.19/cluster_membership.jsonl"));
    let mut rows: Vec<_> = rows.map(MemberLine::into).collect();
    rows.sort_by_key(|row: &ClusterMembershipRow| row.host_id);
    rows
}

/// The Nexus endpoints.
pub fn nexus_endpoints(recording: Recording) -> Vec<NexusEndpointsRow> {
    recorded!(recording, "nexus_endpoints").map(EndpointLine::into).collect()
}

/// The table version of the Nexus endpoints.
pub fn nexus_table_version(recording: Recording) -> i64 {
    let VersionLine { version } =
        recorded!(recording, "nexus_endpoints_partition_status").next().unwrap();
    version
}

#[derive(Deserialize)]
struct NamespaceLine {
    #[serde(deserialize_with = "id")]
    id: Uuid,
    name: String,
    is_global: bool,
    notification_version: i64,
    #[serde(flatten)]
    blob: Blob,
}

impl From<NamespaceLine> for NamespacesRow {
    fn from(line: NamespaceLine) -> Self {
        Self {
            namespace: Namespace {
                id: NamespaceId(line.id),
                name: NamespaceName::new(line.name).unwrap(),
                is_global: line.is_global,
                data: line.blob.into(),
            },
            notification_version: line.notification_version,
        }
    }
}

#[derive(Deserialize)]
struct MetadataLine {
    notification_version: i64,
}

#[derive(Deserialize)]
struct ClusterLine {
    cluster_name: String,
    version: i64,
    #[serde(flatten)]
    blob: Blob,
}

impl From<ClusterLine> for ClusterMetadataRow {
    fn from(line: ClusterLine) -> Self {
        let cluster_name = ClusterName::new(line.cluster_name).unwrap();
        Self { cluster_name, data: line.blob.into(), version: line.version }
    }
}

#[derive(Deserialize)]
struct MemberLine {
    #[serde(deserialize_with = "id")]
    host_id: Uuid,
    role: i16,
    rpc_address: String,
    rpc_port: u16,
    session_start: String,
    last_heartbeat: String,
    record_expiry: String,
}

impl From<MemberLine> for ClusterMembershipRow {
    fn from(line: MemberLine) -> Self {
        Self {
            host_id: HostId(line.host_id),
            role: ServiceType(line.role),
            rpc_address: RpcAddress::new(line.rpc_address).unwrap(),
            rpc_port: line.rpc_port,
            session_start: line.session_start.parse().unwrap(),
            last_heartbeat: line.last_heartbeat.parse().unwrap(),
            record_expiry: line.record_expiry.parse().unwrap(),
        }
    }
}

#[derive(Deserialize)]
struct EndpointLine {
    #[serde(deserialize_with = "id")]
    id: Uuid,
    version: i64,
    #[serde(flatten)]
    blob: Blob,
}

impl From<EndpointLine> for NexusEndpointsRow {
    fn from(line: EndpointLine) -> Self {
        Self { id: NexusEndpointId(line.id), version: line.version, data: line.blob.into() }
    }
}

#[derive(Deserialize)]
struct VersionLine {
    version: i64,
}
