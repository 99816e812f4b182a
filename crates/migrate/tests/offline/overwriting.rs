//! Overwrites, and drops during a concurrent setup.

use std::collections::BTreeSet;

use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{
    HISTORY_TABLE, IgnoreProgress, MigrateError, Migrator, Overwrite, Progress, Report, SCHEMA_SQL,
    Schema, Setup, StepAction, TableDefinition, Timeouts, VERSION_TABLE,
};

use crate::{
    Command, V1_0, V1_1, cluster_at,
    commands::fails,
    custom_schemas::schema_of,
    differences::make_compatible_differences,
    embedded,
    fake_cluster::{Behaviour, Cluster, add_row, version_row},
    history, migrator, newest, pairs,
    spec::assert_is,
};

const CHASM: &str = "current_chasm_executions";

#[tokio::test(start_paused = true)]
async fn t12_an_overwrite_drops_only_tables_of_the_schema_and_lists_them_first() {
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        contents.catalog.tables.insert("invoices".into(), TableDefinition::default());
        contents.catalog.others.insert("report".into(), "view");
        contents.versions.push(version_row("temporal", "1.0"));
    });
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let setup = Setup { version: Some(SchemaVersion::NONE), ..Setup::default() };
    let nothing = Overwrite { setup, ..Overwrite::default() };
    let plan = migrator.plan_overwrite(&nothing).await.unwrap();
    let dropped: BTreeSet<_> = plan
        .steps
        .iter()
        .map(|step| step.summary())
        .filter(|summary| summary.starts_with("drop"))
        .collect();
    assert_eq!(dropped.len(), 38, "36 tables of 1.0 and 2 of versions");
    assert_eq!(plan.steps[0].summary(), "drop table schema_version");
    assert!(plan.notes[0].contains("`temporal` (1.0)"), "{:?}", plan.notes);
    assert_eq!((plan.from, plan.to), (Some(V1_0), Some(SchemaVersion::NONE)));
    migrator.apply(&plan).await.unwrap();
    let contents = cluster.contents();
    let tables: Vec<_> = contents.catalog.tables.into_keys().collect();
    assert_eq!(tables, ["invoices", HISTORY_TABLE, VERSION_TABLE]);
    assert_eq!(contents.catalog.others["report"], "view");
    assert_eq!(history(&cluster), pairs(&[("0", "0.0")]));
}

