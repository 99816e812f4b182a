//! The commands, from an empty database to an upgraded one and back.

use crate::support::{Tool, newest};
use temporal_dsql::migrate::Schema;
use temporal_dsql_testkit::ScratchDatabase;

/// Both version tables, with their timestamps.
async fn version_tables(database: &ScratchDatabase) -> Vec<Vec<Option<String>>> {
    let mut rows = database.query("SELECT * FROM schema_version").await.unwrap();
    let history = "SELECT * FROM schema_update_history ORDER BY update_time";
    rows.extend(database.query(history).await.unwrap());
    rows
}

fn tables_of_the_newest_version() -> usize {
    let schema = Schema::embedded().unwrap();
    schema.objects_at(schema.newest()).tables.len()
}

async fn column(database: &ScratchDatabase, query: &str) -> Vec<String> {
    let rows = database.query(query).await.unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}

#[tokio::test]
async fn setup_sets_up_exactly_the_version_asked_for_and_the_newest_by_default() {
    for (arguments, version, tables) in [
        (&["setup-schema", "--version", "1.0"][..], "1.0", 36),
        (&["setup-schema", "--version", "1.1"], "1.1", 37),
        (&["setup"], &newest(), tables_of_the_newest_version()),
    ] {
        let Some(database) = ScratchDatabase::create().await else { return };
        let tool = Tool::new(&database);
        let run = tool.ok(arguments);
        assert!(run.out.contains(&format!("`postgres` is at version {version}")), "{}", run.out);
        assert_eq!(tool.ok(&["verify"]).code, 0);
        let recorded = column(&database, "SELECT curr_version FROM schema_version").await;
        assert_eq!(recorded, [version]);
        let known = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' \
                     AND tablename NOT LIKE 'schema\\_%'";
        assert_eq!(column(&database, known).await, [tables.to_string()]);
    }
}

#[tokio::test]
async fn running_a_command_again_changes_nothing_not_even_a_timestamp() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "-v", "1.0"]);
    let before = version_tables(&database).await;
    let again = tool.ok(&["setup-schema", "-v", "1.0"]);
    assert!(again.out.starts_with("nothing to do"), "{}", again.out);
    assert_eq!(version_tables(&database).await, before);

    tool.ok(&["update-schema"]);
    let before = version_tables(&database).await;
    let v = format!("v{}", newest());
    for arguments in [&["update-schema"][..], &["update", "--target-version", &v], &["setup"]] {
        let again = tool.ok(arguments);
        assert!(again.out.starts_with("nothing to do"), "{arguments:?}: {}", again.out);
    }
    assert_eq!(version_tables(&database).await, before);
}

#[tokio::test]
async fn the_version_row_carries_the_manifests_compatible_version_however_it_was_reached() {
    let compatible = "SELECT min_compatible_version FROM schema_version";
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.1"]);
    assert_eq!(column(&database, compatible).await, ["1.0"], "the Go tool writes 1.1 here");
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    tool.ok(&["update-schema", "--version", "1.1"]);
    assert_eq!(column(&database, compatible).await, ["1.0"]);
    tool.ok(&["rollback-schema", "--to", "1.0"]);
    assert_eq!(column(&database, compatible).await, ["1.0"]);
}

#[tokio::test]
async fn the_history_has_temporals_columns_and_one_row_for_each_change() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    tool.ok(&["update-schema", "--version", "1.1"]);
    tool.ok(&["rollback-schema", "--to", "1.0"]);
    let rows = database
        .query(
            "SELECT old_version, new_version, description, length(manifest_md5) \
             FROM schema_update_history ORDER BY update_time",
        )
        .await
        .unwrap();
    let rows: Vec<Vec<&str>> =
        rows.iter().map(|row| row.iter().map(|cell| cell.as_deref().unwrap()).collect()).collect();
    assert_eq!(rows[0], ["0", "1.0", "initial version", "0"]);
    assert_eq!(rows[1][..2], ["1.0", "1.1"]);
    assert_eq!(rows[1][3], "32");
    assert_eq!(rows[2][..2], ["1.1", "1.0"]);
    assert_eq!(rows.len(), 3);
}

#[tokio::test]
async fn a_dry_run_prints_statements_and_boundaries_and_touches_nothing() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    let setup = tool.ok(&["setup-schema", "--version", "1.0", "--dry-run"]);
    assert!(setup.out.contains("CREATE TABLE executions ("), "{}", setup.out);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(column(&database, tables).await, ["0"]);

    tool.ok(&["setup-schema", "--version", "1.0"]);
    let before = version_tables(&database).await;
    let update = tool.ok(&["update-schema", "--version", "1.1", "--dry-run"]);
    let transactions: Vec<_> = update
        .out
        .lines()
        .filter(|line| line.starts_with("-- one ") || *line == "BEGIN;" || *line == "COMMIT;")
        .collect();
    let expected =
        ["-- one statement, committed by itself", "-- one transaction", "BEGIN;", "COMMIT;"];
    assert_eq!(transactions, expected, "{}", update.out);
    assert!(update.out.contains("CREATE TABLE current_chasm_executions ("), "{}", update.out);
    assert_eq!(version_tables(&database).await, before);
    assert_eq!(column(&database, tables).await, ["38"]);
}

