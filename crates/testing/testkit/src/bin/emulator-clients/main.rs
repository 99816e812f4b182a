//! `emulator-clients`: runs the tests of `crates/dsql-emulator/clients`, which use the emulator with
//! database clients of other languages. `cargo xtask clients` starts it.
//!
//! The clients are tested at the same time. Each is installed from its package registry into a
//! temporary folder and gets an emulator of its own. Its test prints `ok` and a name for each step
//! that it has passed.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to its terminal"
)]

mod client;
mod process;

use std::{process::ExitCode, thread, time::Instant};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use dsql_emulator::DsqlEmulator;

use client::Client;

/// The steps that every test prints, in this order. A client that can cancel a statement, or send
/// several without waiting for answers, also has the steps `cancel` and `pipeline`.
const STEPS: [&str; 10] = [
    "connect", "create", "insert", "select", "commit", "conflict", "refused", "index", "catalog",
    "close",
];

/// Runs tests of database clients on the DSQL emulator.
#[derive(Parser)]
#[command(name = "emulator-clients", bin_name = "cargo xtask clients")]
struct Options {
    /// The clients, which are folders of crates/dsql-emulator/clients; all by default
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let clients = selected(Client::all()?, &options.names)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut installed, mut skipped) = (Vec::new(), 0);
    for client in &clients {
        if let Some(program) = client.missing_program() {
            println!("skipped  {}: there is no program {program}", client.name);
            skipped += 1;
        } else {
            installed.push(client);
        }
    }
    let passed: Vec<bool> = thread::scope(|scope| {
        let runtime = &runtime;
        let start = |client| scope.spawn(move || runtime.block_on(report(client)));
        let tests: Vec<_> = installed.iter().map(|&client| start(client)).collect();
        tests.into_iter().map(|test| test.join().unwrap_or(false)).collect()
    });
    let failed = installed.iter().zip(&passed).filter(|(_, passed)| !**passed);
    let failed: Vec<_> = failed.map(|(client, _)| &*client.name).collect();
    let passed = installed.len() - failed.len();
    println!("{passed} clients passed, {skipped} skipped, {} failed", failed.len());
    ensure!(failed.is_empty(), "these clients failed: {}", failed.join(", "));
    Ok(())
}

/// Tests a client, prints the result, and returns whether it passed.
async fn report(client: &Client) -> bool {
    let (name, start) = (&client.name, Instant::now());
    match test(client).await {
        Ok(steps) => {
            let seconds = start.elapsed().as_secs_f64();
            println!("passed   {name}: {} in {seconds:.0} s", steps.join(", "));
            true
        }
        Err(error) => {
            println!("failed   {name}: {error:#}");
            false
        }
    }
}

/// Tests a client on an emulator of its own, and returns the steps that it has passed.
async fn test(client: &Client) -> Result<Vec<String>> {
    // The emulator runs on its own threads.
    let emulator = DsqlEmulator::builder().hosts(client::HOSTS).start().await?;
    check_steps(&client.test(&emulator)?)
}

/// The clients with these names, or all.
fn selected(clients: Vec<Client>, names: &[String]) -> Result<Vec<Client>> {
    if let Some(unknown) = names.iter().find(|name| clients.iter().all(|c| c.name != **name)) {
        let known: Vec<_> = clients.iter().map(|client| &*client.name).collect();
        bail!("there is no client {unknown}; there are {}", known.join(", "));
    }
    let is_selected = |client: &Client| names.is_empty() || names.contains(&client.name);
    Ok(clients.into_iter().filter(is_selected).collect())
}

/// The steps that an output reports, if no required one is missing.
fn check_steps(output: &str) -> Result<Vec<String>> {
    let steps: Vec<_> = output.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
    let required = steps.iter().filter(|step| STEPS.contains(step));
    if !required.eq(&STEPS) {
        bail!("it reported the steps {}; required are {}", steps.join(", "), STEPS.join(", "));
    }
    Ok(steps.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_ends_early_or_skips_a_step_fails() {
        let all = STEPS.map(|step| format!("ok {step}\n"));
        assert_eq!(check_steps(&all.concat()).unwrap(), STEPS);
        let with_more = format!("ok {}\nok cancel\nwarning\n{}", STEPS[0], all[1..].concat());
        assert_eq!(check_steps(&with_more).unwrap().len(), 11);
        for missing in 0..STEPS.len() {
            let fewer: String = [&all[..missing], &all[missing + 1..]].concat().concat();
            let error = check_steps(&fewer).unwrap_err().to_string();
            assert!(error.contains("required are connect, create"), "{error}");
        }
        assert!(check_steps("").is_err());
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_clients() {
        let names = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            selected(Client::all().unwrap(), &names)
        };
        assert_eq!(names(&["pgx"]).unwrap().len(), 1);
        assert!(names(&[]).unwrap().len() >= 5);
        let error = names(&["pgx", "pgy"]).unwrap_err().to_string();
        assert!(error.contains("no client pgy") && error.contains("asyncpg"), "{error}");
    }
}
