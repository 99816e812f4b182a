//! Statements of AWS's own suites, which run on clusters, and of other users' records, whose answers
//! come from the database (aurora-dsql.md#evidence, SUITES and FIELD).

use std::time::Duration;

use dsql_emulator::DsqlEmulator;
use tokio::time::timeout;

use crate::{
    messages::{client, refused},
    support::{Client, ConnectOptions, pair, start},
};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

#[tokio::test]
async fn the_functions_of_the_schema_sys_exist() {
    let Some((emulator, mut one)) = client(&[TABLE]).await else { return };
    let mut other = Client::connect(&emulator).await;
    let session = "SELECT sys.current_session_id()";
    let found = one.run(session).await;
    assert_eq!((&found.types[..], &*found.columns[0]), (&[25][..], "current_session_id"));
    assert_eq!(one.extended(session, &[]).await.value(), found.value());
    one.ok("RESET ALL").await;
    assert_eq!(one.value(session).await, found.value());
    assert_ne!(other.value(session).await, found.value());

    assert_eq!(one.value("SELECT sys.dsql_major_version()").await, "1");
    assert_eq!(one.value("SELECT sys.iam_session_user()").await, emulator.arn());
    let size = "SELECT sys.cluster_size() BETWEEN 1 AND sys.cluster_size_limit()";
    assert_eq!(one.value(size).await, "t");
    let types =
        "SELECT string_agg(d, ' ') FROM sys.supported_datatypes() AS d WHERE d LIKE '%int%'";
    assert_eq!(one.value(types).await, "smallint integer bigint interval");

    let transaction = "SELECT sys.current_transaction_id()";
    one.ok("BEGIN").await;
    let id = one.value(transaction).await;
    assert_eq!(one.value(transaction).await, id);
    one.ok("COMMIT").await;
    assert_ne!(one.value(transaction).await, id);

    let id = one.value("CREATE INDEX ASYNC ON t (v)").await;
    let there_and_back = format!("SELECT sys.uuid_to_base32_str(sys.base32_str_to_uuid('{id}'))");
    assert_eq!(one.value(&there_and_back).await, id);
    let uuid = "00112233-4455-6677-8899-aabbccddeeff";
    let there_and_back = format!("SELECT sys.base32_str_to_uuid(sys.uuid_to_base32_str('{uuid}'))");
    assert_eq!(one.value(&there_and_back).await, uuid);
    let wrong = ("22P02", "Unable to convert text to UUID");
    assert_eq!(pair(&one.refused("SELECT sys.base32_str_to_uuid('x')").await), wrong);
}

#[tokio::test]
async fn set_config_accepts_what_set_accepts() {
    let Some((emulator, mut client)) = client(&[TABLE]).await else { return };
    assert_eq!(client.value("SELECT pg_catalog.set_config('search_path','',false)").await, "");
    assert_eq!(client.value("SHOW search_path").await, "");
    let named = "SELECT set_config('Application_Name', $1, false)";
    assert_eq!(client.extended(named, &["mine"]).await.value(), "mine");
    assert_eq!(client.value("SHOW application_name").await, "mine");
    for name in ["statement_timeout", "role", "dsql_emulator.transaction"] {
        let sql = format!("SELECT set_config('{name}', '1', true)");
        let message = format!("setting configuration parameter \"{name}\" not supported");
        refused(&mut client, &[(&sql, "0A000", &message)]).await;
    }
    let computed = client.refused("SELECT set_config('work' || '_mem', '1', true)").await;
    assert_eq!(computed.0, "0A000");

    // The setting survives that another session needs the transaction's locks.
    client.ok("SET search_path TO public").await;
    client.ok("BEGIN").await;
    let path = "SELECT set_config('search_path', $1, true)";
    assert_eq!(client.extended(path, &["public, \"été\""]).await.value(), "public, \"été\"");
    client.ok("INSERT INTO t VALUES (1)").await;
    let mut other = Client::connect(&emulator).await;
    other.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(client.value("SHOW search_path").await, "public, \"été\"");
    client.ok("ROLLBACK").await;
    assert_eq!(client.value("SHOW search_path").await, "public");
}

#[tokio::test]
async fn set_config_permits_an_index_without_async() {
    let Some((_emulator, mut client)) = client(&[TABLE]).await else { return };
    let sync = "SELECT set_config('disable_sync_create_index', 'off', false)";
    let create = "CREATE INDEX i ON t (v)";
    let mode = ("0A000", "unsupported mode. please use CREATE INDEX ASYNC.");
    assert_eq!(pair(&client.refused(create).await), mode);
    for begin in ["SELECT 1", "BEGIN"] {
        client.ok(begin).await;
        assert_eq!(client.value(sync).await, "off");
        assert_eq!(client.value("SHOW disable_sync_create_index").await, "off");
        client.run("COMMIT").await;
        client.ok(create).await;
        client.ok("DROP INDEX i").await;
        client.ok("SELECT set_config('disable_sync_create_index', 'on', false)").await;
        assert_eq!(pair(&client.refused(create).await), mode);
    }
    let wrong = client.refused("SELECT set_config('disable_sync_create_index', '?', false)").await;
    let boolean = "parameter \"disable_sync_create_index\" requires a Boolean value";
    assert_eq!(pair(&wrong), ("22023", boolean));
}

