//! `temporal-dsql-tool`: the schema tool for operators. It calls the library of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    temporal_dsql_tool::run(std::env::args_os())
}
