//! The store of Nexus endpoints.

use temporal_dsql_domain::{NexusEndpointId, NexusEndpointsRow, Table};

use super::{Page, check_limit, next_version};
use temporal_dsql_ports::{
    BoxFuture, ConditionFailed, Outcome, Store, StoreError, StoreExt, Transaction, Within,
};

define_store! {
    /// Temporal's `NexusEndpointStore`, over any store.
    ///
    /// All endpoints together have a version, the table version, which every change of an endpoint
    /// compares and increments. A change is a transaction. A caller that lists the endpoints passes
    /// the table version of the first page with every other page, so that all pages are of one state.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{DataBlob, NexusEndpointsRow};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{NexusEndpointStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let endpoints = NexusEndpointStore::new(MemoryStore::new());
    /// let row = NexusEndpointsRow {
    ///     id: "32049b68-7872-4094-8e63-d0dd59896a83".parse()?,
    ///     version: 0,
    ///     data: DataBlob::proto3(*b"NexusEndpoint"),
    /// };
    /// let table_version = endpoints.table_version().await?;
    /// endpoints.create_or_update(&row, table_version).await?;
    ///
    /// // A change with an old table version fails.
    /// assert!(endpoints.delete(row.id, table_version).await.is_err());
    ///
    /// let list = endpoints.list(None, 100, 0).await?;
    /// assert_eq!(list.endpoints.items[0].version, 1);
    /// endpoints.delete(row.id, list.table_version).await?;
    /// # Ok(())
    /// # }
    /// ```
    NexusEndpointStore
}

/// A page of the list of Nexus endpoints, with the table version of the same snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexusEndpointList {
    /// The table version; 0 if no endpoint was ever written.
    pub table_version: i64,
    /// The endpoints, in the order of their ids. `next` is the smallest id of the next page.
    pub endpoints: Page<NexusEndpointsRow, NexusEndpointId>,
}

/// A change of an endpoint, and the table version that its caller knows.
struct Change<'r, T> {
    of: &'r T,
    table_version: i64,
}

impl<S: Store> NexusEndpointStore<S> {
    /// Reads the table version; 0 if no endpoint was ever written.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn table_version(&self) -> Result<i64, StoreError> {
        self.store.session().get_nexus_endpoints_table_version().await
    }

    /// Reads an endpoint; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, id: NexusEndpointId) -> Result<Option<NexusEndpointsRow>, StoreError> {
        self.store.session().get_nexus_endpoint_by_id(id).await
    }

    /// Reads a page of all endpoints. `last_known_table_version` is 0, or the table version of the
    /// earlier pages.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0;
    /// [`ConditionFailed::NexusTableVersion`] if an endpoint was changed since the earlier pages; and
    /// those of the store.
    pub async fn list(
        &self,
        from: Option<NexusEndpointId>,
        limit: u32,
        last_known_table_version: i64,
    ) -> Result<NexusEndpointList, StoreError> {
        check_limit(limit)?;
        let from = from.unwrap_or(NexusEndpointId::MIN);
        let read = self.store.session().list_nexus_endpoints(from, limit).await?;
        if last_known_table_version != 0 {
            check_table_version(last_known_table_version, read.table_version)?;
        }
        Ok(NexusEndpointList {
            table_version: read.table_version,
            endpoints: Page::new(read.endpoints, limit, |last| last.id.next()),
        })
    }

    /// Writes an endpoint, if its version is that of `row` and the table version is
    /// `last_known_table_version`; version 0 means that there is none. Returns the new version of the
    /// endpoint, which is one more. The table version is one more, too.
    ///
    /// # Errors
    /// [`ConditionFailed::NexusTableVersion`] and [`ConditionFailed::NexusEndpointVersion`] with the
    /// stored version; and those of the store. If the answer is lost and the stored endpoint is the
    /// one of this write, the write is reported as done.
    pub async fn create_or_update(
        &self,
        row: &NexusEndpointsRow,
        last_known_table_version: i64,
    ) -> Result<i64, StoreError> {
        let next = next_version(row.version)?;
        let change = Change { of: row, table_version: last_known_table_version };
        let result = self.store.run("CreateOrUpdateNexusEndpoint", &change, create_or_update).await;
        match result {
            Ok(()) => Ok(next),
            Err(StoreError::AlreadyExists { table, .. }) => {
                if table == Table::NexusEndpointsPartitionStatus {
                    check_table_version(last_known_table_version, self.table_version().await?)?;
                }
                Err(endpoint_version(row, self.get(row.id).await?))
            }
            Err(error) if error.outcome() == Outcome::Unknown => match self.get(row.id).await {
                Ok(Some(stored)) if stored.version == next && stored.data == row.data => Ok(next),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Deletes an endpoint, if the table version is `last_known_table_version`, which it increments.
    ///
    /// # Errors
    /// [`ConditionFailed::NexusTableVersion`] with the stored version;
    /// [`ConditionFailed::NexusEndpointNotFound`]; and those of the store. If the answer is lost and
    /// the endpoint is absent, the delete is reported as done.
    pub async fn delete(
        &self,
        id: NexusEndpointId,
        last_known_table_version: i64,
    ) -> Result<(), StoreError> {
        let change = Change { of: &id, table_version: last_known_table_version };
        let Err(error) = self.store.run("DeleteNexusEndpoint", &change, delete).await else {
            return Ok(());
        };
        if error.outcome() == Outcome::Unknown && matches!(self.get(id).await, Ok(None)) {
            return Ok(());
        }
        Err(error)
    }
}

/// The body of a create or an update.
fn create_or_update<'t>(
    transaction: &'t mut dyn Transaction,
    change: &'t Change<'_, NexusEndpointsRow>,
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        let row = change.of;
        match change.table_version {
            0 => drop(transaction.initialize_nexus_endpoints_table_version().await?),
            known => increment_table_version(transaction, known).await?,
        }
        if row.version == 0 {
            transaction.insert_into_nexus_endpoints(row).await?;
        } else if transaction.update_nexus_endpoint(row).await? == 0 {
            let stored = transaction.get_nexus_endpoint_by_id(row.id).await?;
            return Err(endpoint_version(row, stored));
        }
        Ok(())
    })
}

/// The body of a delete.
fn delete<'t>(
    transaction: &'t mut dyn Transaction,
    change: &'t Change<'_, NexusEndpointId>,
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        let id = *change.of;
        increment_table_version(transaction, change.table_version).await?;
        match transaction.delete_from_nexus_endpoints(id).await? {
            0 => Err(ConditionFailed::NexusEndpointNotFound { id }.into()),
            _ => Ok(()),
        }
    })
}

/// Increments the table version if it is `known`. Without a table version there is no endpoint, and
/// nothing to increment.
async fn increment_table_version(
    transaction: &mut dyn Transaction,
    known: i64,
) -> Result<(), StoreError> {
    if transaction.increment_nexus_endpoints_table_version(known).await? == 0 {
        let observed = transaction.get_nexus_endpoints_table_version().await?;
        check_table_version(known, observed)?;
    }
    Ok(())
}

fn check_table_version(expected: i64, observed: i64) -> Result<(), ConditionFailed> {
    if expected == observed {
        return Ok(());
    }
    Err(ConditionFailed::NexusTableVersion { expected, observed })
}

fn endpoint_version(row: &NexusEndpointsRow, stored: Option<NexusEndpointsRow>) -> StoreError {
    let observed = stored.map(|stored| stored.version);
    ConditionFailed::NexusEndpointVersion { id: row.id, expected: row.version, observed }.into()
}
