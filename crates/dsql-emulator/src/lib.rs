//! An emulator of an Amazon Aurora DSQL cluster, in front of an unmodified PostgreSQL.
//!
//! [`DsqlEmulator::start`] starts an emulator for one test, which stops when it is dropped;
//! [`DsqlEmulator::builder`] configures one; [`DsqlEmulator::faults`] injects faults. The
//! `README.md` of this crate has an example, the program `dsql-emulator` and the known differences
//! from a cluster.
//!
//! A client's statement passes through these modules, in this order:
//!
//! - `auth`: TLS with SNI, the IAM token, the limits on connections;
//! - `session`: the messages of the wire protocol, and transactions as the client sees them;
//! - `rules`: what DSQL refuses by the text of the statement; `catalog`: what it refuses by the
//!   catalog;
//! - `engine`: optimistic transactions: statements do not wait, and conflicts are detected at
//!   COMMIT;
//! - `upstream`: the connection to the PostgreSQL server that [`postgres`] starts.
#![warn(missing_docs)]
// `DbError` holds all fields of an ErrorResponse. It is created once per refusal, not on a hot
// path.
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
pub mod probes;
mod rules;
mod session;
mod sql;
mod upstream;
pub mod wire;

pub use auth::tls::TlsError;
pub use config::{CatalogConflicts, ConfigError, Credentials, JobDelays, Limits};
pub use emulator::{DsqlEmulator, DsqlEmulatorBuilder, StartError};
pub use faults::{
    CommitFault, CommitRates, FaultReport, Faults, Latency, OccCode, Refusal, StatementFault,
};
pub use upstream::UpstreamError;

/// The reported `server_version` (aurora-dsql.md#environment).
const SERVER_VERSION: &str = "16.15";
/// The reported `server_version_num`.
const SERVER_VERSION_NUM: &str = "160015";

/// Runs the example of the document as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Document;
