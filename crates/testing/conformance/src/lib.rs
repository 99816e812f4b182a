//! The contract of a Temporal store on Aurora DSQL, as one suite of scenarios.
//!
//! A scenario is written once, over the ports, and runs against every adapter: an adapter's
//! `tests/conformance.rs` implements [`Harness`] and calls [`run`]. Each scenario cites the
//! requirements and the tests of Temporal's own suites that it covers; the tables of
//! `docs/testing.md` are generated from these citations.

#[cfg(feature = "suite")]
mod case;
#[cfg(feature = "suite")]
mod context;
#[cfg(all(test, feature = "suite"))]
mod coverage;
#[cfg(feature = "suite")]
mod entries;
#[cfg(feature = "suite")]
mod harness;
#[cfg(feature = "suite")]
mod history_fuzz;
#[cfg(feature = "suite")]
mod interceptors;
#[cfg(feature = "suite")]
mod queue;
pub mod real_data;
#[cfg(feature = "suite")]
mod scenario;
#[cfg(feature = "suite")]
mod scenarios;
#[cfg(feature = "suite")]
mod suite;

#[cfg(feature = "suite")]
pub use case::{Case, Cases};
#[cfg(feature = "suite")]
pub use context::TestContext;
#[cfg(feature = "suite")]
pub use harness::{Capabilities, CommitFailure, Fixture, Harness};
#[cfg(feature = "suite")]
pub use history_fuzz::{HistoryFuzzReport, fuzz_histories};
#[cfg(feature = "suite")]
pub use queue::Queue;
#[cfg(feature = "suite")]
pub use scenario::Scenario;
#[cfg(feature = "suite")]
pub use suite::{run, run_filtered};
