//! Tests of [`WriteSet::check`] with every combination of conditions and observed states.

use temporal_dsql_domain::{
    CurrentExecutionsRow, ExecutionState, ExecutionVersion, ExecutionsFilter, ExecutionsRow, RunId,
    ShardId, Table, Tasks,
};
use uuid::Uuid;

use crate::{
    BufferedWrite, ConditionFailed, CurrentChange, Expected, ExpectedCurrent, Observed, RowCounts,
    RunChange, StoreError, WriteSet,
    testing::{current_executions_row, executions_row},
};

const SHARD: ShardId = ShardId(3);
const A: RunId = RunId(Uuid::from_u128(1));
const B: RunId = RunId(Uuid::from_u128(2));
const C: RunId = RunId(Uuid::from_u128(3));
const BUFFERED: &BufferedWrite = &BufferedWrite { clear: false, append: Vec::new() };

fn row(run_id: RunId) -> ExecutionsRow {
    ExecutionsRow { run_id, ..executions_row() }
}

fn current(run_id: RunId, state: ExecutionState) -> CurrentExecutionsRow {
    CurrentExecutionsRow { run_id, state, ..current_executions_row() }
}

/// Range ids: expected, observed, and whether the condition holds.
const OWNERS: [(Option<i64>, Option<i64>, bool); 6] = [
    (None, None, true),
    (None, Some(7), true),
    (Some(7), Some(7), true),
    (Some(7), Some(8), false),
    (Some(7), Some(6), false),
    (Some(7), None, false),
];

/// An observed current execution: its run and state, and the last write version of its run if the
/// run exists.
type ObservedCurrent = Option<(RunId, ExecutionState, Option<i64>)>;

/// A condition on the current execution, the observed one, and whether the condition holds.
fn currents() -> Vec<(Option<ExpectedCurrent>, ObservedCurrent, bool)> {
    use ExecutionState::{Completed, Running};

    let found: [ObservedCurrent; 7] = [
        None,
        Some((A, Running, Some(11))),
        Some((A, Completed, Some(11))),
        Some((A, Completed, Some(12))),
        Some((A, Completed, None)),
        Some((B, Running, Some(11))),
        Some((B, Completed, Some(11))),
    ];
    let closed = ExpectedCurrent::Closed { run_id: A, last_write_version: 11 };
    let expected = [
        (None, [true; 7]),
        (Some(ExpectedCurrent::Absent), [true, false, false, false, false, false, false]),
        (Some(ExpectedCurrent::Run(A)), [false, true, true, true, true, false, false]),
        (Some(closed), [false, false, true, false, false, false, false]),
        (Some(ExpectedCurrent::AnyBut(A)), [true, false, false, false, false, true, true]),
    ];
    expected
        .into_iter()
        .flat_map(|(expected, holds)| {
            found.into_iter().zip(holds).map(move |(found, holds)| (expected, found, holds))
        })
        .collect()
}

/// The kind of a change of a run.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Insert,
    Update(Expected),
    Replace(Expected),
    Delete,
}

/// The change of a run, its observed versions, and whether the condition holds.
fn runs() -> Vec<(Kind, Option<ExecutionVersion>, bool)> {
    let version = |db_record_version, next_event_id| {
        Some(ExecutionVersion { db_record_version, next_event_id, last_write_version: 11 })
    };
    let (record, event) = (Expected::RecordVersion(4), Expected::NextEventId(39));
    // Absent, at both, at the one, at the other, at none of them.
    let found = [None, version(4, 39), version(4, 38), version(5, 39), version(5, 40)];
    let kinds = [
        (Kind::Insert, [true, false, false, false, false]),
        (Kind::Update(record), [false, true, true, false, false]),
        (Kind::Update(event), [false, true, false, true, false]),
        (Kind::Replace(record), [false, true, true, false, false]),
        (Kind::Replace(event), [false, true, false, true, false]),
        (Kind::Delete, [true; 5]),
    ];
    kinds
        .into_iter()
        .flat_map(|(kind, holds)| {
            found.into_iter().zip(holds).map(move |(found, holds)| (kind, found, holds))
        })
        .collect()
}

/// The error of a run's condition.
fn failure(kind: Kind, run_id: RunId, observed: Option<ExecutionVersion>) -> ConditionFailed {
    match kind {
        Kind::Insert => ConditionFailed::ExecutionExists { run_id },
        _ => ConditionFailed::Execution { run_id, observed },
    }
}

fn change<'a>(kind: Kind, row: &'a ExecutionsRow, key: &'a ExecutionsFilter) -> RunChange<'a> {
    match kind {
        Kind::Insert => RunChange::Insert { row, maps: &[] },
        Kind::Update(expected) => {
            RunChange::Update { row, expected, maps: &[], buffered: BUFFERED }
        }
        Kind::Replace(expected) => RunChange::Replace { row, expected, maps: &[] },
        Kind::Delete => RunChange::Delete(key),
    }
}

