//! Write sets of whole executions: they are written and read, and equal the same row operations one
//! by one.

use std::sync::Arc;

use temporal_dsql_domain::{
    BranchKey, CurrentExecutionsRow, DataBlob, ExecutionsFilter, ExecutionsRow, HistoryNode,
    MapEntries, MapKeys, MapTable, ScheduledKey, Table, Tasks, Timestamp, limits,
};
use temporal_dsql_ports::{
    BufferedWrite, ConditionFailed, Expected, ExpectedCurrent, HistoryChange, MapWrite,
    MutableStateRows, RunChange, StoreError, WriteSet,
};

use crate::{
    context::{
        TestContext,
        owned_shard::{assert_refused, current_is, is_absent, version_is},
        write_sets::{Change, NewRun, apply, current, deletion, nodes, read, stored, write_set},
    },
    entries::{joined, split},
    queue::Queue,
    scenario::scenario_table,
};

scenario_table! { "mutable_state":
    a_whole_execution_is_written_and_read per archetype;
    a_run_without_anything_else_is_written_and_read;
    an_absent_run_is_not_read_even_if_it_has_other_rows;
    a_run_and_its_current_execution_are_updated per archetype;
    updating_what_is_absent_is_refused per archetype;
    a_run_that_exists_is_not_inserted;
    a_current_execution_that_exists_is_not_inserted per archetype;
    a_task_that_exists_is_not_inserted;
    a_write_set_of_three_runs_writes_all_of_them per archetype;
    a_write_set_of_three_runs_is_refused_whole;
    entries_that_are_not_written_are_removed;
    an_entry_written_and_removed_at_once_is_absent;
    a_buffer_is_cleared_before_events_are_appended;
    random_write_sets_equal_their_row_operations;
    an_oversized_entry_is_refused_and_nothing_is_stored;
    more_than_three_thousand_rows_are_refused_and_nothing_is_stored if transaction_limits;
    a_read_never_mixes_two_writes;
    deleting_an_execution_leaves_no_row_of_its_run;
    deleting_an_absent_execution_is_no_error;
}

/// Asserts that a write set is refused because of `expected` and changes nothing.
async fn assert_refuses(ctx: &TestContext, set: &WriteSet<'_>, expected: &ConditionFailed) {
    let before = ctx.row_count().await;
    assert_refused(ctx.store.apply(set).await, expected);
    assert_eq!(ctx.row_count().await, before);
}

async fn a_whole_execution_is_written_and_read(ctx: &TestContext) {
    let row = ctx.current();
    let run = NewRun::new(ctx, &ctx.execution_of(&row));
    let mut set = run.set();
    set.current = current(&row, ExpectedCurrent::Absent);
    apply(ctx, &set).await;
    let key = run.row.filter();
    assert_eq!(read(ctx, &key).await, Some(run.expected()));
    // The row operations read the same.
    assert_eq!(ctx.read(&row.filter()).await, Some(row));
    assert_eq!(ctx.read_execution(&key).await.as_ref(), Some(&run.row));
    let mut session = ctx.store.session();
    for entries in &run.maps {
        let read = session.select_all_from_map(&key, entries.map()).await;
        assert_eq!(read.unwrap(), *entries);
    }
    assert_eq!(session.select_from_buffered_events(&key).await.unwrap(), []);
    let shard = key.shard_id;
    for (queue, tasks) in &run.tasks.immediate {
        let all = i64::MIN..i64::MAX;
        let read = session.range_select_from_immediate_tasks(shard, queue, all, 9).await;
        assert_eq!(read.unwrap(), *tasks);
    }
    let start = ScheduledKey { visibility_timestamp: Timestamp::MIN, task_id: 0 };
    for (queue, tasks) in &run.tasks.scheduled {
        let queue = Queue::Scheduled(*queue);
        assert_eq!(queue.select(&mut *session, shard, start, 9).await.unwrap(), *tasks);
    }
    run.assert_history(ctx).await;
    // The run, its current execution, 7 maps, 7 queues, two batches and a branch.
    assert_eq!(ctx.row_count().await, 2 + 7 * 4 + 7 * 2 + 3);
}

