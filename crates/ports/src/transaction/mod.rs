//! Running transactions: retries, deadlines, and the reference execution of a write set.
//!
//! Under optimistic concurrency control the unit of retry is the whole transaction, on a new
//! snapshot (temporal-persistence.md#retries). [`Runner`] has the retry loop of every adapter,
//! [`RetryPolicy`] its waits and its end, [`Deadline`] the end of a caller's wait. An [`Observer`]
//! receives the events of the loop, for metrics and logs.

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