#[tokio::test]
async fn status_shows_what_is_recorded_what_is_expected_and_what_is_pending() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    let (code, status) = tool.json(&["status"]);
    assert_eq!((code, &status["status"]["current"]), (0, &serde_json::Value::Null));
    assert_eq!(status["status"]["expected"], newest());
    tool.ok(&["setup-schema", "--version", "1.0"]);
    let (_, status) = tool.json(&["status"]);
    assert_eq!(status["status"]["current"], "1.0");
    let pending = status["status"]["pending"].as_array().unwrap();
    assert_eq!(pending[0], "create table current_chasm_executions");
    assert_eq!(pending[1], "record version 1.1 for `postgres`");
    tool.ok(&["update-schema"]);
    let (_, status) = tool.json(&["status"]);
    assert_eq!(status["status"]["current"], newest());
    assert_eq!(status["status"]["pending"].as_array().unwrap().len(), 0);
    let text = tool.ok(&["status"]).out;
    for label in ["current   ", "expected  "] {
        assert!(text.contains(&format!("{label}{}", newest())), "{text}");
    }
}

#[tokio::test]
async fn verify_exits_with_three_and_a_readable_diff_on_any_difference() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    for statement in [
        "ALTER TABLE executions ALTER COLUMN data DROP NOT NULL",
        "ALTER TABLE shards ADD COLUMN extra TEXT",
        "DROP INDEX cm_idx_rolehost",
        "DROP TABLE queue",
        "UPDATE pg_index SET indisvalid = false \
         WHERE indexrelid = 'idx_namespaces_name'::regclass",
    ] {
        database.execute(statement).await.unwrap();
    }
    let run = tool.run(&["verify"]);
    assert_eq!(run.code, 3, "{}{}", run.out, run.err);
    for named in ["executions", "data", "shards", "extra", "cm_idx_rolehost", "queue"] {
        assert!(run.out.contains(named), "`{named}` is not in {}", run.out);
    }
    assert!(run.out.contains("idx_namespaces_name") && run.out.contains("valid"), "{}", run.out);
    let (code, json) = tool.json(&["verify"]);
    assert_eq!(code, 3);
    assert_eq!(json["verification"]["differences"].as_array().unwrap().len(), 5, "{json}");
}

#[tokio::test]
async fn verify_reports_drift_and_ignores_foreign_tables() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    database.execute("CREATE TABLE foreign_table (id INT)").await.unwrap();
    database.execute("CREATE VIEW a_view AS SELECT * FROM executions").await.unwrap();
    let run = tool.ok(&["verify"]);
    assert!(run.out.contains("foreign_table") && run.out.contains("a_view"), "{}", run.out);
    let against = tool.run(&["verify", "--version", "1.0"]);
    assert_eq!(against.code, 3);
    assert!(against.out.contains("current_chasm_executions"), "{}", against.out);
}

#[tokio::test]
async fn overwrite_lists_what_it_drops_asks_and_keeps_foreign_tables() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    database.execute("CREATE TABLE foreign_table (id INT)").await.unwrap();
    database.execute("INSERT INTO shards VALUES (1, 1, 'x', 'Proto3')").await.unwrap();
    let refused = tool.run(&["setup-schema", "--overwrite"]);
    assert_eq!(refused.code, 2, "there is no terminal: {}", refused.err);
    for named in ["executions", "shards", "schema_version", "--yes"] {
        assert!(refused.err.contains(named), "`{named}` is not in {}", refused.err);
    }
    assert!(!refused.err.contains("foreign_table"), "{}", refused.err);
    assert_eq!(column(&database, "SELECT count(*) FROM shards").await, ["1"]);

    let dry = tool.ok(&["setup", "--overwrite", "--dry-run"]);
    for shown in ["DROP TABLE \"shards\";", "CREATE TABLE shards (", &format!("'{}'", newest())] {
        assert!(dry.out.contains(shown), "`{shown}` is not in {}", dry.out);
    }
    assert_eq!(column(&database, "SELECT count(*) FROM shards").await, ["1"]);

    let (code, json) = tool.json(&["setup", "--overwrite", "--yes"]);
    assert_eq!(code, 0, "{json}");
    let steps = json["plan"]["steps"].as_array().unwrap();
    let named = |start: &str| {
        steps.iter().filter(|step| step["step"].as_str().unwrap().starts_with(start)).count()
    };
    let created = tables_of_the_newest_version() + 2;
    assert_eq!((named("drop table"), named("create table")), (38, created), "{json}");
    assert_eq!(json["report"]["done"], steps.len(), "{json}");
    assert_eq!(column(&database, "SELECT count(*) FROM shards").await, ["0"]);
    assert_eq!(column(&database, "SELECT count(*) FROM foreign_table").await, ["0"]);
    assert!(tool.ok(&["status"]).out.contains(&format!("current   {}", newest())));
}

