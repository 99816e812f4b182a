//! The guard of the statement of a write, on PostgreSQL: it holds if and only if
//! [`WriteSet::check`] passes for the state that the statement has read, and rows change if and
//! only if it holds.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Executor, PgConnection, Row};
use temporal_dsql_domain::{
    ArchetypeId, BranchId, BranchKey, ClusterName, CurrentExecutionsRow, ExecutionState,
    ExecutionVersion, ExecutionsRow, HistoryNode, HistoryTreeRow, ImmediateQueue, ImmediateTask,
    MapEntries, MapTable, RunId, ScheduledKey, ScheduledQueue, ScheduledTask, ShardId,
    TaskCategory, Tasks, Timestamp, TreeId,
};
use temporal_dsql_ports::{
    ArchetypeRouter, BufferedWrite, ConditionFailed, CurrentChange, Expected, ExpectedCurrent,
    HistoryChange, MapWrite, Observed, RunChange, StoreError, WriteSet,
};
use uuid::Uuid;

use super::{
    super::{
        many_runs_tests::connect,
        test_rows::{SHARD, blob, current_row, entries, run},
    },
    apply::OneStatement,
    decode,
};

const NO_SHARD: ShardId = ShardId(2);
const RANGE_ID: i64 = 5;
/// The version of every stored run.
const STORED: ExecutionVersion =
    ExecutionVersion { db_record_version: 10, next_event_id: 20, last_write_version: 30 };
/// A current execution that has no `executions` row.
const WITHOUT_RUN: RunId = RunId(Uuid::from_u128(500));

/// The stored run at one of the three positions of a write.
const fn stored_run(position: usize) -> RunId {
    RunId(Uuid::from_u128(100 + position as u128))
}

const fn absent_run(position: usize) -> RunId {
    RunId(Uuid::from_u128(200 + position as u128))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Right,
    Wrong,
    WithoutShard,
    Unguarded,
}

const OWNERS: [Owner; 4] = [Owner::Right, Owner::Wrong, Owner::WithoutShard, Owner::Unguarded];

/// The stored current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    Absent,
    /// The first stored run, in this state.
    First(ExecutionState),
    /// A closed run without an `executions` row.
    WithoutRun,
}

const CURRENTS: [Current; 4] = [
    Current::Absent,
    Current::First(ExecutionState::Running),
    Current::First(ExecutionState::Completed),
    Current::WithoutRun,
];

impl Current {
    fn row(self, archetype_id: ArchetypeId) -> Option<CurrentExecutionsRow> {
        let (run_id, state) = match self {
            Self::Absent => return None,
            Self::First(state) => (stored_run(0), state),
            Self::WithoutRun => (WITHOUT_RUN, ExecutionState::Completed),
        };
        Some(current_row(archetype_id, run_id, state))
    }
}

/// The conditions of a write on the current execution.
fn expectations() -> Vec<Option<ExpectedCurrent>> {
    let closed = |run_id, off| ExpectedCurrent::Closed {
        run_id,
        last_write_version: STORED.last_write_version + off,
    };
    let (first, without) = (stored_run(0), WITHOUT_RUN);
    let some = [
        ExpectedCurrent::Absent,
        ExpectedCurrent::Run(first),
        ExpectedCurrent::Run(without),
        closed(first, 0),
        closed(first, 1),
        closed(without, 0),
        ExpectedCurrent::AnyBut(first),
        ExpectedCurrent::AnyBut(without),
    ];
    [None].into_iter().chain(some.map(Some)).collect()
}

/// The change of one run by a write.
///
/// A run for which no version is expected does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Insert { is_stored: bool },
    Update { expected: Option<Expected> },
    Replace { expected: Option<Expected> },
}

/// A condition on the record version: the stored one, or another one.
const fn record_version(difference: i64) -> Option<Expected> {
    Some(Expected::RecordVersion(STORED.db_record_version + difference))
}

const fn next_event_id(difference: i64) -> Option<Expected> {
    Some(Expected::NextEventId(STORED.next_event_id + difference))
}

/// Every change of one run.
fn changes() -> Vec<Change> {
    let inserts = [false, true].map(|is_stored| Change::Insert { is_stored });
    let versions = [record_version(0), record_version(1), next_event_id(0), next_event_id(1), None];
    let updates = versions.map(|expected| Change::Update { expected });
    let replacements = versions.map(|expected| Change::Replace { expected });
    inserts.into_iter().chain(updates).chain(replacements).collect()
}

/// One change of each kind that may be done, and one that may not.
const SOME_CHANGES: [Change; 6] = [
    Change::Insert { is_stored: false },
    Change::Insert { is_stored: true },
    Change::Update { expected: next_event_id(0) },
    Change::Update { expected: record_version(1) },
    Change::Replace { expected: record_version(0) },
    Change::Replace { expected: None },
];

