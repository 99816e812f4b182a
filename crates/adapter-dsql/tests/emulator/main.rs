//! The store on the emulator: behaviour of DSQL that stock PostgreSQL does not have.

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