async fn a_run_without_anything_else_is_written_and_read(ctx: &TestContext) {
    let row = ctx.execution();
    apply(ctx, &write_set(&row, RunChange::Insert { row: &row, maps: &[] })).await;
    let read = read(ctx, &row.filter()).await.unwrap();
    assert_eq!(read.execution, row);
    assert_eq!(read.maps, MapTable::ALL.map(MapEntries::none));
    assert_eq!(read.buffered, []);
    assert_eq!(ctx.row_count().await, 1);
}

async fn an_absent_run_is_not_read_even_if_it_has_other_rows(ctx: &TestContext) {
    let row = ctx.execution();
    assert_eq!(read(ctx, &row.filter()).await, None);
    stored(ctx, &row).await;
    let other = ExecutionsFilter { run_id: ctx.run_id(), ..row.filter() };
    assert_eq!(read(ctx, &other).await, None);
    ctx.store.session().delete_from_executions(&row.filter()).await.unwrap();
    assert_eq!(read(ctx, &row.filter()).await, None, "entries without a run");
}

async fn a_run_and_its_current_execution_are_updated(ctx: &TestContext) {
    let before = ctx.current();
    let row = ctx.execution_of(&before);
    ctx.insert(&before).await;
    let run = stored(ctx, &row).await;
    let next = ctx.changed(&before);
    let (change, tasks) = (Change::new(ctx, &row), ctx.tasks_of_every_queue(1));
    let mut set = change.set();
    set.current = current(&next, ExpectedCurrent::Run(before.run_id));
    set.tasks.push(&tasks);
    let rows = ctx.row_count().await;
    apply(ctx, &set).await;
    assert_eq!(ctx.read(&before.filter()).await, Some(next));
    let expected = MutableStateRows { execution: change.row.clone(), ..run.expected() };
    assert_eq!(read(ctx, &row.filter()).await, Some(expected), "the maps are unchanged");
    assert_eq!(ctx.row_count().await, rows + 7);
}

async fn updating_what_is_absent_is_refused(ctx: &TestContext) {
    let row = ctx.current();
    let execution = ctx.execution_of(&row);
    let (change, tasks) = (Change::new(ctx, &execution), ctx.tasks_of_every_queue(1));
    let mut set = change.set();
    set.tasks.push(&tasks);
    assert_refuses(ctx, &set, &is_absent(&execution)).await;
    // The condition on the current execution is checked first.
    set.current = current(&row, ExpectedCurrent::Run(row.run_id));
    assert_refuses(ctx, &set, &current_is(None)).await;
    ctx.insert(&row).await;
    assert_refuses(ctx, &set, &is_absent(&execution)).await;
    assert_eq!(ctx.row_count().await, 1);
}

async fn a_run_that_exists_is_not_inserted(ctx: &TestContext) {
    let row = ctx.execution();
    let first = stored(ctx, &row).await;
    let again = NewRun::new(ctx, &ctx.changed_execution(&row));
    let exists = ConditionFailed::ExecutionExists { run_id: row.run_id };
    assert_refuses(ctx, &again.set(), &exists).await;
    assert_eq!(read(ctx, &row.filter()).await, Some(first.expected()));
}

async fn a_current_execution_that_exists_is_not_inserted(ctx: &TestContext) {
    let before = ctx.current();
    ctx.insert(&before).await;
    let next = ctx.changed(&before);
    let new = NewRun::new(ctx, &ctx.execution_of(&next));
    let mut set = new.set();
    set.current = current(&next, ExpectedCurrent::Absent);
    assert_refuses(ctx, &set, &current_is(Some(&before))).await;
    assert_eq!(ctx.read(&before.filter()).await.as_ref(), Some(&before));
    // The refusal reports the last write version of the run.
    let run = ctx.execution_of(&before);
    ctx.insert_execution(&run).await;
    let reported = CurrentExecutionsRow { last_write_version: run.last_write_version, ..before };
    assert_refuses(ctx, &set, &current_is(Some(&reported))).await;
}

