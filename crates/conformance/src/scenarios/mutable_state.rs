//! Whole executions as rows: the operations that do several things at once do what the row
//! operations do one by one.

use std::sync::Arc;

use temporal_dsql_domain::{
    DataBlob, ExecutionsFilter, ExecutionsRow, MapEntries, MapKeys, MapTable, ScheduledKey, Table,
    Tasks, Timestamp, limits,
};
use temporal_dsql_ports::{
    BufferedWrite, CurrentWrite, ExecutionWrite, MapWrite, MutableStateRows, Removal, RunWrite,
    StoreError, StoreExt, Written,
};

use crate::{
    Queue, World,
    entries::{joined, split},
    scenario::scenario_table,
};

scenario_table! { "mutable_state":
    a_whole_execution_is_written_and_read per archetype;
    a_run_without_anything_else_is_written_and_read;
    an_absent_run_is_not_read_whatever_else_there_is;
    a_run_and_its_current_execution_are_updated per archetype;
    updating_what_is_absent_affects_none per archetype;
    a_run_that_exists_is_not_inserted;
    a_current_execution_that_exists_is_not_inserted per archetype;
    a_task_that_exists_is_not_inserted;
    entries_that_are_not_written_are_removed;
    an_entry_that_is_written_and_removed_is_gone;
    a_buffer_is_cleared_before_events_are_appended;
    random_writes_do_what_their_row_operations_do;
    an_oversized_entry_is_refused_and_nothing_is_stored;
    more_than_three_thousand_rows_are_refused_and_nothing_is_stored if transaction_limits;
    a_read_never_mixes_two_writes;
    a_deleted_execution_leaves_nothing_of_its_run;
    deleting_an_absent_execution_affects_none;
}

/// Everything that can be written for a new run.
fn everything(world: &World, row: &ExecutionsRow) -> ExecutionWrite {
    let map = |map| MapWrite {
        remove: Removal::Keys(MapKeys::none(map)),
        replace: world.entries(map, 4),
    };
    ExecutionWrite {
        run: RunWrite::Insert(row.clone()),
        current: None,
        maps: MapTable::ALL.map(map).into(),
        buffered: BufferedWrite { clear: false, append: world.events(3) },
        tasks: world.tasks_of_every_queue(2),
    }
}

/// Nothing but an update of the run.
fn update(row: &ExecutionsRow) -> ExecutionWrite {
    ExecutionWrite {
        run: RunWrite::Update(row.clone()),
        current: None,
        maps: Vec::new(),
        buffered: BufferedWrite::default(),
        tasks: Tasks::default(),
    }
}

/// Writes as one transaction.
async fn write(world: &World, write: &ExecutionWrite) -> Result<Written, StoreError> {
    world.store.run("Write", write, |transaction, write| transaction.write_execution(write)).await
}

async fn read(world: &World, run: &ExecutionsFilter) -> Option<MutableStateRows> {
    world.store.session().select_mutable_state(run).await.unwrap()
}

/// What is read after a run was written as new.
fn expected(row: &ExecutionsRow, write: &ExecutionWrite) -> MutableStateRows {
    let maps = write.maps.iter().map(|map| map.replace.clone()).collect();
    MutableStateRows { execution: row.clone(), maps, buffered: write.buffered.append.clone() }
}

/// How many rows there are in the tables of a run and in the task tables.
async fn rows(world: &World) -> u64 {
    let maps = MapTable::ALL.map(MapTable::table);
    let queues = Queue::all().map(|queue| queue.table());
    let others = [Table::Executions, Table::BufferedEvents];
    let mut rows = 0;
    for table in maps.into_iter().chain(queues).chain(others) {
        rows += world.place.count(table).await;
    }
    rows
}

