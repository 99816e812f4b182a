//! Transactions and their limits (aurora-dsql.md#transactions, aurora-dsql.md#limits).

use std::time::Duration;

use dsql_emulator::{DsqlEmulator, Limits};

use crate::support::{Client, pair, start, start_default};

const ABORTED: (&str, &str) =
    ("25P02", "current transaction is aborted, commands ignored until end of transaction block");
const ROW_LIMIT: (&str, &str) = ("54000", "transaction row limit exceeded");
const MIXED: (&str, &str) = ("0A000", "ddl and dml are not supported in the same transaction");
const TWO_DDL: (&str, &str) = ("0A000", "multiple ddl statements not supported in a transaction");

async fn client_with_table(emulator: &DsqlEmulator) -> Client {
    let mut client = Client::connect(emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    client
}

async fn count(client: &mut Client) -> String {
    client.value("SELECT count(*) FROM t").await
}

#[tokio::test]
async fn a_failed_transaction_refuses_all_statements_and_its_commit_has_the_tag_rollback() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client_with_table(&emulator).await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(client.refused("SELECT 1 / 0").await.0, "22012");
    for sql in ["SELECT 1", "TRUNCATE t", "SAVEPOINT s", "CREATE TRIGGER x", "no such", "BEGIN"] {
        assert_eq!(pair(&client.refused(sql).await), ABORTED, "{sql}");
    }
    assert_eq!(client.extended("VACUUM", &[]).await.refused(), ABORTED);
    assert_eq!(client.ok("COMMIT").await, "ROLLBACK");
    assert_eq!(count(&mut client).await, "0");

    // A refusal aborts a transaction, and has no effect outside of one.
    client.ok("BEGIN").await;
    let message = "unsupported transaction statement: SAVEPOINT";
    assert_eq!(pair(&client.refused("SAVEPOINT s").await), ("0A000", message));
    assert_eq!(pair(&client.refused("SELECT 1").await), ABORTED);
    assert_eq!(client.ok("ROLLBACK").await, "ROLLBACK");
    client.refused("TRUNCATE t").await;
    assert_eq!(count(&mut client).await, "0");
}

#[tokio::test]
async fn a_nested_begin_and_a_commit_outside_only_warn() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("BEGIN").await;
    let again = client.run("BEGIN").await;
    assert_eq!(again.notices, ["there is already a transaction in progress"]);
    assert_eq!(client.ok("COMMIT").await, "COMMIT");
    let again = client.run("COMMIT").await;
    assert_eq!(again.notices, ["there is no transaction in progress"]);
    client.ok("BEGIN READ ONLY").await;
    assert_eq!(client.refused("CREATE TABLE x (id int PRIMARY KEY)").await.0, "25006");
    client.ok("ROLLBACK").await;
}

#[tokio::test]
async fn the_statements_of_one_message_are_one_transaction() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client_with_table(&emulator).await;
    let both = client.query("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)").await;
    assert_eq!((both[0].ok(), both[1].ok()), ("INSERT 0 1", "INSERT 0 1"));
    let failed = client.query("INSERT INTO t VALUES (3); SELECT 1 / 0; SELECT 1").await;
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(count(&mut client).await, "2");
    let refused =
        client.query("CREATE TABLE a (id int PRIMARY KEY); CREATE INDEX ASYNC ON a (id)").await;
    assert_eq!(refused[1].refused(), TWO_DDL);
    assert_eq!(client.value("SELECT to_regclass('a') IS NULL").await, "t");
    let mixed = client.query("INSERT INTO t VALUES (4); DROP TABLE t").await;
    assert_eq!(mixed[1].refused(), MIXED);
    // A transaction that begins inside of a message continues after it.
    client.query("INSERT INTO t VALUES (5); BEGIN; INSERT INTO t VALUES (6)").await;
    client.ok("ROLLBACK").await;
    assert_eq!(count(&mut client).await, "2");
}

#[tokio::test]
async fn a_transaction_has_at_most_one_ddl_statement_and_then_no_writes() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client_with_table(&emulator).await;
    for (first, second, refusal) in [
        ("INSERT INTO t VALUES (1)", "CREATE TABLE u (id int PRIMARY KEY)", MIXED),
        ("CREATE TABLE u (id int PRIMARY KEY)", "DELETE FROM t", MIXED),
        ("COMMENT ON TABLE t IS 'x'", "GRANT SELECT ON t TO public", TWO_DDL),
        ("CREATE INDEX ASYNC ON t (v)", "CREATE INDEX ASYNC ON t (v)", TWO_DDL),
    ] {
        client.ok("BEGIN").await;
        client.ok(first).await;
        assert_eq!(pair(&client.refused(second).await), refusal, "{first}; {second}");
        assert_eq!(client.ok("COMMIT").await, "ROLLBACK");
    }
    client.ok("BEGIN").await;
    client.value("SELECT count(*) FROM t").await;
    client.ok("CREATE TABLE u (id int PRIMARY KEY)").await;
    assert_eq!(client.ok("COMMIT").await, "COMMIT");
    client.ok("INSERT INTO u VALUES (1)").await;
}

