//! Custom schemas, which do more than add tables.

use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{MigrateError, Schema, TableDefinition};

use crate::{
    Command, V1_0, V1_1,
    fake_cluster::{Behaviour, Cluster, Fault},
    migrator,
};

const V1_2: SchemaVersion = SchemaVersion::new(1, 2);

/// Three versions: create tables; add a column and replace an index; drop a table.
fn schema() -> Schema {
    let folder = tempfile::tempdir().unwrap();
    for (version, text) in [
        (
            "1.0",
            "CREATE TABLE a (id INT PRIMARY KEY, x INT);
             CREATE TABLE b (id INT PRIMARY KEY, y INT);
             CREATE INDEX ASYNC a_x ON a (x);
             CREATE INDEX ASYNC b_y ON b (y);
             INSERT INTO b (id, y) VALUES (1, 2) ON CONFLICT DO NOTHING;",
        ),
        (
            "1.1",
            "ALTER TABLE a ADD COLUMN z BIGINT;
             DROP INDEX a_x;
             CREATE INDEX ASYNC a_z ON a (z);",
        ),
        ("1.2", "DROP TABLE b;"),
    ] {
        let directory = folder.path().join(format!("v{version}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("changes.sql"), text).unwrap();
        let manifest = format!(
            r#"{{"CurrVersion": "{version}", "MinCompatibleVersion": "1.0",
                 "SchemaUpdateCqlFiles": ["changes.sql"]}}"#
        );
        std::fs::write(directory.join("manifest.json"), manifest).unwrap();
    }
    Schema::from_directory(folder.path()).unwrap()
}

/// Asserts that the cluster has exactly the objects of `version`.
fn at(schema: &Schema, cluster: &Cluster, version: SchemaVersion) {
    let objects = schema.objects_at(version);
    let mut catalog = cluster.contents().catalog;
    catalog.tables.retain(|name, _| !name.starts_with("schema_"));
    assert_eq!(catalog.tables, objects.tables);
    assert!(catalog.indexes.values().all(|found| found.valid));
    assert!(catalog.indexes.keys().eq(objects.indexes.keys()));
}

async fn cluster_at(schema: &Schema, version: SchemaVersion) -> Cluster {
    let cluster = Cluster::new(Behaviour::default());
    Command::Setup(version).run_with(schema, &mut cluster.session()).await.unwrap();
    at(schema, &cluster, version);
    cluster
}

#[tokio::test(start_paused = true)]
async fn column_and_drop_steps_are_completed_after_a_fault_at_any_call() {
    let schema = &schema();
    let empty = async || Cluster::new(Behaviour::default());
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::LoseBefore, Fault::LoseAfter] {
        for start in [None, Some(V1_0), Some(V1_1)] {
            for call in 1.. {
                let (cluster, command) = match start {
                    None => (empty().await, Command::Setup(V1_2)),
                    Some(start) => (cluster_at(schema, start).await, Command::Update(V1_2)),
                };
                let (mut session, signal) = cluster.session().with_fault(call, fault);
                let ended = tokio::select! {
                    biased;
                    () = signal.killed() => None,
                    result = command.run_with(schema, &mut session) => Some(result),
                };
                let result = match ended {
                    Some(result) => result,
                    None => command.run_with(schema, &mut cluster.session()).await,
                };
                if let Err(error) = result {
                    panic!("{command:?} from {start:?}, {fault:?} at call {call}: {error}");
                }
                at(schema, &cluster, V1_2);
                if !signal.happened() {
                    assert!(call > 6, "{call}");
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_does_more_than_add_tables_cannot_be_rolled_back() {
    let schema = &schema();
    let cluster = cluster_at(schema, V1_2).await;
    for (to, summary) in [(V1_1, "1.2 does more than add tables (drop table b)"), (V1_0, "1.1")] {
        let result = Command::Rollback(to).run_with(schema, &mut cluster.session()).await;
        let error = result.unwrap_err();
        assert!(matches!(error, MigrateError::Irreversible { .. }), "{error}");
        assert!(error.to_string().contains(summary), "{error}");
    }
    at(schema, &cluster, V1_2);
}

#[tokio::test(start_paused = true)]
async fn a_table_in_an_unfinished_update_may_have_any_layout_in_between_and_no_other() {
    let schema = &schema();
    // An update that ended after it had added the column.
    let cluster = cluster_at(schema, V1_0).await;
    let z = schema.objects_at(V1_1).tables["a"].column("z").unwrap().clone();
    let add = |table: &mut TableDefinition| table.columns.push(z.clone());
    cluster.change(|contents| add(contents.catalog.tables.get_mut("a").unwrap()));
    let mut session = cluster.session();
    let mut migrator = migrator(schema, &mut session);
    let plan = migrator.plan_update(Some(V1_1)).await.unwrap();
    let pending: Vec<_> = plan.pending().map(|step| step.summary()).collect();
    assert_eq!(
        pending,
        ["drop index a_x", "create index a_z", "record version 1.1 for `postgres`"]
    );
    // A column of no version.
    cluster.change(|contents| {
        contents.catalog.tables.get_mut("a").unwrap().columns[2].name = "w".to_owned();
    });
    let error = migrator.plan_update(Some(V1_1)).await.unwrap_err();
    assert!(error.to_string().contains("column a.w is not in the definition"), "{error}");
}
