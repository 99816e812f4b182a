//! Index builds in the background: waiting, repairs and failures.

use std::sync::Mutex;

use temporal_dsql_migrate::{
    Difference, Engine, IgnoreProgress, IndexBuildState, Job, JobStatus, MigrateError, Migrator,
    Progress, Schema, SchemaDatabase, Setup, Statement, Timeouts,
};

use crate::{
    Command, V1_0, V1_1, chain, cluster_at, embedded,
    fake_cluster::{Behaviour, Cluster, Fault},
    migrator,
    spec::assert_is,
};

const INDEX: &str = "idx_namespaces_name";

fn invalidate(cluster: &Cluster) {
    cluster.change(|contents| {
        contents.catalog.indexes.get_mut(INDEX).unwrap().valid = false;
    });
}

/// The calls about the index.
fn calls_about_index(cluster: &Cluster) -> Vec<String> {
    let calls = cluster.take_calls();
    calls.into_iter().filter(|call| call.contains(INDEX)).collect()
}

#[tokio::test(start_paused = true)]
async fn t6_a_version_is_recorded_only_when_every_index_is_valid() {
    let cluster = Cluster::new(Behaviour { job_calls: 150, ..Behaviour::default() });
    let seen = Mutex::new(Vec::new());
    let observer = |progress: Progress<'_>| {
        if let Progress::Waiting { index, status, .. } = progress {
            seen.lock().unwrap().push((index.to_owned(), status));
        }
    };
    let mut session = cluster.session();
    let mut migrator =
        Migrator::new(embedded(), &mut session, "postgres", Timeouts::default(), &observer);
    let setup = Setup { version: Some(V1_1), ..Setup::default() };
    let plan = migrator.plan_setup(&setup).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
    let seen = seen.into_inner().unwrap();
    let indexes: std::collections::BTreeSet<_> = seen.iter().map(|(index, _)| index).collect();
    assert_eq!(indexes.len(), 7);
    assert!(seen.iter().any(|(_, status)| *status == Some(JobStatus::Processing)), "{seen:?}");
}

/// A cluster at 1.0 without one of its indexes.
async fn without_index(behaviour: Behaviour) -> Cluster {
    let cluster = Cluster::new(behaviour);
    Command::Setup(V1_0).run(cluster.session()).await.unwrap();
    cluster.change(|contents| {
        contents.catalog.indexes.remove(INDEX);
    });
    cluster.take_calls();
    cluster
}

