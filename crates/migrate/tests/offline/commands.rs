//! The effects and refusals of each command.

use std::sync::Mutex;

use temporal_dsql_domain::{SchemaVersion, VERSION};
use temporal_dsql_migrate::{
    ColumnDefinition, DatabaseError, Difference, HISTORY_TABLE, IgnoreProgress, MigrateError,
    Migrator, Progress, Report, Schema, Setup, StepState, TableDefinition, Timeouts, VERSION_TABLE,
};

use crate::{
    Command, V1_0, V1_1, chain, cluster_at, embedded,
    fake_cluster::{Behaviour, Cluster, add_row, version_row},
    history, migrator, newest, pairs,
    spec::assert_is,
};

const CHASM: &str = "current_chasm_executions";

fn empty() -> Cluster {
    Cluster::new(Behaviour::default())
}

pub(crate) async fn fails(command: Command, cluster: &Cluster) -> MigrateError {
    let before = cluster.contents();
    let error = command.run(cluster.session()).await.unwrap_err();
    assert_eq!(cluster.contents(), before, "nothing was changed");
    error
}

/// Runs `command`, and asserts that it changes nothing.
pub(crate) async fn does_nothing(command: Command, cluster: &Cluster) {
    let before = cluster.contents();
    let report = command.run(cluster.session()).await.unwrap();
    assert_eq!(report.done, 0, "{command:?}");
    assert_eq!(cluster.contents(), before, "{command:?}");
}

#[tokio::test(start_paused = true)]
async fn a_setup_makes_exactly_the_version_that_is_asked_for() {
    for version in [V1_0, V1_1] {
        let text = &*version.to_string();
        let cluster = cluster_at(version).await;
        let contents = cluster.contents();
        assert_is(&contents.catalog, version);
        assert_eq!(contents.versions[0].0, version_row("postgres", text).0);
        let [row] = contents.history.as_slice() else {
            panic!("{:?}", contents.history);
        };
        assert_eq!((&*row.old, &*row.new, &*row.manifest_md5), ("0", text, ""));
        assert_eq!(row.description, "initial version");
    }
}

#[tokio::test(start_paused = true)]
async fn a_setup_of_0_0_makes_the_version_tables_only_and_an_update_does_the_rest() {
    let cluster = cluster_at(SchemaVersion::NONE).await;
    let tables: Vec<_> = cluster.contents().catalog.tables.into_keys().collect();
    assert_eq!(tables, [HISTORY_TABLE, VERSION_TABLE]);
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
    let contents = cluster.contents();
    for (row, release) in contents.history[1..].iter().zip(embedded().releases()) {
        assert_eq!(row.manifest_md5, release.manifest_md5);
        assert_eq!(row.description, release.description);
    }
    assert_eq!(contents.versions[0].0, version_row("postgres", "1.1").0);
}

#[tokio::test(start_paused = true)]
async fn t3_running_a_command_again_changes_no_row_and_no_timestamp() {
    let cluster = cluster_at(V1_0).await;
    does_nothing(Command::Setup(V1_0), &cluster).await;
    does_nothing(Command::Update(V1_0), &cluster).await;
    does_nothing(Command::Rollback(V1_0), &cluster).await;
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    does_nothing(Command::Update(V1_1), &cluster).await;
    does_nothing(Command::Setup(V1_1), &cluster).await;
}

#[tokio::test(start_paused = true)]
async fn t4_the_first_row_is_written_once_and_never_overwritten() {
    let cluster = cluster_at(SchemaVersion::NONE).await;
    Command::Update(V1_0).run(cluster.session()).await.unwrap();
    // A setup that ended before its version was recorded.
    cluster.change(|contents| {
        contents.versions[0] = version_row("postgres", "0.0");
        contents.rows.get_mut("namespace_metadata").unwrap()[0][1] = Some("7".to_owned());
    });
    Command::Update(V1_0).run(cluster.session()).await.unwrap();
    let rows = &cluster.contents().rows["namespace_metadata"];
    assert_eq!(*rows, [[Some("54321".to_owned()), Some("7".to_owned())]]);
}

