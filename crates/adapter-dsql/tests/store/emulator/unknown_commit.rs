//! A COMMIT whose answer is lost: the outcome is unknown, and the transaction is not repeated.

use std::sync::Arc;

use dsql_emulator::{CommitFault, CommitRates};
use temporal_dsql_domain::ArchetypeId;
use temporal_dsql_ports::{Outcome, Store, StoreExt};

use crate::support::{
    LONG_RETRIES,
    cluster::{cluster, open},
    current,
};

#[tokio::test]
async fn an_autocommit_write_whose_answer_is_lost_is_not_sent_again() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, LONG_RETRIES).await;
    for (applied, archetype) in [(true, ArchetypeId::WORKFLOW), (false, ArchetypeId::SCHEDULER)] {
        let row = current(archetype);
        cluster.faults().at_commit(CommitFault::LostAnswer { applied }, 1);
        let error = store.session().insert_into_current_executions(&row).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        let read = store.session().select_from_current_executions(&row.filter()).await.unwrap();
        // If the statement were sent again, the row of the second case would exist.
        assert_eq!(read.is_some(), applied);
    }
}

#[tokio::test]
async fn counters_under_random_faults_are_exactly_what_was_acknowledged_or_may_have_been() {
    const WRITERS: u64 = 6;
    const ROUNDS: u64 = 40;
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let store = Arc::new(open(&cluster, LONG_RETRIES).await);
    let rows: Vec<_> = (0..WRITERS)
        .map(|_| {
            let mut row = current(ArchetypeId::ACTIVITY);
            row.last_write_version = 0;
            row
        })
        .collect();
    for row in &rows {
        store.session().insert_into_current_executions(row).await.unwrap();
    }
    let rates =
        CommitRates { conflict: 0.2, catalog_conflict: 0.1, unavailable: 0.1, lost_answer: 0.1 };
    cluster.faults().at_random(seed, rates);
    // Each counter has one writer, so a doubled increment cannot hide behind a lost one.
    let writers = rows.clone().into_iter().map(|row| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (mut acknowledged, mut unknown) = (0, 0);
            for _ in 0..ROUNDS {
                let increment = store.run("Increment", &row, |transaction, row| {
                    Box::pin(async move {
                        let locked = transaction.lock_current_executions(&row.filter()).await?;
                        let mut row = locked.expect("the row exists");
                        row.last_write_version += 1;
                        transaction.update_current_executions(&row).await
                    })
                });
                match increment.await {
                    Ok(1) => acknowledged += 1,
                    Err(error) if error.outcome() == Outcome::Unknown => unknown += 1,
                    other => panic!("neither done nor unknown: {other:?}"),
                }
            }
            (acknowledged, unknown)
        })
    });
    let mut results = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        results.push(writer.await.unwrap());
    }
    let report = cluster.faults().report();
    cluster.faults().clear();
    println!("{} faults at commits; (acknowledged, unknown): {results:?}", report.commits);
    assert!(report.commits > 20, "too little trouble: {report:?}");
    for (row, (acknowledged, unknown)) in rows.iter().zip(results) {
        let read = store.session().select_from_current_executions(&row.filter()).await.unwrap();
        let counted = read.unwrap().last_write_version;
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&counted),
            "{counted} increments, of which {acknowledged} were acknowledged and {unknown} unknown"
        );
    }
    let tables = "SELECT count(*) FROM current_chasm_executions";
    assert_eq!(cluster.query(tables).await.unwrap()[0][0].as_deref(), Some("6"));
}
