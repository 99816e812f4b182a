//! What must hold afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
};

use temporal_dsql_domain::{
    CurrentExecutionsRow, MapEntries, NodeOrder, NodePage, RunId, ShardsRow,
};
use temporal_dsql_ports::MutableStateRows;
use temporal_dsql_stores::{ExecutionStore, HistoryStore, ShardStore, TaskStore};

use super::{
    clients::{Service, branch, range_id, task_ids},
    notes::{Act, Deletion, End, Kind, Notes, Takeover, Written},
};
use crate::context::owned_shard::SharedStore;

/// What is stored in the end.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) shard: ShardsRow,
    /// The ids of the tasks that are there, each with the range id it was written under.
    pub(super) present: BTreeMap<i64, i64>,
    /// The current execution of each id.
    pub(super) current: Vec<Option<CurrentExecutionsRow>>,
    pub(super) stored: BTreeMap<RunId, MutableStateRows>,
    /// The batches of each run's history, as node and transaction.
    pub(super) batches: BTreeMap<RunId, BTreeSet<(i64, i64)>>,
    /// The runs whose histories have a branch.
    pub(super) branches: BTreeSet<RunId>,
}

/// Looks at everything that the notes of `service` are about.
pub(super) async fn look(service: &Service<'_>, store: &SharedStore) -> Found {
    let shard_id = service.owned.owner.shard_id;
    let executions = ExecutionStore::new(SharedStore::clone(store));
    let mut current = Vec::new();
    for id in &service.ids {
        current.push(executions.get_current(&id.filter()).await.unwrap());
    }
    let runs: BTreeMap<RunId, usize> =
        service.notes().acts.values().map(|act| (act.run_id, act.id)).collect();
    let mut stored = BTreeMap::new();
    let (mut batches, mut branches) = (BTreeMap::new(), BTreeSet::new());
    let histories = HistoryStore::new(SharedStore::clone(store));
    for (run_id, id) in runs {
        let branch = branch(run_id);
        if !histories.tree(shard_id, branch.tree_id).await.unwrap().is_empty() {
            branches.insert(run_id);
        }
        // All of them, also those that a reader of the history would skip.
        let all = NodePage {
            min_node_id: i64::MIN,
            max_node_id: i64::MAX,
            order: NodeOrder::Forward,
            after: None,
            limit: 10_000,
        };
        let mut session = store.session();
        let nodes = session.range_select_from_history_node(&branch.key(shard_id), &all).await;
        let nodes = nodes.unwrap().into_iter().map(|node| (node.node_id, node.txn_id)).collect();
        batches.insert(run_id, nodes);
        let mut key = service.ids[id].executions_filter();
        key.run_id = run_id;
        if let Some(state) = executions.get(&key).await.unwrap() {
            stored.insert(run_id, state);
        }
    }
    let shard = ShardStore::new(SharedStore::clone(store)).get(shard_id).await.unwrap();
    let present = task_ids(&TaskStore::new(SharedStore::clone(store)), shard_id).await;
    let shard = shard.expect("the shard");
    Found { shard, present, current, stored, batches, branches }
}

/// How much of what has happened: what a history is worth.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) created: usize,
    pub(super) reused: usize,
    pub(super) updated: usize,
    pub(super) added: usize,
    pub(super) deleted: usize,
    pub(super) taken_over: usize,
    /// Acts whose end their clients never learned.
    pub(super) unknown: usize,
    /// Acts that were applied after their clients had given up.
    pub(super) arrived: usize,
    /// Acts, claims and deletions.
    pub(super) asked: usize,
    /// The transactions that began for them, each attempt counted.
    pub(super) begun: usize,
}

impl Tally {
    /// The acts that were acknowledged.
    pub(super) const fn done(&self) -> usize {
        self.created + self.reused + self.updated + self.added
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.reused += other.reused;
        self.updated += other.updated;
        self.added += other.added;
        self.deleted += other.deleted;
        self.taken_over += other.taken_over;
        self.unknown += other.unknown;
        self.arrived += other.arrived;
        self.asked += other.asked;
        self.begun += other.begun;
    }
}