#[tokio::test]
async fn three_thousand_rows_are_the_limit_at_the_statement() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client_with_table(&emulator).await;
    let insert = |from: u32, to: u32| format!("INSERT INTO t SELECT generate_series({from}, {to})");
    assert_eq!(client.ok(&insert(1, 3_000)).await, "INSERT 0 3000");
    assert_eq!(pair(&client.refused(&insert(3_001, 6_001)).await), ROW_LIMIT);
    assert_eq!(count(&mut client).await, "3000");
    // Written rows add up, deleted ones included; locked rows do not count.
    client.ok("BEGIN").await;
    client.ok(&insert(3_001, 5_999)).await;
    let locked = client.run("SELECT id FROM t WHERE id <= 3000 FOR UPDATE").await;
    assert_eq!(locked.rows.len(), 3_000);
    client.ok("DELETE FROM t WHERE id = 1").await;
    assert_eq!(pair(&client.refused("DELETE FROM t WHERE id = 2").await), ROW_LIMIT);
    assert_eq!(client.ok("COMMIT").await, "ROLLBACK");
    assert_eq!(count(&mut client).await, "3000");
}

#[tokio::test]
async fn rows_of_cascades_count() {
    let mut limits = Limits::default();
    limits.transaction_rows = 5;
    let Some(emulator) = start(DsqlEmulator::builder().limits(limits)).await else { return };
    let mut client = client_with_table(&emulator).await;
    client.ok("CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE)").await;
    client.ok("INSERT INTO t VALUES (1), (2)").await;
    client.ok("INSERT INTO c VALUES (1, 1), (2, 1), (3, 1), (4, 1), (5, 2)").await;
    client.ok("DELETE FROM t WHERE id = 1").await;
    client.ok("INSERT INTO c VALUES (6, 2), (7, 2), (8, 2), (9, 2)").await;
    assert_eq!(pair(&client.refused("DELETE FROM t WHERE id = 2").await), ROW_LIMIT);
}

#[tokio::test]
async fn ten_mebibytes_are_the_limit_at_commit() {
    let Some(emulator) = start_default().await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("CREATE TABLE t (id int PRIMARY KEY, v bytea)").await;
    let insert = |from: u32, to: u32| {
        format!(
            "INSERT INTO t SELECT n, decode(repeat('ab', 1000000), 'hex') \
             FROM generate_series({from}, {to}) AS n"
        )
    };
    client.ok(&insert(1, 9)).await;
    client.ok("BEGIN").await;
    assert_eq!(client.ok(&insert(10, 20)).await, "INSERT 0 11");
    let error = client.run("COMMIT").await.error.expect("a refusal");
    assert_eq!((&*error.code, &*error.message), ("54000", "transaction size limit 10mb exceeded"));
    assert_eq!(error.detail.as_deref(), Some("Current transaction size 11mb > 10mb"));
    assert_eq!(count(&mut client).await, "9");
    assert_eq!(client.ok("DELETE FROM t").await, "DELETE 9", "deleted bytes do not count");
}

#[tokio::test]
async fn a_transaction_that_is_too_old_fails_at_commit() {
    let Some(emulator) = start_default().await else { return };
    let mut client = client_with_table(&emulator).await;
    for access in ["BEGIN", "BEGIN READ ONLY"] {
        client.ok(access).await;
        assert_eq!(count(&mut client).await, "0");
        if access == "BEGIN" {
            client.ok("INSERT INTO t VALUES (1)").await;
        }
        emulator.faults().shift_clock(Duration::from_secs(301));
        let error = client.run("COMMIT").await.error.expect("a refusal");
        let message = "transaction age limit of 300s exceeded";
        assert_eq!((&*error.code, &*error.message), ("54000", message));
        let detail = error.detail.as_deref().expect("a detail");
        let age = detail.strip_prefix("Current transaction age ");
        let age = age.and_then(|age| age.strip_suffix("s exceeds 300s")).expect(detail);
        assert!(age.parse::<u32>().unwrap() >= 301, "{detail}");
    }
    assert_eq!(count(&mut client).await, "0");
    // The age counts from the begin, not from that of the session.
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(client.ok("COMMIT").await, "COMMIT");
}

#[tokio::test]
async fn the_age_of_a_transaction_grows_with_time() {
    let mut limits = Limits::default();
    limits.transaction_age = Duration::from_millis(1);
    let Some(emulator) = start(DsqlEmulator::builder().limits(limits)).await else { return };
    let mut client = Client::connect(&emulator).await;
    client.ok("BEGIN").await;
    assert_eq!(client.run("SELECT pg_sleep(0.01)").await.ok(), "SELECT 1");
    let message = "transaction age limit of 0s exceeded";
    assert_eq!(pair(&client.refused("COMMIT").await), ("54000", message));
}

#[tokio::test]
async fn unrecorded_statements_run_or_are_refused_as_configured() {
    const CHANGES: &str = "WITH a AS (INSERT INTO t VALUES (1, 'x') RETURNING id) SELECT id FROM a";
    const LOCKS: &str = "SELECT id FROM (SELECT id FROM t WHERE id = 1 FOR UPDATE) AS a";
    let Some(emulator) = start_default().await else { return };
    let mut client = client_with_table(&emulator).await;
    assert_eq!(client.value(CHANGES).await, "1");
    assert_eq!(client.extended(LOCKS, &[]).await.value(), "1");

    let builder =
        DsqlEmulator::builder().accept_data_modifying_with(false).accept_locking_subqueries(false);
    let Some(emulator) = start(builder).await else { return };
    let mut client = client_with_table(&emulator).await;
    for (sql, message) in [
        (CHANGES, "data-modifying statements in WITH are not supported"),
        (LOCKS, "locking clauses in subqueries are not supported"),
    ] {
        assert_eq!(pair(&client.refused(sql).await), ("0A000", message));
        assert_eq!(client.extended(sql, &[]).await.refused(), ("0A000", message));
    }
    assert_eq!(count(&mut client).await, "0");
}
