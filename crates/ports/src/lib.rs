//! The ports of Temporal persistence on Amazon Aurora DSQL.
//!
//! A service talks to [`Store`]; an adapter implements it. The rows of a table family are a trait
//! with one method per operation ([`HistoryExecution`], [`ExecutionMaps`], …); a [`Session`] has them all and is either
//! autocommit ([`Store::session`]) or a [`Transaction`]. Which table a current execution lives in
//! is decided in one place, the [`CurrentExecutionsRouter`].
//!
//! DSQL is optimistic: nothing blocks and the loser of a conflict learns it at COMMIT
//! (aurora-dsql.md#isolation), so the body of a transaction may run several times.
//! [`StoreExt::run`] is the only way to run one: it begins, runs the body, commits, and starts
//! again on a definite conflict.
#![warn(missing_docs, clippy::unwrap_used)]

mod clock;
mod error;
mod future;
pub mod limits;
mod router;
mod rows;
mod schema;
mod store;
mod transaction;
mod write_set;
#[cfg(test)]
mod write_set_tests;

pub use clock::{Clock, SystemClock};
pub use error::{Cause, ConditionFailed, Outcome, StoreError};
pub use future::BoxFuture;
pub use router::{ArchetypeRouter, CurrentExecutionsRoute, CurrentExecutionsRouter};
pub use rows::{
    ExecutionMaps, HistoryExecution, HistoryNodes, HistoryTasks, MutableState, MutableStateRows,
    Shards,
};
pub use schema::{IncompatibleSchema, verify_compatible_version};
pub use store::{Session, Store, Transaction};
pub use transaction::{
    Attempt, Body, Deadline, DeadlinePassed, Observer, RetryPolicy, Runner, RunnerBuilder,
    SilentObserver, StoreExt, Within, apply_by_table,
};
pub use write_set::{
    BufferedWrite, CurrentChange, Expected, ExpectedCurrent, HistoryChange, MapWrite, Observed,
    RowCounts, RunChange, WriteSet, each_map_once,
};