#[tokio::test]
async fn a_name_of_a_relation_can_begin_with_the_database() {
    let Some((_emulator, mut client)) = client(&[
        TABLE,
        "CREATE SCHEMA \"S 1\"",
        "CREATE TABLE \"S 1\".\"T.x\" (id int PRIMARY KEY)",
        "CREATE SEQUENCE s CACHE 1",
    ])
    .await
    else {
        return;
    };
    for (sql, value) in [
        ("SELECT 'postgres.public.t'::regclass", "t"),
        ("SELECT 'postgres.' || n || '.t' FROM (VALUES ('public')) AS v(n)", "postgres.public.t"),
        ("SELECT ('postgres.' || n || '.t')::regclass FROM (VALUES ('public')) AS v(n)", "t"),
        ("SELECT to_regclass('postgres.public.t')", "t"),
        ("SELECT to_regclass('\"postgres\".\"S 1\".\"T.x\"')", "\"S 1\".\"T.x\""),
        ("SELECT to_regclass('public.t')", "t"),
        ("SELECT to_regclass('nosuch.public.t') IS NULL", "t"),
        ("SELECT nextval('postgres.public.s')", "1"),
        (
            "SELECT format('%I.%I.%I', table_catalog, table_schema, table_name)::regclass::oid = \
             'public.t'::regclass FROM information_schema.tables WHERE table_name = 't'",
            "t",
        ),
    ] {
        let found = client.run(sql).await;
        if sql.contains("nosuch") {
            // PostgreSQL's own answer for another database.
            assert_eq!(found.refused().0, "0A000", "{sql}");
            continue;
        }
        assert_eq!(found.error, None, "{sql}");
        assert_eq!(found.value(), value, "{sql}");
    }
    let by_parameter = "SELECT $1::regclass, to_regclass($2)";
    let found = client.extended(by_parameter, &["postgres.public.t", "postgres.public.s"]).await;
    assert_eq!(found.rows, [[Some("t".to_owned()), Some("s".to_owned())]]);
}

#[tokio::test]
async fn analyze_takes_one_relation_outside_of_a_transaction() {
    let Some((_emulator, mut client)) = client(&[TABLE]).await else { return };
    let one = "unsupported ANALYZE statement: exactly one relation can be analyzed at a time";
    refused(&mut client, &[("ANALYZE", "0A000", one), ("ANALYZE t, t", "0A000", one)]).await;
    assert_eq!(client.ok("ANALYZE t").await, "ANALYZE");
    assert_eq!(client.extended("ANALYZE VERBOSE t (v)", &[]).await.ok(), "ANALYZE");
    client.ok("BEGIN").await;
    let block = ("25001", "ANALYZE cannot run inside a transaction block");
    assert_eq!(pair(&client.refused("ANALYZE t").await), block);
    client.ok("ROLLBACK").await;
    let answers = client.query("SELECT 1; ANALYZE t").await;
    assert_eq!(answers[0].error, None);
}

#[tokio::test]
async fn tables_have_no_system_columns() {
    let Some((_emulator, mut client)) =
        client(&[TABLE, "INSERT INTO t VALUES (1, 'x')", "CREATE VIEW w AS SELECT id FROM t"])
            .await
    else {
        return;
    };
    let message = "cannot retrieve a system column in this context";
    for sql in [
        "SELECT ctid FROM t",
        "SELECT a.xmin, a.id FROM t AS a",
        "SELECT tableoid::regclass FROM public.t",
        "DELETE FROM t WHERE ctid = '(0,1)'",
        "UPDATE t SET v = 'y' RETURNING xmax",
        "COPY (SELECT ctid FROM t) TO STDOUT",
        "CREATE FUNCTION f() RETURNS tid LANGUAGE sql AS 'SELECT ctid FROM t'",
    ] {
        refused(&mut client, &[(sql, "0A000", message)]).await;
    }
    for sql in [
        "SELECT tableoid, xmin FROM pg_catalog.pg_class LIMIT 1",
        "SELECT c.ctid FROM pg_class c JOIN t ON true LIMIT 1",
        "SELECT id AS ctid FROM t FOR UPDATE",
        "SELECT ctid FROM (SELECT v AS ctid FROM t) AS s",
    ] {
        assert_eq!(client.ok(sql).await, "SELECT 1", "{sql}");
    }
}

