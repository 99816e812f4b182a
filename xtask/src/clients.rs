//! `cargo xtask clients`: starts `emulator-clients`, which tests the emulator with database clients
//! of other languages.

use std::process::ExitCode;

use anyhow::Result;

use crate::process;

/// The options of `cargo xtask clients`.
#[derive(clap::Args)]
pub struct Options {
    /// The clients, which are folders of crates/dsql-emulator/clients; all by default
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// The clients that CI tests: those that most programs use, each in under half a minute.
const IN_CI: &[&str] = &["asyncpg", "node-postgres", "pgx", "postgres.js", "psycopg"];

/// Tests the clients and returns the exit code.
///
/// # Errors
/// Cargo cannot be started.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut command =
        process::command("cargo run --package temporal-dsql-testkit --bin emulator-clients --");
    process::forward(command.args(&options.names))
}

/// Tests the clients of CI, with the programs that `cargo xtask test` has built.
///
/// # Errors
/// A client fails.
pub fn run_in_ci() -> Result<()> {
    process::run(process::built_program("emulator-clients")?.args(IN_CI))
}
