//! `temporal-dsql-tool` as a library, for its `main` and for `cargo xtask migrate`.
//!
//! The tool parses flags (`cli`, and `go` for those of the Go tools), opens a connection (`target`),
//! makes a plan with `temporal-dsql-migrate` and applies it (`commands`, and `import` for a deployment
//! on PostgreSQL), prints progress (`progress`)
//! and the result (`report`), and returns an exit code (`exit`). A signal ends it (`interrupt`).
#![warn(missing_docs)]

mod cli;
mod commands;
mod completions;
mod doctor;
mod exit;
mod go;
mod import;
mod interrupt;
mod progress;
mod prompt;
mod report;
mod target;

use std::{ffi::OsString, process::ExitCode};

use crate::{
    exit::{Exit, Failure},
    go::Edit,
    interrupt::{Interruption, interruptible},
};

/// Runs the tool with `arguments`, the first of which is the program's name.
///
/// Results go to standard output, progress and errors to standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    // As the Go tools do.
    if arguments.len() == 1 {
        let _ = cli::command().print_help();
        return Exit::Done.into();
    }
    let cli = match cli::parse(arguments.clone()) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && cli::wants_json(&arguments) => {
            let command = cli::command_of(&arguments);
            return report::print_usage_error(&error, command.as_deref()).into();
        }
        // clap reports --help and --version as errors with code 0.
        Err(error) => {
            report::print_clap(&error);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let interruption = Interruption::default();
    let prepared = target::check_variables().and_then(|()| log_to_stderr());
    let outcome = prepared.and_then(|()| {
        match runtime(&cli) {
            Ok(runtime) => {
                let outcome = runtime
                    .block_on(interruptible(commands::run(&cli, &interruption), &interruption));
                // Does not wait for a prompt that a signal has interrupted.
                runtime.shutdown_background();
                outcome
            }
            Err(error) => Err(anyhow::Error::from(error).into()),
        }
    });
    let outcome = outcome.map_err(|failure| with_line(failure, &arguments));
    report::print_outcome(&cli, outcome).into()
}

/// One thread, except for an import, whose jobs hash and encrypt all rows of a deployment.
fn runtime(cli: &cli::Cli) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match cli.command {
        cli::Command::Import(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

/// Checks that [`run`] accepts `arguments`, the first of which is the program's name. Runs nothing.
///
/// # Errors
/// The usage error that `run` would print.
pub fn check(arguments: impl IntoIterator<Item = OsString>) -> Result<(), clap::Error> {
    cli::parse(arguments).map(drop)
}

/// Adds the line to use instead of the one of `arguments` to a failure that has one.
fn with_line(failure: Failure, arguments: &[OsString]) -> Failure {
    let command = cli::command();
    let arguments = go::accept_single_dashes(&command, arguments.iter().cloned());
    match go::line(&command, &arguments, &failure.instead) {
        Some(line) => {
            let error = anyhow::anyhow!("{}; use\n  {line}", failure.text());
            Failure { error, ..failure }
        }
        None => {
            let flag = failure.instead.iter().find_map(|edit| match edit {
                Edit::Append(flag) => Some(*flag),
                _ => None,
            });
            match flag {
                Some(flag) => {
                    let error = anyhow::anyhow!("{}; pass {flag}", failure.text());
                    Failure { error, ..failure }
                }
                None => failure,
            }
        }
    }
}

/// Logs to standard error as `RUST_LOG` says; nothing by default.
fn log_to_stderr() -> Result<(), Failure> {
    const VARIABLE: &str = "RUST_LOG";
    let directives = std::env::var(VARIABLE).ok().filter(|directives| !directives.is_empty());
    let filter = tracing_subscriber::EnvFilter::try_new(directives.as_deref().unwrap_or("off"));
    let filter = filter.map_err(|error| {
        Failure::configuration(format!("environment variable {VARIABLE}: {error}"))
    })?;
    // Fails only if a subscriber is already installed.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .try_init();
    Ok(())
}
