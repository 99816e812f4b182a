//! Many writers on few keys: all finish, and no update is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use temporal_dsql_domain::ArchetypeId;
use temporal_dsql_ports::{Store, StoreExt};
use temporal_dsql_store::connect;

use crate::support::{
    cluster::{cluster, config, credentials},
    current,
};

#[tokio::test]
async fn sixty_four_writers_on_eight_keys_all_finish_and_none_is_lost() {
    let Some(attempts) = count_up().await else { return };
    let total: u32 = attempts.iter().sum();
    assert!(total as usize > attempts.len(), "no increment lost a conflict");
}

/// Increments 8 rows with 64 concurrent writers. Returns the number of attempts of each increment,
/// in ascending order.
#[expect(clippy::print_stdout, reason = "the number of conflicts depends on the machine")]
async fn count_up() -> Option<Vec<u32>> {
    const WRITERS: usize = 64;
    const KEYS: usize = 8;
    const ROUNDS: usize = 5;
    let cluster = cluster(|builder| builder).await?;
    let mut config = config(&cluster);
    config.pool.max_connections = 64;
    config.retry.deadline = Duration::from_secs(60);
    let store = Arc::new(connect(&config, Some(credentials(&cluster))).await.unwrap());
    let mut rows = Vec::new();
    for key in 0..KEYS {
        let archetype = if key % 2 == 0 { ArchetypeId::WORKFLOW } else { ArchetypeId::SCHEDULER };
        let mut row = current(archetype);
        row.last_write_version = 0;
        store.session().insert_into_current_executions(&row).await.unwrap();
        rows.push(row);
    }
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, row) = (Arc::clone(&store), rows[writer % KEYS].clone());
            tokio::spawn(async move {
                let mut attempts = Vec::new();
                for _ in 0..ROUNDS {
                    let tried = Arc::new(AtomicU32::new(0));
                    let input = (row.filter(), Arc::clone(&tried));
                    store
                        .run("Increment", &input, |transaction, (filter, tried)| {
                            Box::pin(async move {
                                tried.fetch_add(1, Ordering::Relaxed);
                                let locked = transaction.lock_current_executions(filter).await?;
                                let mut row = locked.expect("the row exists");
                                row.last_write_version += 1;
                                transaction.update_current_executions(&row).await
                            })
                        })
                        .await
                        .unwrap();
                    attempts.push(tried.load(Ordering::Relaxed));
                }
                attempts
            })
        })
        .collect();
    let mut attempts = Vec::new();
    for writer in writers {
        attempts.extend(writer.await.unwrap());
    }
    for row in &rows {
        let read = store.session().select_from_current_executions(&row.filter()).await.unwrap();
        let expected = (WRITERS / KEYS * ROUNDS) as i64;
        assert_eq!(read.unwrap().last_write_version, expected, "an update was lost or doubled");
    }
    attempts.sort_unstable();
    let total: u32 = attempts.iter().sum();
    println!(
        "{} transactions in {total} attempts: median {}, 99th percentile {}, most {}",
        attempts.len(),
        attempts[attempts.len() / 2],
        attempts[attempts.len() * 99 / 100],
        attempts[attempts.len() - 1],
    );
    Some(attempts)
}
