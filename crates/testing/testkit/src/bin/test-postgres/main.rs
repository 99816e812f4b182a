//! `test-postgres`: a PostgreSQL server for tests, for the time of one command or until it is
//! stopped.
//!
//! Starting a server takes longer than a test. With
//! `TEST_POSTGRES_URL=$(cargo xtask pg url) cargo test …` it is started once.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to its terminal"
)]

mod command;
mod state;

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;
use temporal_dsql_testkit::postgres::{Options, Server};

use state::State;

/// A PostgreSQL server for tests.
#[derive(Parser)]
enum Cli {
    /// Start the server, unless it runs
    Start,
    /// Stop the server and remove its data
    Stop,
    /// Print the server's URL, for TEST_POSTGRES_URL
    Url,
    /// Report whether the server runs; exit with 1 if it does not
    Status,
    /// Run a command on a server of its own, which stops when the command ends
    Run {
        /// The command and its arguments; TEST_POSTGRES_URL is set for it
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match cli {
        Cli::Run { command } => run_command(command),
        other => operate(other, &State::in_target_folder()?),
    }
}

/// Runs `command` with `TEST_POSTGRES_URL` set and returns its exit code.
fn run_command(command: &[OsString]) -> Result<ExitCode> {
    let server =
        Server::start(&Options::default()).context("the tests need a PostgreSQL server")?;
    println!("The tests use a server of their own: {}", server.url());
    command::run(command, &server.url())
}

/// Starts, stops or reports the server that `state` remembers.
fn operate(cli: &Cli, state: &State) -> Result<ExitCode> {
    let server = state.load()?;
    let running = server.as_ref().filter(|server| server.is_running());
    match (cli, running) {
        (Cli::Run { .. }, _) => unreachable!("a command has a server of its own"),
        (Cli::Start, Some(server)) => println!("already running: {}", server.url()),
        (Cli::Start, None) => {
            // After a restart of the machine, the data of the last server is left.
            server.map_or(Ok(()), |server| server.stop())?;
            state.remove()?;
            let server = Server::start(&Options::default())?;
            // Before it is detached: a server that is not recorded could not be stopped.
            state.save(server.detached())?;
            println!("started: {}", server.detach()?.url());
        }
        (Cli::Stop, _) => {
            match server {
                None => println!("not running"),
                Some(server) => {
                    server.stop()?;
                    println!("stopped");
                }
            }
            state.remove()?;
        }
        (Cli::Url, Some(server)) => println!("{}", server.url()),
        (Cli::Url, None) => bail!("no server is running; start one: cargo xtask pg start"),
        (Cli::Status, Some(server)) => {
            println!("running: {}", server.url());
            println!("log: {}", server.log_file().display());
        }
        (Cli::Status, None) => {
            println!("not running");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use temporal_dsql_testkit::gate;

    use super::*;

    #[test]
    fn a_server_runs_from_start_to_stop_and_either_may_be_repeated() {
        if gate::server_url().is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // Not the state of the workspace: its server may be in use.
        let state = State::at(folder.path());
        let run = |command| operate(&command, &state);
        assert!(run(Cli::Url).unwrap_err().to_string().contains("cargo xtask pg start"));
        assert_eq!(run(Cli::Status).unwrap(), ExitCode::FAILURE);
        run(Cli::Start).unwrap();
        let server = state.load().unwrap().unwrap();
        assert!(server.is_running());
        run(Cli::Start).unwrap();
        assert_eq!(state.load().unwrap(), Some(server.clone()), "the same server");
        run(Cli::Url).unwrap();
        assert_eq!(run(Cli::Status).unwrap(), ExitCode::SUCCESS);
        run(Cli::Stop).unwrap();
        assert!(!server.is_running() && !server.directory.exists());
        assert_eq!(state.load().unwrap(), None);
        run(Cli::Stop).unwrap();
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["test-postgres", "run", "cargo", "test", "--", "-p", "x"]);
        let Ok(Cli::Run { command }) = cli else { panic!("a command is parsed") };
        assert_eq!(command, ["cargo", "test", "--", "-p", "x"]);
    }
}