#[tokio::test]
async fn rollback_refuses_a_table_with_rows_without_drop_rows() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    let row = "INSERT INTO current_chasm_executions VALUES (1, gen_random_uuid(), 'id', 7, \
               gen_random_uuid(), 'request', 1, 1, 0, NULL, 0, NULL, '')";
    database.execute(row).await.unwrap();
    let refused = tool.run(&["rollback-schema", "--to", "1.0"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("current_chasm_executions"), "{}", refused.err);
    let status = tool.ok(&["status"]).out;
    assert!(status.contains(&format!("current   {}", newest())), "the version is as it was");
    assert_eq!(tool.run(&["rollback-schema", "--to", "1.0", "--drop-rows"]).code, 2);
    let proven = ["rollback-schema", "--to", "1.0", "--drop-rows", "--yes", "--prove"];
    let run = tool.ok(&proven);
    assert!(run.out.contains("current_executions is unchanged"), "{}", run.out);
    assert_eq!(tool.ok(&["verify"]).code, 0);
    tool.ok(&["update-schema"]);
    assert_eq!(column(&database, "SELECT count(*) FROM current_chasm_executions").await, ["0"]);
}

#[tokio::test]
async fn the_proof_covers_every_row_of_current_executions() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    database
        .execute(
            "INSERT INTO current_executions SELECT n % 8, gen_random_uuid(), 'id-' || n, \
             gen_random_uuid(), 'request', 2, 1, 0, now() AT TIME ZONE 'UTC', n, 'x', 'Proto3' \
             FROM generate_series(1, 3000) AS n",
        )
        .await
        .unwrap();
    let checksum = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) \
                    FROM current_executions AS t";
    let before = column(&database, checksum).await;
    let (code, json) = tool.json(&["update-schema", "--prove"]);
    assert_eq!(code, 0, "{json}");
    assert!(json["proof"].as_str().unwrap().starts_with("3000 rows, "), "{json}");
    assert_eq!(column(&database, checksum).await, before);
}

#[tokio::test]
async fn the_logical_name_decides_which_version_row_is_meant() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0", "--logical-database", "temporal"]);
    let names = "SELECT db_name FROM schema_version";
    assert_eq!(column(&database, names).await, ["temporal"]);
    let other = tool.run(&["update-schema"]);
    assert_eq!(other.code, 1);
    assert!(other.err.contains("`postgres`") && other.err.contains("temporal"), "{}", other.err);
    tool.ok(&["update-schema", "--logical-database", "temporal"]);
}

#[tokio::test]
async fn a_schema_directory_of_the_operators_own_is_applied_version_by_version() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let directory = tempfile::tempdir().unwrap();
    for (version, compatible, table) in
        [("0.5", "0.1", "a"), ("1.5", "0.5", "b"), ("10.2", "1.5", "c")]
    {
        let at = directory.path().join(format!("v{version}"));
        std::fs::create_dir(&at).unwrap();
        let manifest = format!(
            r#"{{"CurrVersion": "{version}", "MinCompatibleVersion": "{compatible}",
                "Description": "adds {table}", "SchemaUpdateCqlFiles": ["{table}.sql"]}}"#
        );
        std::fs::write(at.join("manifest.json"), manifest).unwrap();
        let sql = format!("CREATE TABLE {table} (id BIGINT NOT NULL, PRIMARY KEY (id));");
        std::fs::write(at.join(format!("{table}.sql")), sql).unwrap();
    }
    std::fs::create_dir(directory.path().join("abc")).unwrap();
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "0.0"]);
    let path = directory.path().to_str().unwrap();
    tool.ok(&["update-schema", "--schema-dir", path, "--version", "1.5"]);
    assert!(database.query("SELECT * FROM c").await.is_err());
    let (_, json) = tool.json(&["update-schema", "--schema-dir", path]);
    assert_eq!(json["plan"]["to"], "10.2");
    assert!(database.query("SELECT * FROM c").await.is_ok());
    let versions = "SELECT new_version FROM schema_update_history ORDER BY update_time";
    assert_eq!(column(&database, versions).await, ["0.0", "0.5", "1.5", "10.2"]);
}

