//! The store against a stand-in for a DSQL cluster: what no stock PostgreSQL does.

mod catalog;
mod closed;
mod contention;
mod door;
mod errors;
#[path = "../support/mod.rs"]
mod support;
mod unknown;
