//! Invalid input: one message that names the cause, the right exit code, and no change.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::Path};

use crate::support::{Tool, newest};
use temporal_dsql_testkit::ScratchDatabase;

#[track_caller]
fn fails(tool: &Tool, arguments: &[&str], code: i32, named: &[&str]) {
    let run = tool.run(arguments);
    assert_eq!(run.code, code, "{arguments:?}: {}{}", run.out, run.err);
    for name in named {
        assert!(run.err.contains(name), "{arguments:?}: `{name}` is not in: {}", run.err);
    }
    assert_eq!(run.out, "", "{arguments:?}: a failure prints no result");
}

async fn tables(database: &ScratchDatabase) -> String {
    let count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    database.query(count).await.unwrap()[0][0].clone().unwrap()
}

#[test]
fn a_missing_endpoint_names_the_variable_to_set() {
    fails(&Tool::nowhere(), &["status"], 2, &["CLUSTER_ENDPOINT"]);
    let (code, json) = Tool::nowhere().json(&["status"]);
    assert_eq!(code, 2);
    assert!(json["error"].as_str().unwrap().contains("CLUSTER_ENDPOINT"), "{json}");
}

#[test]
fn the_one_database_of_a_cluster_exists_and_is_not_dropped() {
    let mut tool = Tool::nowhere();
    tool.set("CLUSTER_ENDPOINT", "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws");
    for arguments in [&["create-database"][..], &["create", "--defaultdb", "postgres"]] {
        let run = tool.ok(arguments);
        assert!(run.out.starts_with("nothing to do: "), "{}", run.out);
        assert_eq!(run.out.lines().count(), 1, "{}", run.out);
    }
    for arguments in [&["drop-database"][..], &["drop", "-f", "--defaultdb", "postgres"]] {
        fails(&tool, arguments, 2, &["exactly one", "setup-schema --version 0.0 --overwrite"]);
    }
    fails(&tool, &["create", "--db", "temporal"], 2, &["create --logical-database temporal"]);
}

#[test]
fn tls_settings_of_the_go_tool_are_honoured_or_refused() {
    let mut tool = Tool::nowhere();
    tool.set("CLUSTER_ENDPOINT", "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws");
    for flag in ["--tls-cert-file", "--tls-key-file", "--tls-server-name", "--connect-attributes"] {
        fails(&tool, &["status", flag, "x"], 2, &[flag, "use\n  temporal-dsql-tool status"]);
    }
    fails(&tool, &["status", "--tls-disable-host-verification"], 2, &["verified TLS only"]);
    fails(&tool, &["status", "--tls", "--tls-mode", "prefer"], 2, &["SQL_TLS"]);
    for name in ["SQL_TLS_CERT_FILE", "SQL_TLS_KEY_FILE", "SQL_TLS_SERVER_NAME"] {
        tool.set(name, "x");
        fails(&tool, &["status"], 2, &[name]);
        tool.set(name, "");
    }
    tool.set("SQL_TLS", "maybe");
    fails(&tool, &["status"], 2, &["SQL_TLS", "true or false"]);
    // A server of PostgreSQL that does not offer TLS.
    let mut plain = Tool::nowhere();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    plain.set("SQL_HOST", "127.0.0.1").set("SQL_TLS", "true");
    plain.set("SQL_PORT", listener.local_addr().unwrap().port().to_string());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut connection, _) = listener.accept().unwrap();
        connection.read_exact(&mut [0; 8]).unwrap();
        connection.write_all(b"N").unwrap();
    });
    let named = ["server does not support TLS", "; turn on TLS at the server"];
    fails(&plain, &["status"], 1, &named);
}

#[test]
fn port_0_is_refused_by_the_name_of_its_setting() {
    let mut tool = Tool::nowhere();
    tool.set("SQL_HOST", "127.0.0.1");
    fails(&tool, &["status", "--port", "0"], 2, &["--port", "1..=65535"]);
    tool.set("SQL_PORT", "0");
    fails(&tool, &["status"], 2, &["SQL_PORT", "`0` is not a number in range"]);
}

