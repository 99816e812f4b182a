//! The conformance suite on a stand-in for DSQL, as a store is by default: a write is one statement.

mod support;

use std::process::ExitCode;

use support::emulator::{Takes, run};

fn main() -> ExitCode {
    run(Takes::OneStatement)
}
