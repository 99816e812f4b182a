//! Databases that differ from their recorded version: which commands go on.

use temporal_dsql_migrate::{
    Catalog, CatalogIndex, ColumnDefinition, HISTORY_TABLE, IgnoreProgress, IndexDefinition,
    MigrateError, Migrator, Setup, TableDefinition, Timeouts, VERSION_TABLE,
};

use crate::{
    Command, V1_0, V1_1, cluster_at,
    commands::{does_nothing, fails},
    embedded,
    fake_cluster::version_row,
    history, migrator, pairs,
};

/// A change of a table.
type Change = fn(&mut TableDefinition);

const CHASM: &str = "current_chasm_executions";

/// Compatible differences of tables that version 1.1 does not change.
pub fn make_compatible_differences(catalog: &mut Catalog) {
    let tables = &mut catalog.tables;
    let columns = |table: &mut TableDefinition, name: &str, change: fn(&mut ColumnDefinition)| {
        change(table.columns.iter_mut().find(|column| column.name == name).unwrap());
    };
    let members = tables.get_mut("cluster_membership").unwrap();
    columns(members, "rpc_address", |column| column.data_type = "text".into());
    columns(members, "session_start", |column| column.default = Some("now()".into()));
    let nodes = tables.get_mut("chasm_node_maps").unwrap();
    columns(nodes, "chasm_path", |column| column.data_type = "varchar(1536)".into());
    columns(nodes, "metadata", |column| column.nullable = true);
    let shards = tables.get_mut("shards").unwrap();
    shards.constraints.push("positive CHECK ((range_id > 0))".into());
    shards.columns.push(ColumnDefinition {
        name: "note".into(),
        data_type: "text".into(),
        nullable: true,
        default: None,
    });
}

#[tokio::test(start_paused = true)]
async fn compatible_differences_elsewhere_are_noted_and_do_not_stop_a_command() {
    for command in [Command::Update(V1_1), Command::Update(V1_0), Command::Setup(V1_0)] {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| make_compatible_differences(&mut contents.catalog));
        let mut session = cluster.session();
        let mut migrator = migrator(embedded(), &mut session);
        let before = migrator.verify(None).await.unwrap().differences;
        assert_eq!(before.len(), 6, "{before:?}");
        let plan = command.plan(&mut migrator).await.unwrap();
        for difference in &before {
            let noted = plan.notes.iter().any(|note| note.starts_with(&difference.to_string()));
            assert!(noted, "{difference}: {:?}", plan.notes);
        }
        migrator.apply(&plan).await.unwrap();
        let after = migrator.verify(None).await.unwrap();
        assert_eq!(after.differences, before, "{command:?}: verify goes on reporting them");
        let version = if command == Command::Update(V1_1) { V1_1 } else { V1_0 };
        assert_eq!(after.version, version);
    }
}

