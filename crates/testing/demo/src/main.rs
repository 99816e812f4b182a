//! `temporal-dsql-demo`: sets up schema 1.0 on an empty database, stores the rows that a Temporal
//! 1.32 server wrote, upgrades to 1.1 under load, and compares what is read with what was written.
//!
//! `cargo xtask demo` starts it. It ends with an error at the first difference.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to its terminal"
)]

mod database;
#[cfg(test)]
mod import;
mod run_rows;
mod service_rows;
mod table;
mod writer;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use temporal_dsql::memory::MemoryStore;
use temporal_dsql::{CurrentExecutionsRow, ExecutionsRow, SchemaVersion, VERSION};
use temporal_dsql::{Store, verify_compatible_version};
use temporal_dsql_conformance::real_data::Recording;

use database::{Database, Kind};
use run_rows::RunRows;
use service_rows::ServiceRows;
use writer::Writer;

/// Stores the rows of a Temporal 1.32 server and compares what is read with what was written.
#[derive(Parser)]
struct Options {
    /// The database
    #[arg(long, value_enum, default_value = "emulator")]
    on: Kind,
}

fn main() -> ExitCode {
    match start(Options::parse().on) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(kind: Kind) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(kind))
}

async fn run(kind: Kind) -> Result<()> {
    let mut run_rows = RunRows::read(Recording::Dsql);
    let recorded_workflows = run_rows.workflows.clone();
    step("Start a database");
    let database = Database::start(kind).await?;
    println!("{}", database.description());

    step("Set up schema 1.0, the version of existing deployments");
    let first = SchemaVersion::new(1, 0);
    println!("{}", database.set_up(first).await?);

    step("Store the workflows of a Temporal 1.32 server");
    let store = database.store().await?;
    insert_executions(&store, &run_rows.executions).await?;
    insert_current(&store, &run_rows.workflows).await?;
    println!(
        "{} executions and {} current executions",
        run_rows.executions.len(),
        run_rows.workflows.len()
    );

    step(&format!("Upgrade to {VERSION} while a writer keeps updating some current executions"));
    upgrade(&database, &store, &mut run_rows.workflows).await?;
    println!(
        "the store accepts the schema: {}",
        verify_compatible_version(&store, "postgres").await?
    );

    step("Store the activities, schedulers and Nexus operations, through the router");
    insert_current(&store, &run_rows.others).await?;
    println!("{} current executions of other archetypes", run_rows.others.len());

    step("Store the maps of the runs, the tasks of their shard, and the histories");
    run_rows.store(&store).await?;

    step("Read every row and compare it with the source");
    print!("{}", table::of(&run_rows.current()));
    print!("{}", run_rows.compare(&store).await?.table());
    database.verify().await?;

    step("Store and read the task queues, namespaces, clusters, Nexus endpoints and queues");
    let service_rows = ServiceRows::read();
    service_rows.store(&store).await?;
    print!("{}", service_rows.compare(&store).await?.table());

    step("Repeat on the memory adapter");
    let memory = MemoryStore::new();
    run_rows.workflows = recorded_workflows;
    insert_executions(&memory, &run_rows.executions).await?;
    insert_current(&memory, &run_rows.workflows).await?;
    insert_current(&memory, &run_rows.others).await?;
    run_rows.store(&memory).await?;
    print!("{}", run_rows.compare(&memory).await?.table());
    service_rows.store(&memory).await?;
    print!("{}", service_rows.compare(&memory).await?.table());

    println!("\nEvery row was read as it was written.");
    Ok(())
}

/// Upgrades while a writer updates rows; verifies that its updates are stored and that no other row
/// changed.
async fn upgrade(
    database: &Database,
    store: &impl Store,
    workflows: &mut [CurrentExecutionsRow],
) -> Result<()> {
    // The writer updates every tenth row; the digest covers the others.
    let (written, resting): (Vec<_>, Vec<_>) =
        (0..workflows.len()).partition(|position| position % 10 == 0);
    let rows = written.iter().map(|position| workflows[*position].clone()).collect();
    let excluded = written.iter().map(|position| database::key(&workflows[*position])).collect();
    let before = database.digest(&excluded).await?;
    let writer = Writer::start(database.store().await?, rows);
    writer.has_written(50).await?;
    let updated = database.update().await?;
    writer.has_written(50).await?;
    let after = database.digest(&excluded).await?;
    let (rows, updates) = writer.stop().await?;
    println!("{updated}");
    ensure!(before.rows() == resting.len() as u64, "the digest covers {} rows", before.rows());
    ensure!(before == after, "rows without updates have changed: {before}, then {after}");
    println!("{updates} updates of {} rows during the upgrade, none failed", written.len());
    println!("digest of the rows without updates: {before}, before and after");
    for (position, row) in written.iter().zip(rows) {
        workflows[*position] = row;
    }
    let mut session = store.session();
    for row in workflows.iter() {
        let stored = session.select_from_current_executions(&row.filter()).await?;
        ensure!(stored.as_ref() == Some(row), "an update was lost: {row:?}, stored {stored:?}");
    }
    ensure!(
        store.schema_version("postgres").await?.map(|recorded| recorded.current) == Some(VERSION),
        "the version is not recorded"
    );
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

fn step(title: &str) {
    println!("\n== {title}");
}
