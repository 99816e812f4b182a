//! Databases that differ from their recorded version: which commands go on.

use temporal_dsql_migrate::{Catalog, ColumnDefinition, TableDefinition};

use crate::{
    Command, V1_0, V1_1, cluster_at, commands::fails, embedded, fake_cluster::version_row, migrator,
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
    columns(members, "rpc_port", |column| column.data_type = "integer".into());
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
    let changes: [(Change, &str); 6] = [
        (|table| table.columns[1].data_type = "integer".into(), "type should be bigint"),
        (|table| table.columns[1].data_type = "text".into(), "type should be bigint"),
        (|table| table.primary_key.push("range_id".into()), "primary key should be (shard_id)"),
        (|table| table.constraints.push("one UNIQUE (range_id)".into()), "one UNIQUE"),
        (|table| table.properties.push("ROW LEVEL SECURITY".into()), "ROW LEVEL SECURITY"),
        (
            |table| {
                table.columns.push(ColumnDefinition {
                    name: "more".into(),
                    data_type: "text".into(),
                    nullable: false,
                    default: None,
                });
            },
            "column shards.more is not in the definition",
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
    assert!(error.to_string().contains("type should be varchar(255)"), "{error}");
}