#[tokio::test(start_paused = true)]
async fn t7_conflicts_around_ddl_are_retried_and_reported() {
    // Every statement changes the catalog, which causes OC001 in other sessions.
    let cluster = empty();
    let conflicts = Mutex::new(0);
    let observer = |progress: Progress<'_>| {
        if let Progress::Retrying { error: DatabaseError::Conflict(_), .. } = progress {
            *conflicts.lock().unwrap() += 1;
        }
    };
    let mut session = cluster.session();
    let mut migrator =
        Migrator::new(embedded(), &mut session, "postgres", Timeouts::default(), &observer);
    let plan = migrator.plan_setup(&Setup::default()).await.unwrap();
    // A concurrent setup changes the catalog meanwhile.
    let mut other_session = cluster.session();
    let mut other = crate::migrator(embedded(), &mut other_session);
    let other_plan = other.plan_setup(&Setup::default()).await.unwrap();
    let (first, second) = tokio::join!(migrator.apply(&plan), other.apply(&other_plan));
    first.unwrap();
    second.unwrap();
    assert!(*conflicts.lock().unwrap() > 0);
    assert_is(&cluster.contents().catalog, newest());
    assert_eq!(history(&cluster).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn t7_a_conflict_on_every_call_is_retried() {
    let cluster = Cluster::new(Behaviour { conflicts: 3, ..Behaviour::default() });
    Command::Setup(V1_0).run(cluster.session()).await.unwrap();
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
    Command::Rollback(V1_0).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_0);
    assert_eq!(history(&cluster), pairs(&[("0", "1.0"), ("1.0", "1.1"), ("1.1", "1.0")]));
}

