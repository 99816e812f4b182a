//! `temporal-dsql-tool`: the schema of Temporal on Aurora DSQL, for operators.

use std::process::ExitCode;

fn main() -> ExitCode {
    temporal_dsql_tool::run(std::env::args_os())
}
