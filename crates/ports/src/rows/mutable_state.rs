//! The row port of whole runs: a write set inside a transaction, and the read of all rows of a run.

use async_trait::async_trait;
use temporal_dsql_domain::{DataBlob, ExecutionsFilter, ExecutionsRow, MapEntries, MapTable};

use super::{ExecutionMaps, HistoryExecution, HistoryNodes, HistoryTasks, Shards};
use crate::{
    BufferedWrite, StoreError,
    write_set::{ExpectedCurrent, HistoryChange, Observed, RowCounts, RunChange, WriteSet},
};

/// All rows of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutableStateRows {
    /// The `executions` row.
    pub execution: ExecutionsRow,
    /// Its maps, in the order of [`MapTable::ALL`], entries in the order of their keys.
    pub maps: Vec<MapEntries>,
    /// Its buffered events, in the order of insertion.
    pub buffered: Vec<DataBlob>,
}

/// The reads and writes of a [`WriteSet`] inside a transaction, and the read of a whole run.
///
/// The provided methods are the reference implementation: one statement of the row ports after the
/// other. An adapter may use fewer statements.
#[async_trait]
pub trait MutableState:
    HistoryExecution + ExecutionMaps + HistoryTasks + HistoryNodes + Shards
{
    /// Locks and reads the rows that the conditions of `set` refer to, the shard's first.
    async fn observe(&mut self, set: &WriteSet<'_>) -> Result<Observed, StoreError> {
        let mut observed = Observed::default();
        if set.range_id.is_some() {
            observed.range_id = self.read_lock_shards(set.shard_id).await?;
        }
        if let Some(current) = &set.current {
            observed.current = self.lock_current_executions(&current.id).await?;
            if let ExpectedCurrent::Closed { run_id, .. } = current.expected {
                let run = current.id.run(run_id);
                let version = self.write_lock_executions(&run).await?;
                observed.runs.extend(version.map(|version| (run_id, version)));
            }
        }
        for run in set.runs.iter().filter(|run| !matches!(run, RunChange::Delete(_))) {
            let version = self.write_lock_executions(&run.filter()).await?;
            observed.runs.extend(version.map(|version| (run.run_id(), version)));
        }
        if let Some(current) = &observed.current {
            observed.current_run = match observed.run(current.run_id) {
                Some(version) => Some(version),
                None => self
                    .select_from_executions(&current.executions_filter())
                    .await?
                    .map(|row| row.version()),
            };
        }
        Ok(observed)
    }

    /// Writes the rows of `set`. The caller has checked its conditions against `observed`.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] if a run, a current execution or a task exists. It names the
    /// table.
    async fn write(
        &mut self,
        set: &WriteSet<'_>,
        observed: &Observed,
    ) -> Result<RowCounts, StoreError> {
        let _ = observed;
        let mut written = RowCounts::default();
        for run in &set.runs {
            written.runs += write_run(self, run).await?;
        }
        if let Some(current) = &set.current
            && let Some(row) = current.write
        {
            written.current = match current.expected {
                ExpectedCurrent::Absent => self.insert_into_current_executions(row).await?,
                _ => self.update_current_executions(row).await?,
            };
        }
        for tasks in &set.tasks {
            // One statement for each queue.
            for (queue, of) in tasks.immediate_in_order() {
                written.tasks += self.insert_into_immediate_tasks(set.shard_id, queue, of).await?;
            }
            for (queue, of) in tasks.scheduled_in_order() {
                written.tasks += self.insert_into_scheduled_tasks(set.shard_id, *queue, of).await?;
            }
        }
        for HistoryChange { branch, node, tree } in &set.history {
            self.insert_into_history_node(branch, std::slice::from_ref(node)).await?;
            if let Some(tree) = tree {
                self.insert_into_history_tree(tree).await?;
            }
        }
        Ok(written)
    }

    /// Reads all rows of one run in one statement, and so from one snapshot.
    async fn select_mutable_state(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError>;
}

/// Writes one run. Returns the number of `executions` rows that were inserted or updated.
async fn write_run(
    session: &mut (impl MutableState + ?Sized),
    change: &RunChange<'_>,
) -> Result<u64, StoreError> {
    let run = change.filter();
    match change {
        RunChange::Insert { row, maps } => {
            let written = session.insert_into_executions(row).await?;
            for entries in maps.iter().filter(|entries| !entries.is_empty()) {
                session.replace_into_map(&run, entries).await?;
            }
            Ok(written)
        }
        RunChange::Update { row, maps, buffered, .. } => {
            let written = session.update_executions(row).await?;
            for map in *maps {
                let replace = map.entries_that_stay();
                if !replace.is_empty() {
                    session.replace_into_map(&run, &replace).await?;
                }
                if !map.remove.is_empty() {
                    session.delete_from_map(&run, &map.remove).await?;
                }
            }
            let BufferedWrite { clear, append } = buffered;
            if *clear {
                session.delete_from_buffered_events(&run, None).await?;
            }
            if !append.is_empty() {
                session.insert_into_buffered_events(&run, append).await?;
            }
            Ok(written)
        }
        RunChange::Replace { row, maps, .. } => {
            let written = session.update_executions(row).await?;
            for map in MapTable::ALL {
                let entries = maps.iter().find(|entries| entries.map() == map);
                let none = MapEntries::none(map);
                let entries = entries.unwrap_or(&none);
                session.delete_others_from_map(&run, &entries.keys()).await?;
                if !entries.is_empty() {
                    session.replace_into_map(&run, entries).await?;
                }
            }
            session.delete_from_buffered_events(&run, None).await?;
            Ok(written)
        }
        RunChange::Delete(_) => {
            for map in MapTable::ALL {
                session.delete_all_from_map(&run, map, None).await?;
            }
            session.delete_from_buffered_events(&run, None).await?;
            session.delete_from_executions(&run).await?;
            Ok(0)
        }
    }
}