/// Every list of `positions` changes.
fn lists(positions: usize) -> Vec<Vec<Change>> {
    let mut lists = vec![Vec::new()];
    for _ in 0..positions {
        lists = lists
            .iter()
            .flat_map(|list| SOME_CHANGES.map(|change| [&list[..], &[change]].concat()))
            .collect();
    }
    lists
}

/// A write: its owner, its conditions and its changes.
#[derive(Debug)]
struct Case {
    owner: Owner,
    archetype_id: ArchetypeId,
    expected: Option<ExpectedCurrent>,
    changes: Vec<Change>,
}

/// The rows that a write writes: at least one into every table.
struct Written {
    rows: Vec<ExecutionsRow>,
    current: CurrentExecutionsRow,
    maps: Vec<MapEntries>,
    map_writes: Vec<MapWrite>,
    buffered: BufferedWrite,
    tasks: Tasks,
    node: HistoryNode,
    branch: BranchKey,
}

impl Written {
    fn of(case: &Case) -> Self {
        let shard_id = case.shard_id();
        let row = |(position, change): (usize, &Change)| {
            let is_stored = match change {
                Change::Insert { is_stored } => *is_stored,
                Change::Update { expected } | Change::Replace { expected } => expected.is_some(),
            };
            let run_id = if is_stored { stored_run(position) } else { absent_run(position) };
            ExecutionsRow { shard_id, ..run(run_id, 99) }
        };
        let maps = MapTable::ALL.map(|map| entries(map, &[1, 2]));
        let map_write =
            |map| MapWrite { remove: entries(map, &[3]).keys(), replace: entries(map, &[4]) };
        let task = ImmediateTask { task_id: 1, data: blob(1) };
        let scheduled = ScheduledTask {
            key: ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id: 1 },
            data: blob(1),
        };
        let immediate = [
            ImmediateQueue::Transfer,
            ImmediateQueue::Visibility,
            ImmediateQueue::Replication,
            ImmediateQueue::ReplicationDlq(ClusterName::new("cluster").unwrap()),
            ImmediateQueue::Category(TaskCategory::OUTBOUND),
        ];
        let id = Uuid::from_u128(1);
        let next = current_row(case.archetype_id, RunId(id), ExecutionState::Running);
        Self {
            rows: case.changes.iter().enumerate().map(row).collect(),
            current: CurrentExecutionsRow { shard_id, ..next },
            maps: maps.into(),
            map_writes: MapTable::ALL.map(map_write).into(),
            buffered: BufferedWrite { clear: true, append: vec![blob(1)] },
            tasks: Tasks {
                immediate: immediate.map(|queue| (queue, vec![task.clone()])).into(),
                scheduled: [
                    ScheduledQueue::Timer,
                    ScheduledQueue::Category(TaskCategory::ARCHIVAL),
                ]
                .map(|queue| (queue, vec![scheduled.clone()]))
                .into(),
            },
            node: HistoryNode { node_id: 1, txn_id: 1, prev_txn_id: 0, data: blob(1) },
            branch: BranchKey { shard_id, tree_id: TreeId(id), branch_id: BranchId(id) },
        }
    }
}

impl Case {
    const fn shard_id(&self) -> ShardId {
        match self.owner {
            Owner::WithoutShard => NO_SHARD,
            Owner::Right | Owner::Wrong | Owner::Unguarded => SHARD,
        }
    }

    /// Whether the write changes the current execution, if it may.
    fn writes_current(&self) -> bool {
        self.expected.is_some_and(|expected| !matches!(expected, ExpectedCurrent::AnyBut(_)))
    }

