//! The conformance suite on stock PostgreSQL with the default configuration: a write is one
//! statement.

mod support;

use std::process::ExitCode;

use support::harness::run;
use temporal_dsql_store::WriteForm;

fn main() -> ExitCode {
    run(WriteForm::Auto)
}
