//! The programs that copy, as processes: their duration and their memory.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use temporal_dsql_testkit::{ScratchDatabase, postgres::Server};

use super::source::LARGEST;
use crate::{cluster::Cluster, database, resident::high_water_kib};

/// The peer: AWS's loader.
const LOADER: &str = "aurora-dsql-loader";
/// How the peer is installed.
const INSTALL: &str = "install it with `cargo install --locked --git \
     https://github.com/aws-samples/aurora-dsql-loader aurora-dsql-loader`";

/// How often the memory of a process is read.
const INTERVAL: Duration = Duration::from_millis(10);

/// The runs of one program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Runs {
    /// Nanoseconds from the start of the process to its end, in each round.
    pub nanos: Vec<f64>,
    /// The highest resident memory of all runs, in KiB.
    pub resident_kib: u64,
}

impl Runs {
    /// Runs `command` to its end and returns what it prints.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&mut self, command: &mut Command) -> Result<String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        while child.try_wait()?.is_none() {
            self.resident_kib = self.resident_kib.max(high_water_kib(child.id()).unwrap_or(0));
            thread::sleep(INTERVAL);
        }
        let nanos = start.elapsed().as_nanos() as f64;
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{:?} ended with {}: {}",
            command.get_program(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        self.nanos.push(nanos);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// An import of `tables`, or of all tables if there is none, into `cluster`.
pub fn import(
    tool: &Path,
    source: &ScratchDatabase,
    cluster: &Cluster,
    tables: Option<&str>,
) -> Command {
    let mut command = on(tool, cluster);
    command.args(["import", "--quiet", "--from", &source.url()]);
    command.args(tables.map(|tables| ["--tables", tables]).iter().flatten());
    command
}

/// The number of rows in the report of an import.
///
/// # Errors
/// The report does not say that both sides have the same rows.
pub fn imported_rows(report: &str) -> Result<u64> {
    let rows = report.split("the target is equal to the source: ").nth(1);
    let rows = rows.and_then(|text| text.split(' ').next()?.parse().ok());
    rows.with_context(|| format!("the import reports no equal sides: {report}"))
}

/// The peer, with its default settings: it copies a file into [`LARGEST`].
pub fn loader(program: &Path, file: &Path, cluster: &Cluster) -> Command {
    let mut command = on(program, cluster);
    command.args(["load", "--quiet", "--table", LARGEST, "--source-uri"]).arg(file);
    command.args(["--endpoint", cluster.place().host(), "--region", cluster.place().region()]);
    command
}

/// The path of the peer.
///
/// # Errors
/// It is not installed.
pub fn find_loader(server: &Server) -> Result<PathBuf> {
    database::program(server, LOADER).context(INSTALL)
}

/// A program that is given `cluster` by environment variables.
fn on(program: &Path, cluster: &Cluster) -> Command {
    let place = cluster.place();
    let credentials = place.credentials();
    let port = place.port().to_string();
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .env("AWS_REGION", place.region())
        .env("AWS_ACCESS_KEY_ID", &credentials.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key)
        .env("CLUSTER_ENDPOINT", place.host())
        .env("SQL_PORT", &port)
        .env("SQL_TLS_CA_FILE", place.ca_file())
        // The names of libpq, which the driver of the peer reads.
        .env("PGPORT", &port)
        .env("PGSSLROOTCERT", place.ca_file());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_duration_and_memory() {
        let mut runs = Runs::default();
        runs.run(Command::new("sleep").arg("0.1")).unwrap();
        assert!(runs.nanos.len() == 1 && runs.nanos[0] >= 1e8, "{runs:?}");
        assert!((100..100_000).contains(&runs.resident_kib), "{runs:?}");
    }

    #[test]
    fn the_rows_of_an_import_are_read_from_its_report() {
        let report = "  a: 2 rows\nthe target is equal to the source: 1626 rows in 36 tables\n";
        assert_eq!(imported_rows(report).unwrap(), 1_626);
        assert!(imported_rows("the target is not equal to the source\n").is_err());
    }

    #[test]
    fn a_run_that_fails_voids_the_measurement() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no cluster >&2; exit 3"]);
        let error = Runs::default().run(&mut command).unwrap_err().to_string();
        assert!(error.contains("exit status: 3: no cluster"), "{error}");
    }
}
