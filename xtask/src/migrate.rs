//! `cargo xtask migrate`: starts `temporal-dsql-tool`, for operations from a checkout.

use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::process;

/// Arguments of `temporal-dsql-tool`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Command and flags of `temporal-dsql-tool`; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl Options {
    /// The error of the tool's parser, if it rejects the arguments. Without arguments the tool
    /// prints its help.
    #[cfg(test)]
    pub fn check(self) -> Result<(), clap::Error> {
        if self.arguments.is_empty() {
            return Ok(());
        }
        let program = OsString::from("temporal-dsql-tool");
        temporal_dsql_tool::check(std::iter::once(program).chain(self.arguments))
    }
}

/// Runs the tool in the caller's folder and returns its exit code.
///
/// # Errors
/// Cargo cannot be started.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--package", "temporal-dsql-tool", "--"]);
    process::forward_quietly(command.args(&options.arguments))
}
