//! The round trips of each operation on an execution, counted on the wire. Their number does not
//! depend on the number of rows. `docs/performance.md` shows them in a table.

use crate::support::{
    OWNER,
    operations::{LARGE, Run, Size, TYPICAL, conflict_resolve, create, set, tasks, update},
};
use temporal_dsql_domain::{ArchetypeId, MapEntries};
use temporal_dsql_ports::Store;
use temporal_dsql_store::{DsqlStore, WriteForm, connect};
use temporal_dsql_stores::{ExecutionStore, TaskStore};
use temporal_dsql_testkit::{FaultProxy, ScratchDatabase};

/// The operations, in the order in which [`count`] counts them and the table shows them.
const OPERATIONS: [&str; 9] = [
    "create",
    "update",
    "update with a new run",
    "conflict resolve with three runs",
    "set",
    "add tasks",
    "get",
    "get current",
    "delete",
];

/// Round trips of each of the [`OPERATIONS`]; BEGIN and COMMIT are counted.
type Counts = [u64; OPERATIONS.len()];

/// Executes each operation once, and counts its round trips.
async fn count(
    store: &DsqlStore,
    proxy: &FaultProxy,
    archetype: ArchetypeId,
    size: Size,
) -> Counts {
    let executions = ExecutionStore::new(store);
    let mut before = proxy.round_trips();
    let mut trips = || {
        let now = proxy.round_trips();
        now - std::mem::replace(&mut before, now)
    };
    let first = Run::new(OWNER, archetype, size);
    let (second, third) = (first.next(), first.next());

    executions.create(&create(&first)).await.unwrap();
    let create = trips();
    executions.update(&update(&first, 2, None)).await.unwrap();
    let update_alone = trips();
    let first = first.closed();
    executions.update(&update(&first, 3, Some(&second))).await.unwrap();
    let update_with_new = trips();
    let second = second.closed();
    let request = conflict_resolve((&first, 4), Some((&second, 2)), Some(&third));
    executions.conflict_resolve(&request).await.unwrap();
    let conflict_resolve = trips();
    executions.set(&set(&third, 2)).await.unwrap();
    let set = trips();

    let tasks = tasks(size, fastrand::i64(0..i64::MAX / 2));
    TaskStore::new(store).add(OWNER, &tasks).await.unwrap();
    let add_tasks = trips();

    let run = third.execution(2).filter();
    let read = executions.get(&run).await.unwrap().unwrap();
    let get = trips();
    assert_eq!(read.execution.db_record_version, 2);
    let entries_read: usize = read.maps.iter().map(MapEntries::len).sum();
    assert_eq!(entries_read as i64, size.activities + size.nodes);

    let read = executions.get_current(&third.current.filter()).await.unwrap().unwrap();
    let get_current = trips();
    assert_eq!(read.run_id, third.current.run_id);

    executions.delete(&run).await.unwrap();
    let delete = trips();
    assert_eq!(executions.get(&run).await.unwrap(), None);
    [
        create,
        update_alone,
        update_with_new,
        conflict_resolve,
        set,
        add_tasks,
        get,
        get_current,
        delete,
    ]
}

/// Counts for a store with this form, on a connection with prepared statements.
async fn counts(database: &ScratchDatabase, proxy: &FaultProxy, form: WriteForm) -> Counts {
    let mut config = crate::support::config(database, proxy.addr());
    config.write_form = form;
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

/// The table in `docs/performance.md`: one statement, and a statement per table.
fn shown() -> [Counts; 2] {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md");
    let document = std::fs::read_to_string(document).unwrap();
    let of_operation = |write: &str| {
        let mut rows = document.lines().filter_map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, one, per_table] = cells.as_slice() else { return None };
            (*name == write).then(|| [one.parse().unwrap(), per_table.parse().unwrap()])
        });
        let counts: [u64; 2] = rows.next().unwrap_or_else(|| panic!("no row for `{write}`"));
        assert_eq!(rows.next(), None, "a second row for `{write}`");
        counts
    };
    let rows = OPERATIONS.map(of_operation);
    [0, 1].map(|form| rows.map(|row| row[form]))
}

#[tokio::test]
async fn a_write_takes_a_fixed_number_of_round_trips_in_each_configuration() {
    let Some((database, proxy)) = crate::support::database_with_proxy().await else { return };
    let store = connect(&crate::support::config(&database, proxy.addr()), None).await.unwrap();
    store.session().insert_into_shards(&crate::support::shard()).await.unwrap();
    let one_statement = counts(&database, &proxy, WriteForm::OneStatement).await;
    let per_table = counts(&database, &proxy, WriteForm::StatementPerTable).await;
    assert_eq!(one_statement, [1; OPERATIONS.len()], "{OPERATIONS:?}");
    // At most 12 and COMMIT; a read has no transaction.
    assert!(per_table.iter().all(|trips| *trips <= 13), "{OPERATIONS:?}: {per_table:?}");
    assert_eq!(shown(), [one_statement, per_table], "what docs/performance.md shows");
}
