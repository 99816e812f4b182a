//! `temporal-dsql-demo`: what this workspace does, on one screen, with the recorded rows of real Temporal
//! servers on emulated clusters of Aurora DSQL.
//!
//! `cargo xtask demo` starts it. It ends with an error at the first difference between what is read and
//! what was written.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to its terminal"
)]

mod conflicts;
mod database;
mod import;
mod run_rows;
mod service_rows;
mod table;
mod writer;

use std::{fmt::Display, process::ExitCode, time::Instant};

use anyhow::{Context, Result, ensure};
use temporal_dsql::{
    CurrentExecutionsRow, ExecutionsRow, SchemaVersion, Store, VERSION, memory::MemoryStore,
    verify_compatible_version,
};
use temporal_dsql_conformance::real_data::Recording;

use database::{Database, Postgres};
use run_rows::{Compared, RunRows};
use service_rows::ServiceRows;
use writer::Writer;

fn main() -> ExitCode {
    match tokio::runtime::Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let start = Instant::now();
    let (mut rows, service_rows) = (RunRows::read(Recording::Dsql), ServiceRows::read());
    let recorded_workflows = rows.workflows.clone();
    let postgres = Postgres::start()?;
    let cluster = postgres.cluster().await?;
    println!("An emulated cluster of Aurora DSQL on {}: TLS, IAM tokens,", cluster.address());
    println!("optimistic transactions whose conflicts are errors of COMMIT.");

    title("Upgrade the schema from 1.0 to the newest version, while a writer works");
    let first = SchemaVersion::new(1, 0);
    let steps = cluster.set_up(Some(first)).await?;
    say(&format!("set up schema {first}"), format!("{steps} steps"));
    let store = cluster.store().await?;
    insert_executions(&store, &rows.executions).await?;
    insert_current(&store, &rows.workflows).await?;
    say("store the workflows of a Temporal server", rows.workflows.len());
    upgrade(&cluster, &store, &mut rows.workflows).await?;

    title("Store the rows of a Temporal 1.32 server and read them, with every archetype");
    insert_current(&store, &rows.others).await?;
    let compared = store_and_compare(&store, &rows, &service_rows).await?.to_string();
    print!("{}", table::of(&rows.current()));
    say("all tables, read as they were written", &compared);
    cluster.verify().await?;
    let memory = MemoryStore::new();
    let updated_workflows = std::mem::replace(&mut rows.workflows, recorded_workflows);
    insert_executions(&memory, &rows.executions).await?;
    insert_current(&memory, &rows.workflows).await?;
    insert_current(&memory, &rows.others).await?;
    let in_memory = store_and_compare(&memory, &rows, &service_rows).await?.to_string();
    ensure!(in_memory == compared, "in memory: {in_memory}");
    say("the same in the store for tests, in memory", in_memory);
    rows.workflows = updated_workflows;

    title("Lose a conflict");
    let other = cluster.store().await?;
    let attempts = conflicts::conflict(&store, &other, &mut rows.workflows[0]).await?;
    ensure!(attempts == 2, "{attempts} attempts");
    println!("  two transactions read the same execution, and both update it;");
    println!(
        "  the server refuses the second COMMIT, and the store repeats that transaction: both"
    );
    println!("  updates are stored, after {attempts} attempts");

    title("Take a shard over");
    let refused = conflicts::takeover(&store).await?;
    println!("  host 2 takes a shard over from host 1, which still writes; its write is refused:");
    println!("  {refused}");

    title("Import a deployment on PostgreSQL");
    let source = postgres.recorded_deployment().await?;
    let target = postgres.cluster().await?;
    target.set_up(None).await?;
    let report = import::import(&source, &target).await?;
    let copied: u64 = report.tables.iter().map(|table| table.inserted).sum();
    say("copy a Temporal server's database to a cluster", format!("{copied} rows"));
    say("compare both sides, row by row", "equal");
    say("read with the stores of a service", import::compare(&target.store().await?).await?);

    println!("\nDone in {} s. Every row was read as it was written.", start.elapsed().as_secs());
    Ok(())
}

/// Stores the rows that belong to no current execution, and compares all rows with what is read.
async fn store_and_compare(
    store: &impl Store,
    rows: &RunRows,
    service_rows: &ServiceRows,
) -> Result<Compared> {
    rows.store(store).await?;
    service_rows.store(store).await?;
    Ok(rows.compare(store).await?.and(service_rows.compare(store).await?))
}

/// Upgrades while a writer updates rows; verifies that its updates are stored and that no other row
/// changed.
async fn upgrade(
    cluster: &Database,
    store: &impl Store,
    workflows: &mut [CurrentExecutionsRow],
) -> Result<()> {
    // The writer updates every tenth row; the digest covers the others.
    let (written, resting): (Vec<_>, Vec<_>) =
        (0..workflows.len()).partition(|position| position % 10 == 0);
    let rows = written.iter().map(|position| workflows[*position].clone()).collect();
    let excluded = written.iter().map(|position| database::key(&workflows[*position])).collect();
    let before = cluster.digest(&excluded).await?;
    let writer = Writer::start(cluster.store().await?, rows);
    writer.has_written(50).await?;
    let steps = cluster.update().await?;
    writer.has_written(50).await?;
    let after = cluster.digest(&excluded).await?;
    let (rows, updates) = writer.stop().await?;
    ensure!(before.rows() == resting.len() as u64, "the digest covers {} rows", before.rows());
    ensure!(before == after, "rows without updates have changed: {before}, then {after}");
    for (position, row) in written.iter().zip(rows) {
        workflows[*position] = row;
    }
    let mut session = store.session();
    for row in workflows.iter() {
        let stored = session.select_from_current_executions(&row.filter()).await?;
        ensure!(stored.as_ref() == Some(row), "an update was lost: {row:?}, stored {stored:?}");
    }
    let version = verify_compatible_version(store, "postgres").await?;
    ensure!(version == VERSION, "the version {version} is recorded");
    say(&format!("upgrade to {VERSION}"), format!("{steps} steps"));
    say("updates of executions meanwhile, none failed", updates);
    say("executions without an update, unchanged", resting.len());
    Ok(())
}

async fn insert_executions(store: &impl Store, rows: &[ExecutionsRow]) -> Result<()> {
    let mut session = store.session();
    for row in rows {
        session.insert_into_executions(row).await.with_context(|| format!("{row:?}"))?;
    }
    Ok(())
}

async fn insert_current(store: &impl Store, rows: &[CurrentExecutionsRow]) -> Result<()> {
    let mut session = store.session();
    for row in rows {
        session.insert_into_current_executions(row).await.with_context(|| format!("{row:?}"))?;
    }
    Ok(())
}

fn title(text: &str) {
    println!("\n{text}");
}

fn say(what: &str, result: impl Display) {
    println!("  {what:<52}{result}");
}
