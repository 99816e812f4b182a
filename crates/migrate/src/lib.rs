//! Sets up, upgrades, verifies and rolls back the schema of Temporal on Amazon Aurora DSQL.
//!
//! **The catalog is the only record of progress.** There is no lock, no lease and no table of running migrations.
//! Every step is one idempotent statement in its own transaction, as DSQL requires for DDL
//! (aurora-dsql.md#ddl-in-transactions), and the catalog shows whether the step is in effect *and
//! equal to its definition*. A run that ended early is continued by running it again, and runs can
//! be concurrent: each skips the steps that others have done. Only an
//! [overwrite](Migrator::plan_overwrite) must run alone, and no update beside a
//! [rollback](Migrator::plan_rollback), because they drop tables that others create.
//!
//! ```text
//! Schema ──────► Migrator ──► Plan ──► apply: probe → execute → probe
//! (files)           │      (data)                  │
//!                   └──────► SchemaDatabase ◄──────┘
//!                       (port; PostgresDatabase)
//! ```
//!
//! A [`Schema`] is read from the binary or from files. A [`Migrator`] checks the files of the
//! versions that a command needs, reads a [`SchemaDatabase`] and makes the [`Plan`] of the command,
//! which can be printed or applied.
//!
//! ```no_run
//! use temporal_dsql_migrate::{
//!     DEFAULT_DATABASE, Migrator, PostgresDatabase, Schema, Setup, IgnoreProgress, Timeouts,
//! };
//!
//! # async fn example(connector: temporal_dsql_client::Connector) -> Result<(), Box<dyn std::error::Error>> {
//! let schema = Schema::embedded()?;
//! let timeouts = Timeouts::default();
//! let mut database = PostgresDatabase::connect(connector, None, &timeouts.retry).await?;
//! let mut migrator =
//!     Migrator::new(&schema, &mut database, DEFAULT_DATABASE, timeouts, &IgnoreProgress);
//! let plan = migrator.plan_setup(&Setup::default()).await?;
//! let report = migrator.apply(&plan).await?;
//! println!("{} steps done", report.done);
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod adopt;
mod advice;
mod apply;
mod commands;
mod database;
mod digest;
mod error;
mod escape;
pub mod import;
mod index_build;
mod migrator;
mod objects;
mod plan;
mod postgres;
mod preflight;
mod progress;
mod retry;
#[cfg(test)]
mod retry_tests;
mod reversal;
mod schema;
mod status;
mod verify;
mod version_tables;

pub use temporal_dsql_domain::Engine;

pub use advice::Advice;
pub use apply::Report;
pub use commands::{Overwrite, Rollback, Setup};
pub use database::{
    BoxError, DatabaseError, Job, JobStatus, Row, Scan, SchemaDatabase, ServerError,
};
pub use digest::{Digest, RowKey};
pub use error::{MigrateError, RowCount};
pub use migrator::Migrator;
pub use objects::{
    Access, Catalog, CatalogIndex, ColumnDefinition, Dependent, Difference, IndexBuildState,
    IndexDefinition, Objects, RelationAccess, Scope, Seed, TableDefinition, compare_index,
    compare_table, normalise,
};
pub use plan::{Plan, Step, StepAction, StepState};
pub use postgres::{ConnectionCount, PostgresDatabase, SessionWatch};
pub use progress::{IgnoreProgress, Progress, ProgressObserver};
pub use retry::Timeouts;
pub use schema::{
    Change, Origin, Release, SCHEMA_NAME, SCHEMA_SQL, Schema, SchemaError, Statement,
};
pub use status::Status;
pub use verify::{OtherObject, Verification};
pub use version_tables::{
    CREATE_VERSION_TABLES, DEFAULT_DATABASE, Dml, HISTORY_TABLE, VERSION_TABLE, VersionChange,
    VersionRow,
};
