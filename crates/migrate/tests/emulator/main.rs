//! Migrations on the DSQL emulator, over TLS with a token: one DDL statement per transaction, index
//! builds by jobs, and conflicts at COMMIT.

mod concurrent;
#[path = "../support/errors.rs"]
mod errors;
mod faults;
#[path = "../support/go_tool.rs"]
mod go_tool;
mod jobs;
mod other_tools;
#[path = "../support/spec.rs"]
mod spec;

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dsql_emulator::{DsqlEmulatorBuilder, JobDelays};
use errors::chain;
use sqlx::postgres::PgConnectOptions;
use temporal_dsql_client::connector_with;
use temporal_dsql_domain::{Engine, SchemaVersion};
use temporal_dsql_migrate::{
    DEFAULT_DATABASE, DatabaseError, IgnoreProgress, MigrateError, Migrator, Plan,
    PostgresDatabase, Progress, Report, Rollback, Schema, SchemaDatabase, Setup, Timeouts,
};
use temporal_dsql_testkit::ScratchCluster;

use crate::spec::{assert_is, whole};

const V1_0: SchemaVersion = SchemaVersion::new(1, 0);
const V1_1: SchemaVersion = SchemaVersion::new(1, 1);
/// Long enough for the migrator to see an invalid index.
const JOBS: JobDelays = JobDelays {
    start: Duration::from_millis(5),
    work: Duration::from_millis(20),
    kept: Duration::from_secs(30 * 60),
};

/// The embedded schema up to 1.1, so that a later version changes no case.
fn embedded() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::embedded().unwrap().until(V1_1));
    &SCHEMA
}

fn quick(builder: DsqlEmulatorBuilder) -> DsqlEmulatorBuilder {
    builder.job_delays(JOBS)
}

/// As short as the jobs of these tests.
fn timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.poll = Duration::from_millis(10);
    timeouts.retry.base = Duration::from_millis(5);
    timeouts.retry.cap = Duration::from_millis(100);
    timeouts
}

/// A connection as `admin`.
async fn connect(cluster: &ScratchCluster) -> PostgresDatabase {
    let options: PgConnectOptions = cluster.url().parse().unwrap();
    PostgresDatabase::connect(connector_with(options), None, &timeouts().retry).await.unwrap()
}

fn migrator(database: &mut PostgresDatabase) -> Migrator<'_> {
    Migrator::new(embedded(), database, DEFAULT_DATABASE, timeouts(), &IgnoreProgress)
}

/// A command of the tool.
#[derive(Clone, Copy, Debug)]
enum Command {
    Setup(SchemaVersion),
    /// To 1.1.
    Update,
    /// To 1.0.
    Rollback,
}

impl Command {
    async fn plan(self, migrator: &mut Migrator<'_>) -> Result<Plan, MigrateError> {
        match self {
            Self::Setup(version) => {
                let version = Some(version);
                migrator.plan_setup(&Setup { version, ..Setup::default() }).await
            }
            Self::Update => migrator.plan_update(Some(V1_1)).await,
            Self::Rollback => {
                migrator
                    .plan_rollback(&Rollback { to: V1_0, with_rows: false, drop_dependents: false })
                    .await
            }
        }
    }

    async fn run(self, database: &mut PostgresDatabase) -> Result<Report, MigrateError> {
        let mut migrator = migrator(database);
        let plan = self.plan(&mut migrator).await?;
        migrator.apply(&plan).await
    }
}

/// A cluster at `version`, or `None` without a server.
async fn at(version: SchemaVersion) -> Option<ScratchCluster> {
    let cluster = ScratchCluster::create(quick).await?;
    Command::Setup(version).run(&mut connect(&cluster).await).await.unwrap();
    Some(cluster)
}

