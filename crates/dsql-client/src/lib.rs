//! Connections to Amazon Aurora DSQL, or to stock PostgreSQL for development.
//!
//! The store and the migrations connect with this crate. [`Config`] says how to reach a database; a
//! [`Connector`] opens connections to it, over TLS and with an IAM token for each ([`TokenSource`]).
//! [`classify`] says what an error of the server means, by SQLSTATE. [`Attempts`] counts the
//! attempts of a caller and spreads them in time.
#![warn(missing_debug_implementations, missing_docs, clippy::unwrap_used)]

#[cfg(feature = "aws")]
mod aws_chain;
mod backoff;
mod config;
mod connector;
#[cfg(feature = "emulator")]
mod emulator;
mod error_chain;
#[cfg(test)]
mod logged;
mod sqlstate;
mod token;
mod token_cache;

#[cfg(feature = "aws")]
pub use aws_chain::aws_credentials;
pub use backoff::Attempts;
pub use config::{
    Auth, Config, ConfigError, Overrides, PoolConfig, Target, Tls, TlsMode, VARIABLES, Variable,
    WriteForm, region_of_host,
};
pub use connector::{ConnectError, Connector, Endpoint, connector_with, open_connection};
#[cfg(feature = "emulator")]
pub use emulator::emulator_credentials;
pub use error_chain::{ErrorChain, server_error_of};
pub use sqlstate::{
    Class, Conflict, ConnectionState, Phase, classify, classify_error, connection_state_after,
    is_undefined_table, refuses_text,
};
pub use token::{Action, IamTokenSource, Token, TokenError, TokenSource};
pub use token_cache::{CachedTokenSource, TOKEN_REFRESH_FAILURES};
