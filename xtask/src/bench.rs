//! `cargo xtask bench`: builds the benchmarks and the tool that one of them starts, and runs them.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::process;

/// The options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Options {
    /// The benchmarks; all by default
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Measure despite uncommitted changes or load on the machine; the results record both
    #[arg(long)]
    force: bool,
    /// Run each benchmark briefly and unoptimised, to test it; write nothing
    #[arg(long, conflicts_with = "draw")]
    smoke: bool,
    /// Measure nothing; draw tables and charts from the recorded results
    #[arg(long)]
    draw: bool,
}

impl Options {
    /// A brief run of all benchmarks.
    pub const SMOKE: Self = Self { names: Vec::new(), force: false, smoke: true, draw: false };

    /// What is built, and what then runs the benchmarks. The release builds are separate: one build
    /// of both would compile the tool with features that only the benchmarks enable.
    ///
    /// # Errors
    /// The path of this program is unknown.
    pub fn commands(&self) -> Result<(Command, Command)> {
        let (build, mut run) = if self.smoke {
            (process::build_workspace(), process::built_program("temporal-dsql-bench")?)
        } else {
            (
                process::command("cargo build --release --package temporal-dsql-tool"),
                process::command("cargo run --release --package temporal-dsql-bench --"),
            )
        };
        run.args(self.arguments());
        Ok((build, run))
    }

    fn arguments(&self) -> Vec<&str> {
        let flags = [("--force", self.force), ("--smoke", self.smoke), ("--draw", self.draw)];
        let given = flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag);
        given.chain(self.names.iter().map(String::as_str)).collect()
    }
}

/// Builds and runs the benchmarks.
///
/// # Errors
/// The first command that fails.
pub fn run(options: &Options) -> Result<ExitCode> {
    let (mut build, mut run) = options.commands()?;
    process::run(&mut build)?;
    process::run(&mut run)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_are_release_builds_except_in_a_smoke_test() {
        let release = |options: &Options| {
            let (build, run) = options.commands().unwrap();
            [build, run].map(|command| command.get_args().any(|word| word == "--release"))
        };
        let full = Options { names: vec!["point".into()], smoke: false, ..Options::SMOKE };
        assert_eq!(release(&full), [true; 2]);
        assert_eq!(full.arguments(), ["point"]);
        assert_eq!(release(&Options::SMOKE), [false; 2]);
        assert_eq!(Options::SMOKE.arguments(), ["--smoke"]);
    }
}
