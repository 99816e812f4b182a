//! The conformance suite on a DSQL emulator that refuses a write in one statement.

mod support;

use std::process::ExitCode;

use support::emulator::{AcceptedStatements, run};

fn main() -> ExitCode {
    run(AcceptedStatements::StatementPerTable)
}
