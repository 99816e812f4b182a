//! The commands on a PostgreSQL catalog.

use std::collections::BTreeSet;

use serde_json::Value;
use temporal_dsql_migrate::{
    Digest, Engine, MigrateError, Overwrite, PostgresDatabase, SchemaDatabase, Setup, VersionRow,
};
use tokio::task::JoinSet;

use crate::{
    Command, V1_0, V1_1, at, chain, connect, embedded, history, migrator,
    spec::{assert_is, whole},
    versions,
};

#[tokio::test]
async fn a_setup_makes_the_catalog_of_the_specification() {
    for version in [V1_0, V1_1] {
        let Some(scratch) = at(version).await else {
            return;
        };
        let mut database = connect(&scratch).await;
        assert_eq!(database.engine(), Engine::Postgres);
        assert_is(&database.catalog(&whole()).await.unwrap(), version);
        let row = VersionRow {
            database: "postgres".to_owned(),
            version: Some(version.to_string()),
            min_compatible: Some("1.0".to_owned()),
        };
        assert_eq!(database.version_rows().await.unwrap(), [row]);
        assert_eq!(history(&scratch).await, [format!("0 > {version}")]);
        let found = migrator(&mut database).verify(None).await.unwrap();
        assert!(found.is_clean() && found.others.is_empty(), "{found}");
    }
}

#[tokio::test]
async fn information_schema_agrees_with_the_specification() {
    // Read with information_schema instead of the code under test.
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    let rows = scratch
        .query(
            "SELECT table_name, column_name, column_default, is_nullable, data_type, \
             character_maximum_length FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name NOT LIKE 'schema\\_%' \
             ORDER BY table_name, ordinal_position",
        )
        .await
        .unwrap();
    let spec: Value = serde_json::from_str(include_str!("../fixtures/schema-v1.1.json")).unwrap();
    let mut expected = Vec::new();
    for (table, definition) in spec["tables"].as_object().unwrap() {
        for column in definition["columns"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let data_type = column["type"].as_str().unwrap();
            let (name, length) = match data_type.strip_prefix("varchar(") {
                Some(length) => ("character varying", Some(length.trim_end_matches(')'))),
                None if data_type == "timestamp" => ("timestamp without time zone", None),
                None => (data_type, None),
            };
            let nullable = if column["nullable"] == true { "YES" } else { "NO" };
            expected.push(vec![
                Some(table.clone()),
                text(&column["name"]),
                text(&column["default"]),
                Some(nullable.to_owned()),
                Some(name.to_owned()),
                length.map(str::to_owned),
            ]);
        }
    }
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn an_update_goes_from_1_0_to_1_1_and_a_rollback_back() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let mut database = connect(&scratch).await;
    Command::Update.run(&mut database).await.unwrap();
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_1);
    let md5 = &embedded().release(V1_1).unwrap().manifest_md5;
    let row = scratch
        .query(
            "SELECT manifest_md5, description, year = extract(year FROM update_time), \
             month = extract(month FROM update_time), \
             abs(extract(epoch FROM now() AT TIME ZONE 'UTC' - update_time)) < 600 \
             FROM schema_update_history WHERE new_version = '1.1'",
        )
        .await
        .unwrap();
    let description = &embedded().release(V1_1).unwrap().description;
    let values: Vec<_> = row[0].iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(values, [md5, description, "t", "t", "t"]);
    Command::Rollback.run(&mut database).await.unwrap();
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_0);
    assert_eq!(history(&scratch).await, ["0 > 1.0", "1.0 > 1.1", "1.1 > 1.0"]);
}

#[tokio::test]
async fn t3_running_a_command_again_changes_no_row_and_no_timestamp() {
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    let before = versions(&scratch).await;
    let mut database = connect(&scratch).await;
    for command in [Command::Setup(V1_1), Command::Update] {
        assert_eq!(command.run(&mut database).await.unwrap().done, 0, "{command:?}");
        assert_eq!(versions(&scratch).await, before, "{command:?}");
    }
}

