//! The read of a whole run, and the checks of a write set before it is applied. Write sets are applied
//! by the reference implementation of the ports.

use async_trait::async_trait;
use temporal_dsql_domain::{ExecutionsFilter, MapTable};
use temporal_dsql_ports::{
    HistoryChange, MutableState, MutableStateRows, RunChange, StoreError, WriteSet,
};

use super::{
    buffered_events, execution_maps,
    history_execution::{self, CurrentKey},
    history_nodes, history_tasks,
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
/// [`StoreError::Limit`], and those of the router, before any condition is checked.
pub(crate) fn check(store: &MemoryStore, set: &WriteSet<'_>) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    if let Some(row) = set.current.as_ref().and_then(|current| current.write) {
        rows.push(CurrentKey::ready(store, row)?);
    }
    for run in &set.runs {
        let key = run.filter();
        if let Some(row) = run.row() {
            rows.push(history_execution::ready(row)?);
        }
        match run {
            RunChange::Insert { maps, .. } | RunChange::Replace { maps, .. } => {
                for entries in *maps {
                    rows.extend(execution_maps::ready(&key, entries)?);
                }
            }
            RunChange::Update { maps, buffered, .. } => {
                for map in *maps {
                    rows.extend(execution_maps::ready(&key, &map.replace)?);
                }
                buffered_events::check(&key, &buffered.append)?;
            }
            RunChange::Delete(_) => {}
        }
    }
    for tasks in &set.tasks {
        for (queue, of) in &tasks.immediate {
            rows.extend(history_tasks::ready_immediate(set.shard_id, queue, of)?);
        }
        for (queue, of) in &tasks.scheduled {
            rows.extend(history_tasks::ready_scheduled(set.shard_id, *queue, of)?);
        }
    }
    for HistoryChange { branch, node, tree } in &set.history {
        rows.extend(history_nodes::ready(branch, std::slice::from_ref(*node))?);
        if let Some(tree) = tree {
            rows.push(history_nodes::ready_tree(tree)?);
        }
    }
    check_statement(&rows)
}

fn select(transaction: &LimitedTransaction, run: &ExecutionsFilter) -> Option<MutableStateRows> {
    let execution = transaction.select(run)?.clone();
    let maps = MapTable::ALL.map(|map| execution_maps::select_all(transaction, run, map)).into();
    Some(MutableStateRows { execution, maps, buffered: buffered_events::select(transaction, run) })
}

#[async_trait]
impl<E: Execute> MutableState for Connection<E> {
    async fn select_mutable_state(
        &mut self,
        run: &ExecutionsFilter,
    ) -> Result<Option<MutableStateRows>, StoreError> {
        self.executor
            .execute("SelectMutableState", |transaction| Ok(select(transaction, run)))
            .await
    }
}
