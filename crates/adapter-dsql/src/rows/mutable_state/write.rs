//! Binding a write to its one statement.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ExecutionsRow, MapEntries, MapKeys, MapTable};
use temporal_dsql_ports::{
    CurrentExecutionsRoute, CurrentWrite, ExecutionWrite, MapWrite, Removal, RunWrite, StoreError,
    Written, check_maps,
};

use super::{
    super::{
        buffered_events, current_executions as current, executions, immediate_tasks as immediate,
        maps, payload::Payload, scheduled_tasks as scheduled,
    },
    only_row,
    write_sql::{NEW, REPLACE, UPDATE},
};
use crate::statement::Statement;

/// The statement that does all of `write`, whose current execution is at `route`; [`decode`]
/// reads its answer.
pub(super) fn statement(
    write: &ExecutionWrite,
    route: Option<CurrentExecutionsRoute>,
) -> Result<Statement, StoreError> {
    let maps = Maps::of(&write.maps)?;
    let (meta, row) = match &write.run {
        RunWrite::Insert(row) => (&NEW, row),
        RunWrite::Update(row) if maps.others.contains(&true) => (&REPLACE, row),
        RunWrite::Update(row) => (&UPDATE, row),
    };
    check(write, row, route)?;
    let mut statement = executions::whole_row(meta, row);
    statement = bind_current(statement, write.current.as_ref(), route);
    for entries in &maps.entries {
        statement = maps::bind_entries(statement, entries);
    }
    statement = buffered_events::bind(statement, &write.buffered.append)?;
    statement = immediate::bind_all(statement, &write.tasks.immediate);
    statement = scheduled::bind_all(statement, &write.tasks.scheduled);
    if let RunWrite::Insert(_) = write.run {
        return Ok(statement);
    }
    for keys in &maps.keys {
        statement = maps::bind_keys(statement, keys);
    }
    statement = statement.bind(write.buffered.clear);
    if maps.others.contains(&true) {
        for others in maps.others {
            statement = statement.bind(others);
        }
    }
    Ok(statement)
}

/// What a write does to each map, in the order of [`MapTable::ALL`].
struct Maps {
    entries: [MapEntries; 7],
    keys: [MapKeys; 7],
    others: [bool; 7],
}

impl Maps {
    fn of(writes: &[MapWrite]) -> Result<Self, StoreError> {
        let mut maps = Self {
            entries: MapTable::ALL.map(MapEntries::none),
            keys: MapTable::ALL.map(MapKeys::none),
            others: [false; 7],
        };
        check_maps(writes)?;
        for write in writes {
            let map = write.replace.map();
            let index = MapTable::ALL.iter().position(|of| *of == map).unwrap_or_default();
            maps.entries[index] = write.entries_that_stay();
            match &write.remove {
                Removal::Keys(keys) => maps.keys[index] = keys.clone(),
                Removal::Others => maps.others[index] = true,
            }
        }
        Ok(maps)
    }
}

/// Checks every row, and what all of them weigh.
fn check(
    write: &ExecutionWrite,
    run: &ExecutionsRow,
    route: Option<CurrentExecutionsRoute>,
) -> Result<(), StoreError> {
    let mut payload = Payload::default();
    run.check_limits()?;
    payload.add(run.size().row)?;
    if let (Some(CurrentWrite::Insert(row) | CurrentWrite::Update(row)), Some(route)) =
        (&write.current, route)
    {
        row.check_limits(route.table())?;
        payload.add(row.size().row)?;
    }
    let key = run.filter();
    for map in &write.maps {
        maps::check(&mut payload, &key, &map.replace)?;
    }
    buffered_events::check(&mut payload, &key, &write.buffered.append)?;
    for (queue, tasks) in &write.tasks.immediate {
        immediate::check(&mut payload, queue, tasks)?;
    }
    for (queue, tasks) in &write.tasks.scheduled {
        scheduled::check(&mut payload, *queue, tasks)?;
    }
    Ok(())
}

/// Binds `$12` to `$27`.
fn bind_current(
    statement: Statement,
    write: Option<&CurrentWrite>,
    route: Option<CurrentExecutionsRoute>,
) -> Statement {
    let (row, is_new) = match write {
        None => (None, false),
        Some(CurrentWrite::Insert(row)) => (Some(row), true),
        Some(CurrentWrite::Update(row)) => (Some(row), false),
    };
    let (in_workflow, in_chasm) = match route {
        None => (false, false),
        Some(CurrentExecutionsRoute::CurrentExecutions) => (true, false),
        Some(CurrentExecutionsRoute::CurrentChasmExecutions { .. }) => (false, true),
    };
    current::bind_columns(statement, row)
        .bind(route.map(|route| i64::from(route.archetype_id().0)))
        .bind(in_workflow && is_new)
        .bind(in_workflow && !is_new)
        .bind(in_chasm && is_new)
        .bind(in_chasm && !is_new)
}

/// Reads the answer of [`statement`].
pub(super) fn decode(rows: &[PgRow]) -> Result<Written, StoreError> {
    let columns = only_row(&UPDATE, rows)?;
    let count = |column| columns.get::<i64>(column).map(i64::unsigned_abs);
    Ok(Written { run: count("run")?, current: count("current")?, tasks: count("tasks")? })
}
