//! The same statements through pgbench, prepared.

use std::{fmt::Write, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::{
    Operation, Plan, rows,
    statements::{ARGUMENTS, Statements, with_names},
};
use crate::{database::Database, environment::processors};

/// The program, and a folder for its scripts.
pub struct Pgbench {
    program: PathBuf,
    folder: TempDir,
}

impl Pgbench {
    /// Will run `program`.
    ///
    /// # Errors
    /// There is no folder for temporary files.
    pub fn new(program: PathBuf) -> Result<Self> {
        Ok(Self { program, folder: tempfile::tempdir()? })
    }

    /// Lets `callers` do `operation`; operations per second.
    ///
    /// # Errors
    /// pgbench fails, or an operation does.
    pub fn rate(
        &self,
        database: &Database,
        statements: &Statements,
        operation: Operation,
        callers: usize,
        plan: &Plan,
    ) -> Result<f64> {
        let script = self.folder.path().join("script.sql");
        fs::write(&script, script_of(statements, operation, plan.rows)?)?;
        let mut command = Command::new(&self.program);
        command
            .args(["--protocol=prepared", "--no-vacuum"])
            .arg(format!("--client={callers}"))
            // One thread for each processor, as the Rust runtimes have.
            .arg(format!("--jobs={}", processors().min(callers)))
            .arg("--file")
            .arg(&script);
        let seconds = plan.window.measured.as_secs();
        if seconds > 0 {
            command.arg(format!("--time={seconds}"));
        } else {
            command.arg("--transactions=100");
        }
        let row = rows::row(0);
        let data: String =
            row.data.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
        let values = [
            row.shard_id.to_string(),
            row.namespace_id.to_string(),
            row.workflow_id.to_string(),
            row.run_id.to_string(),
            row.create_request_id.to_string(),
            row.state.number().to_string(),
            row.status.number().to_string(),
            "1970-01-01".to_owned(),
            row.last_write_version.to_string(),
            format!("\\x{data}"),
            row.data_encoding.to_string(),
        ];
        for (name, value) in ARGUMENTS.iter().zip(values) {
            command.arg(format!("--define={name}={value}"));
        }
        command.arg("--define=n=0").arg(database.scratch().url());
        let output = command.output().with_context(|| self.program.display().to_string())?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("pgbench failed: {}\n{complained}", output.status);
        }
        rate_in(&said)
    }
}

fn script_of(statements: &Statements, operation: Operation, rows: u32) -> Result<String> {
    let mut script = match operation {
        Operation::Insert => {
            let (first, second) = (rows::first_new_id(0), rows::first_new_id(1));
            let per_client = second - first;
            format!("\\set n :n + 1\n\\set workflow_id {first} + :client_id * {per_client} + :n\n")
        }
        _ => format!("\\set workflow_id random(0, {})\n", rows - 1),
    };
    for statement in statements.of(operation) {
        writeln!(script, "{};", with_names(statement))?;
    }
    Ok(script)
}

/// Finds `tps = 1234.5` in what pgbench says.
fn rate_in(said: &str) -> Result<f64> {
    // A failed transaction is not an error to pgbench, but it is to us.
    if let Some(failed) = value_after(said, "number of failed transactions:")
        && failed != "0"
    {
        bail!("{failed} transactions of pgbench failed");
    }
    value_after(said, "tps =")
        .and_then(|value| value.parse().ok())
        .with_context(|| format!("pgbench says no `tps`:\n{said}"))
}

fn value_after<'t>(text: &'t str, label: &str) -> Option<&'t str> {
    let line = text.lines().find(|line| line.starts_with(label))?;
    line[label.len()..].split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "pgbench (15.14)\nnumber of failed transactions: 0 (0.000%)\n\
                        latency average = 0.063 ms\n\
                        tps = 15849.123456 (without initial connection time)\n";

    #[test]
    fn the_rate_is_found_in_what_pgbench_says() {
        assert!((rate_in(SAID).unwrap() - 15_849.123_456).abs() < 1e-9);
    }

    #[test]
    fn failed_transactions_and_silence_are_errors() {
        let failed = SAID.replace("transactions: 0 ", "transactions: 3 ");
        let error = rate_in(&failed).unwrap_err();
        assert!(error.to_string().contains("3 transactions"), "{error}");
        assert!(rate_in("").unwrap_err().to_string().contains("no `tps`"));
    }
}
