//! Validation of requests: Temporal's `operation_mode_validator.go` (temporal-persistence.md#modes),
//! and the consistency of their parts.

use temporal_dsql_domain::{
    CurrentExecutionsRow, ExecutionState, ExecutionsRow, InvalidValue, MapEntries,
    check_create_state, check_update_state,
};

use super::{
    ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, Expected, Mutation,
    SetExecution, Snapshot, UpdateExecution, UpdateMode,
};
use crate::{AppendNodes, Owner};
use ExecutionState::{Completed, Created, Running, Zombie};
use temporal_dsql_ports::{
    ArchetypeRouter, CurrentExecutionsRouter, MapWrite, check_distinct_maps,
};

type Checked = Result<(), InvalidValue>;

pub(super) fn create(request: &CreateExecution) -> Checked {
    let CreateExecution { owner, mode, snapshot } = request;
    new_snapshot(*owner, snapshot)?;
    let state = snapshot.current.state;
    match mode {
        CreateMode::BrandNew | CreateMode::UpdateCurrent { .. } => {
            not_in("a run that becomes the current one", state, &[Zombie])
        }
        CreateMode::BypassCurrent => {
            not_in("a run that is not the current one", state, &[Created, Running])
        }
    }
}

pub(super) fn update(request: &UpdateExecution) -> Checked {
    let UpdateExecution { owner, mode, mutation, new } = request;
    self::mutation(*owner, mutation)?;
    let state = mutation.current.state;
    let new_state = match new {
        Some(new) => {
            new_snapshot(*owner, new)?;
            another_run("the new run", &mutation.current, &new.current)?;
            Some(new.current.state)
        }
        None => None,
    };
    match (mode, new_state) {
        (UpdateMode::UpdateCurrent, None) => not_in("the current run", state, &[Zombie]),
        (UpdateMode::UpdateCurrent, Some(new)) => {
            not_in("a run that a new one follows", state, &[Created, Running])?;
            not_in("a new run that becomes the current one", new, &[Zombie])
        }
        (UpdateMode::BypassCurrent, new) => {
            let open = &[Created, Running];
            not_in("a run that is not the current one", state, open)?;
            new.map_or(Ok(()), |new| not_in("a new run that is not the current one", new, open))
        }
        (UpdateMode::IgnoreCurrent, None) => Ok(()),
        (UpdateMode::IgnoreCurrent, Some(_)) => Err(InvalidValue::new(
            "mode",
            "IgnoreCurrent cannot create a new run: the current execution would not be updated",
        )),
    }
}

pub(super) fn conflict_resolve(request: &ConflictResolve) -> Checked {
    let ConflictResolve { owner, mode, reset, expected, new, current } = request;
    stored_snapshot(*owner, reset)?;
    next_version(&reset.execution, *expected)?;
    if let Some(new) = new {
        new_snapshot(*owner, new)?;
        another_run("the new run", &reset.current, &new.current)?;
    }
    if let Some(current) = current {
        mutation(*owner, current)?;
        another_run("the current run", &reset.current, &current.current)?;
        if let Some(new) = new {
            another_run("the new run", &current.current, &new.current)?;
        }
    }
    let reset_state = reset.current.state;
    let new_state = new.as_ref().map(|new| new.current.state);
    let open = &[Created, Running];
    let not_closed = &[Created, Running, Zombie];
    match (mode, current) {
        (ConflictResolveMode::UpdateCurrent, Some(current)) => {
            not_in("the current run that is suppressed", current.current.state, open)?;
        }
        (ConflictResolveMode::UpdateCurrent, None) => {}
        (ConflictResolveMode::BypassCurrent, current) => {
            InvalidValue::unless(
                current.is_none(),
                "current",
                || "BypassCurrent does not change the current run",
            )?;
        }
    }
    match (mode, new_state) {
        (ConflictResolveMode::UpdateCurrent, None) => {
            not_in("the reset run that becomes the current one", reset_state, &[Zombie])
        }
        (ConflictResolveMode::UpdateCurrent, Some(new)) => {
            not_in("the reset run that a new one follows", reset_state, not_closed)?;
            not_in("a new run that becomes the current one", new, &[Zombie])
        }
        (ConflictResolveMode::BypassCurrent, None) => {
            not_in("a reset run that is not the current one", reset_state, open)
        }
        (ConflictResolveMode::BypassCurrent, Some(new)) => {
            not_in("the reset run that a new one follows", reset_state, not_closed)?;
            not_in("a new run that is not the current one", new, &[Created, Running, Completed])
        }
    }
}

