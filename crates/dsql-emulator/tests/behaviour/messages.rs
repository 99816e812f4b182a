//! Statements whose rules need the catalog, or PostgreSQL's own messages (aurora-dsql.md#locks,
//! aurora-dsql.md#ddl, aurora-dsql.md#types, aurora-dsql.md#sessions).

use dsql_emulator::{DsqlEmulator, wire};

use crate::support::{CONFLICT, Client, ConnectOptions, client::observations, pair, start_default};

/// An emulator and a client of it, which has run these statements.
pub(crate) async fn client(schema: &[&str]) -> Option<(DsqlEmulator, Client)> {
    let emulator = start_default().await?;
    let mut client = Client::connect(&emulator).await;
    for sql in schema {
        client.ok(sql).await;
    }
    Some((emulator, client))
}

/// Runs each statement by both protocols, and compares SQLSTATE and message.
pub(crate) async fn refused(client: &mut Client, cases: &[(&str, &str, &str)]) {
    for (sql, code, message) in cases {
        let found = client.refused(sql).await;
        assert_eq!(pair(&found), (*code, *message), "{sql}");
        let found = client.extended(sql, &[]).await;
        assert_eq!(found.refused(), (*code, *message), "{sql}");
    }
}

#[tokio::test]
async fn types_that_cannot_be_keys_are_named() {
    let Some((_emulator, mut client)) =
        client(&["CREATE TABLE t (id int PRIMARY KEY, j json)"]).await
    else {
        return;
    };
    let json = "datatype json is not supported in a key";
    let identity =
        |name: &str| format!("datatype {name} not supported, identity column type must be bigint");
    let [text, numeric, domain] = ["text", "numeric", "d"].map(identity);
    client.ok("CREATE DOMAIN d AS bigint").await;
    refused(
        &mut client,
        &[
            ("CREATE TABLE u (j json PRIMARY KEY)", "0A000", json),
            ("CREATE TABLE u (id int PRIMARY KEY, j json UNIQUE)", "0A000", json),
            ("CREATE INDEX ASYNC ON t (j)", "0A000", json),
            ("CREATE TABLE u (p point PRIMARY KEY)", "0A000", "datatype point not supported"),
            ("CREATE TABLE u (p xml UNIQUE)", "0A000", "datatype xml not supported"),
            (
                "CREATE TABLE u (id text GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY)",
                "0A000",
                &text,
            ),
            (
                "CREATE TABLE u (n numeric(10, 2) NOT NULL GENERATED ALWAYS AS IDENTITY (CACHE 1))",
                "0A000",
                &numeric,
            ),
            ("CREATE TABLE u (n d GENERATED ALWAYS AS IDENTITY (CACHE 1))", "0A000", &domain),
            (
                "CREATE TABLE u (n nothing GENERATED ALWAYS AS IDENTITY (CACHE 1))",
                "42704",
                "type \"nothing\" does not exist",
            ),
            ("CREATE DOMAIN a AS int[]", "0A000", "datatype integer[] not supported"),
        ],
    )
    .await;
    client.ok("CREATE TABLE u (id int8 GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY)").await;
}

#[tokio::test]
async fn there_is_one_database_and_no_text_search_configuration() {
    let Some((_emulator, mut client)) = client(&["CREATE TABLE t (id int PRIMARY KEY)"]).await
    else {
        return;
    };
    let english = "text search configuration \"english\" does not exist";
    let collate = "unrecognized configuration parameter \"lc_collate\"";
    refused(
        &mut client,
        &[
            ("SELECT to_tsvector('english', 'a')", "42704", english),
            ("SELECT to_tsvector('a')", "42704", english),
            ("SELECT plainto_tsquery('a')", "42704", english),
            ("SELECT current_setting('lc_collate')", "42704", collate),
            ("SELECT current_setting('lc_collate', false)", "42704", collate),
        ],
    )
    .await;
    let database = client.run("SELECT current_catalog").await;
    assert_eq!((database.value(), &*database.columns[0]), ("postgres", "current_catalog"));
    assert_eq!(client.value("SELECT current_setting('lc_collate', true) IS NULL").await, "t");
    client.ok("INSERT INTO postgres.public.t VALUES (1)").await;
    let found = client.extended("SELECT postgres.public.t.id FROM postgres.public.t", &[]).await;
    assert_eq!(found.value(), "1");
    let version = "SELECT setting FROM pg_settings WHERE name = 'server_version'";
    assert_eq!(client.value(version).await, "16.15");
    client.ok("UPDATE pg_settings SET setting = '1' WHERE name = 'statement_timeout'").await;
    assert_eq!(client.value("SHOW statement_timeout").await, "0");
}