#[tokio::test(start_paused = true)]
async fn t8_an_object_that_differs_stops_the_command_with_a_diff() {
    let cluster = empty();
    cluster.change(|contents| {
        let table = TableDefinition {
            columns: vec![ColumnDefinition {
                name: "shard_id".into(),
                data_type: "bigint".into(),
                nullable: true,
                default: None,
            }],
            ..TableDefinition::default()
        };
        contents.catalog.tables.insert("shards".into(), table);
    });
    let error = fails(Command::Setup(V1_1), &cluster).await;
    let text = error.to_string();
    for part in [
        "column shards.shard_id: type should be integer and is bigint",
        "column shards.shard_id: nullability should be NOT NULL and is NULL",
        "column shards.range_id is missing",
        "table shards: primary key should be (shard_id) and is ()",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // The same for an update, for existing and for new tables.
    for table in ["executions", CHASM] {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| {
            contents.catalog.tables.insert(table.into(), TableDefinition::default());
        });
        let error = fails(Command::Update(V1_1), &cluster).await;
        assert!(error.to_string().contains(&format!("column {table}.shard_id is missing")));
    }
    // And for an index on other columns.
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        let index = contents.catalog.indexes.get_mut("cm_idx_rolehost").unwrap();
        index.index.columns = vec!["role".into()];
        index.index.unique = true;
    });
    let text = fails(Command::Update(V1_1), &cluster).await.to_string();
    assert!(text.contains("columns should be role, host_id and is role"), "{text}");
    assert!(text.contains("uniqueness should be not unique and is unique"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_view_that_has_the_name_of_a_table_stops_the_setup() {
    let cluster = empty();
    cluster.change(|contents| {
        contents.catalog.others.insert("executions".into(), "view");
    });
    let error = fails(Command::Setup(V1_1), &cluster).await;
    assert!(error.to_string().contains("executions should be a table and is a view"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_table_of_the_recorded_version_is_reported_and_not_recreated() {
    for command in [Command::Setup(V1_0), Command::Update(V1_0), Command::Update(V1_1)] {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| {
            contents.catalog.tables.remove("executions");
        });
        let error = fails(command, &cluster).await;
        assert!(matches!(&error, MigrateError::Incomplete { version, .. } if *version == V1_0));
        assert!(error.to_string().contains("table executions is missing"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_index_of_the_recorded_version_is_built() {
    for command in [Command::Setup(V1_0), Command::Update(V1_0)] {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| {
            contents.catalog.indexes.remove("cm_idx_lasthb");
        });
        assert_eq!(command.run(cluster.session()).await.unwrap().done, 1);
        assert_is(&cluster.contents().catalog, V1_0);
        assert_eq!(history(&cluster).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_reach_the_version_names_the_command_that_can() {
    let unknown = SchemaVersion::new(10, 3);
    let known: Vec<_> = embedded().releases().iter().map(|r| r.version.to_string()).collect();
    let not_found =
        format!("10.3 is specified but not found; known versions: {}", known.join(", "));
    for (at, command, part) in [
        (V1_0, Command::Setup(V1_1), "version 1.0 is already recorded"),
        (V1_0, Command::Setup(V1_1), "run `update-schema --version 1.1`"),
        (SchemaVersion::NONE, Command::Setup(V1_0), "version 0.0 is already recorded"),
        (SchemaVersion::NONE, Command::Setup(V1_0), "run `update-schema --version 1.0`"),
        (V1_1, Command::Setup(V1_0), "run `rollback-schema --to 1.0`"),
        (V1_1, Command::Update(V1_0), "run `rollback-schema --to 1.0`"),
        (V1_0, Command::Rollback(V1_1), "run `update-schema --version 1.1`"),
        (V1_0, Command::Update(unknown), &*not_found),
        (V1_0, Command::Setup(unknown), "10.3 is specified but not found"),
        (V1_0, Command::Rollback(unknown), "10.3 is specified but not found"),
    ] {
        let error = fails(command, &cluster_at(at).await).await;
        assert!(error.to_string().contains(part), "{command:?} at {at}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_without_a_version_needs_setup_first() {
    for command in [Command::Update(V1_1), Command::Rollback(V1_0)] {
        let error = fails(command, &empty()).await;
        assert!(error.to_string().contains("run `setup-schema` first"), "{error}");
    }
    // T2: the error names the logical names that are recorded.
    let cluster = cluster_at(V1_0).await;
    let mut session = cluster.session();
    let mut other =
        Migrator::new(embedded(), &mut session, "temporal", Timeouts::default(), &IgnoreProgress);
    let error = other.plan_update(None).await.unwrap_err();
    assert!(error.to_string().contains("for database `temporal` (there is one for `postgres`)"));
}

#[tokio::test(start_paused = true)]
async fn a_database_newer_than_the_tool_is_not_changed() {
    for command in [
        Command::Setup(V1_1),
        Command::Update(V1_1),
        Command::Update(V1_0),
        Command::Rollback(V1_0),
    ] {
        let cluster = cluster_at(V1_1).await;
        cluster.change(|contents| contents.versions[0] = version_row("postgres", "99.0"));
        let error = fails(command, &cluster).await;
        let expected = format!("the database is at 99.0, newer than this tool ({})", newest());
        assert!(error.to_string().contains(&expected), "{command:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_recorded_version_is_named() {
    for text in [Some("one"), None] {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| contents.versions[0].0.version = text.map(str::to_owned));
        let error = fails(Command::Update(V1_1), &cluster).await;
        let expected = format!("is `{}`, which is not a version", text.unwrap_or_default());
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_logical_name_is_refused_before_anything_runs() {
    let cluster = empty();
    for (name, reason) in
        [("", "is empty"), (&*"x".repeat(256), "255 characters"), ("a\0b", "a NUL character")]
    {
        let mut session = cluster.session();
        let mut other =
            Migrator::new(embedded(), &mut session, name, Timeouts::default(), &IgnoreProgress);
        let error = other.plan_setup(&Setup::default()).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(cluster.take_calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_history_table_is_recreated_by_the_next_version_change() {
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        contents.catalog.tables.remove(HISTORY_TABLE);
    });
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
}

#[tokio::test(start_paused = true)]
async fn a_setup_refuses_drift() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| contents.versions.clear());
    let error = fails(Command::Setup(V1_0), &cluster).await;
    let text = error.to_string();
    assert!(text.contains("table current_chasm_executions belongs to version 1.1"), "{text}");
    // A setup of their version completes.
    Command::Setup(V1_1).run(cluster.session()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn t2_the_same_tables_can_be_recorded_under_several_names() {
    let cluster = cluster_at(newest()).await;
    let mut session = cluster.session();
    let mut other =
        Migrator::new(embedded(), &mut session, "temporal", Timeouts::default(), &IgnoreProgress);
    let plan = other.plan_setup(&Setup::default()).await.unwrap();
    assert_eq!(other.apply(&plan).await.unwrap().done, 1);
    let names: Vec<_> =
        cluster.contents().versions.into_iter().map(|(row, _)| row.database).collect();
    assert_eq!(names, ["postgres", "temporal"]);
}

#[tokio::test(start_paused = true)]
async fn a_setup_without_versioning_makes_no_version_tables() {
    let cluster = empty();
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let setup = Setup { versioning: false, ..Setup::default() };
    let plan = migrator.plan_setup(&setup).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    let again = migrator.plan_setup(&setup).await.unwrap();
    assert!(again.is_done(), "{again}");
    let mut contents = cluster.contents();
    assert!(contents.versions.is_empty() && contents.history.is_empty());
    assert!(!contents.catalog.tables.contains_key(VERSION_TABLE));
    contents.catalog.tables.insert(VERSION_TABLE.into(), TableDefinition::default());
    contents.catalog.tables.insert(HISTORY_TABLE.into(), TableDefinition::default());
    assert_is(&contents.catalog, newest());
}

#[tokio::test(start_paused = true)]
async fn a_single_file_is_set_up_as_the_version_that_it_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    std::fs::write(&file, temporal_dsql_migrate::SCHEMA_SQL).unwrap();
    let schema = Schema::from_file(&file, VERSION).unwrap();
    let cluster = empty();
    let mut session = cluster.session();
    Command::Setup(VERSION).run_with(&schema, &mut session).await.unwrap();
    assert_is(&cluster.contents().catalog, VERSION);
    let (row, _) = &cluster.contents().versions[0];
    assert_eq!(row.min_compatible, Some(VERSION.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_setup_of_0_0_has_nothing_to_do_on_a_database_that_has_a_version() {
    // temporal-persistence.md#setup-schema: scripts run it before each update.
    let nothing = Command::Setup(SchemaVersion::NONE);
    for version in [SchemaVersion::NONE, V1_0, V1_1] {
        does_nothing(nothing, &cluster_at(version).await).await;
    }
    // A concurrent setup of a version is not a failure.
    let cluster = empty();
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = nothing.plan(&mut migrator).await.unwrap();
    Command::Setup(V1_1).run(cluster.session()).await.unwrap();
    assert_eq!(migrator.apply(&plan).await.unwrap().done, 0);
    assert_eq!(history(&cluster), pairs(&[("0", "1.1")]));
}

#[tokio::test(start_paused = true)]
async fn missing_objects_without_data_are_recreated() {
    for command in [Command::Setup(V1_0), Command::Update(V1_0), Command::Update(V1_1)] {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| {
            contents.rows.clear();
            contents.catalog.tables.remove(HISTORY_TABLE);
        });
        command.run(cluster.session()).await.unwrap();
        let version = if command == Command::Update(V1_1) { V1_1 } else { V1_0 };
        assert_is(&cluster.contents().catalog, version);
        assert_eq!(cluster.contents().rows["namespace_metadata"].len(), 1);
        let mut session = cluster.session();
        let found = migrator(embedded(), &mut session).verify(None).await.unwrap();
        assert!(found.is_clean(), "{command:?}: {found}");
        does_nothing(command, &cluster).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_setup_refuses_tables_recorded_at_an_older_version_under_another_name() {
    let cluster = cluster_at(V1_0).await;
    let before = cluster.contents();
    let mut session = cluster.session();
    let mut other =
        Migrator::new(embedded(), &mut session, "temporal", Timeouts::default(), &IgnoreProgress);
    let error = other.plan_setup(&Setup::default()).await.unwrap_err();
    assert!(error.to_string().contains("recorded for database `postgres`, at 1.0"), "{error}");
    assert_eq!(cluster.contents(), before);
    // At the same version the setup succeeds. An update of one name notes the other.
    let setup = Setup { version: Some(V1_0), ..Setup::default() };
    let plan = other.plan_setup(&setup).await.unwrap();
    other.apply(&plan).await.unwrap();
    let plan = other.plan_update(None).await.unwrap();
    assert!(plan.notes[0].contains("recorded for `postgres`, at 1.0"), "{:?}", plan.notes);
    other.apply(&plan).await.unwrap();
    Command::Update(newest()).run(cluster.session()).await.unwrap();
    assert!(other.plan_update(None).await.unwrap().notes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_statements_of_an_update_do_not_depend_on_the_number_of_rows() {
    let mut calls = Vec::new();
    for rows in [0, 10_000] {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| {
            for row in 0..rows {
                add_row(contents, "current_executions", &[&row.to_string()]);
            }
        });
        Command::Update(V1_1).run(cluster.session()).await.unwrap();
        calls.push(cluster.take_calls());
    }
    assert_eq!(calls[0], calls[1]);
    assert!(calls[0].iter().any(|call| call.starts_with("create table")), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_marks_each_step_as_in_effect_or_pending() {
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| contents.versions.clear());
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = migrator.plan_setup(&Setup { version: Some(V1_1), versioning: true }).await.unwrap();
    let pending: Vec<_> = plan.pending().map(|step| step.summary()).collect();
    assert_eq!(
        pending,
        ["create table current_chasm_executions", "record version 1.1 for `postgres`"]
    );
    assert_eq!(plan.steps[0].state, StepState::InEffect);
    let report = migrator.apply(&plan).await.unwrap();
    assert_eq!(report, Report { done: 2, in_effect: plan.steps.len() - 2 });
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_stops_the_run_and_the_next_run_continues() {
    let cluster = empty();
    // A view takes the name of a table between the plan and its application.
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = migrator.plan_setup(&Setup::default()).await.unwrap();
    cluster.change(|contents| {
        contents.catalog.others.insert("tasks".into(), "view");
    });
    let error = migrator.apply(&plan).await.unwrap_err();
    let MigrateError::Differs(differences) = &error else {
        panic!("{}", chain(&error));
    };
    assert!(matches!(&differences[0], Difference::NameTaken { name, .. } if name == "tasks"));
    // Executed steps stay in effect, and the next run continues.
    cluster.change(|contents| {
        contents.catalog.others.clear();
    });
    Command::Setup(V1_1).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
}
