//! Temporal persistence in memory: an executable model of Amazon Aurora DSQL.
//!
//! [`MemoryStore`] implements [`Store`](temporal_dsql_ports::Store) with the isolation, conflicts and
//! limits of a cluster: a transaction reads a snapshot, no statement waits, a conflict is reported at
//! COMMIT, and the same limits return the same errors. A service can run its tests against it
//! without a database and encounters the conflicts of production. A [`FaultPlan`] adds the failures
//! of a network.
//!
//! There are three layers. The [`engine`] implements isolation and conflicts for any ordered key.
//! `limited_transaction` has the typed statements of one transaction, under DSQL's limits. `rows` has
//! one module per row port, which implements Temporal's statements.
//!
//! ```
//! use temporal_dsql_memory::{MemoryFault, FaultPlan, MemoryStore};
//! use temporal_dsql_ports::{Outcome, Store, StoreError};
//! # use temporal_dsql_domain::{DataBlob, Encoding, ExecutionsRow, WorkflowId, ShardId};
//! # use uuid::Uuid;
//! # async fn example(row: ExecutionsRow) -> Result<(), StoreError> {
//! let store = MemoryStore::new();
//! store.inject(FaultPlan::script([MemoryFault::LostAnswer]));
//!
//! let error = store.session().insert_into_executions(&row).await.unwrap_err();
//! assert_eq!(error.outcome(), Outcome::Unknown);
//! // The answer was lost, but the row is stored.
//! assert_eq!(store.session().select_from_executions(&row.filter()).await?, Some(row));
//! # Ok(())
//! # }
//! # let proto3 = Encoding::new("Proto3").unwrap();
//! # let row = ExecutionsRow {
//! #     shard_id: ShardId(1),
//! #     namespace_id: temporal_dsql_domain::NamespaceId(Uuid::nil()),
//! #     workflow_id: WorkflowId::new("order-1").unwrap(),
//! #     run_id: temporal_dsql_domain::RunId(Uuid::nil()),
//! #     next_event_id: 1,
//! #     last_write_version: 0,
//! #     data: DataBlob::new([], proto3.clone()),
//! #     state: DataBlob::new([], proto3),
//! #     db_record_version: 1,
//! # };
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example(row)).unwrap();
//! ```
#![warn(missing_debug_implementations, missing_docs, clippy::unwrap_used)]

#[cfg(test)]
mod concurrency_tests;
mod connection;
pub mod engine;
mod fault;
mod key;
mod limited_transaction;
mod rows;
mod store;
#[cfg(test)]
mod testing;

pub use fault::{FaultPlan, FaultRates, FaultReport, MemoryFault};
pub use store::{MemoryStore, MemoryStoreBuilder};