#[tokio::test]
async fn dsqls_own_settings_are_shown_and_reset() {
    let Some((_emulator, mut client)) = client(&["CREATE TABLE t (id int PRIMARY KEY)"]).await
    else {
        return;
    };
    for (name, other) in
        [("disable_sync_create_index", "off"), ("dsql.enable_batched_nestloop", "off")]
    {
        let show = format!("SHOW {name}");
        let shown = client.run(&show).await;
        assert_eq!((shown.value(), &*shown.columns[0]), ("on", name));
        for reset in [format!("RESET {name}"), "RESET ALL".into(), format!("SET {name} TO DEFAULT")]
        {
            assert_eq!(client.ok(&format!("SET {name} = {other}")).await, "SET");
            assert_eq!(client.value(&show).await, other);
            let word = reset.split(' ').next();
            assert_eq!(client.ok(&reset).await, word.unwrap());
            assert_eq!(client.value(&show).await, "on", "{reset}");
        }
    }
    let wrong = client.refused("SET disable_sync_create_index = maybe").await;
    let message = "parameter \"disable_sync_create_index\" requires a Boolean value";
    assert_eq!(pair(&wrong), ("22023", message));
}

#[tokio::test]
async fn an_invalid_locking_clause_has_postgresqls_error() {
    let Some((emulator, mut client)) = client(&[
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "CREATE TABLE u (id int PRIMARY KEY, v int)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "CREATE ROLE reader WITH LOGIN",
        "GRANT SELECT ON t TO reader",
        "AWS IAM GRANT reader TO 'arn:aws:iam::123456789012:role/dsql-emulator'",
    ])
    .await
    else {
        return;
    };
    let not_allowed = |with: &str| format!("FOR UPDATE is not allowed with {with}");
    let [aggregates, group, distinct, window] =
        ["aggregate functions", "GROUP BY clause", "DISTINCT clause", "window functions"]
            .map(not_allowed);
    refused(
        &mut client,
        &[
            ("SELECT count(*) FROM t FOR UPDATE", "0A000", &aggregates),
            ("SELECT v FROM t GROUP BY v FOR UPDATE", "0A000", &group),
            ("SELECT DISTINCT v FROM t FOR UPDATE", "0A000", &distinct),
            ("SELECT rank() OVER (ORDER BY v) FROM t FOR UPDATE", "0A000", &window),
            (
                "SELECT id FROM t FOR UPDATE OF nosuch",
                "42P01",
                "relation \"nosuch\" in FOR UPDATE clause not found in FROM clause",
            ),
            (
                "SELECT t.id FROM t LEFT JOIN u USING (id) FOR UPDATE",
                "0A000",
                "FOR UPDATE cannot be applied to the nullable side of an outer join",
            ),
            ("SELECT nosuch FROM t FOR UPDATE", "42703", "column \"nosuch\" does not exist"),
        ],
    )
    .await;
    let position = client.run("SELECT nosuch FROM t FOR UPDATE").await.error.unwrap().position;
    assert_eq!(position, Some(8));
    client.ok("BEGIN READ ONLY").await;
    let lock = "SELECT id FROM t WHERE id = 1 FOR UPDATE";
    let read_only = ("25006", "cannot execute SELECT FOR UPDATE in a read-only transaction");
    assert_eq!(pair(&client.refused(lock).await), read_only);
    client.ok("ROLLBACK").await;
    let options = ConnectOptions::of(&emulator).user(&emulator, "reader");
    let mut reader = Client::open(&emulator, &options).await.unwrap();
    assert_eq!(pair(&reader.refused(lock).await), ("42501", "permission denied for table t"));
    // Queries without rows to lock have no effect.
    for sql in ["SELECT i FROM (VALUES (1)) AS v(i) FOR UPDATE", "SELECT 1 AS i FOR UPDATE"] {
        assert_eq!(client.value(sql).await, "1", "{sql}");
    }
    let by_parameter = "SELECT v FROM t WHERE id = $1 AND v < $2 ORDER BY id LIMIT 1 FOR UPDATE";
    assert_eq!(client.extended(by_parameter, &["2", "5"]).await.value(), "2");
}

#[tokio::test]
async fn rows_are_locked_through_views_copy_and_explain_analyze() {
    let Some((emulator, mut client)) = client(&[
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "CREATE VIEW w AS SELECT id, v FROM t",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
    ])
    .await
    else {
        return;
    };
    let mut other = Client::connect(&emulator).await;
    for lock in [
        "SELECT id FROM w WHERE id = 1 FOR UPDATE",
        "SELECT id FROM t WHERE id = 1 FOR UPDATE SKIP LOCKED",
        "EXPLAIN ANALYZE SELECT id FROM t WHERE id = 1 FOR UPDATE",
        "COPY (SELECT id FROM t WHERE id = 1 FOR UPDATE) TO STDOUT",
        "COPY (UPDATE t SET v = 5 WHERE id = 1 RETURNING id) TO STDOUT",
        "WITH l AS (SELECT id FROM t WHERE id = 1 FOR UPDATE) SELECT * FROM l",
    ] {
        for extended in [false, true] {
            client.ok("BEGIN").await;
            other.ok("BEGIN").await;
            let locked = match extended {
                false => client.run(lock).await,
                true => client.extended(lock, &[]).await,
            };
            assert_eq!(locked.error, None, "{lock}");
            assert_eq!(other.ok("UPDATE t SET v = v + 1 WHERE id = 1").await, "UPDATE 1");
            assert_eq!(client.ok("COMMIT").await, "COMMIT");
            assert_eq!(pair(&other.refused("COMMIT").await), CONFLICT, "{lock}");
        }
    }
    // The row limit applies to all of them.
    let many =
        "COPY (INSERT INTO t SELECT n FROM generate_series(3, 4000) AS n RETURNING id) TO STDOUT";
    assert_eq!(pair(&client.refused(many).await), ("54000", "transaction row limit exceeded"));
    assert_eq!(client.value("SELECT count(*) FROM t").await, "2");
}

