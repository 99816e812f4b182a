//! `cargo deny` checks the licences, bans and sources of `deny.toml`.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process;

/// Offline: `advisories`, which downloads a database, is left out.
const CHECK: &str = "cargo deny check bans licenses sources";

/// Runs `cargo deny` and returns whether it passes. Without it, prints how to install it and
/// passes: it is no part of a Rust installation.
///
/// # Errors
/// Cargo cannot be started.
pub(super) fn check() -> Result<bool> {
    if !is_installed() {
        println!(
            "warning: `{CHECK}` is skipped, so licences are not checked: cargo-deny is not \
             installed (`cargo install --locked cargo-deny`)"
        );
        return Ok(true);
    }
    println!("$ {CHECK}");
    Ok(process::command(CHECK).status()?.success())
}

fn is_installed() -> bool {
    let mut version = Command::new("cargo");
    version.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}
