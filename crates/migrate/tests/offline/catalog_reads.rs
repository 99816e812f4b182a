//! How much of the catalog a command reads.

use temporal_dsql_migrate::{
    CatalogIndex, ColumnDefinition, IndexDefinition, SchemaDatabase, TableDefinition,
};

use crate::{
    Command, V1_0, V1_1, embedded,
    fake_cluster::{Behaviour, Cluster},
    migrator,
    spec::whole,
};

/// A cluster with `count` tables that are not part of the schema, each with an index.
fn with_foreign_tables(count: u32) -> Cluster {
    let cluster = Cluster::new(Behaviour::default());
    cluster.change(|contents| {
        for number in 0..count {
            let table = TableDefinition {
                columns: vec![ColumnDefinition {
                    name: "id".into(),
                    data_type: "bigint".into(),
                    nullable: false,
                    default: None,
                }],
                ..TableDefinition::default()
            };
            let index = IndexDefinition {
                table: format!("invoices_{number}"),
                columns: vec!["id".into()],
                ..IndexDefinition::default()
            };
            contents.catalog.indexes.insert(
                format!("invoices_{number}_id"),
                CatalogIndex { index, oid: number, valid: true },
            );
            contents.catalog.tables.insert(format!("invoices_{number}"), table);
        }
    });
    cluster
}

#[tokio::test(start_paused = true)]
async fn no_definition_of_a_foreign_table_is_read() {
    let mut read = Vec::new();
    for count in [0, 3_000] {
        let cluster = with_foreign_tables(count);
        let commands = [
            Command::Setup(V1_0),
            Command::Update(V1_1),
            Command::Rollback(V1_0),
            Command::Overwrite(V1_1),
        ];
        for command in commands {
            command.run(cluster.session()).await.unwrap();
        }
        let mut session = cluster.session();
        let found = migrator(embedded(), &mut session).verify(None).await.unwrap();
        assert!(found.is_clean(), "{found}");
        assert_eq!(found.others.len(), count as usize, "verify lists their names");
        let others = session.catalog(&whole()).await.unwrap().others;
        assert_eq!(others.len(), count as usize);
        read.push(cluster.definitions_read());
    }
    assert_eq!(read[0], read[1]);
}

#[tokio::test(start_paused = true)]
async fn what_a_setup_creates_is_read_at_once_and_a_step_in_effect_reads_nothing() {
    let cluster = with_foreign_tables(0);
    // A statement that loses a conflict is probed before it is sent again.
    cluster.behave(|behaviour| behaviour.stale_catalogs = false);
    let mut session = cluster.session();
    let mut migrator = migrator(embedded(), &mut session);
    let plan = Command::Setup(V1_1).plan(&mut migrator).await.unwrap();
    let before = cluster.definitions_read();
    cluster.take_calls();
    migrator.apply(&plan).await.unwrap();
    let reads =
        |cluster: &Cluster| cluster.take_calls().iter().filter(|call| *call == "catalog").count();
    // One read before the first step, one for everything that was created, and one before the version
    // is recorded.
    assert_eq!(reads(&cluster), 3);
    let definitions = cluster.definitions_read() - before;
    // Each table and index once in each read but the first, which finds none.
    assert!(definitions < 2 * plan.steps.len(), "{definitions} definitions were read");
    // Once more, with everything but the version in effect.
    cluster.change(|contents| contents.versions.clear());
    migrator.apply(&plan).await.unwrap();
    assert_eq!(reads(&cluster), 2);
}
