//! Tests of the checker: forged histories with one violation each.

use std::collections::{BTreeMap, BTreeSet};

use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsRow, DataBlob, Encoding, ExecutionState, ExecutionStatus,
    ExecutionsRow, IdEntry, MapEntries, MapTable, NamespaceId, RequestId, RunId, ShardId,
    ShardsRow, WorkflowId,
};
use temporal_dsql_ports::MutableStateRows;
use uuid::Uuid;

use super::{
    checker::{Counts, FinalState, check_history},
    history::{Completion, Deletion, History, Operation, OperationKind, Takeover, WrittenRows},
};

fn blob(byte: u8) -> DataBlob {
    DataBlob::new([byte], Encoding::new("Proto3").unwrap())
}

/// The data that an operation under this range id writes.
fn tag(range_id: i64) -> DataBlob {
    DataBlob::new(range_id.to_be_bytes(), Encoding::new("Proto3").unwrap())
}

fn run(number: u128) -> RunId {
    RunId(Uuid::from_u128(number))
}

fn shard(range_id: i64) -> ShardsRow {
    ShardsRow { shard_id: ShardId(1), range_id, data: blob(range_id as u8) }
}

/// The rows that the operation with this task writes.
fn written(task_id: i64, run_id: RunId, version: i64) -> WrittenRows {
    let byte = task_id as u8;
    let current = CurrentExecutionsRow {
        shard_id: ShardId(1),
        namespace_id: NamespaceId(Uuid::nil()),
        workflow_id: WorkflowId::new("w").unwrap(),
        archetype_id: ArchetypeId::WORKFLOW,
        run_id,
        create_request_id: RequestId::new("").unwrap(),
        start_time: None,
        last_write_version: task_id,
        state: ExecutionState::Running,
        status: ExecutionStatus::Running,
        data: Some(vec![byte]),
        data_encoding: Encoding::new("Proto3").unwrap(),
    };
    let execution = ExecutionsRow {
        shard_id: current.shard_id,
        namespace_id: current.namespace_id,
        workflow_id: current.workflow_id.clone(),
        run_id,
        next_event_id: task_id,
        last_write_version: task_id,
        data: blob(byte),
        state: blob(byte),
        db_record_version: version,
    };
    WrittenRows { current, execution }
}

/// A valid history: run 1 is created and updated under range id 1, the shard is claimed, and run 2
/// replaces run 1 and is updated under range id 2.
struct ForgedHistory {
    history: History,
    found: FinalState,
}

impl ForgedHistory {
    fn new() -> Self {
        let mut forged = Self {
            history: History { first: Some(shard(1)), ..History::default() },
            found: FinalState {
                shard: shard(2),
                present: BTreeMap::new(),
                current: vec![None],
                stored: BTreeMap::new(),
                batches: BTreeMap::new(),
                branches: BTreeSet::new(),
            },
        };
        forged.add(1, OperationKind::Create, run(1), 1);
        forged.add(2, OperationKind::Update { from: 1 }, run(1), 1);
        forged.history.takeovers.push(Takeover {
            claim: shard(2),
            found: Some(shard(1)),
            tasks: Some(BTreeSet::from([1, 2])),
            completion: Completion::Acknowledged,
        });
        forged.add(3, OperationKind::Reuse { previous: run(1) }, run(2), 2);
        forged.add(4, OperationKind::Update { from: 1 }, run(2), 2);
        forged.history.begun = 5;
        forged
    }

    /// Adds an acknowledged operation with all its rows.
    fn add(&mut self, task_id: i64, kind: OperationKind, run_id: RunId, range_id: i64) {
        let version = if let OperationKind::Update { from } = kind { from + 1 } else { 1 };
        let written = written(task_id, run_id, version);
        self.found.present.insert(task_id, range_id);
        self.found.current[0] = Some(written.current.clone());
        self.found.batches.entry(run_id).or_default().insert((version, task_id));
        self.found.branches.insert(run_id);
        let state = self.found.stored.entry(run_id).or_insert_with(|| MutableStateRows {
            execution: written.execution.clone(),
            maps: MapTable::ALL.map(MapEntries::none).into(),
            buffered: Vec::new(),
        });
        state.execution = written.execution.clone();
        let MapEntries::Activities(entries) = &mut state.maps[0] else { unreachable!("the first") };
        entries.push(IdEntry { id: task_id, data: tag(range_id) });
        if matches!(kind, OperationKind::Update { .. }) {
            state.buffered.push(tag(range_id));
        }
        let written = Some(Box::new(written));
        let (id, completion, is_pending) = (0, Completion::Acknowledged, false);
        let operation = Operation { kind, id, run_id, range_id, written, completion, is_pending };
        self.history.operations.insert(task_id, operation);
    }

