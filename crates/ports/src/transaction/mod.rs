//! The one runner of transactions.
//!
//! On an optimistic database the unit of retry is the whole transaction, from a fresh snapshot
//! (contract §3.8). [`Runner`] owns that loop for every adapter, [`RetryPolicy`] says how long to
//! wait and when to give up, and [`Observer`] is told what happened.

mod observer;
mod policy;
mod runner;

pub use observer::{Observer, SilentObserver};
pub use policy::RetryPolicy;
pub use runner::{Body, BoxFuture, Runner, RunnerBuilder, StoreExt};
