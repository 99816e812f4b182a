//! The advice of `doctor` for each cause, which is that of the other commands where they meet it.

use crate::support::{
    Tool, blocking, copy_of_versions,
    examined::{Examined, examine},
    write,
};
use temporal_dsql_testkit::{ScratchCluster, ScratchDatabase};

/// A role of its own, which is dropped with this value.
struct Role<'d> {
    database: &'d ScratchDatabase,
    name: String,
}

impl<'d> Role<'d> {
    async fn create(database: &'d ScratchDatabase, attributes: &str) -> Self {
        let name = format!("role_{}", database.name());
        let create = format!("CREATE ROLE {name} LOGIN PASSWORD 'right' {attributes}");
        database.execute(&create).await.unwrap();
        Self { database, name }
    }

    /// Lets the role use all tables.
    async fn with_tables(self) -> Self {
        let grant = format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}", self.name);
        self.database.execute(&grant).await.unwrap();
        self
    }

    /// A tool that logs in as the role.
    fn tool(&self) -> Tool {
        let mut tool = Tool::new(self.database);
        tool.set("SQL_USER", &self.name).set("SQL_PASSWORD", "right");
        tool
    }

    async fn drop(self) {
        let drop = format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name);
        self.database.execute(&drop).await.unwrap();
    }
}

/// A database at a version.
async fn at(version: &str) -> Option<(ScratchDatabase, Tool)> {
    let database = ScratchDatabase::create().await?;
    let tool = Tool::new(&database);
    tool.ok(&["setup-schema", "--version", version]);
    Some((database, tool))
}

/// Asserts that the commands in `lines` end with the advice of the check `name`.
#[track_caller]
fn shares(examined: &Examined, name: &str, tool: &Tool, lines: &[&[&str]]) {
    let advice = examined.checks[name]["advice"].as_str().unwrap();
    for line in lines {
        let run = tool.run(line);
        assert!(run.code != 0 && run.err.contains(advice), "{line:?}: {advice}: {}", run.err);
    }
}

#[tokio::test]
async fn a_missing_privilege_names_the_table_and_its_cause_once() {
    let Some((database, _)) = at("1.1").await else { return };
    let role = Role::create(&database, "").await;
    let examined = examine(&role.tool(), &["--write"]);
    assert_eq!(examined.code, 1);
    for (name, table) in [("schema", "schema_version"), ("commit", "schema_version")] {
        let grant = format!("grant it SELECT, INSERT, UPDATE and DELETE on table {table}");
        examined.is(name, "failed", &[&grant]);
    }
    examined.is(
        "writes",
        "failed",
        &["42501", "grant it SELECT, INSERT, UPDATE and DELETE on table"],
    );
    for name in ["schema", "writes"] {
        let detail = examined.checks[name]["detail"].as_str().unwrap();
        assert_eq!(detail.matches("permission denied").count(), 1, "{detail}");
        assert!(!detail.contains("at line"), "{detail}");
    }
    shares(&examined, "schema", &role.tool(), &[&["status"], &["update-schema"], &["verify"]]);
    role.drop().await;
}

#[tokio::test]
async fn version_tables_without_a_logical_name_are_dropped_and_the_schema_is_adopted() {
    let Some((database, tool)) = at("1.0").await else { return };
    let other = "DROP TABLE schema_version; CREATE TABLE schema_version (version_partition INT \
                 PRIMARY KEY, creation_time TIMESTAMP, curr_version VARCHAR(64), \
                 min_compatible_version VARCHAR(64))";
    database.execute(other).await.unwrap();
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 3);
    examined.is("schema", "failed", &["db_name", "drop both version tables", "run `adopt-schema`"]);
    shares(&examined, "schema", &tool, &[&["update-schema"], &["setup-schema"], &["verify"]]);
    database.execute("DROP TABLE schema_version, schema_update_history").await.unwrap();
    for line in [&["adopt-schema"][..], &["update-schema"]] {
        tool.ok(line);
    }
    examine(&tool, &[]).is("schema", "ok", &[]);
}

#[tokio::test]
async fn a_recorded_version_that_is_not_that_of_the_tables_names_the_command_that_works() {
    let Some((database, tool)) = at("1.0").await else { return };
    let record = async |version: &str| {
        let record = format!("UPDATE schema_version SET curr_version = '{version}'");
        database.execute(&record).await.unwrap();
    };
    record("1.12").await;
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 3);
    examined.is("schema", "failed", &["1.12", "→ \"run `adopt-schema` to record 1.0"]);
    shares(&examined, "schema", &tool, &[&["update-schema"], &["verify"]]);
    tool.ok(&["adopt-schema"]);

    tool.ok(&["update-schema"]);
    record("1.0").await;
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 3);
    examined.is("schema", "failed", &["run `temporal-dsql-tool update-schema` to bring it to 1.1"]);
    tool.ok(&["update-schema"]);
    assert_eq!(examine(&tool, &[]).code, 0);
}

