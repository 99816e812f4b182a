//! What the tests of this workspace share. A dev-dependency, never part of a product.
//!
//! - [`postgres::Server`]: a PostgreSQL server that is gone when its process is, however it ends.
//! - [`ScratchDatabase`]: one empty database per test, behind the gate that skips on a desk
//!   without a database and fails in CI ([`gate`]).
//! - [`ScratchCluster`]: the same for a stand-in of a DSQL cluster.
//! - [`FaultProxy`]: a proxy on the wire between a client and a server, which counts round trips
//!   and injects faults at an exact request: a conflict, a lost answer, a closed connection.
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
