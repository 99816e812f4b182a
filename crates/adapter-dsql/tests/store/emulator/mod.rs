//! The store on the emulator: behaviour of DSQL that stock PostgreSQL does not have.

mod broken_connections;
mod catalog;
mod closed;
mod connecting;
mod contention;
mod errors;
mod fence;
mod unknown_commit;