    fn write_set<'a>(&self, written: &'a Written) -> WriteSet<'a> {
        let mut set = WriteSet::new("Guarded", self.shard_id());
        set.range_id = match self.owner {
            Owner::Right | Owner::WithoutShard => Some(RANGE_ID),
            Owner::Wrong => Some(RANGE_ID - 1),
            Owner::Unguarded => None,
        };
        set.current = self.expected.map(|expected| CurrentChange {
            id: written.current.filter(),
            expected,
            write: self.writes_current().then_some(&written.current),
        });
        let expected = |expected: Option<Expected>| expected.or(record_version(0)).unwrap();
        let (maps, buffered) = (&written.maps[..], &written.buffered);
        set.runs = self
            .changes
            .iter()
            .zip(&written.rows)
            .map(|(change, row)| match *change {
                Change::Insert { .. } => RunChange::Insert { row, maps },
                Change::Update { expected: version } => RunChange::Update {
                    row,
                    expected: expected(version),
                    maps: &written.map_writes,
                    buffered,
                },
                Change::Replace { expected: version } => {
                    RunChange::Replace { row, expected: expected(version), maps }
                }
            })
            .collect();
        set.tasks.push(&written.tasks);
        set.history.push(HistoryChange {
            branch: written.branch,
            node: &written.node,
            tree: Some(HistoryTreeRow { branch: written.branch, data: blob(1) }),
        });
        set
    }

    /// The state that the statement must read.
    fn observed(&self, set: &WriteSet<'_>, current: Current) -> Observed {
        let is_there = self.owner != Owner::WithoutShard;
        let stored = [0, 1, 2].map(stored_run);
        let exists = |run_id: &RunId| is_there && stored.contains(run_id);
        let current =
            current.row(self.archetype_id).filter(|_| is_there && self.expected.is_some());
        Observed {
            // The statement locks the shard of a write that is not guarded as well.
            range_id: is_there.then_some(RANGE_ID),
            current_run: current
                .as_ref()
                .is_some_and(|current| exists(&current.run_id))
                .then_some(STORED),
            current,
            runs: set.observed_runs().into_iter().filter(exists).map(|id| (id, STORED)).collect(),
            ..Observed::default()
        }
    }

    /// The tables that the write changes if its conditions hold.
    fn tables(&self) -> BTreeSet<String> {
        let mut tables: BTreeSet<_> = MapTable::ALL.iter().map(|map| map.table().name()).collect();
        tables.extend([
            "executions",
            "transfer_tasks",
            "visibility_tasks",
            "replication_tasks",
            "replication_tasks_dlq",
            "history_immediate_tasks",
            "timer_tasks",
            "history_scheduled_tasks",
            "history_node",
            "history_tree",
        ]);
        if self.changes.iter().any(|change| matches!(change, Change::Update { .. })) {
            tables.insert("buffered_events");
        }
        if self.writes_current() {
            tables.insert(if self.archetype_id == ArchetypeId::WORKFLOW {
                "current_executions"
            } else {
                "current_chasm_executions"
            });
        }
        tables.into_iter().map(str::to_owned).collect()
    }
}

/// Stores the shard, the runs, and the current execution in its table. A table of the current
/// execution of the other kind has a row of the same id that is closed.
async fn store(connection: &mut PgConnection, archetype_id: ArchetypeId, current: Current) {
    let mut sql = format!(
        "DELETE FROM shards; DELETE FROM executions; DELETE FROM current_executions; \
         DELETE FROM current_chasm_executions; \
         INSERT INTO shards VALUES ({}, {RANGE_ID}, '', '');",
        SHARD.0
    );
    let run = run(stored_run(0), 1);
    let id = format!("{}, '{}', '{}'", SHARD.0, run.namespace_id.0, run.workflow_id.as_str());
    for position in 0..3 {
        sql += &format!(
            "INSERT INTO executions (shard_id, namespace_id, workflow_id, run_id, \
             db_record_version, next_event_id, last_write_version, data, data_encoding, state, \
             state_encoding) VALUES ({id}, '{}', {}, {}, {}, '', '', '', '');",
            stored_run(position).0,
            STORED.db_record_version,
            STORED.next_event_id,
            STORED.last_write_version
        );
    }
    let mut insert = |archetype_id: ArchetypeId, row: &CurrentExecutionsRow| {
        let (table, columns, values) = match archetype_id {
            ArchetypeId::WORKFLOW => ("current_executions", "workflow_id", id.clone()),
            ArchetypeId(other) => {
                ("current_chasm_executions", "business_id, archetype_id", format!("{id}, {other}"))
            }
        };
        sql += &format!(
            "INSERT INTO {table} (shard_id, namespace_id, {columns}, run_id, create_request_id, \
             state, status, last_write_version, data, data_encoding) VALUES ({values}, '{}', \
             'request', {}, {}, {}, '\\x01', 'Proto3');",
            row.run_id.0,
            row.state.number(),
            row.status.number(),
            row.last_write_version
        );
    };
    if let Some(row) = current.row(archetype_id) {
        insert(archetype_id, &row);
    }
    // The statement reads neither another table nor another archetype.
    let other = Current::WithoutRun.row(archetype_id).unwrap();
    for another in [ArchetypeId::WORKFLOW, ArchetypeId::SCHEDULER, ArchetypeId::ACTIVITY] {
        if another != archetype_id {
            insert(another, &other);
        }
    }
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.unwrap();
}

