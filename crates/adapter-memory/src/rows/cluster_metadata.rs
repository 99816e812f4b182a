//! `cluster_metadata_info` and `cluster_membership` (temporal-persistence.md#cluster-metadata).

use async_trait::async_trait;
use temporal_dsql_domain::{
    ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, ClusterName, HostId, Table,
    Timestamp,
};
use temporal_dsql_ports::{ClusterMetadata, StoreError, limits::check_rpc_port};

use crate::{
    connection::{Connection, Execute},
    key::{Column, Key, NewRow},
};

/// The partition of all rows of both tables.
const PARTITION: i32 = 0;

fn clusters() -> Key {
    Key::new(Table::ClusterMetadataInfo, [Column::Integer(PARTITION)])
}

fn cluster_key(name: &ClusterName) -> Key {
    clusters().with([Column::text(name)])
}

fn members() -> Key {
    Key::new(Table::ClusterMembership, [Column::Integer(PARTITION)])
}

fn member_key(host_id: HostId) -> Key {
    members().with([Column::Uuid(host_id.0)])
}

#[async_trait]
impl<E: Execute> ClusterMetadata for Connection<E> {
    async fn save_cluster_metadata(&mut self, row: &ClusterMetadataRow) -> Result<u64, StoreError> {
        let expected = row.version;
        let saved = ClusterMetadataRow { version: expected.saturating_add(1), ..row.clone() };
        let values = [("data", row.data.data.len())];
        let saved = NewRow::new(cluster_key(&row.cluster_name), &saved, &values)?;
        self.execute("SaveClusterMetadata", |transaction| match expected {
            0 => transaction.insert(&saved),
            _ => transaction
                .update_if(&saved, |stored: &ClusterMetadataRow| stored.version == expected),
        })
        .await
    }

    async fn get_cluster_metadata(
        &mut self,
        name: &ClusterName,
    ) -> Result<Option<ClusterMetadataRow>, StoreError> {
        let key = cluster_key(name);
        self.execute("GetClusterMetadata", |transaction| Ok(transaction.select(&key).cloned()))
            .await
    }

    async fn list_cluster_metadata(
        &mut self,
        after: Option<&ClusterName>,
        limit: u32,
    ) -> Result<Vec<ClusterMetadataRow>, StoreError> {
        // The key of a name has nothing behind it, so its end is before every greater name.
        let from = after.map_or_else(clusters, |after| cluster_key(after).end());
        let keys = from..clusters().end();
        self.execute("ListClusterMetadata", |transaction| {
            Ok(transaction.select_range(&keys, Some(limit)))
        })
        .await
    }

    async fn delete_cluster_metadata(&mut self, name: &ClusterName) -> Result<u64, StoreError> {
        let key = cluster_key(name);
        self.execute("DeleteClusterMetadata", |transaction| transaction.delete(&key)).await
    }

    async fn get_cluster_members(
        &mut self,
        filter: &ClusterMembershipFilter,
        now: Timestamp,
        min_host_id: HostId,
        limit: u32,
    ) -> Result<Vec<ClusterMembershipRow>, StoreError> {
        let keys = member_key(min_host_id)..members().end();
        self.execute("GetClusterMembers", |transaction| {
            let rows = transaction.range::<ClusterMembershipRow>(&keys);
            let rows = rows.filter(|row| row.record_expiry > now && filter.matches(row));
            Ok(rows.take(limit as usize).cloned().collect())
        })
        .await
    }

    async fn upsert_cluster_membership(
        &mut self,
        row: &ClusterMembershipRow,
    ) -> Result<u64, StoreError> {
        check_rpc_port(row.rpc_port)?;
        let values = [("rpc_address", row.rpc_address.len())];
        let row = NewRow::new(member_key(row.host_id), row, &values)?;
        self.execute("UpsertClusterMembership", |transaction| transaction.replace_all([&row])).await
    }

    async fn prune_cluster_membership(
        &mut self,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.execute("PruneClusterMembership", |transaction| {
            let all = transaction.range::<ClusterMembershipRow>(&members().all());
            let expired = all.filter(|row| row.record_expiry < before).take(limit as usize);
            let expired: Vec<_> = expired.map(|row| member_key(row.host_id)).collect();
            transaction.delete_all(&expired)
        })
        .await
    }
}
