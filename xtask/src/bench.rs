//! `cargo xtask bench`: builds the benchmarks and the tool that they start, and runs them.
//!
//! Everything else is in `crates/testing/bench`, a program of its own, which is built as a release is.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{process, workspace};

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// The benchmarks; all if none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Measure though files differ from the commit or the machine has other work; the results say
    /// so.
    #[arg(long)]
    force: bool,
    /// Run each for a moment, unoptimised, to see that it works; nothing is written.
    #[arg(long, conflicts_with = "draw")]
    smoke: bool,
    /// Measure nothing; make tables and charts from the results that are there.
    #[arg(long)]
    draw: bool,
}

impl Options {
    /// A moment of each.
    pub const SMOKE: Self = Self { names: Vec::new(), force: false, smoke: true, draw: false };

    /// What has to be built before. As a release, each by itself: built together, the tool would
    /// have what only the benchmarks switch on.
    const fn builds(&self) -> &'static [&'static str] {
        if self.smoke {
            // As the tests have built it: of other targets, other features would be switched on,
            // and half of the dependencies built again.
            &["cargo build --workspace --bins --tests"]
        } else {
            &[
                "cargo build --release --package temporal-dsql-tool",
                "cargo build --release --package temporal-dsql-bench",
            ]
        }
    }

    const fn profile(&self) -> &'static str {
        if self.smoke { "debug" } else { "release" }
    }

    fn arguments(&self) -> Vec<&str> {
        let flags = [("--force", self.force), ("--smoke", self.smoke), ("--draw", self.draw)];
        let given = flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag);
        given.chain(self.names.iter().map(String::as_str)).collect()
    }
}

/// Builds and runs.
///
/// # Errors
/// Something cannot be built, or a benchmark fails.
pub fn run(options: &Options) -> Result<ExitCode> {
    for line in options.builds() {
        process::run(&mut process::command(line))?;
    }
    let folder = workspace::metadata()?.target_directory.join(options.profile());
    let mut command = Command::new(folder.join("temporal-dsql-bench"));
    process::run(command.args(options.arguments()).current_dir(workspace::root()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_a_release_and_a_smoke_test_is_quick_to_build() {
        let full = Options { names: vec!["point".into()], smoke: false, ..Options::SMOKE };
        assert_eq!(full.profile(), "release");
        assert!(full.builds().iter().all(|line| line.contains("--release")));
        assert_eq!(full.arguments(), ["point"]);
        assert_eq!(Options::SMOKE.profile(), "debug");
        assert!(Options::SMOKE.builds().iter().all(|line| !line.contains("--release")));
        assert_eq!(Options::SMOKE.arguments(), ["--smoke"]);
    }
}
