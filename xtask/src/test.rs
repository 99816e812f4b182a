//! `cargo xtask test`: runs all tests of the workspace, on PostgreSQL servers started for them.

use std::{
    collections::BTreeSet,
    env,
    num::NonZero,
    process::{Command, ExitCode},
    thread,
};

use anyhow::Result;

use crate::{
    bench,
    concurrent::{self, Sequence},
    packages::Package,
    process,
};

/// The URL of the server that tests create databases on.
const SERVER_URL: &str = "TEST_POSTGRES_URL";
/// If this is `1`, tests that need a database are skipped.
const OFFLINE: &str = "TEST_OFFLINE";
/// The number of tests that run at the same time in one program.
const THREADS: &str = "RUST_TEST_THREADS";

const DOC_TESTS: &str = "test --workspace --doc";
/// The crates whose test programs are one half of the tests.
const TOOLS: [&str; 2] = ["temporal-dsql-migrate", "temporal-dsql-tool"];

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

/// Runs the tests.
///
/// # Errors
/// The commands that fail.
pub fn run(options: &Options) -> Result<ExitCode> {
    let has_server = env::var_os(SERVER_URL).is_some_and(|url| !url.is_empty());
    if !options.offline && !has_server {
        return run_on_own_servers(&options.cargo_test);
    }
    if options.offline {
        println!("Tests that need a database are skipped.");
    } else {
        println!("The tests use the server of {SERVER_URL}.");
    }
    for line in command_lines(&options.cargo_test) {
        let mut command = process::command("cargo");
        limit_threads(command.args(line), 1);
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

/// The arguments of each `cargo` to run.
fn command_lines(only: &[String]) -> Vec<Vec<String>> {
    if !only.is_empty() {
        return vec![[&["test".to_owned()], only].concat()];
    }
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    vec![words("test --workspace --lib --bins --tests --examples"), words(DOC_TESTS)]
}

/// Runs the tests. `test-postgres` starts a server for programs, sets `TEST_POSTGRES_URL`, and stops the
/// server when they end.
fn run_on_own_servers(only: &[String]) -> Result<ExitCode> {
    let folder = folder_in_memory();
    if let Some(folder) = folder {
        println!("Temporary files are in {folder}; {TEMPORARY} chooses another folder.");
    }
    let set_environment = |command: &mut Command, programs: usize| {
        limit_threads(command, programs);
        command.envs(folder.map(|folder| (TEMPORARY, folder))).env_remove(OFFLINE);
    };
    if !only.is_empty() {
        let mut command = with_server(only);
        set_environment(&mut command, 1);
        return process::forward(&mut command);
    }
    process::run(&mut process::build_workspace())?;
    let mut halves = halves(&Package::all()?)?;
    for command in halves.iter_mut().flat_map(|half| &mut half.commands) {
        set_environment(command, 2);
    }
    concurrent::run(halves)?;
    Ok(ExitCode::SUCCESS)
}

/// `cargo test` with these arguments, run by `test-postgres`.
fn with_server(cargo_test: &[String]) -> Command {
    let mut command = process::command(
        "cargo run --package temporal-dsql-testkit --bin test-postgres -- run cargo test",
    );
    command.args(cargo_test);
    command
}

/// All tests, in two sequences that take about the same time. While one waits, the other uses the
/// processors. The programs of each have a server of their own; doc tests and benchmarks need none.
fn halves(packages: &[Package]) -> Result<[Sequence; 2]> {
    let (tools, others) = test_programs(packages);
    let tests = |targets: &[&str], programs: BTreeSet<&str>| -> Result<Command> {
        let mut command = process::built_program("test-postgres")?;
        command.args(["run", "cargo", "test", "--workspace"]).args(targets);
        command.args(programs.iter().flat_map(|name| ["--test", name]));
        Ok(command)
    };
    let doc_tests = process::command(&format!("cargo {DOC_TESTS}"));
    let (_, benchmarks) = bench::Options::SMOKE.commands()?;
    Ok([
        Sequence { name: "tools", commands: vec![tests(&[], tools)?, doc_tests, benchmarks] },
        Sequence {
            name: "others",
            commands: vec![tests(&["--lib", "--bins", "--examples"], others)?],
        },
    ])
}

/// The names of the test programs of the migrations and the tool, and those of all other crates.
fn test_programs(packages: &[Package]) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let names = |of_tools: bool| {
        let chosen = packages.iter().filter(|package| TOOLS.contains(&&*package.name) == of_tools);
        chosen.flat_map(|package| &package.tests).map(String::as_str).collect()
    };
    (names(true), names(false))
}

/// Sets how many tests run at the same time in one of `programs` programs: together about twice as many as
/// there are processors, because tests mostly wait for servers.
fn limit_threads(command: &mut Command, programs: usize) {
    if env::var_os(THREADS).is_none() {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        // One more, because a program has fewer tests at its end.
        let threads = 2 * processors / programs + usize::from(programs > 1);
        command.env(THREADS, threads.to_string());
    }
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
    fn the_halves_have_every_program_once() {
        let packages = Package::all().unwrap();
        let all: BTreeSet<&str> =
            packages.iter().flat_map(|package| &package.tests).map(String::as_str).collect();
        let (tools, others) = test_programs(&packages);
        assert!(tools.contains("command_line") && others.contains("behaviour"));
        assert!(tools.is_disjoint(&others), "a program would run twice: {tools:?}, {others:?}");
        assert_eq!(&tools | &others, all);
        let halves = halves(&packages).unwrap();
        let lines: Vec<String> =
            halves.iter().flat_map(|half| &half.commands).map(process::line).collect();
        let options = lines.iter().flat_map(|line| line.split(" --test ").skip(1));
        assert_eq!(options.collect::<BTreeSet<_>>(), all);
        for expected in ["--lib --bins --examples", "--doc", "--smoke"] {
            assert_eq!(lines.iter().filter(|line| line.contains(expected)).count(), 1, "{lines:?}");
        }
    }

    #[test]
    fn arguments_replace_everything() {
        let only = ["-p".to_owned(), "xtask".to_owned()];
        assert_eq!(command_lines(&only), [["test", "-p", "xtask"]]);
        let command = with_server(&only);
        let arguments: Vec<_> = command.get_args().collect();
        let end = ["--", "run", "cargo", "test", "-p", "xtask"].map(AsRef::as_ref);
        assert!(arguments.ends_with(&end), "{arguments:?}");
    }
}
