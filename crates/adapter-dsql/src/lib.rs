//! Temporal's persistence on Amazon Aurora DSQL, over the Postgres wire.
//!
//! [`connect`] opens a [`DsqlStore`], which implements the ports. Inside, a statement is constant
//! text beside the code that binds it (`rows`), sent over a link that is either autocommit or a
//! transaction (`link`), in its turn (`turns`), on a connection of a pool that knows DSQL's rules (`pool`), and what the
//! server answers is classified in one place (`sqlstate`).
#![warn(missing_docs, clippy::unwrap_used)]

mod config;
mod connect;
mod error;
mod fence;
mod forms;
mod link;
mod metrics;
mod pool;
mod rows;
mod sqlstate;
mod statement;
mod store;
mod turns;

pub use config::{
    Auth, Config, ConfigError, PoolConfig, ShardFence, StatementForm, Target, Tls, TlsMode,
    region_of_host,
};
pub use connect::{
    Action, CachedTokenSource, ConnectError, Connector, IamTokenSource, Refusal, Token, TokenError,
    TokenSource,
};
pub use fence::ShardGuard;
pub use forms::Forms;
/// The driver's connection, for callers of [`Connector::try_connect`] that hand it on.
pub use sqlx::PgConnection;
pub use store::{DsqlStore, OpenError, connect};
