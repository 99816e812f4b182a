//! The contract of a Temporal store on Aurora DSQL, as one suite of scenarios.
//!
//! A scenario is written once, over the ports, and runs against every adapter: an adapter's
//! `tests/conformance.rs` implements [`Harness`] and calls [`run`]. Each scenario that re-expresses
//! a test of Temporal's own suites names it, and `docs/testing.md` has the map.

mod case;
mod context;
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
pub use harness::{Capabilities, CommitFault, Fixture, Harness};
pub use history_fuzz::{HistoryFuzzReport, fuzz_histories};
pub use queue::Queue;
pub use scenario::Scenario;
pub use scenarios::all as scenarios;
pub use suite::{run, run_filtered};
