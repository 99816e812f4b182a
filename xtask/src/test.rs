//! `cargo xtask test`: runs all tests of the workspace, on a PostgreSQL server started for them.

use std::{
    env,
    num::NonZero,
    process::{Command, ExitCode},
    thread,
};

use anyhow::Result;

use crate::{bench, process};

/// The URL of the server that tests create databases on.
const SERVER_URL: &str = "TEST_POSTGRES_URL";
/// If this is `1`, tests that need a database are skipped.
const OFFLINE: &str = "TEST_OFFLINE";
/// The number of tests that run at the same time in one program.
const THREADS: &str = "RUST_TEST_THREADS";

/// Twice as many as processors: tests mostly wait for servers.
fn threads() -> usize {
    2 * thread::available_parallelism().map_or(1, NonZero::get)
}

/// The variable that chooses the folder of temporary files.
const TEMPORARY: &str = "TMPDIR";
/// The folder whose files are in memory, on Linux.
const IN_MEMORY: &str = "/dev/shm";
/// The bytes that it must have free: several times what the tests use.
const ENOUGH: u64 = 2 << 30;

/// A folder in memory for temporary files, if there is enough and `TMPDIR` chooses none.
///
/// The database of a test is three hundred files. To make and remove them on a disk takes longer than
/// most tests.
fn folder_in_memory() -> Option<&'static str> {
    if env::var_os(TEMPORARY).is_some() {
        return None;
    }
    let found = rustix::fs::statvfs(IN_MEMORY).ok()?;
    let is_enough = found.f_bavail.saturating_mul(found.f_frsize) >= ENOUGH;
    // Tests of documentation are programs in the temporary folder.
    let is_executable = !found.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC);
    (is_enough && is_executable).then_some(IN_MEMORY)
}

/// The options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Options {
    /// Run the tests that need no database; start no server
    #[arg(long)]
    offline: bool,
    /// Arguments of one `cargo test`, which is all that then runs: `-- -p xtask tidy`
    #[arg(last = true)]
    cargo_test: Vec<String>,
}

/// Runs the tests. Without a server in the environment, starts this command again under
/// `test-postgres`, which sets `TEST_POSTGRES_URL` and stops the server when the command ends.
///
/// # Errors
/// The first command that fails.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.offline {
        println!("Tests that need a database are skipped.");
    } else if env::var_os(SERVER_URL).is_some_and(|url| !url.is_empty()) {
        println!("The tests use the server of {SERVER_URL}.");
    } else {
        let mut command = with_server(&options.cargo_test)?;
        if let Some(folder) = folder_in_memory() {
            println!("Temporary files are in {folder}; {TEMPORARY} chooses another folder.");
            command.env(TEMPORARY, folder);
        }
        return process::forward(&mut command);
    }
    for line in command_lines(&options.cargo_test) {
        let mut command = process::command("cargo");
        command.args(line);
        if env::var_os(THREADS).is_none() {
            command.env(THREADS, threads().to_string());
        }
        if options.offline {
            command.env(OFFLINE, "1").env_remove(SERVER_URL);
        } else {
            command.env_remove(OFFLINE);
        }
        process::run(&mut command)?;
    }
    // The benchmarks start a server of their own.
    if options.cargo_test.is_empty() && !options.offline {
        bench::run(&bench::Options::SMOKE)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// This command, run by `test-postgres`, which is built with everything else if all tests run.
fn with_server(cargo_test: &[String]) -> Result<Command> {
    if cargo_test.is_empty() {
        process::run(&mut process::build_workspace())?;
        let mut command = process::built_program("test-postgres")?;
        command.args(["run", "cargo", "xtask", "test"]);
        return Ok(command);
    }
    let mut command = process::command(
        "cargo run --package temporal-dsql-testkit --bin test-postgres -- run cargo xtask test --",
    );
    command.args(cargo_test);
    Ok(command)
}

/// The arguments of each `cargo` to run.
fn command_lines(only: &[String]) -> Vec<Vec<String>> {
    if !only.is_empty() {
        return vec![[&["test".to_owned()], only].concat()];
    }
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    vec![words("test --workspace --lib --bins --tests --examples"), words("test --workspace --doc")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_tests_then_doc_tests() {
        let lines = command_lines(&[]);
        let lines: Vec<String> = lines.iter().map(|words| words.join(" ")).collect();
        assert!(lines[0].contains("--lib --bins --tests"), "{lines:?}");
        assert!(lines[1].ends_with("--doc"), "{lines:?}");
    }

    #[test]
    fn arguments_replace_everything() {
        let only = ["-p".to_owned(), "xtask".to_owned()];
        assert_eq!(command_lines(&only), [["test", "-p", "xtask"]]);
        let command = with_server(&only).unwrap();
        let arguments: Vec<_> = command.get_args().collect();
        assert!(arguments.ends_with(&["test", "--", "-p", "xtask"].map(AsRef::as_ref)));
    }
}
