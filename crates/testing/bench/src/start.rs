//! Cold start of the tool: the time of a run, its memory, and the size of the file.
//!
//! The peer is `psql`: its `--version`, and one query. The limit is `true`.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use temporal_dsql::VERSION;

use crate::{
    benchmark::Benchmark,
    chart::{Chart, Series},
    context::{Context, Scale},
    database::{self, Database},
    resident::high_water_kib,
    rounds,
    stats::Spread,
    table::{Goal, Table, mib, nanos, ratio},
    tool::tool,
};

/// The results.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// The size of the tool, stripped in a release build.
    file_bytes: u64,
    /// The size of psql, without its shared libraries.
    psql_file_bytes: u64,
    version: Run,
    psql_version: Run,
    status: Run,
    psql_query: Run,
    nothing: Run,
}

/// The runs of one command.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Run {
    /// Nanoseconds, in each round.
    nanos: Vec<f64>,
    /// The highest resident memory of several runs in KiB; 0 if every run ended before it was read.
    resident_kib: u64,
}

impl Benchmark for Start {
    const NAME: &'static str = "start";

    fn measure(context: &Context) -> Result<Self> {
        let (count, memory_rounds) = match context.scale {
            Scale::Full => (61, 15),
            Scale::Smoke => (1, 1),
        };
        let server = context.server()?;
        let tool = tool()?;
        let psql = database::program(server, "psql")?;
        // By its path: to search for a program, this process is forked, which takes longer the more
        // memory it has.
        let nothing = database::program(server, "true")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let database = runtime.block_on(Database::create(server, VERSION))?;
        let mut status = command(&tool, &["status"]);
        status.env("SQL_HOST", database.scratch().host());
        status.env("SQL_PORT", database.scratch().port().to_string());
        status.env("SQL_USER", database.scratch().user());
        status.env("SQL_DATABASE", database.scratch().name());
        let query = "SELECT * FROM schema_version";
        let url = database.scratch().url();
        let mut commands = [
            command(&tool, &["--version"]),
            command(&psql, &["--version"]),
            status,
            command(&psql, &["--no-psqlrc", &url, "--command", query]),
            command(&nothing, &[]),
        ];
        let mut runs = <[Run; 5]>::default();
        for round in 0..count {
            for (command, run) in rounds::order(commands.iter_mut().zip(&mut runs), round) {
                run.nanos.push(time(command)?);
            }
        }
        for _ in 0..memory_rounds {
            for (command, run) in commands.iter_mut().zip(&mut runs) {
                run.resident_kib = run.resident_kib.max(resident_kib(command)?);
            }
        }
        let [version, psql_version, status, psql_query, nothing] = runs;
        let (file_bytes, psql_file_bytes) = (fs::metadata(tool)?.len(), fs::metadata(psql)?.len());
        Ok(Self { file_bytes, psql_file_bytes, version, psql_version, status, psql_query, nothing })
    }

    fn tables(&self) -> Vec<Table> {
        let rows = [
            ("temporal-dsql-tool --version", &self.version, &self.psql_version, self.file_bytes),
            ("temporal-dsql-tool status", &self.status, &self.psql_query, self.file_bytes),
            ("psql --version", &self.psql_version, &self.psql_version, self.psql_file_bytes),
            ("psql, one query", &self.psql_query, &self.psql_query, self.psql_file_bytes),
            ("true", &self.nothing, &self.psql_version, 0),
        ];
        let to = |run: &Run, peer: &Run| Spread::of_ratio(&run.nanos, &peer.nanos);
        let header = ["command", "time", "to psql", "resident memory", "file"];
        let cells = rows.map(|(name, run, peer, file)| {
            vec![
                name.to_owned(),
                nanos(Spread::of(&run.nanos).median),
                ratio(to(run, peer)),
                if run.resident_kib > 0 { mib(run.resident_kib * 1024) } else { String::new() },
                if file > 0 { mib(file) } else { String::new() },
            ]
        });
        let [version, status, ..] = rows;
        let shown = [version, status];
        vec![Table {
            name: "start",
            title: "Cold start of the tool, next to psql".into(),
            header: header.map(str::to_owned).into(),
            rows: cells.into(),
            chart: Chart {
                axis: "time, to psql's".into(),
                groups: shown.map(|(name, ..)| name.to_owned()).into(),
                series: vec![Series::new(
                    "tool",
                    shown.map(|(_, run, peer, _)| to(run, peer)).into(),
                )],
                lines: vec![("psql".into(), 1.0)],
            },
        }]
    }

    fn goals(&self) -> Vec<Goal> {
        Vec::new()
    }
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    // No environment variable but PATH affects the measurement.
    command
        .args(arguments)
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn time(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    let status = command.status().with_context(|| format!("{command:?}"))?;
    let nanos = start.elapsed().as_nanos() as f64;
    ensure!(status.success(), "{:?} ended with {status}", command.get_program());
    Ok(nanos)
}

/// The highest resident memory of a run, read from the kernel until some microseconds before the
/// run ends; 0 if it ends before the first reading.
fn resident_kib(command: &mut Command) -> Result<u64> {
    let mut child = command.spawn()?;
    let mut most = 0;
    while let Some(kib) = high_water_kib(child.id()) {
        most = most.max(kib);
    }
    let status = child.wait()?;
    ensure!(status.success(), "{:?} ended with {status}", command.get_program());
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_a_running_process() {
        let kib = resident_kib(&mut command(Path::new("sleep"), &["0.05"])).unwrap();
        assert!((100..100_000).contains(&kib), "{kib}");
    }

    #[test]
    fn a_command_that_fails_voids_the_measurement() {
        let error = time(&mut command(Path::new("false"), &[])).unwrap_err().to_string();
        assert!(error.contains("ended with exit status: 1"), "{error}");
    }
}