#[tokio::test]
async fn t4_a_setup_that_completes_another_keeps_the_first_row() {
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    let half = "DELETE FROM schema_version; DELETE FROM schema_update_history; \
                DROP TABLE current_chasm_executions; \
                UPDATE namespace_metadata SET notification_version = 7";
    scratch.execute(half).await.unwrap();
    let mut database = connect(&scratch).await;
    Command::Setup(V1_1).run(&mut database).await.unwrap();
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_1);
    let rows = scratch.query("SELECT * FROM namespace_metadata").await.unwrap();
    assert_eq!(rows, [[Some("54321".to_owned()), Some("7".to_owned())]]);
}

#[tokio::test]
async fn t8_a_table_that_exists_but_differs_stops_the_update_and_nothing_is_changed() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let other = "CREATE TABLE current_chasm_executions (shard_id BIGINT PRIMARY KEY, \
                 state INTEGER NOT NULL DEFAULT 5 CHECK (state > 0))";
    scratch.execute(other).await.unwrap();
    let before = versions(&scratch).await;
    let error = Command::Update.run(&mut connect(&scratch).await).await.unwrap_err();
    let text = error.to_string();
    for part in [
        "column current_chasm_executions.shard_id: type should be integer and is bigint",
        "column current_chasm_executions.state: default should be none and is 5",
        "constraint current_chasm_executions_state_check CHECK ((state > 0)) is not in the \
         definition",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(versions(&scratch).await, before);
}

#[tokio::test]
async fn t10_ten_setups_at_once_all_succeed_and_leave_one_history_row() {
    let Some(scratch) = temporal_dsql_testkit::ScratchDatabase::create().await else {
        return;
    };
    ten_at_once(&scratch, Command::Setup(V1_1)).await;
    assert_is(&connect(&scratch).await.catalog(&whole()).await.unwrap(), V1_1);
    assert_eq!(history(&scratch).await, ["0 > 1.1"]);
}

#[tokio::test]
async fn t10_ten_updates_at_once_all_succeed_and_leave_one_history_row() {
    for _ in 0..5 {
        let Some(scratch) = at(V1_0).await else {
            return;
        };
        ten_at_once(&scratch, Command::Update).await;
        assert_is(&connect(&scratch).await.catalog(&whole()).await.unwrap(), V1_1);
        assert_eq!(history(&scratch).await, ["0 > 1.0", "1.0 > 1.1"]);
    }
}

async fn ten_at_once(scratch: &temporal_dsql_testkit::ScratchDatabase, command: Command) {
    let mut runs = JoinSet::new();
    for _ in 0..10 {
        let mut database = connect(scratch).await;
        runs.spawn(async move { command.run(&mut database).await });
    }
    for result in runs.join_all().await {
        if let Err(error) = result {
            panic!("{command:?}: {}", chain(&error));
        }
    }
}

#[tokio::test]
async fn a_unique_index_over_duplicates_is_reported_with_the_duplicate() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let duplicates = "DROP INDEX idx_namespaces_name; INSERT INTO namespaces \
                      SELECT 54321, gen_random_uuid(), 'twice', 0, '', '', false \
                      FROM generate_series(1, 2)";
    scratch.execute(duplicates).await.unwrap();
    let mut database = connect(&scratch).await;
    let error = Command::Update.run(&mut database).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, MigrateError::IndexBuild { .. }), "{text}");
    assert!(text.contains("Key (name)=(twice) is duplicated"), "{text}");
    assert_eq!(history(&scratch).await, ["0 > 1.0"]);
    scratch.execute("DELETE FROM namespaces").await.unwrap();
    Command::Update.run(&mut database).await.unwrap();
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_1);
}

