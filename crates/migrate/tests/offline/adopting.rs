//! Databases that are recorded at a version that no release has made, or at one that they are not.

use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{
    HISTORY_TABLE, IgnoreProgress, MigrateError, Migrator, Plan, Report, Step, TableDefinition,
    Timeouts, VERSION_TABLE, VersionRow,
};

use crate::{
    Command, V1_0, V1_1, cluster_at,
    commands::fails,
    differences::make_compatible_differences,
    embedded,
    fake_cluster::{Behaviour, Cluster, Fault, Session, add_row, version_row},
    history, migrator, newest, pairs,
    spec::assert_is,
};

const CHASM: &str = "current_chasm_executions";

async fn plan(cluster: &Cluster) -> Result<Plan, MigrateError> {
    let mut session = cluster.session();
    migrator(embedded(), &mut session).plan_adoption().await
}

async fn adopt(mut session: Session) -> Result<Report, MigrateError> {
    let mut migrator = migrator(embedded(), &mut session);
    let plan = migrator.plan_adoption().await?;
    migrator.apply(&plan).await
}

/// A cluster with the tables of `version`, recorded at `recorded` as Temporal's tool records it.
async fn recorded_at(version: SchemaVersion, recorded: &str) -> Cluster {
    let cluster = cluster_at(version).await;
    cluster.change(|contents| {
        let row = VersionRow {
            database: "postgres".to_owned(),
            version: Some(recorded.to_owned()),
            min_compatible: Some(recorded.to_owned()),
        };
        contents.versions = vec![(row, 0)];
        contents.history.clear();
        add_row(contents, "executions", &["1"]);
    });
    cluster
}

