//! [`ExecutionMaps`] over an executor: the statement of each method.

use async_trait::async_trait;
use temporal_dsql_domain::{DataBlob, ExecutionsFilter, MapEntries, MapKeys, MapTable};
use temporal_dsql_ports::{ExecutionMaps, StoreError};

use super::{buffered_events, executions::by_key, maps, session::Rows};
use crate::executor::Executor;

#[async_trait]
impl<E: Executor> ExecutionMaps for Rows<E> {
    async fn replace_into_map(
        &mut self,
        run: &ExecutionsFilter,
        entries: &MapEntries,
    ) -> Result<u64, StoreError> {
        let done = self.affected(maps::replace(run, entries)?).await;
        done.map_err(|error| maps::name_long_path(error, [entries]))
    }

    async fn select_all_from_map(
        &mut self,
        run: &ExecutionsFilter,
        map: MapTable,
    ) -> Result<MapEntries, StoreError> {
        let select = by_key(&maps::of(map).select, run);
        maps::decode(map, &self.executor.send(select).await?.rows)
    }

    async fn delete_from_map(
        &mut self,
        run: &ExecutionsFilter,
        keys: &MapKeys,
    ) -> Result<u64, StoreError> {
        self.affected(maps::delete(run, keys)).await
    }

    async fn delete_all_from_map(
        &mut self,
        run: &ExecutionsFilter,
        map: MapTable,
        limit: Option<u32>,
    ) -> Result<u64, StoreError> {
        self.affected(maps::delete_all(run, map, limit)).await
    }

    async fn delete_others_from_map(
        &mut self,
        run: &ExecutionsFilter,
        keep: &MapKeys,
    ) -> Result<u64, StoreError> {
        self.affected(maps::delete_others(run, keep)).await
    }

    async fn insert_into_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
        events: &[DataBlob],
    ) -> Result<u64, StoreError> {
        self.affected(buffered_events::insert(run, events)?).await
    }

    async fn select_from_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Vec<DataBlob>, StoreError> {
        self.list(by_key(&buffered_events::SELECT, run), buffered_events::decode).await
    }

    async fn delete_from_buffered_events(
        &mut self,
        run: &ExecutionsFilter,
        limit: Option<u32>,
    ) -> Result<u64, StoreError> {
        self.affected(buffered_events::delete(run, limit)).await
    }
}
