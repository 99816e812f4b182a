//! `cluster_metadata_info` and `cluster_membership`: the metadata of each cluster, and the processes
//! of this one.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, ClusterName, HostId,
    ServiceType, Table, Timestamp,
};
use temporal_dsql_ports::{ClusterMetadata, StoreError, limits::check_rpc_port};

use super::{
    decode::{Columns, timestamp},
    payload::Payload,
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

const METADATA: SqlFile =
    SqlFile::new(Table::ClusterMetadataInfo, include_str!("../../sql/cluster_metadata_info.sql"));
const MEMBERSHIP: SqlFile =
    SqlFile::new(Table::ClusterMembership, include_str!("../../sql/cluster_membership.sql"));

static INSERT: Meta =
    METADATA.write("InsertIntoClusterMetadata").of_operation("SaveClusterMetadata");
static UPDATE: Meta = METADATA.write("UpdateClusterMetadata").of_operation("SaveClusterMetadata");
static GET: Meta = METADATA.read("GetClusterMetadata");
static LIST: Meta = METADATA.read("ListClusterMetadata");
static DELETE: Meta = METADATA.write("DeleteClusterMetadata");
static GET_MEMBERS: Meta = MEMBERSHIP.read("GetClusterMembers");
static UPSERT_MEMBER: Meta = MEMBERSHIP.write("UpsertClusterMembership");
static PRUNE_MEMBERS: Meta = MEMBERSHIP.write("PruneClusterMembership");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 8] =
    [&INSERT, &UPDATE, &GET, &LIST, &DELETE, &GET_MEMBERS, &UPSERT_MEMBER, &PRUNE_MEMBERS];

/// The statement that inserts the metadata of a cluster, or updates it from its version.
fn save(row: &ClusterMetadataRow) -> Result<Statement, StoreError> {
    let key_bytes = 4 + row.cluster_name.len();
    Payload::default().blob(Table::ClusterMetadataInfo, key_bytes, &row.data)?;
    let mut arguments = Arguments::default();
    arguments.set("cluster_name", row.cluster_name.as_str());
    arguments.set("data", &*row.data.data);
    arguments.set("data_encoding", row.data.encoding.as_str());
    if row.version == 0 {
        return Ok(exact(&INSERT, None, &arguments));
    }
    arguments.set("version", row.version);
    Ok(exact(&UPDATE, None, &arguments))
}

fn by_name(meta: &'static Meta, name: &ClusterName) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("cluster_name", name.as_str());
    exact(meta, None, &arguments)
}

fn get_members(
    filter: &ClusterMembershipFilter,
    now: Timestamp,
    min_host_id: HostId,
    limit: u32,
) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("now", timestamp(now));
    arguments.set("min_host_id", min_host_id.0);
    arguments.set("host_id", filter.host_id.map(|host_id| host_id.0));
    arguments.set("role", filter.role.map(|role| role.0));
    arguments.set("rpc_address", filter.rpc_address.as_deref());
    arguments.set("last_heartbeat_after", filter.last_heartbeat_after.map(timestamp));
    arguments.set("session_started_after", filter.session_started_after.map(timestamp));
    arguments.set("limit", i64::from(limit));
    exact(&GET_MEMBERS, None, &arguments)
}

fn upsert_member(row: &ClusterMembershipRow) -> Result<Statement, StoreError> {
    let mut arguments = Arguments::default();
    arguments.set("host_id", row.host_id.0);
    arguments.set("role", row.role.0);
    arguments.set("rpc_address", row.rpc_address.as_str());
    arguments.set("rpc_port", check_rpc_port(row.rpc_port)?);
    arguments.set("session_start", timestamp(row.session_start));
    arguments.set("last_heartbeat", timestamp(row.last_heartbeat));
    arguments.set("record_expiry", timestamp(row.record_expiry));
    Ok(exact(&UPSERT_MEMBER, None, &arguments))
}

fn decode(row: &PgRow) -> Result<ClusterMetadataRow, StoreError> {
    let columns = Columns::new(Table::ClusterMetadataInfo, row);
    Ok(ClusterMetadataRow {
        cluster_name: columns.text("cluster_name")?,
        data: columns.blob("data", "data_encoding")?,
        version: columns.get("version")?,
    })
}

/// The times may be NULL, but every writer sets them.
fn decode_member(row: &PgRow) -> Result<ClusterMembershipRow, StoreError> {
    let columns = Columns::new(Table::ClusterMembership, row);
    let rpc_port = columns.get::<i16>("rpc_port")?;
    Ok(ClusterMembershipRow {
        host_id: HostId(columns.get("host_id")?),
        role: ServiceType(columns.get("role")?),
        rpc_address: columns.text("rpc_address")?,
        rpc_port: rpc_port.try_into().map_err(|error| columns.corrupt("rpc_port", error))?,
        session_start: columns.required_time("session_start")?,
        last_heartbeat: columns.required_time("last_heartbeat")?,
        record_expiry: columns.required_time("record_expiry")?,
    })
}

#[async_trait]
impl<E: Executor> ClusterMetadata for Rows<E> {
    async fn save_cluster_metadata(&mut self, row: &ClusterMetadataRow) -> Result<u64, StoreError> {
        self.affected(save(row)?).await
    }

    async fn get_cluster_metadata(
        &mut self,
        name: &ClusterName,
    ) -> Result<Option<ClusterMetadataRow>, StoreError> {
        self.optional(by_name(&GET, name), decode).await
    }

    async fn list_cluster_metadata(
        &mut self,
        after: Option<&ClusterName>,
        limit: u32,
    ) -> Result<Vec<ClusterMetadataRow>, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("cluster_name", after.map_or("", |after| after.as_str()));
        arguments.set("is_first_page", after.is_none());
        arguments.set("limit", i64::from(limit));
        self.list(exact(&LIST, None, &arguments), decode).await
    }

    async fn delete_cluster_metadata(&mut self, name: &ClusterName) -> Result<u64, StoreError> {
        self.affected(by_name(&DELETE, name)).await
    }

    async fn get_cluster_members(
        &mut self,
        filter: &ClusterMembershipFilter,
        now: Timestamp,
        min_host_id: HostId,
        limit: u32,
    ) -> Result<Vec<ClusterMembershipRow>, StoreError> {
        self.list(get_members(filter, now, min_host_id, limit), decode_member).await
    }

    async fn upsert_cluster_membership(
        &mut self,
        row: &ClusterMembershipRow,
    ) -> Result<u64, StoreError> {
        self.affected(upsert_member(row)?).await
    }

    async fn prune_cluster_membership(
        &mut self,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("before", timestamp(before));
        arguments.set("limit", i64::from(limit));
        self.affected(exact(&PRUNE_MEMBERS, None, &arguments)).await
    }
}
