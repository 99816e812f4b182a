//! The conformance suite on stock PostgreSQL, with a statement per table.

mod support;

use std::process::ExitCode;

use support::harness::run;
use temporal_dsql_store::WriteForm;

fn main() -> ExitCode {
    run(WriteForm::StatementPerTable)
}
