//! What a server says about itself, and a commit that changes nothing.

use std::time::{Duration, SystemTime};

use temporal_dsql_migrate::{SchemaDatabase, VersionRow};
use temporal_dsql_testkit::{FaultProxy, OccCode, ScratchDatabase, When, WireFault};

use crate::{V1_1, at, connect, connect_via};

async fn text(scratch: &ScratchDatabase, query: &str) -> String {
    scratch.query(query).await.unwrap()[0][0].clone().unwrap()
}

#[tokio::test]
async fn the_version_the_clock_and_the_connections_are_those_of_the_server() {
    let Some(scratch) = ScratchDatabase::create().await else { return };
    let mut database = connect(&scratch).await;
    let version = database.server_version().await.unwrap();
    assert_eq!(version, text(&scratch, "SHOW server_version").await);
    for _ in 0..2 {
        let before = SystemTime::now();
        let server = database.server_time().await.unwrap();
        // The server has microseconds, and this test runs on the same machine.
        let moment = Duration::from_millis(1);
        assert!(before - moment <= server && server <= SystemTime::now() + moment, "{server:?}");
    }
    // The role is a superuser, which has the limit of the server only.
    let counts = database.connection_counts().await.unwrap();
    let [count] = counts[..] else { panic!("{counts:?}") };
    let most = "SELECT current_setting('max_connections')::int \
                - current_setting('superuser_reserved_connections')::int";
    assert_eq!(count.most.to_string(), text(&scratch, most).await);
    assert!(count.in_use >= 1 && count.in_use <= count.most + 50, "{count:?}");
}

/// The version row with the transaction that wrote it, and the number of history rows.
async fn rows(scratch: &ScratchDatabase) -> (String, Vec<Option<String>>) {
    let row = "SELECT xmin::text, version_partition, db_name, creation_time, curr_version, \
               min_compatible_version, (SELECT count(*) FROM schema_update_history) \
               FROM schema_version";
    let mut row = scratch.query(row).await.unwrap().remove(0);
    (row.remove(0).unwrap(), row)
}

#[tokio::test]
async fn a_version_row_is_written_again_as_it_is_and_only_if_it_is_still_so() {
    let Some(scratch) = at(V1_1).await else { return };
    let mut database = connect(&scratch).await;
    let recorded = database.version_rows().await.unwrap().remove(0);
    let (writer, values) = rows(&scratch).await;
    assert!(database.rewrite_version(&recorded).await.unwrap().is_some());
    let (writer_after, values_after) = rows(&scratch).await;
    assert_ne!(writer_after, writer, "the transaction wrote the row");
    assert_eq!(values_after, values, "and changed no value");
    let stale = VersionRow { version: Some("1.0".to_owned()), ..recorded };
    assert_eq!(database.rewrite_version(&stale).await.unwrap(), None);
    assert_eq!(rows(&scratch).await, (writer_after, values));
}

#[tokio::test]
async fn a_conflict_of_the_commit_is_transient_and_leaves_the_row_and_the_connection() {
    let Some(scratch) = at(V1_1).await else { return };
    let proxy = FaultProxy::start(scratch.addr().unwrap()).unwrap();
    let mut database = connect_via(&scratch, proxy.addr()).await;
    let recorded = database.version_rows().await.unwrap().remove(0);
    for when in [When::Matching("UPDATE schema_version".into()), When::Commit] {
        let before = rows(&scratch).await;
        proxy.inject(when, WireFault::Conflict(OccCode::Oc000));
        let error = database.rewrite_version(&recorded).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert_eq!(proxy.pending_faults(), 0);
        assert_eq!(rows(&scratch).await, before);
        assert!(database.rewrite_version(&recorded).await.unwrap().is_some());
    }
}
