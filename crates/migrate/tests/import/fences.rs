//! A fence keeps the Go server's statements from writing, and nothing else.

use std::{sync::mpsc, time::Duration};

use sqlx::{Connection, PgConnection};
use temporal_dsql_migrate::import::{Fence, FenceReport, FenceState, ImportError};
use temporal_dsql_testkit::{FaultProxy, HookAction, ScratchDatabase, When, WireFault};

use crate::{assert_recorded, first_rows, import, open, settings, source, target};

async fn fence(source: &ScratchDatabase, fenced: bool) -> FenceReport {
    let mut database = open(&source.url()).await;
    Fence::new(&mut database, settings()).set(fenced).await.unwrap()
}

async fn begin(connection: &mut PgConnection) {
    sqlx::raw_sql("BEGIN").execute(connection).await.unwrap();
}

async fn commit(connection: &mut PgConnection) {
    sqlx::raw_sql("COMMIT").execute(connection).await.unwrap();
}

/// Takes a shard as the Go server does: the expected range id is that of the blob, which is 1 in the
/// recorded shards, and the row is locked and compared.
async fn take_shard(source: &ScratchDatabase, shard: i32, expected: i64, next: i64) -> bool {
    let mut connection = PgConnection::connect(&source.url()).await.unwrap();
    begin(&mut connection).await;
    let lock = "SELECT range_id FROM shards WHERE shard_id = $1 FOR UPDATE";
    let found: i64 = sqlx::query_scalar(lock).bind(shard).fetch_one(&mut connection).await.unwrap();
    if found != expected {
        return false;
    }
    let update = "UPDATE shards SET range_id = $1, data = $2, data_encoding = 'Proto3' \
                  WHERE shard_id = $3";
    let update = sqlx::query(update).bind(next).bind(&b"taken"[..]).bind(shard);
    update.execute(&mut connection).await.unwrap();
    commit(&mut connection).await;
    true
}

/// Writes an execution as the owner of its shard does.
async fn write_as_owner(source: &ScratchDatabase, shard: i32, range_id: i64) -> bool {
    let mut connection = PgConnection::connect(&source.url()).await.unwrap();
    begin(&mut connection).await;
    let lock = "SELECT range_id FROM shards WHERE shard_id = $1 FOR SHARE";
    let found: i64 = sqlx::query_scalar(lock).bind(shard).fetch_one(&mut connection).await.unwrap();
    if found != range_id {
        return false;
    }
    let update = "UPDATE executions SET db_record_version = db_record_version + 1 \
                  WHERE shard_id = $1";
    sqlx::query(update).bind(shard).execute(&mut connection).await.unwrap();
    commit(&mut connection).await;
    true
}

#[tokio::test]
async fn a_fenced_source_refuses_its_servers_and_is_imported_as_without_a_fence() {
    let Some(source) = source().await else { return };
    let all = FenceState { shards: 4, fenced: 4 };
    assert_eq!(fence(&source, true).await, FenceReport { changed: 4, after: all });
    // Doing it again changes nothing.
    assert_eq!(fence(&source, true).await, FenceReport { changed: 0, after: all });
    for shard in 1..=4 {
        assert!(!write_as_owner(&source, shard, 1).await, "shard {shard} is written");
        assert!(!take_shard(&source, shard, 1, 2).await, "shard {shard} is taken");
    }
    let target = target().await;
    let report = import(&source.url(), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert_eq!(report.shards, all);
    assert!(!report.notes.iter().any(|note| note.contains("not fenced")), "{report}");
    // The range ids are those of the blobs, so that servers can take the shards.
    assert_recorded(async |sql| target.query(&sql).await.unwrap()).await;
    let none = FenceState { shards: 4, fenced: 0 };
    assert_eq!(fence(&source, false).await, FenceReport { changed: 4, after: none });
    assert_eq!(fence(&source, false).await, FenceReport { changed: 0, after: none });
    // The fence is not part of what is compared.
    assert!(crate::verify(&source.url(), &target.url()).await.unwrap().is_exact());
    assert!(write_as_owner(&source, 1, 1).await);
    assert!(take_shard(&source, 1, 1, 2).await);
}

#[tokio::test]
async fn a_shard_that_is_taken_before_the_fence_keeps_its_range_id_through_it() {
    let Some(source) = source().await else { return };
    assert!(take_shard(&source, 2, 1, 7).await);
    fence(&source, true).await;
    assert!(!take_shard(&source, 2, 7, 8).await);
    fence(&source, false).await;
    let ids = source.query("SELECT range_id FROM shards ORDER BY shard_id").await.unwrap();
    let ids: Vec<_> = ids.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(ids, ["1", "7", "1", "1"]);
    assert!(take_shard(&source, 2, 7, 8).await);
}

#[tokio::test]
async fn a_write_that_has_begun_before_the_fence_ends_first() {
    let Some(source) = source().await else { return };
    let mut connection = PgConnection::connect(&source.url()).await.unwrap();
    begin(&mut connection).await;
    let lock = "SELECT range_id FROM shards WHERE shard_id = 1 FOR SHARE";
    sqlx::query(lock).execute(&mut connection).await.unwrap();
    let fencing = fence(&source, true);
    tokio::pin!(fencing);
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND query LIKE '%UPDATE shards%'";
    while source.query(waiting).await.unwrap().is_empty() {
        let moment = Duration::from_millis(10);
        assert!(tokio::time::timeout(moment, &mut fencing).await.is_err(), "it did not wait");
    }
    let update = "UPDATE executions SET db_record_version = 99 WHERE shard_id = 1";
    sqlx::query(update).execute(&mut connection).await.unwrap();
    commit(&mut connection).await;
    assert_eq!(fencing.await.changed, 4);
    assert!(!write_as_owner(&source, 1, 1).await);
}

/// A proxy before `target` that holds a chunk of an import until the sender is dropped.
fn held_chunk(target: &ScratchDatabase) -> (FaultProxy, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel();
    let proxy = FaultProxy::start(target.addr().unwrap()).unwrap();
    let hold = move || {
        // Nothing is sent.
        let _ = released.recv();
        HookAction::Continue
    };
    let insert = r#"INSERT INTO "history_node""#.to_owned();
    proxy.inject(When::Executing(insert), WireFault::before(hold));
    (proxy, release)
}

#[tokio::test]
async fn a_server_that_writes_during_an_import_makes_it_not_count() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let (proxy, release) = held_chunk(&target);
    // Without a fence, a server takes a shard after the snapshot.
    let observed = settings();
    let progress = observed.progress.clone();
    let server = async {
        first_rows(&progress).await;
        assert!(take_shard(&source, 3, 1, 2).await);
        drop(release);
    };
    let (from, to) = (source.url(), target.url_via(proxy.addr()));
    let (report, ()) = tokio::join!(import(&from, &to, observed), server);
    let report = report.unwrap();
    assert!(!report.is_exact(), "{report}");
    assert_eq!(report.objections.len(), 1, "{report}");
    assert!(report.objections[0].contains("have changed since the snapshot"), "{report}");
    // The copy is that of the snapshot.
    assert!(report.tables.iter().all(|table| table.is_exact()), "{report}");
}

