//! `nexus_endpoints` and `nexus_endpoints_partition_status`: the endpoints, and the version of all of
//! them.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{NexusEndpointId, NexusEndpointsPage, NexusEndpointsRow, Table};
use temporal_dsql_ports::{NexusEndpoints, StoreError};

use super::{
    decode::Columns,
    payload::Payload,
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

const FILE: SqlFile =
    SqlFile::new(Table::NexusEndpoints, include_str!("../../sql/nexus_endpoints.sql"));
const STATUS: SqlFile = SqlFile::new(
    Table::NexusEndpointsPartitionStatus,
    include_str!("../../sql/nexus_endpoints_partition_status.sql"),
);

static INITIALIZE_VERSION: Meta = STATUS.write("InitializeNexusEndpointsTableVersion");
static INCREMENT_VERSION: Meta = STATUS.write("IncrementNexusEndpointsTableVersion");
static GET_VERSION: Meta = STATUS.read("GetNexusEndpointsTableVersion");
static INSERT: Meta = FILE.write("InsertIntoNexusEndpoints");
static UPDATE: Meta = FILE.write("UpdateNexusEndpoint");
static GET: Meta = FILE.read("GetNexusEndpointByID");
static LIST: Meta = FILE.read("ListNexusEndpoints");
static DELETE: Meta = FILE.write("DeleteFromNexusEndpoints");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 8] =
    [&INITIALIZE_VERSION, &INCREMENT_VERSION, &GET_VERSION, &INSERT, &UPDATE, &GET, &LIST, &DELETE];

/// The columns of a row but its version. Its blob has an allowed size.
fn columns(row: &NexusEndpointsRow) -> Result<Arguments<'_>, StoreError> {
    Payload::default().blob(Table::NexusEndpoints, 16, &row.data)?;
    let mut arguments = Arguments::default();
    arguments.set("id", row.id.0);
    arguments.set("data", &*row.data.data);
    arguments.set("data_encoding", row.data.encoding.as_str());
    Ok(arguments)
}

fn by_id(meta: &'static Meta, id: NexusEndpointId) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("id", id.0);
    exact(meta, None, &arguments)
}

fn decode(row: &PgRow) -> Result<NexusEndpointsRow, StoreError> {
    let columns = Columns::new(Table::NexusEndpoints, row);
    Ok(NexusEndpointsRow {
        id: NexusEndpointId(columns.get("id")?),
        version: columns.get("version")?,
        data: columns.blob("data", "data_encoding")?,
    })
}

/// The answer of the list: every row has the table version.
fn decode_page(rows: &[PgRow]) -> Result<NexusEndpointsPage, StoreError> {
    let status = |row| {
        Columns::new(Table::NexusEndpointsPartitionStatus, row).called([
            ("table_version", "version"),
            ("", ""),
            ("", ""),
        ])
    };
    let table_version = match rows.first() {
        Some(row) => status(row).get("table_version")?,
        None => 0,
    };
    let mut endpoints = Vec::with_capacity(rows.len());
    for row in rows {
        let id: Option<sqlx::types::Uuid> = Columns::new(Table::NexusEndpoints, row).get("id")?;
        if id.is_some() {
            endpoints.push(decode(row)?);
        }
    }
    Ok(NexusEndpointsPage { table_version, endpoints })
}

#[async_trait]
impl<E: Executor> NexusEndpoints for Rows<E> {
    async fn initialize_nexus_endpoints_table_version(&mut self) -> Result<u64, StoreError> {
        self.affected(exact(&INITIALIZE_VERSION, None, &Arguments::default())).await
    }

    async fn increment_nexus_endpoints_table_version(
        &mut self,
        last_known: i64,
    ) -> Result<u64, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("last_known", last_known);
        self.affected(exact(&INCREMENT_VERSION, None, &arguments)).await
    }

    async fn get_nexus_endpoints_table_version(&mut self) -> Result<i64, StoreError> {
        let table = Table::NexusEndpointsPartitionStatus;
        let get = exact(&GET_VERSION, None, &Arguments::default());
        let version = self.optional(get, |row| Columns::new(table, row).get("version")).await?;
        Ok(version.unwrap_or(0))
    }

    async fn insert_into_nexus_endpoints(
        &mut self,
        row: &NexusEndpointsRow,
    ) -> Result<u64, StoreError> {
        self.affected(exact(&INSERT, None, &columns(row)?)).await
    }

    async fn update_nexus_endpoint(&mut self, row: &NexusEndpointsRow) -> Result<u64, StoreError> {
        let mut arguments = columns(row)?;
        arguments.set("version", row.version);
        self.affected(exact(&UPDATE, None, &arguments)).await
    }

    async fn get_nexus_endpoint_by_id(
        &mut self,
        id: NexusEndpointId,
    ) -> Result<Option<NexusEndpointsRow>, StoreError> {
        self.optional(by_id(&GET, id), decode).await
    }

    async fn list_nexus_endpoints(
        &mut self,
        min_id: NexusEndpointId,
        limit: u32,
    ) -> Result<NexusEndpointsPage, StoreError> {
        let mut arguments = Arguments::default();
        arguments.set("min_id", min_id.0);
        arguments.set("limit", i64::from(limit));
        decode_page(&self.executor.send(exact(&LIST, None, &arguments)).await?.rows)
    }

    async fn delete_from_nexus_endpoints(
        &mut self,
        id: NexusEndpointId,
    ) -> Result<u64, StoreError> {
        self.affected(by_id(&DELETE, id)).await
    }
}
