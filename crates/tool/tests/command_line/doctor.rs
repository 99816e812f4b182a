//! `doctor` on PostgreSQL, on the emulator, and where nothing answers: what each check says, the exit
//! code, that nothing is changed and that no secret is shown.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Tool, blocking,
    examined::{CHECKS, NO_ANSWER, examine, examine_once},
    newest,
};
use dsql_emulator::{CommitFault, Refusal};
use temporal_dsql_testkit::{ScratchCluster, ScratchDatabase};

async fn rows(database: &ScratchDatabase, query: &str) -> Vec<Vec<Option<String>>> {
    database.query(query).await.unwrap()
}

/// Both version tables, and the transactions that wrote them.
const VERSION_ROWS: &str = "SELECT xmin::text, schema_version::text FROM schema_version \
                            UNION ALL SELECT xmin::text, schema_update_history::text \
                            FROM schema_update_history";

#[tokio::test]
async fn at_the_newest_version_everything_is_ok_and_nothing_is_written() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    let before = rows(&database, VERSION_ROWS).await;
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 0);
    examined.is("name", "ok", &["127.0.0.1"]);
    examined.is("tcp", "ok", &["accepts"]);
    examined.is("credentials", "ok", &["none are given"]);
    examined.is("login", "ok", &[database.name(), "without a password"]);
    examined.is("clock", "ok", &["±"]);
    let version = rows(&database, "SHOW server_version").await[0][0].clone().unwrap();
    examined.is("server", "ok", &["PostgreSQL", &version, "schema public"]);
    examined.is("schema", "ok", &[&newest(), "exactly"]);
    examined.is("writes", "ok", &["one statement", "because the server accepts it"]);
    examined.is("round trip", "ok", &["median", "least"]);
    examined.is("commit", "not_checked", &["--write"]);
    let values = &examined.checks["round trip"]["values"];
    let [least, median] = ["least_ms", "median_ms"].map(|key| values[key].as_f64().unwrap());
    assert!(0.0 < least && least <= median && median < 5_000.0, "{values}");
    let connections = &examined.checks["connections"]["values"];
    assert!(connections["in_use"].as_u64() >= Some(1), "{connections}");
    let most = "SELECT current_setting('max_connections')::int \
                - current_setting('superuser_reserved_connections')::int";
    let most = rows(&database, most).await[0][0].clone().unwrap();
    assert_eq!(connections["limit"].to_string(), most);
    assert_eq!(rows(&database, VERSION_ROWS).await, before);
}

#[tokio::test]
async fn the_text_has_a_line_for_each_check_and_the_build_of_the_tool() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let run = Tool::new(&database).run(&["doctor"]);
    assert_eq!(run.code, 3, "{}{}", run.out, run.err);
    let lines: Vec<_> = run.out.lines().collect();
    let first = format!("temporal-dsql-tool {} for schema", env!("CARGO_PKG_VERSION"));
    assert!(lines[0].starts_with(&first), "{}", run.out);
    let named = lines[1..].iter().filter_map(|line| {
        CHECKS.into_iter().find(|name| line.starts_with(&format!("{name:<12} ")))
    });
    assert_eq!(named.collect::<Vec<_>>(), CHECKS, "{}", run.out);
    let advice = lines.iter().position(|line| line.trim_start().starts_with("→ "));
    let schema = lines.iter().position(|line| line.starts_with("schema"));
    assert_eq!(advice, schema.map(|line| line + 1), "{}", run.out);
    assert!(lines.last().unwrap().contains("1 failed"), "{}", run.out);
    assert_eq!(run.err, "");
}

#[tokio::test]
async fn with_write_a_commit_is_measured_that_changes_no_value() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    let values = "SELECT schema_version::text FROM schema_version";
    let history = "SELECT xmin::text, update_time::text FROM schema_update_history";
    let writer = "SELECT xmin::text FROM schema_version";
    let before = [rows(&database, values).await, rows(&database, history).await];
    let wrote = rows(&database, writer).await;
    let examined = examine(&tool, &["--write"]);
    assert_eq!(examined.code, 0);
    examined.is("commit", "ok", &["median", "least", "version row"]);
    assert!(examined.checks["commit"]["values"]["median_ms"].as_f64().unwrap() > 0.0);
    let after = [rows(&database, values).await, rows(&database, history).await];
    assert_eq!(after, before);
    assert_ne!(rows(&database, writer).await, wrote, "a transaction has written the row");
}