#[test]
fn json_names_the_command_of_arguments_that_are_invalid_after_it() {
    for (arguments, command) in [
        (&["verify", "--no-such-flag"][..], Some("verify")),
        (&["-endpoint", "h", "setup", "--version", "x"], Some("setup-schema")),
        (&["nonsense"], None),
    ] {
        let (code, json) = Tool::nowhere().json(arguments);
        assert_eq!((code, json["command"].as_str()), (2, command), "{json}");
    }
}

#[test]
fn a_ca_file_without_a_certificate_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let mut tool = Tool::nowhere();
    tool.set("SQL_HOST", "127.0.0.1");
    for (file, reason) in [(path, "Is a directory"), ("no/such.pem", "No such file")] {
        fails(&tool, &["status", "--tls-ca-file", file], 2, &["CA file", file, reason]);
    }
    tool.set("SQL_TLS_CA_FILE", path);
    let (code, json) = tool.json(&["status"]);
    assert_eq!((code, &json["kind"]), (2, &"configuration".into()), "{json}");
}

#[test]
fn the_logical_name_has_a_variable() {
    let mut tool = Tool::nowhere();
    tool.set("CLUSTER_ENDPOINT", "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws");
    tool.set("SQL_LOGICAL_DATABASE", OsString::from_vec(b"\xff".to_vec()));
    fails(&tool, &["status"], 2, &["SQL_LOGICAL_DATABASE", "UTF-8"]);
}

#[test]
fn a_dsql_endpoint_with_a_password_or_plain_text_is_refused_before_anything_is_sent() {
    let mut tool = Tool::nowhere();
    tool.set("CLUSTER_ENDPOINT", "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws");
    tool.set("SQL_PASSWORD", "hunter2");
    let run = tool.run(&["status"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("SQL_PASSWORD") && !run.err.contains("hunter2"), "{}", run.err);
    tool.set("SQL_PASSWORD", "");
    fails(&tool, &["status", "--tls-mode", "disable"], 2, &["TLS"]);
}

#[test]
fn t9_on_dsql_a_certificate_that_is_not_verified_in_full_is_refused() {
    let mut cluster = Tool::nowhere();
    cluster.set("CLUSTER_ENDPOINT", "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws");
    let mut alias = Tool::nowhere();
    alias.set("CLUSTER_ENDPOINT", "db.example").set("DSQL_ENGINE", "dsql").set("REGION", "r");
    for mut tool in [cluster, alias] {
        for mode in ["disable", "prefer", "require"] {
            let named = ["verified TLS only", "verify-full"];
            fails(&tool, &["status", "--tls-mode", mode], 2, &named);
            tool.set("SQL_TLS_MODE", mode);
            fails(&tool, &["status"], 2, &named);
            tool.set("SQL_TLS_MODE", "");
        }
        // It fails at the credentials, which are not set here.
        tool.set("AWS_EC2_METADATA_DISABLED", "true").set("HOME", "/nonexistent");
        fails(&tool, &["status", "--tls-mode", "verify-full"], 1, &["credentials"]);
    }
}

#[test]
fn an_endpoint_that_is_more_than_a_host_name_is_refused() {
    let host = "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws";
    for (endpoint, named) in [
        (format!("https://{host}"), "is a URL"),
        (format!("postgres://{host}:5432/postgres"), "is a URL"),
        (format!("{host}:5432"), "has a port"),
        ("localhost:5432".to_owned(), "has a port"),
    ] {
        let named = [named, "host name alone", &endpoint];
        fails(&Tool::nowhere(), &["status", "--endpoint", &endpoint], 2, &named);
    }
    // An IPv6 address contains colons.
    let mut tool = Tool::nowhere();
    tool.set("SQL_PORT", "1");
    fails(&tool, &["status", "--endpoint", "::1"], 1, &["cannot reach [::1]:1"]);
}

#[test]
fn a_variable_that_is_not_utf_8_is_named_and_not_taken_for_unset() {
    let mut tool = Tool::nowhere();
    tool.set("SQL_HOST", "127.0.0.1");
    tool.set("SQL_PASSWORD", OsString::from_vec(b"hunter2\xff".to_vec()));
    fails(&tool, &["status"], 2, &["SQL_PASSWORD", "UTF-8"]);
    for name in ["SQL_HOST", "REGION", "AWS_REGION", "AWS_PROFILE", "RUST_LOG", "SQL_PLUGIN"] {
        let mut tool = Tool::nowhere();
        tool.set(name, OsString::from_vec(b"\xff".to_vec()));
        // A flag takes the place of the variable.
        fails(&tool, &["status", "--endpoint", "127.0.0.1"], 2, &[name, "UTF-8"]);
    }
}

#[test]
fn missing_credentials_are_named() {
    let mut tool = Tool::nowhere();
    tool.set("CLUSTER_ENDPOINT", "abcdefghijklmnopqrstuvwxyz.dsql.eu-central-1.on.aws");
    tool.set("AWS_EC2_METADATA_DISABLED", "true");
    tool.set("HOME", "/nonexistent");
    fails(&tool, &["status"], 1, &["credentials"]);
}

#[test]
fn an_unreachable_host_is_named_with_its_port() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let mut tool = Tool::nowhere();
    tool.set("SQL_HOST", "127.0.0.1").set("SQL_PORT", &port);
    fails(&tool, &["update-schema"], 1, &[&format!("127.0.0.1:{port}")]);
}