#[tokio::test]
async fn a_lateral_left_join_fails_with_a_qualified_or_unqualified_outer_column() {
    let Some((_emulator, mut client)) = client(&[
        "CREATE TABLE p (id int PRIMARY KEY, name text)",
        "CREATE TABLE c (id int PRIMARY KEY, parent int)",
    ])
    .await
    else {
        return;
    };
    let defect = "attribute 1 of type c has wrong type";
    let join = |columns: &str| {
        format!(
            "SELECT 1 FROM p LEFT JOIN LATERAL (SELECT {columns} FROM c WHERE c.parent = p.id) s ON true"
        )
    };
    for (columns, error) in [
        ("p.name", Some(("42804", defect))),
        ("name", Some(("42804", defect))),
        ("parent, lower(name)", Some(("42804", defect))),
        ("parent, id", None),
        ("nothing", Some(("42703", "column \"nothing\" does not exist"))),
    ] {
        let sql = join(columns);
        for sql in [sql.clone(), format!("EXPLAIN {sql}"), format!("COPY ({sql}) TO STDOUT")] {
            let found = client.run(&sql).await;
            let found = found.error.as_ref().map(|error| (&*error.code, &*error.message));
            assert_eq!(found, error, "{sql}");
        }
    }
    let name = "SELECT 1 FROM p JOIN LATERAL (SELECT name FROM c) s ON true";
    assert_eq!(client.ok(name).await, "SELECT 0");
}

#[tokio::test]
async fn a_completed_portal_returns_no_rows_and_does_not_run_again() {
    let Some((_emulator, mut client)) = client(&["CREATE TABLE t (id int PRIMARY KEY)"]).await
    else {
        return;
    };
    let run = |sql: &str, rows: &[i32]| -> Vec<wire::Message> {
        let bind = wire::bind("", "", &wire::BindParts::default());
        let executes = rows.iter().map(|rows| wire::execute("", *rows));
        [wire::parse("", sql, &[]), bind]
            .into_iter()
            .chain(executes)
            .chain([wire::sync()])
            .collect()
    };
    let rows = "SELECT n FROM generate_series(1, 3) AS n";
    let answer = client.exchange(&run(rows, &[2, 2, 0])).await.unwrap();
    let ends: Vec<_> = observations(&answer).iter().map(|o| o.ok().to_owned()).collect();
    assert_eq!(ends, ["SELECT 1", "SELECT 0"]);
    let answer = client.exchange(&run("INSERT INTO t VALUES (1)", &[0, 0])).await.unwrap();
    let found = observations(&answer);
    assert_eq!(found[0].ok(), "INSERT 0 1");
    assert_eq!(found[1].refused(), ("55000", "portal \"\" cannot be run"));
    assert_eq!(client.value("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn a_function_that_writes_behind_a_view_writes_in_a_transaction() {
    let Some((emulator, mut client)) = client(&[
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t VALUES (1, 0)",
        "CREATE FUNCTION touch() RETURNS int LANGUAGE sql AS \
         $$ UPDATE t SET v = v + 1 WHERE id = 1 RETURNING v $$",
        "CREATE FUNCTION fill() RETURNS bigint LANGUAGE sql AS $$ \
         WITH i AS (INSERT INTO t SELECT n FROM generate_series(2, 4000) AS n RETURNING 1) \
         SELECT count(*) FROM i $$",
        "CREATE VIEW touching AS SELECT touch() AS v",
        "CREATE VIEW filling AS SELECT fill() AS n",
    ])
    .await
    else {
        return;
    };
    let mut other = Client::connect(&emulator).await;
    other.ok("BEGIN").await;
    other.ok("UPDATE t SET v = 10 WHERE id = 1").await;
    assert_eq!(client.value("SELECT v FROM touching").await, "1");
    assert_eq!(client.extended("SELECT v FROM touching", &[]).await.value(), "2");
    assert_eq!(pair(&other.refused("COMMIT").await), CONFLICT);
    let many = client.refused("SELECT n FROM filling").await;
    assert_eq!(pair(&many), ("54000", "transaction row limit exceeded"));
    assert_eq!(client.value("SELECT v FROM t").await, "2");
}
