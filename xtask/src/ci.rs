//! `cargo xtask ci`: runs everything that must pass before a change is merged. `.ci/run` calls it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{clients, process, workspace};

/// Checks that run before the README's commands, cheapest first.
const CHECKS: &[&str] = &["cargo fmt --all --check", "cargo xtask tidy"];

/// The commands at the beginning of the README, word for word.
const README_COMMANDS: &[&str] = &["cargo xtask demo", "cargo xtask test"];

/// Runs every command, up to the first failure.
///
/// # Errors
/// The command that failed.
pub fn run() -> Result<ExitCode> {
    for line in CHECKS {
        process::run(&mut process::command(line))?;
    }
    let documentation = documentation()?;
    for line in README_COMMANDS {
        process::run(checked(&mut process::command(line), &documentation))?;
    }
    check_facade(&documentation.join("temporal_dsql"))?;
    clients::run_in_ci()?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the builds of a command fail at a warning of clippy or a broken link in the documentation, which
/// the scripts in `.ci` check with the same calls that compile the crates and their examples.
fn checked<'c>(command: &'c mut Command, documentation: &Path) -> &'c mut Command {
    command
        .env("RUSTC_WORKSPACE_WRAPPER", workspace::root().join(".ci/rustc"))
        // Not in the script: cargo compiles again what clippy has compiled with another value.
        .env("CLIPPY_ARGS", "-Dwarnings")
        .env("RUSTDOC", workspace::root().join(".ci/rustdoc"))
        .env("DOCUMENTATION", documentation)
}

/// The folder for documentation: beside the folder of this program.
fn documentation() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program has no target folder")?;
    Ok(target.join("doc"))
}

/// Checks that the documentation of the facade names no type of the driver.
fn check_facade(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            check_facade(&path)?;
        } else if fs::read_to_string(&path)?.contains("sqlx") {
            bail!("{}: the facade exports a type of the driver", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_the_driver_in_the_documentation_of_the_facade_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("dsql")).unwrap();
        fs::write(folder.join("dsql/struct.Config.html"), "pub struct Config").unwrap();
        assert!(check_facade(folder).is_ok());
        fs::write(folder.join("dsql/fn.open.html"), "-> sqlx::PgConnection").unwrap();
        let error = check_facade(folder).unwrap_err().to_string();
        assert!(error.contains("fn.open.html: the facade exports"), "{error}");
    }

    #[test]
    fn the_readme_begins_with_the_commands_that_run_here() {
        let readme = fs::read_to_string(workspace::root().join("README.md")).unwrap();
        let block = readme.split("```").nth(1).unwrap();
        for command in README_COMMANDS {
            assert!(block.lines().any(|line| line == *command), "{command}");
        }
    }
}
