//! Databases that other tools have made, and schema files that others have written.

use std::path::Path;

use crate::support::{GoFiles, Tool, copy_of_versions, write};
use temporal_dsql::{
    Engine, IncompatibleSchema, SchemaVersion, dsql, migrate::Schema, verify_compatible_version,
};
use temporal_dsql_testkit::ScratchDatabase;

/// The first cells of the rows of `query`.
async fn column(database: &ScratchDatabase, query: &str) -> Vec<String> {
    let rows = database.query(query).await.unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}

const RECORDED: &str = "SELECT curr_version || ' ' || min_compatible_version FROM schema_version \
                        ORDER BY db_name";
const HISTORY: &str = "SELECT old_version || ' > ' || new_version || ': ' || description \
                       FROM schema_update_history ORDER BY update_time";

/// A database with the tables of `tables`, recorded at `version` as the Go tool records it.
async fn recorded_at(tables: &str, version: &str) -> Option<(ScratchDatabase, Tool)> {
    let database = ScratchDatabase::create().await?;
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", tables]);
    let record = format!(
        "UPDATE schema_version SET curr_version = '{version}', min_compatible_version = '{version}'; \
         UPDATE schema_update_history SET new_version = '{version}'; \
         INSERT INTO shards VALUES (1, 7, 'x', 'Proto3')"
    );
    database.execute(&record).await.unwrap();
    Some((database, tool))
}

/// The check of a service that starts on `database`.
async fn service_start(database: &ScratchDatabase) -> Result<SchemaVersion, IncompatibleSchema> {
    let addr = database.addr().unwrap();
    let mut config = dsql::Config::new(addr.ip().to_string());
    config.port = addr.port();
    config.user = database.user().into();
    config.database = database.name().into();
    config.engine = Some(Engine::Postgres);
    config.tls.mode = Some(dsql::TlsMode::Disable);
    let store = dsql::connect(&config, None).await.unwrap();
    verify_compatible_version(&store, "postgres").await
}

#[tokio::test]
async fn a_database_at_1_12_is_adopted_and_updated_and_keeps_its_rows() {
    let Some((database, tool)) = recorded_at("1.0", "1.12").await else { return };
    let hint = "run `adopt-schema` to record 1.0";
    let status = tool.ok(&["status"]).out;
    assert!(status.contains("current   1.12") && status.contains(hint), "{status}");
    for arguments in [&["verify"][..], &["update-schema"], &["setup-schema", "-v", "1.1"]] {
        let run = tool.run(arguments);
        assert!(run.code == 1 && run.err.contains(hint), "{arguments:?}: {}", run.err);
    }
    assert!(matches!(service_start(&database).await, Err(IncompatibleSchema::TooNew { .. })));
    let dry = tool.ok(&["adopt-schema", "--dry-run"]).out;
    for line in [
        "-- 1. record version 1.0 for `postgres`",
        "-- one transaction",
        "db_name = 'postgres' AND curr_version = '1.12';",
        "'adopted: the catalog is that of 1.0, not 1.12');",
    ] {
        assert!(dry.contains(line), "`{line}` is not in {dry}");
    }
    assert_eq!(column(&database, RECORDED).await, ["1.12 1.12"]);

    let adopted = tool.ok(&["adopt-schema"]).out;
    assert!(adopted.starts_with("done: `postgres` is at version 1.0"), "{adopted}");
    assert_eq!(column(&database, RECORDED).await, ["1.0 1.0"]);
    let again = tool.ok(&["adopt"]).out;
    assert!(again.starts_with("nothing to do: `postgres` is at version 1.0"), "{again}");
    tool.ok(&["verify"]);
    tool.ok(&["update-schema", "--version", "1.1"]);
    let (code, json) = tool.json(&["adopt-schema"]);
    assert_eq!((code, &json["command"]), (0, &"adopt-schema".into()), "{json}");
    assert_eq!((&json["outcome"], &json["plan"]["to"]), (&"nothing-to-do".into(), &"1.1".into()));
    service_start(&database).await.unwrap();
    assert!(tool.ok(&["verify"]).out.contains("matches version 1.1"));
    assert_eq!(column(&database, "SELECT range_id FROM shards").await, ["7"]);
    let history = column(&database, HISTORY).await;
    assert_eq!(history[0], "0 > 1.12: initial version");
    assert_eq!(history[1], "1.12 > 1.0: adopted: the catalog is that of 1.0, not 1.12");
}

#[tokio::test]
async fn a_catalog_of_no_version_is_refused_with_the_list_of_differences() {
    let Some((database, tool)) = recorded_at("1.1", "1.12").await else { return };
    let change = "ALTER TABLE shards ALTER COLUMN range_id TYPE INTEGER";
    database.execute(change).await.unwrap();
    let run = tool.run(&["adopt-schema"]);
    assert_eq!(run.code, 3, "{}{}", run.out, run.err);
    assert!(
        run.err.contains("shards.range_id: type should be bigint and is integer"),
        "{}",
        run.err
    );
    let (code, json) = tool.json(&["adopt-schema", "--dry-run"]);
    let differences = serde_json::json!([
        {
            "kind": "column", "table": "shards", "column": "range_id", "property": "type",
            "expected": "bigint", "actual": "integer",
        }
    ]);
    assert_eq!((code, &json["differences"]), (3, &differences), "{json}");
    let refused = tool.run(&["verify"]).err;
    assert!(refused.contains("if not, `adopt-schema` lists the differences"), "{refused}");
    assert_eq!(column(&database, RECORDED).await, ["1.12 1.12"]);
}