#[tokio::test]
async fn a_wrong_password_names_the_user_and_is_never_shown() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let role = format!("role_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'")).await.unwrap();
    let mut tool = Tool::new(&database);
    tool.set("SQL_USER", &role).set("SQL_PASSWORD", "hunter2").set("RUST_LOG", "trace");
    let run = tool.run(&["setup-schema"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains(&role) && !run.err.contains("hunter2"), "{}", run.err);
    database.execute(&format!("DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn a_role_without_privileges_gets_an_error_that_names_the_privilege() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let role = format!("role_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right'")).await.unwrap();
    database.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let mut tool = Tool::new(&database);
    tool.set("SQL_USER", &role).set("SQL_PASSWORD", "right");
    fails(&tool, &["setup-schema"], 1, &["public"]);
    assert_eq!(tables(&database).await, "0");
    database.execute(&format!("DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let named = ["there is no database `nowhere`", "check --database or SQL_DATABASE"];
    fails(&Tool::new(&database), &["status", "--db", "nowhere"], 1, &named);
    let run = Tool::new(&database).run(&["status", "--db", "nowhere"]);
    assert!(!run.err.contains("DSQL has"), "{}", run.err);
}

#[tokio::test]
async fn versions_that_cannot_be_reached_are_refused_with_what_to_do() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    fails(&tool, &["update-schema"], 1, &["setup-schema"]);
    fails(&tool, &["setup-schema", "--version", "9.9"], 2, &["9.9", "1.0", "1.1"]);
    tool.ok(&["setup-schema", "--version", "1.0"]);
    fails(&tool, &["setup-schema", "--version", "1.1"], 1, &["update-schema"]);
    fails(&tool, &["update-schema", "--version", "9.9"], 2, &["9.9", "1.0", "1.1"]);
    tool.ok(&["update-schema"]);
    fails(&tool, &["update-schema", "--version", "1.0"], 1, &["rollback-schema"]);
    fails(&tool, &["setup-schema", "--version", "1.0"], 1, &["rollback-schema"]);
}

#[tokio::test]
async fn a_version_row_that_is_newer_than_the_tool_stops_every_command_that_writes() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    // Without such a table, no release has made the version, and an overwrite goes on.
    database.execute("CREATE TABLE added_by_99 (id INT PRIMARY KEY)").await.unwrap();
    let before = tables(&database).await;
    database.execute("UPDATE schema_version SET curr_version = '99.0'").await.unwrap();
    let overwrite = ["setup-schema", "--overwrite", "--yes"];
    for arguments in
        [&["update-schema"][..], &["setup-schema"], &["rollback-schema", "--to", "1.0"], &overwrite]
    {
        fails(&tool, arguments, 1, &["99.0", &newest()]);
    }
    database.execute("UPDATE schema_version SET curr_version = 'new'").await.unwrap();
    for arguments in [&["update-schema"][..], &overwrite] {
        fails(&tool, arguments, 1, &["`new`", "schema_version"]);
    }
    assert_eq!(tables(&database).await, before, "nothing was dropped");
}

#[tokio::test]
async fn a_table_that_differs_stops_the_command_with_a_diff() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    database
        .execute("CREATE TABLE shards (shard_id BIGINT NOT NULL, PRIMARY KEY (shard_id))")
        .await
        .unwrap();
    fails(&tool, &["setup-schema"], 3, &["shards", "shard_id", "bigint", "range_id"]);
    assert_eq!(tables(&database).await, "1", "nothing was executed");
    database.execute("DROP TABLE shards").await.unwrap();

    tool.ok(&["setup-schema", "--version", "1.0"]);
    database
        .execute("CREATE TABLE current_chasm_executions (shard_id INT PRIMARY KEY)")
        .await
        .unwrap();
    fails(&tool, &["update-schema"], 3, &["current_chasm_executions", "archetype_id"]);
    assert!(tool.ok(&["status"]).out.contains("current   1.0"));
}

#[tokio::test]
async fn a_half_applied_upgrade_is_completed() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    database.execute("UPDATE schema_version SET curr_version = '1.0'").await.unwrap();
    let run = tool.ok(&["update-schema"]);
    assert!(run.err.contains("current_chasm_executions: in effect"), "{}", run.err);
    tool.ok(&["verify"]);
}

