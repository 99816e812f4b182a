//! Conflicts of sessions with catalog changes (aurora-dsql.md#transient-failures).

use std::time::{Duration, Instant};

use dsql_emulator::{
    CatalogConflicts, DsqlEmulator,
    wire::{self, BindParts},
};

use crate::support::{
    CATALOG_CONFLICT, Client, client::observations, pair, start, start_default, strict,
};

async fn clients(emulator: &DsqlEmulator) -> (Client, Client) {
    let mut one = Client::connect(emulator).await;
    one.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    (one, Client::connect(emulator).await)
}

#[tokio::test]
async fn a_change_by_another_session_causes_one_conflict() {
    let Some(emulator) = start(strict()).await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    // Changes before its first statement do not concern a session.
    one.ok("COMMENT ON TABLE t IS 'y'").await;
    assert_eq!(other.value("SELECT count(*) FROM t").await, "0");
    for change in [
        "CREATE TABLE u (id int PRIMARY KEY)",
        "ALTER TABLE t ADD COLUMN w int",
        "GRANT SELECT ON t TO public",
        "COMMENT ON TABLE t IS 'x'",
    ] {
        one.ok(change).await;
        one.ok("SELECT 1").await;
        assert_eq!(pair(&other.refused("SELECT count(*) FROM t").await), CATALOG_CONFLICT);
        assert_eq!(other.value("SELECT count(*) FROM t").await, "0", "{change}");
    }
}