#[tokio::test]
async fn the_schema_files_of_the_go_fork_make_exactly_1_1() {
    let files = GoFiles::write();
    let (versioned, file) = (files.versioned(), files.schema_file());
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "-f", &file, "-v", "1.1"]);
    assert!(tool.ok(&["verify"]).out.contains("matches version 1.1"));
    assert!(tool.ok(&["setup-schema", "-f", &file, "-v", "1.1"]).out.starts_with("nothing to do"));
    assert!(tool.ok(&["update-schema", "-d", &versioned]).out.starts_with("nothing to do"));

    // The idiom of Temporal's scripts.
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    for round in 0..2 {
        tool.ok(&["setup-schema", "-v", "0.0"]);
        let run = tool.ok(&["update-schema", "-d", &versioned]);
        assert_eq!(run.out.starts_with("done"), round == 0, "{}", run.out);
        // Its first row is a plain INSERT.
        let row = "UPDATE namespace_metadata SET notification_version = 9";
        database.execute(row).await.unwrap();
    }
    assert!(tool.ok(&["verify"]).out.contains("matches version 1.1"));
    let rows = "SELECT notification_version FROM namespace_metadata";
    assert_eq!(column(&database, rows).await, ["9"]);
    let md5 = "SELECT manifest_md5 FROM schema_update_history WHERE new_version = '1.1'";
    let schema = Schema::from_directory(Path::new(&versioned)).unwrap();
    let expected = &schema.release(schema.newest()).unwrap().manifest_md5;
    assert_eq!(column(&database, md5).await, [expected.as_str()]);
}

#[tokio::test]
async fn a_version_of_the_operators_own_is_known_to_every_command_by_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path();
    copy_of_versions(own);
    let manifest = r#"{"CurrVersion": "1.2", "MinCompatibleVersion": "1.0",
                       "SchemaUpdateCqlFiles": ["mine/notes.sql"]}"#;
    write(&own.join("v1.2/manifest.json"), manifest);
    let sql = "CREATE TABLE notes (id BIGINT NOT NULL, PRIMARY KEY (id));";
    write(&own.join("v1.2/mine/notes.sql"), sql);
    let path = own.to_str().unwrap();
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.1"]);
    tool.ok(&["update-schema", "-d", path]);

    let refused = "give its files with `--schema-dir`";
    assert!(tool.ok(&["status"]).out.contains(refused));
    for arguments in [&["verify"][..], &["rollback-schema", "--to", "1.1"], &["update-schema"]] {
        let run = tool.run(arguments);
        assert!(run.code == 1 && run.err.contains(refused), "{arguments:?}: {}", run.err);
    }
    let status = tool.ok(&["status", "--schema-dir", path]).out;
    assert!(status.contains("current   1.2") && status.contains("expected  1.2"), "{status}");
    assert!(tool.ok(&["verify", "-d", path]).out.contains("matches version 1.2"));
    let (code, json) = tool.json(&["verify", "-d", path, "--version", "1.1"]);
    assert_eq!((code, &json["verification"]["differences"][0]["name"]), (3, &"notes".into()));
    assert!(tool.ok(&["adopt-schema", "-d", path]).out.starts_with("nothing to do"));
    tool.ok(&["rollback-schema", "--to", "1.1", "-d", path]);
    assert!(tool.ok(&["verify"]).out.contains("matches version 1.1"));
    assert!(database.query("SELECT * FROM notes").await.is_err());
    tool.ok(&["rollback-schema", "--to", "1.0", "-d", path]);
    tool.ok(&["verify"]);
}

#[tokio::test]
async fn all_names_of_the_tables_are_rolled_back_together() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.1"]);
    tool.ok(&["setup-schema", "--version", "1.1", "--logical-database", "temporal"]);
    let run = tool.ok(&["rollback-schema", "--to", "1.0"]);
    let note = "note: the version recorded for `temporal` (1.1) is lowered, too";
    assert!(run.err.contains(note), "{}", run.err);
    assert_eq!(column(&database, RECORDED).await, ["1.0 1.0", "1.0 1.0"]);
    for name in ["postgres", "temporal"] {
        tool.ok(&["verify", "--logical-database", name]);
    }
    let history = column(&database, HISTORY).await;
    assert_eq!(history[2..], ["1.1 > 1.0: rolled back from 1.1, with `temporal` (1.1)"]);
}

#[test]
fn a_schema_directory_that_does_not_exist_is_named_by_every_command() {
    let path = Path::new("/nonexistent/versions");
    for command in ["status", "verify", "update-schema", "adopt-schema", "rollback-schema --to 1.0"]
    {
        let words: Vec<_> = command.split(' ').chain(["-d", path.to_str().unwrap()]).collect();
        let run = Tool::nowhere().run(&words);
        assert_eq!(run.code, 2, "{command}: {}", run.err);
        assert!(run.err.contains("no directory /nonexistent/versions"), "{command}: {}", run.err);
    }
}

#[tokio::test]
async fn the_plan_of_an_adoption_has_the_recorded_text_even_if_it_is_no_version() {
    let Some((_database, tool)) = recorded_at("1.0", "first").await else { return };
    let (code, json) = tool.json(&["adopt-schema", "--dry-run"]);
    assert_eq!((code, &json["dry_run"][0]["from"]), (0, &"first".into()), "{json}");
    let (_, json) = tool.json(&["adopt-schema"]);
    assert_eq!((&json["plan"]["from"], &json["plan"]["to"]), (&"first".into(), &"1.0".into()));
}
