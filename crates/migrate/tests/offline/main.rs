//! Migrations on a fake cluster in memory.

mod adopting;
mod catalog_reads;
mod commands;
mod concurrent;
mod custom_schemas;
mod dependents;
mod differences;
#[path = "../support/errors.rs"]
mod errors;
mod fake_cluster;
mod indexes;
mod interruptions;
mod overwriting;
mod preflight;
mod reports;
mod rollbacks;
mod schema_files;
#[path = "../support/spec.rs"]
mod spec;

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use errors::chain;
use fake_cluster::{Behaviour, Cluster, Session};
use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{
    DEFAULT_DATABASE, IgnoreProgress, MigrateError, Migrator, Overwrite, Plan, Report, Rollback,
    Schema, Setup, Timeouts,
};

const V1_0: SchemaVersion = SchemaVersion::new(1, 0);
const V1_1: SchemaVersion = SchemaVersion::new(1, 1);

/// The embedded schema up to 1.1, so that a later version changes no case.
fn embedded() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::embedded().unwrap().until(V1_1));
    &SCHEMA
}

/// The newest version of this schema.
fn newest() -> SchemaVersion {
    embedded().newest()
}

/// A command of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Setup(SchemaVersion),
    Update(SchemaVersion),
    Rollback(SchemaVersion),
    RollbackWithRows(SchemaVersion),
    /// Drops all tables and sets up.
    Overwrite(SchemaVersion),
}

impl Command {
    async fn plan(self, migrator: &mut Migrator<'_>) -> Result<Plan, MigrateError> {
        match self {
            Self::Setup(version) => {
                let version = Some(version);
                migrator.plan_setup(&Setup { version, ..Setup::default() }).await
            }
            Self::Overwrite(version) => {
                let version = Some(version);
                let setup = Setup { version, ..Setup::default() };
                migrator.plan_overwrite(&Overwrite { setup, ..Overwrite::default() }).await
            }
            Self::Update(version) => migrator.plan_update(Some(version)).await,
            Self::Rollback(to) => {
                migrator
                    .plan_rollback(&Rollback { to, with_rows: false, drop_dependents: false })
                    .await
            }
            Self::RollbackWithRows(to) => {
                migrator
                    .plan_rollback(&Rollback { to, with_rows: true, drop_dependents: false })
                    .await
            }
        }
    }

    /// Runs the command with the embedded schema.
    async fn run(self, mut session: Session) -> Result<Report, MigrateError> {
        self.run_with(embedded(), &mut session).await
    }

    async fn run_with(
        self,
        schema: &Schema,
        session: &mut Session,
    ) -> Result<Report, MigrateError> {
        let mut migrator = migrator(schema, session);
        let plan = self.plan(&mut migrator).await?;
        migrator.apply(&plan).await
    }
}

fn migrator<'a>(schema: &'a Schema, session: &'a mut Session) -> Migrator<'a> {
    Migrator::new(schema, session, DEFAULT_DATABASE, Timeouts::default(), &IgnoreProgress)
}

/// A cluster at `version`: a copy of the first one at this version.
async fn cluster_at(version: SchemaVersion) -> Cluster {
    static CLUSTERS: Mutex<BTreeMap<SchemaVersion, Cluster>> = Mutex::new(BTreeMap::new());
    let first = CLUSTERS.lock().unwrap().get(&version).map(Cluster::copied);
    if let Some(copy) = first {
        return copy;
    }
    let cluster = Cluster::new(Behaviour::default());
    Command::Setup(version).run(cluster.session()).await.unwrap();
    cluster.take_calls();
    CLUSTERS.lock().unwrap().insert(version, cluster.copied());
    cluster
}

/// The old and new versions of the history, in order.
fn history(cluster: &Cluster) -> Vec<(String, String)> {
    cluster.contents().history.into_iter().map(|row| (row.old, row.new)).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
}