async fn a_whole_execution_is_written_and_read(world: &World) {
    let current = world.current();
    let row = world.execution_of(&current);
    let mut new = everything(world, &row);
    new.current = Some(CurrentWrite::Insert(current.clone()));
    let written = write(world, &new).await.unwrap();
    assert_eq!(written, Written { run: 1, current: 1, tasks: 14 });
    assert_eq!(read(world, &row.filter()).await, Some(expected(&row, &new)));
    // The row operations see the same.
    assert_eq!(world.read(&current.filter()).await, Some(current));
    assert_eq!(world.read_execution(&row.filter()).await.as_ref(), Some(&row));
    let mut session = world.store.session();
    for map in &new.maps {
        let read = session.select_all_from_map(&row.filter(), map.replace.map()).await;
        assert_eq!(read.unwrap(), map.replace);
    }
    let events = session.select_from_buffered_events(&row.filter()).await.unwrap();
    assert_eq!(events, new.buffered.append);
    let shard = row.shard_id;
    for (queue, tasks) in &new.tasks.immediate {
        let all = i64::MIN..i64::MAX;
        let read = session.range_select_from_immediate_tasks(shard, queue, all, 9).await;
        assert_eq!(read.unwrap(), *tasks);
    }
    let start = ScheduledKey { visibility_timestamp: Timestamp::MIN, task_id: 0 };
    for (queue, tasks) in &new.tasks.scheduled {
        let queue = Queue::Scheduled(*queue);
        assert_eq!(queue.select(&mut *session, shard, start, 9).await.unwrap(), *tasks);
    }
}

async fn a_run_without_anything_else_is_written_and_read(world: &World) {
    let row = world.execution();
    let new = ExecutionWrite { run: RunWrite::Insert(row.clone()), ..update(&row) };
    let written = write(world, &new).await.unwrap();
    assert_eq!(written, Written { run: 1, current: 0, tasks: 0 });
    let read = read(world, &row.filter()).await.unwrap();
    assert_eq!(read.execution, row);
    assert_eq!(read.maps, MapTable::ALL.map(MapEntries::none));
    assert_eq!(read.buffered, []);
}

async fn an_absent_run_is_not_read_whatever_else_there_is(world: &World) {
    let row = world.execution();
    assert_eq!(read(world, &row.filter()).await, None);
    write(world, &everything(world, &row)).await.unwrap();
    let other = ExecutionsFilter { run_id: world.run_id(), ..row.filter() };
    assert_eq!(read(world, &other).await, None);
    world.store.session().delete_from_executions(&row.filter()).await.unwrap();
    assert_eq!(read(world, &row.filter()).await, None, "entries alone are no execution");
}

async fn a_run_and_its_current_execution_are_updated(world: &World) {
    let current = world.current();
    let row = world.execution_of(&current);
    world.insert(&current).await;
    let new = everything(world, &row);
    write(world, &new).await.unwrap();
    let changed = world.changed_execution(&row);
    let next = world.changed(&current);
    let mut again = update(&changed);
    again.current = Some(CurrentWrite::Update(next.clone()));
    again.tasks = world.tasks_of_every_queue(1);
    let written = write(world, &again).await.unwrap();
    assert_eq!(written, Written { run: 1, current: 1, tasks: 7 });
    assert_eq!(world.read(&current.filter()).await, Some(next));
    let state = read(world, &row.filter()).await.unwrap();
    assert_eq!(state, expected(&changed, &new), "maps and buffer stay as they were");
}

async fn updating_what_is_absent_affects_none(world: &World) {
    let current = world.current();
    let row = world.execution_of(&current);
    let mut absent = update(&row);
    absent.current = Some(CurrentWrite::Update(current.clone()));
    let mut transaction = world.begin("Write").await;
    let written = transaction.write_execution(&absent).await.unwrap();
    assert_eq!(written, Written { run: 0, current: 0, tasks: 0 });
    transaction.rollback().await.unwrap();
    world.insert(&current).await;
    let mut transaction = world.begin("Write").await;
    let written = transaction.write_execution(&absent).await.unwrap();
    assert_eq!(written, Written { run: 0, current: 1, tasks: 0 });
    transaction.rollback().await.unwrap();
}

/// Asserts that a write is refused because of a row in `table`, and that it changes nothing.
async fn assert_exists(world: &World, refused: &ExecutionWrite, expected: Table) {
    let before = rows(world).await;
    let error = write(world, refused).await.unwrap_err();
    assert!(
        matches!(error, StoreError::AlreadyExists { table, .. } if table == expected),
        "{error:?}"
    );
    assert_eq!(rows(world).await, before);
}

async fn a_run_that_exists_is_not_inserted(world: &World) {
    let row = world.execution();
    let first = everything(world, &row);
    write(world, &first).await.unwrap();
    let again = everything(world, &world.changed_execution(&row));
    assert_exists(world, &again, Table::Executions).await;
    assert_eq!(read(world, &row.filter()).await, Some(expected(&row, &first)));
}