async fn a_task_that_exists_is_not_inserted(ctx: &TestContext) {
    for (index, queue) in Queue::all().iter().enumerate() {
        let row = ctx.execution();
        let new = NewRun::new(ctx, &row);
        let taken = match (new.tasks.immediate.get(index), index) {
            (Some((_, tasks)), _) => queue.key(Timestamp::UNIX_EPOCH, tasks[1].task_id),
            (None, index) => new.tasks.scheduled[index - new.tasks.immediate.len()].1[1].key,
        };
        let task = temporal_dsql_domain::ScheduledTask { key: taken, data: ctx.data() };
        queue.insert(&mut *ctx.store.session(), row.shard_id, &[task]).await.unwrap();
        let before = ctx.row_count().await;
        let error = ctx.store.apply(&new.set()).await.unwrap_err();
        assert!(
            matches!(error, StoreError::AlreadyExists { table, .. } if table == queue.table()),
            "{error:?}"
        );
        assert_eq!(ctx.row_count().await, before);
    }
}

/// A conflict of three runs of one id: the zombie is reset, the current run is changed, and a new
/// run replaces it.
struct ThreeRuns {
    old: CurrentExecutionsRow,
    next: CurrentExecutionsRow,
    reset: Change,
    reset_maps: Vec<MapEntries>,
    changed: Change,
    new: NewRun,
    /// The tasks in addition to those of the new run.
    tasks: [Tasks; 2],
    nodes: [HistoryNode; 2],
    branches: [BranchKey; 2],
}

impl ThreeRuns {
    /// Stores the two existing runs.
    async fn stored(ctx: &TestContext) -> Self {
        let old = ctx.current();
        ctx.insert(&old).await;
        let current = stored(ctx, &ctx.execution_of(&old)).await;
        let zombie = stored(ctx, &ctx.execution_of(&ctx.changed(&old))).await;
        let next = ctx.changed(&old);
        let mut changed = Change::new(ctx, &current.row);
        changed.buffered.append = ctx.events(2);
        for entries in &current.maps {
            let remove = split(entries.clone(), 1).0.keys();
            let replace = ctx.entries(entries.map(), 1);
            changed.maps.push(MapWrite { remove, replace });
        }
        Self {
            reset: Change::new(ctx, &zombie.row),
            reset_maps: MapTable::ALL.map(|map| ctx.entries(map, 2)).into(),
            changed,
            new: NewRun::new(ctx, &ctx.execution_of(&next)),
            tasks: [ctx.tasks_of_every_queue(1), ctx.tasks_of_every_queue(1)],
            nodes: [ctx.node(7, 12), ctx.node(7, 13)],
            branches: [zombie.tree.branch, current.tree.branch],
            old,
            next,
        }
    }

    fn set(&self) -> WriteSet<'_> {
        let Self { reset, reset_maps, changed, .. } = self;
        let replace =
            RunChange::Replace { row: &reset.row, expected: reset.expected, maps: reset_maps };
        let mut set = write_set(&reset.row, replace);
        set.current = current(&self.next, ExpectedCurrent::Run(self.old.run_id));
        set.runs.push(changed.update());
        set.tasks.extend(&self.tasks);
        for (node, branch) in self.nodes.iter().zip(self.branches) {
            set.history.push(HistoryChange { branch, node, tree: None });
        }
        self.new.add_to(&mut set);
        set
    }
}

