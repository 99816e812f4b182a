//! Databases and fault injection for the tests of this workspace.
//!
//! - [`postgres::Server`]: a PostgreSQL server that stops when its process ends, however it ends.
//! - [`ScratchDatabase`]: one empty database per test, behind the [`gate`]: without a server, a
//!   test is skipped on a developer's machine and fails in CI.
//! - [`ScratchCluster`]: one DSQL emulator per test, behind the same gate.
//! - [`FaultProxy`]: a proxy on the wire between a client and a server, that counts round trips
//!   and makes what no server does on demand: a conflict, a lost answer, a cut at an exact point.
#![warn(missing_docs)]

mod cluster;
mod database;
pub mod gate;
mod guide;
mod proxy;

pub use cluster::{Admin, ScratchCluster};
pub use database::ScratchDatabase;
pub use dsql_emulator::{OccCode, postgres};
pub use guide::assert_guide_has_table;
pub use proxy::{FaultProxy, Then, When, WireFault};
