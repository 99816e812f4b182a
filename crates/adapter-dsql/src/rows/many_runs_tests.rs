//! Tests of statements that write rows of several runs of one id, on a server: each writes exactly
//! the given rows, for any order of the runs.

use sqlx::{ConnectOptions, PgConnection, Row, postgres::PgConnectOptions};
use temporal_dsql_domain::{
    BranchId, BranchKey, ExecutionsRow, HistoryNode, HistoryTreeRow, MapTable, RunId, TreeId,
};
use temporal_dsql_migrate::{
    DEFAULT_DATABASE, IgnoreProgress, Migrator, PostgresDatabase, Schema, Setup, Timeouts,
};
use temporal_dsql_testkit::ScratchDatabase;
use uuid::Uuid;

use super::{
    buffered_events, executions, history_node, history_tree, maps,
    test_rows::{NAMESPACE, SHARD, blob, entries, run},
};
use crate::{
    arguments::Arguments,
    statement::{Meta, Statement},
};

/// In the order of their ids.
const A: RunId = RunId(Uuid::from_u128(10));
const B: RunId = RunId(Uuid::from_u128(11));
const C: RunId = RunId(Uuid::from_u128(12));

pub(super) async fn connect() -> Option<(ScratchDatabase, PgConnection)> {
    let database = ScratchDatabase::create().await?;
    let schema = Schema::embedded().unwrap();
    let options: PgConnectOptions = database.url().parse().unwrap();
    let timeouts = Timeouts::default();
    let connector = temporal_dsql_client::connector_with(options.clone());
    let mut target = PostgresDatabase::connect(connector, None, &timeouts.retry).await.unwrap();
    let mut migrator =
        Migrator::new(&schema, &mut target, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
    let plan = migrator.plan_setup(&Setup::default()).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    let connection = options.connect().await.unwrap();
    Some((database, connection))
}

/// The statement whose text has this name.
fn meta(name: &str) -> &'static Meta {
    super::statements().find(|meta| meta.text.name() == name).unwrap()
}

/// Sends a statement whose arguments are those of the id and what `set` adds; how many rows it
/// affected.
async fn send<'a>(
    connection: &mut PgConnection,
    name: &str,
    set: impl FnOnce(&mut Arguments<'a>),
) -> u64 {
    let mut arguments = Arguments::default();
    executions::set_id(&mut arguments, SHARD, NAMESPACE, "id");
    set(&mut arguments);
    let statement = Statement::new(meta(name), SHARD, &arguments);
    let query = sqlx::query_with(statement.meta.text.sql(), statement.into_arguments());
    query.execute(connection).await.unwrap_or_else(|e| panic!("{name}: {e}")).rows_affected()
}

/// Pairs of a run and a key, in their order.
async fn pairs(database: &ScratchDatabase, table: &str, key: &str) -> Vec<(RunId, String)> {
    let sql = format!("SELECT run_id, ({key})::text FROM {table} ORDER BY 1, 2");
    let rows = database.query(&sql).await.unwrap();
    let pair = |row: &Vec<Option<String>>| {
        (row[0].as_deref().unwrap().parse().unwrap(), row[1].clone().unwrap())
    };
    rows.iter().map(pair).collect()
}

#[tokio::test]
async fn runs_are_inserted_and_updated_each_with_its_own_values() {
    let Some((database, mut connection)) = connect().await else { return };
    let new = [run(C, 3), run(A, 1), run(B, 2)];
    let set = |arguments: &mut _| executions::set_rows(arguments, &new);
    assert_eq!(send(&mut connection, "InsertIntoExecutions", set).await, 3);
    let changed = [run(C, 30), run(A, 10)];
    let set = |arguments: &mut _| executions::set_rows(arguments, &changed);
    assert_eq!(send(&mut connection, "UpdateExecutions", set).await, 2);
    let found = pairs(&database, "executions", "next_event_id").await;
    assert_eq!(found, [(A, "10".into()), (B, "2".into()), (C, "30".into())]);
    let none: [ExecutionsRow; 0] = [];
    let set = |arguments: &mut _| executions::set_rows(arguments, &none);
    assert_eq!(send(&mut connection, "UpdateExecutions", set).await, 0);
}