#[tokio::test(start_paused = true)]
async fn a_difference_that_is_not_compatible_stops_an_update_and_nothing_is_said_to_be_missing() {
    let changes: [(Change, &str); 7] = [
        (
            |table| table.columns[1].data_type = "integer".into(),
            "type should be bigint and is integer; values of the schema may not fit",
        ),
        (
            |table| table.columns[0].data_type = "bigint".into(),
            "type should be integer and is bigint; values of the schema may not fit, or the stores \
             cannot read them",
        ),
        (|table| table.columns[1].data_type = "text".into(), "type should be bigint"),
        (
            |table| table.primary_key.push("range_id".into()),
            "and is (shard_id, range_id); other columns tell its rows apart",
        ),
        (
            |table| table.constraints.push("one UNIQUE (range_id)".into()),
            "one UNIQUE (range_id) is not in the definition; it may refuse rows of the servers",
        ),
        (
            |table| table.properties.push("ROW LEVEL SECURITY".into()),
            "ROW LEVEL SECURITY is not in the definition; statements of the servers may do",
        ),
        (
            |table| {
                table.columns.push(ColumnDefinition {
                    name: "more".into(),
                    data_type: "text".into(),
                    nullable: false,
                    default: None,
                });
            },
            "column shards.more is not in the definition; it refuses rows without a value",
        ),
    ];
    for (change, part) in changes {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| change(contents.catalog.tables.get_mut("shards").unwrap()));
        let text = fails(Command::Update(V1_1), &cluster).await.to_string();
        assert!(text.contains(part), "{text}");
        assert!(text.contains("nothing is missing; make what differs equal"), "{text}");
        assert!(!text.contains("backup"), "{text}");
    }
    // Something is missing.
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        contents.catalog.tables.get_mut("shards").unwrap().columns.pop();
    });
    let text = fails(Command::Update(V1_1), &cluster).await.to_string();
    assert!(text.contains("restore what is missing from a backup"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_compatible_difference_of_a_table_that_a_step_changes_stops_the_update() {
    let cluster = cluster_at(V1_0).await;
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    // The table of 1.1 is there, and its version is not recorded yet.
    cluster.change(|contents| {
        contents.versions[0] = version_row("postgres", "1.0");
        let table = contents.catalog.tables.get_mut(CHASM).unwrap();
        table.columns[2].data_type = "varchar(1536)".into();
    });
    let error = fails(Command::Update(V1_1), &cluster).await;
    let expected = "type should be varchar(255) and is varchar(1536); it is compatible, but a step \
                    works on this object";
    assert!(error.to_string().contains(expected), "{error}");
}

/// An index on `shards` that no version has.
fn stray_index(catalog: &mut Catalog, name: &str, unique: bool) {
    let index = IndexDefinition {
        table: "shards".into(),
        columns: vec!["range_id".into()],
        unique,
        extras: Vec::new(),
    };
    catalog.indexes.insert(name.into(), CatalogIndex { index, oid: 1, valid: true });
}

#[tokio::test(start_paused = true)]
async fn a_unique_index_that_no_version_has_differs_and_stops_every_command_but_a_rollback() {
    const DIFFERENCE: &str = "table shards: unique index one (range_id) is not in the definition";
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        stray_index(&mut contents.catalog, "one", true);
        stray_index(&mut contents.catalog, "plain", false);
    });
    let mut session = cluster.session();
    let found = migrator(embedded(), &mut session).verify(None).await.unwrap();
    let [difference] = found.differences.as_slice() else { panic!("{found}") };
    assert_eq!(difference.to_string(), DIFFERENCE);
    let foreign: Vec<_> = found.others.iter().map(|found| &*found.name).collect();
    assert_eq!(foreign, ["plain"], "an index that is not unique refuses no row");
    let stops = format!("{DIFFERENCE}; it may refuse rows of the servers");
    for command in [Command::Setup(V1_0), Command::Update(V1_0), Command::Update(V1_1)] {
        let error = fails(command, &cluster).await;
        assert!(matches!(error, MigrateError::Incomplete { .. }), "{command:?}: {error}");
        assert!(error.to_string().contains(&stops), "{command:?}: {error}");
    }
    let mut session = cluster.session();
    let plan = Command::Rollback(V1_0).plan(&mut migrator(embedded(), &mut session)).await.unwrap();
    assert!(plan.notes[0].starts_with(DIFFERENCE), "{:?}", plan.notes);
    cluster.change(|contents| contents.versions[0] = version_row("postgres", "1.12"));
    let mut session = cluster.session();
    let error = migrator(embedded(), &mut session).plan_adoption().await.unwrap_err();
    let MigrateError::NotAdoptable { differences, .. } = &error else { panic!("{error}") };
    assert_eq!(differences.len(), 1, "{error}");
    cluster.change(|contents| contents.versions.clear());
    let error = fails(Command::Setup(V1_1), &cluster).await;
    assert!(matches!(error, MigrateError::Differs(_)), "{error}");
    assert!(error.to_string().contains(&stops), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_index_of_a_constraint_is_reported_as_the_constraint_only() {
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        stray_index(&mut contents.catalog, "one", true);
        let shards = contents.catalog.tables.get_mut("shards").unwrap();
        shards.constraints.push("one UNIQUE (range_id)".into());
    });
    let mut session = cluster.session();
    let found = migrator(embedded(), &mut session).verify(None).await.unwrap();
    let shown: Vec<_> = found.differences.iter().map(ToString::to_string).collect();
    let expected = "table shards: constraint one UNIQUE (range_id) is not in the definition";
    assert_eq!(shown, [expected]);
    assert!(found.others.is_empty(), "{found}");
}

