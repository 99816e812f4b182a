//! The conformance suite on a stand-in for DSQL that refuses whole writes in one statement.

mod support;

use std::process::ExitCode;

use support::emulator::{Takes, run};

fn main() -> ExitCode {
    run(Takes::StatementPerTable)
}