#[tokio::test]
async fn quiet_prints_nothing_on_success_and_keeps_errors_and_exit_codes() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    let run = tool.ok(&["--quiet", "setup-schema"]);
    assert_eq!(run.err, "");
    let failed = tool.run(&["-q", "setup-schema", "--version", "1.0"]);
    assert_eq!(failed.code, 1, "the Go tool's usage text promises 0, and it exits 1");
    assert!(failed.err.starts_with("error: "), "{}", failed.err);
}

#[tokio::test]
async fn an_overwrite_that_cannot_be_planned_drops_nothing() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    database.execute("INSERT INTO shards VALUES (1, 1, 'x', 'Proto3')").await.unwrap();
    database.execute("CREATE VIEW current_chasm_executions AS SELECT 1 AS a").await.unwrap();
    let overwrite = ["setup-schema", "--overwrite", "--yes"];
    for (more, code, named) in [
        (&["--version", "9.9"][..], 2, "not found"),
        (&["--logical-database", ""], 2, "is empty"),
        (&["--version", "1.1"], 3, "should be a table and is a view"),
    ] {
        let run = tool.run(&[&overwrite, more].concat());
        assert_eq!(run.code, code, "{more:?}: {}{}", run.out, run.err);
        assert!(run.err.contains(named), "{more:?}: {}", run.err);
        assert_eq!(column(&database, "SELECT count(*) FROM shards").await, ["1"], "{more:?}");
    }
    assert!(tool.ok(&["status"]).out.contains("current   1.0"));
}

#[tokio::test]
async fn a_setup_of_0_0_succeeds_on_a_database_that_has_a_version_as_the_go_tools_does() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    // The commands of Temporal's scripts at every start.
    for round in 0..2 {
        tool.ok(&["setup-schema", "-v", "0.0"]);
        tool.ok(&["update-schema", "-s", "dsql/temporal"]);
        let again = tool.ok(&["setup-schema", "-v", "0.0"]);
        let expected = format!("nothing to do: `postgres` is at version {}", newest());
        assert!(again.out.starts_with(&expected), "round {round}: {}", again.out);
    }
}

#[tokio::test]
async fn a_missing_first_row_or_history_table_is_restored_by_an_update() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    database.execute("DELETE FROM namespace_metadata").await.unwrap();
    database.execute("DROP TABLE schema_update_history").await.unwrap();
    assert_eq!(tool.run(&["verify"]).code, 3);
    let status = tool.ok(&["status"]).out;
    assert!(status.contains("pending   insert the initial row of namespace_metadata"), "{status}");
    let run = tool.ok(&["update-schema"]);
    assert!(run.out.starts_with("done"), "{}", run.out);
    tool.ok(&["verify"]);
}

#[tokio::test]
async fn json_output_is_one_object_for_every_failure() {
    let (code, json) = Tool::nowhere().json(&["update-schema", "--version", "latest"]);
    assert_eq!((code, &json["exit_code"]), (2, &2.into()), "{json}");
    assert!(json["error"].as_str().unwrap().contains("'latest'"), "{json}");
    let (code, json) = Tool::nowhere().json(&["no-such-command"]);
    assert_eq!((code, &json["command"]), (2, &serde_json::Value::Null), "{json}");
    assert_eq!(json["kind"], "usage", "{json}");

    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    database.execute("CREATE TABLE current_chasm_executions (a INT)").await.unwrap();
    let (code, json) = tool.json(&["update-schema"]);
    assert_eq!((code, &json["command"]), (3, &"update-schema".into()), "{json}");
    assert_eq!(json["kind"], "differences", "{json}");
    let differences = json["differences"].as_array().unwrap();
    let missing = serde_json::json!({
        "kind": "missing_column", "table": "current_chasm_executions", "column": "archetype_id"
    });
    assert!(differences.contains(&missing), "{json}");
}

#[tokio::test]
async fn closed_output_streams_are_not_a_failure() {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let mut command = Tool::nowhere().command(&["completions", "bash"]);
    assert_eq!(command.stdout(closed()).status().unwrap().code(), Some(0));
    let mut command = Tool::nowhere().command(&["status"]);
    assert_eq!(command.stderr(closed()).status().unwrap().code(), Some(2));

    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    let mut command = tool.command(&["setup-schema"]);
    assert_eq!(command.stderr(closed()).stdout(closed()).status().unwrap().code(), Some(0));
    tool.ok(&["verify"]);
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = Tool::nowhere().ok(&["completions", shell]);
        assert!(run.out.contains("rollback-schema"), "{shell}");
    }
}