async fn a_write_set_of_three_runs_writes_all_of_them(ctx: &TestContext) {
    let runs = ThreeRuns::stored(ctx).await;
    let before = ctx.row_count().await;
    let mut changed = read(ctx, &runs.changed.row.filter()).await.unwrap();
    apply(ctx, &runs.set()).await;
    assert_eq!(ctx.read(&runs.old.filter()).await.as_ref(), Some(&runs.next));
    let reset = MutableStateRows {
        execution: runs.reset.row.clone(),
        maps: runs.reset_maps.clone(),
        buffered: Vec::new(),
    };
    assert_eq!(read(ctx, &runs.reset.row.filter()).await, Some(reset));
    changed.execution = runs.changed.row.clone();
    for (entries, MapWrite { replace, .. }) in changed.maps.iter_mut().zip(&runs.changed.maps) {
        *entries = joined(split(entries.clone(), 1).1, replace.clone());
    }
    changed.buffered = runs.changed.buffered.append.clone();
    assert_eq!(read(ctx, &runs.changed.row.filter()).await, Some(changed));
    assert_eq!(read(ctx, &runs.new.row.filter()).await, Some(runs.new.expected()));
    runs.new.assert_history(ctx).await;
    for (node, branch) in runs.nodes.iter().zip(runs.branches) {
        assert_eq!(nodes(ctx, &branch).await.last(), Some(node));
    }
    // Seven maps of the reset run lose two entries each; the changed run gains two events. The new
    // run has 46 rows; the other tasks are two of each queue, and there are two batches.
    assert_eq!(ctx.row_count().await, before - 7 * 2 + 2 + (1 + 7 * 4 + 7 * 2 + 3) + 7 * 2 + 2);
}

async fn a_write_set_of_three_runs_is_refused_whole(ctx: &TestContext) {
    let runs = ThreeRuns::stored(ctx).await;
    let before: Vec<_> = {
        let mut before = Vec::new();
        for run in [&runs.reset.row, &runs.changed.row] {
            before.push(read(ctx, &run.filter()).await.unwrap());
        }
        before
    };
    let wrong = Expected::RecordVersion(runs.reset.row.db_record_version);
    for (number, stored) in before.iter().enumerate() {
        let mut set = runs.set();
        match &mut set.runs[number] {
            RunChange::Update { expected, .. } | RunChange::Replace { expected, .. } => {
                *expected = wrong;
            }
            other => panic!("{other:?}"),
        }
        assert_refuses(ctx, &set, &version_is(&stored.execution)).await;
    }
    let mut other = runs.set();
    other.current = current(&runs.next, ExpectedCurrent::Run(runs.next.run_id));
    // The run of the current execution is stored, and its last write version is reported.
    let last_write_version = before[1].execution.last_write_version;
    let reported = CurrentExecutionsRow { last_write_version, ..runs.old.clone() };
    assert_refuses(ctx, &other, &current_is(Some(&reported))).await;
    ctx.insert_execution(&runs.new.row).await;
    let exists = ConditionFailed::ExecutionExists { run_id: runs.new.row.run_id };
    assert_refuses(ctx, &runs.set(), &exists).await;
    for stored in before {
        assert_eq!(read(ctx, &stored.execution.filter()).await, Some(stored));
    }
}

async fn entries_that_are_not_written_are_removed(ctx: &TestContext) {
    let row = ctx.execution();
    let first = stored(ctx, &row).await;
    let mut session = ctx.store.session();
    session.insert_into_buffered_events(&row.filter(), &ctx.events(3)).await.unwrap();
    // Of each map two entries are kept with other values, two are removed and two are added.
    let kept = |entries: &MapEntries| {
        let (stay, _) = split(entries.clone(), 2);
        joined(ctx.changed_entries(&stay), ctx.entries(entries.map(), 2))
    };
    let maps: Vec<_> = first.maps.iter().map(kept).collect();
    let reset = Change::new(ctx, &row);
    let (next, expected) = (&reset.row, reset.expected);
    apply(ctx, &write_set(next, RunChange::Replace { row: next, expected, maps: &maps })).await;
    let state = read(ctx, &row.filter()).await.unwrap();
    assert_eq!(state, MutableStateRows { execution: next.clone(), maps, buffered: Vec::new() });
    // A replacement without entries removes all.
    let again = Change::new(ctx, next);
    let (row, expected) = (&again.row, again.expected);
    apply(ctx, &write_set(row, RunChange::Replace { row, expected, maps: &[] })).await;
    let state = read(ctx, &row.filter()).await.unwrap();
    assert_eq!(state.maps, MapTable::ALL.map(MapEntries::none));
}

