//! Temporal's persistence on Amazon Aurora DSQL, over the Postgres wire.
//!
//! [`connect`] opens a [`DsqlStore`], which implements the ports. Inside, a statement is text of a
//! `.sql` file (`text`), whose parameters get their values by name (`arguments`, `rows`). It is sent
//! over a link that is either autocommit or a transaction (`link`), on a connection of the pool
//! (`pool`), which opens them at DSQL's rate and retires them before DSQL does. What the server
//! answers is classified in one place (`sqlstate`). An act is one statement where the server takes
//! it (`capabilities`, `rows/mutable_state`).
#![warn(missing_docs, clippy::unwrap_used)]

mod arguments;
mod capabilities;
mod error;
mod link;
mod metrics;
mod observe;
mod pool;
mod rows;
mod statement;
mod store;
mod text;

pub use capabilities::Capabilities;
pub use metrics::{METRICS, Metric, MetricKind};
pub use store::{DsqlStore, OpenError, connect};
pub use temporal_dsql_client::{
    Action, Auth, CachedTokenSource, Config, ConfigError, ConnectError, Connector, IamTokenSource,
    Overrides, PoolConfig, Target, Tls, TlsMode, Token, TokenError, TokenSource, VARIABLES,
    Variable, WriteForm, region_of_host,
};
