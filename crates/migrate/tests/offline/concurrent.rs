//! Concurrent runs: all succeed, and together have the effect of one.

use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{
    ColumnDefinition, MigrateError, Migrator, Progress, Report, Setup, TableDefinition, Timeouts,
    VersionRow,
};
use tokio::task::JoinSet;

use crate::{
    Command, V1_0, V1_1, cluster_at,
    custom_schemas::schema_of,
    embedded,
    fake_cluster::{Behaviour, Cluster, Contents},
    history, pairs,
    spec::assert_is,
};

const RUNS: u64 = 10;

/// Runs `command` ten times concurrently, interleaved by `seed`. Returns the steps executed.
async fn ten_at_once(command: Command, cluster: &Cluster, seed: u64) -> usize {
    fastrand::seed(seed);
    let mut runs = JoinSet::new();
    for run in 0..RUNS {
        let mut session = cluster.session().interleaved(seed * RUNS + run, 3);
        runs.spawn(async move { command.run_with(embedded(), &mut session).await });
    }
    let reports = runs.join_all().await;
    let done = reports.into_iter().enumerate().map(|(run, report)| match report {
        Ok(report) => report.done,
        Err(error) => panic!("seed {seed}, run {run} of {command:?}: {error}"),
    });
    done.sum()
}

