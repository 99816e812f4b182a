//! The store against a stand-in for a DSQL cluster: what no stock PostgreSQL does.

mod catalog;
mod closed;
mod connecting;
mod contention;
mod cut;
mod errors;
mod fence;
#[path = "../support/mod.rs"]
mod support;
mod unknown_commit;
