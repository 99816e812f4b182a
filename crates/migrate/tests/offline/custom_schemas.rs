//! Custom schemas, which do more than add tables.

use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{MigrateError, Schema, TableDefinition};

use crate::{
    Command, V1_0, V1_1,
    fake_cluster::{Behaviour, Cluster, Fault, version_row},
    migrator,
};

const V1_2: SchemaVersion = SchemaVersion::new(1, 2);

/// Three versions: create tables; add a column and replace an index; drop a table.
fn schema() -> Schema {
    schema_of(&[
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
    ])
}

/// A schema of versions, each with the text of its only file.
pub fn schema_of(versions: &[(&str, &str)]) -> Schema {
    let folder = tempfile::tempdir().unwrap();
    for (version, text) in versions {
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
async fn a_rollback_is_judged_by_the_recorded_versions_and_by_what_exists_of_later_ones() {
    let schema = schema_of(&[
        ("1.0", "CREATE TABLE a (id INT PRIMARY KEY);"),
        ("1.1", "CREATE TABLE b (id INT PRIMARY KEY);"),
        (
            "1.2",
            "CREATE TABLE c (id INT PRIMARY KEY);
             ALTER TABLE a ADD COLUMN x INT;
             CREATE INDEX ASYNC a_x ON a (x);
             DROP TABLE b;",
        ),
        ("1.3", "TRUNCATE a;"),
    ]);
    // An update to 1.2 has not begun, or has ended after its first statement.
    let table = |name: &str| schema.objects_at(V1_2).tables[name].clone();
    for made in [None, Some("c")] {
        let cluster = cluster_at(&schema, V1_1).await;
        cluster.change(|contents| {
            contents.catalog.tables.extend(made.map(|name| (name.to_owned(), table(name))));
        });
        Command::Rollback(V1_0).run_with(&schema, &mut cluster.session()).await.unwrap();
        at(&schema, &cluster, V1_0);
    }
    // After its second, a table of 1.0 is another one.
    let cluster = cluster_at(&schema, V1_1).await;
    cluster.change(|contents| {
        contents.catalog.tables.insert("a".to_owned(), table("a"));
    });
    let before = cluster.contents();
    let rollback = Command::Rollback(V1_0).run_with(&schema, &mut cluster.session()).await;
    let error = rollback.unwrap_err();
    assert!(matches!(error, MigrateError::Irreversible { version: V1_2, .. }), "{error}");
    assert!(error.to_string().contains("(add column a.x)"), "{error}");
    assert_eq!(cluster.contents(), before);
    // If 1.2 is recorded under another name, it counts as a whole.
    let cluster = cluster_at(&schema, V1_1).await;
    cluster.change(|contents| contents.versions.push(version_row("temporal", "1.2")));
    let rollback = Command::Rollback(V1_0).run_with(&schema, &mut cluster.session()).await;
    let error = rollback.unwrap_err();
    assert!(matches!(error, MigrateError::Irreversible { version: V1_2, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_leaves_what_a_later_version_would_replace() {
    let schema = &schema_of(&[
        (
            "1.0",
            "CREATE TABLE a (id INT PRIMARY KEY, x INT);
             CREATE INDEX ASYNC a_x ON a (x);",
        ),
        ("1.1", "CREATE TABLE b (id INT PRIMARY KEY);"),
        (
            "1.2",
            "DROP INDEX a_x;
             CREATE INDEX ASYNC a_x ON a (x, id);
             DROP TABLE b;
             CREATE TABLE b (id INT PRIMARY KEY);",
        ),
    ]);
    let cluster = cluster_at(schema, V1_1).await;
    Command::Rollback(V1_0).run_with(schema, &mut cluster.session()).await.unwrap();
    at(schema, &cluster, V1_0);
    // The table of 1.0 is not one that 1.2 has added.
    let schema = &schema_of(&[
        ("1.0", "CREATE TABLE a (id INT PRIMARY KEY);"),
        ("1.1", "CREATE TABLE b (id INT PRIMARY KEY);"),
        ("1.2", "DROP TABLE a; CREATE TABLE a (id INT PRIMARY KEY);"),
    ]);
    let cluster = cluster_at(schema, V1_1).await;
    Command::Rollback(V1_0).run_with(schema, &mut cluster.session()).await.unwrap();
    at(schema, &cluster, V1_0);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_another_name_records_for_other_tables_does_not_stop_a_setup() {
    let schema = &schema();
    let cluster = Cluster::new(Behaviour::default());
    cluster.change(|contents| contents.versions.push(version_row("temporal", "1.1")));
    Command::Setup(V1_1).run_with(schema, &mut cluster.session()).await.unwrap();
    at(schema, &cluster, V1_1);
    assert_eq!(cluster.contents().versions.len(), 2);
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

#[tokio::test(start_paused = true)]
async fn versions_that_are_in_effect_are_not_judged() {
    let tables = "CREATE TABLE a (id INT PRIMARY KEY, x INT);";
    let update = "CREATE INDEX ASYNC a_x ON a (x); CREATE TABLE b (id INT PRIMARY KEY);";
    let whole = schema_of(&[("1.0", tables), ("1.1", update)]);
    let check = format!(
        "{tables} ALTER TABLE a ADD CONSTRAINT positive CHECK (x > 0);
         CREATE TABLE c (id INT PRIMARY KEY); ALTER TABLE c RENAME TO d;"
    );
    let schema = schema_of(&[("1.0", &check), ("1.1", update), ("1.2", "TRUNCATE a;")]);
    let cluster = cluster_at(&whole, V1_0).await;
    cluster.change(|contents| {
        let constraints = &mut contents.catalog.tables.get_mut("a").unwrap().constraints;
        constraints.push("positive CHECK ((x > 0))".to_owned());
        contents.catalog.tables.insert("d".to_owned(), TableDefinition::default());
    });
    let mut session = cluster.session();
    let plan = migrator(&schema, &mut session).plan_update(Some(V1_1)).await.unwrap();
    let [note] = plan.notes.as_slice() else { panic!("{:?}", plan.notes) };
    assert!(note.starts_with("the database was not compared with 1.0: version 1.0"), "{note}");
    // They are judged where they are executed or compared, and so are those of the update.
    let cannot_run = "cannot run as a resumable step";
    for (error, version) in [
        (migrator(&schema, &mut session).verify(None).await.unwrap_err(), "version 1.0"),
        (migrator(&schema, &mut session).plan_update(Some(V1_2)).await.unwrap_err(), "version 1.2"),
        (
            Command::Setup(V1_0)
                .run_with(&schema, &mut Cluster::new(Behaviour::default()).session())
                .await
                .unwrap_err(),
            "version 1.0",
        ),
    ] {
        let error = error.to_string();
        assert!(error.starts_with(version) && error.contains(cannot_run), "{error}");
    }
    Command::Update(V1_1).run_with(&schema, &mut session).await.unwrap();
    let contents = cluster.contents();
    assert!(contents.catalog.tables.contains_key("b"));
    assert!(contents.catalog.indexes["a_x"].valid);
    assert_eq!(contents.versions[0].0.version.as_deref(), Some("1.1"));
}
