//! The checks of a recorded history against the stored rows.

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
    history::{Completion, Deletion, History, Operation, OperationKind, Takeover, WrittenRows},
    workload::{Service, branch, range_id, task_ids},
};
use crate::context::owned_shard::SharedStore;

/// The stored rows at the end.
#[derive(Clone, Debug)]
pub(super) struct FinalState {
    pub(super) shard: ShardsRow,
    /// The ids of the stored tasks, each with the range id under which it was written.
    pub(super) present: BTreeMap<i64, i64>,
    /// The current execution of each id.
    pub(super) current: Vec<Option<CurrentExecutionsRow>>,
    pub(super) stored: BTreeMap<RunId, MutableStateRows>,
    /// The batches of each run's history, as node id and transaction id.
    pub(super) batches: BTreeMap<RunId, BTreeSet<(i64, i64)>>,
    /// The runs whose history has a recorded branch.
    pub(super) branches: BTreeSet<RunId>,
}

/// Reads everything that the history of `service` refers to.
pub(super) async fn read_final_state(service: &Service<'_>, store: &SharedStore) -> FinalState {
    let shard_id = service.shard.owner.shard_id;
    let executions = ExecutionStore::new(SharedStore::clone(store));
    let mut current = Vec::new();
    for id in &service.ids {
        current.push(executions.get_current(&id.filter()).await.unwrap());
    }
    let runs: BTreeMap<RunId, usize> = service
        .history()
        .operations
        .values()
        .map(|operation| (operation.run_id, operation.id))
        .collect();
    let mut stored = BTreeMap::new();
    let (mut batches, mut branches) = (BTreeMap::new(), BTreeSet::new());
    let histories = HistoryStore::new(SharedStore::clone(store));
    for (run_id, id) in runs {
        let branch = branch(run_id);
        if !histories.tree(shard_id, branch.tree_id).await.unwrap().is_empty() {
            branches.insert(run_id);
        }
        // All batches, including those that a reader of the history skips.
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
    FinalState { shard, present, current, stored, batches, branches }
}

/// The counts of what a history contains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) created: usize,
    pub(super) reused: usize,
    pub(super) updated: usize,
    pub(super) added: usize,
    pub(super) deleted: usize,
    pub(super) taken_over: usize,
    /// Operations with an unknown outcome.
    pub(super) unknown: usize,
    /// Commits that arrived after their clients had given up.
    pub(super) late_commits: usize,
    /// All operations, claims and deletions.
    pub(super) requested: usize,
    /// The transactions that began for them, including retries.
    pub(super) begun: usize,
}

impl Counts {
    /// The number of acknowledged operations.
    pub(super) const fn acknowledged(&self) -> usize {
        self.created + self.reused + self.updated + self.added
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.reused += other.reused;
        self.updated += other.updated;
        self.added += other.added;
        self.deleted += other.deleted;
        self.taken_over += other.taken_over;
        self.unknown += other.unknown;
        self.late_commits += other.late_commits;
        self.requested += other.requested;
        self.begun += other.begun;
    }
}

/// Checks a history against the final state.
pub(super) fn check_history(history: &History, found: &FinalState) -> Counts {
    let FinalState { shard, present, current, stored, .. } = found;
    check_acknowledged_and_failed_operations(history, present);
    let takeovers = check_takeovers(history, shard);
    check_deposed_owners_write_nothing(&takeovers, present);
    for (run_id, state) in stored {
        check_updates_of_run(history, present, *run_id, state);
    }
    check_runs_and_deletions(history, found);
    check_history_batches(history, found);
    for (id, row) in current.iter().enumerate() {
        check_current_executions(history, present, id, row.as_ref());
    }
    counts(history, takeovers.len())
}

