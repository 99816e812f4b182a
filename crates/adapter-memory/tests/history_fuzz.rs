//! Random histories, trimmed, in larger numbers than the conformance suite plays them.

use std::sync::Arc;

use temporal_dsql_conformance::fuzz_histories;
use temporal_dsql_memory::MemoryStore;

/// `HISTORY_FUZZ_SEED` repeats a run.
#[tokio::test]
async fn no_branch_that_was_readable_reads_differently_after_a_trim() {
    const TREES: u32 = 400;
    let seed = std::env::var("HISTORY_FUZZ_SEED")
        .map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    eprintln!("HISTORY_FUZZ_SEED={seed}");
    let report = fuzz_histories(Arc::new(MemoryStore::new()), seed, TREES).await;
    assert!(report.deleting > 100 && report.broken > 100, "{report:?}");
    assert!(report.compared > 1_000, "{report:?}");
}