async fn a_current_execution_that_exists_is_not_inserted(world: &World) {
    let current = world.current();
    world.insert(&current).await;
    let next = world.changed(&current);
    let mut new = everything(world, &world.execution_of(&next));
    new.current = Some(CurrentWrite::Insert(next));
    let table = if world.archetype == temporal_dsql_domain::ArchetypeId::WORKFLOW {
        Table::CurrentExecutions
    } else {
        Table::CurrentChasmExecutions
    };
    assert_exists(world, &new, table).await;
    assert_eq!(world.read(&current.filter()).await, Some(current));
}

async fn a_task_that_exists_is_not_inserted(world: &World) {
    for (index, queue) in Queue::all().iter().enumerate() {
        let row = world.execution();
        let new = everything(world, &row);
        let taken = match (new.tasks.immediate.get(index), index) {
            (Some((_, tasks)), _) => queue.key(Timestamp::UNIX_EPOCH, tasks[1].task_id),
            (None, index) => new.tasks.scheduled[index - new.tasks.immediate.len()].1[1].key,
        };
        let task = temporal_dsql_domain::ScheduledTask { key: taken, data: world.data() };
        queue.insert(&mut *world.store.session(), row.shard_id, &[task]).await.unwrap();
        assert_exists(world, &new, queue.table()).await;
    }
}

async fn entries_that_are_not_written_are_removed(world: &World) {
    let row = world.execution();
    let first = everything(world, &row);
    write(world, &first).await.unwrap();
    let mut reset = update(&world.changed_execution(&row));
    for map in &first.maps {
        // Two stay with other values, two go, two come.
        let (stay, _) = split(map.replace.clone(), 2);
        let new = world.entries(map.replace.map(), 2);
        let replace = joined(world.changed_entries(&stay), new);
        reset.maps.push(MapWrite { remove: Removal::Others, replace });
    }
    write(world, &reset).await.unwrap();
    let state = read(world, &row.filter()).await.unwrap();
    let expected: Vec<_> = reset.maps.iter().map(|map| map.replace.clone()).collect();
    assert_eq!(state.maps, expected);
    // Nothing is written: nothing stays.
    for map in &mut reset.maps {
        map.replace = MapEntries::none(map.replace.map());
    }
    write(world, &reset).await.unwrap();
    let state = read(world, &row.filter()).await.unwrap();
    assert_eq!(state.maps, MapTable::ALL.map(MapEntries::none));
}

/// Temporal's stores write first and remove then (contract §3.3).
async fn an_entry_that_is_written_and_removed_is_gone(world: &World) {
    let row = world.execution();
    let first = everything(world, &row);
    write(world, &first).await.unwrap();
    for run in [RunWrite::Update(row.clone()), RunWrite::Insert(world.execution())] {
        let mut again = update(&row);
        let mut expected = Vec::new();
        for map in &first.maps {
            // One is there and written again, one is there, one is new, one is none of that.
            let (both, others) = split(world.changed_entries(&map.replace), 1);
            let (removed, stay) = split(others, 1);
            let new = world.entries(map.replace.map(), 1);
            let keys = joined(joined(both.clone(), removed.clone()), new.clone()).keys();
            let replace = joined(joined(both, stay.clone()), new);
            again.maps.push(MapWrite { remove: Removal::Keys(keys), replace });
            expected.push(stay);
        }
        let run_id = match &run {
            RunWrite::Update(row) | RunWrite::Insert(row) => row.filter(),
        };
        again.run = run;
        write(world, &again).await.unwrap();
        assert_eq!(read(world, &run_id).await.unwrap().maps, expected);
    }
}

async fn a_buffer_is_cleared_before_events_are_appended(world: &World) {
    let row = world.execution();
    write(world, &everything(world, &row)).await.unwrap();
    let mut expected = read(world, &row.filter()).await.unwrap().buffered;
    for clear in [false, true, false, true] {
        let append = world.events(3);
        let mut again = update(&row);
        again.buffered = BufferedWrite { clear, append: append.clone() };
        write(world, &again).await.unwrap();
        if clear {
            expected.clear();
        }
        expected.extend(append);
        assert_eq!(read(world, &row.filter()).await.unwrap().buffered, expected);
    }
    let mut last = update(&row);
    last.buffered.clear = true;
    write(world, &last).await.unwrap();
    assert_eq!(read(world, &row.filter()).await.unwrap().buffered, []);
}

