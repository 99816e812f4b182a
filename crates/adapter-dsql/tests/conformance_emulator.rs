//! The conformance suite on the DSQL emulator with the default configuration: a write is one
//! statement.

mod support;

use std::process::ExitCode;

use support::emulator::{AcceptedStatements, run};

fn main() -> ExitCode {
    run(AcceptedStatements::OneStatement)
}
