//! `temporal-dsql-bench`: measures this workspace and its peers, and reports the results.
//!
//! `cargo xtask bench` builds and runs it. A benchmark is a module with one type, which it writes
//! to its file of results. Tables, charts and the figures of `docs/performance.md` are made from those
//! files: every figure in the document was measured.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to its terminal"
)]

mod benchmark;
mod build;
mod chart;
mod cluster;
mod contention;
mod context;
mod counted;
mod database;
mod dispatch;
mod document;
mod emulator;
mod environment;
mod growth;
mod import;
mod latency;
mod load;
mod memory;
mod migration;
mod operations;
mod pgbench;
mod point;
mod processor;
mod recovery;
mod registry;
mod resident;
mod rounds;
mod rows;
mod sharing;
mod start;
mod stats;
mod storm;
mod table;
mod tool;
mod typical;
mod workspace;

use std::{num::NonZero, process::ExitCode};

use anyhow::{Result, bail};
use clap::Parser;

use context::{Context, Scale};
use document::Results;
use environment::Environment;
use registry::{ALL, Entry};

/// Measures this workspace and its peers.
#[derive(Parser)]
struct Options {
    /// The benchmarks; all by default
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Measure despite uncommitted changes or load on the machine; the results record both
    #[arg(long)]
    force: bool,
    /// Run each benchmark briefly, to test it; write nothing
    #[arg(long, conflicts_with = "draw")]
    smoke: bool,
    /// Measure nothing; draw tables and charts from the recorded results
    #[arg(long)]
    draw: bool,
}

fn main() -> ExitCode {
    // Linux delays timers by up to 50 µs. The latencies of the emulator are compared with a limit
    // that includes no such delay. Threads inherit the setting.
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZero::new(1)) {
        eprintln!("warning: timers may be 50 µs late: {error}");
    }
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let scale = if options.smoke { Scale::Smoke } else { Scale::Full };
    let context = Context::new(scale);
    let chosen = chosen(&options.names)?;
    // Once, so that all results of a run have one commit, and the load is not the run's own.
    let environment = if options.draw {
        None
    } else {
        Some(Environment::check(&context, options.force || options.smoke)?)
    };
    for entry in chosen {
        eprintln!("{}", entry.name);
        let measured = environment.as_ref().map(|found| Results::measure(entry, &context, found));
        if let Some(measured) = measured.transpose()? {
            if options.smoke {
                // Tests that tables and charts can be made.
                measured.page(entry)?;
                continue;
            }
            measured.write()?;
        }
        // From the file, so that the page shows the contents of the file.
        let page = Results::read(entry)?.page(entry)?;
        println!("{}", page.text());
        page.write()?;
    }
    if options.smoke { Ok(()) } else { document::write_goals() }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Entry>> {
    for name in names {
        if ALL.iter().all(|entry| entry.name != name) {
            let known: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
            bail!("no benchmark is called `{name}`; there are {}", known.join(", "));
        }
    }
    let chosen = |entry: &&Entry| names.is_empty() || names.iter().any(|name| name == entry.name);
    Ok(ALL.iter().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_benchmarks_run_unless_some_are_named() {
        let names = |asked: &[&str]| -> Vec<&str> {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            chosen(&asked).unwrap().iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names(&[]).len(), ALL.len());
        assert_eq!(names(&["memory"]), ["memory"]);
        let error = chosen(&["disk".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("no benchmark is called `disk`; there are "), "{error}");
    }
}