/// Checks a history against what was found.
pub(super) fn check(notes: &Notes, found: &Found) -> Tally {
    let Found { shard, present, current, stored, .. } = found;
    what_was_acknowledged_is_there_and_what_was_refused_is_not(notes, present);
    let takeovers = the_owners_follow_each_other(notes, shard);
    nothing_is_written_under_a_range_id_after_the_next_was_claimed(&takeovers, present);
    for (run_id, state) in stored {
        no_update_is_lost(notes, present, *run_id, state);
    }
    no_run_is_lost_and_what_is_deleted_is_gone(notes, found);
    every_batch_is_of_an_act_that_was_applied(notes, found);
    for (id, row) in current.iter().enumerate() {
        the_current_executions_follow_each_other(notes, present, id, row.as_ref());
    }
    tally(notes, takeovers.len())
}

fn tally(notes: &Notes, taken_over: usize) -> Tally {
    let asked = notes.acts.len() + notes.takeovers.len() + notes.deleting;
    let Notes { begun, arrived, .. } = *notes;
    let mut tally = Tally { taken_over, begun, arrived, asked, ..Tally::default() };
    for act in notes.acts.values() {
        let count = match (act.end, act.kind) {
            (End::Refused, _) => continue,
            (End::Unknown, _) => &mut tally.unknown,
            (End::Done, Kind::Create) => &mut tally.created,
            (End::Done, Kind::Reuse { .. }) => &mut tally.reused,
            (End::Done, Kind::Update { .. }) => &mut tally.updated,
            (End::Done, Kind::AddTask) => &mut tally.added,
        };
        *count += 1;
    }
    tally.deleted = notes.deletions.values().filter(|deletion| deletion.of_run).count();
    tally
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
    for (task_id, range_id) in present {
        let act = notes.acts.get(task_id);
        assert_eq!(act.map(|act| act.range_id), Some(*range_id), "nobody has added {task_id} so");
    }
}

/// The claims that were applied, the last one first: each has found the one before it, down to the
/// first row of the shard. A claim whose answer was lost was applied if the next one has found it.
fn the_owners_follow_each_other<'n>(notes: &'n Notes, shard: &'n ShardsRow) -> Vec<&'n Takeover> {
    let mut applied = Vec::new();
    let mut row = shard;
    while Some(row) != notes.first.as_ref() {
        let claim = notes.takeovers.iter().find(|takeover| takeover.claim == *row);
        let claim = claim.unwrap_or_else(|| panic!("nobody has claimed the shard as {row:?}"));
        assert_ne!(claim.end, End::Refused, "a claim failed and left a trace: {claim:?}");
        row = claim.found.as_ref().expect("a claim that was applied has found a row");
        assert_eq!(claim.claim.range_id, row.range_id + 1, "{claim:?}");
        applied.push(claim);
    }
    let done = notes.takeovers.iter().filter(|takeover| takeover.end == End::Done);
    for claim in done {
        let is_applied = applied.iter().any(|applied| applied.claim == claim.claim);
        assert!(is_applied, "a claim was acknowledged and is lost: {claim:?}");
    }
    applied
}

/// What a new owner found under older range ids is all there will ever be.
fn nothing_is_written_under_a_range_id_after_the_next_was_claimed(
    applied: &[&Takeover],
    present: &BTreeMap<i64, i64>,
) {
    for takeover in applied {
        let Some(tasks) = &takeover.tasks else { continue };
        let older: BTreeSet<_> = present
            .iter()
            .filter(|(_, range_id)| **range_id < takeover.claim.range_id)
            .map(|(task_id, _)| *task_id)
            .collect();
        let late: Vec<_> = older.difference(tasks).collect();
        assert!(late.is_empty(), "written by deposed owners after {takeover:?}: {late:?}");
    }
}