#[tokio::test]
async fn a_schema_that_this_release_cannot_use_is_exit_code_3_and_names_the_command() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    let examined = examine(&tool, &["--write"]);
    assert_eq!(examined.code, 3);
    examined.is("schema", "failed", &["no schema version is recorded", "setup-schema"]);
    examined.is("writes", "not_checked", &["a table is missing"]);
    examined.is("commit", "not_checked", &["no version is recorded"]);
    examined.is("round trip", "ok", &[]);

    tool.ok(&["setup-schema", "--version", "1.0"]);
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 3);
    examined.is("schema", "failed", &["version 1.0, exactly", "needs", "update-schema"]);
    examined.is("writes", "not_checked", &["a table is missing"]);

    tool.ok(&["update-schema"]);
    database.execute("DROP INDEX idx_namespaces_name").await.unwrap();
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 3);
    examined.is(
        "schema",
        "failed",
        &["1 difference", "idx_namespaces_name", "`temporal-dsql-tool verify`"],
    );
    assert_eq!(examined.checks["schema"]["values"]["differences"], 1);
    let missing = serde_json::json!([{ "kind": "missing_index", "index": "idx_namespaces_name" }]);
    for command in ["doctor", "verify"] {
        let (code, json) = tool.json(&[command]);
        assert_eq!((code, &json["differences"]), (3, &missing), "{command}: {json}");
    }
    examined.is("writes", "ok", &[]);

    let examined = examine(&tool, &["--logical-database", "other"]);
    assert_eq!(examined.code, 3);
    examined.is("schema", "failed", &["`other`", "`postgres`", "--logical-database"]);
}

#[tokio::test]
async fn a_clock_that_differs_is_told_by_how_much() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    for statement in [
        "ALTER FUNCTION pg_catalog.now() RENAME TO now_of_host",
        "CREATE FUNCTION pg_catalog.now() RETURNS timestamptz LANGUAGE sql STABLE \
         AS 'SELECT pg_catalog.now_of_host() - interval ''20 minutes'''",
    ] {
        database.execute(statement).await.unwrap();
    }
    let examined = examine(&tool, &[]);
    // Without IAM tokens nothing depends on it.
    assert_eq!(examined.code, 0);
    examined.is("clock", "warning", &["s behind", "NTP"]);
    let ahead = examined.checks["clock"]["values"]["server_ahead_s"].as_f64().unwrap();
    assert!((ahead + 1_200.0).abs() < 1.0, "{ahead}");
}

#[tokio::test]
async fn the_login_and_tls_of_a_postgresql_server_are_checked_by_its_rules() {
    let Some(database) = ScratchDatabase::create().await else { return };
    let mut tool = Tool::new(&database);
    tool.ok(&["setup-schema"]);
    tool.set("SQL_PASSWORD", "hunter2");
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 0);
    examined.is("credentials", "ok", &["SQL_PASSWORD"]);
    examined.is("login", "ok", &["by a password"]);
    examined.is("tls", "ok", &["plain text"]);
    examine(&tool, &["--tls-mode", "disable"]).is("tls", "ok", &["none"]);
    let examined = examine(&tool, &["--tls-mode", "require"]);
    assert_eq!(examined.code, 1);
    examined.is("tls", "failed", &["the server offers no TLS", "--tls-mode"]);
    examined.skips(&["login", "clock", "schema", "writes", "commit", "connections"]);
    let examined = examine(&tool, &["--user", "nobody_of_that_name"]);
    assert_eq!(examined.code, 1);
    examined.is("login", "failed", &["nobody_of_that_name", "SQL_USER", "SQL_PASSWORD"]);
    examined.skips(&["clock", "server", "schema", "writes", "round trip", "commit", "connections"]);
    let examined = examine(&tool, &["--database", "none_of_that_name"]);
    examined.is("login", "failed", &["none_of_that_name", "SQL_DATABASE"]);
    let examined = examine(&tool, &["--engine", "postgres"]);
    assert_eq!(examined.code, 0);
}

/// A tool whose host does not speak the protocol.
fn at_port(host: &str, port: u16) -> Tool {
    let mut tool = Tool::nowhere();
    tool.set("SQL_HOST", host).set("SQL_PORT", port.to_string());
    tool
}