#[tokio::test]
async fn a_change_fails_a_transaction_at_its_next_statement_or_at_commit() {
    let Some(emulator) = start(strict()).await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    other.ok("BEGIN").await;
    other.ok("INSERT INTO t VALUES (1)").await;
    one.ok("CREATE TABLE u (id int PRIMARY KEY)").await;
    assert_eq!(pair(&other.refused("INSERT INTO t VALUES (2)").await), CATALOG_CONFLICT);
    assert_eq!(other.refused("SELECT 1").await.0, "25P02");
    assert_eq!(other.ok("COMMIT").await, "ROLLBACK");

    other.ok("BEGIN").await;
    other.ok("INSERT INTO t VALUES (3)").await;
    one.ok("DROP TABLE u").await;
    assert_eq!(pair(&other.refused("COMMIT").await), CATALOG_CONFLICT);
    assert_eq!(other.value("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_transaction_that_changed_rows_does_not_block_ddl_on_its_table() {
    let Some(emulator) = start(strict()).await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    other.ok("BEGIN").await;
    other.ok("INSERT INTO t VALUES (1)").await;
    one.ok("ALTER TABLE t ADD COLUMN w int").await;
    assert_eq!(pair(&other.refused("COMMIT").await), CATALOG_CONFLICT);
    one.ok("DROP TABLE t").await;
}

#[tokio::test]
async fn prepared_statements_survive_a_change() {
    let Some(emulator) = start(strict()).await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    other
        .exchange(&[wire::parse("mine", "SELECT count(*) FROM t WHERE id = $1", &[]), wire::sync()])
        .await
        .unwrap();
    let bind = BindParts { parameters: vec![Some(b"1".to_vec().into())], ..BindParts::default() };
    let execute = [wire::bind("", "mine", &bind), wire::execute("", 0), wire::sync()];
    one.ok("CREATE TABLE u (id int PRIMARY KEY)").await;
    let first = observations(&other.exchange(&execute).await.unwrap());
    assert_eq!(first[0].refused(), CATALOG_CONFLICT);
    let again = observations(&other.exchange(&execute).await.unwrap());
    assert_eq!(again[0].value(), "0");
}

#[tokio::test]
async fn conflicts_can_be_switched_off() {
    let builder = DsqlEmulator::builder().catalog_conflicts(CatalogConflicts::Off);
    let Some(emulator) = start(builder).await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    other.ok("BEGIN").await;
    other.ok("INSERT INTO t VALUES (1)").await;
    one.ok("CREATE TABLE u (id int PRIMARY KEY)").await;
    assert_eq!(other.ok("COMMIT").await, "COMMIT");
}

/// Whether `other` gets a conflict after a change by `one`, once `wait` has passed.
async fn conflicts_after(wait: Duration, one: &mut Client, other: &mut Client) -> bool {
    other.ok("SELECT 1").await;
    one.ok("COMMENT ON TABLE t IS 'x'").await;
    tokio::time::sleep(wait).await;
    let conflict = other.run("SELECT count(*) FROM t").await.error;
    if let Some(error) = &conflict {
        assert_eq!((error.code.as_str(), error.message.as_str()), CATALOG_CONFLICT);
    }
    conflict.is_some()
}

#[tokio::test]
async fn by_default_a_change_causes_conflicts_for_half_a_second() {
    let Some(emulator) = start_default().await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    let soon = async |one: &mut Client, other: &mut Client| {
        let begin = Instant::now();
        let conflict = conflicts_after(Duration::ZERO, one, other).await;
        // On a machine that was busy for too long the result says nothing.
        conflict || begin.elapsed() > Duration::from_millis(450)
    };
    assert!(soon(&mut one, &mut other).await);
    assert!(!conflicts_after(Duration::from_millis(500), &mut one, &mut other).await);
    // A change that was not reported in time is not reported later; the next change is.
    assert!(soon(&mut one, &mut other).await);
    // The same at COMMIT.
    other.ok("BEGIN").await;
    other.ok("INSERT INTO t VALUES (1)").await;
    one.ok("CREATE TABLE u (id int PRIMARY KEY)").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(other.ok("COMMIT").await, "COMMIT");
}

#[tokio::test]
async fn the_window_can_be_set() {
    let window = CatalogConflicts::Within(Duration::from_secs(60));
    let builder = DsqlEmulator::builder().catalog_conflicts(window);
    let Some(emulator) = start(builder).await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    assert!(conflicts_after(Duration::from_millis(600), &mut one, &mut other).await);
}

#[tokio::test]
async fn set_show_and_reset_do_not_conflict() {
    let Some(emulator) = start(strict()).await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    let quiet = [
        "SET search_path = public",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SHOW search_path",
        "SHOW server_version",
        "/* of a driver */ RESET search_path",
        "RESET ALL",
    ];
    other.ok("SELECT 1").await;
    one.ok("COMMENT ON TABLE t IS 'x'").await;
    for sql in quiet {
        other.ok(sql).await;
        assert_eq!(other.extended(sql, &[]).await.error, None, "{sql}");
    }
    // Nor does a transaction of only those, implicit or explicit.
    for sql in [&["BEGIN"][..], &quiet, &["COMMIT"]].concat() {
        other.ok(sql).await;
    }
    let both = other.query("SET extra_float_digits = 1; SHOW extra_float_digits").await;
    assert_eq!((both[0].ok(), both[1].value()), ("SET", "1"));
    // The next other statement gets the conflict, and so does a COMMIT after one.
    assert_eq!(pair(&other.refused("SELECT 1").await), CATALOG_CONFLICT);
    other.ok("BEGIN").await;
    other.ok("SELECT 1").await;
    one.ok("COMMENT ON TABLE t IS 'y'").await;
    other.ok("SHOW search_path").await;
    assert_eq!(pair(&other.refused("COMMIT").await), CATALOG_CONFLICT);
}

#[tokio::test]
async fn rows_are_written_as_before_after_columns_tables_and_schemas_were_renamed() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    for sql in [
        "CREATE SCHEMA s",
        "CREATE TABLE s.t (id int PRIMARY KEY, v text)",
        "CREATE TABLE s.child (id int PRIMARY KEY, parent int REFERENCES s.t, v text)",
    ] {
        client.ok(sql).await;
    }
    // Its uncompressed size makes the trigger examine the stored row.
    const LARGE: &str = "repeat('x', 1100000)";
    for (rename, table, key, value) in [
        ("ALTER TABLE s.t RENAME COLUMN id TO k", "s.t", "k", "v"),
        ("ALTER TABLE s.t RENAME v TO w", "s.t", "k", "w"),
        ("ALTER VIEW s.t RENAME w TO x", "s.t", "k", "x"),
        ("ALTER TABLE s.t RENAME TO u", "s.u", "k", "x"),
        ("ALTER INDEX s.u RENAME TO t", "s.t", "k", "x"),
        ("ALTER SCHEMA s RENAME TO z", "z.t", "k", "x"),
        ("ALTER TABLE z.t SET SCHEMA public", "t", "k", "x"),
    ] {
        client.ok(rename).await;
        let insert = format!("INSERT INTO {table} ({key}, {value}) VALUES (1, {LARGE})");
        assert_eq!(client.ok(&insert).await, "INSERT 0 1", "{rename}");
        let update = format!("UPDATE {table} SET {key} = 2, {value} = {LARGE}");
        assert_eq!(client.ok(&update).await, "UPDATE 1", "{rename}");
        assert_eq!(client.ok(&format!("DELETE FROM {table}")).await, "DELETE 1", "{rename}");
    }
    client.ok("INSERT INTO t VALUES (1, 'x')").await;
    assert_eq!(
        client.ok(&format!("INSERT INTO z.child VALUES (1, 1, {LARGE})")).await,
        "INSERT 0 1"
    );
}

#[tokio::test]
async fn the_catalog_has_one_database_and_no_extension_that_can_be_created() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    let databases = "SELECT string_agg(datname, ',') FROM pg_database WHERE datallowconn";
    assert_eq!(client.value(databases).await, "postgres");
    for view in ["pg_available_extensions", "pg_available_extension_versions"] {
        assert_eq!(client.value(&format!("SELECT count(*) FROM {view}")).await, "0", "{view}");
    }
}

