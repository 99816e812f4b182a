//! The write set of each request: pure functions.

use super::{
    ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, Mutation, SetExecution,
    Snapshot, UpdateExecution, UpdateMode,
};
use crate::{AppendNodes, Owner};
use temporal_dsql_ports::{CurrentChange, ExpectedCurrent, RunChange, WriteSet};

pub(super) fn create(request: &CreateExecution) -> WriteSet<'_> {
    let CreateExecution { owner, mode, snapshot } = request;
    let expected = match *mode {
        CreateMode::BrandNew => ExpectedCurrent::Absent,
        CreateMode::UpdateCurrent { previous_run_id, previous_last_write_version } => {
            ExpectedCurrent::Closed {
                run_id: previous_run_id,
                last_write_version: previous_last_write_version,
            }
        }
        CreateMode::BypassCurrent => ExpectedCurrent::AnyBut(snapshot.execution.run_id),
    };
    let is_written = !matches!(mode, CreateMode::BypassCurrent);
    let mut set = owners_write_set("CreateWorkflowExecution", *owner);
    set.current = Some(CurrentChange {
        id: snapshot.current.filter(),
        expected,
        write: is_written.then_some(&snapshot.current),
    });
    add_new(&mut set, snapshot);
    set
}

pub(super) fn update(request: &UpdateExecution) -> WriteSet<'_> {
    let UpdateExecution { owner, mode, mutation, new } = request;
    let run_id = mutation.execution.run_id;
    let mut set = owners_write_set("UpdateWorkflowExecution", *owner);
    set.current = match mode {
        UpdateMode::UpdateCurrent => Some(CurrentChange {
            id: mutation.current.filter(),
            expected: ExpectedCurrent::Run(run_id),
            write: Some(new.as_ref().map_or(&mutation.current, |new| &new.current)),
        }),
        UpdateMode::BypassCurrent => Some(CurrentChange {
            id: mutation.current.filter(),
            expected: ExpectedCurrent::AnyBut(run_id),
            write: None,
        }),
        UpdateMode::IgnoreCurrent => None,
    };
    add_mutation(&mut set, mutation);
    if let Some(new) = new {
        add_new(&mut set, new);
    }
    set
}

pub(super) fn conflict_resolve(request: &ConflictResolve) -> WriteSet<'_> {
    let ConflictResolve { owner, mode, reset, expected, new, current } = request;
    let mut set = owners_write_set("ConflictResolveWorkflowExecution", *owner);
    let (expected_current, write) = match mode {
        ConflictResolveMode::UpdateCurrent => {
            let was = current.as_ref().map_or(&reset.execution, |mutation| &mutation.execution);
            let row = new.as_ref().map_or(&reset.current, |new| &new.current);
            (ExpectedCurrent::Run(was.run_id), Some(row))
        }
        ConflictResolveMode::BypassCurrent => {
            (ExpectedCurrent::AnyBut(reset.execution.run_id), None)
        }
    };
    let id = reset.current.filter();
    set.current = Some(CurrentChange { id, expected: expected_current, write });
    set.runs.push(RunChange::Replace {
        row: &reset.execution,
        expected: *expected,
        maps: &reset.maps,
    });
    add_rest(&mut set, reset);
    if let Some(mutation) = current {
        add_mutation(&mut set, mutation);
    }
    if let Some(new) = new {
        add_new(&mut set, new);
    }
    set
}

pub(super) fn set(request: &SetExecution) -> WriteSet<'_> {
    let SetExecution { owner, snapshot, expected } = request;
    let mut set = owners_write_set("SetWorkflowExecution", *owner);
    set.runs.push(RunChange::Replace {
        row: &snapshot.execution,
        expected: *expected,
        maps: &snapshot.maps,
    });
    add_rest(&mut set, snapshot);
    set
}

/// An empty write set with the ownership condition of `owner`.
fn owners_write_set<'a>(op: &'static str, owner: Owner) -> WriteSet<'a> {
    WriteSet { range_id: Some(owner.range_id), ..WriteSet::new(op, owner.shard_id) }
}

fn add_new<'a>(set: &mut WriteSet<'a>, snapshot: &'a Snapshot) {
    set.runs.push(RunChange::Insert { row: &snapshot.execution, maps: &snapshot.maps });
    add_rest(set, snapshot);
}

/// Adds the tasks and the history of a snapshot.
fn add_rest<'a>(set: &mut WriteSet<'a>, snapshot: &'a Snapshot) {
    set.tasks.push(&snapshot.tasks);
    add_history(set, &snapshot.events);
}

fn add_mutation<'a>(set: &mut WriteSet<'a>, mutation: &'a Mutation) {
    set.runs.push(RunChange::Update {
        row: &mutation.execution,
        expected: mutation.expected,
        maps: &mutation.maps,
        buffered: &mutation.buffered,
    });
    set.tasks.push(&mutation.tasks);
    add_history(set, &mutation.events);
}

fn add_history<'a>(set: &mut WriteSet<'a>, events: &'a [AppendNodes]) {
    set.history.extend(events.iter().map(AppendNodes::change));
}