/// How many rows of each table this session has written in its transaction, and in those before
/// it that the server has not counted yet.
async fn changed(connection: &mut PgConnection) -> BTreeMap<String, i64> {
    let sql = "SELECT relname::text, n_tup_ins + n_tup_upd + n_tup_del \
               FROM pg_stat_xact_user_tables";
    let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The result of a write.
struct Executed {
    /// Whether the guard held.
    holds: bool,
    /// The state that the statement has read.
    observed: Observed,
    outcome: Result<(), StoreError>,
    /// The tables that it changed.
    tables: BTreeSet<String>,
}

/// Executes a write and rolls it back.
async fn execute(connection: &mut PgConnection, set: &WriteSet<'_>) -> Executed {
    connection.execute(sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ")).await.unwrap();
    let before = changed(connection).await;
    let write = OneStatement::new(&ArchetypeRouter, set).unwrap();
    let statement = write.statement().unwrap();
    let query = sqlx::query_with(statement.meta.text.sql(), statement.into_arguments());
    let answer = query.fetch_all(&mut *connection).await.unwrap();
    let after = changed(connection).await;
    connection.execute(sqlx::raw_sql("ROLLBACK")).await.unwrap();
    let differs = |(table, count): &(&String, &i64)| before.get(*table).unwrap_or(&0) != *count;
    let route = super::arguments::route(&ArchetypeRouter, set).unwrap();
    let mut observed = decode::observed(route, &answer).unwrap();
    observed.range_id = answer[0].get("range_id");
    observed.runs.sort_unstable_by_key(|(run_id, _)| *run_id);
    Executed {
        holds: answer[0].get("holds"),
        observed,
        outcome: write.outcome(&answer),
        tables: after.iter().filter(differs).map(|(table, _)| table.clone()).collect(),
    }
}

/// The number of each result.
#[derive(Debug, Default)]
struct ResultCounts {
    held: u32,
    owner: u32,
    current: u32,
    run: u32,
    exists: u32,
}

async fn compare(
    connection: &mut PgConnection,
    case: &Case,
    current: Current,
    counts: &mut ResultCounts,
) {
    let written = Written::of(case);
    let set = case.write_set(&written);
    let Executed { holds, observed, outcome, tables } = execute(connection, &set).await;
    assert_eq!(observed, case.observed(&set, current), "{case:?}, {current:?}");
    let checked = set.check(&observed);
    assert_eq!(holds, checked.is_ok(), "{case:?}, {current:?}: {checked:?}");
    let Err(condition) = checked else {
        counts.held += 1;
        outcome.unwrap();
        assert_eq!(tables, case.tables(), "{case:?}, {current:?}");
        return;
    };
    assert_eq!(tables, BTreeSet::new(), "{case:?}, {current:?}");
    *match condition {
        ConditionFailed::ShardOwnershipLost { .. } => &mut counts.owner,
        ConditionFailed::CurrentExecution { .. } => &mut counts.current,
        ConditionFailed::Execution { .. } => &mut counts.run,
        ConditionFailed::ExecutionExists { .. } => &mut counts.exists,
        other => panic!("{case:?}: a write set has no condition {other:?}"),
    } += 1;
    let Err(StoreError::Condition(reported)) = outcome else { panic!("{case:?}: {outcome:?}") };
    assert_eq!(reported, condition, "{case:?}, {current:?}");
}

/// Every owner, current execution and expectation of it in both tables, with every change of one
/// run.
#[tokio::test]
async fn guard_and_check_agree_on_owners_and_current_executions() {
    let Some((_database, mut connection)) = connect().await else { return };
    let mut counts = ResultCounts::default();
    for archetype_id in [ArchetypeId::WORKFLOW, ArchetypeId::SCHEDULER] {
        for current in CURRENTS {
            store(&mut connection, archetype_id, current).await;
            for expected in expectations() {
                for owner in OWNERS {
                    for change in SOME_CHANGES {
                        let changes = vec![change];
                        let case = Case { owner, archetype_id, expected, changes };
                        compare(&mut connection, &case, current, &mut counts).await;
                    }
                }
            }
        }
    }
    let ResultCounts { held, owner, current, run, exists } = counts;
    assert!([held, owner, current, run, exists].iter().all(|count| *count > 50), "{counts:?}");
}

/// Every owner and an expectation of the current execution that holds or does not, with every
/// change of one run and every list of two and three runs.
#[tokio::test]
async fn guard_and_check_agree_on_runs() {
    let Some((_database, mut connection)) = connect().await else { return };
    let archetype_id = ArchetypeId::WORKFLOW;
    let current = Current::First(ExecutionState::Completed);
    store(&mut connection, archetype_id, current).await;
    let singles = changes().into_iter().map(|change| vec![change]);
    let lists: Vec<_> = singles.chain(lists(2)).chain(lists(3)).collect();
    let mut counts = ResultCounts::default();
    for owner in OWNERS {
        for run_id in [stored_run(0), WITHOUT_RUN] {
            let expected = Some(ExpectedCurrent::Run(run_id));
            for changes in &lists {
                let case = Case { owner, archetype_id, expected, changes: changes.clone() };
                compare(&mut connection, &case, current, &mut counts).await;
            }
        }
    }
    let ResultCounts { held, owner, current, run, exists } = counts;
    assert!([held, owner, current, run, exists].iter().all(|count| *count > 50), "{counts:?}");
}
