//! A write as one statement for each of its parts, for servers that take nothing better.

use temporal_dsql_ports::{
    CurrentExecutionsRoute, CurrentWrite, ExecutionWrite, Removal, RunWrite, StoreError, Written,
    check_maps,
};

use super::super::{
    buffered_events, current_executions as current, executions, immediate_tasks as immediate, maps,
    payload::Payload, scheduled_tasks as scheduled,
};
use crate::statement::Statement;

/// What a statement's number of rows is a number of.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Run,
    Current,
    Task,
    /// Something that nobody counts.
    Other,
}

impl Part {
    /// Adds the number of rows that the part affected.
    pub(super) fn count(self, written: &mut Written, rows: u64) {
        match self {
            Self::Run => written.run += rows,
            Self::Current => written.current += rows,
            Self::Task => written.tasks += rows,
            Self::Other => {}
        }
    }
}

/// The statements, in the order in which they are sent; parts with nothing to do have none.
pub(super) fn statements(
    write: &ExecutionWrite,
    route: Option<CurrentExecutionsRoute>,
) -> Result<Vec<(Part, Statement)>, StoreError> {
    check_maps(&write.maps)?;
    let mut statements = Vec::new();
    let mut then = |part, statement| statements.push((part, statement));
    let (run, is_new) = match &write.run {
        RunWrite::Insert(row) => (row, true),
        RunWrite::Update(row) => (row, false),
    };
    let by_run = if is_new { executions::insert } else { executions::update };
    then(Part::Run, by_run(run)?);
    match (&write.current, route) {
        (Some(CurrentWrite::Insert(row)), Some(route)) => {
            then(Part::Current, current::insert(route, row)?);
        }
        (Some(CurrentWrite::Update(row)), Some(route)) => {
            then(Part::Current, current::update(route, row)?);
        }
        _ => {}
    }
    let key = run.filter();
    for map in &write.maps {
        maps::check(&mut Payload::default(), &key, &map.replace)?;
        let stays = map.entries_that_stay();
        match &map.remove {
            // A run that is new has nothing to remove.
            _ if is_new => {}
            Removal::Keys(keys) if keys.is_empty() => {}
            Removal::Keys(keys) => then(Part::Other, maps::delete(&key, keys)),
            Removal::Others => then(Part::Other, maps::delete_others(&key, &stays.keys())),
        }
        if !stays.is_empty() {
            then(Part::Other, maps::replace(&key, &stays)?);
        }
    }
    if write.buffered.clear && !is_new {
        then(Part::Other, buffered_events::delete(&key, None));
    }
    if !write.buffered.append.is_empty() {
        then(Part::Other, buffered_events::insert(&key, &write.buffered.append)?);
    }
    let tasks = &write.tasks;
    for (queue, tasks) in tasks.immediate_in_order() {
        then(Part::Task, immediate::insert(key.shard_id, queue, tasks)?);
    }
    for (queue, tasks) in tasks.scheduled_in_order() {
        then(Part::Task, scheduled::insert(key.shard_id, *queue, tasks)?);
    }
    Ok(statements)
}
