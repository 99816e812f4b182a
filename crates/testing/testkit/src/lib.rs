//! Databases and fault injection for the tests of this workspace.
//!
//! - [`postgres::Server`]: a PostgreSQL server that stops when its process ends, however it ends.
//! - [`ScratchDatabase`]: one empty database per test, see [`gate`]: without a server, a test is
//!   skipped on a developer's machine and fails in CI.
//! - [`ScratchCluster`]: one DSQL emulator per test, under the same rule.
//! - [`RecordedDeployment`]: the database of a real Temporal server on PostgreSQL.
//! - [`FaultProxy`]: a proxy on the wire between a client and a server, that counts round trips
//!   and injects conflicts, lost answers and closed connections at exact requests.
#![warn(missing_docs)]

mod cluster;
mod database;
mod deployment;
pub mod gate;
mod guide;
mod proxy;

pub use cluster::ScratchCluster;
pub use database::{Admin, ScratchDatabase};
pub use deployment::{RecordedDeployment, RecordedRow};
pub use dsql_emulator::{OccCode, postgres};
pub use guide::assert_guide_has_table;
pub use proxy::{FaultProxy, HookAction, When, WireFault};