#[tokio::test(start_paused = true)]
async fn an_overwrite_that_cannot_be_completed_drops_nothing() {
    // The errors of a setup.
    let cluster = cluster_at(V1_1).await;
    let error = fails(Command::Overwrite(SchemaVersion::new(9, 9)), &cluster).await;
    assert!(matches!(error, MigrateError::UnknownVersion { .. }), "{error}");
    let too_new = format!("newer than this tool ({})", newest());
    for (version, part) in [("99.0", &*too_new), ("x", "not a version")] {
        // Under any logical name: the tables are the same.
        for name in ["postgres", "temporal"] {
            let cluster = cluster_at(V1_1).await;
            cluster.change(|contents| {
                // It may be one that a newer version has added.
                contents.catalog.tables.insert("invoices".into(), TableDefinition::default());
                contents.versions.retain(|(row, _)| row.database != name);
                contents.versions.push(version_row(name, version));
            });
            let error = fails(Command::Overwrite(V1_1), &cluster).await;
            assert!(error.to_string().contains(part), "{name}: {error}");
        }
    }
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        contents.catalog.others.insert(CHASM.into(), "view");
    });
    let error = fails(Command::Overwrite(V1_1), &cluster).await;
    assert!(matches!(error, MigrateError::Differs(_)), "{error}");
    // An index of a foreign table has the name of an index of the schema.
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        let mut index = contents.catalog.indexes.remove("cm_idx_lasthb").unwrap();
        index.index.table = "invoices".into();
        contents.catalog.tables.insert("invoices".into(), TableDefinition::default());
        contents.catalog.indexes.insert("cm_idx_lasthb".into(), index);
    });
    let error = fails(Command::Overwrite(V1_0), &cluster).await;
    assert!(error.to_string().contains("index cm_idx_lasthb: table should be"), "{error}");

    let cluster = cluster_at(V1_1).await;
    let before = cluster.contents();
    let mut session = cluster.session();
    let mut unnamed =
        Migrator::new(embedded(), &mut session, "", Timeouts::default(), &IgnoreProgress);
    let error = unnamed.plan_overwrite(&Overwrite::default()).await.unwrap_err();
    assert!(matches!(error, MigrateError::InvalidName { .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    std::fs::write(&file, format!("{SCHEMA_SQL}\nCREATE INDEX i ON shards (range_id);")).unwrap();
    let schema = Schema::from_file(&file, V1_1).unwrap();
    let mut session = cluster.session();
    let error = Command::Overwrite(V1_1).run_with(&schema, &mut session).await.unwrap_err();
    assert!(matches!(error, MigrateError::SynchronousIndex { .. }), "{error}");
    assert_eq!(cluster.contents(), before);
}

#[tokio::test(start_paused = true)]
async fn an_overwrite_with_another_schema_keeps_the_version_of_a_deployment() {
    let cluster = cluster_at(V1_1).await;
    let notes = "CREATE TABLE notes (id INT PRIMARY KEY);";
    let schema = schema_of(&[("1.0", notes)]);
    let mut session = cluster.session();
    let without = Setup { versioning: false, ..Setup::default() };
    let plan = migrator(&schema, &mut session).plan_setup(&without).await.unwrap();
    migrator(&schema, &mut session).apply(&plan).await.unwrap();
    let before = cluster.contents();
    cluster.change(|contents| add_row(contents, "notes", &["1"]));
    let with_row = cluster.contents();
    for version in ["1.0", "1.1"] {
        let schema = schema_of(&[(version, notes)]);
        let overwrite = Command::Overwrite(version.parse().unwrap());
        let error = overwrite.run_with(&schema, &mut session).await.unwrap_err();
        assert!(matches!(error, MigrateError::RecordedForOtherTables { .. }), "{error}");
        assert!(error.to_string().contains("`postgres` is recorded at 1.1"), "{error}");
        assert_eq!(cluster.contents(), with_row);
    }
    // Without versioning, the version tables are left alone.
    cluster.take_calls();
    let overwrite = Overwrite { setup: without, ..Overwrite::default() };
    let mut migrator = migrator(&schema, &mut session);
    let plan = migrator.plan_overwrite(&overwrite).await.unwrap();
    let steps: Vec<_> = plan.steps.iter().map(|step| step.summary()).collect();
    assert_eq!(steps, ["drop table notes", "create table notes"]);
    migrator.apply(&plan).await.unwrap();
    assert_eq!(cluster.contents(), before);
    assert!(!cluster.take_calls().contains(&"version rows".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_overwrite_sets_up_in_the_same_run_what_it_has_dropped() {
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        contents.rows.insert("executions".into(), vec![vec![Some("1".to_owned())]]);
    });
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = migrator.plan_overwrite(&Overwrite::default()).await.unwrap();
    let report = migrator.apply(&plan).await.unwrap();
    assert_eq!(report, Report { done: plan.steps.len(), in_effect: 0 });
    assert_is(&cluster.contents().catalog, newest());
    assert_eq!(history(&cluster), pairs(&[("0", &newest().to_string())]));
    assert!(!cluster.contents().rows.contains_key("executions"));
}

#[tokio::test(start_paused = true)]
async fn a_setup_does_not_complete_an_overwrite_that_ended_early() {
    for table in ["cluster_metadata_info", "shards"] {
        let cluster = cluster_at(V1_1).await;
        cluster.change(|contents| add_row(contents, table, &["1"]));
        let mut session = cluster.session();
        let mut migrator = migrator(embedded(), &mut session);
        let mut plan = migrator.plan_overwrite(&Overwrite::default()).await.unwrap();
        plan.steps.truncate(10);
        migrator.apply(&plan).await.unwrap();
        let error = fails(Command::Setup(V1_1), &cluster).await;
        let MigrateError::HasRowsOfServers { table: found, .. } = &error else { panic!("{error}") };
        assert_eq!(found, table);
        let problem = migrator.status().await.unwrap().problem.unwrap();
        assert!(problem.contains("if an `--overwrite` ended early, repeat it"), "{problem}");
        // It has no version, and asks for none.
        let without = Setup { versioning: false, ..Setup::default() };
        migrator.plan_setup(&without).await.unwrap();
        Command::Overwrite(V1_1).run(cluster.session()).await.unwrap();
        assert_is(&cluster.contents().catalog, V1_1);
        assert!(!cluster.contents().rows.contains_key(table));
    }
    // No table is missing: only the version is lost.
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| {
        add_row(contents, "shards", &["1"]);
        contents.versions.clear();
    });
    Command::Setup(V1_1).run(cluster.session()).await.unwrap();
    assert_eq!(cluster.contents().rows["shards"].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn objects_dropped_during_a_setup_are_recreated_before_its_version_is_recorded() {
    for table in ["executions", "namespace_metadata", "namespaces", VERSION_TABLE] {
        let cluster = Cluster::new(Behaviour::default());
        let observer = |progress: Progress<'_>| {
            // As a concurrent overwrite does.
            if let Progress::Started { step, .. } = progress
                && step.summary().starts_with("record")
            {
                cluster.change(|contents| {
                    contents.catalog.tables.remove(table);
                    contents.catalog.indexes.retain(|_, found| found.index.table != table);
                    contents.rows.remove(table);
                });
            }
        };
        let mut session = cluster.session();
        let mut migrator =
            Migrator::new(embedded(), &mut session, "postgres", Timeouts::default(), &observer);
        let plan = migrator.plan_setup(&Setup::default()).await.unwrap();
        migrator.apply(&plan).await.unwrap();
        assert_is(&cluster.contents().catalog, newest());
        assert_eq!(cluster.contents().rows["namespace_metadata"].len(), 1, "{table}");
        assert_eq!(history(&cluster), pairs(&[("0", &newest().to_string())]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_is_not_recorded_while_a_table_of_an_older_version_is_missing() {
    let cluster = cluster_at(V1_0).await;
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = migrator.plan_update(None).await.unwrap();
    cluster.change(|contents| {
        contents.catalog.tables.remove("executions");
    });
    let error = migrator.apply(&plan).await.unwrap_err();
    assert!(matches!(error, MigrateError::ConcurrentlyDropped { version: V1_1, .. }), "{error}");
    assert!(error.to_string().contains("table executions is missing"), "{error}");
    assert_eq!(history(&cluster), pairs(&[("0", "1.0")]));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_only_has_the_name_of_one_of_the_schema_is_dropped_on_request_only() {
    for table in ["tasks", VERSION_TABLE] {
        let cluster = cluster_at(V1_1).await;
        cluster.change(|contents| {
            let found = contents.catalog.tables.get_mut(table).unwrap();
            found.columns[0].name = "task_list".into();
            found.primary_key[0] = "task_list".into();
        });
        let error = fails(Command::Overwrite(V1_1), &cluster).await;
        let text = error.to_string();
        assert!(matches!(error, MigrateError::DifferentTables(_)), "{text}");
        assert!(text.contains(&format!("column {table}.task_list is not in the definition")));
        assert!(text.contains("pass `--drop-different`"), "{text}");
        let mut session = cluster.session();
        let mut migrator = migrator(embedded(), &mut session);
        let overwrite = Overwrite { drop_different: true, ..Overwrite::default() };
        let plan = migrator.plan_overwrite(&overwrite).await.unwrap();
        // It is named apart from the others.
        let note = format!("table {table} differs from every version of this schema");
        assert!(plan.notes.last().unwrap().starts_with(&note), "{:?}", plan.notes);
        let is_unknown = plan.notes[0].starts_with("the recorded versions are not known");
        assert_eq!(is_unknown, table == VERSION_TABLE, "{:?}", plan.notes);
        assert_eq!(plan.notes.len(), 1 + usize::from(is_unknown), "{:?}", plan.notes);
        let named: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                StepAction::DropTable { table, differences, .. } if !differences.is_empty() => {
                    Some(table)
                }
                _ => None,
            })
            .collect();
        assert_eq!(named, [table]);
        migrator.apply(&plan).await.unwrap();
        assert_is(&cluster.contents().catalog, newest());
    }
    // A table of any version, or of any layout between two versions, is one of the schema.
    for version in [V1_0, V1_1] {
        let cluster = cluster_at(version).await;
        Command::Overwrite(V1_1).run(cluster.session()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_with_compatible_differences_is_one_of_the_schema_and_is_made_again_without_them() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| make_compatible_differences(&mut contents.catalog));
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = migrator.plan_overwrite(&Overwrite::default()).await.unwrap();
    assert_eq!(plan.notes.len(), 3, "{:?}", plan.notes);
    let note = "table chasm_node_maps is one of this schema with compatible differences, which the \
                setup does not make again:\n  - column chasm_node_maps.chasm_path: type should be \
                varchar(255) and is varchar(1536)\n";
    assert!(plan.notes.iter().any(|found| found.starts_with(note)), "{:?}", plan.notes);
    for step in &plan.steps {
        if let StepAction::DropTable { table, differences, .. } = &step.action {
            assert!(differences.is_empty(), "{table} needs no word of its own");
        }
    }
    migrator.apply(&plan).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
    // A newer version may have made them.
    cluster.change(|contents| {
        contents.versions[0] = version_row("postgres", "1.12");
        make_compatible_differences(&mut contents.catalog);
    });
    let error = fails(Command::Overwrite(V1_1), &cluster).await;
    assert!(matches!(error, MigrateError::NewerThanTool { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_no_release_has_made_does_not_stop_an_overwrite() {
    for version in ["1.12", "99.0", "first", ""] {
        for name in ["postgres", "temporal"] {
            for has_all_tables in [true, false] {
                let cluster = cluster_at(V1_0).await;
                cluster.change(|contents| {
                    contents.versions.retain(|(row, _)| row.database != name);
                    contents.versions.push(version_row(name, version));
                    // An overwrite that ended early.
                    contents
                        .catalog
                        .tables
                        .retain(|table, _| has_all_tables || table.as_str() > "h");
                });
                Command::Overwrite(V1_1).run(cluster.session()).await.unwrap();
                assert_is(&cluster.contents().catalog, V1_1);
                assert_eq!(history(&cluster), pairs(&[("0", "1.1")]));
            }
        }
    }
    // A table with another layout may be that of a newer version.
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        contents.versions[0] = version_row("postgres", "1.12");
        contents.catalog.tables.get_mut("shards").unwrap().columns.pop();
    });
    let error = fails(Command::Overwrite(V1_1), &cluster).await;
    assert!(matches!(error, MigrateError::NewerThanTool { .. }), "{error}");
}