fn version_directory(root: &Path, name: &str, manifest: &str, sql: &str) {
    let at = root.join(name);
    std::fs::create_dir_all(&at).unwrap();
    std::fs::write(at.join("manifest.json"), manifest).unwrap();
    std::fs::write(at.join("file.sql"), sql).unwrap();
}

fn manifest(version: &str) -> String {
    format!(
        r#"{{"CurrVersion": "{version}", "MinCompatibleVersion": "1.0", "Description": "d",
            "SchemaUpdateCqlFiles": ["file.sql"]}}"#
    )
}

#[tokio::test]
async fn schema_files_that_are_wrong_are_refused_by_name_before_anything_runs() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", "0.0"]);
    let table = "CREATE TABLE a (id BIGINT NOT NULL, PRIMARY KEY (id));";
    let cases: [(&str, String, &str, &[&str]); 7] = [
        ("v1.0", "{ not json".into(), table, &["v1.0", "manifest.json"]),
        ("v1.0", manifest("1.1"), table, &["v1.0", "1.1"]),
        ("v1.0", manifest("x"), table, &["v1.0", "x"]),
        ("v1.0", manifest("1.0").replace("file.sql", "none.sql"), table, &["none.sql"]),
        ("v1.0", manifest("1.0").replace(r#"["file.sql"]"#, "[]"), table, &["v1.0"]),
        ("v1.0", manifest("1.0"), "CREATE TABLE a (id BIGINT", &["file.sql"]),
        ("v1.0", manifest("1.0"), "TRUNCATE shards;", &["file.sql", "TRUNCATE"]),
    ];
    for (name, manifest, sql, named) in cases {
        let directory = tempfile::tempdir().unwrap();
        version_directory(directory.path(), name, &manifest, sql);
        let path = directory.path().to_str().unwrap();
        let run = tool.run(&["update-schema", "--schema-dir", path]);
        assert_eq!(run.code, 1, "{manifest} {sql}: {}{}", run.out, run.err);
        for name in named {
            assert!(run.err.contains(name), "`{name}` is not in: {}", run.err);
        }
        assert_eq!(tables(&database).await, "2", "{manifest} {sql}");
    }
    fails(&tool, &["update-schema", "--schema-dir", "no/such/dir"], 2, &["no/such/dir"]);
    fails(&tool, &["setup-schema", "--schema-file", "f.sql"], 2, &["--version"]);
    // Version 0.0 has the version tables only, so nothing of the file would be executed.
    fails(&tool, &["setup-schema", "-f", "f.sql", "-v", "0.0"], 2, &["--version than 0.0"]);
    assert_eq!(tables(&database).await, "2");
}

#[test]
fn a_url_that_is_no_argument_is_named_without_its_password() {
    for words in [&["verify"][..], &["status", "--output", "json"]] {
        for url in ["postgres://u:hunter2@h/db", "postgres://h/db?password=hunter2"] {
            let run = Tool::nowhere().run(&[words, &[url]].concat());
            let shown = run.out + &run.err;
            assert_eq!(run.code, 2, "{shown}");
            assert!(shown.contains("postgres://h/db") && !shown.contains("hunter2"), "{shown}");
        }
    }
}
