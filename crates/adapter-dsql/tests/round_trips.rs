//! How many round trips an act on a whole execution takes, counted on the wire in every form, and
//! that their number does not depend on how much is written. `docs/performance.md` has the table of
//! them.

mod support;

use support::{OWNER, blob, current};
use temporal_dsql_domain::{
    ArchetypeId, ChasmNode, ChasmPath, CurrentExecutionsRow, ExecutionsRow, IdEntry,
    ImmediateQueue, ImmediateTask, MapEntries, MapKeys, ScheduledKey, ScheduledQueue,
    ScheduledTask, Tasks, Timestamp,
};
use temporal_dsql_ports::{
    BufferedWrite, MapWrite, Removal, RetryPolicy, Store,
    stores::{
        CreateExecution, CreateMode, ExecutionStore, Expected, Mutation, SetExecution, Snapshot,
        UpdateExecution, UpdateMode,
    },
};
use temporal_dsql_store::{DsqlStore, StatementForm, connect};
use temporal_dsql_testkit::{FaultProxy, ScratchDatabase};

/// How much an act writes.
#[derive(Clone, Copy)]
struct Size {
    /// Tasks of each queue.
    tasks: i64,
    activities: i64,
    nodes: i64,
}

/// One transfer and one timer task, two activities, four CHASM nodes.
const TYPICAL: Size = Size { tasks: 1, activities: 2, nodes: 4 };
const LARGE: Size = Size { tasks: 50, activities: 50, nodes: 50 };

/// Round trips of each act, BEGIN and COMMIT included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    create: u64,
    update: u64,
    get: u64,
    delete: u64,
}

/// Entries of two maps.
fn entries(size: Size) -> [MapEntries; 2] {
    let node = |path| ChasmNode {
        path: ChasmPath::new(format!("node-{path}")).unwrap(),
        metadata: blob(),
        data: Some(vec![4]),
        data_encoding: blob().encoding,
    };
    [
        MapEntries::Activities(
            (0..size.activities).map(|id| IdEntry { id, data: blob() }).collect(),
        ),
        MapEntries::ChasmNodes((0..size.nodes).map(node).collect()),
    ]
}

/// Tasks that are not there, whose ids begin at `first_id`.
fn tasks(size: Size, first_id: i64) -> Tasks {
    let ids = first_id..first_id + size.tasks;
    let immediate = ids.clone().map(|task_id| ImmediateTask { task_id, data: blob() });
    let scheduled = ids.map(|task_id| ScheduledTask {
        key: ScheduledKey { visibility_timestamp: Timestamp::UNIX_EPOCH, task_id },
        data: blob(),
    });
    Tasks {
        immediate: vec![(ImmediateQueue::Transfer, immediate.collect())],
        scheduled: vec![(ScheduledQueue::Timer, scheduled.collect())],
    }
}

fn execution(current: &CurrentExecutionsRow, db_record_version: i64) -> ExecutionsRow {
    ExecutionsRow {
        shard_id: current.shard_id,
        namespace_id: current.namespace_id,
        workflow_id: current.workflow_id.clone(),
        run_id: current.run_id,
        next_event_id: 3,
        last_write_version: 1,
        data: blob(),
        state: blob(),
        db_record_version,
    }
}

/// Creates, updates, reads and deletes an execution, and counts.
async fn count(
    store: &DsqlStore,
    proxy: &FaultProxy,
    archetype: ArchetypeId,
    size: Size,
) -> Counts {
    let current = current(archetype);
    let first_id = fastrand::i64(0..i64::MAX / 2);
    let create = CreateExecution {
        owner: OWNER,
        mode: CreateMode::BrandNew,
        snapshot: Snapshot {
            execution: execution(&current, 1),
            current: current.clone(),
            maps: entries(size).into(),
            tasks: tasks(size, first_id),
            events: Vec::new(),
        },
    };
    let replace = |entries: MapEntries| MapWrite {
        remove: Removal::Keys(MapKeys::none(entries.map())),
        replace: entries,
    };
    let update = UpdateExecution {
        owner: OWNER,
        mode: UpdateMode::UpdateCurrent,
        mutation: Mutation {
            execution: execution(&current, 2),
            expected: Expected::RecordVersion(1),
            current: current.clone(),
            maps: entries(size).map(replace).into(),
            buffered: BufferedWrite::default(),
            tasks: tasks(size, first_id + 1_000),
            events: Vec::new(),
        },
        new: None,
    };
    let run = create.snapshot.execution.filter();
    let executions = ExecutionStore::new(store);
    let mut before = proxy.round_trips();
    let mut trips = || {
        let now = proxy.round_trips();
        now - std::mem::replace(&mut before, now)
    };
    executions.create(&create).await.unwrap();
    let create = trips();
    executions.update(&update).await.unwrap();
    let update = trips();
    let read = executions.get(&run).await.unwrap().unwrap();
    let get = trips();
    assert_eq!(read.execution.db_record_version, 2);
    let entries_read: usize = read.maps.iter().map(MapEntries::len).sum();
    assert_eq!(entries_read as i64, size.activities + size.nodes);
    executions.delete(&run).await.unwrap();
    let delete = trips();
    assert_eq!(executions.get(&run).await.unwrap(), None);
    Counts { create, update, get, delete }
}

