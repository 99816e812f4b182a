//! Index builds by jobs: waiting, continuing an earlier build, and failures.

use std::time::{Duration, Instant};

use dsql_emulator::JobDelays;
use temporal_dsql_migrate::{
    DEFAULT_DATABASE, MigrateError, Migrator, Progress, ProgressObserver, Report,
};
use temporal_dsql_testkit::ScratchCluster;
use tokio::sync::Notify;

use crate::{
    Command, JOBS, V1_0, V1_1, assert_at, at, chain, connect, embedded, history, quick, timeouts,
};

#[tokio::test]
async fn a_setup_ends_when_every_index_is_valid() {
    let delays = JobDelays { work: Duration::from_millis(150), ..JOBS };
    let Some(cluster) = ScratchCluster::create(|builder| builder.job_delays(delays)).await else {
        return;
    };
    Command::Setup(V1_1).run(&mut connect(&cluster).await).await.unwrap();
    let invalid = "SELECT indexrelid FROM pg_index WHERE NOT indisvalid";
    assert_eq!(cluster.query(invalid).await.unwrap().len(), 0);
    let jobs = "SELECT status, count(*) FROM sys.jobs GROUP BY status";
    assert_eq!(
        cluster.query(jobs).await.unwrap(),
        [["completed", "7"].map(|t| Some(t.to_owned()))]
    );
}

async fn setup(
    cluster: &ScratchCluster,
    observer: &dyn ProgressObserver,
) -> Result<Report, MigrateError> {
    let mut database = connect(cluster).await;
    let mut migrator =
        Migrator::new(embedded(), &mut database, DEFAULT_DATABASE, timeouts(), observer);
    let plan = Command::Setup(V1_0).plan(&mut migrator).await?;
    migrator.apply(&plan).await
}

#[tokio::test]
async fn a_running_build_of_an_earlier_run_is_waited_for_and_not_restarted() {
    let Some(cluster) = ScratchCluster::create(quick).await else { return };
    cluster.faults().hold_jobs();
    let waits = Notify::new();
    let observer = |progress: Progress<'_>| {
        if matches!(progress, Progress::Waiting { .. }) {
            waits.notify_one();
        }
    };
    tokio::select! {
        ended = setup(&cluster, &observer) => panic!("it did not wait: {ended:?}"),
        () = waits.notified() => {}
    }
    // The builds end only if the second run waits for one.
    let observer = |progress: Progress<'_>| {
        if matches!(progress, Progress::Waiting { .. }) {
            cluster.faults().release_jobs();
        }
    };
    setup(&cluster, &observer).await.unwrap();
    assert_at(&cluster, V1_0, &["0 > 1.0"]).await;
    let jobs = cluster.query("SELECT object_name FROM sys.jobs").await.unwrap();
    assert_eq!(jobs.len(), 7, "{jobs:?}");
}

#[tokio::test]
async fn a_unique_index_over_duplicates_is_reported_and_rebuilt_after_their_removal() {
    let Some(cluster) = at(V1_0).await else { return };
    cluster.query("DROP INDEX idx_namespaces_name").await.unwrap();
    let duplicates = "INSERT INTO namespaces SELECT 54321, gen_random_uuid(), 'twice', 0, '', '', \
                      false FROM generate_series(1, 2)";
    cluster.query(duplicates).await.unwrap();
    let mut database = connect(&cluster).await;
    let error = Command::Update.run(&mut database).await.unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, MigrateError::IndexBuild { .. }), "{text}");
    assert!(text.contains("idx_namespaces_name"), "{text}");
    assert_eq!(history(&cluster).await, ["0 > 1.0"]);
    cluster.query("DELETE FROM namespaces").await.unwrap();
    Command::Update.run(&mut database).await.unwrap();
    assert_at(&cluster, V1_1, &["0 > 1.0", "1.0 > 1.1"]).await;
}

#[tokio::test]
async fn an_index_whose_job_has_failed_is_dropped_and_built_again_by_a_setup() {
    let Some(cluster) = at(V1_1).await else { return };
    cluster.query("DROP INDEX cm_idx_lasthb").await.unwrap();
    cluster.query("DELETE FROM schema_version").await.unwrap();
    cluster.query("DELETE FROM schema_update_history").await.unwrap();
    // A build over duplicates leaves an invalid index.
    cluster.query("DROP INDEX idx_namespaces_name").await.unwrap();
    let duplicates = "INSERT INTO namespaces SELECT 54321, gen_random_uuid(), 'twice', 0, '', '', \
                      false FROM generate_series(1, 2)";
    cluster.query(duplicates).await.unwrap();
    let build = "CREATE UNIQUE INDEX ASYNC idx_namespaces_name ON namespaces (name)";
    cluster.query(build).await.unwrap();
    // After its end: a setup would wait for a running build and report its failure.
    failed_build(&cluster).await;
    cluster.query("DELETE FROM namespaces").await.unwrap();
    Command::Setup(V1_1).run(&mut connect(&cluster).await).await.unwrap();
    assert_at(&cluster, V1_1, &["0 > 1.1"]).await;
}

#[tokio::test]
async fn the_job_of_a_dropped_index_is_not_attributed_to_its_successor() {
    let Some(cluster) = at(V1_0).await else { return };
    cluster.query("DROP INDEX idx_namespaces_name").await.unwrap();
    let duplicates = "INSERT INTO namespaces SELECT 54321, gen_random_uuid(), 'twice', 0, '', '', \
                      false FROM generate_series(1, 2)";
    cluster.query(duplicates).await.unwrap();
    let build = "CREATE UNIQUE INDEX ASYNC idx_namespaces_name ON namespaces (name)";
    cluster.query(build).await.unwrap();
    assert_eq!(failed_build(&cluster).await.as_deref(), Some("public.idx_namespaces_name"));
    cluster.query("DROP INDEX idx_namespaces_name").await.unwrap();
    assert_eq!(failed_build(&cluster).await, None);
    cluster.query("DELETE FROM namespaces").await.unwrap();
    let before = cluster.query("SELECT 1 FROM sys.jobs").await.unwrap().len();
    Command::Update.run(&mut connect(&cluster).await).await.unwrap();
    let jobs = "SELECT status, job_type FROM sys.jobs ORDER BY start_time DESC";
    let jobs = cluster.query(jobs).await.unwrap();
    assert_eq!(jobs.len() - before, 1, "one build and no drop: {jobs:?}");
    assert_eq!(jobs[0], ["completed", "INDEX_BUILD"].map(|text| Some(text.to_owned())));
}

/// Waits until a build has failed, and returns the object name of its job.
async fn failed_build(cluster: &ScratchCluster) -> Option<String> {
    let mut admin = cluster.admin();
    let failed = "SELECT object_name FROM sys.jobs WHERE status = 'failed'";
    let begun = Instant::now();
    loop {
        if let Some(mut row) = admin.query(failed).await.unwrap().pop() {
            return row.pop().flatten();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no build has failed");
        tokio::time::sleep(JOBS.work).await;
    }
}