#[tokio::test]
async fn entries_of_maps_are_written_and_deleted_run_by_run() {
    let Some((database, mut connection)) = connect().await else { return };
    for (map, name, key) in [
        (MapTable::Activities, "ActivityInfoMaps", "schedule_id"),
        (MapTable::Timers, "TimerInfoMaps", "timer_id"),
        (MapTable::ChildExecutions, "ChildExecutionInfoMaps", "initiated_id"),
        (MapTable::RequestCancels, "RequestCancelInfoMaps", "initiated_id"),
        (MapTable::Signals, "SignalInfoMaps", "initiated_id"),
        (MapTable::SignalsRequested, "SignalsRequestedSets", "signal_id"),
        (MapTable::ChasmNodes, "ChasmNodeMaps", "chasm_path"),
    ] {
        let all = entries(map, &[2, 1]);
        let set = |arguments: &mut _| {
            maps::set_entries(arguments, map, &[(C, &all), (A, &all), (B, &all), (C, &all)]);
        };
        assert_eq!(send(&mut connection, &format!("ReplaceInto{name}"), set).await, 6, "{name}");
        // One entry of each run. The other run has an entry with the same key.
        let (first, second) = (entries(map, &[1]).keys(), entries(map, &[2]).keys());
        let removed = [(C, &first), (A, &second)];
        let set = |arguments: &mut _| maps::set_keys_of(arguments, map, maps::REMOVED, &removed);
        assert_eq!(send(&mut connection, &format!("DeleteFrom{name}"), set).await, 2, "{name}");
        let table = map.table().name();
        let expected = [(A, 1), (B, 1), (B, 2), (C, 2)].map(|(run, key)| (run, key.to_string()));
        assert_eq!(pairs(&database, table, key).await, expected, "{name}");
        // The written entry is kept, but only in the run that it is written to.
        let written = entries(map, &[2]);
        let set = |arguments: &mut _| {
            executions::set_run_ids(arguments, "replaced_run_ids", [C, A]);
            maps::set_entries(arguments, map, &[(C, &written)]);
        };
        assert_eq!(send(&mut connection, &format!("DeleteAllFrom{name}"), set).await, 1, "{name}");
        let expected = [(B, 1), (B, 2), (C, 2)].map(|(run, key)| (run, key.to_string()));
        assert_eq!(pairs(&database, table, key).await, expected, "{name}");
    }
}

#[tokio::test]
async fn buffers_are_continued_and_cleared_run_by_run() {
    let Some((database, mut connection)) = connect().await else { return };
    let events = [blob(1), blob(2)];
    for (of_runs, count) in [(&[C, A][..], 4), (&[C], 2)] {
        let of_runs: Vec<_> = of_runs.iter().map(|run_id| (*run_id, &events[..])).collect();
        let set = |arguments: &mut _| buffered_events::set_events(arguments, &of_runs).unwrap();
        assert_eq!(send(&mut connection, "InsertIntoBufferedEvents", set).await, count);
    }
    let positions = pairs(&database, "buffered_events", "id / 281474976710656").await;
    let expected = [(A, 1), (A, 2), (C, 1), (C, 2), (C, 3), (C, 4)];
    assert_eq!(positions, expected.map(|(run, position)| (run, position.to_string())));
    let set = |arguments: &mut _| executions::set_run_ids(arguments, "cleared_run_ids", [C, B]);
    assert_eq!(send(&mut connection, "DeleteFromBufferedEvents", set).await, 4);
    assert_eq!(pairs(&database, "buffered_events", "id").await.len(), 2);
}

#[tokio::test]
async fn nodes_and_branches_of_several_trees_are_written_at_once() {
    let Some((_database, mut connection)) = connect().await else { return };
    let branch = |id| BranchKey {
        shard_id: SHARD,
        tree_id: TreeId(Uuid::from_u128(id)),
        branch_id: BranchId(Uuid::from_u128(id + 1)),
    };
    let branches = [branch(5), branch(3)];
    let node = |byte| HistoryNode { node_id: 1, txn_id: 2, prev_txn_id: 0, data: blob(byte) };
    let (old, new) = (node(1), node(2));
    let nodes = [(&branches[0], &old), (&branches[1], &old), (&branches[0], &new)];
    let set = |arguments: &mut _| history_node::set_nodes(arguments, nodes).unwrap();
    assert_eq!(send(&mut connection, "InsertIntoHistoryNode", set).await, 2);
    let rows = branches.map(|branch| HistoryTreeRow { branch, data: blob(3) });
    let set = |arguments: &mut _| history_tree::set_rows(arguments, &rows);
    assert_eq!(send(&mut connection, "InsertIntoHistoryTree", set).await, 2);
    let joined = "SELECT node.data FROM history_node AS node INNER JOIN history_tree AS tree \
                  ON tree.tree_id = node.tree_id AND tree.branch_id = node.branch_id \
                  ORDER BY node.tree_id";
    let found = sqlx::query(joined).fetch_all(&mut connection).await.unwrap();
    let found: Vec<Vec<u8>> = found.iter().map(|row| row.get("data")).collect();
    assert_eq!(found, [[1], [2]], "of two nodes with one key the last one counts");
}
