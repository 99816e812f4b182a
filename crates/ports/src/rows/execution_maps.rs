//! The row port of the seven maps of a run, and of its buffered events
//! (temporal-persistence.md#chasm-nodes, temporal-persistence.md#maps,
//! temporal-persistence.md#buffered-events).

use async_trait::async_trait;
use temporal_dsql_domain::{DataBlob, ExecutionsFilter, MapEntries, MapKeys, MapTable};

use crate::StoreError;

/// Operations on the rows of a run beside its `executions` row.
#[async_trait]
pub trait ExecutionMaps: Send {
    /// Inserts entries and overwrites those whose keys exist. All are written, or none.
    ///
    /// Of several entries with the same key, the last is written. Returns the number of entries; for
    /// a set (`signals_requested_sets`), the number of entries that were not in it.
    async fn replace_into_map(
        &mut self,
        run: &ExecutionsFilter,
        entries: &MapEntries,
    ) -> Result<u64, StoreError>;

    /// Reads all entries of a map, in the order of their keys.
    async fn select_all_from_map(
        &mut self,
        run: &ExecutionsFilter,
        map: MapTable,
    ) -> Result<MapEntries, StoreError>;

    /// Deletes the entries with these keys. Absent entries are not counted.
    async fn delete_from_map(
        &mut self,
        run: &ExecutionsFilter,
        keys: &MapKeys,
    ) -> Result<u64, StoreError>;

    /// Deletes the entries of a map whose keys are not among `kept`.
    async fn delete_others_from_map(
        &mut self,
        run: &ExecutionsFilter,
        kept: &MapKeys,
    ) -> Result<u64, StoreError>;

    /// Deletes all entries of a map, or the first `limit` of them.
    async fn delete_all_from_map(
        &mut self,
        run: &ExecutionsFilter,
        map: MapTable,
        limit: Option<u32>,
    ) -> Result<u64, StoreError>;

    /// Appends buffered events of a run. They are read in the order of insertion, across calls and
    /// transactions.
    ///
    /// The caller holds the lock of the `executions` row. Two transactions that append to one run at
    /// the same time would choose the same ids.
    async fn insert_into_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
        events: &[DataBlob],
    ) -> Result<u64, StoreError>;

    /// Reads the buffered events of a run in the order of insertion.
    async fn select_from_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Vec<DataBlob>, StoreError>;

    /// Deletes all buffered events of a run, or the first `limit` of them.
    async fn delete_from_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
        limit: Option<u32>,
    ) -> Result<u64, StoreError>;
}
