//! What the tests of the emulator share: the gate, and a client that sees every message.
pub mod client;
mod gate;

use dsql_emulator::{CatalogConflicts, DsqlEmulator, DsqlEmulatorBuilder};
use tokio::sync::OnceCell;

pub use client::{Client, Entry, Observation};
pub use gate::offline;

/// Keeps the PostgreSQL that all emulators of this process share, from the first test to the last.
static KEEPER: OnceCell<DsqlEmulator> = OnceCell::const_new();

/// An emulator, unless this run is to start none.
pub async fn start(builder: DsqlEmulatorBuilder) -> Option<DsqlEmulator> {
    if offline() {
        return None;
    }
    // RUST_LOG=dsql_emulator=debug shows what the emulator does.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    KEEPER.get_or_init(async || DsqlEmulator::start().await.expect("an emulator")).await;
    Some(builder.start().await.expect("an emulator"))
}

/// An emulator as it comes, unless this run is to start none.
pub async fn start_default() -> Option<DsqlEmulator> {
    start(DsqlEmulator::builder()).await
}

/// What every session hears of every catalog change from.
pub fn strict() -> DsqlEmulatorBuilder {
    DsqlEmulator::builder().catalog_conflicts(CatalogConflicts::Always)
}

/// The loser's error at COMMIT (aurora-dsql.md#conflicts).
pub const CONFLICT: (&str, &str) = ("40001", "change conflicts with another transaction (OC000)");
/// What a session hears of catalog changes (aurora-dsql.md#conflicts).
pub const CATALOG_CONFLICT: (&str, &str) =
    ("40001", "schema has been updated by another transaction (OC001)");

/// A pair as a pair of slices, to compare with.
pub fn pair(pair: &(String, String)) -> (&str, &str) {
    (&pair.0, &pair.1)
}
