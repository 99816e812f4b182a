//! The store on PostgreSQL, over a proxy that counts round trips and injects faults, and on the
//! emulator. The conformance suite has binaries of its own.

mod capabilities;
mod collation;
mod emulator;
mod fence;
mod monitoring;
mod observed;
mod opening;
mod pool;
mod round_trips;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod timeouts;
mod unknown_outcomes;
mod wire;
