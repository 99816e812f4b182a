//! Migrations on a PostgreSQL server: catalogs, refusals, and faults at every round trip.

mod access;
mod commands;
mod dependents;
mod differences;
#[path = "../support/errors.rs"]
mod errors;
#[path = "../support/go_tool.rs"]
mod go_tool;
mod other_tools;
mod round_trips;
mod schemas;
mod server;
#[path = "../support/spec.rs"]
mod spec;

use std::{net::SocketAddr, sync::LazyLock};

use errors::chain;
use sqlx::postgres::PgConnectOptions;
use temporal_dsql_client::connector_with;
use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{
    DEFAULT_DATABASE, DatabaseError, IgnoreProgress, MigrateError, Migrator, Overwrite, Plan,
    PostgresDatabase, Report, Rollback, Schema, Setup, Timeouts,
};
use temporal_dsql_testkit::ScratchDatabase;

const V1_0: SchemaVersion = SchemaVersion::new(1, 0);
const V1_1: SchemaVersion = SchemaVersion::new(1, 1);

/// The embedded schema up to 1.1, so that a later version changes no case.
fn embedded() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::embedded().unwrap().until(V1_1));
    &SCHEMA
}

fn options(url: &str) -> PgConnectOptions {
    url.parse().unwrap()
}

/// A connection as the owner of the database.
async fn connect(scratch: &ScratchDatabase) -> PostgresDatabase {
    open(options(&scratch.url())).await.unwrap()
}

/// The same, through a proxy.
async fn connect_via(scratch: &ScratchDatabase, proxy: SocketAddr) -> PostgresDatabase {
    open(options(&scratch.url_via(proxy))).await.unwrap()
}

async fn open(options: PgConnectOptions) -> Result<PostgresDatabase, DatabaseError> {
    PostgresDatabase::connect(connector_with(options), None, &Timeouts::default().retry).await
}

fn migrator(database: &mut PostgresDatabase) -> Migrator<'_> {
    Migrator::new(embedded(), database, DEFAULT_DATABASE, Timeouts::default(), &IgnoreProgress)
}

/// A command of the tool.
#[derive(Clone, Copy, Debug)]
enum Command {
    Setup(SchemaVersion),
    /// To 1.1.
    Update,
    /// To 1.0.
    Rollback,
    /// Drops all tables and sets up 1.1.
    Overwrite,
}

impl Command {
    async fn plan(self, migrator: &mut Migrator<'_>) -> Result<Plan, MigrateError> {
        match self {
            Self::Setup(version) => {
                let version = Some(version);
                migrator.plan_setup(&Setup { version, ..Setup::default() }).await
            }
            Self::Overwrite => {
                let version = Some(V1_1);
                let setup = Setup { version, ..Setup::default() };
                migrator.plan_overwrite(&Overwrite { setup, ..Overwrite::default() }).await
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

/// A database at `version`, or `None` without a server.
async fn at(version: SchemaVersion) -> Option<ScratchDatabase> {
    let scratch = ScratchDatabase::create().await?;
    Command::Setup(version).run(&mut connect(&scratch).await).await.unwrap();
    Some(scratch)
}

/// All rows of the version tables, with their timestamps.
async fn versions(scratch: &ScratchDatabase) -> Vec<Vec<Option<String>>> {
    let mut rows = scratch.query("SELECT * FROM schema_version ORDER BY db_name").await.unwrap();
    let history = "SELECT * FROM schema_update_history ORDER BY update_time";
    rows.extend(scratch.query(history).await.unwrap());
    rows
}

/// The old and new versions of the history, in order.
async fn history(scratch: &ScratchDatabase) -> Vec<String> {
    let query = "SELECT old_version || ' > ' || new_version FROM schema_update_history \
                 ORDER BY update_time";
    let rows = scratch.query(query).await.unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}
