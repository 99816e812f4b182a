//! The interfaces between Temporal's stores and a database: row ports, transactions and errors.
//!
//! An adapter implements [`Store`]; the stores and services call it. Each table family has a trait
//! with one method per operation on its rows ([`HistoryExecution`], [`ExecutionMaps`], …). A
//! [`Session`] implements all of them. It is either autocommit ([`Store::session`]) or a
//! [`Transaction`]. The [`CurrentExecutionsRouter`] selects the table of a current execution.
//!
//! Aurora DSQL uses optimistic concurrency control: no statement waits for another transaction, and
//! a conflict is reported at COMMIT (aurora-dsql.md#isolation). Therefore the body of a transaction
//! may run several times. [`StoreExt::run`] begins a transaction, runs the body, commits, and
//! repeats all of it on a new snapshot after a conflict.
//!
//! A group of conditions and writes that succeeds or fails as a whole is a [`WriteSet`], which
//! [`Store::apply`] executes. [`StoreError`] reports what happened and whether anything was written.
#![warn(missing_debug_implementations, missing_docs, clippy::unwrap_used)]

mod clock;
mod create_tasks;
mod error;
mod future;
pub mod limits;
mod router;
mod rows;
mod schema;
mod store;
#[cfg(test)]
mod testing;
mod transaction;
mod write_set;
#[cfg(test)]
mod write_set_tests;

pub use clock::{Clock, SystemClock};
pub use create_tasks::{CreateTasks, TaskQueueLease, create_tasks_by_table};
pub use error::{Cause, ConditionFailed, Outcome, StoreError, WrongCount};
pub use future::BoxFuture;
pub use router::{ArchetypeRouter, CurrentExecutionsRoute, CurrentExecutionsRouter};
pub use rows::{
    ClusterMetadata, ExecutionMaps, HistoryExecution, HistoryNodes, HistoryTasks, MatchingTasks,
    MutableState, MutableStateRows, Namespaces, NexusEndpoints, Queues, QueuesV2, Shards,
    TaskQueueUserData,
};
pub use schema::{IncompatibleSchema, RecordedVersion, verify_compatible_version};
pub use store::{Session, Store, Transaction};
pub use transaction::{
    Attempt, Body, Deadline, DeadlinePassed, Observer, RetryPolicy, Runner, RunnerBuilder,
    SilentObserver, StoreExt, Within, apply_by_table,
};
pub use write_set::{
    BufferedWrite, CurrentChange, Expected, ExpectedCurrent, HistoryChange, MapWrite, Observed,
    RowCounts, RunChange, WriteSet, check_distinct_maps,
};
