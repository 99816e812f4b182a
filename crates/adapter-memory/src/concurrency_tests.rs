//! Concurrent writers through the runner: no increment is lost or applied twice.

use std::{sync::Arc, time::Duration};

use temporal_dsql_ports::{Outcome, RetryPolicy, Runner, Store, StoreError, StoreExt};

use crate::{
    FaultPlan, FaultRates, MemoryStore,
    testing::{Log, execution},
};

const WRITERS: u64 = 8;
const INCREMENTS: u64 = 100;

/// Adds 1 to the counter without a lock, and yields to the other writers between read and write.
async fn increment(store: &MemoryStore) -> Result<(), StoreError> {
    let filter = execution("counter", 1).filter();
    store
        .run("Increment", &filter, |transaction, filter| {
            Box::pin(async move {
                let mut row = transaction.select_from_executions(filter).await?.unwrap();
                tokio::task::yield_now().await;
                row.next_event_id += 1;
                transaction.update_executions(&row).await.map(drop)
            })
        })
        .await
}

/// Increments the counter with all writers. Returns the value of the counter, the number of increments
/// that were reported as successful, and the number of attempts.
async fn count(plan: FaultPlan) -> (MemoryStore, [u64; 3]) {
    let log = Arc::new(Log::default());
    let policy = RetryPolicy::new(
        Duration::from_micros(50),
        Duration::from_millis(2),
        Duration::from_secs(60),
    );
    let runner = Runner::builder().policy(policy).observer(log.clone()).seed(1);
    let store = MemoryStore::builder().runner(runner.build()).build();
    let counter = execution("counter", 1);
    store.session().insert_into_executions(&counter).await.unwrap();
    store.inject(plan);
    log.take();

    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut succeeded = 0;
                for _ in 0..INCREMENTS {
                    match increment(&store).await {
                        Ok(()) => succeeded += 1,
                        Err(error) => assert_eq!(error.outcome(), Outcome::Unknown, "{error}"),
                    }
                }
                succeeded
            })
        })
        .collect();
    let mut succeeded = 0;
    for writer in writers {
        succeeded += writer.await.unwrap();
    }
    let attempts = log.take().iter().map(|(_, attempts)| u64::from(*attempts)).sum();
    let row = store.session().select_from_executions(&counter.filter()).await;
    let grown = row.unwrap().unwrap().next_event_id - counter.next_event_id;
    (store, [grown.try_into().unwrap(), succeeded, attempts])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_increments_of_one_row_are_all_kept() {
    let (store, [grown, succeeded, attempts]) = count(FaultPlan::none()).await;
    assert_eq!((grown, succeeded), (WRITERS * INCREMENTS, WRITERS * INCREMENTS));
    assert!(attempts > succeeded, "no increment lost a conflict");
    assert_eq!(store.engine().tracked_rows(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_random_faults_the_counter_has_the_reported_and_the_unknown_applied_increments() {
    let seed = 20_261_123;
    let rates =
        FaultRates { conflict: 0.05, unavailable: 0.05, lost_commits: 0.05, lost_answers: 0.05 };
    let (store, [grown, succeeded, _]) = count(FaultPlan::seeded(seed, rates)).await;
    let report = store.fault_report();
    assert_eq!(grown, succeeded + report.lost_answers, "seed {seed}, {report:?}");
    assert!(report.lost_commits > 0 && report.lost_answers > 0, "{report:?}");
    assert_eq!(succeeded + report.lost_commits + report.lost_answers, WRITERS * INCREMENTS);
    assert_eq!(store.engine().tracked_rows(), 0);
}