fn counts(history: &History, taken_over: usize) -> Counts {
    let requested = history.operations.len() + history.takeovers.len() + history.delete_requests;
    let History { begun, late_commits, .. } = *history;
    let mut counts = Counts { taken_over, begun, late_commits, requested, ..Counts::default() };
    for operation in history.operations.values() {
        let count = match (operation.completion, operation.kind) {
            (Completion::Failed, _) => continue,
            (Completion::Unknown, _) => &mut counts.unknown,
            (Completion::Acknowledged, OperationKind::Create) => &mut counts.created,
            (Completion::Acknowledged, OperationKind::Reuse { .. }) => &mut counts.reused,
            (Completion::Acknowledged, OperationKind::Update { .. }) => &mut counts.updated,
            (Completion::Acknowledged, OperationKind::AddTask) => &mut counts.added,
        };
        *count += 1;
    }
    counts.deleted = history.deletions.values().filter(|deletion| deletion.of_run).count();
    counts
}

fn check_acknowledged_and_failed_operations(history: &History, present: &BTreeMap<i64, i64>) {
    for (task_id, operation) in &history.operations {
        let is_applied = present.contains_key(task_id);
        match operation.completion {
            Completion::Acknowledged => {
                assert!(is_applied, "{task_id} was acknowledged and not applied: {operation:?}")
            }
            Completion::Failed => {
                assert!(!is_applied, "{task_id} failed and was applied: {operation:?}")
            }
            Completion::Unknown => {}
        }
    }
    for (task_id, range_id) in present {
        let operation = history.operations.get(task_id);
        assert_eq!(
            operation.map(|operation| operation.range_id),
            Some(*range_id),
            "no operation has added {task_id}"
        );
    }
}

/// The applied claims, newest first: each has read the row of the one before it, down to the first
/// row of the shard. A claim with an unknown outcome was applied if the next one has read its row.
fn check_takeovers<'n>(history: &'n History, shard: &'n ShardsRow) -> Vec<&'n Takeover> {
    let mut applied = Vec::new();
    let mut row = shard;
    while Some(row) != history.first.as_ref() {
        let claim = history.takeovers.iter().find(|takeover| takeover.claim == *row);
        let claim = claim.unwrap_or_else(|| panic!("no claim has written {row:?}"));
        assert_ne!(
            claim.completion,
            Completion::Failed,
            "a claim failed and was applied: {claim:?}"
        );
        row = claim.found.as_ref().expect("an applied claim has read a row");
        assert_eq!(claim.claim.range_id, row.range_id + 1, "{claim:?}");
        applied.push(claim);
    }
    let done =
        history.takeovers.iter().filter(|takeover| takeover.completion == Completion::Acknowledged);
    for claim in done {
        let is_applied = applied.iter().any(|applied| applied.claim == claim.claim);
        assert!(is_applied, "a claim was acknowledged and not applied: {claim:?}");
    }
    applied
}

/// After a takeover, no task appears under an older range id.
fn check_deposed_owners_write_nothing(applied: &[&Takeover], present: &BTreeMap<i64, i64>) {
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

/// The applied operations on a run.
fn applied_to<'n>(
    history: &'n History,
    present: &BTreeMap<i64, i64>,
    run_id: RunId,
) -> BTreeMap<i64, &'n Operation> {
    let operations = history.operations.iter();
    operations
        .filter(|(task_id, operation)| operation.run_id == run_id && present.contains_key(task_id))
        .map(|(task_id, operation)| (*task_id, operation))
        .collect()
}

/// The rows that the last of these operations has written.
fn last_written<'n>(operations: &BTreeMap<i64, &'n Operation>) -> Option<&'n WrittenRows> {
    operations.values().max_by_key(|operation| operation.version())?.written.as_deref()
}

/// The applied updates of a run lead from each record version to the next, and the run has what
/// each of them wrote.
fn check_updates_of_run(
    history: &History,
    present: &BTreeMap<i64, i64>,
    run_id: RunId,
    state: &MutableStateRows,
) {
    let applied = applied_to(history, present, run_id);
    let mut versions: Vec<_> =
        applied.values().filter_map(|operation| operation.version()).collect();
    versions.sort_unstable();
    let expected: Vec<_> = (1..=state.execution.db_record_version).collect();
    assert_eq!(versions, expected, "record versions of {run_id}: {applied:?}");
    let last = last_written(&applied).map(|written| &written.execution);
    assert_eq!(Some(&state.execution), last, "the last write to {run_id} is lost");

    let MapEntries::Activities(entries) = &state.maps[0] else {
        panic!("the first map must be the activities");
    };
    let written: BTreeMap<_, _> =
        entries.iter().map(|entry| (entry.id, range_id(&entry.data))).collect();
    let expected: BTreeMap<_, _> =
        applied.iter().map(|(task_id, operation)| (*task_id, operation.range_id)).collect();
    assert_eq!(written, expected, "entries of {run_id}");
    assert_eq!(state.buffered.len() as i64, state.execution.db_record_version - 1);
}

