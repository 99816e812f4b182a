//! `cargo xtask demo`: starts `temporal-dsql-demo`.

use std::process::ExitCode;

use anyhow::Result;

use crate::process;

/// Crates that the development profile optimises for the tests. The demo is built faster without, and
/// runs as fast: it sends few statements.
const NOT_OPTIMISED: [&str; 6] =
    ["dsql-emulator", "rustls", "rustls-webpki", "sqlx-core", "sqlx-postgres", "tokio"];

/// Runs the demo and returns its exit code.
///
/// # Errors
/// Cargo cannot be started.
pub fn run() -> Result<ExitCode> {
    let mut command = process::command("cargo run --package temporal-dsql-demo");
    for package in NOT_OPTIMISED {
        command.args(["--config", &format!("profile.dev.package.{package}.opt-level=0")]);
    }
    process::forward_quietly(&mut command)
}
