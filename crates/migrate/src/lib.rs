//! Sets up, upgrades, verifies and rolls back the schema of Temporal on Amazon Aurora DSQL.
//!
//! **The catalog is the journal.** There is no lock, no lease and no table of migrations that are
//! under way. Every step is one idempotent statement in a transaction of its own, as DSQL demands
//! of DDL anyway (aurora-dsql.md#ddl-in-transactions), and the catalog tells whether it is in
//! effect *and equal to its definition*. So a run that died anywhere is resumed by running it
//! again, and any number of runs may go on at once: they do the same work, and each finds what the
//! others have done. Only an [overwrite](Migrator::plan_overwrite) must be alone, because it drops
//! what others make.
//!
//! ```text
//! Schema ──────► Migrator ──► Plan ──► apply: probe → act → probe
//! (files)           │      (data)                │
//!                   └──────► SchemaDatabase ◄────┘
//!                       (port; PostgresDatabase)
//! ```
//!
//! A [`Schema`] is read from the binary or from files, checked as a whole. A [`Migrator`] looks at
//! a [`SchemaDatabase`] and makes the [`Plan`] of a command, which can be shown or applied.
//!
//! ```no_run
//! use temporal_dsql_migrate::{
//!     DEFAULT_DATABASE, Migrator, Patience, PostgresDatabase, Schema, Setup, Silent,
//! };
//!
//! # async fn example(connector: temporal_dsql_client::Connector) -> Result<(), Box<dyn std::error::Error>> {
//! let schema = Schema::embedded()?;
//! let patience = Patience::default();
//! let mut database = PostgresDatabase::connect(connector, None, &patience.retry).await?;
//! let mut migrator =
//!     Migrator::new(&schema, &mut database, DEFAULT_DATABASE, patience, &Silent);
//! let plan = migrator.plan_setup(&Setup::default()).await?;
//! let report = migrator.apply(&plan).await?;
//! println!("{} steps done", report.done);
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod apply;
mod commands;
mod database;
mod digest;
mod error;
mod index_build;
mod migrator;
mod objects;
mod plan;
mod postgres;
mod progress;
mod schema;
mod session;
mod status;
mod verify;
mod version_tables;

pub use temporal_dsql_domain::Engine;

pub use apply::Report;
pub use commands::{Rollback, Setup};
pub use database::{
    BoxError, DatabaseError, Job, JobStatus, Row, Scan, SchemaDatabase, ServerError,
};
pub use digest::{Digest, RowKey};
pub use error::MigrateError;
pub use migrator::Migrator;
pub use objects::{
    Catalog, CatalogIndex, Column, Difference, Index, Objects, Seed, Table, compare_index,
    compare_table, normalise,
};
pub use plan::{Action, Plan, State, Step};
pub use postgres::PostgresDatabase;
pub use progress::{Observer, Progress, Silent};
pub use schema::{
    Change, Origin, Release, SCHEMA_NAME, SCHEMA_SQL, Schema, SchemaError, Statement,
};
pub use session::Patience;
pub use status::Status;
pub use verify::{Foreign, Verification};
pub use version_tables::{
    DEFAULT_DATABASE, Dml, HISTORY_TABLE, VERSION_TABLE, VersionChange, VersionRow,
};