/// What the queries of psql, pg_dump, pgjdbc and information_schema leave out.
#[tokio::test]
async fn the_catalog_does_not_show_the_schema_and_the_event_triggers_of_the_emulator() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY)").await;
    let psql = "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace \
                WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'";
    assert_eq!(client.value(psql).await, "public sys");
    let pgjdbc = "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace \
                  WHERE nspname <> 'pg_toast' AND nspname !~ '^pg_temp_' \
                  AND nspname !~ '^pg_toast_temp_'";
    assert_eq!(client.value(pgjdbc).await, "information_schema pg_catalog public sys");
    for (sql, value) in [
        ("SELECT count(*) FROM pg_event_trigger", "0"),
        ("SELECT count(*) FROM information_schema.schemata WHERE schema_name ~ 'dsql'", "0"),
        ("SELECT count(*) FROM information_schema.tables WHERE table_schema ~ 'dsql'", "0"),
        ("SELECT count(*) FROM information_schema.triggers", "0"),
    ] {
        assert_eq!(client.value(sql).await, value, "{sql}");
    }
    let own = client.refused("SELECT count(*) FROM pg_toast_temp_dsql.job").await;
    assert_eq!(own.0, "42501");
}

/// The columns of PostgreSQL 16. Clients choose their queries by the version that is reported.
#[tokio::test]
async fn the_catalog_has_the_columns_of_the_reported_version_on_every_server() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    for (catalog, columns) in [
        (
            "pg_database",
            "oid datname datdba encoding datlocprovider datistemplate datallowconn datconnlimit \
             datfrozenxid datminmxid dattablespace datcollate datctype daticulocale daticurules \
             datcollversion datacl",
        ),
        (
            "pg_collation",
            "oid collname collnamespace collowner collprovider collisdeterministic collencoding \
             collcollate collctype colliculocale collicurules collversion",
        ),
        ("pg_auth_members", "oid roleid member grantor admin_option inherit_option set_option"),
        ("pg_am", "oid amname amhandler amtype"),
        ("pg_event_trigger", "oid evtname evtevent evtowner evtfoid evtenabled evttags"),
    ] {
        let found = client.run(&format!("SELECT * FROM {catalog} LIMIT 1")).await;
        assert_eq!(found.columns.join(" "), columns, "{catalog}");
    }
}

