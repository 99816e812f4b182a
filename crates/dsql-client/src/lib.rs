//! Connections to Amazon Aurora DSQL, or to stock PostgreSQL for development.
//!
//! The store and the migrations connect with this crate. [`Config`] says how to reach a database; a
//! [`Connector`] opens connections to it, over TLS and with an IAM token for each ([`TokenSource`]).
//! [`classify`] says what an error of the server means, by SQLSTATE.
#![warn(missing_docs, clippy::unwrap_used)]

mod config;
mod connector;
#[cfg(test)]
mod logged;
mod sqlstate;
mod token;
mod token_cache;

pub use config::{
    Auth, Config, ConfigError, PoolConfig, Target, Tls, TlsMode, VARIABLES, Variable,
    WriteForm, region_of_host,
};
pub use connector::{ConnectError, Connector, Refusal};
pub use sqlstate::{
    Class, Conflict, Phase, classify, lacks_table, refuses_text,
};
/// The driver's connection, which a [`Connector`] opens.
pub use sqlx::PgConnection;
pub use token::{Action, IamTokenSource, Token, TokenError, TokenSource};
pub use token_cache::{CachedTokenSource, TOKEN_REFRESH_FAILURES};