#[tokio::test]
async fn t6_an_invalid_index_is_rebuilt() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    // The state after a failed build.
    let invalid = "UPDATE pg_index SET indisvalid = false \
                   WHERE indexrelid = 'idx_namespaces_name'::regclass";
    scratch.execute(invalid).await.unwrap();
    let mut database = connect(&scratch).await;
    let found = migrator(&mut database).verify(None).await.unwrap();
    assert!(found.to_string().contains("index idx_namespaces_name is invalid"), "{found}");
    Command::Update.run(&mut database).await.unwrap();
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_1);
}

#[tokio::test]
async fn indexes_that_are_not_plain_differ() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let mut database = connect(&scratch).await;
    for (definition, expected) in [
        ("(last_heartbeat DESC)", "kind should be plain and is DESC"),
        ("(last_heartbeat) INCLUDE (role)", "kind should be plain and is INCLUDE"),
        ("(last_heartbeat) WHERE role > 1", "kind should be plain and is WHERE (role > 1)"),
        ("(abs(rpc_port))", "columns should be last_heartbeat and is abs(rpc_port)"),
        ("(record_expiry, last_heartbeat)", "and is record_expiry, last_heartbeat"),
    ] {
        let other = format!(
            "DROP INDEX cm_idx_lasthb; CREATE INDEX cm_idx_lasthb ON cluster_membership {definition}"
        );
        scratch.execute(&other).await.unwrap();
        let found = migrator(&mut database).verify(None).await.unwrap();
        assert_eq!(found.differences.len(), 1, "{found}");
        assert!(found.to_string().contains(expected), "{found}");
    }
}

async fn digest(database: &mut PostgresDatabase) -> Digest {
    migrator(database).digest("current_executions", &BTreeSet::new()).await.unwrap()
}

#[tokio::test]
async fn a_rollback_refuses_while_there_are_rows_and_touches_no_other_table() {
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    let rows = "INSERT INTO current_executions SELECT n, gen_random_uuid(), 'w' || n, \
                gen_random_uuid(), 'r', 1, 1, 0, now(), 0, '\\x00ff', 'Proto3' \
                FROM generate_series(1, 2500) AS n; \
                INSERT INTO current_chasm_executions SELECT 1, gen_random_uuid(), 'b', 7, \
                gen_random_uuid(), 'r', 1, 1, 0, now(), 0, NULL, ''";
    scratch.execute(rows).await.unwrap();
    let mut database = connect(&scratch).await;
    let before = digest(&mut database).await;
    assert_eq!(before.rows(), 2500);
    let error = Command::Rollback.run(&mut database).await.unwrap_err();
    assert!(matches!(error, MigrateError::TableHasRows { version_lowered: false, .. }), "{error}");
    assert_eq!(history(&scratch).await, ["0 > 1.1"]);
    scratch.execute("DELETE FROM current_chasm_executions").await.unwrap();
    Command::Rollback.run(&mut database).await.unwrap();
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_0);
    assert_eq!(digest(&mut database).await, before);
    // The digest changes with a single bit.
    let change = "UPDATE current_executions SET data = '\\x00fe' WHERE shard_id = 1234";
    scratch.execute(change).await.unwrap();
    assert_ne!(digest(&mut database).await, before);
}

#[tokio::test]
async fn a_digest_distinguishes_null_from_empty_and_omits_excluded_keys() {
    let Some(scratch) = at(V1_1).await else {
        return;
    };
    let rows = "INSERT INTO current_chasm_executions SELECT s, \
                ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'b', 4294967295, gen_random_uuid(), \
                'r', 1, 1, 0, now(), 0, NULL, '' \
                FROM generate_series(1, 3) AS s, generate_series(1, 3) AS n";
    scratch.execute(rows).await.unwrap();
    let mut database = connect(&scratch).await;
    let mut migrator = migrator(&mut database);
    let table = "current_chasm_executions";
    let id = "00000000-0000-0000-0000-000000000002";
    let key = ["2", id, "b", "4294967295"].map(str::to_owned).to_vec();
    let (none, one) = (BTreeSet::new(), BTreeSet::from([key]));
    let all = migrator.digest(table, &none).await.unwrap();
    let rest = migrator.digest(table, &one).await.unwrap();
    assert_eq!((all.rows(), rest.rows()), (9, 8));
    let change =
        format!("UPDATE {table} SET data = '' WHERE shard_id = 2 AND namespace_id = '{id}'");
    scratch.execute(&change).await.unwrap();
    assert_ne!(migrator.digest(table, &none).await.unwrap(), all);
    assert_eq!(migrator.digest(table, &one).await.unwrap(), rest);
}

