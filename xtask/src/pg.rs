//! `cargo xtask pg`: starts `test-postgres`, which keeps a PostgreSQL server for tests.

use std::process::ExitCode;

use anyhow::Result;

use crate::process;

/// The commands of `cargo xtask pg`.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum Command {
    /// Start the server, unless it runs
    Start,
    /// Stop the server and remove its data
    Stop,
    /// Print the server's URL, for TEST_POSTGRES_URL
    Url,
    /// Report whether the server runs; exit with 1 if it does not
    Status,
}

/// Runs `test-postgres` and returns its exit code. Prints nothing itself: the output of `pg url` is
/// the value of a variable.
///
/// # Errors
/// Cargo cannot be started.
pub fn run(command: Command) -> Result<ExitCode> {
    let name = match command {
        Command::Start => "start",
        Command::Stop => "stop",
        Command::Url => "url",
        Command::Status => "status",
    };
    process::forward_quietly(&mut process::command(&format!(
        "cargo run --quiet --package temporal-dsql-testkit --bin test-postgres -- {name}"
    )))
}