/// Temporal's stores write first and remove afterwards (temporal-persistence.md#update).
async fn an_entry_written_and_removed_at_once_is_absent(ctx: &TestContext) {
    let row = ctx.execution();
    let first = stored(ctx, &row).await;
    let mut change = Change::new(ctx, &row);
    let mut expected = Vec::new();
    for entries in &first.maps {
        // One entry is overwritten and removed, one is removed, two are overwritten and kept, and a
        // new one is written and removed.
        let (both, others) = split(ctx.changed_entries(entries), 1);
        let (removed, stay) = split(others, 1);
        let new = ctx.entries(entries.map(), 1);
        let remove = joined(joined(both.clone(), removed), new.clone()).keys();
        let replace = joined(joined(both, stay.clone()), new);
        change.maps.push(MapWrite { remove, replace });
        expected.push(stay);
    }
    apply(ctx, &change.set()).await;
    assert_eq!(read(ctx, &row.filter()).await.unwrap().maps, expected);
}

async fn a_buffer_is_cleared_before_events_are_appended(ctx: &TestContext) {
    let mut row = ctx.execution();
    stored(ctx, &row).await;
    let mut expected = Vec::new();
    for (clear, count) in [(false, 3), (true, 3), (false, 3), (true, 3), (true, 0)] {
        let mut change = Change::new(ctx, &row);
        change.buffered = BufferedWrite { clear, append: ctx.events(count) };
        apply(ctx, &change.set()).await;
        if clear {
            expected.clear();
        }
        expected.extend(change.buffered.append);
        assert_eq!(read(ctx, &row.filter()).await.unwrap().buffered, expected);
        row = change.row;
    }
    assert_eq!(expected, []);
}

/// A random subset of the entries.
fn some_of(ctx: &TestContext, entries: &MapEntries) -> MapEntries {
    let mut some = MapEntries::none(entries.map());
    let mut left = entries.clone();
    while !left.is_empty() {
        let (first, others) = split(left, 1);
        if ctx.random(|random| random.bool()) {
            some = joined(some, first);
        }
        left = others;
    }
    some
}

/// A random change of a run whose entries are all from `pool`.
fn random_change(ctx: &TestContext, of: &ExecutionsRow, pool: &[MapEntries]) -> Change {
    let chance = || ctx.random(|random| random.bool());
    let mut change = Change::new(ctx, of);
    for entries in pool {
        let remove = some_of(ctx, entries).keys();
        let replace = ctx.changed_entries(&some_of(ctx, entries));
        if chance() || chance() {
            change.maps.push(MapWrite { remove, replace });
        }
    }
    let append = if chance() { ctx.events(2) } else { Vec::new() };
    change.buffered = BufferedWrite { clear: chance(), append };
    change
}

/// Applies the same change to another run with row operations; `is_whole` if entries that are not
/// written are removed.
async fn one_by_one(ctx: &TestContext, change: &Change, is_whole: bool, run: &ExecutionsFilter) {
    let session = &mut *ctx.store.session();
    assert_eq!(session.update_executions(&of_run(&change.row, run)).await.unwrap(), 1);
    for map in MapTable::ALL {
        if is_whole {
            session.delete_all_from_map(run, map, None).await.unwrap();
        }
        for MapWrite { remove, replace } in change.maps.iter().filter(|of| of.replace.map() == map)
        {
            session.replace_into_map(run, replace).await.unwrap();
            session.delete_from_map(run, remove).await.unwrap();
        }
    }
    let BufferedWrite { clear, append } = &change.buffered;
    if is_whole || *clear {
        session.delete_from_buffered_events(run, None).await.unwrap();
    }
    session.insert_into_buffered_events(run, append).await.unwrap();
}

