//! Random histories and trims, more of them than in the conformance suite.

use std::sync::Arc;

use temporal_dsql_conformance::fuzz_histories;
use temporal_dsql_memory::MemoryStore;

/// `HISTORY_FUZZ_SEED` repeats a run.
#[tokio::test]
async fn readable_branches_read_the_same_after_a_trim() {
    const TREES: u32 = 400;
    let seed = std::env::var("HISTORY_FUZZ_SEED")
        .map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    eprintln!("HISTORY_FUZZ_SEED={seed}");
    let report = fuzz_histories(Arc::new(MemoryStore::new()), seed, TREES).await;
    assert!(report.deleting > 100 && report.broken > 100, "{report:?}");
    assert!(report.compared > 1_000, "{report:?}");
}
