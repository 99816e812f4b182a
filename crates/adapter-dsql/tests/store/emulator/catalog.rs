//! The catalog changes while the store works: temporal-persistence.md#case-5.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use temporal_dsql_ports::{Store, StoreExt};

use crate::support::{
    LONG_RETRIES,
    cluster::{cluster, open},
    execution,
};

#[tokio::test]
async fn no_update_is_lost_while_asynchronous_index_builds_finish() {
    const WRITERS: usize = 4;
    const INDEXES: usize = 5;
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = Arc::new(open(&cluster, LONG_RETRIES).await);
    let (attempts, is_over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        // Each writer has its own row, so it conflicts only with changes of the catalog.
        let row = execution();
        store.session().insert_into_executions(&row).await.unwrap();
        let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
        let input = (row.filter(), Arc::clone(&attempts));
        writers.push(tokio::spawn(async move {
            let mut updates = 0;
            while !is_over.load(Ordering::SeqCst) {
                let updated = store.run("Update", &input, |transaction, (run, attempts)| {
                    Box::pin(async move {
                        attempts.fetch_add(1, Ordering::SeqCst);
                        let row = transaction.select_from_executions(run).await?;
                        let mut row = row.expect("the row exists");
                        row.next_event_id += 1;
                        transaction.update_executions(&row).await
                    })
                });
                assert_eq!(updated.await.unwrap(), 1);
                updates += 1;
            }
            let read = store.session().select_from_executions(&input.0).await.unwrap();
            assert_eq!(read.unwrap().next_event_id, row.next_event_id + i64::from(updates));
            updates
        }));
    }
    for number in 0..INDEXES {
        let build = format!("CREATE INDEX ASYNC late_{number} ON executions (next_event_id)");
        let job = cluster.query(&build).await.unwrap()[0][0].clone().unwrap();
        cluster.query(&format!("CALL sys.wait_for_job('{job}')")).await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    let mut updates = 0;
    for writer in writers {
        updates += writer.await.unwrap();
    }
    let attempts = attempts.load(Ordering::SeqCst);
    assert!(attempts > updates, "no index got in the way of {updates} updates");
}
