//! A stand-in for an Amazon Aurora DSQL cluster, in front of a stock PostgreSQL.
//!
//! [`DsqlEmulator::start`] gives a test a cluster of its own, that is gone when it is dropped;
//! [`DsqlEmulator::builder`] one that is not like any other; [`DsqlEmulator::faults`] makes things
//! go wrong in it. The `README.md` of this crate has an example, the program `dsql-emulator` and
//! the known differences from a cluster.
//!
//! A client's statement passes, in this order:
//!
//! - `auth`: TLS with SNI, the IAM token, the limits on connections;
//! - `session`: the messages of the protocol, transactions as the client sees them;
//! - `rules`: what DSQL refuses, by the statement alone; `catalog`: by what PostgreSQL knows;
//! - `engine`: transactions in which nobody waits and the loser learns at COMMIT;
//! - `upstream`: the connection to the PostgreSQL that [`postgres`] has started.
#![warn(missing_docs)]
// An error carries all the fields of the wire; it is made once per refusal, not on a hot path.
#![allow(clippy::result_large_err)]

mod auth;
mod backend;
mod catalog;
mod cluster;
mod config;
mod emulator;
mod engine;
mod faults;
mod jobs;
pub mod postgres;
mod rules;
mod session;
mod sql;
mod upstream;
pub mod wire;

pub use auth::tls::TlsError;
pub use config::{CatalogConflicts, ConfigError, Credentials, JobDelays, Limits};
pub use emulator::{DsqlEmulator, DsqlEmulatorBuilder, StartError};
pub use faults::{CommitFault, CommitRates, FaultReport, Faults, Latency, Refusal, StatementFault};
pub use upstream::UpstreamError;

/// What the server says its version is (aurora-dsql.md#environment).
const SERVER_VERSION: &str = "16.15";
/// The same as a number.
const SERVER_VERSION_NUM: &str = "160015";

/// The test in the document is one of this crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Document;
