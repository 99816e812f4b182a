//! Temporal's persistence on Amazon Aurora DSQL, over PostgreSQL's wire protocol.
//!
//! [`connect`] opens a [`DsqlStore`], which implements the ports. A statement is text of a `.sql`
//! file (`text`), whose parameters get their values by name (`arguments`, `rows`). An executor
//! sends it: by itself (`autocommit`) or in a transaction (`open_transaction`), on a connection of
//! the pool (`pool`), which opens connections at DSQL's rate and retires them before DSQL closes
//! them. A write set is sent as one statement if the server accepts it (`capabilities`,
//! `rows/mutable_state`).
#![warn(missing_debug_implementations, missing_docs, clippy::unwrap_used)]

mod arguments;
mod autocommit;
mod capabilities;
mod error;
mod error_class;
mod executor;
mod metrics;
mod observer;
mod open_error;
mod open_transaction;
mod pool;
mod rows;
mod statement;
mod store;
mod text;

pub use capabilities::Capabilities;
pub use metrics::{METRICS, Metric, MetricKind};
pub use open_error::OpenError;
pub use store::{DsqlStore, connect};
#[cfg(feature = "aws")]
pub use temporal_dsql_client::aws_credentials;
#[cfg(feature = "emulator")]
pub use temporal_dsql_client::emulator_credentials;
pub use temporal_dsql_client::{
    Action, Auth, CachedTokenSource, Config, ConfigError, ConnectError, Connector, Endpoint,
    ErrorChain, IamTokenSource, Overrides, PoolConfig, Target, Tls, TlsMode, Token, TokenError,
    TokenSource, VARIABLES, Variable, WriteForm, region_of_host, server_error_of,
};
