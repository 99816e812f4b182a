//! The one runner of transactions.
//!
//! On an optimistic database the unit of retry is the whole transaction, from a fresh snapshot
//! (temporal-persistence.md#retries). [`Runner`] owns that loop for every adapter, [`RetryPolicy`]
//! says how long to wait and when to give up, [`Deadline`] says how long a caller waits, and
//! [`Observer`] is told what happened.

mod apply;
mod deadline;
mod observer;
mod policy;
mod run;
mod runner;
mod within;

pub use apply::apply_by_table;
pub use deadline::{Deadline, DeadlinePassed};
pub use observer::{Observer, SilentObserver};
pub use policy::RetryPolicy;
pub use run::{Body, StoreExt};
pub use runner::{Attempt, Runner, RunnerBuilder};
pub use within::Within;
