//! The contract of a Temporal store on Aurora DSQL, as one suite of scenarios.
//!
//! A scenario is written once, over the ports, and runs against every adapter: an adapter's
//! `tests/conformance.rs` implements [`Harness`] and calls [`run`]. Each scenario cites the
//! requirements and the tests of Temporal's own suites that it covers; the tables of
//! `docs/testing.md` are generated from these citations.

mod case;
mod context;
#[cfg(test)]
mod coverage;
mod entries;
mod harness;
mod history_fuzz;
mod interceptors;
mod queue;
pub mod real_data;
mod scenario;
mod scenarios;
mod suite;

pub use case::{Case, Cases};
pub use context::TestContext;
pub use harness::{Capabilities, CommitFailure, Fixture, Harness};
pub use history_fuzz::{HistoryFuzzReport, fuzz_histories};
pub use queue::Queue;
pub use scenario::Scenario;
pub use suite::{run, run_filtered};