#[tokio::test(start_paused = true)]
async fn the_version_of_the_catalog_is_recorded_whatever_was_recorded() {
    for version in [V1_0, V1_1] {
        let text = &*version.to_string();
        for recorded in ["1.12", "0.9", "1.0.7", "2", "latest", ""] {
            let cluster = recorded_at(version, recorded).await;
            let before = cluster.contents();
            let dry = plan(&cluster).await.unwrap();
            assert_eq!(dry.to, Some(version));
            let steps: Vec<_> = dry.pending().map(|step| step.summary()).collect();
            assert_eq!(steps, [format!("record version {text} for `postgres`")]);
            assert_eq!(cluster.contents(), before, "a plan changes nothing");

            assert_eq!(adopt(cluster.session()).await.unwrap().done, 1, "{recorded}");
            let contents = cluster.contents();
            assert_is(&contents.catalog, version);
            assert_eq!(contents.rows, before.rows);
            assert_eq!(contents.versions[0].0, version_row("postgres", text).0);
            let [row] = contents.history.as_slice() else { panic!("{:?}", contents.history) };
            assert_eq!((&*row.old, &*row.new), (recorded, text));
            let expected = format!("adopted: the catalog is that of {text}, not {recorded}");
            assert_eq!(row.description, expected);
            assert_eq!(row.manifest_md5, embedded().release(version).unwrap().manifest_md5);

            // It is recorded right now.
            let before = cluster.contents();
            assert!(plan(&cluster).await.unwrap().steps.is_empty());
            assert_eq!(adopt(cluster.session()).await.unwrap(), Report::default());
            assert_eq!(cluster.contents(), before);
            Command::Update(newest()).run(cluster.session()).await.unwrap();
            assert_is(&cluster.contents().catalog, newest());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_known_but_not_that_of_the_catalog_is_corrected() {
    for (version, recorded) in [(V1_0, "1.1"), (V1_1, "1.0"), (V1_1, "0.0")] {
        let cluster = recorded_at(version, recorded).await;
        adopt(cluster.session()).await.unwrap();
        let text = version.to_string();
        assert_eq!(cluster.contents().versions[0].0, version_row("postgres", &text).0);
        assert_eq!(history(&cluster), pairs(&[(recorded, &text)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_without_version_tables_gets_them() {
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        contents.versions.clear();
        contents.history.clear();
        contents.catalog.tables.retain(|name, _| !name.starts_with("schema_"));
    });
    let steps: Vec<_> = plan(&cluster).await.unwrap().steps.iter().map(Step::summary).collect();
    assert_eq!(
        steps,
        [
            "create table schema_version",
            "create table schema_update_history",
            "record version 1.0 for `postgres`"
        ]
    );
    assert_eq!(adopt(cluster.session()).await.unwrap(), Report { done: 3, in_effect: 0 });
    assert_is(&cluster.contents().catalog, V1_0);
    assert_eq!(history(&cluster), pairs(&[("0", "1.0")]));
}

#[tokio::test(start_paused = true)]
async fn objects_without_data_are_made_before_the_version_is_recorded() {
    let cluster = recorded_at(V1_0, "1.12").await;
    cluster.change(|contents| {
        contents.rows.remove("namespace_metadata");
        contents.catalog.indexes.remove("cm_idx_lasthb");
        contents.catalog.indexes.get_mut("idx_namespaces_name").unwrap().valid = false;
        contents.catalog.tables.remove(HISTORY_TABLE);
    });
    cluster.take_calls();
    assert_eq!(adopt(cluster.session()).await.unwrap().done, 5);
    let calls = cluster.take_calls();
    let last =
        calls.iter().rposition(|call| call.starts_with("create") || call.starts_with("insert"));
    assert!(last < calls.iter().position(|call| call == "record 1.0"), "{calls:?}");
    assert_is(&cluster.contents().catalog, V1_0);
    assert_eq!(cluster.contents().rows["namespace_metadata"].len(), 1);
    // At the right version, they are left to an update.
    cluster.change(|contents| {
        contents.catalog.indexes.remove("cm_idx_lasthb");
    });
    let plan = plan(&cluster).await.unwrap();
    assert!(plan.is_done() && plan.notes[0].contains("`update-schema`"), "{:?}", plan.notes);
}

#[tokio::test(start_paused = true)]
async fn a_catalog_of_no_version_is_refused_with_the_differences_from_the_nearest() {
    let refused = async |cluster: &Cluster| {
        let before = cluster.contents();
        let error = adopt(cluster.session()).await.unwrap_err();
        assert_eq!(cluster.contents(), before, "nothing was changed");
        error
    };
    for (version, nearest) in [(V1_0, "1.0"), (V1_1, "1.1")] {
        let cluster = recorded_at(version, "1.12").await;
        cluster.change(|contents| {
            contents.catalog.tables.get_mut("shards").unwrap().columns.pop();
        });
        let error = refused(&cluster).await;
        let MigrateError::NotAdoptable { nearest: found, differences, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!((found.to_string().as_str(), differences.len()), (nearest, 1));
        let text = error.to_string();
        assert!(text.contains("differs least from"), "{text}");
        assert!(text.contains("column shards.data_encoding is missing"), "{text}");
        assert_eq!(error.differences(), differences);
    }
    // None of the tables; and a name that is not recorded while another is.
    let cluster = recorded_at(V1_0, "1.12").await;
    cluster.change(|contents| {
        contents.catalog.tables.retain(|name, _| name.starts_with("schema_"));
        contents.catalog.indexes.clear();
    });
    assert!(matches!(refused(&cluster).await, MigrateError::NothingToAdopt));
    let empty = Cluster::new(Behaviour::default());
    assert!(matches!(refused(&empty).await, MigrateError::NothingToAdopt));
    let cluster = recorded_at(V1_0, "1.12").await;
    cluster.change(|contents| contents.versions[0].0.database = "temporal".to_owned());
    assert!(refused(&cluster).await.to_string().contains("there is one for `temporal`"));
    // The version tables have other columns: the tool of January 2026.
    let cluster = recorded_at(V1_0, "1.12").await;
    cluster.change(|contents| {
        contents.versions.clear();
        contents.catalog.tables.insert(VERSION_TABLE.to_owned(), TableDefinition::default());
    });
    let error = refused(&cluster).await.to_string();
    assert!(error.contains("column schema_version.db_name is missing"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn every_refusal_names_the_command_that_records_the_version_of_the_catalog() {
    let hint = "run `adopt-schema` to record 1.0, whose tables the database has exactly";
    let commands = [Command::Setup(V1_0), Command::Update(V1_1), Command::Rollback(V1_0)];
    for (recorded, named) in [
        ("1.12", "newer than this tool"),
        ("1.12", "give its files with `--schema-dir`"),
        ("first", "is `first`, which is not a version"),
    ] {
        for command in commands {
            let error = fails(command, &recorded_at(V1_0, recorded).await).await.to_string();
            assert!(error.contains(named) && error.contains(hint), "{command:?}: {error}");
        }
        let cluster = recorded_at(V1_0, recorded).await;
        let mut session = cluster.session();
        let mut migrator = migrator(embedded(), &mut session);
        let problem = migrator.status().await.unwrap().problem.unwrap();
        assert!(problem.contains(named) && problem.contains(hint), "{problem}");
        let error = migrator.verify(None).await.unwrap_err().to_string();
        assert!(error.contains(named) && error.contains(hint), "{error}");
        // Where it would be refused, it is named for its list of differences only.
        cluster.change(|contents| {
            contents.catalog.tables.remove("tasks");
        });
        let error = migrator.verify(None).await.unwrap_err().to_string();
        assert!(error.contains("is") && !error.contains("adopt-schema` to record"), "{error}");
    }
    // A known version that the database is not.
    let cluster = recorded_at(V1_0, "1.1").await;
    let error = fails(Command::Update(V1_1), &cluster).await.to_string();
    assert!(error.contains("restore what is missing from a backup"), "{error}");
    let expected = format!("if 1.1 was recorded by mistake, {hint}");
    assert!(error.contains(&expected), "{error}");
    for (version, recorded) in [(V1_0, "1.1"), (V1_1, "1.0")] {
        let cluster = recorded_at(version, recorded).await;
        let mut session = cluster.session();
        let found = migrator(embedded(), &mut session).verify(None).await.unwrap();
        assert_eq!(found.adoptable, Some(version));
        let expected = format!("`adopt-schema` records {version}.");
        assert!(!found.is_clean() && found.to_string().contains(&expected), "{found}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["adoptable"], version.to_string());
    }
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| {
        contents.catalog.tables.remove("tasks");
    });
    let mut session = cluster.session();
    let found = migrator(embedded(), &mut session).verify(None).await.unwrap();
    assert!(found.adoptable.is_none() && !found.to_string().contains("adopt"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn an_adoption_with_a_fault_at_any_call_is_completed() {
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::LoseBefore, Fault::LoseAfter] {
        for call in 1.. {
            let cluster = recorded_at(V1_0, "1.12").await;
            let (session, signal) = cluster.session().with_fault(call, fault);
            let ended = tokio::select! {
                biased;
                () = signal.killed() => None,
                result = adopt(session) => Some(result),
            };
            let result = match ended {
                Some(result) => result,
                None => adopt(cluster.session()).await,
            };
            if let Err(error) = result {
                panic!("{fault:?} at call {call}: {error}");
            }
            let contents = cluster.contents();
            assert_eq!(contents.versions[0].0, version_row("postgres", "1.0").0);
            assert_eq!(history(&cluster), pairs(&[("1.12", "1.0")]), "{fault:?} at call {call}");
            if !signal.happened() {
                assert!(call > 6, "{call}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_or_a_table_that_changes_during_an_adoption_is_not_overwritten() {
    let cluster = recorded_at(V1_0, "1.12").await;
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = migrator.plan_adoption().await.unwrap();
    cluster.change(|contents| contents.versions[0] = version_row("postgres", "1.13"));
    let error = migrator.apply(&plan).await.unwrap_err();
    assert!(matches!(error, MigrateError::VersionChanged { .. }), "{error}");
    assert_eq!(cluster.contents().versions[0], version_row("postgres", "1.13"));
    cluster.change(|contents| {
        contents.versions[0] = version_row("postgres", "1.12");
        contents.catalog.tables.remove("tasks");
    });
    let error = migrator.apply(&plan).await.unwrap_err();
    assert!(matches!(error, MigrateError::ConcurrentlyDropped { .. }), "{error}");
    assert_eq!(cluster.contents().versions[0], version_row("postgres", "1.12"));
    assert!(cluster.contents().history.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_logical_name_is_adopted_for_itself_and_the_others_are_named() {
    let cluster = recorded_at(V1_1, "1.12").await;
    cluster.change(|contents| {
        contents.versions.push(version_row("temporal", "1.12"));
        contents.versions.push(version_row("right", "1.1"));
        add_row(contents, CHASM, &["1"]);
    });
    let mut session = cluster.session();
    let mut other =
        Migrator::new(embedded(), &mut session, "temporal", Timeouts::default(), &IgnoreProgress);
    let plan = other.plan_adoption().await.unwrap();
    let [note, _] = plan.notes.as_slice() else { panic!("{:?}", plan.notes) };
    let expected =
        "recorded for `postgres`, at 1.12; run `adopt-schema --logical-database postgres`";
    assert!(note.contains(expected), "{note}");
    other.apply(&plan).await.unwrap();
    let versions: Vec<_> =
        cluster.contents().versions.into_iter().map(|(row, _)| row.version.unwrap()).collect();
    assert_eq!(versions, ["1.12", "1.1", "1.1"]);
}

#[tokio::test(start_paused = true)]
async fn compatible_differences_are_noted_and_the_version_of_the_other_tables_is_adopted() {
    for version in [V1_0, V1_1] {
        let cluster = recorded_at(version, "1.12").await;
        cluster.change(|contents| make_compatible_differences(&mut contents.catalog));
        let noted = plan(&cluster).await.unwrap();
        // One note is about the version.
        assert_eq!((noted.to, noted.notes.len()), (Some(version), 7), "{:?}", noted.notes);
        let before = cluster.contents();
        adopt(cluster.session()).await.unwrap();
        let after = cluster.contents();
        assert_eq!((after.catalog, after.rows), (before.catalog, before.rows));
        assert!(plan(&cluster).await.unwrap().notes.is_empty(), "nothing is left to be made");
        Command::Update(newest()).run(cluster.session()).await.unwrap();
    }
}

/// Whoever makes the database equal to the version that is named must not drop a table for it.
#[tokio::test(start_paused = true)]
async fn the_nearest_version_is_the_one_with_the_same_tables() {
    let cluster = recorded_at(V1_1, "1.12").await;
    cluster.change(|contents| {
        let table = contents.catalog.tables.get_mut(CHASM).unwrap();
        for column in table.columns.iter_mut().take(2) {
            column.data_type = "text".into();
        }
    });
    let error = plan(&cluster).await.unwrap_err();
    let MigrateError::NotAdoptable { nearest, differences, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*nearest, differences.len()), (V1_1, 2), "{error}");
    assert!(!error.to_string().contains("belongs to version"), "{error}");

    cluster.change(|contents| {
        contents.catalog.tables.remove("queues");
    });
    let error = fails(Command::Update(V1_1), &cluster).await.to_string();
    assert!(error.contains("`adopt-schema` lists the differences"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_null_is_adopted_as_every_other_that_is_no_version() {
    let cluster = recorded_at(V1_0, "").await;
    cluster.change(|contents| contents.versions[0].0.version = None);
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let error = migrator.plan_update(None).await.unwrap_err().to_string();
    assert!(error.contains("run `adopt-schema` to record 1.0"), "{error}");
    let plan = migrator.plan_adoption().await.unwrap();
    migrator.apply(&plan).await.unwrap();
    assert_eq!(cluster.contents().versions[0].0, version_row("postgres", "1.0").0);
    assert_eq!(history(&cluster), pairs(&[("", "1.0")]));
}

#[tokio::test(start_paused = true)]
async fn an_adoption_that_would_be_refused_is_not_named() {
    let cluster = recorded_at(V1_0, "1.12").await;
    cluster.change(|contents| {
        contents.catalog.tables.get_mut(HISTORY_TABLE).unwrap().columns.pop();
    });
    let error = plan(&cluster).await.unwrap_err();
    assert!(matches!(error, MigrateError::Differs(_)), "{error}");
    let mut session = cluster.session();
    let status = migrator(embedded(), &mut session).status().await.unwrap();
    let problem = status.problem.unwrap();
    assert!(problem.contains("newer than this tool"), "{problem}");
    assert!(!problem.contains("adopt-schema` to record"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn an_adoption_of_a_version_newer_than_the_tool_says_what_it_leaves_out() {
    let cluster = recorded_at(V1_1, "1.2").await;
    let notes = plan(&cluster).await.unwrap().notes;
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.starts_with("1.2 is newer than this tool; if your own files"), "{note}");
    assert!(note.contains("`--schema-dir`") && note.contains("1.1 is recorded without it"));
    assert!(plan(&recorded_at(V1_1, "1.0").await).await.unwrap().notes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_table_that_only_has_the_name_of_one_of_the_schema_is_nothing_to_adopt() {
    let cluster = Cluster::new(Behaviour::default());
    cluster.change(|contents| {
        contents.catalog.tables.insert("queue".to_owned(), TableDefinition::default());
    });
    let error = plan(&cluster).await.unwrap_err();
    assert!(matches!(error, MigrateError::NothingToAdopt), "{error}");
    assert!(error.to_string().contains("run `setup-schema`"), "{error}");
}