#[test]
fn a_configuration_that_cannot_work_is_a_usage_error() {
    let run = Tool::nowhere().run(&["doctor"]);
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("CLUSTER_ENDPOINT"), "{}", run.err);
    let run = at_port("127.0.0.1", 1).set("PGOPTIONS", "-c x=y").run(&["doctor"]);
    assert_eq!(run.code, 2, "{}{}", run.out, run.err);
    assert!(run.err.contains("PGOPTIONS") && run.out.is_empty(), "{}{}", run.out, run.err);
}

#[test]
fn the_guide_explains_every_check_in_its_order() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, section) = guide.split_once("\n## Doctor\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    assert_eq!(rows.map(|(name, _)| name).collect::<Vec<_>>(), CHECKS);
}

#[test]
fn a_name_that_does_not_resolve_is_the_first_failure() {
    // A label is 63 bytes at most, so no server is asked for this name.
    let examined = examine(&at_port(&format!("{}.invalid", "a".repeat(64)), 5432), &[]);
    assert_eq!(examined.code, 1);
    examined.is("name", "failed", &["does not resolve", "CLUSTER_ENDPOINT"]);
    examined.skips(&["tcp", "tls", "login", "clock", "server", "schema", "writes", "round trip"]);
    examined.is("credentials", "ok", &[]);
}

#[test]
fn a_closed_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let examined = examine(&at_port("127.0.0.1", port), &[]);
    assert_eq!(examined.code, 1);
    examined.is("name", "ok", &[]);
    examined.is("tcp", "failed", &[&format!("127.0.0.1:{port}"), "refused", "SQL_PORT"]);
    examined.skips(&["tls", "login", "connections"]);
}

#[test]
fn a_server_that_never_answers_fails_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let held = thread::spawn(move || listener.accept().unwrap());
    let start = Instant::now();
    let examined = examine_once(&at_port("127.0.0.1", port), &[]);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    drop(held.join().unwrap());
    assert_eq!(examined.code, 1);
    examined.is("tcp", "ok", &[]);
    examined.is("tls", "failed", &[NO_ANSWER]);
    examined.skips(&["login", "schema", "writes"]);
}

#[test]
fn a_server_of_another_protocol_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            // A run that was late has gone.
            let _ = client.read_exact(&mut [0; 8]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let examined = examine(&at_port("127.0.0.1", port), &[]);
    examined.is("tls", "failed", &["does not speak PostgreSQL's protocol", "port"]);
}

fn cluster() -> Option<ScratchCluster> {
    blocking(ScratchCluster::create(|builder| builder))
}

#[test]
fn on_a_cluster_everything_is_checked_and_the_log_has_no_secret() {
    let Some(cluster) = cluster() else { return };
    let mut tool = Tool::on(&cluster);
    tool.ok(&["setup-schema"]);
    tool.set("RUST_LOG", "trace");
    let examined = examine(&tool, &["--write"]);
    assert_eq!(examined.code, 0);
    let ca_file = cluster.ca_file().display().to_string();
    examined.is("tls", "ok", &["TLS 1.3", "issued by CN=dsql-emulator CA", "ends", &ca_file]);
    examined.is("credentials", "ok", &["environment variables", "do not expire"]);
    examined.is("login", "ok", &["`admin`", "IAM token", cluster.region()]);
    examined.is("clock", "ok", &[]);
    examined.is("server", "ok", &["Aurora DSQL", "16.15"]);
    examined.is("schema", "ok", &["exactly"]);
    examined.is("writes", "ok", &["one statement"]);
    examined.is("commit", "ok", &["median"]);
    examined.is("connections", "ok", &["unknown", "10000"]);
    // Requests that were refused are part of what must not be shown.
    tool.set("AWS_SECRET_ACCESS_KEY", "hunter2").set("AWS_SESSION_TOKEN", "SESSION-TOKEN");
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 1);
    examined.is("login", "failed", &["access denied", "dsql:DbConnectAdmin", "region"]);
    examined.skips(&["clock", "server", "schema"]);
}

