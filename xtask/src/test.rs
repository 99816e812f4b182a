//! `cargo xtask test`: all tests of the workspace, with the database that they need.
//!
//! A desk may have no PostgreSQL running, or a wrong one. The tests therefore bring their own,
//! which is gone when they end, however they end.

use std::{env, process::ExitCode};

use anyhow::{Context, Result};
use temporal_dsql_testkit::{
    gate,
    postgres::{self, Server},
};

use crate::{bench, process};

/// What to test.
#[derive(clap::Args)]
pub struct Options {
    /// Run what needs no database; no server is started.
    #[arg(long)]
    offline: bool,
    /// Arguments for one `cargo test`, which then is all that runs: `-- -p xtask tidy`.
    #[arg(last = true)]
    cargo_test: Vec<String>,
}

/// Runs the tests.
///
/// # Errors
/// No server can be started, or the first command that fails.
pub fn run(options: &Options) -> Result<ExitCode> {
    let database = Database::provide(options.offline)?;
    for line in command_lines(&options.cargo_test) {
        let mut command = process::command("cargo");
        command.args(line);
        database.tell(&mut command);
        process::run(&mut command)?;
    }
    // A benchmark that nobody runs rots. Each needs a server, of its own.
    if options.cargo_test.is_empty() && !options.offline {
        bench::run(&bench::Options::SMOKE)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the tests are told about a database.
enum Database {
    /// There is none, on purpose.
    None,
    /// They have inherited the URL of one.
    Given,
    /// They use ours.
    Ours(Server),
}

impl Database {
    fn provide(offline: bool) -> Result<Self> {
        if offline {
            println!("Tests that need a database are skipped.");
            return Ok(Self::None);
        }
        if env::var_os(gate::SERVER_URL).is_some_and(|url| !url.is_empty()) {
            println!("The tests use the server of {}.", gate::SERVER_URL);
            return Ok(Self::Given);
        }
        let server = Server::start(&postgres::Options::default())
            .context("the tests need a PostgreSQL server")?;
        println!("The tests use a server of their own: {}", server.url());
        Ok(Self::Ours(server))
    }

    fn tell(&self, command: &mut std::process::Command) {
        match self {
            Self::None => command.env(gate::OFFLINE, "1").env_remove(gate::SERVER_URL),
            Self::Given => command.env_remove(gate::OFFLINE),
            Self::Ours(server) => {
                command.env(gate::SERVER_URL, server.url()).env_remove(gate::OFFLINE)
            }
        };
    }
}

/// The arguments of each `cargo` to run.
fn command_lines(only: &[String]) -> Vec<Vec<String>> {
    if !only.is_empty() {
        return vec![[&["test".to_owned()], only].concat()];
    }
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    vec![words("test --workspace --lib --bins --tests --examples"), words("test --workspace --doc")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_tests_then_doc_tests() {
        let lines = command_lines(&[]);
        let lines: Vec<String> = lines.iter().map(|words| words.join(" ")).collect();
        assert!(lines[0].contains("--lib --bins --tests"), "{lines:?}");
        assert!(lines[1].ends_with("--doc"), "{lines:?}");
    }

    #[test]
    fn arguments_replace_everything() {
        let only = ["-p".to_owned(), "xtask".to_owned()];
        assert_eq!(command_lines(&only), [["test", "-p", "xtask"]]);
    }
}
