//! `cargo xtask migrate …`: the commands of `temporal-dsql-tool`, for operations from a checkout.

use std::{ffi::OsString, process::ExitCode};

/// Arguments of `temporal-dsql-tool`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Command and flags, as `temporal-dsql-tool` takes them; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Runs the tool in this process; its exit code is the command's.
pub fn run(options: Options) -> ExitCode {
    let program = OsString::from("temporal-dsql-tool");
    temporal_dsql_tool::run(std::iter::once(program).chain(options.arguments))
}
