//! Scratch clusters: one DSQL emulator per test.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use temporal_dsql_testkit::ScratchCluster;

#[tokio::test]
async fn a_session_gets_oc001_for_a_catalog_change_of_any_age() {
    let Some(cluster) = ScratchCluster::create(|builder| builder).await else { return };
    let mut session = PgConnection::connect(&cluster.url()).await.unwrap();
    sqlx::raw_sql("SELECT 1").execute(&mut session).await.unwrap();
    cluster.query("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    // Longer than the default window of the emulator.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let error = sqlx::raw_sql("SELECT 1").execute(&mut session).await.unwrap_err();
    assert!(error.to_string().contains("(OC001)"), "{error}");
}
