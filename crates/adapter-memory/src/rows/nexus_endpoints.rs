//! `nexus_endpoints` and `nexus_endpoints_partition_status`
//! (temporal-persistence.md#nexus-endpoints).

use async_trait::async_trait;
use temporal_dsql_domain::{NexusEndpointId, NexusEndpointsPage, NexusEndpointsRow, Table};
use temporal_dsql_ports::{NexusEndpoints, StoreError};

use crate::{
    connection::{Connection, Execute},
    key::{Column, Key, NewRow},
    limited_transaction::LimitedTransaction,
};

fn endpoints() -> Key {
    Key::new(Table::NexusEndpoints, [])
}

fn key(id: NexusEndpointId) -> Key {
    endpoints().with([Column::Uuid(id.0)])
}

/// The row of the table version.
fn version_row(version: i64) -> Result<NewRow, StoreError> {
    let key = Key::new(Table::NexusEndpointsPartitionStatus, [Column::Integer(0)]);
    Ok(NewRow::new(key, &version, &[])?)
}

fn table_version(transaction: &LimitedTransaction) -> i64 {
    let all = Key::new(Table::NexusEndpointsPartitionStatus, []).all();
    transaction.range(&all).next().copied().unwrap_or(0)
}

/// The row to write with this version, checked against the limits.
fn endpoints_row(row: &NexusEndpointsRow, version: i64) -> Result<NewRow, StoreError> {
    let row = NexusEndpointsRow { version, ..row.clone() };
    Ok(NewRow::new(key(row.id), &row, &[("data", row.data.data.len())])?)
}

#[async_trait]
impl<E: Execute> NexusEndpoints for Connection<E> {
    async fn initialize_nexus_endpoints_table_version(&mut self) -> Result<u64, StoreError> {
        let row = version_row(1)?;
        self.execute("InitializeNexusEndpointsTableVersion", |transaction| transaction.insert(&row))
            .await
    }

    async fn increment_nexus_endpoints_table_version(
        &mut self,
        last_known: i64,
    ) -> Result<u64, StoreError> {
        let next = version_row(last_known.saturating_add(1))?;
        self.execute("IncrementNexusEndpointsTableVersion", |transaction| {
            transaction.update_if(&next, |stored: &i64| *stored == last_known)
        })
        .await
    }

    async fn get_nexus_endpoints_table_version(&mut self) -> Result<i64, StoreError> {
        self.execute("GetNexusEndpointsTableVersion", |transaction| Ok(table_version(transaction)))
            .await
    }

    async fn insert_into_nexus_endpoints(
        &mut self,
        row: &NexusEndpointsRow,
    ) -> Result<u64, StoreError> {
        let row = endpoints_row(row, 1)?;
        self.execute("InsertIntoNexusEndpoints", |transaction| transaction.insert(&row)).await
    }

    async fn update_nexus_endpoint(&mut self, row: &NexusEndpointsRow) -> Result<u64, StoreError> {
        let expected = row.version;
        let row = endpoints_row(row, expected.saturating_add(1))?;
        self.execute("UpdateNexusEndpoint", |transaction| {
            transaction.update_if(&row, |stored: &NexusEndpointsRow| stored.version == expected)
        })
        .await
    }

    async fn get_nexus_endpoint_by_id(
        &mut self,
        id: NexusEndpointId,
    ) -> Result<Option<NexusEndpointsRow>, StoreError> {
        let key = key(id);
        self.execute("GetNexusEndpointByID", |transaction| Ok(transaction.select(&key).cloned()))
            .await
    }

    async fn list_nexus_endpoints(
        &mut self,
        min_id: NexusEndpointId,
        limit: u32,
    ) -> Result<NexusEndpointsPage, StoreError> {
        let keys = key(min_id)..endpoints().end();
        self.execute("ListNexusEndpoints", |transaction| {
            let endpoints = transaction.select_range(&keys, Some(limit));
            Ok(NexusEndpointsPage { table_version: table_version(transaction), endpoints })
        })
        .await
    }

    async fn delete_from_nexus_endpoints(
        &mut self,
        id: NexusEndpointId,
    ) -> Result<u64, StoreError> {
        let key = key(id);
        self.execute("DeleteFromNexusEndpoints", |transaction| transaction.delete(&key)).await
    }
}