#[tokio::test(start_paused = true)]
async fn version_tables_with_compatible_differences_are_used_as_they_are() {
    let change = |catalog: &mut Catalog| {
        let table = catalog.tables.get_mut(VERSION_TABLE).unwrap();
        let column = table.columns.iter_mut().find(|column| column.name == "curr_version");
        column.unwrap().data_type = "varchar(255)".into();
        let table = catalog.tables.get_mut(HISTORY_TABLE).unwrap();
        table.columns.push(ColumnDefinition {
            name: "by_whom".into(),
            data_type: "text".into(),
            nullable: true,
            default: None,
        });
    };
    let cluster = cluster_at(V1_0).await;
    cluster.change(|contents| {
        change(&mut contents.catalog);
        contents.versions[0] = version_row("postgres", "1.12");
    });
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = migrator.plan_adoption().await.unwrap();
    migrator.apply(&plan).await.unwrap();
    for (command, version) in [(Command::Update(V1_1), V1_1), (Command::Rollback(V1_0), V1_0)] {
        let plan = command.plan(&mut migrator).await.unwrap();
        let noted = |part: &str| plan.notes.iter().any(|note| note.contains(part));
        assert!(noted("curr_version: type should be varchar(64)"), "{:?}", plan.notes);
        assert!(noted("schema_update_history.by_whom is not in the definition"));
        migrator.apply(&plan).await.unwrap();
        let found = migrator.verify(None).await.unwrap();
        assert_eq!((found.version, found.differences.len()), (version, 2), "{found}");
    }
    assert_eq!(
        history(&cluster),
        pairs(&[("0", "1.0"), ("1.12", "1.0"), ("1.0", "1.1"), ("1.1", "1.0")])
    );
    does_nothing(Command::Setup(V1_0), &cluster).await;
    // What could refuse the row of a version is not compatible.
    let changes: [Change; 2] = [
        |table| table.constraints.push("known CHECK ((curr_version = '1.0'))".into()),
        |table| table.columns.iter_mut().for_each(|column| column.nullable = false),
    ];
    for change in changes {
        let cluster = cluster_at(V1_0).await;
        cluster.change(|contents| {
            change(contents.catalog.tables.get_mut(VERSION_TABLE).unwrap());
        });
        let error = fails(Command::Update(V1_1), &cluster).await;
        assert!(matches!(error, MigrateError::Differs(_)), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_notes_the_differences_of_the_tables_that_it_does_not_drop() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| make_compatible_differences(&mut contents.catalog));
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = Command::Rollback(V1_0).plan(&mut migrator).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    let after = migrator.verify(None).await.unwrap().differences;
    assert_eq!(after.len(), 6, "{after:?}");
    for difference in after {
        let noted = plan.notes.iter().any(|note| note.starts_with(&difference.to_string()));
        assert!(noted, "{difference}: {:?}", plan.notes);
    }
}

#[tokio::test(start_paused = true)]
async fn tables_with_compatible_differences_can_be_recorded_under_another_name() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| make_compatible_differences(&mut contents.catalog));
    let before = cluster.contents().catalog;
    let mut session = cluster.session();
    let mut other =
        Migrator::new(embedded(), &mut session, "temporal", Timeouts::default(), &IgnoreProgress);
    let plan = other.plan_setup(&Setup::default()).await.unwrap();
    assert_eq!(plan.notes.len(), 6, "{:?}", plan.notes);
    assert_eq!(other.apply(&plan).await.unwrap().done, 1);
    let after = cluster.contents();
    assert_eq!(after.catalog, before);
    let names: Vec<_> =
        after.versions.iter().map(|(row, _)| (&*row.database, row.version.as_deref())).collect();
    assert_eq!(names, [("postgres", Some("1.1")), ("temporal", Some("1.1"))]);
    // As under the recorded name, nothing is made that may have had rows, and no drift is recorded.
    for (recorded, part) in [
        ("1.1", "table tasks is missing\nnothing was changed; restore what is missing"),
        ("1.0", "table current_chasm_executions belongs to version 1.1"),
    ] {
        let cluster = cluster_at(V1_1).await;
        cluster.change(|contents| {
            contents.versions[0] = version_row("temporal", recorded);
            contents.catalog.tables.remove("tasks");
        });
        let error = fails(Command::Setup(recorded.parse().unwrap()), &cluster).await;
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_with_compatible_differences_is_not_said_to_be_one_to_drop() {
    let cluster = cluster_at(V1_1).await;
    cluster.change(|contents| {
        contents.versions.clear();
        make_compatible_differences(&mut contents.catalog);
    });
    let error = fails(Command::Setup(V1_1), &cluster).await;
    let text = error.to_string();
    assert!(matches!(error, MigrateError::Differs(_)), "{text}");
    assert!(text.contains("it is compatible, but a step works on this object"), "{text}");
    assert!(text.ends_with("; make them equal to the schema, and run the command again"), "{text}");
}