/// The order is: owner, current execution, runs. The write set writes the runs B and C, so the run
/// of the current execution is one of them or not.
#[test]
fn check_returns_the_first_condition_that_does_not_hold() {
    let rows = [row(B), row(C)];
    let keys = [rows[0].filter(), rows[1].filter()];
    let mut combinations = 0;
    for (range_id, owner, is_owned) in OWNERS {
        for (expected, found, is_current) in currents() {
            for (first, first_found, first_holds) in runs() {
                for (second, second_found, second_holds) in runs() {
                    let mut set = WriteSet::new("Test", SHARD);
                    set.range_id = range_id;
                    set.current = expected.map(|expected| CurrentChange {
                        id: current(A, ExecutionState::Running).filter(),
                        expected,
                        write: None,
                    });
                    set.runs.push(change(first, &rows[0], &keys[0]));
                    set.runs.push(change(second, &rows[1], &keys[1]));
                    let versions = [(B, first_found), (C, second_found)];
                    let version = |last_write_version| ExecutionVersion {
                        db_record_version: 1,
                        next_event_id: 1,
                        last_write_version,
                    };
                    let observed = Observed {
                        range_id: owner,
                        current: found.map(|(run_id, state, _)| current(run_id, state)),
                        current_run: found.and_then(|(.., version)| version).map(version),
                        runs: versions
                            .into_iter()
                            .filter_map(|(run_id, found)| found.map(|found| (run_id, found)))
                            .collect(),
                        ..Observed::default()
                    };
                    let stored = found.map(|(run_id, state, version)| {
                        let row = current(run_id, state);
                        let last_write_version = version.unwrap_or(row.last_write_version);
                        Box::new(CurrentExecutionsRow { last_write_version, ..row })
                    });
                    let failures = [
                        (
                            is_owned,
                            ConditionFailed::ShardOwnershipLost {
                                shard_id: SHARD,
                                expected: range_id.unwrap_or_default(),
                                observed: owner,
                            },
                        ),
                        (is_current, ConditionFailed::CurrentExecution { observed: stored }),
                        (first_holds, failure(first, B, first_found)),
                        (second_holds, failure(second, C, second_found)),
                    ];
                    let failed = failures.into_iter().find(|(holds, _)| !holds);
                    let expected = failed.map_or(Ok(()), |(_, failure)| Err(failure));
                    assert_eq!(set.check(&observed), expected, "{set:?} {observed:?}");
                    combinations += 1;
                }
            }
        }
    }
    assert_eq!(combinations, 6 * 35 * 30 * 30);
}

#[test]
fn observed_runs_are_the_written_runs_and_the_run_that_must_be_closed() {
    let (row_b, key_c) = (row(B), row(C).filter());
    let mut set = WriteSet::new("Test", SHARD);
    set.runs.push(RunChange::Insert { row: &row_b, maps: &[] });
    set.runs.push(RunChange::Delete(&key_c));
    assert_eq!(set.observed_runs().into_iter().collect::<Vec<_>>(), [B]);
    let of = |expected| CurrentChange {
        id: current(A, ExecutionState::Running).filter(),
        expected,
        write: None,
    };
    set.current = Some(of(ExpectedCurrent::Run(A)));
    assert_eq!(set.observed_runs().into_iter().collect::<Vec<_>>(), [B]);
    let closed = ExpectedCurrent::Closed { run_id: A, last_write_version: 11 };
    set.current = Some(of(closed));
    assert_eq!(set.observed_runs().into_iter().collect::<Vec<_>>(), [A, B]);
}

#[test]
fn an_unexpected_number_of_written_rows_is_an_error() {
    let (row_b, key_c) = (row(B), row(C).filter());
    let next = current(B, ExecutionState::Created);
    let tasks = Tasks::default();
    let mut set = WriteSet::new("Test", SHARD);
    set.runs.push(RunChange::Insert { row: &row_b, maps: &[] });
    set.runs.push(RunChange::Delete(&key_c));
    set.tasks.push(&tasks);
    set.current = Some(CurrentChange {
        id: next.filter(),
        expected: ExpectedCurrent::Absent,
        write: Some(&next),
    });
    let right = RowCounts { runs: 1, current: 1, tasks: 0 };
    set.verify(right).unwrap();
    for wrong in [
        RowCounts { runs: 0, ..right },
        RowCounts { runs: 2, ..right },
        RowCounts { current: 0, ..right },
        RowCounts { tasks: 1, ..right },
    ] {
        let error = set.verify(wrong).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }
}

/// A run and a current execution were observed as absent, so a concurrent transaction has inserted
/// them. The ids of tasks belong to the shard's owner, who must be informed of a duplicate.
#[test]
fn a_duplicate_row_is_a_conflict_unless_it_is_a_task() {
    let set = WriteSet::new("Test", SHARD);
    let duplicate = |table| set.duplicate(StoreError::AlreadyExists { table, source: None });
    for table in [
        Table::Executions,
        Table::CurrentExecutions,
        Table::CurrentChasmExecutions,
        Table::BufferedEvents,
    ] {
        let error = duplicate(table);
        assert!(matches!(error, StoreError::Conflict { op: "Test", .. }), "{error:?}");
    }
    for table in [Table::TransferTasks, Table::TimerTasks, Table::HistoryImmediateTasks] {
        let error = duplicate(table);
        assert!(
            matches!(error, StoreError::AlreadyExists { table: of, .. } if of == table),
            "{error:?}"
        );
    }
}
