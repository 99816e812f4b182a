//! Temporal's persistence on Amazon Aurora DSQL.
//!
//! A service depends on this crate alone. The domain types and the ports are at its root; the
//! adapters are modules behind features:
//!
//! | Feature | Module | What it is |
//! |---|---|---|
//! | `dsql` (default) | `dsql` | the store on Aurora DSQL, or on stock PostgreSQL |
//! | `memory` | `memory` | the same store in memory: snapshots, conflicts and limits included |
//! | `migrate` | `migrate` | set up, upgrade, verify and roll back the schema |
//!
//! Code is written against the ports, so that it runs on either adapter:
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```ignore")]
//! use temporal_dsql::{
//!     ArchetypeId, ConditionFailed, CurrentExecutionsRow, Encoding, ExecutionState,
//!     ExecutionStatus, NamespaceId, RequestId, RunId, ShardId, Store, StoreError, StoreExt,
//!     WorkflowId, memory::MemoryStore,
//! };
//!
//! /// Makes `row` the current execution of its id, if the id has none.
//! async fn start(store: &dyn Store, row: &CurrentExecutionsRow) -> Result<(), StoreError> {
//!     store
//!         .run("Start", row, |transaction, row| {
//!             Box::pin(async move {
//!                 if let Some(current) = transaction.lock_current_executions(&row.filter()).await? {
//!                     let observed = Some(Box::new(current));
//!                     return Err(ConditionFailed::CurrentExecution { observed }.into());
//!                 }
//!                 transaction
//!                     .insert_into_current_executions(row)
//!                     .await
//!                     .map(drop)
//!                     .map_err(|error| error.duplicate_is_conflict("Start"))
//!             })
//!         })
//!         .await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let row = CurrentExecutionsRow {
//!     shard_id: ShardId(1),
//!     namespace_id: "32049b68-7872-4094-8e63-d0dd59896a83".parse::<NamespaceId>()?,
//!     workflow_id: WorkflowId::new("nightly-report")?,
//!     archetype_id: ArchetypeId::SCHEDULER,
//!     run_id: "01a20632-c72c-759f-9d04-cfcdf4e443e1".parse::<RunId>()?,
//!     create_request_id: RequestId::new("request-1")?,
//!     start_time: None,
//!     last_write_version: 0,
//!     state: ExecutionState::Running,
//!     status: ExecutionStatus::Running,
//!     data: None,
//!     data_encoding: Encoding::new("")?,
//! };
//! start(&store, &row).await?;
//! let again = start(&store, &row).await.unwrap_err();
//! assert!(matches!(again, StoreError::Condition(_)));
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

/// The example of the README, compiled.
#[cfg(all(doctest, feature = "dsql"))]
#[doc = include_str!("../../../README.md")]
mod readme {}

pub use temporal_dsql_domain::*;
pub use temporal_dsql_ports::*;

/// Temporal's stores, over the ports.
pub mod stores {
    pub use temporal_dsql_stores::*;
}

/// The store on Aurora DSQL, or on stock PostgreSQL for development.
#[cfg(feature = "dsql")]
pub mod dsql {
    pub use temporal_dsql_store::*;
}

/// The store in memory.
#[cfg(feature = "memory")]
pub mod memory {
    pub use temporal_dsql_memory::*;
}

/// The schema: set up, upgrade, verify and roll back.
#[cfg(feature = "migrate")]
pub mod migrate {
    pub use temporal_dsql_migrate::*;
}
