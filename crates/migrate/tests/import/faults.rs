//! Imports under faults: the next run, or this one, ends exact.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dsql_emulator::CommitRates;
use sqlx::{Connection, PgConnection};
use temporal_dsql_migrate::{
    Progress,
    import::{ImportError, Phase},
};
use temporal_dsql_testkit::{FaultProxy, ScratchDatabase, When, WireFault};

use crate::{assert_recorded, cluster, first_rows, import, settings, source, target};

/// The seed of a test, printed so that a failure can be repeated.
#[expect(clippy::print_stdout, reason = "a failure is repeated with the seed")]
fn seed(name: &str) -> u64 {
    let seed = std::env::var("IMPORT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("{name}: IMPORT_SEED={seed}");
    seed
}

#[tokio::test]
async fn an_import_under_commit_faults_is_exact() {
    let seed = seed("commit faults");
    let Some(source) = source().await else { return };
    for round in 0..2 {
        let cluster = cluster().await;
        let rates = CommitRates {
            conflict: 0.15,
            catalog_conflict: 0.05,
            unavailable: 0.1,
            lost_answer: 0.1,
        };
        cluster.faults().at_random(seed.wrapping_add(round), rates);
        let report = import(&source.url(), &cluster.url(), settings()).await.unwrap();
        assert!(report.is_exact(), "{report}");
        assert!(cluster.faults().report().commits > 0);
        cluster.faults().clear();
        assert_recorded(async |sql| cluster.query(&sql).await.unwrap()).await;
    }
}

/// A firewall forgets a connection on which nothing is sent while a statement reads a whole table.
#[tokio::test]
async fn the_source_keeps_each_connection_that_reads_the_snapshot_alive() {
    let Some(source) = source().await else { return };
    let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
    let target = target().await;
    let report = import(&source.url_via(proxy.addr()), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    let statements = proxy.statements();
    let count = |part| statements.iter().filter(|text| text.contains(part)).count();
    let sessions = count("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    assert!(sessions > 1, "{statements:#?}");
    assert_eq!(count("'tcp_keepalives_idle', 'tcp_keepalives_interval'"), sessions);
}

#[tokio::test]
async fn every_lost_answer_and_every_closed_connection_of_a_target_is_met() {
    let Some(source) = source().await else { return };
    let template = target().await;
    // The round trips of an import without a fault.
    let count = {
        let target = ScratchDatabase::create_from_template(&template).await.unwrap();
        let proxy = FaultProxy::start(target.addr().unwrap()).unwrap();
        import(&source.url(), &target.url_via(proxy.addr()), settings()).await.unwrap();
        proxy.round_trips()
    };
    assert!(count > 100, "{count}");
    let seed = seed("lost answers");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..6 {
        let target = ScratchDatabase::create_from_template(&template).await.unwrap();
        let proxy = FaultProxy::start(target.addr().unwrap()).unwrap();
        // Opening the first connections is not retried by an import.
        let mut faults = 0;
        for at in 20..count {
            if random.u8(..10) > 0 {
                continue;
            }
            let fault = match random.u8(..3) {
                0 => WireFault::LostAnswer,
                1 => WireFault::LostRequest,
                _ => WireFault::error("40001", "change conflicts with another transaction (OC000)"),
            };
            proxy.inject(When::RoundTrip(at), fault);
            faults += 1;
        }
        let url = target.url_via(proxy.addr());
        let report = import(&source.url(), &url, settings()).await.unwrap();
        assert!(report.is_exact(), "{report}");
        assert!(faults > 0 && proxy.pending_faults() < faults, "no fault happened");
        assert_recorded(async |sql| target.query(&sql).await.unwrap()).await;
    }
}

/// Fifty killed processes are a test of the tool (`tool/tests/command_line/import_kills.rs`); here the future is
/// dropped, as in a service that embeds the import.
#[tokio::test]
async fn an_import_that_was_dropped_anywhere_is_completed_by_the_next_run() {
    let seed = seed("drops");
    let mut random = fastrand::Rng::with_seed(seed);
    let Some(source) = source().await else { return };
    let template = target().await;
    for number in 0..8 {
        let target = ScratchDatabase::create_from_template(&template).await.unwrap();
        let settings = settings();
        let progress = settings.progress.clone();
        // A moment of the copy, or of the proof, which reads the rows again.
        let phase = [Phase::Copying, Phase::Proving][random.usize(..2)];
        let at = random.u64(1..1_500);
        let reached = async {
            while progress.counts().phase != phase || progress.counts().rows < at {
                tokio::task::yield_now().await;
            }
        };
        let (from, to) = (source.url(), target.url());
        // All sessions end where they are.
        tokio::select! {
            biased;
            () = reached => {}
            ended = import(&from, &to, settings) => panic!("import {number} ended: {ended:?}"),
        }
        let report = import(&source.url(), &target.url(), crate::settings()).await.unwrap();
        assert!(report.is_exact(), "import {number}, dropped at {phase:?} {at}: {report}");
        assert_recorded(async |sql| target.query(&sql).await.unwrap()).await;
    }
}

#[tokio::test]
async fn connections_of_the_source_that_are_cut_are_met_or_the_next_run_completes() {
    let seed = seed("cuts");
    let mut random = fastrand::Rng::with_seed(seed);
    let Some(source) = source().await else { return };
    let template = target().await;
    for cut in 0..6 {
        let target = ScratchDatabase::create_from_template(&template).await.unwrap();
        let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
        let url = source.url_via(proxy.addr());
        let settings = settings();
        let progress = settings.progress.clone();
        let at = random.u64(1..1_500);
        let cuts = async {
            while progress.counts().rows < at {
                tokio::task::yield_now().await;
            }
            proxy.cut();
        };
        let target_url = target.url();
        let attempt = import(&url, &target_url, settings);
        match tokio::join!(attempt, cuts).0 {
            Ok(report) => assert!(report.is_exact(), "cut {cut}: {report}"),
            // The session that holds the snapshot was cut, and a job needed another one.
            Err(ImportError::SnapshotLost(_)) => {}
            Err(error) => panic!("cut {cut} at {at}: {error}: {error:?}"),
        }
        let report = import(&source.url(), &target.url(), crate::settings()).await.unwrap();
        assert!(report.is_exact(), "cut {cut} at {at}: {report}");
        assert_recorded(async |sql| target.query(&sql).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_connection_that_fails_while_jobs_are_opened_is_opened_again() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
    let text = "SET TRANSACTION SNAPSHOT";
    for _ in 0..2 {
        proxy.inject(When::Executing(text.to_owned()), WireFault::LostAnswer);
    }
    let report = import(&source.url_via(proxy.addr()), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert_eq!(proxy.pending_faults(), 0);
    assert!(!report.notes.iter().any(|note| note.contains("jobs could run")), "{report}");
}

#[tokio::test]
async fn a_scan_whose_client_has_gone_ends() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let waiting = format!(
        "SELECT query FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'",
        source.name()
    );
    let waiting = async || source.query(&waiting).await.unwrap();
    let mut settings = settings();
    // Tables are counted by name, so the last one is not read yet when the first was.
    let counts = Arc::new(AtomicBool::new(false));
    let counting = Arc::clone(&counts);
    settings.observer = Arc::new(move |progress: Progress<'_>| {
        counting.fetch_or(matches!(progress, Progress::Reading { .. }), Ordering::Relaxed);
    });
    let (from, to) = (source.url(), target.url());
    let mut lock = PgConnection::connect(&from).await.unwrap();
    {
        let mut attempt = std::pin::pin!(import(&from, &to, settings));
        let moment = Duration::from_millis(1);
        while !counts.load(Ordering::Relaxed) {
            assert!(tokio::time::timeout(moment, &mut attempt).await.is_err(), "it ended");
        }
        let held = "BEGIN; LOCK TABLE visibility_tasks IN ACCESS EXCLUSIVE MODE";
        sqlx::raw_sql(held).execute(&mut lock).await.unwrap();
        while waiting().await.is_empty() {
            assert!(tokio::time::timeout(moment, &mut attempt).await.is_err(), "it ended");
        }
    }
    let start = tokio::time::Instant::now();
    while let [scan, ..] = &waiting().await[..] {
        assert!(start.elapsed() < Duration::from_secs(60), "goes on: {scan:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_snapshot_that_is_lost_after_the_copy_is_named() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
    let url = source.url_via(proxy.addr());
    let settings = settings();
    let progress = settings.progress.clone();
    let cut = async {
        while progress.counts().phase != Phase::Proving {
            tokio::task::yield_now().await;
        }
        proxy.cut();
    };
    // At the end, the shards are read in the snapshot once more.
    let target_url = target.url();
    let (result, ()) = tokio::join!(import(&url, &target_url, settings), cut);
    assert!(matches!(result, Err(ImportError::SnapshotLost(_))), "{result:?}");
    let report = import(&source.url(), &target.url(), crate::settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
}

/// The connection may break at the end, when the snapshot is not needed any more.
#[tokio::test]
async fn a_snapshot_that_is_not_needed_any_more_may_be_lost() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
    proxy.inject(When::Executing("COMMIT".to_owned()), WireFault::LostAnswer);
    let report = import(&source.url_via(proxy.addr()), &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert_eq!(proxy.pending_faults(), 0);
    let commits = proxy.statements().iter().filter(|text| text.contains("COMMIT")).count();
    assert_eq!(commits, 1, "another transaction of the source has had the fault");
}

/// A token of a managed database is valid for minutes, and a proof takes hours.
#[tokio::test]
async fn a_password_of_the_source_may_expire_after_the_copy_has_begun() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let role = format!("role_{}", source.name());
    let create = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'before'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    );
    source.execute(&create).await.unwrap();
    let from = source.url().replace("postgres@", &format!("{role}:before@"));
    let settings = settings();
    let progress = settings.progress.clone();
    let expiry = async {
        first_rows(&progress).await;
        source.execute(&format!("ALTER ROLE {role} PASSWORD 'after'")).await.unwrap();
    };
    let to = target.url();
    let (report, ()) = tokio::join!(import(&from, &to, settings), expiry);
    let report = report.unwrap();
    assert!(report.is_exact(), "{report}");
    assert!(PgConnection::connect(&from).await.is_err(), "the password has not expired");
    source.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn one_job_that_loses_its_session_of_the_source_continues_in_the_same_snapshot() {
    let Some(source) = source().await else { return };
    let target = target().await;
    let proxy = FaultProxy::start(source.addr().unwrap()).unwrap();
    let text = r#"FROM "timer_tasks" AS t ORDER BY"#;
    proxy.inject(When::Executing(text.to_owned()), WireFault::LostAnswer);
    let url = source.url_via(proxy.addr());
    let report = import(&url, &target.url(), settings()).await.unwrap();
    assert!(report.is_exact(), "{report}");
    assert_eq!(proxy.pending_faults(), 0);
}
