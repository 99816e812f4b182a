//! `cargo xtask demo`: the product on real input, from an empty database to an upgraded one.
//!
//! The input is what a Temporal 1.32 server wrote. Every step checks its outcome against it; the
//! demo ends with an error at the first difference.

mod database;
mod family;
mod table;
mod writer;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use temporal_dsql::memory::MemoryStore;
use temporal_dsql::{CurrentExecutionsRow, ExecutionsRow, SchemaVersion, VERSION};
use temporal_dsql::{Store, verify_compatible_version};
use temporal_dsql_conformance::real_data;

use database::{Database, Kind};
use family::Family;
use writer::Writer;

/// The rows of the recording.
struct Recording {
    executions: Vec<ExecutionsRow>,
    workflows: Vec<CurrentExecutionsRow>,
    others: Vec<CurrentExecutionsRow>,
}

impl Recording {
    fn read() -> Self {
        Self {
            executions: real_data::executions(),
            workflows: real_data::current_executions(),
            others: real_data::current_chasm_executions(),
        }
    }
}

/// How to play it.
#[derive(clap::Args)]
pub struct Options {
    /// What to play it on.
    #[arg(long, value_enum, default_value = "emulator")]
    on: Kind,
}

/// Plays the demo.
///
/// # Errors
/// Anything that is not as it should be.
pub fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(play(options.on))?;
    Ok(ExitCode::SUCCESS)
}

async fn play(kind: Kind) -> Result<()> {
    let recording = Recording::read();
    step("A database of its own");
    let database = Database::start(kind).await?;
    println!("{}", database.description());

    step("Set up schema 1.0, where a deployment of today is");
    let first = SchemaVersion::new(1, 0);
    println!("{}", database.set_up(first).await?);

    step("Store what a Temporal 1.32 server wrote about its workflows");
    let store = database.store().await?;
    let mut workflows = recording.workflows.clone();
    insert_executions(&store, &recording.executions).await?;
    insert_current(&store, &workflows).await?;
    println!(
        "{} executions and {} current executions, through the ports",
        recording.executions.len(),
        workflows.len()
    );

    step(&format!("Upgrade to {VERSION} while a writer keeps updating some current executions"));
    upgrade(&database, &store, &mut workflows).await?;
    println!(
        "the store accepts the schema: {}",
        verify_compatible_version(&store, "postgres").await?
    );

    step("Store the activities, schedulers and Nexus operations, through the router");
    insert_current(&store, &recording.others).await?;
    println!("{} current executions of other archetypes", recording.others.len());

    step("Store what belongs to the runs: maps, tasks as the owner of their shard, histories");
    let family = Family::read();
    family.store(&store).await?;

    step("Read everything back and compare it with the source, row by row");
    let current: Vec<_> = workflows.iter().chain(&recording.others).collect();
    compare(&store, &recording.executions, &current).await?;
    print!("{}", table::of(&current));
    print!("{}", family.compare(&store).await?.table());
    database.verify().await?;

    step("The same on the memory adapter");
    let memory = MemoryStore::new();
    insert_executions(&memory, &recording.executions).await?;
    insert_current(&memory, &recording.workflows).await?;
    insert_current(&memory, &recording.others).await?;
    let current: Vec<_> = recording.workflows.iter().chain(&recording.others).collect();
    compare(&memory, &recording.executions, &current).await?;
    print!("{}", table::of(&current));
    family.store(&memory).await?;
    print!("{}", family.compare(&memory).await?.table());

    println!("\nEverything is as it was written.");
    Ok(())
}

/// Upgrades with writers at work, and proves that no row changed that nobody wrote.
async fn upgrade(
    database: &Database,
    store: &impl Store,
    workflows: &mut [CurrentExecutionsRow],
) -> Result<()> {
    // Every tenth row is written to; the digest is over the others.
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
    ensure!(before.rows() == resting.len() as u64, "the digest is over {} rows", before.rows());
    ensure!(before == after, "rows that nobody wrote have changed: {before}, then {after}");
    println!("{updates} updates of {} rows went on meanwhile, none failed", written.len());
    println!("the {} rows that nobody wrote: {before}, before and after", resting.len());
    for (position, row) in written.iter().zip(rows) {
        workflows[*position] = row;
    }
    let mut session = store.session();
    for row in workflows.iter() {
        let stored = session.select_from_current_executions(&row.filter()).await?;
        ensure!(stored.as_ref() == Some(row), "an update was lost: {row:?}, stored {stored:?}");
    }
    ensure!(
        store.schema_version("postgres").await? == Some(VERSION),
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

async fn compare(
    store: &impl Store,
    executions: &[ExecutionsRow],
    current: &[&CurrentExecutionsRow],
) -> Result<()> {
    let mut session = store.session();
    for row in executions {
        let stored = session.select_from_executions(&row.filter()).await?;
        ensure!(stored.as_ref() == Some(row), "{row:?} came back as {stored:?}");
    }
    for row in current {
        let stored = session.select_from_current_executions(&row.filter()).await?;
        ensure!(stored.as_ref() == Some(*row), "{row:?} came back as {stored:?}");
    }
    println!(
        "{} executions and {} current executions came back exactly as they were written",
        executions.len(),
        current.len()
    );
    Ok(())
}

fn step(title: &str) {
    println!("\n== {title}");
}
