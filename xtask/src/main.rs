//! `cargo xtask`: the commands of this workspace for developers and CI, one module for each.
//!
//! A command starts cargo or a program of the crate that has the dependencies that it needs, so
//! that this crate depends on little.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to its terminal"
)]

mod bench;
mod ci;
mod clients;
mod concurrent;
mod demo;
mod migrate;
mod packages;
mod pg;
mod process;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tests and operations of this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all tests, on PostgreSQL servers started for them
    Test(test::Options),
    /// Measure this workspace and its peers, and write the results to docs/performance.md
    Bench(bench::Options),
    /// Test the DSQL emulator with database clients of other languages
    Clients(clients::Options),
    /// Run everything that must pass before a change is merged
    Ci,
    /// Check what the compiler does not: dependencies between crates, licences, citations, sizes
    Tidy,
    /// Store and read real rows, upgrade the schema and import, on emulated clusters started for it
    Demo,
    /// Operate on a deployment: the commands of temporal-dsql-tool
    Migrate(migrate::Options),
    /// Keep a PostgreSQL server for tests until it is stopped
    Pg {
        #[command(subcommand)]
        command: pg::Command,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Clients(options) => clients::run(&options),
        Command::Ci => ci::run(),
        Command::Tidy => tidy::run(),
        Command::Demo => demo::run(),
        Command::Migrate(options) => migrate::run(&options),
        Command::Pg { command } => pg::run(command),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// Documents show commands in backticks and in code blocks.
    #[test]
    fn every_command_in_the_documents_parses() {
        let root = workspace::root();
        let documents = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let mut shown = 0;
        let is_document = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
        for path in documents.filter(is_document).chain([root.join("README.md")]) {
            let text = fs::read_to_string(&path).unwrap();
            let pieces = text.split(['`', '\n']).map(str::trim);
            for command in pieces.filter(|piece| piece.starts_with("cargo xtask ")) {
                let words = ["cargo xtask"].into_iter().chain(command.split_whitespace().skip(2));
                if let Err(error) = parse(words) {
                    panic!("{}: `{command}`: {error}", path.display());
                }
                shown += 1;
            }
        }
        assert!(shown >= 10, "only {shown} commands were found");
    }

    /// Parses a command line, and the arguments of `migrate` as the tool does.
    fn parse<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<(), clap::Error> {
        match Cli::try_parse_from(words)?.command {
            Command::Migrate(options) => options.check(),
            _ => Ok(()),
        }
    }

    #[test]
    fn arguments_that_the_tool_rejects_do_not_parse() {
        for (line, is_valid) in [
            ("cargo-xtask migrate status --output json", true),
            ("cargo-xtask migrate update-schema -version 1.1", true),
            ("cargo-xtask migrate upgrade", false),
            ("cargo-xtask migrate status --no-such-flag", false),
            ("cargo-xtask pg restart", false),
        ] {
            assert_eq!(parse(line.split(' ')).is_ok(), is_valid, "{line}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
