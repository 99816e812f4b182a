//! Runs of pgbench with prepared statements.
//!
//! pgbench has no warm-up, but reports its progress every second. The time until its first report
//! is the warm-up, in which sessions prepare their statements and the server's processes fill their
//! caches.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{environment::processors, processor::ProcessorTime};

/// The results of a run of pgbench.
pub struct PgbenchResults {
    /// Transactions per second, after the warm-up.
    pub rate: f64,
    /// Processor time of pgbench for each transaction, including the warm-up.
    pub processor_per_call: Duration,
    /// The number of transactions, including the warm-up.
    pub transactions: f64,
}

/// A run of pgbench.
pub struct Run<'a> {
    /// The URL of the database.
    pub url: &'a str,
    /// The script of one transaction.
    pub script: &'a str,
    /// Variables of the script and their values.
    pub variables: &'a [(&'a str, String)],
    /// The number of concurrent clients.
    pub clients: usize,
    /// The measured time; 0 stands for 100 transactions of each client.
    pub seconds: u64,
}

/// The program, and a folder for its scripts.
pub struct Pgbench {
    program: PathBuf,
    folder: TempDir,
}

impl Pgbench {
    /// Runs of `program`.
    ///
    /// # Errors
    /// A temporary folder cannot be created.
    pub fn new(program: PathBuf) -> Result<Self> {
        Ok(Self { program, folder: tempfile::tempdir()? })
    }

    /// Runs a script.
    ///
    /// # Errors
    /// pgbench fails, or a transaction does.
    pub fn run(&self, run: &Run<'_>) -> Result<PgbenchResults> {
        let script = self.folder.path().join("script.sql");
        fs::write(&script, run.script)?;
        let mut command = Command::new(&self.program);
        command
            .args(["--protocol=prepared", "--no-vacuum"])
            .arg(format!("--client={}", run.clients))
            // One thread for each processor, as the Rust runtimes have.
            .arg(format!("--jobs={}", processors().min(run.clients)))
            .arg("--file")
            .arg(&script);
        match run.seconds {
            0 => command.arg("--transactions=100"),
            measured => command.args(["--progress=1", &format!("--time={}", 1 + measured)]),
        };
        for (name, value) in run.variables {
            command.arg(format!("--define={name}={value}"));
        }
        command.arg(run.url);
        let before = ProcessorTime::until_now()?.children;
        let output = command.output().with_context(|| self.program.display().to_string())?;
        let processor = ProcessorTime::until_now()?.children - before;
        let (summary, reported) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("pgbench failed: {}\n{reported}", output.status);
        }
        let total = Total::parse(&summary)?;
        let rate = match run.seconds {
            0 => total.rate,
            _ => total.rate_after(&Report::first_in(&reported)?),
        };
        let transactions = total.transactions;
        let processor_per_call = processor.div_f64(transactions);
        Ok(PgbenchResults { rate, processor_per_call, transactions })
    }
}

/// The summary that pgbench prints.
#[derive(Debug, PartialEq)]
struct Total {
    transactions: f64,
    /// Transactions per second since all connections were open.
    rate: f64,
}

impl Total {
    fn parse(summary: &str) -> Result<Self> {
        // pgbench succeeds even if transactions fail.
        if let Some(failed) = value_after(summary, "number of failed transactions:")
            && failed != "0"
        {
            bail!("{failed} transactions of pgbench failed");
        }
        let number = |label| {
            // With `--transactions`, pgbench prints `100/100`.
            let value = value_after(summary, label).and_then(|value| value.split('/').next());
            let number = value.and_then(|value| value.parse().ok());
            number.with_context(|| format!("pgbench prints no `{label}`:\n{summary}"))
        };
        Ok(Self {
            transactions: number("number of transactions actually processed:")?,
            rate: number("tps =")?,
        })
    }

    /// The rate after `report`.
    fn rate_after(&self, report: &Report) -> f64 {
        let seconds = self.transactions / self.rate - report.seconds;
        (self.transactions - report.rate * report.seconds) / seconds
    }
}

/// A progress report of pgbench.
#[derive(Debug, PartialEq)]
struct Report {
    /// Seconds since all connections were open.
    seconds: f64,
    /// Transactions per second since the last report.
    rate: f64,
}

impl Report {
    /// `progress: 1.0 s, 15849.1 tps, lat …`
    fn first_in(reported: &str) -> Result<Self> {
        let found = reported.lines().find_map(|line| {
            let mut parts = line.strip_prefix("progress: ")?.split(", ");
            let seconds = parts.next()?.strip_suffix(" s")?.parse().ok()?;
            let rate = parts.next()?.strip_suffix(" tps")?.parse().ok()?;
            Some(Self { seconds, rate })
        });
        found.with_context(|| format!("pgbench reports no progress:\n{reported}"))
    }
}

fn value_after<'t>(text: &'t str, label: &str) -> Option<&'t str> {
    let line = text.lines().find(|line| line.starts_with(label))?;
    line[label.len()..].split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "pgbench (15.14)\n\
                        number of transactions actually processed: 30000\n\
                        number of failed transactions: 0 (0.000%)\n\
                        latency average = 0.063 ms\n\
                        tps = 15000.000000 (without initial connection time)\n";

    const REPORTED: &str = "pgbench (15.14)\n\
                            progress: 1.0 s, 14000.0 tps, lat 0.070 ms stddev 0.020, 0 failed\n\
                            progress: 2.0 s, 16000.0 tps, lat 0.062 ms stddev 0.010, 0 failed\n";

    #[test]
    fn the_time_before_the_first_report_is_warm_up() {
        let (total, report) = (Total::parse(SUMMARY).unwrap(), Report::first_in(REPORTED).unwrap());
        assert_eq!(total, Total { transactions: 30_000.0, rate: 15_000.0 });
        assert_eq!(report, Report { seconds: 1.0, rate: 14_000.0 });
        assert_eq!(total.rate_after(&report), 16_000.0);
        let counted = SUMMARY.replace("30000", "100/100");
        assert_eq!(Total::parse(&counted).unwrap().transactions, 100.0);
    }

    #[test]
    fn failed_transactions_and_missing_output_are_errors() {
        let failed = SUMMARY.replace("transactions: 0 ", "transactions: 3 ");
        let error = Total::parse(&failed).unwrap_err();
        assert!(error.to_string().contains("3 transactions"), "{error}");
        let error = Total::parse("").unwrap_err().to_string();
        assert!(error.contains("no `number of transactions"), "{error}");
        let error = Report::first_in("pgbench (15.14)").unwrap_err().to_string();
        assert!(error.contains("reports no progress"), "{error}");
    }
}