pub(super) fn set(request: &SetExecution) -> Checked {
    stored_snapshot(request.owner, &request.snapshot)?;
    next_version(&request.snapshot.execution, request.expected)
}

fn new_snapshot(owner: Owner, snapshot: &Snapshot) -> Checked {
    self::snapshot(owner, snapshot)?;
    check_create_state(snapshot.current.state, snapshot.current.status)
}

fn stored_snapshot(owner: Owner, snapshot: &Snapshot) -> Checked {
    self::snapshot(owner, snapshot)?;
    check_update_state(snapshot.current.state, snapshot.current.status)
}

fn snapshot(owner: Owner, snapshot: &Snapshot) -> Checked {
    same_run(owner, &snapshot.execution, &snapshot.current)?;
    check_distinct_maps(snapshot.maps.iter().map(MapEntries::map))?;
    events(owner, &snapshot.events)
}

fn mutation(owner: Owner, mutation: &Mutation) -> Checked {
    same_run(owner, &mutation.execution, &mutation.current)?;
    MapWrite::check_all(&mutation.maps)?;
    events(owner, &mutation.events)?;
    check_update_state(mutation.current.state, mutation.current.status)?;
    next_version(&mutation.execution, mutation.expected)
}

/// A record version is the previous one plus one, so it proves a write.
fn next_version(row: &ExecutionsRow, expected: Expected) -> Checked {
    let Expected::RecordVersion(version) = expected else { return Ok(()) };
    let is_next = version.checked_add(1) == Some(row.db_record_version);
    InvalidValue::unless(is_next, "db_record_version", || {
        format!("is {}, but follows {version}", row.db_record_version)
    })
}

/// The rows of one run have the same shard, namespace, id and run.
fn same_run(owner: Owner, execution: &ExecutionsRow, current: &CurrentExecutionsRow) -> Checked {
    InvalidValue::unless(execution.shard_id == owner.shard_id, "shard_id", || {
        format!("is {}, but the owner's is {}", execution.shard_id, owner.shard_id)
    })?;
    // Also if the mode does not write the row: a filter would read an unspecified archetype as a
    // workflow.
    ArchetypeRouter.route_row(current)?;
    let (run, current_run) = (execution.filter(), current.executions_filter());
    InvalidValue::unless(run == current_run, "run_id", || {
        format!("the execution is {run:?}, but its current execution is {current_run:?}")
    })
}

/// The history batches belong to the owner's shard, and each is valid.
fn events(owner: Owner, events: &[AppendNodes]) -> Checked {
    for nodes in events {
        InvalidValue::unless(nodes.shard_id == owner.shard_id, "shard_id", || {
            format!("of events is {}, but the owner's is {}", nodes.shard_id, owner.shard_id)
        })?;
        nodes.check()?;
    }
    Ok(())
}

/// Two parts of a request are different runs of one id.
///
/// Temporal writes the parts one after the other, so a run in two parts fails the condition of the
/// later part. Here the conditions of all parts are checked before any part is written.
fn another_run(what: &str, one: &CurrentExecutionsRow, other: &CurrentExecutionsRow) -> Checked {
    InvalidValue::unless(one.filter() == other.filter(), "workflow_id", || {
        format!("{what} is of {:?}, not of {:?}", other.filter(), one.filter())
    })?;
    InvalidValue::unless(one.run_id != other.run_id, "run_id", || {
        format!("{what} is {}, which is also in another part of the request", one.run_id)
    })
}

fn not_in(what: &str, state: ExecutionState, forbidden: &[ExecutionState]) -> Checked {
    InvalidValue::unless(!forbidden.contains(&state), "state", || {
        format!("{what} cannot be {state}")
    })
}