    fn finish(&mut self, task_id: i64, completion: Completion) {
        self.history.operations.get_mut(&task_id).unwrap().completion = completion;
    }

    /// Removes the rows of the operation with this task, as if it had not been applied.
    fn undo(&mut self, task_id: i64) {
        self.found.present.remove(&task_id);
        let run_id = self.history.operations[&task_id].run_id;
        let batches = self.found.batches.get_mut(&run_id).unwrap();
        batches.retain(|(_, txn_id)| *txn_id != task_id);
        let state = self.found.stored.get_mut(&run_id).unwrap();
        let MapEntries::Activities(entries) = &mut state.maps[0] else { unreachable!("the first") };
        entries.retain(|entry| entry.id != task_id);
    }

    fn check(&self) -> Counts {
        check_history(&self.history, &self.found)
    }
}

#[test]
fn a_valid_history_passes_and_is_counted() {
    let counts = ForgedHistory::new().check();
    assert_eq!((counts.created, counts.reused, counts.updated, counts.added), (1, 1, 2, 0));
    assert_eq!((counts.deleted, counts.taken_over, counts.unknown), (0, 1, 0));
    assert_eq!((counts.requested, counts.begun, counts.acknowledged()), (5, 5, 4));
}

#[test]
fn an_operation_with_an_unknown_outcome_may_be_applied_or_not() {
    let mut forged = ForgedHistory::new();
    forged.finish(4, Completion::Unknown);
    assert_eq!(forged.check().unknown, 1);
    forged.undo(4);
    let before = written(3, run(2), 1);
    forged.found.current[0] = Some(before.current);
    let state = forged.found.stored.get_mut(&run(2)).unwrap();
    state.execution = before.execution;
    state.buffered.clear();
    forged.check();
}

#[test]
#[should_panic(expected = "was acknowledged and not applied")]
fn an_acknowledged_operation_that_is_not_applied_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.present.remove(&2);
    forged.check();
}

#[test]
#[should_panic(expected = "failed and was applied")]
fn a_failed_operation_that_is_applied_is_found() {
    let mut forged = ForgedHistory::new();
    forged.finish(4, Completion::Failed);
    forged.check();
}

#[test]
#[should_panic(expected = "no operation has added 9")]
fn a_task_of_no_operation_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.present.insert(9, 1);
    forged.check();
}

#[test]
#[should_panic(expected = "record versions of")]
fn two_updates_of_one_version_are_found() {
    let mut forged = ForgedHistory::new();
    forged.add(5, OperationKind::Update { from: 1 }, run(2), 2);
    forged.check();
}

#[test]
#[should_panic(expected = "is lost")]
fn a_run_without_its_last_write_is_found() {
    let mut forged = ForgedHistory::new();
    let state = forged.found.stored.get_mut(&run(2)).unwrap();
    state.execution = ExecutionsRow { data: blob(9), ..state.execution.clone() };
    forged.check();
}

#[test]
#[should_panic(expected = "entries of")]
fn a_run_without_an_entry_that_was_added_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.stored.get_mut(&run(2)).unwrap().maps[0] = MapEntries::none(MapTable::Activities);
    forged.check();
}

#[test]
#[should_panic(expected = "the current execution is not the one written last")]
fn a_lost_update_of_a_current_execution_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.current[0] = Some(written(3, run(2), 1).current);
    forged.check();
}

#[test]
#[should_panic(expected = "two runs replaced")]
fn two_runs_that_replace_one_are_found() {
    let mut forged = ForgedHistory::new();
    forged.add(5, OperationKind::Reuse { previous: run(1) }, run(3), 2);
    forged.check();
}

#[test]
#[should_panic(expected = "several current executions of one id")]
fn two_current_executions_of_one_id_are_found() {
    let mut forged = ForgedHistory::new();
    forged.add(5, OperationKind::Create, run(3), 2);
    forged.check();
}