/// The old and new versions of the history, in order.
async fn history(cluster: &ScratchCluster) -> Vec<String> {
    let sql = "SELECT old_version || ' > ' || new_version FROM schema_update_history \
               ORDER BY update_time";
    let rows = cluster.query(sql).await.unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// Asserts that the catalog is that of the specification, and the history is `expected`.
async fn assert_at(cluster: &ScratchCluster, version: SchemaVersion, expected: &[&str]) {
    let mut database = connect(cluster).await;
    assert_is(&database.catalog(&whole()).await.unwrap(), version);
    let found = migrator(&mut database).verify(None).await.unwrap();
    assert!(found.is_clean(), "{found}");
    assert_eq!(history(cluster).await, expected);
}

#[tokio::test]
async fn setup_update_and_rollback_make_the_catalogs_of_the_specification() {
    for version in [V1_0, V1_1] {
        let Some(cluster) = at(version).await else { return };
        assert_eq!(connect(&cluster).await.engine(), Engine::Dsql);
        assert_at(&cluster, version, &[&format!("0 > {version}")]).await;
    }
    let Some(cluster) = at(V1_0).await else { return };
    let mut database = connect(&cluster).await;
    Command::Update.run(&mut database).await.unwrap();
    assert_at(&cluster, V1_1, &["0 > 1.0", "1.0 > 1.1"]).await;
    Command::Rollback.run(&mut database).await.unwrap();
    assert_at(&cluster, V1_0, &["0 > 1.0", "1.0 > 1.1", "1.1 > 1.0"]).await;
}

#[tokio::test]
async fn a_dependent_view_refuses_a_rollback_and_is_dropped_on_request() {
    let Some(cluster) = at(V1_1).await else { return };
    cluster
        .query("CREATE VIEW report AS SELECT run_id FROM current_chasm_executions")
        .await
        .unwrap();
    let key = "CREATE TABLE invoices (id INT PRIMARY KEY, shard_id INT REFERENCES shards)";
    cluster.query(key).await.unwrap();
    let mut database = connect(&cluster).await;
    let error = Command::Rollback.run(&mut database).await.unwrap_err();
    assert!(matches!(error, MigrateError::HasDependents { can_drop: true, .. }), "{error}");
    assert_eq!(history(&cluster).await, ["0 > 1.1"]);
    let shards = database.dependents(&["shards".to_owned()]).await.unwrap().unwrap();
    assert_eq!(shards.len(), 1, "{shards:?}");
    let mut migrator = migrator(&mut database);
    let rollback = Rollback { to: V1_0, with_rows: false, drop_dependents: true };
    let plan = migrator.plan_rollback(&rollback).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    assert_eq!(history(&cluster).await, ["0 > 1.1", "1.1 > 1.0"]);
    for dependent in shards {
        cluster.query(&dependent.drop.unwrap()).await.unwrap();
    }
    let left = connect(&cluster).await.dependents(&["shards".to_owned()]).await.unwrap();
    assert_eq!(left, Some(Vec::new()));
}

#[tokio::test]
async fn running_a_command_again_changes_nothing() {
    let Some(cluster) = at(V1_1).await else { return };
    let rows = "SELECT * FROM schema_version, schema_update_history";
    let before = cluster.query(rows).await.unwrap();
    let mut database = connect(&cluster).await;
    for command in [Command::Setup(V1_1), Command::Update] {
        assert_eq!(command.run(&mut database).await.unwrap().done, 0, "{command:?}");
        assert_eq!(cluster.query(rows).await.unwrap(), before, "{command:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_closed_for_its_age_is_replaced_on_the_way() {
    let age = Duration::from_secs(60);
    let Some(cluster) = ScratchCluster::create(|builder| {
        let mut limits = dsql_emulator::Limits::default();
        limits.session_age = age;
        quick(builder).limits(limits)
    })
    .await
    else {
        return;
    };
    let lost = AtomicUsize::new(0);
    // The cluster's clock advances by more than the session age during the run.
    let observer = |progress: Progress<'_>| match progress {
        Progress::Finished { number: 10, .. } => cluster.faults().shift_clock(2 * age),
        Progress::Retrying { error: DatabaseError::Lost { .. }, .. } => {
            lost.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    };
    let mut database = connect(&cluster).await;
    let mut migrator =
        Migrator::new(embedded(), &mut database, DEFAULT_DATABASE, timeouts(), &observer);
    let plan = Command::Setup(V1_1).plan(&mut migrator).await.unwrap();
    migrator.apply(&plan).await.unwrap();
    assert_eq!(lost.into_inner(), 1, "sessions that were too old");
    let catalog = connect(&cluster).await.catalog(&whole()).await.unwrap();
    assert_is(&catalog, V1_1);
    assert_eq!(history(&cluster).await, ["0 > 1.1"]);
}
