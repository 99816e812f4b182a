//! Tests of the emulator through its socket, with TLS and tokens, on one PostgreSQL server for all
//! tests.

mod support;

mod auth;
mod catalog;
mod conflicts;
mod detached_rows;
mod differential;
mod faults;
mod history;
mod jobs;
mod large_tables;
mod messages;
mod portals;
mod probes;
mod protocol;
mod stress;
mod suites;
mod transactions;
