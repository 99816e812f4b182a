//! The cluster metadata store: the metadata of clusters, and the processes of this cluster.

use temporal_dsql_domain::{
    ClusterMembershipFilter, ClusterMembershipRow, ClusterMetadataRow, ClusterName, HostId,
    InvalidValue, Timestamp,
};

use super::{CHUNK, Page, check_limit, delete_in_chunks, next_version, unknown_commit};
use temporal_dsql_ports::{ConditionFailed, Outcome, Store, StoreError, Within};

/// Microseconds between a heartbeat and the expiry of its row, at least.
const MIN_EXPIRY_MICROS: i64 = 1_000_000;

define_store! {
    /// Temporal's `ClusterMetadataStore`, over any store.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{ClusterMetadataRow, ClusterName, DataBlob};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{ClusterMetadataStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clusters = ClusterMetadataStore::new(MemoryStore::new());
    /// let cluster_name = ClusterName::new("active")?;
    /// let data = DataBlob::proto3(*b"ClusterMetadata");
    /// let new = ClusterMetadataRow { cluster_name: cluster_name.clone(), data, version: 0 };
    ///
    /// // Each save has the version that it replaces, and increments it.
    /// assert_eq!(clusters.save(&new).await?, 1);
    /// let stored = clusters.get(&cluster_name).await?.expect("it is stored");
    /// assert_eq!(clusters.save(&stored).await?, 2);
    /// assert!(clusters.save(&stored).await.is_err());
    ///
    /// assert_eq!(clusters.list(None, 100).await?.items.len(), 1);
    /// clusters.delete(&cluster_name).await?;
    /// # Ok(())
    /// # }
    /// ```
    ClusterMetadataStore
}

impl<S: Store> ClusterMetadataStore<S> {
    /// Reads the metadata of a cluster; `None` if it has none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, name: &ClusterName) -> Result<Option<ClusterMetadataRow>, StoreError> {
        self.store.session().get_cluster_metadata(name).await
    }

    /// Reads a page of the metadata of all clusters, in the order of their names: `next` is the last
    /// name of this page.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn list(
        &self,
        after: Option<&ClusterName>,
        limit: u32,
    ) -> Result<Page<ClusterMetadataRow, ClusterName>, StoreError> {
        check_limit(limit)?;
        let rows = self.store.session().list_cluster_metadata(after, limit).await?;
        Ok(Page::new(rows, limit, |last| Some(last.cluster_name.clone())))
    }

    /// Writes the metadata of a cluster, if its version is that of `row`; version 0 means that it has
    /// none. Returns the new version, which is one more.
    ///
    /// # Errors
    /// [`ConditionFailed::ClusterMetadataVersion`] with the stored version, and those of the store.
    /// If the answer is lost and the stored row is the one of this write, the write is reported as
    /// done.
    pub async fn save(&self, row: &ClusterMetadataRow) -> Result<i64, StoreError> {
        let next = next_version(row.version)?;
        let saved = self.store.session().save_cluster_metadata(row).await;
        match saved {
            Ok(0) | Err(StoreError::AlreadyExists { .. }) => {
                let observed = self.get(&row.cluster_name).await?.map(|stored| stored.version);
                let (cluster_name, expected) = (row.cluster_name.clone(), row.version);
                let failed =
                    ConditionFailed::ClusterMetadataVersion { cluster_name, expected, observed };
                Err(failed.into())
            }
            Ok(_) => Ok(next),
            Err(error) if error.outcome() == Outcome::Unknown => {
                match self.get(&row.cluster_name).await {
                    Ok(Some(stored)) if stored.version == next && stored.data == row.data => {
                        Ok(next)
                    }
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the metadata of a cluster. If it has none, that is not an error.
    ///
    /// # Errors
    /// Those of the store. If the answer is lost and there is no metadata, the delete is reported as
    /// done.
    pub async fn delete(&self, name: &ClusterName) -> Result<(), StoreError> {
        let Err(error) = self.store.session().delete_cluster_metadata(name).await else {
            return Ok(());
        };
        if error.outcome() == Outcome::Unknown && matches!(self.get(name).await, Ok(None)) {
            return Ok(());
        }
        Err(error)
    }

    /// Reads a page of the processes that satisfy `filter` and have not expired at the time `now`, in
    /// the order of their ids: `next` is the smallest id of the next page.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn members(
        &self,
        filter: &ClusterMembershipFilter,
        now: Timestamp,
        from: Option<HostId>,
        limit: u32,
    ) -> Result<Page<ClusterMembershipRow, HostId>, StoreError> {
        check_limit(limit)?;
        let from = from.unwrap_or(HostId::MIN);
        let rows = self.store.session().get_cluster_members(filter, now, from, limit).await?;
        Ok(Page::new(rows, limit, |last| last.host_id.next()))
    }

    /// Records the heartbeat of a process: inserts its row, or overwrites it. A write with an unknown
    /// outcome is repeated, because each writes the same row.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] if the row expires less than a second after the heartbeat
    /// (Temporal's `ErrInvalidMembershipExpiry`), or if its port is too large; and those of the store.
    pub async fn upsert_member(&self, row: &ClusterMembershipRow) -> Result<(), StoreError> {
        let micros = row.record_expiry.unix_micros() - row.last_heartbeat.unix_micros();
        InvalidValue::unless(micros >= MIN_EXPIRY_MICROS, "record_expiry", || {
            format!("is {micros} µs after the heartbeat; at least {MIN_EXPIRY_MICROS} are allowed")
        })?;
        unknown_commit::idempotent!(self.store.session().upsert_cluster_membership(row)).map(drop)
    }

    /// Deletes all processes that expired before `before`, in chunks. Returns their number. After an
    /// error, calling it again continues the deletion.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn prune_members(&self, before: Timestamp) -> Result<u64, StoreError> {
        Ok(delete_in_chunks!(self.store.session().prune_cluster_membership(before, CHUNK)))
    }
}