/// A random write for a run whose entries all come from `pool`.
fn random_write(world: &World, run: RunWrite, pool: &[MapEntries]) -> ExecutionWrite {
    let chance = || world.random(|random| random.bool());
    let some_of = |entries: &MapEntries| {
        let mut some = MapEntries::none(entries.map());
        let mut left = entries.clone();
        while !left.is_empty() {
            let (first, others) = split(left, 1);
            if chance() {
                some = joined(some, first);
            }
            left = others;
        }
        some
    };
    let mut maps = Vec::new();
    for entries in pool {
        let remove =
            if chance() { Removal::Others } else { Removal::Keys(some_of(entries).keys()) };
        let replace = world.changed_entries(&some_of(entries));
        if chance() || chance() {
            maps.push(MapWrite { remove, replace });
        }
    }
    let append = if chance() { world.events(2) } else { Vec::new() };
    ExecutionWrite {
        run,
        current: None,
        maps,
        buffered: BufferedWrite { clear: chance(), append },
        tasks: if chance() { world.tasks_of_every_queue(1) } else { Tasks::default() },
    }
}

/// The same write for another run, one row operation after the other.
async fn one_by_one(world: &World, write: &ExecutionWrite, run: &ExecutionsFilter) -> Written {
    let of_run = |row: &ExecutionsRow| ExecutionsRow {
        shard_id: run.shard_id,
        namespace_id: run.namespace_id,
        workflow_id: run.workflow_id.clone(),
        run_id: run.run_id,
        ..row.clone()
    };
    let session = &mut *world.store.session();
    let rows = match &write.run {
        RunWrite::Insert(row) => session.insert_into_executions(&of_run(row)).await,
        RunWrite::Update(row) => session.update_executions(&of_run(row)).await,
    };
    let mut written = Written { run: rows.unwrap(), ..Written::default() };
    for MapWrite { remove, replace } in &write.maps {
        if *remove == Removal::Others {
            session.delete_all_from_map(run, replace.map(), None).await.unwrap();
        }
        session.replace_into_map(run, replace).await.unwrap();
        if let Removal::Keys(keys) = remove {
            session.delete_from_map(run, keys).await.unwrap();
        }
    }
    if write.buffered.clear {
        session.delete_from_buffered_events(run, None).await.unwrap();
    }
    session.insert_into_buffered_events(run, &write.buffered.append).await.unwrap();
    for (queue, tasks) in &write.tasks.immediate {
        let rows = session.insert_into_immediate_tasks(run.shard_id, queue, tasks).await;
        written.tasks += rows.unwrap();
    }
    for (queue, tasks) in &write.tasks.scheduled {
        let rows = session.insert_into_scheduled_tasks(run.shard_id, *queue, tasks).await;
        written.tasks += rows.unwrap();
    }
    written
}

async fn random_writes_do_what_their_row_operations_do(world: &World) {
    let (row, other) = (world.execution(), world.run());
    let pool = MapTable::ALL.map(|map| world.entries(map, 6));
    for round in 0..12 {
        let run = if round == 0 {
            RunWrite::Insert(row.clone())
        } else {
            RunWrite::Update(world.changed_execution(&row))
        };
        let random = random_write(world, run, &pool);
        let written = write(world, &random).await.unwrap();
        assert_eq!(written, one_by_one(world, &random, &other).await);
        let whole = read(world, &row.filter()).await.unwrap();
        let mut same = read(world, &other).await.unwrap();
        same.execution.shard_id = row.shard_id;
        same.execution.namespace_id = row.namespace_id;
        same.execution.workflow_id = row.workflow_id.clone();
        same.execution.run_id = row.run_id;
        assert_eq!(whole, same, "round {round}: {random:?}");
    }
    for queue in Queue::all() {
        let start = ScheduledKey { visibility_timestamp: Timestamp::MIN, task_id: 0 };
        let session = &mut *world.store.session();
        let whole = queue.select(session, row.shard_id, start, 99).await.unwrap();
        assert_eq!(queue.select(session, other.shard_id, start, 99).await.unwrap(), whole);
    }
}

async fn an_oversized_entry_is_refused_and_nothing_is_stored(world: &World) {
    let row = world.execution();
    let mut new = everything(world, &row);
    let MapEntries::ChasmNodes(nodes) = &mut new.maps[6].replace else {
        panic!("the last map is the one of nodes");
    };
    nodes[0].data = Some(vec![7; limits::MAX_VALUE_BYTES + 1]);
    let error = write(world, &new).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(rows(world).await, 0);
}