/// The same row for another run.
fn of_run(row: &ExecutionsRow, run: &ExecutionsFilter) -> ExecutionsRow {
    ExecutionsRow {
        shard_id: run.shard_id,
        namespace_id: run.namespace_id,
        workflow_id: run.workflow_id.clone(),
        run_id: run.run_id,
        ..row.clone()
    }
}

async fn random_write_sets_equal_their_row_operations(ctx: &TestContext) {
    let (mut row, other) = (ctx.execution(), ctx.run());
    ctx.insert_execution(&row).await;
    ctx.insert_execution(&of_run(&row, &other)).await;
    let pool = MapTable::ALL.map(|map| ctx.entries(map, 6));
    for round in 0..16 {
        let mut change = random_change(ctx, &row, &pool);
        let is_whole = ctx.random(|random| random.u8(..4)) == 0;
        let maps: Vec<_> = change.maps.iter().map(|of| of.replace.clone()).collect();
        if is_whole {
            // A replacement removes the entries that it does not contain, and appends no events.
            change.buffered.append.clear();
            change.maps.iter_mut().for_each(|of| of.remove = MapKeys::none(of.replace.map()));
            let Change { row, expected, .. } = &change;
            let replace = RunChange::Replace { row, expected: *expected, maps: &maps };
            apply(ctx, &write_set(row, replace)).await;
        } else {
            apply(ctx, &change.set()).await;
        }
        one_by_one(ctx, &change, is_whole, &other).await;
        row = change.row.clone();
        let whole = read(ctx, &row.filter()).await.unwrap();
        let mut same = read(ctx, &other).await.unwrap();
        same.execution = of_run(&same.execution, &row.filter());
        assert_eq!(whole, same, "round {round}: {change:?}");
    }
}

async fn an_oversized_entry_is_refused_and_nothing_is_stored(ctx: &TestContext) {
    let mut new = NewRun::new(ctx, &ctx.execution());
    let MapEntries::ChasmNodes(nodes) = &mut new.maps[6] else {
        panic!("the last map must be the CHASM nodes");
    };
    nodes[0].data = Some(vec![7; limits::MAX_VALUE_BYTES + 1]);
    let error = ctx.store.apply(&new.set()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(ctx.row_count().await, 0);
}

async fn more_than_three_thousand_rows_are_refused_and_nothing_is_stored(ctx: &TestContext) {
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    let mut change = Change::new(ctx, &row);
    let replace = ctx.entries(MapTable::Activities, 3_500);
    change.maps.push(MapWrite { remove: MapKeys::none(MapTable::Activities), replace });
    let error = ctx.store.apply(&change.set()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::TransactionRows, .. }),
        "{error:?}"
    );
    assert_eq!(ctx.row_count().await, 1);
}

/// A change that writes the same mark to every part of a run.
fn marked(row: &ExecutionsRow, maps: &[MapEntries], mark: u8) -> Change {
    let data = DataBlob::new([mark], row.data.encoding.clone());
    let mut writes = Vec::new();
    for entries in maps {
        let mut replace = entries.clone();
        match &mut replace {
            MapEntries::Activities(of) => of.iter_mut().for_each(|of| of.data = data.clone()),
            MapEntries::Timers(of) => of.iter_mut().for_each(|of| of.data = data.clone()),
            MapEntries::ChasmNodes(of) => of.iter_mut().for_each(|of| of.metadata = data.clone()),
            other => panic!("{:?} is not marked", other.map()),
        }
        writes.push(MapWrite { remove: MapKeys::none(replace.map()), replace });
    }
    Change {
        row: ExecutionsRow { data: data.clone(), ..row.clone() },
        expected: Expected::RecordVersion(row.db_record_version),
        maps: writes,
        buffered: BufferedWrite { clear: true, append: vec![data; 3] },
    }
}