#[tokio::test]
async fn a_user_can_have_ten_schemas() {
    let Some((_emulator, mut client)) = client(&[]).await else { return };
    for number in 1..=10 {
        client.ok(&format!("CREATE SCHEMA s{number}")).await;
    }
    let message = "more than 10 schemas not allowed";
    refused(
        &mut client,
        &[
            ("CREATE SCHEMA s11", "54000", message),
            ("CREATE SCHEMA IF NOT EXISTS s1", "54000", message),
        ],
    )
    .await;
    client.ok("DROP SCHEMA s5").await;
    client.ok("CREATE SCHEMA IF NOT EXISTS s11").await;
}

#[tokio::test]
async fn a_table_can_have_256_columns() {
    let Some((_emulator, mut client)) = client(&[]).await else { return };
    let columns = |count: usize, first: &str| {
        let rest: Vec<String> = (1..count).map(|number| format!(", c{number} text")).collect();
        format!("(id int {first}{})", rest.concat())
    };
    client.ok(&format!("CREATE TABLE t {}", columns(256, "PRIMARY KEY"))).await;
    client.ok("INSERT INTO t (id, c255) VALUES (1, 'x')").await;
    client.ok("UPDATE t SET c1 = c255").await;
    assert_eq!(client.value("SELECT c1 FROM t").await, "x");
    client.ok(&format!("CREATE TABLE u {}", columns(256, ""))).await;
    let of_index = "cannot use more than 256 columns in an index";
    let of_table = "tables can have at most 255 columns";
    refused(
        &mut client,
        &[
            (&format!("CREATE TABLE w {}", columns(257, "PRIMARY KEY")), "54011", of_index),
            (&format!("CREATE TABLE w {}", columns(257, "")), "54011", of_table),
            ("ALTER TABLE t ADD COLUMN c256 text", "54011", of_index),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_mapped_role_stays_and_only_admin_maps_roles() {
    let Some(emulator) = start(DsqlEmulator::builder().own_postgres()).await else { return };
    let mut admin = Client::connect(&emulator).await;
    let arn = emulator.arn().to_owned();
    admin.ok("CREATE ROLE app WITH LOGIN").await;
    admin.ok("CREATE ROLE idle").await;
    let grant = |role: &str, arn: &str| format!("AWS IAM GRANT {role} TO '{arn}'");
    for (sql, code, message) in [
        (grant("idle", &arn), "0LP01", "role idle must have the LOGIN attribute"),
        (grant("app", "somebody"), "22023", "IAM role must look like an IAM ARN"),
        (grant("nobody", &arn), "42704", "role \"nobody\" does not exist"),
    ] {
        refused(&mut admin, &[(&sql, code, message)]).await;
    }
    admin.ok(&grant("app", &arn)).await;
    let depends = "role \"app\" cannot be dropped because some objects depend on it";
    refused(
        &mut admin,
        &[("DROP ROLE app", "2BP01", depends), ("DROP USER IF EXISTS idle, app", "2BP01", depends)],
    )
    .await;

    let options = ConnectOptions::of(&emulator).user(&emulator, "app");
    let mut app = Client::open(&emulator, &options).await.unwrap();
    let trust = "permission denied to grant IAM trust with role app";
    refused(
        &mut app,
        &[
            (&grant("app", &arn), "42501", trust),
            ("CREATE SCHEMA mine", "42501", "permission denied for database postgres"),
        ],
    )
    .await;
    drop(app);
    admin.ok(&format!("AWS IAM REVOKE app FROM '{arn}'")).await;
    admin.ok("DROP ROLE idle, app").await;
}

#[tokio::test]
async fn the_settings_of_a_role_apply_to_its_next_session() {
    let Some((emulator, mut client)) = client(&[]).await else { return };
    let tag = client.ok("ALTER USER \"admin\" SET search_path = \"mine\"").await;
    assert_eq!(tag, "ALTER ROLE");
    client.ok("ALTER ROLE admin IN DATABASE postgres SET timezone TO 'Asia/Tokyo'").await;
    let mut next = Client::connect(&emulator).await;
    assert_eq!(next.value("SHOW search_path").await, "mine");
    assert_eq!(next.value("SHOW timezone").await, "Asia/Tokyo");
    next.ok("SET search_path TO other").await;
    next.ok("RESET search_path").await;
    assert_eq!(next.value("SHOW search_path").await, "mine");
    let options = ConnectOptions::of(&emulator).set("options", "-c search_path=other");
    let mut chosen = Client::open(&emulator, &options).await.unwrap();
    assert_eq!(chosen.value("SHOW search_path").await, "other");
    client.ok("ALTER ROLE admin RESET ALL").await;
    let mut last = Client::connect(&emulator).await;
    assert_ne!(last.value("SHOW search_path").await, "mine");
    // A role is shared by the emulators of a server, its settings are not.
    let Some((_emulator, mut elsewhere)) = crate::messages::client(&[]).await else { return };
    assert_ne!(elsewhere.value("SHOW timezone").await, "Asia/Tokyo");
}

#[tokio::test]
async fn functions_have_the_types_that_expressions_can_have() {
    let Some((_emulator, mut client)) = client(&[]).await else { return };
    for (sql, name) in [
        ("CREATE FUNCTION f() RETURNS point LANGUAGE sql AS 'SELECT point(1, 2)'", "point"),
        ("CREATE FUNCTION f(a box) RETURNS int LANGUAGE sql AS 'SELECT 1'", "box"),
        (
            "CREATE FUNCTION f() RETURNS TABLE (a path) LANGUAGE sql AS 'SELECT pclose(NULL)'",
            "path",
        ),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT (NULL::line)::text'", "line"),
    ] {
        let message = format!("datatype {name} not supported");
        refused(&mut client, &[(sql, "0A000", &message)]).await;
    }
    client
        .ok("CREATE FUNCTION f(a int[]) RETURNS inet LANGUAGE sql AS 'SELECT inet_client_addr()'")
        .await;
}

#[tokio::test]
async fn what_the_suites_alter_is_accepted() {
    let Some((_emulator, mut client)) = client(&[
        TABLE,
        "CREATE TABLE u (id int PRIMARY KEY, t int CONSTRAINT fk REFERENCES t (id))",
        "CREATE TABLE async (id int PRIMARY KEY)",
    ])
    .await
    else {
        return;
    };
    for (sql, tag) in [
        ("ALTER TABLE t ADD COLUMN c TEXT STORAGE DEFAULT", "ALTER TABLE"),
        ("ALTER TABLE u ALTER CONSTRAINT fk DEFERRABLE", "ALTER TABLE"),
        ("ALTER TABLE u ALTER CONSTRAINT fk NOT DEFERRABLE", "ALTER TABLE"),
        ("ALTER TABLE async ADD COLUMN async int", "ALTER TABLE"),
        ("CREATE INDEX ASYNC i ON t USING btree_index (c)", "CREATE INDEX"),
        ("SELECT 1 FOR SHARE", "SELECT 1"),
        ("SELECT id FROM (SELECT id FROM t) AS s FOR SHARE", "SELECT 0"),
        ("SELECT 1 AS collate, 2 AS tablesample", "SELECT 1"),
    ] {
        assert_eq!(client.ok(sql).await, tag, "{sql}");
    }
}

#[tokio::test]
async fn a_text_within_a_query_can_be_long() {
    let Some((_emulator, mut client)) = client(&[TABLE]).await else { return };
    let long = "SELECT length(repeat('x', 200 * 1024 * 1024))";
    let soon = Duration::from_secs(300);
    assert_eq!(timeout(soon, client.value(long)).await.expect("an answer"), "209715200");
    let insert = "INSERT INTO t VALUES (1, repeat('x', 200 * 1024 * 1024))";
    let stored = timeout(soon, client.run(insert)).await.expect("an answer");
    // PostgreSQL's own compression is too weak for this text.
    let lz4 = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings \
               WHERE name = 'default_toast_compression'";
    if client.value(lz4).await == "t" {
        assert_eq!(stored.ok(), "INSERT 0 1");
        assert_eq!(client.value("SELECT length(v) FROM t").await, "209715200");
    } else {
        let message = "datatype limit greater than 1048576 bytes not supported for text";
        assert_eq!(stored.refused(), ("54000", message));
    }
    let sorted = "SELECT count(*) FROM (SELECT repeat('x', 1000) FROM generate_series(1, 500000) AS n \
                  ORDER BY 1, n) AS s";
    let temporary = "query requires more than allowed temp space of 131072 KB to execute";
    let found = timeout(soon, client.refused(sorted)).await.expect("an answer");
    assert_eq!(pair(&found), ("54000", temporary));
}

/// aurora-dsql.md#sizes: a cluster compresses text, not bytea.
#[tokio::test]
async fn bytea_counts_uncompressed_towards_rows_and_transactions() {
    let table = "CREATE TABLE b (id int PRIMARY KEY, x bytea, y bytea, z bytea)";
    let Some((_emulator, mut client)) = client(&[table]).await else { return };
    let long = "convert_to(repeat('x', 1048576), 'UTF8')";
    let row = client.refused(&format!("INSERT INTO b VALUES (1, {long}, {long}, {long})")).await;
    assert_eq!(pair(&row), ("54000", "maximum row size exceeded"));
    client.ok("BEGIN").await;
    client.ok(&format!("INSERT INTO b SELECT n, {long} FROM generate_series(1, 10) AS n")).await;
    let commit = client.refused("COMMIT").await;
    assert_eq!(pair(&commit), ("54000", "transaction size limit 10mb exceeded"));
}