async fn more_than_three_thousand_rows_are_refused_and_nothing_is_stored(world: &World) {
    let row = world.execution();
    world.insert_execution(&row).await;
    let mut reset = update(&row);
    let replace = world.entries(MapTable::Activities, 3_500);
    reset.maps.push(MapWrite { remove: Removal::Others, replace });
    let error = write(world, &reset).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::TransactionRows, .. }),
        "{error:?}"
    );
    assert_eq!(rows(world).await, 1);
}

/// A write that gives every part of a run the same mark.
fn marked(row: &ExecutionsRow, maps: &[MapEntries], mark: u8) -> ExecutionWrite {
    let data = DataBlob::new([mark], row.data.encoding.clone());
    let mut write = update(&ExecutionsRow { data: data.clone(), ..row.clone() });
    for entries in maps {
        let mut replace = entries.clone();
        match &mut replace {
            MapEntries::Activities(of) => of.iter_mut().for_each(|of| of.data = data.clone()),
            MapEntries::Timers(of) => of.iter_mut().for_each(|of| of.data = data.clone()),
            MapEntries::ChasmNodes(of) => of.iter_mut().for_each(|of| of.metadata = data.clone()),
            other => panic!("{:?} is not marked", other.map()),
        }
        write.maps.push(MapWrite { remove: Removal::Others, replace });
    }
    write.buffered = BufferedWrite { clear: true, append: vec![data; 3] };
    write
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

async fn a_read_never_mixes_two_writes(world: &World) {
    const WRITES: u8 = 40;
    let row = world.execution();
    world.insert_execution(&row).await;
    let maps = [MapTable::Activities, MapTable::Timers, MapTable::ChasmNodes]
        .map(|map| world.entries(map, 3));
    write(world, &marked(&row, &maps, 0)).await.unwrap();
    let store = Arc::clone(&world.store);
    let run = row.filter();
    let writer = tokio::spawn(async move {
        for mark in 1..=WRITES {
            let write = marked(&row, &maps, mark);
            store
                .run("Write", &write, |transaction, write| transaction.write_execution(write))
                .await
                .unwrap();
        }
    });
    let mut last = 0;
    // Until the writer is done, or has panicked; then once more.
    let mut is_over = false;
    while !is_over {
        is_over = writer.is_finished();
        let marks = marks(&read(world, &run).await.unwrap());
        assert_eq!(marks, vec![marks[0]; 1 + 9 + 3]);
        assert!(marks[0] >= last, "a later read shows a later write");
        last = marks[0];
        // An adapter without I/O never waits, and the writer may be next in line on this thread.
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(last, WRITES);
}

async fn a_deleted_execution_leaves_nothing_of_its_run(world: &World) {
    let current = world.current();
    let row = world.execution_of(&current);
    world.insert(&current).await;
    write(world, &everything(world, &row)).await.unwrap();
    let mut other_row = world.changed_execution(&row);
    other_row.run_id = world.run_id();
    let other = everything(world, &other_row);
    write(world, &other).await.unwrap();

    let run = row.filter();
    let deleted = world
        .store
        .run("Delete", &run, |transaction, run| transaction.delete_mutable_state(run))
        .await;
    assert_eq!(deleted.unwrap(), 1);
    let mut session = world.store.session();
    assert_eq!(session.select_from_executions(&run).await.unwrap(), None);
    for map in MapTable::ALL {
        let left = session.select_all_from_map(&run, map).await.unwrap();
        assert!(left.is_empty(), "{map:?} has {left:?}");
    }
    assert_eq!(session.select_from_buffered_events(&run).await.unwrap(), []);
    // Another run, the current execution and the tasks are not of the run.
    assert_eq!(read(world, &other_row.filter()).await, Some(expected(&other_row, &other)));
    assert_eq!(world.read(&current.filter()).await, Some(current));
    assert_eq!(world.place.count(Table::TransferTasks).await, 4);
}

async fn deleting_an_absent_execution_affects_none(world: &World) {
    let row = world.execution();
    let run = row.filter();
    assert_eq!(world.store.session().delete_mutable_state(&run).await.unwrap(), 0);
    // What an earlier deletion left behind goes, too.
    write(world, &everything(world, &row)).await.unwrap();
    let mut session = world.store.session();
    session.delete_from_executions(&run).await.unwrap();
    assert_eq!(session.delete_mutable_state(&run).await.unwrap(), 0);
    assert_eq!(rows(world).await, 14, "only the tasks are left");
}
