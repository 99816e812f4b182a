//! `cargo xtask ci`: runs everything that must pass before a change is merged. `.ci/run` calls it.

use std::process::ExitCode;

use anyhow::Result;

use crate::{clients, process};

/// Checks that run before the README's commands, cheapest first.
const CHECKS: &[&str] = &[
    "cargo fmt --all --check",
    "cargo xtask tidy",
    "cargo clippy --workspace --all-targets -- -D warnings",
    // Broken links in the documentation of the crates that users depend on. The lints are in
    // Cargo.toml.
    "cargo doc --lib --no-deps --all-features --package temporal-dsql --package temporal-dsql-client \
     --package temporal-dsql-domain --package temporal-dsql-memory --package temporal-dsql-migrate \
     --package temporal-dsql-ports --package temporal-dsql-store --package temporal-dsql-stores \
     --package dsql-emulator",
];

/// The commands at the beginning of the README, word for word.
const README_COMMANDS: &[&str] = &["cargo xtask demo", "cargo xtask test"];

/// Runs every command, up to the first failure.
///
/// # Errors
/// The command that failed.
pub fn run() -> Result<ExitCode> {
    for line in CHECKS.iter().chain(README_COMMANDS) {
        process::run(&mut process::command(line))?;
    }
    clients::run_in_ci()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workspace;

    #[test]
    fn the_readme_begins_with_the_commands_that_run_here() {
        let readme = fs::read_to_string(workspace::root().join("README.md")).unwrap();
        let block = readme.split("```").nth(1).unwrap();
        for command in README_COMMANDS {
            assert!(block.lines().any(|line| line == *command), "{command}");
        }
    }
}
