//! The read of a whole run, and the checks of a write set before it is applied. Write sets are applied
//! by the reference implementation of the ports.

use async_trait::async_trait;
use temporal_dsql_domain::{ExecutionsFilter, MapTable};
use temporal_dsql_ports::{
    HistoryChange, MutableState, MutableStateRows, RunChange, StoreError, WriteSet,
};

use super::{
    buffered_events,
    execution_maps::{self, entry_rows},
    history_execution::{current_row, executions_row, select_execution},
    history_nodes::{node_rows, tree_row},
    history_tasks::{immediate_rows, scheduled_rows},
};
use crate::{
    MemoryStore,
    connection::{Connection, Execute},
    key::check_statement,
    limited_transaction::LimitedTransaction,
};

/// Checks each row of a write set against the limits, and all of them against the size of the single
/// statement that the adapter for DSQL sends.
///
/// # Errors
/// [`StoreError::Limit`] and those of the router, before any condition is checked.
pub(crate) fn check(store: &MemoryStore, set: &WriteSet<'_>) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    if let Some(row) = set.current.as_ref().and_then(|current| current.write) {
        rows.push(current_row(store, row)?);
    }
    for run in &set.runs {
        let key = run.filter();
        rows.extend(run.row().map(executions_row).transpose()?);
        match run {
            RunChange::Insert { maps, .. } | RunChange::Replace { maps, .. } => {
                for entries in *maps {
                    rows.extend(entry_rows(&key, entries)?);
                }
            }
            RunChange::Update { maps, buffered, .. } => {
                for map in *maps {
                    rows.extend(entry_rows(&key, &map.replace)?);
                }
                rows.extend(buffered_events::check(&key, &buffered.append)?);
            }
            RunChange::Delete(_) => {}
        }
    }
    for tasks in &set.tasks {
        for (queue, of) in &tasks.immediate {
            rows.extend(immediate_rows(set.shard_id, queue, of)?);
        }
        for (queue, of) in &tasks.scheduled {
            rows.extend(scheduled_rows(set.shard_id, *queue, of)?);
        }
    }
    for HistoryChange { branch, node, tree } in &set.history {
        rows.extend(node_rows(branch, std::slice::from_ref(*node))?);
        rows.extend(tree.as_ref().map(tree_row).transpose()?);
    }
    check_statement(&rows)
}

fn select(transaction: &LimitedTransaction, run: &ExecutionsFilter) -> Option<MutableStateRows> {
    let execution = select_execution(transaction, run)?;
    let maps = MapTable::ALL.map(|map| execution_maps::select_all(transaction, run, map)).into();
    Some(MutableStateRows { execution, maps, buffered: buffered_events::select(transaction, run) })
}

#[async_trait]
impl<E: Execute> MutableState for Connection<E> {
    async fn select_mutable_state(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError> {
        self.execute("SelectMutableState", |transaction| Ok(select(transaction, run))).await
    }
}