/// aurora-dsql.md#indexes
#[tokio::test]
async fn indexes_have_dsqls_access_method_and_a_primary_key_includes_the_other_columns() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    for sql in [
        "CREATE TABLE t (\"USING btree \" int, b text, c int, PRIMARY KEY (c, b))",
        "CREATE TABLE alone (a int PRIMARY KEY)",
        "CREATE TABLE u (a int, b int, c int, PRIMARY KEY (b) INCLUDE (c))",
    ] {
        client.ok(sql).await;
    }
    client.ok("CREATE INDEX ASYNC \"i USING btree \" ON t (lower(b)) WHERE c > 0").await;
    client.ok("CREATE UNIQUE INDEX ASYNC v ON t (c) INCLUDE (b)").await;
    for (index, definition) in [
        (
            "t_pkey",
            "CREATE UNIQUE INDEX t_pkey ON public.t USING btree_index (c, b) \
             INCLUDE (\"USING btree \")",
        ),
        ("alone_pkey", "CREATE UNIQUE INDEX alone_pkey ON public.alone USING btree_index (a)"),
        ("u_pkey", "CREATE UNIQUE INDEX u_pkey ON public.u USING btree_index (b) INCLUDE (a, c)"),
        (
            "i USING btree ",
            "CREATE INDEX \"i USING btree \" ON public.t USING btree_index (lower(b)) WHERE (c > 0)",
        ),
        ("v", "CREATE UNIQUE INDEX v ON public.t USING btree_index (c) INCLUDE (b)"),
    ] {
        let name = format!("'\"{index}\"'::regclass");
        for sql in [
            format!("SELECT pg_get_indexdef({name})"),
            format!("SELECT pg_get_indexdef({name}, 0, false)"),
            format!("SELECT indexdef FROM pg_indexes WHERE indexname = '{index}'"),
        ] {
            assert_eq!(client.value(&sql).await, definition, "{sql}");
        }
    }
    let part = "SELECT pg_get_indexdef('\"i USING btree \"'::regclass, 1, true)";
    assert_eq!(client.value(part).await, "lower(b)");
    let method = "SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam \
                  WHERE c.oid = 't_pkey'::regclass";
    assert_eq!(client.value(method).await, "btree_index");
}

#[tokio::test]
async fn clients_cannot_call_the_functions_of_the_emulator() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    for (call, name) in [
        ("set_config_of_host('work_mem', '1MB', false)", "set_config_of_host"),
        ("pg_catalog.version_of_host()", "version_of_host"),
        ("\"dsql_emulator_lock\"('K', '[]')", "dsql_emulator_lock"),
    ] {
        let message = format!("function {name} does not exist");
        for sql in [
            format!("SELECT {call}"),
            format!("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT {call}::text $$"),
            format!("CREATE VIEW v AS SELECT {call} AS a"),
        ] {
            assert_eq!(pair(&client.refused(&sql).await), ("42883", &*message), "{sql}");
        }
    }
    client.ok("CREATE SCHEMA mine").await;
    client.ok("CREATE FUNCTION mine.cost_of_host() RETURNS int LANGUAGE sql AS 'SELECT 1'").await;
    client.ok("CREATE TABLE name_of_host (id int PRIMARY KEY)").await;
    client.ok("INSERT INTO name_of_host (id) SELECT mine.cost_of_host()").await;
}

#[tokio::test]
async fn a_relation_in_the_schema_of_temporary_ones_is_refused() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("SET search_path TO pg_temp, public").await;
    for (sql, kind) in [
        ("CREATE TABLE pg_temp.t (id int PRIMARY KEY)", "table"),
        ("CREATE TABLE t (id int PRIMARY KEY)", "table"),
        ("CREATE VIEW pg_temp.v AS SELECT 1 AS a", "view"),
        ("CREATE SEQUENCE pg_temp.s CACHE 1", "sequence"),
    ] {
        let upper = kind.to_uppercase();
        let message = format!("TEMPORARY or TEMP {kind} not supported for CREATE {upper}");
        assert_eq!(pair(&client.refused(sql).await), ("0A000", &*message), "{sql}");
    }
}
