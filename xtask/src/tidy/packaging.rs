//! `cargo package` makes a package of every crate, without building it.

use anyhow::Result;

use crate::process;

/// Without `--no-verify`, every package would be built, and without `--exclude-lockfile`, the versions
/// for each would be looked up. `--allow-dirty` checks uncommitted changes.
const PACKAGE: &str =
    "cargo package --workspace --no-verify --exclude-lockfile --allow-dirty --quiet";

/// Runs `cargo package` and returns whether it succeeds.
///
/// # Errors
/// Cargo cannot be started.
pub(super) fn check() -> Result<bool> {
    println!("$ {PACKAGE}");
    Ok(process::command(PACKAGE).status()?.success())
}
