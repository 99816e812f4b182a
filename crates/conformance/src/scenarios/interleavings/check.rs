//! What must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};

use temporal_dsql_domain::{MapEntries, RunId};
use temporal_dsql_ports::{
    MutableStateRows,
    stores::{ExecutionStore, TaskStore},
};

use super::clients::{Act, End, Kind, Notes, Service, range_id, task_ids};
use crate::world::owned::AnyStore;

/// Checks the history that `service` has written down against what is stored, and tells how many
/// acts were done.
pub(super) async fn check(service: &Service<'_>, store: &AnyStore) -> usize {
    let executions = ExecutionStore::new(AnyStore::clone(store));
    let tasks = TaskStore::new(AnyStore::clone(store));
    let present = task_ids(&tasks, service.owned.owner.shard_id).await;

    let mut current = Vec::new();
    for id in &service.ids {
        current.push(executions.get_current(&id.filter()).await.unwrap());
    }
    let runs: BTreeMap<RunId, usize> =
        service.notes().acts.values().map(|act| (act.run_id, act.id)).collect();
    let mut stored = BTreeMap::new();
    for (run_id, id) in runs {
        let mut key = service.ids[id].executions_filter();
        key.run_id = run_id;
        if let Some(state) = executions.get(&key).await.unwrap() {
            stored.insert(run_id, state);
        }
    }

    let notes = service.notes();
    what_was_acknowledged_is_there_and_what_was_refused_is_not(&notes, &present);
    nothing_is_written_under_a_range_id_after_the_next_was_claimed(&notes, &present);
    for (run_id, state) in &stored {
        no_update_is_lost(&notes, &present, *run_id, state);
    }
    for (id, row) in current.iter().enumerate() {
        let run_id = row.as_ref().map(|row| row.run_id);
        the_current_executions_follow_each_other(&notes, &present, id, run_id);
        if let Some(run_id) = run_id {
            let is_deleted = notes.deleted.contains(&run_id);
            assert!(stored.contains_key(&run_id) || is_deleted, "{run_id} is current and gone");
        }
    }
    notes.acts.values().filter(|act| act.end == End::Done).count()
}

fn what_was_acknowledged_is_there_and_what_was_refused_is_not(
    notes: &Notes,
    present: &BTreeMap<i64, i64>,
) {
    for (task_id, act) in &notes.acts {
        let is_there = present.contains_key(task_id);
        match act.end {
            End::Done => assert!(is_there, "{task_id} was acknowledged and is lost: {act:?}"),
            End::Refused => assert!(!is_there, "{task_id} failed and left a trace: {act:?}"),
            End::Unknown => {}
        }
    }
    let known: BTreeSet<_> = notes.acts.keys().collect();
    assert!(present.keys().all(|task_id| known.contains(task_id)));
}

/// What a new owner found under older range ids is all there will ever be.
fn nothing_is_written_under_a_range_id_after_the_next_was_claimed(
    notes: &Notes,
    present: &BTreeMap<i64, i64>,
) {
    let claimed: BTreeSet<_> = notes.takeovers.iter().map(|takeover| takeover.range_id).collect();
    assert_eq!(claimed.len(), notes.takeovers.len(), "two owners with one range id");
    for takeover in &notes.takeovers {
        let older: BTreeSet<_> = present
            .iter()
            .filter(|(_, range_id)| **range_id < takeover.range_id)
            .map(|(task_id, _)| *task_id)
            .collect();
        let late: Vec<_> = older.difference(&takeover.tasks).collect();
        assert!(late.is_empty(), "written by deposed owners after {takeover:?}: {late:?}");
    }
}

/// The updates of a run that were applied lead from each record version to the next, and the run
/// has what each of them wrote.
fn no_update_is_lost(
    notes: &Notes,
    present: &BTreeMap<i64, i64>,
    run_id: RunId,
    state: &MutableStateRows,
) {
    let applied: BTreeMap<i64, &Act> = notes
        .acts
        .iter()
        .filter(|(task_id, act)| act.run_id == run_id && present.contains_key(task_id))
        .map(|(task_id, act)| (*task_id, act))
        .collect();
    let mut versions: Vec<_> = applied
        .values()
        .map(|act| match act.kind {
            Kind::Update { from } => from + 1,
            _ => 1,
        })
        .collect();
    versions.sort_unstable();
    let expected: Vec<_> = (1..=state.execution.db_record_version).collect();
    assert_eq!(versions, expected, "record versions of {run_id}: {applied:?}");

    let MapEntries::Activities(entries) = &state.maps[0] else {
        panic!("the first map is the one of activities");
    };
    let written: BTreeMap<_, _> =
        entries.iter().map(|entry| (entry.id, range_id(&entry.data))).collect();
    let expected: BTreeMap<_, _> =
        applied.iter().map(|(task_id, act)| (*task_id, act.range_id)).collect();
    assert_eq!(written, expected, "entries of {run_id}");
    assert_eq!(state.buffered.len() as i64, state.execution.db_record_version - 1);
}

/// At most one current execution at a time: each one begins where the id had none, or where it
/// takes the place of the one before.
fn the_current_executions_follow_each_other(
    notes: &Notes,
    present: &BTreeMap<i64, i64>,
    id: usize,
    current: Option<RunId>,
) {
    let applied: Vec<_> = notes
        .acts
        .iter()
        .filter(|(task_id, act)| act.id == id && present.contains_key(task_id))
        .map(|(_, act)| act)
        .collect();
    let mut begun = BTreeSet::new();
    let mut replaced = BTreeSet::new();
    for act in applied {
        match act.kind {
            Kind::Create => assert!(begun.insert(act.run_id)),
            Kind::Reuse { previous } => {
                assert!(begun.insert(act.run_id));
                assert!(replaced.insert(previous), "two runs took the place of {previous}");
            }
            Kind::Update { .. } | Kind::AddTask => {}
        }
    }
    // Whatever was begun was replaced, was deleted, or is the current one.
    let left: Vec<_> = begun
        .iter()
        .filter(|run_id| !replaced.contains(run_id) && !notes.deleted.contains(run_id))
        .collect();
    assert!(left.len() <= 1, "several current executions of one id: {left:?}");
    if let Some(left) = left.first() {
        assert_eq!(current, Some(**left), "the current execution was lost");
    }
    if let Some(current) = current {
        assert!(begun.contains(&current), "{current} is current, and nobody has created it");
        assert!(!replaced.contains(&current), "{current} is current, and was replaced");
    }
}
