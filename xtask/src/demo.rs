//! `cargo xtask demo`: starts `temporal-dsql-demo`.

use std::process::ExitCode;

use anyhow::Result;

use crate::process;

/// Options of the demo.
#[derive(clap::Args)]
pub struct Options {
    /// The database
    #[arg(long, value_enum, default_value = "emulator")]
    on: Database,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Database {
    /// The DSQL emulator, over TLS and with IAM tokens
    Emulator,
    /// Stock PostgreSQL
    Postgres,
}

/// Runs the demo and returns its exit code.
///
/// # Errors
/// Cargo cannot be started.
pub fn run(options: &Options) -> Result<ExitCode> {
    let on = match options.on {
        Database::Emulator => "emulator",
        Database::Postgres => "postgres",
    };
    process::forward(&mut process::command(&format!(
        "cargo run --package temporal-dsql-demo -- --on {on}"
    )))
}
