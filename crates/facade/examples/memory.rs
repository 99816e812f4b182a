//! The services of `service/` on a store in memory, a third of whose commits fail.
//!
//! `cargo run -p temporal-dsql --example memory --features memory`
#![expect(clippy::print_stdout, reason = "an example says what it does")]

#[path = "service/mod.rs"]
mod service;

use std::sync::Arc;

use temporal_dsql::{
    DataBlob, Outcome, ShardId, ShardsRow, Store,
    memory::{FaultPlan, FaultRates, MemoryFault, MemoryStore},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> service::Result<()> {
    let rates = FaultRates { conflict: 0.2, unavailable: 0.1, ..FaultRates::default() };
    let store = MemoryStore::builder().faults(FaultPlan::seeded(7, rates)).build();
    service::run(Arc::new(store.clone())).await?;
    let report = store.fault_report();
    assert!(report.conflicts > 0 && report.unavailable > 0, "{report:?}");
    println!(
        "{} conflicts and {} outages were injected, and the commits repeated",
        report.conflicts, report.unavailable
    );

    // The answer to a commit is lost. The store does not repeat it, because it may be applied.
    store.inject(FaultPlan::script([MemoryFault::LostAnswer]));
    let row = ShardsRow { shard_id: ShardId(2), range_id: 1, data: DataBlob::proto3("host-1") };
    let error = store.session().insert_into_shards(&row).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    println!("the answer to a commit is lost: {error}");
    let read = store.session().select_from_shards(row.shard_id).await?;
    assert_eq!(read, Some(row));
    println!("the row shows that it was applied");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_runs() {
        super::main().unwrap();
    }
}
