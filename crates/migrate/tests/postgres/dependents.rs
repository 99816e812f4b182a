//! Objects that depend on tables of the schema, as PostgreSQL's catalog shows them.

use temporal_dsql_migrate::{
    Dependent, MigrateError, Overwrite, PostgresDatabase, Rollback, SchemaDatabase,
};
use temporal_dsql_testkit::ScratchDatabase;

use crate::{
    Command, V1_0, V1_1, at, connect, history, migrator,
    spec::{assert_is, whole},
};

/// A view, one on top of it in another schema, a materialized view, a foreign key, and a function.
const OBJECTS: &str = "
    CREATE SCHEMA other;
    CREATE VIEW \"My report\" AS SELECT run_id FROM current_chasm_executions;
    CREATE VIEW other.summary AS SELECT count(*) AS n FROM \"My report\";
    CREATE MATERIALIZED VIEW stored AS SELECT shard_id FROM shards;
    CREATE TABLE invoices (shard_id INT REFERENCES shards (shard_id));
    CREATE FUNCTION runs() RETURNS bigint LANGUAGE sql
      BEGIN ATOMIC SELECT count(*) FROM other.summary, tasks; END;
    CREATE FUNCTION of_row(shards) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE PROCEDURE \"Do it\"(shards) LANGUAGE sql AS 'SELECT 1'";

async fn dependents(database: &mut PostgresDatabase, tables: &[&str]) -> Vec<Dependent> {
    let tables: Vec<_> = tables.iter().map(|table| (*table).to_owned()).collect();
    database.dependents(&tables).await.unwrap().unwrap()
}

fn named(dependents: &[Dependent]) -> Vec<String> {
    dependents.iter().map(|dependent| dependent.object.clone()).collect()
}

#[tokio::test]
async fn what_a_table_consists_of_does_not_depend_on_it() {
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    // Identity columns, defaults that use own sequences, references to itself, triggers, policies.
    let own = "ALTER TABLE shards ADD id INT GENERATED ALWAYS AS IDENTITY, ADD n SERIAL, \
                 ADD parent INT REFERENCES shards (shard_id), ADD UNIQUE (n); \
               CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
               CREATE TRIGGER kept BEFORE INSERT ON shards FOR EACH ROW EXECUTE FUNCTION keep(); \
               CREATE POLICY mine ON shards USING (shard_id > 0); \
               CREATE RULE noted AS ON DELETE TO shards DO ALSO SELECT 1; \
               CREATE STATISTICS s ON shard_id, range_id FROM shards; \
               CREATE INDEX more ON shards (range_id)";
    scratch.execute(own).await.unwrap();
    let mut database = connect(&scratch).await;
    let tables: Vec<String> = whole().names.into_iter().collect();
    assert_eq!(database.dependents(&tables).await.unwrap(), Some(Vec::new()));
    scratch.execute("DROP TABLE shards").await.unwrap();
}

#[tokio::test]
async fn dependents_are_refused_before_anything_is_changed_and_dropped_on_request() {
    let Some(template) = at(V1_1).await else {
        return;
    };
    template.execute(OBJECTS).await.unwrap();
    let scratch = ScratchDatabase::create_from_template(&template).await.unwrap();
    let mut database = connect(&scratch).await;
    let of_chasm = dependents(&mut database, &["current_chasm_executions"]).await;
    let expected = ["function runs()", "view other.summary", "view public.My report"];
    assert_eq!(named(&of_chasm), expected, "those on top first");
    let mut of_shards = named(&dependents(&mut database, &["shards"]).await);
    of_shards.sort();
    let expected = [
        "foreign key invoices_shard_id_fkey of table public.invoices",
        "function of_row(shards)",
        "materialized view public.stored",
        "procedure \"Do it\"(shards)",
    ];
    assert_eq!(of_shards, expected);

    let before = crate::versions(&scratch).await;
    let catalog = database.catalog(&whole()).await.unwrap();
    for command in [Command::Rollback, Command::Overwrite] {
        let error = command.run(&mut database).await.unwrap_err();
        assert!(matches!(error, MigrateError::HasDependents { can_drop: true, .. }), "{error}");
        assert!(error.to_string().contains("view public.My report depends on"), "{error}");
        assert_eq!(crate::versions(&scratch).await, before, "{command:?}");
        assert_eq!(database.catalog(&whole()).await.unwrap(), catalog, "{command:?}");
    }

    let mut migrator = migrator(&mut database);
    let rollback = Rollback { to: V1_0, with_rows: false, drop_dependents: true };
    let plan = migrator.plan_rollback(&rollback).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    assert_eq!(history(&scratch).await, ["0 > 1.1", "1.1 > 1.0"]);
    let overwrite = Overwrite { drop_dependents: true, ..Overwrite::default() };
    let plan = migrator.plan_overwrite(&overwrite).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    let mut catalog = database.catalog(&whole()).await.unwrap();
    assert_eq!(catalog.others.remove("invoices"), Some("table"), "a table of others stays");
    assert_is(&catalog, V1_1);
}

#[tokio::test]
async fn tables_of_others_that_depend_on_one_of_the_schema_are_never_dropped() {
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    let tables = "CREATE TABLE child () INHERITS (shards); \
                  CREATE TABLE holder (row_of_shards shards)";
    scratch.execute(tables).await.unwrap();
    let mut database = connect(&scratch).await;
    let overwrite = Overwrite { drop_dependents: true, ..Overwrite::default() };
    let error = migrator(&mut database).plan_overwrite(&overwrite).await.unwrap_err();
    let MigrateError::HasDependents { dependents, can_drop: false } = error else {
        panic!("{error}");
    };
    let mut names = named(&dependents);
    names.sort();
    assert_eq!(names, ["table public.child", "table public.holder"]);
}

#[tokio::test]
async fn an_object_of_any_kind_has_its_name() {
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    let objects = "CREATE TABLE invoices (id INT PRIMARY KEY); \
                   CREATE POLICY mine ON invoices USING (id IN (SELECT shard_id FROM shards)); \
                   CREATE TYPE pair AS (one shards, two INT)";
    scratch.execute(objects).await.unwrap();
    let mut database = connect(&scratch).await;
    let mut names = named(&dependents(&mut database, &["shards"]).await);
    names.sort();
    assert_eq!(names, ["composite type public.pair", "policy mine on table invoices"]);
}

#[tokio::test]
async fn an_overwrite_keeps_a_table_that_only_has_the_name_of_one_of_the_schema() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let other = "DROP TABLE tasks; CREATE TABLE tasks (id INT PRIMARY KEY, title TEXT); \
                 INSERT INTO tasks VALUES (1, 'pay')";
    scratch.execute(other).await.unwrap();
    let mut database = connect(&scratch).await;
    let error = Command::Overwrite.run(&mut database).await.unwrap_err();
    assert!(matches!(error, MigrateError::DifferentTables(_)), "{error}");
    assert!(error.to_string().contains("column tasks.title is not in the definition"), "{error}");
    let rows = scratch.query("SELECT title FROM tasks").await.unwrap();
    assert_eq!(rows, [[Some("pay".to_owned())]]);
    assert_eq!(history(&scratch).await, ["0 > 1.0"]);
}