#[tokio::test]
async fn a_name_without_a_version_gets_the_names_that_have_one() {
    let Some((database, tool)) = at("1.0").await else { return };
    let wider = "ALTER TABLE chasm_node_maps ALTER COLUMN chasm_path TYPE VARCHAR(1536)";
    database.execute(wider).await.unwrap();
    let examined = examine(&tool, &["--logical-database", "other"]);
    assert_eq!(examined.code, 3);
    let parts = ["there is one for `postgres`", "--logical-database", "run `update-schema` with"];
    examined.is("schema", "failed", &parts);
    shares(&examined, "schema", &tool, &[&["verify", "--logical-database", "other"]]);
    // What it says works.
    tool.ok(&["update-schema"]);
    tool.ok(&["setup-schema", "--logical-database", "other"]);
    let examined = examine(&tool, &["--logical-database", "other"]);
    assert_eq!(examined.code, 0);
    examined.is("schema", "warning", &["chasm_path"]);
}

#[tokio::test]
async fn a_search_path_that_leads_elsewhere_is_named_with_the_schema_of_the_tables() {
    let Some((database, _)) = at("1.1").await else { return };
    let role = Role::create(&database, "").await.with_tables().await;
    let name = &role.name;
    let own =
        format!("CREATE SCHEMA own AUTHORIZATION {name}; ALTER ROLE {name} SET search_path = own");
    database.execute(&own).await.unwrap();
    let examined = examine(&role.tool(), &[]);
    assert_eq!(examined.code, 3);
    let path = format!("ALTER ROLE {name} SET search_path = public");
    examined.is("schema", "failed", &["in schema own, no schema version is recorded", &path]);
    database.execute(&path).await.unwrap();
    examine(&role.tool(), &[]).is("schema", "ok", &[]);

    database.execute(&format!("ALTER ROLE {name} SET search_path = nowhere")).await.unwrap();
    let examined = examine(&role.tool(), &[]);
    examined.is("login", "failed", &["no schema to work in", "→ \"create one (CREATE SCHEMA"]);
    shares(&examined, "login", &role.tool(), &[&["status"]]);
    role.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_named_with_its_holder_and_the_wait_is_told() {
    let Some((database, tool)) = at("1.1").await else { return };
    let holder =
        database.query("BEGIN; LOCK TABLE schema_version, executions; SELECT pg_sleep(600)");
    let locks = "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database \
                 WHERE datname = current_database() AND mode = 'AccessExclusiveLock' AND granted";
    let examination = async {
        while database.query(locks).await.unwrap()[0][0].as_deref() != Some("2") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let examined = tokio::task::block_in_place(|| examine(&tool, &[]));
        assert_eq!(examined.code, 1);
        for name in ["schema", "writes"] {
            examined.is(
                name,
                "failed",
                &["a lock that is held by process", "pg_terminate_backend"],
            );
        }
        let told = examined.err.split("waiting for a lock for ").nth(1).unwrap();
        let seconds: u64 = told.split(' ').next().unwrap().parse().unwrap();
        assert!(seconds >= 2, "{}", examined.err);
    };
    tokio::select! {
        held = holder => panic!("the lock was released: {held:?}"),
        () = examination => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_connections_of_the_role_is_told_before_and_when_it_is_reached() {
    let Some((database, _)) = at("1.1").await else { return };
    let role = Role::create(&database, "CONNECTION LIMIT 1").await.with_tables().await;
    let examined = examine(&role.tool(), &["--write"]);
    assert_eq!(examined.code, 0);
    examined.is("writes", "ok", &[]);
    examined.is("connections", "warning", &["1 of 1 in use, the limit of the role", "ALTER ROLE"]);

    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", role.name);
    let wait_for = async |query: &str, count: &str| {
        while database.query(query).await.unwrap()[0][0].as_deref() != Some(count) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    // The last session of `doctor` may still be there.
    wait_for(&sessions, "0").await;
    let url = database.url().replace("postgres@", &format!("{}:right@", role.name));
    let mut holder = std::process::Command::new("psql")
        .args([&url, "-c", "SELECT pg_sleep(600)"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&format!("{sessions} AND application_name = 'psql'"), "1").await;
    let examined = tokio::task::block_in_place(|| examine(&role.tool(), &[]));
    assert_eq!(examined.code, 1);
    examined.is("login", "failed", &["53300", "ALTER ROLE … CONNECTION LIMIT"]);
    assert!(examined.err.contains("attempt 1 failed"), "{}", examined.err);
    holder.kill().unwrap();
    holder.wait().unwrap();
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'",
        role.name
    );
    database.query(&end).await.unwrap();
    role.drop().await;
}

#[tokio::test]
async fn a_read_only_server_is_not_taken_for_a_missing_privilege() {
    let Some((database, _)) = at("1.1").await else { return };
    let role = Role::create(&database, "").await.with_tables().await;
    // The rollback below has the rights that it needs.
    let read_only = format!(
        "ALTER TABLE current_chasm_executions OWNER TO {0}; \
         ALTER ROLE {0} SET default_transaction_read_only = on",
        role.name
    );
    database.execute(&read_only).await.unwrap();
    let examined = examine(&role.tool(), &["--write"]);
    assert_eq!(examined.code, 1);
    examined.is("schema", "ok", &[]);
    for name in ["writes", "commit"] {
        examined.is(name, "failed", &["25006", "default_transaction_read_only", "replica"]);
    }
    let rollback = ["rollback-schema", "--to", "1.0"];
    shares(&examined, "commit", &role.tool(), &[&rollback]);
    role.drop().await;
}

#[test]
fn a_cluster_is_reached_by_its_name_and_not_by_its_address() {
    let Some(cluster) = blocking(ScratchCluster::create(|builder| builder)) else { return };
    let mut tool = Tool::on(&cluster);
    tool.set("CLUSTER_ENDPOINT", "127.0.0.1").set("REGION", cluster.region());
    let advice = "give the host name of the cluster as the endpoint";
    // The certificate of the emulator is for its addresses, too.
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 1);
    examined.is("login", "failed", &["sni was not received", advice]);
    shares(&examined, "login", &tool, &[&["status"]]);
    tool.set("SQL_TLS_CA_FILE", "");
    examine(&tool, &[]).is("tls", "failed", &[advice]);
}

#[tokio::test]
async fn a_compatible_difference_is_a_warning_unless_the_version_is_too_old() {
    let Some((database, tool)) = at("1.0").await else { return };
    let wider = "ALTER TABLE chasm_node_maps ALTER COLUMN chasm_path TYPE VARCHAR(1536)";
    database.execute(wider).await.unwrap();
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 3);
    let parts = ["1 difference: column chasm_node_maps.chasm_path", "this release needs 1.1"];
    examined.is("schema", "failed", &parts);
    examined.is("schema", "failed", &["run `temporal-dsql-tool update-schema` to bring it to 1.1"]);
    tool.ok(&["update-schema"]);
    let examined = examine(&tool, &[]);
    assert_eq!(examined.code, 0);
    examined.is("schema", "warning", &["chasm_path", "varchar(1536)", "commands go on with it"]);
    // The stores do not read a wider integer.
    for (table, column, other, own) in [
        ("shards", "range_id", "SMALLINT", "BIGINT"),
        ("cluster_membership", "rpc_port", "INTEGER", "SMALLINT"),
    ] {
        let alter = format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE");
        database.execute(&format!("{alter} {other}")).await.unwrap();
        let examined = examine(&tool, &[]);
        assert_eq!(examined.code, 3, "{column}");
        examined.is("schema", "failed", &["2 differences", "`temporal-dsql-tool verify`"]);
        database.execute(&format!("{alter} {own}")).await.unwrap();
    }
}

#[tokio::test]
async fn own_versions_are_compared_with_their_files() {
    let Some((_database, tool)) = at("1.1").await else { return };
    let folder = tempfile::tempdir().unwrap();
    copy_of_versions(folder.path());
    let manifest = r#"{"CurrVersion": "1.2", "MinCompatibleVersion": "1.0", "Description": "own",
        "SchemaUpdateCqlFiles": ["own.sql"]}"#;
    write(&folder.path().join("v1.2/manifest.json"), manifest);
    write(&folder.path().join("v1.2/own.sql"), "CREATE TABLE own (id INT PRIMARY KEY);\n");
    let folder = folder.path().to_str().unwrap();
    tool.ok(&["update-schema", "--schema-dir", folder]);
    examine(&tool, &[]).is("schema", "failed", &["1.2", "--schema-dir"]);
    let examined = examine(&tool, &["--schema-dir", folder]);
    assert_eq!(examined.code, 0);
    examined.is("schema", "ok", &["version 1.2, exactly"]);
}