#[tokio::test]
async fn a_server_that_runs_during_an_import_makes_it_not_count_whatever_its_clock_says() {
    let Some(source) = source().await else { return };
    fence(&source, true).await;
    for behind in ["0", "10 minutes"] {
        let target = target().await;
        // It has stopped before the import.
        source
            .execute("UPDATE cluster_membership SET last_heartbeat = '2020-01-01'")
            .await
            .unwrap();
        let (proxy, release) = held_chunk(&target);
        let settings = settings();
        let progress = settings.progress.clone();
        let server = async {
            first_rows(&progress).await;
            // It takes no shard: it is a frontend.
            let beat = format!(
                "UPDATE cluster_membership SET last_heartbeat = now() AT TIME ZONE 'UTC' \
                 - INTERVAL '{behind}' WHERE role = 1"
            );
            source.execute(&beat).await.unwrap();
            drop(release);
        };
        let (from, to) = (source.url(), target.url_via(proxy.addr()));
        let (report, ()) = tokio::join!(import(&from, &to, settings), server);
        let report = report.unwrap();
        let [objection] = &report.objections[..] else { panic!("{behind}: {report}") };
        let expected = "servers have run at the source since the snapshot: frontend at ";
        assert!(objection.starts_with(expected), "{behind}: {report}");
    }
}

#[tokio::test]
async fn a_fence_is_set_at_known_versions_and_taken_away_at_any() {
    let Some(source) = source().await else { return };
    fence(&source, true).await;
    source.execute("UPDATE schema_version SET curr_version = '1.20'").await.unwrap();
    let mut database = open(&source.url()).await;
    let error = Fence::new(&mut database, settings()).set(true).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ImportError::FenceRefused(_)), "{error:?}");
    assert!(text.starts_with("the fence of the source cannot be changed:"), "{text}");
    assert_eq!(fence(&source, false).await.changed, 4);
    let empty = ScratchDatabase::create().await.unwrap();
    let mut database = open(&empty.url()).await;
    let error = Fence::new(&mut database, settings()).set(false).await.unwrap_err();
    assert!(error.to_string().contains("the source has no table shards"), "{error}");
}

#[tokio::test]
async fn a_rehearsal_is_consistent_beside_a_server_that_writes() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let mut settings = settings();
    settings.rehearse = true;
    let progress = settings.progress.clone();
    let server = async {
        let mut writes = 0_u32;
        while progress.counts().phase != temporal_dsql_migrate::import::Phase::Proving {
            if progress.counts().total_rows > 0 {
                assert!(write_as_owner(&source, 1 + i32::try_from(writes % 4).unwrap(), 1).await);
                writes += 1;
            }
            tokio::task::yield_now().await;
        }
        writes
    };
    let (from, to) = (source.url(), target.url());
    let (report, writes) = tokio::join!(import(&from, &to, settings), server);
    let report = report.unwrap();
    assert!(report.is_exact(), "{report}");
    assert!(writes > 0, "the server wrote nothing");
    // The rows are those of the snapshot, which is the recorded state.
    assert_recorded(async |sql| target.query(&sql).await.unwrap()).await;
}