/// Counts for a store with these forms, on a connection that knows its statements.
async fn counts(
    database: &ScratchDatabase,
    proxy: &FaultProxy,
    write_form: StatementForm,
    lock_form: StatementForm,
) -> Counts {
    let mut config = support::config(database, proxy.addr());
    (config.write_form, config.lock_form) = (write_form, lock_form);
    let store = connect(&config, None).await.unwrap();
    let mut counted = Vec::new();
    for archetype in [ArchetypeId::WORKFLOW, ArchetypeId::SCHEDULER] {
        count(&store, proxy, archetype, TYPICAL).await;
        for size in [TYPICAL, LARGE] {
            counted.push(count(&store, proxy, archetype, size).await);
        }
    }
    assert_eq!(counted, [counted[0]; 4], "the same for every archetype and size");
    counted[0]
}

/// A database behind a proxy, and in it the owner's shard.
/// A database with a shard in it, and a proxy before it.
async fn owned() -> Option<(ScratchDatabase, FaultProxy)> {
    let (database, proxy) = support::wired().await?;
    let store = support::open(&database, proxy.addr(), RetryPolicy::default()).await;
    store.session().insert_into_shards(&support::shard()).await.unwrap();
    Some((database, proxy))
}

#[tokio::test]
async fn an_act_takes_as_many_round_trips_as_its_form_says_however_much_it_writes() {
    use StatementForm::{Combined, Separate};
    let Some((database, proxy)) = owned().await else { return };
    for (write_form, lock_form, [create, update, get, delete]) in [
        (Combined, Combined, [4, 4, 1, 1]),
        (Combined, Separate, [5, 6, 1, 1]),
        (Separate, Combined, [9, 9, 1, 11]),
        (Separate, Separate, [10, 11, 1, 11]),
    ] {
        let counted = counts(&database, &proxy, write_form, lock_form).await;
        assert_eq!(counted, Counts { create, update, get, delete });
        assert_eq!(shown(write_form, lock_form), counted, "what docs/performance.md shows");
    }
}

/// What the table in `docs/performance.md` shows for these forms.
fn shown(write_form: StatementForm, lock_form: StatementForm) -> Counts {
    let document = include_str!("../../../docs/performance.md");
    let forms = [write_form, lock_form].map(|form| format!("{form:?}").to_lowercase());
    let mut found = document.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [writes, locks, counts @ ..] = cells.as_slice() else { return None };
        let counts: Vec<u64> = counts.iter().map_while(|cell| cell.parse().ok()).collect();
        let [create, update, get, delete] = *counts else { return None };
        ([*writes, *locks] == forms).then_some(Counts { create, update, get, delete })
    });
    let counts = found.next().expect("the table has a row for these forms");
    assert_eq!(found.next(), None, "a second row for {forms:?}");
    counts
}

/// The act with the most parts: every map is replaced, and the buffer is cleared.
#[tokio::test]
async fn replacing_a_whole_execution_takes_four_round_trips_in_one_statement_too() {
    let Some((database, proxy)) = owned().await else { return };
    let store = support::open(&database, proxy.addr(), RetryPolicy::default()).await;
    let executions = ExecutionStore::new(&store);
    for is_warm in [false, true] {
        let current = current(ArchetypeId::WORKFLOW);
        let snapshot = |db_record_version| Snapshot {
            execution: execution(&current, db_record_version),
            current: current.clone(),
            maps: entries(LARGE).into(),
            tasks: tasks(LARGE, fastrand::i64(0..i64::MAX / 2)),
            events: Vec::new(),
        };
        let mode = CreateMode::BrandNew;
        let create = CreateExecution { owner: OWNER, mode, snapshot: snapshot(1) };
        executions.create(&create).await.unwrap();
        let expected = Expected::RecordVersion(1);
        let set = SetExecution { owner: OWNER, snapshot: snapshot(2), expected };
        let before = proxy.round_trips();
        executions.set(&set).await.unwrap();
        assert!(!is_warm || proxy.round_trips() - before == 4);
    }
}