/// A created run is stored unless its deletion was requested; if the deletion was acknowledged, the
/// run is absent.
fn check_runs_and_deletions(history: &History, found: &FinalState) {
    for (task_id, operation) in &history.operations {
        if matches!(operation.kind, OperationKind::Create | OperationKind::Reuse { .. })
            && found.present.contains_key(task_id)
            && !history.deletions.contains_key(&operation.run_id)
        {
            assert!(found.stored.contains_key(&operation.run_id), "a run is lost: {operation:?}");
        }
    }
    for (run_id, Deletion { of_current, of_run }) in &history.deletions {
        let is_current = found.current.iter().flatten().any(|row| row.run_id == *run_id);
        assert!(!(*of_current && is_current), "{run_id} was deleted and is current");
        let is_stored = found.stored.contains_key(run_id);
        assert!(!(*of_run && is_stored), "{run_id} was deleted and is stored");
    }
}

/// The history of a run has the batch of each applied operation and no other; it has a branch if
/// the creation of the run was applied.
fn check_history_batches(history: &History, found: &FinalState) {
    for (run_id, batches) in &found.batches {
        let applied = applied_to(history, &found.present, *run_id);
        let version = |(task_id, operation): (&i64, &&Operation)| {
            operation.version().map(|of| (of, *task_id))
        };
        let expected: BTreeSet<_> = applied.iter().filter_map(version).collect();
        assert_eq!(*batches, expected, "batches of {run_id}");
        let has_begun = applied.values().any(|operation| operation.version() == Some(1));
        assert_eq!(found.branches.contains(run_id), has_begun, "the branch of {run_id}");
    }
}

/// An id has at most one current execution at a time: each begins where the id had none, or
/// replaces the one before. The last one has the values that were written last.
fn check_current_executions(
    history: &History,
    present: &BTreeMap<i64, i64>,
    id: usize,
    current: Option<&CurrentExecutionsRow>,
) {
    let applied: Vec<_> = history
        .operations
        .iter()
        .filter(|(task_id, operation)| operation.id == id && present.contains_key(task_id))
        .map(|(_, operation)| operation)
        .collect();
    let mut begun = BTreeSet::new();
    let mut replaced = BTreeSet::new();
    for operation in applied {
        match operation.kind {
            OperationKind::Create => assert!(begun.insert(operation.run_id)),
            OperationKind::Reuse { previous } => {
                assert!(begun.insert(operation.run_id));
                assert!(replaced.insert(previous), "two runs replaced {previous}");
            }
            OperationKind::Update { .. } | OperationKind::AddTask => {}
        }
    }
    // Each created run was replaced, was deleted, or is the current one.
    let left: Vec<_> = begun
        .iter()
        .filter(|run_id| !replaced.contains(run_id) && !history.deletions.contains_key(run_id))
        .collect();
    assert!(left.len() <= 1, "several current executions of one id: {left:?}");
    if let Some(left) = left.first() {
        assert_eq!(current.map(|row| row.run_id), Some(**left), "the current execution was lost");
    }
    if let Some(row) = current {
        let run_id = row.run_id;
        assert!(begun.contains(&run_id), "{run_id} is current and was not created");
        assert!(!replaced.contains(&run_id), "{run_id} is current and was replaced");
        let applied = applied_to(history, present, run_id);
        let last = last_written(&applied).map(|written| &written.current);
        assert_eq!(Some(row), last, "the current execution is not the one written last");
    }
}