#[test]
fn a_certificate_that_is_not_trusted_is_shown_with_its_issuer() {
    let Some(cluster) = cluster() else { return };
    let Some(other) = blocking(ScratchCluster::create(|builder| builder.hosts(["db.localhost"])))
    else {
        return;
    };
    let mut tool = Tool::on(&cluster);
    // The other authority has the same name and another key.
    for (file, reason) in
        [(other.ca_file().to_path_buf(), "BadSignature"), ("".into(), "UnknownIssuer")]
    {
        tool.set("SQL_TLS_CA_FILE", file);
        let examined = examine(&tool, &[]);
        assert_eq!(examined.code, 1);
        let named = [reason, "issued by CN=dsql-emulator CA", "--tls-ca-file"];
        examined.is("tls", "failed", &named);
        examined.is("credentials", "ok", &[]);
        examined.skips(&["login", "clock", "server", "schema", "writes", "connections"]);
    }
    // The authority is trusted, and the name is another one.
    let mut elsewhere = Tool::on(&other);
    elsewhere.set("CLUSTER_ENDPOINT", "localhost");
    examine(&elsewhere, &[]).is("tls", "failed", &["db.localhost", "by a host name that is in"]);
}

#[test]
fn an_expired_token_tells_the_difference_of_the_clocks() {
    let Some(cluster) = cluster() else { return };
    let mut tool = Tool::on(&cluster);
    cluster.faults().shift_clock(Duration::from_secs(20 * 60));
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 1);
    examined.is("login", "failed", &["Signature expired", "clock"]);
    examined.is("clock", "failed", &["ahead", "IAM tokens fail from 180 s", "NTP"]);
    let ahead = examined.checks["clock"]["values"]["server_ahead_s"].as_f64().unwrap();
    assert!((1_195.0..1_215.0).contains(&ahead), "{ahead}");
    examined.skips(&["server", "schema", "writes"]);
    tool.set("DSQL_TOKEN_DURATION", "1h");
    examine(&tool, &[]).is("login", "ok", &[]);
}

#[test]
fn without_credentials_the_sources_are_named() {
    let Some(cluster) = cluster() else { return };
    let mut tool = Tool::on(&cluster);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        tool.set(name, "");
    }
    let home = tempfile::tempdir().unwrap();
    tool.set("HOME", home.path()).set("AWS_EC2_METADATA_DISABLED", "true");
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 1);
    examined.is("tls", "ok", &[]);
    examined.is("credentials", "failed", &["no AWS credentials", "AWS_PROFILE", "aws sso login"]);
    examined.skips(&["login", "clock", "server", "schema", "writes"]);
    let credentials = cluster.credentials();
    let profile = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        credentials.access_key_id, credentials.secret_access_key
    );
    fs::create_dir(home.path().join(".aws")).unwrap();
    fs::write(home.path().join(".aws/credentials"), profile).unwrap();
    let examined = examine(&tool, &[]);
    examined.is("credentials", "ok", &["a profile of the shared files"]);
    examined.is("login", "ok", &[]);
}

#[test]
fn a_cluster_that_wakes_up_or_reports_conflicts_is_asked_again() {
    let Some(cluster) = cluster() else { return };
    let tool = Tool::on(&cluster);
    tool.ok(&["setup-schema"]);
    let row = || blocking(cluster.query("SELECT * FROM schema_version")).unwrap();
    let before = row();
    cluster.faults().refuse_connections(Refusal::WakingUp, 1);
    // Every statement commits; conflicts reach the questions and the measured commits.
    let conflicts = [None, Some(CommitFault::CatalogConflict), Some(CommitFault::Conflict)];
    cluster.faults().script(conflicts.into_iter().cycle().take(60));
    let examined = examine(&tool, &["--write"]);
    cluster.faults().clear();
    assert_eq!(examined.code, 0);
    for name in ["login", "clock", "schema", "writes", "round trip", "commit"] {
        examined.is(name, "ok", &[]);
    }
    assert_eq!(row(), before);
}

#[test]
fn the_write_configuration_is_the_one_that_a_store_would_use() {
    let cluster =
        blocking(ScratchCluster::create(|builder| builder.accept_data_modifying_with(false)));
    let Some(cluster) = cluster else { return };
    let mut tool = Tool::on(&cluster);
    tool.ok(&["setup-schema"]);
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 0);
    examined.is(
        "writes",
        "ok",
        &["a statement per table", "the server refuses one statement", "WITH"],
    );
    let values = &examined.checks["writes"]["values"];
    assert_eq!((&values["one_statement"], &values["key_share"]), (&false.into(), &true.into()));
    tool.set("DSQL_WRITE_FORM", "one-statement");
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 1);
    examined.is("writes", "failed", &["the server refuses", "DSQL_WRITE_FORM"]);
    examined.is("connections", "ok", &[]);
    tool.set("DSQL_WRITE_FORM", "statement-per-table");
    examine(&tool, &[]).is("writes", "ok", &["as DSQL_WRITE_FORM says"]);
}
