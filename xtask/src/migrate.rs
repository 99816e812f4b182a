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

impl Options {
    fn command_line(self) -> impl Iterator<Item = OsString> {
        std::iter::once(OsString::from("temporal-dsql-tool")).chain(self.arguments)
    }

    /// Whether there is no command to pass on.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.arguments.is_empty()
    }

    /// That the tool takes these arguments.
    #[cfg(test)]
    pub fn check(self) -> Result<(), clap::Error> {
        temporal_dsql_tool::check(self.command_line())
    }
}

/// Runs the tool in this process; its exit code is the command's.
pub fn run(options: Options) -> ExitCode {
    temporal_dsql_tool::run(options.command_line())
}