#[tokio::test(start_paused = true)]
async fn all_builds_are_started_before_any_of_them_is_waited_for() {
    for job_calls in [1, 60, 200, 500] {
        let cluster = Cluster::new(Behaviour { job_calls, ..Behaviour::default() });
        Command::Setup(V1_1).run(cluster.session()).await.unwrap();
        let calls = cluster.take_calls();
        let at = |prefix: &str| -> Vec<usize> {
            let calls = calls.iter().enumerate();
            calls.filter(|(_, call)| call.starts_with(prefix)).map(|(at, _)| at).collect()
        };
        let (started, polled) = (at("create index"), at("jobs of"));
        assert_eq!(started.len(), 7);
        assert!(polled.iter().all(|poll| poll > started.last().unwrap()), "{calls:?}");
        // One read of the catalog serves the polls of all builds.
        let waiting = polled.first().copied().unwrap_or(calls.len());
        let reads = at("catalog").into_iter().filter(|at| *at > waiting).count();
        assert!(reads <= polled.len() / 4 + 3, "{reads} reads: {calls:?}");
        assert_is(&cluster.contents().catalog, V1_1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_needs_an_index_waits_for_its_build_and_no_other_step_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    let text = "CREATE TABLE a (id INT PRIMARY KEY, x INT);
                CREATE TABLE b (id INT PRIMARY KEY, y INT);
                CREATE UNIQUE INDEX ASYNC a_x ON a (x);
                CREATE INDEX ASYNC b_y ON b (y);
                CREATE TABLE c (id INT PRIMARY KEY);
                INSERT INTO c (id) VALUES (1) ON CONFLICT DO NOTHING;
                INSERT INTO a (id, x) VALUES (1, 1) ON CONFLICT DO NOTHING;
                ALTER TABLE b ADD COLUMN z INT;
                CREATE INDEX ASYNC b_z ON b (z);
                DROP INDEX b_y;";
    std::fs::write(&file, text).unwrap();
    let schema = Schema::from_file(&file, V1_0).unwrap();
    let cluster = Cluster::new(Behaviour { job_calls: 60, ..Behaviour::default() });
    let seen = Mutex::new(Vec::new());
    let observer = |progress: Progress<'_>| {
        if let Progress::Started { step, .. } = progress {
            let indexes = cluster.contents().catalog.indexes;
            let valid: Vec<_> =
                indexes.into_iter().map(|(name, found)| (name, found.valid)).collect();
            seen.lock().unwrap().push((step.summary(), valid));
        }
    };
    let mut session = cluster.session();
    let mut migrator =
        Migrator::new(&schema, &mut session, "postgres", Timeouts::default(), &observer);
    let plan = migrator.plan_setup(&Setup::default()).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    let seen = seen.into_inner().unwrap();
    let at = |summary: &str| -> Vec<(String, bool)> {
        seen.iter().find(|(step, _)| step.starts_with(summary)).unwrap().1.clone()
    };
    let indexes = |of: &[(&str, bool)]| -> Vec<(String, bool)> {
        of.iter().map(|(name, valid)| ((*name).to_owned(), *valid)).collect()
    };
    assert_eq!(at("create table c"), indexes(&[("a_x", false), ("b_y", false)]));
    assert_eq!(at("insert the initial row of c"), indexes(&[("a_x", false), ("b_y", false)]));
    assert_eq!(at("insert the initial row of a"), indexes(&[("a_x", true), ("b_y", true)]));
    assert_eq!(at("drop index b_y"), indexes(&[("a_x", true), ("b_y", true), ("b_z", true)]));
    assert_eq!(at("record"), indexes(&[("a_x", true), ("b_z", true)]));
}

#[tokio::test(start_paused = true)]
async fn verify_never_calls_a_healthy_build_failed() {
    // The job ends at any call of the verification, and is visible at once or later.
    for (job_calls, hidden_jobs) in (1..30).flat_map(|calls| [(calls, 0), (calls, calls / 2)]) {
        let cluster = without_index(Behaviour::default()).await;
        cluster.behave(|behaviour| {
            behaviour.job_calls = job_calls;
            behaviour.hidden_jobs = hidden_jobs;
        });
        let mut session = cluster.session();
        let build =
            Statement::parse(&format!("CREATE UNIQUE INDEX ASYNC {INDEX} ON namespaces (name)"));
        session.execute(&build.unwrap()).await.unwrap();
        let found = migrator(embedded(), &mut session).verify(None).await.unwrap();
        let building =
            Difference::InvalidIndex { index: INDEX.to_owned(), build: IndexBuildState::Running };
        assert!(
            found.is_clean() || found.differences == [building],
            "{job_calls}, {hidden_jobs}: {found}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn verify_calls_a_build_failed_if_its_job_says_so_or_there_is_none() {
    for (removes_ended_jobs, build) in
        [(false, IndexBuildState::Failed), (true, IndexBuildState::Unknown)]
    {
        let cluster =
            abandoned_index(Behaviour { removes_ended_jobs, ..Behaviour::default() }).await;
        let mut session = cluster.session();
        let found = migrator(embedded(), &mut session).verify(None).await.unwrap();
        let failed = Difference::InvalidIndex { index: INDEX.to_owned(), build };
        assert_eq!(found.differences, [failed]);
        assert!(found.to_string().contains("is invalid: its build failed"), "{found}");
    }
}

#[tokio::test(start_paused = true)]
async fn t6_an_invalid_index_without_a_job_is_dropped_and_rebuilt() {
    for removes_ended_jobs in [true, false] {
        let cluster = cluster_at(V1_0).await;
        cluster.behave(|behaviour| behaviour.removes_ended_jobs = removes_ended_jobs);
        invalidate(&cluster);
        cluster.take_calls();
        Command::Update(V1_1).run(cluster.session()).await.unwrap();
        assert_is(&cluster.contents().catalog, V1_1);
        let writes: Vec<_> = calls_about_index(&cluster)
            .into_iter()
            .filter(|call| !call.starts_with("jobs"))
            .collect();
        assert_eq!(writes, [format!("drop index {INDEX}"), format!("create index {INDEX}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_that_another_run_is_building_is_waited_for_and_not_dropped() {
    let slow = || Cluster::new(Behaviour { job_calls: 400, ..Behaviour::default() });
    // The first run is killed after it has started the build.
    let mut cluster = slow();
    for call in 1.. {
        let (session, signal) = cluster.session().with_fault(call, Fault::KillAfter);
        tokio::select! {
            biased;
            () = signal.killed() => {}
            result = Command::Setup(V1_1).run(session) => panic!("it ended: {result:?}"),
        }
        if cluster.contents().catalog.indexes.contains_key(INDEX) {
            break;
        }
        cluster = slow();
    }
    assert!(!cluster.contents().catalog.indexes[INDEX].valid);
    cluster.take_calls();
    Command::Setup(V1_1).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
    let calls = calls_about_index(&cluster);
    assert!(!calls.is_empty());
    assert!(calls.iter().all(|call| call.starts_with("jobs of")), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_appears_later_than_its_index_is_waited_for() {
    let cluster = without_index(Behaviour { job_calls: 6, ..Behaviour::default() }).await;
    cluster.behave(|behaviour| behaviour.hidden_jobs = 4);
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    let calls = cluster.take_calls();
    assert!(!calls.iter().any(|call| call.starts_with("drop index")), "{calls:?}");
    assert_is(&cluster.contents().catalog, V1_1);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_failed_job_does_not_fail_a_valid_index() {
    // A job of two calls ends between the read of the catalog and the read of its jobs.
    for job_calls in 1..6 {
        let stale_job = Job {
            id: "earlier-job".to_owned(),
            status: JobStatus::Failed,
            details: "Found duplicate key".to_owned(),
        };
        let behaviour = Behaviour { job_calls, stale_job: Some(stale_job), ..Behaviour::default() };
        let cluster = without_index(behaviour).await;
        Command::Update(V1_1).run(cluster.session()).await.unwrap();
        let calls = cluster.take_calls();
        assert!(!calls.iter().any(|call| call.starts_with("drop")), "{job_calls}: {calls:?}");
        assert_is(&cluster.contents().catalog, V1_1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_drop_of_an_abandoned_index_may_lose_more_conflicts_than_the_rebuild_limit() {
    for removes_ended_jobs in [true, false] {
        let cluster =
            abandoned_index(Behaviour { removes_ended_jobs, ..Behaviour::default() }).await;
        let drop = format!("drop index {INDEX}");
        cluster.behave(|behaviour| behaviour.contended = Some((drop.clone(), 9)));
        Command::Update(V1_1).run(cluster.session()).await.unwrap();
        assert_is(&cluster.contents().catalog, V1_1);
        let calls = calls_about_index(&cluster);
        let writes: Vec<_> = calls.iter().filter(|call| !call.starts_with("jobs")).collect();
        assert_eq!(writes, [&drop, &format!("create index {INDEX}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drop_that_always_conflicts_ends_at_the_deadline_with_the_last_conflict() {
    for removes_ended_jobs in [true, false] {
        let cluster =
            abandoned_index(Behaviour { removes_ended_jobs, ..Behaviour::default() }).await;
        let drop = format!("drop index {INDEX}");
        cluster.behave(|behaviour| behaviour.contended = Some((drop.clone(), u32::MAX)));
        let repairs = Mutex::new(0);
        let observer = |progress: Progress<'_>| {
            if let Progress::Repairing { .. } = progress {
                *repairs.lock().unwrap() += 1;
            }
        };
        let start = tokio::time::Instant::now();
        let mut session = cluster.session();
        let timeouts = Timeouts::default();
        let mut migrator = Migrator::new(embedded(), &mut session, "postgres", timeouts, &observer);
        let plan = migrator.plan_update(None).await.unwrap();
        let error = migrator.apply(&plan).await.unwrap_err();
        let MigrateError::DeadlineExceeded { action, attempts, .. } = &error else {
            panic!("{}", chain(&error));
        };
        assert_eq!(*action, drop);
        assert!(*attempts > 20, "{attempts}");
        assert!(start.elapsed() < timeouts.retry.deadline + timeouts.job_visibility * 2);
        assert_eq!(repairs.into_inner().unwrap(), 1, "it is reported once");
    }
}

/// A cluster at 1.0 with an invalid unique index, whose job has failed.
async fn abandoned_index(behaviour: Behaviour) -> Cluster {
    let cluster = Cluster::new(behaviour);
    cluster.behave(|behaviour| behaviour.duplicates.push(INDEX.to_owned()));
    Command::Setup(V1_0).run(cluster.session()).await.unwrap_err();
    cluster.behave(|behaviour| behaviour.duplicates.clear());
    // The rest of the setup.
    let whole = cluster_at(V1_0).await.contents();
    cluster.change(|contents| {
        let oid = contents.catalog.indexes[INDEX].oid;
        *contents = whole;
        let left = contents.catalog.indexes.get_mut(INDEX).unwrap();
        left.oid = oid;
        left.valid = false;
    });
    cluster.take_calls();
    cluster
}

#[tokio::test(start_paused = true)]
async fn t6_a_failed_build_is_reported_with_details_and_remedy() {
    let cluster = Cluster::new(Behaviour::default());
    cluster.behave(|behaviour| behaviour.duplicates.push(INDEX.to_owned()));
    let error = Command::Setup(V1_1).run(cluster.session()).await.unwrap_err();
    let text = error.to_string();
    for part in [
        "index idx_namespaces_name could not be built",
        "Found duplicate key while validating index for UCVs",
        "remove the duplicates in namespaces (name)",
        "run the command again",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(cluster.contents().versions.is_empty(), "no version is recorded");
    // The operator removes the duplicates and runs the command again.
    cluster.behave(|behaviour| behaviour.duplicates.clear());
    Command::Setup(V1_1).run(cluster.session()).await.unwrap();
    assert_is(&cluster.contents().catalog, V1_1);
}

#[tokio::test(start_paused = true)]
async fn on_postgresql_a_duplicate_is_reported_at_once_with_the_same_error() {
    let cluster = Cluster::new(Behaviour {
        engine: Engine::Postgres,
        duplicates: vec![INDEX.to_owned()],
        ..Behaviour::default()
    });
    let start = tokio::time::Instant::now();
    let error = Command::Setup(V1_1).run(cluster.session()).await.unwrap_err();
    assert!(matches!(&error, MigrateError::IndexBuild { index, .. } if index == INDEX), "{error}");
    assert!(start.elapsed() < Timeouts::default().retry.deadline);
}

#[tokio::test(start_paused = true)]
async fn a_build_that_exceeds_the_timeout_continues_and_the_next_run_waits_for_it() {
    let cluster = cluster_at(V1_0).await;
    let mut session = cluster.session();
    let mut timeouts = Timeouts::default();
    timeouts.index_build = std::time::Duration::ZERO;
    cluster.change(|contents| {
        contents.catalog.indexes.remove(INDEX);
    });
    cluster.behave(|behaviour| behaviour.job_calls = 50);
    let mut impatient =
        Migrator::new(embedded(), &mut session, "postgres", timeouts, &IgnoreProgress);
    let plan = impatient.plan_update(None).await.unwrap();
    let error = impatient.apply(&plan).await.unwrap_err();
    assert!(matches!(error, MigrateError::StillBuilding { .. }), "{error}");
    Command::Update(V1_1).run(cluster.session()).await.unwrap();
    let calls = cluster.take_calls();
    assert!(!calls.iter().any(|call| call.starts_with("drop index")), "{calls:?}");
    assert_is(&cluster.contents().catalog, V1_1);
}

#[tokio::test(start_paused = true)]
async fn an_index_that_stays_invalid_after_rebuilds_is_an_error() {
    let cluster = cluster_at(V1_0).await;
    invalidate(&cluster);
    // Its jobs fail, and are deleted at once.
    cluster.behave(|behaviour| {
        behaviour.duplicates.push(INDEX.to_owned());
        behaviour.removes_ended_jobs = true;
    });
    let error = Command::Update(V1_1).run(cluster.session()).await.unwrap_err();
    assert!(chain(&error).contains("still invalid"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_schema_file_that_builds_an_index_synchronously_is_refused_for_dsql_before_anything_runs()
{
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    let text = "CREATE TABLE t (a INT PRIMARY KEY); CREATE INDEX i ON t (a);";
    std::fs::write(&file, text).unwrap();
    let schema = Schema::from_file(&file, V1_0).unwrap();
    for (engine, is_refused) in [(Engine::Dsql, true), (Engine::Postgres, false)] {
        let cluster = Cluster::new(Behaviour { engine, ..Behaviour::default() });
        let mut session = cluster.session();
        let plan = migrator(&schema, &mut session).plan_setup(&Setup::default()).await;
        match plan {
            Err(MigrateError::SynchronousIndex { index }) => {
                assert_eq!((&*index, is_refused), ("i", true))
            }
            other => assert!(other.is_ok() && !is_refused),
        }
    }
}