/// The acts on a run that were applied.
fn applied_to<'n>(
    notes: &'n Notes,
    present: &BTreeMap<i64, i64>,
    run_id: RunId,
) -> BTreeMap<i64, &'n Act> {
    let acts = notes.acts.iter();
    acts.filter(|(task_id, act)| act.run_id == run_id && present.contains_key(task_id))
        .map(|(task_id, act)| (*task_id, act))
        .collect()
}

/// The rows that the last one of these acts has written.
fn last_written<'n>(acts: &BTreeMap<i64, &'n Act>) -> Option<&'n Written> {
    acts.values().max_by_key(|act| act.version())?.written.as_deref()
}

/// The updates of a run that were applied lead from each record version to the next, and the run
/// has what each of them wrote.
fn no_update_is_lost(
    notes: &Notes,
    present: &BTreeMap<i64, i64>,
    run_id: RunId,
    state: &MutableStateRows,
) {
    let applied = applied_to(notes, present, run_id);
    let mut versions: Vec<_> = applied.values().filter_map(|act| act.version()).collect();
    versions.sort_unstable();
    let expected: Vec<_> = (1..=state.execution.db_record_version).collect();
    assert_eq!(versions, expected, "record versions of {run_id}: {applied:?}");
    let last = last_written(&applied).map(|written| &written.execution);
    assert_eq!(Some(&state.execution), last, "what was written last of {run_id} is lost");

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

/// A run that was created is there, unless somebody asked for its deletion; and if that was
/// acknowledged, it is not.
fn no_run_is_lost_and_what_is_deleted_is_gone(notes: &Notes, found: &Found) {
    for (task_id, act) in &notes.acts {
        if matches!(act.kind, Kind::Create | Kind::Reuse { .. })
            && found.present.contains_key(task_id)
            && !notes.deletions.contains_key(&act.run_id)
        {
            assert!(found.stored.contains_key(&act.run_id), "a run is lost: {act:?}");
        }
    }
    for (run_id, Deletion { of_current, of_run }) in &notes.deletions {
        let is_current = found.current.iter().flatten().any(|row| row.run_id == *run_id);
        assert!(!(*of_current && is_current), "{run_id} was deleted and is current");
        let is_stored = found.stored.contains_key(run_id);
        assert!(!(*of_run && is_stored), "{run_id} was deleted and is stored");
    }
}

/// The history of a run has the batch of each act that was applied to it, and no other; and it has a
/// branch if the act that creates the run was applied.
fn every_batch_is_of_an_act_that_was_applied(notes: &Notes, found: &Found) {
    for (run_id, batches) in &found.batches {
        let applied = applied_to(notes, &found.present, *run_id);
        let version = |(task_id, act): (&i64, &&Act)| act.version().map(|of| (of, *task_id));
        let expected: BTreeSet<_> = applied.iter().filter_map(version).collect();
        assert_eq!(*batches, expected, "batches of {run_id}");
        let has_begun = applied.values().any(|act| act.version() == Some(1));
        assert_eq!(found.branches.contains(run_id), has_begun, "the branch of {run_id}");
    }
}

/// At most one current execution at a time: each one begins where the id had none, or where it
/// takes the place of the one before. The last one is as it was written last.
fn the_current_executions_follow_each_other(
    notes: &Notes,
    present: &BTreeMap<i64, i64>,
    id: usize,
    current: Option<&CurrentExecutionsRow>,
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
        .filter(|run_id| !replaced.contains(run_id) && !notes.deletions.contains_key(run_id))
        .collect();
    assert!(left.len() <= 1, "several current executions of one id: {left:?}");
    if let Some(left) = left.first() {
        assert_eq!(current.map(|row| row.run_id), Some(**left), "the current execution was lost");
    }
    if let Some(row) = current {
        let run_id = row.run_id;
        assert!(begun.contains(&run_id), "{run_id} is current, and nobody has created it");
        assert!(!replaced.contains(&run_id), "{run_id} is current, and was replaced");
        let applied = applied_to(notes, present, run_id);
        let last = last_written(&applied).map(|written| &written.current);
        assert_eq!(Some(row), last, "the current execution is not what was written last");
    }
}
