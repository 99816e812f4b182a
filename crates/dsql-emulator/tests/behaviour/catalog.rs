//! Sessions that learn of catalog changes (facts §1.5).

use dsql_emulator::{
    CatalogConflicts, DsqlEmulator,
    wire::{self, BindParts},
};

use crate::support::{CATALOG_CONFLICT, Client, client::observations, pair, start, start_default};

async fn clients(emulator: &DsqlEmulator) -> (Client, Client) {
    let mut one = Client::connect(emulator).await;
    one.ok("CREATE TABLE t (id int PRIMARY KEY, v int)").await;
    (one, Client::connect(emulator).await)
}

#[tokio::test]
async fn a_change_by_another_session_is_heard_of_once() {
    let Some(emulator) = start_default().await else { return };
    let (mut one, mut other) = clients(&emulator).await;
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
async fn it_fails_a_transaction_at_its_next_statement_or_at_commit() {
    let Some(emulator) = start_default().await else { return };
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
async fn a_transaction_that_changed_rows_makes_way_for_ddl_on_its_table() {
    let Some(emulator) = start_default().await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    other.ok("BEGIN").await;
    other.ok("INSERT INTO t VALUES (1)").await;
    one.ok("ALTER TABLE t ADD COLUMN w int").await;
    assert_eq!(pair(&other.refused("COMMIT").await), CATALOG_CONFLICT);
    one.ok("DROP TABLE t").await;
}

#[tokio::test]
async fn prepared_statements_survive_it() {
    let Some(emulator) = start_default().await else { return };
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
async fn it_can_be_switched_off() {
    let builder = DsqlEmulator::builder().catalog_conflicts(CatalogConflicts::Off);
    let Some(emulator) = start(builder).await else { return };
    let (mut one, mut other) = clients(&emulator).await;
    other.ok("BEGIN").await;
    other.ok("INSERT INTO t VALUES (1)").await;
    one.ok("CREATE TABLE u (id int PRIMARY KEY)").await;
    assert_eq!(other.ok("COMMIT").await, "COMMIT");
}
