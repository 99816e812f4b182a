//! `temporal-dsql-tool` as a library, for its `main` and for `cargo xtask migrate`.
//!
//! The tool parses flags (`cli`), opens a connection (`target`), makes a plan with
//! `temporal-dsql-migrate` and applies it (`commands`), prints progress (`progress`) and the result
//! (`report`), and returns an exit code (`exit`).

mod cli;
mod commands;
mod doctor;
mod exit;
mod progress;
mod prompt;
mod report;
mod target;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

use crate::{cli::Cli, exit::Exit};

/// Runs the tool with `arguments`, the first of which is the program's name.
///
/// Results go to standard output, progress and errors to standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let cli = match parse(arguments.clone()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && cli::wants_json(&arguments) => {
            return report::print_usage_error(&error).into();
        }
        // clap reports --help and --version as errors with code 0.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    log_to_stderr();
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(interruptible(commands::run(&cli)));
            // Does not wait for a prompt that Ctrl-C has interrupted.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(anyhow::Error::from(error).into()),
    };
    report::print_outcome(&cli, outcome).into()
}

/// Checks that [`run`] accepts `arguments`, the first of which is the program's name. Runs nothing.
///
/// # Errors
/// The usage error that `run` would print.
pub fn check(arguments: impl IntoIterator<Item = OsString>) -> Result<(), clap::Error> {
    parse(arguments).map(drop)
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let command = Cli::command();
    let arguments = cli::accept_single_dashes(&command, arguments);
    Cli::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Ends a run at Ctrl-C. Every step is its own transaction, so the next run continues there.
async fn interruptible(
    run: impl Future<Output = Result<report::Success, exit::Failure>>,
) -> Result<report::Success, exit::Failure> {
    tokio::select! {
        outcome = run => outcome,
        _ = tokio::signal::ctrl_c() => Err(exit::Failure::new(
            Exit::Failed,
            anyhow::anyhow!("interrupted; run the same command again to continue"),
        )),
    }
}

/// Logs to standard error as `RUST_LOG` says; nothing by default.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    // Fails only if a subscriber is already installed.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .try_init();
}