#[test]
#[should_panic(expected = "the current execution was lost")]
fn a_current_execution_that_is_lost_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.current[0] = None;
    forged.check();
}

#[test]
#[should_panic(expected = "is current and was replaced")]
fn a_current_execution_that_was_replaced_is_found() {
    let mut forged = ForgedHistory::new();
    forged.history.deletions.insert(run(2), Deletion::default());
    forged.found.current[0] = Some(written(2, run(1), 2).current);
    forged.check();
}

#[test]
#[should_panic(expected = "batches of")]
fn a_batch_that_is_lost_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.batches.get_mut(&run(2)).unwrap().remove(&(2, 4));
    forged.check();
}

#[test]
#[should_panic(expected = "batches of")]
fn a_batch_of_a_failed_operation_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.batches.get_mut(&run(2)).unwrap().insert((3, 5));
    forged.check();
}

#[test]
#[should_panic(expected = "the branch of")]
fn a_branch_of_a_run_that_was_not_created_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.batches.insert(run(3), BTreeSet::new());
    forged.found.branches.insert(run(3));
    forged.check();
}

#[test]
#[should_panic(expected = "a run is lost")]
fn a_missing_run_that_was_not_deleted_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.stored.remove(&run(1));
    forged.check();
}

#[test]
#[should_panic(expected = "was deleted and is current")]
fn a_deletion_that_left_the_current_execution_is_found() {
    let mut forged = ForgedHistory::new();
    forged.history.deletions.insert(run(2), Deletion { of_current: true, of_run: false });
    forged.check();
}

#[test]
#[should_panic(expected = "was deleted and is stored")]
fn a_deletion_that_left_the_run_is_found() {
    let mut forged = ForgedHistory::new();
    forged.history.deletions.insert(run(2), Deletion { of_current: true, of_run: true });
    forged.found.current[0] = None;
    forged.check();
}

#[test]
fn a_requested_deletion_may_be_applied_partly_or_not_at_all() {
    let mut forged = ForgedHistory::new();
    forged.history.deletions.insert(run(2), Deletion::default());
    forged.check();
    forged.found.current[0] = None;
    forged.check();
    forged.found.stored.remove(&run(2));
    forged.check();
}

#[test]
#[should_panic(expected = "written by deposed owners")]
fn a_write_by_a_deposed_owner_is_found() {
    let mut forged = ForgedHistory::new();
    forged.add(5, OperationKind::Update { from: 2 }, run(2), 1);
    forged.check();
}

#[test]
#[should_panic(expected = "a claim was acknowledged and not applied")]
fn two_owners_with_one_range_id_are_found() {
    let mut forged = ForgedHistory::new();
    let other = ShardsRow { data: blob(9), ..shard(2) };
    let claim = Takeover { claim: other, ..forged.history.takeovers[0].clone() };
    forged.history.takeovers.push(claim);
    forged.check();
}

#[test]
#[should_panic(expected = "a claim failed and was applied")]
fn a_failed_claim_that_is_applied_is_found() {
    let mut forged = ForgedHistory::new();
    forged.history.takeovers[0].completion = Completion::Failed;
    forged.check();
}

#[test]
#[should_panic(expected = "no claim has written")]
fn a_shard_row_of_no_claim_is_found() {
    let mut forged = ForgedHistory::new();
    forged.found.shard.data = blob(9);
    forged.check();
}

/// A history whose first claim has an unknown outcome, and whose next claim has read its row.
fn with_a_lost_claim() -> ForgedHistory {
    let mut forged = ForgedHistory::new();
    forged.history.takeovers[0].completion = Completion::Unknown;
    forged.history.takeovers.push(Takeover {
        claim: shard(3),
        found: Some(shard(2)),
        tasks: Some(BTreeSet::from([1, 2, 3, 4, 5])),
        completion: Completion::Acknowledged,
    });
    forged.found.shard = shard(3);
    forged
}

#[test]
fn a_claim_whose_answer_was_lost_counts_if_the_next_one_has_read_it() {
    assert_eq!(with_a_lost_claim().check().taken_over, 2);
}

#[test]
#[should_panic(expected = "written by deposed owners")]
fn a_late_write_after_a_claim_whose_answer_was_lost_is_found() {
    let mut forged = with_a_lost_claim();
    forged.add(5, OperationKind::Update { from: 2 }, run(2), 1);
    forged.check();
}