/// The marks of all parts.
fn marks(state: &MutableStateRows) -> Vec<u8> {
    let mut marks = vec![state.execution.data.data[0]];
    for map in &state.maps {
        match map {
            MapEntries::Activities(of) => marks.extend(of.iter().map(|of| of.data.data[0])),
            MapEntries::Timers(of) => marks.extend(of.iter().map(|of| of.data.data[0])),
            MapEntries::ChasmNodes(of) => marks.extend(of.iter().map(|of| of.metadata.data[0])),
            other => assert!(other.is_empty()),
        }
    }
    marks.extend(state.buffered.iter().map(|event| event.data[0]));
    marks
}

async fn a_read_never_mixes_two_writes(ctx: &TestContext) {
    const WRITES: u8 = 40;
    let row = ctx.execution();
    ctx.insert_execution(&row).await;
    let maps = [MapTable::Activities, MapTable::Timers, MapTable::ChasmNodes]
        .map(|map| ctx.entries(map, 3));
    apply(ctx, &marked(&row, &maps, 0).set()).await;
    let store = Arc::clone(&ctx.store);
    let run = row.filter();
    let writer = tokio::spawn(async move {
        for mark in 1..=WRITES {
            let change = marked(&row, &maps, mark);
            store.apply(&change.set()).await.unwrap();
        }
    });
    let mut last = 0;
    // Until the writer has ended or panicked, then once more.
    let mut is_over = false;
    while !is_over {
        is_over = writer.is_finished();
        let marks = marks(&read(ctx, &run).await.unwrap());
        assert_eq!(marks, vec![marks[0]; 1 + 9 + 3]);
        assert!(marks[0] >= last, "a later read must not return an older write");
        last = marks[0];
        // An adapter without I/O never waits, and the writer may need this thread.
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(last, WRITES);
}

async fn deleting_an_execution_leaves_no_row_of_its_run(ctx: &TestContext) {
    let current = ctx.current();
    let row = ctx.execution_of(&current);
    let run = row.filter();
    ctx.insert(&current).await;
    stored(ctx, &row).await;
    let mut other_row = ctx.changed_execution(&row);
    other_row.run_id = ctx.run_id();
    let other = stored(ctx, &other_row).await;
    let mut session = ctx.store.session();
    session.insert_into_buffered_events(&run, &ctx.events(3)).await.unwrap();
    apply(ctx, &deletion(&run)).await;
    assert_eq!(session.select_from_executions(&run).await.unwrap(), None);
    for map in MapTable::ALL {
        let left = session.select_all_from_map(&run, map).await.unwrap();
        assert!(left.is_empty(), "{map:?} has {left:?}");
    }
    assert_eq!(session.select_from_buffered_events(&run).await.unwrap(), []);
    // Rows of another run, the current execution, the tasks and the history are kept.
    assert_eq!(read(ctx, &other_row.filter()).await, Some(other.expected()));
    assert_eq!(ctx.read(&current.filter()).await, Some(current));
    assert_eq!(ctx.fixture.count(Table::TransferTasks).await, 4);
    assert_eq!(ctx.fixture.count(Table::HistoryNode).await, 4);
}

async fn deleting_an_absent_execution_is_no_error(ctx: &TestContext) {
    let row = ctx.execution();
    let run = row.filter();
    apply(ctx, &deletion(&run)).await;
    // Rows left by an earlier deletion are deleted, too.
    stored(ctx, &row).await;
    ctx.store.session().delete_from_executions(&run).await.unwrap();
    apply(ctx, &deletion(&run)).await;
    assert_eq!(ctx.row_count().await, 7 * 2 + 3, "only the tasks and the history are left");
}
