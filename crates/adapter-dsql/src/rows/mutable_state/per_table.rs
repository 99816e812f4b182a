//! A write set inside a transaction, with a statement for each table that it changes.

use temporal_dsql_domain::{MapTable, Table};
use temporal_dsql_ports::{
    ExpectedCurrent, HistoryExecution, Observed, RowCounts, RunChange, Shards, StoreError, WriteSet,
};

use super::{
    super::{
        buffered_events, current_executions as current, executions, history_node, history_tree,
        maps, session::Rows, task_queues,
    },
    arguments::{WriteSetRows, clears, replaces, route},
    decode,
};
use crate::{
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

pub(in crate::rows) static OBSERVE: Meta =
    SqlFile::new(Table::Executions, include_str!("../../../sql/observe.sql")).read("Observe");

/// Locks the shard, reads the rows of the conditions, and locks those that the write set does not
/// write: a row that is written conflicts with every other write of it.
pub(super) async fn observe<E: Executor>(
    session: &mut Rows<E>,
    set: &WriteSet<'_>,
) -> Result<Observed, StoreError> {
    let route = route(session.executor.router(), set)?;
    // A write set that is too large is refused before any condition is read.
    let rows = WriteSetRows::new(set, route)?;
    let range_id = match set.range_id {
        Some(_) => session.read_lock_shards(set.shard_id).await?,
        None => None,
    };
    if set.current.is_none() && set.runs.is_empty() {
        return Ok(Observed { range_id, ..Observed::default() });
    }
    let statement = Statement::new(&OBSERVE, set.shard_id, &rows.arguments()?);
    let found = session.executor.send(statement).await?.rows;
    let removable = decode::removable(&found)?;
    let observed = Observed { range_id, removable, ..decode::observed(route, &found)? };
    if let Some(current) = &set.current {
        if current.write.is_none() && observed.current.is_some() {
            session.lock_current_executions(&current.id).await?;
        }
        if let ExpectedCurrent::Closed { run_id, .. } = current.expected
            && observed.run(run_id).is_some()
        {
            session.write_lock_executions(&current.id.run(run_id)).await?;
        }
    }
    Ok(observed)
}

/// Writes table by table; tables with nothing to do have no statement.
pub(super) async fn write<E: Executor>(
    session: &mut Rows<E>,
    set: &WriteSet<'_>,
    observed: &Observed,
) -> Result<RowCounts, StoreError> {
    let route = route(session.executor.router(), set)?;
    let rows = WriteSetRows::new(set, route)?;
    let arguments = rows.arguments()?;
    let send = |meta| Statement::new(meta, set.shard_id, &arguments);
    let mut written = RowCounts::default();

    // A run that must exist is updated, never upserted: PostgreSQL's upsert would insert a run that
    // was deleted since the snapshot.
    for (meta, is_new) in [(&executions::UPDATE, false), (&executions::INSERT, true)] {
        let mut rows = Vec::new();
        for run in &set.runs {
            if matches!(run, RunChange::Insert { .. }) == is_new {
                rows.extend(run.row());
            }
        }
        if let Some(first) = rows.first() {
            let statement = executions::of_rows(meta, first, rows.iter().copied());
            written.runs += session.affected(statement).await?;
        }
    }
    if let (Some(change), Some(route)) = (&set.current, route)
        && change.write.is_some()
    {
        let meta = match change.expected {
            ExpectedCurrent::Absent => current::INSERT.meta(route),
            _ => current::UPDATE.meta(route),
        };
        written.current = session.affected(send(meta)).await?;
    }
    for map in MapTable::ALL.into_iter().filter(|map| observed.removable.contains(&map.table())) {
        session.affected(send(&maps::of(map).delete_all)).await?;
    }
    for map in MapTable::ALL {
        if rows.removed().any(|(_, keys)| keys.map() == map && !keys.is_empty()) {
            session.affected(send(&maps::of(map).delete)).await?;
        }
        if rows.writes(map) {
            let replaced = session.affected(send(&maps::of(map).replace)).await;
            replaced.map_err(|error| maps::name_long_path(error, rows.entries()))?;
        }
    }
    let is_cleared = set.runs.iter().any(|run| clears(run) && !replaces(run));
    if is_cleared || observed.removable.contains(&Table::BufferedEvents) {
        session.affected(send(&buffered_events::DELETE)).await?;
    }
    if rows.appended().any(|(_, events)| !events.is_empty()) {
        session.affected(send(&buffered_events::INSERT)).await?;
    }
    if set.runs.iter().any(|run| matches!(run, RunChange::Delete(_))) {
        session.affected(send(&executions::DELETE_ALL)).await?;
    }
    for queue in &task_queues::STATEMENTS {
        if set.tasks.iter().any(|tasks| tasks.has(queue.insert.table)) {
            written.tasks += session.affected(send(&queue.insert)).await?;
        }
    }
    if !set.history.is_empty() {
        session.affected(send(&history_node::INSERT)).await?;
    }
    if set.history.iter().any(|change| change.tree.is_some()) {
        session.affected(send(&history_tree::INSERT)).await?;
    }
    Ok(written)
}
