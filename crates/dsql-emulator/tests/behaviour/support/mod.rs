//! Shared code of the emulator's tests: skipping, and a client that shows every message.
pub mod client;
mod gate;

use dsql_emulator::{CatalogConflicts, DsqlEmulator, DsqlEmulatorBuilder};
use tokio::sync::OnceCell;

pub use client::{Client, ConnectOptions, Observation};
pub use gate::offline;

/// Keeps the PostgreSQL server that all emulators of this process share running from the first test
/// to the last.
static SHARED_EMULATOR: OnceCell<DsqlEmulator> = OnceCell::const_new();

/// Starts an emulator; `None` if this run starts no server.
pub async fn start(builder: DsqlEmulatorBuilder) -> Option<DsqlEmulator> {
    if offline() {
        return None;
    }
    // RUST_LOG=dsql_emulator=debug shows what the emulator does.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    SHARED_EMULATOR.get_or_init(async || DsqlEmulator::start().await.expect("an emulator")).await;
    Some(builder.start().await.expect("an emulator"))
}

/// Starts an emulator with the default configuration; `None` if this run starts no server.
pub async fn start_default() -> Option<DsqlEmulator> {
    start(DsqlEmulator::builder()).await
}

/// A configuration under which every session gets a conflict after every catalog change.
pub fn strict() -> DsqlEmulatorBuilder {
    DsqlEmulator::builder().catalog_conflicts(CatalogConflicts::Always)
}

/// The loser's error at COMMIT (aurora-dsql.md#conflicts).
pub const CONFLICT: (&str, &str) = ("40001", "change conflicts with another transaction (OC000)");
/// The error of a session after a catalog change (aurora-dsql.md#conflicts).
pub const CATALOG_CONFLICT: (&str, &str) =
    ("40001", "schema has been updated by another transaction (OC001)");

/// A pair of strings as a pair of slices, for comparisons.
pub fn pair(pair: &(String, String)) -> (&str, &str) {
    (&pair.0, &pair.1)
}