#[tokio::test]
async fn t12_an_overwrite_leaves_foreign_tables_and_views_as_they_are() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    let foreign = "CREATE TABLE invoices (id INT); INSERT INTO invoices VALUES (1); \
                   CREATE VIEW report AS SELECT * FROM invoices; \
                   CREATE SEQUENCE numbers; INSERT INTO shards VALUES (1, 1, '', '')";
    scratch.execute(foreign).await.unwrap();
    let mut database = connect(&scratch).await;
    let found = migrator(&mut database).verify(None).await.unwrap();
    let names: Vec<_> = found.others.iter().map(|f| format!("{} {}", f.kind, f.name)).collect();
    assert_eq!(names, ["table invoices", "sequence numbers", "view report"]);
    assert!(found.is_clean());
    Command::Overwrite.run(&mut database).await.unwrap();
    assert_eq!(history(&scratch).await, ["0 > 1.1"]);
    for (query, count) in
        [("SELECT count(*) FROM report", "1"), ("SELECT count(*) FROM shards", "0")]
    {
        assert_eq!(scratch.query(query).await.unwrap(), [[Some(count.to_owned())]]);
    }
}

#[tokio::test]
async fn a_version_table_that_lacks_a_column_is_dropped_by_an_overwrite_on_request_only() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    // That of the Go fork's tool in the first days of January 2026.
    let first = "DROP TABLE schema_version; CREATE TABLE schema_version \
                 (curr_version VARCHAR(255) PRIMARY KEY, \
                 min_compatible_version VARCHAR(255) NOT NULL, last_updated_time TIMESTAMP NOT NULL); \
                 INSERT INTO schema_version VALUES ('1.12', '1.12', now())";
    scratch.execute(first).await.unwrap();
    let mut database = connect(&scratch).await;
    let error = Command::Overwrite.run(&mut database).await.unwrap_err();
    assert!(matches!(error, MigrateError::DifferentTables(_)), "{error}");
    assert!(error.to_string().contains("column schema_version.db_name is missing"), "{error}");
    let mut migrator = migrator(&mut database);
    let overwrite = Overwrite { drop_different: true, ..Overwrite::default() };
    let plan = migrator.plan_overwrite(&overwrite).await.unwrap();
    assert!(plan.notes[0].starts_with("the recorded versions are not known"), "{:?}", plan.notes);
    migrator.apply(&plan).await.unwrap();
    assert_is(&database.catalog(&whole()).await.unwrap(), V1_1);
    assert_eq!(history(&scratch).await, ["0 > 1.1"]);
}

#[tokio::test]
async fn t13_views_are_not_tables() {
    let Some(scratch) = at(V1_0).await else {
        return;
    };
    scratch.execute("CREATE VIEW current_chasm_executions AS SELECT 1 AS shard_id").await.unwrap();
    let mut database = connect(&scratch).await;
    let expected = "current_chasm_executions should be a table and is a view";
    for command in [Command::Update, Command::Overwrite] {
        let error = command.run(&mut database).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{command:?}: {error}");
        assert_eq!(history(&scratch).await, ["0 > 1.0"], "{command:?}");
    }
    // Version 1.0 has no such table, so the view does not matter.
    let setup = Setup { version: Some(V1_0), ..Setup::default() };
    let overwrite = Overwrite { setup, ..Overwrite::default() };
    let plan = migrator(&mut database).plan_overwrite(&overwrite).await.unwrap();
    assert!(plan.steps.iter().all(|step| !step.summary().contains("chasm_executions")));
}