#[tokio::test(start_paused = true)]
async fn t10_ten_updates_at_once_all_succeed_and_leave_one_history_row() {
    for seed in 0..100 {
        let cluster = cluster_at(V1_0).await;
        let done = ten_at_once(Command::Update(V1_1), &cluster, seed).await;
        assert_eq!(done, 2, "seed {seed}: one table and one version, in any of the runs");
        assert_is(&cluster.contents().catalog, V1_1);
        assert_eq!(history(&cluster), pairs(&[("0", "1.0"), ("1.0", "1.1")]), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_updates_over_several_versions_at_once_record_each_version_once() {
    for seed in 0..20 {
        let cluster = cluster_at(SchemaVersion::NONE).await;
        ten_at_once(Command::Update(V1_1), &cluster, seed).await;
        assert_is(&cluster.contents().catalog, V1_1);
        let recorded = pairs(&[("0", "0.0"), ("0.0", "1.0"), ("1.0", "1.1")]);
        assert_eq!(history(&cluster), recorded, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn t10_ten_setups_at_once_all_succeed_and_leave_one_history_row() {
    for seed in 0..20 {
        let cluster = Cluster::new(Behaviour::default());
        ten_at_once(Command::Setup(V1_1), &cluster, seed).await;
        assert_is(&cluster.contents().catalog, V1_1);
        assert_eq!(history(&cluster), pairs(&[("0", "1.1")]), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_rollbacks_at_once_all_succeed_and_leave_one_history_row() {
    for seed in 0..100 {
        let cluster = cluster_at(V1_1).await;
        ten_at_once(Command::Rollback(V1_0), &cluster, seed).await;
        assert_is(&cluster.contents().catalog, V1_0);
        assert_eq!(history(&cluster), pairs(&[("0", "1.1"), ("1.1", "1.0")]), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_and_an_update_at_once_leave_the_tables_of_the_version_or_one_of_them_fails() {
    let (rollback, update) = (Command::Rollback(V1_0), Command::Update(V1_1));
    for (seed, (first, second, from)) in
        (0..400).zip([(rollback, update, V1_1), (update, rollback, V1_0)].into_iter().cycle())
    {
        let cluster = cluster_at(from).await;
        fastrand::seed(seed);
        // The second run begins when the first one has recorded its version, and is faster.
        let recorded = || cluster.contents().versions[0].0.version.clone();
        let before = recorded();
        let mut runs = JoinSet::new();
        for (run, command, most) in [(0, first, 40), (1, second, 1)] {
            let mut session = cluster.session().interleaved(seed * RUNS + run, most);
            runs.spawn(async move { command.run_with(embedded(), &mut session).await });
            for _ in 0..1_000 {
                if recorded() != before {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let results = runs.join_all().await;
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(error, MigrateError::VersionChanged { .. }), "seed {seed}: {error}");
        }
        if results.iter().all(Result::is_ok) {
            let contents = cluster.contents();
            let recorded = contents.versions[0].0.version.as_deref().unwrap();
            assert_is(&contents.catalog, recorded.parse().unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_runs_that_find_the_same_invalid_index_leave_one_that_is_valid() {
    for seed in 0..50 {
        let cluster = cluster_at(V1_0).await;
        cluster.behave(|behaviour| behaviour.removes_ended_jobs = true);
        cluster.change(|contents| {
            contents.catalog.indexes.get_mut("idx_namespaces_name").unwrap().valid = false;
        });
        ten_at_once(Command::Update(V1_1), &cluster, seed).await;
        assert_is(&cluster.contents().catalog, V1_1);
        assert_eq!(history(&cluster).len(), 2, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_another_run_drops_before_the_version_is_recorded_is_created_again() {
    let cluster = Cluster::new(Behaviour::default());
    // The server has answered that the table is created.
    let drop = |progress: Progress<'_>| {
        if let Progress::Finished { step, done: true, .. } = progress
            && step.summary() == "create table shards"
        {
            cluster.change(|contents| {
                contents.catalog.tables.remove("shards");
            });
        }
    };
    let mut session = cluster.session();
    let mut migrator =
        Migrator::new(embedded(), &mut session, "postgres", Timeouts::default(), &drop);
    let plan = Command::Setup(V1_1).plan(&mut migrator).await.unwrap();
    let report = migrator.apply(&plan).await.unwrap();
    assert_eq!(report.done, plan.steps.len());
    assert_is(&cluster.contents().catalog, V1_1);
    let creations = cluster.take_calls();
    let creations = creations.iter().filter(|call| *call == "create table shards").count();
    assert_eq!(creations, 2);
}

/// Sets up `text` at 1.0, while `meanwhile` changes the cluster when the step `at` starts.
async fn set_up(
    text: &str,
    at: &str,
    meanwhile: impl Fn(&mut Contents) + Sync,
) -> (Cluster, Result<Report, MigrateError>) {
    let schema = schema_of(&[("1.0", text)]);
    let cluster = Cluster::new(Behaviour::default());
    let observer = |progress: Progress<'_>| {
        if let Progress::Started { step, .. } = progress
            && step.summary() == at
        {
            cluster.change(|contents| meanwhile(contents));
        }
    };
    let mut session = cluster.session();
    let mut migrator =
        Migrator::new(&schema, &mut session, "postgres", Timeouts::default(), &observer);
    let plan = migrator.plan_setup(&Setup::default()).await.unwrap();
    let result = migrator.apply(&plan).await;
    (cluster, result)
}

fn column(name: &str) -> ColumnDefinition {
    let (name, data_type) = (name.to_owned(), "integer".to_owned());
    ColumnDefinition { name, data_type, nullable: true, default: None }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_dropped_after_a_column_was_added_gets_the_column_again() {
    let text = "CREATE TABLE a (id INT PRIMARY KEY);
                ALTER TABLE a ADD COLUMN x INT;
                CREATE TABLE b (id INT PRIMARY KEY);";
    let drop = |contents: &mut Contents| {
        contents.catalog.tables.remove("a");
    };
    let (cluster, result) = set_up(text, "create table b", drop).await;
    result.unwrap();
    assert_eq!(cluster.contents().catalog.tables["a"].columns.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_dropped_while_others_are_built_is_created_again() {
    let text = "CREATE TABLE a (id INT PRIMARY KEY);
                CREATE INDEX ASYNC a_id ON a (id);
                CREATE TABLE b (id INT PRIMARY KEY);";
    let drop = |contents: &mut Contents| {
        contents.catalog.indexes.remove("a_id");
    };
    let (cluster, result) = set_up(text, "create table b", drop).await;
    assert_eq!(result.unwrap().done, 6);
    assert!(cluster.contents().catalog.indexes["a_id"].valid);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_changed_after_another_run_has_recorded_the_version_is_no_error() {
    let text = "CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (id INT PRIMARY KEY);";
    let change = |recorded: Option<&'static str>| {
        move |contents: &mut Contents| {
            contents.catalog.tables.get_mut("a").unwrap().columns.push(column("x"));
            contents.versions.extend(recorded.map(|version| {
                let row = VersionRow {
                    database: "postgres".to_owned(),
                    version: Some(version.to_owned()),
                    min_compatible: Some("1.0".to_owned()),
                };
                (row, 0)
            }));
        }
    };
    let (_, result) = set_up(text, "create table b", change(Some("1.0"))).await;
    result.unwrap();
    let (_, result) = set_up(text, "create table b", change(None)).await;
    assert!(matches!(result, Err(MigrateError::Differs(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn another_table_of_the_name_gets_no_column() {
    let text = "CREATE TABLE IF NOT EXISTS a (id INT PRIMARY KEY);
                ALTER TABLE a ADD COLUMN x INT;";
    let create = |contents: &mut Contents| {
        let table = TableDefinition { columns: vec![column("y")], ..TableDefinition::default() };
        contents.catalog.tables.insert("a".to_owned(), table);
    };
    let (cluster, result) = set_up(text, "create table a", create).await;
    assert!(matches!(result, Err(MigrateError::Differs(_))), "{result:?}");
    assert_eq!(cluster.contents().catalog.tables["a"].columns, [column("y")]);
}
