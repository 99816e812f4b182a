//! Random rows of namespaces, clusters and Nexus endpoints.

use temporal_dsql_domain::{
    ClusterMembershipRow, HostId, Namespace, NamespaceId, NamespaceName, NexusEndpointId,
    NexusEndpointsRow, RpcAddress, ServiceType, Timestamp,
};

use super::test_context::TestContext;

impl TestContext {
    /// A namespace with a new id and a new name.
    pub fn namespace(&self) -> Namespace {
        Namespace {
            id: NamespaceId(self.uuid()),
            name: NamespaceName::new(self.word("namespace")).unwrap(),
            is_global: self.random(fastrand::Rng::bool),
            data: self.data(),
        }
    }

    /// The namespace with another blob.
    pub fn changed_namespace(&self, namespace: &Namespace) -> Namespace {
        let is_global = !namespace.is_global;
        Namespace { is_global, data: self.data(), ..namespace.clone() }
    }

    /// A process of the service whose heartbeat is at the time `at`, in seconds, and whose row expires
    /// ten seconds later.
    pub fn cluster_member(&self, at: i64) -> ClusterMembershipRow {
        let port = self.random(|random| random.u16(1..=i16::MAX.unsigned_abs()));
        ClusterMembershipRow {
            host_id: HostId(self.uuid()),
            role: ServiceType::HISTORY,
            rpc_address: RpcAddress::new("127.0.0.1").unwrap(),
            rpc_port: port,
            session_start: time(at - 100),
            last_heartbeat: time(at),
            record_expiry: time(at + 10),
        }
    }

    /// A Nexus endpoint with a new id, to create.
    pub fn nexus_endpoint(&self) -> NexusEndpointsRow {
        NexusEndpointsRow { id: NexusEndpointId(self.uuid()), version: 0, data: self.data() }
    }
}

/// The time `seconds` after the epoch.
pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(seconds * 1_000_000).unwrap()
}
