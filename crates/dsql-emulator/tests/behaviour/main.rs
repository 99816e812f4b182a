//! Tests of the emulator through its socket, with TLS and tokens, on one PostgreSQL server for all
//! tests.

mod support;

mod auth;
mod catalog;
mod conflicts;
mod differential;
mod faults;
mod history;
mod images;
mod jobs;
mod probes;
mod protocol;
mod stress;
mod transactions;
mod words;
