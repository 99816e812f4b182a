//! What Aurora DSQL's optimistic transactions mean for a service: a lost conflict is repeated, and a
//! previous owner of a shard cannot write.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use temporal_dsql::{
    ConditionFailed, CurrentExecutionsRow, DataBlob, ImmediateQueue, ImmediateTask, ShardId,
    ShardsRow, Store, StoreError, StoreExt, Tasks,
    stores::{Owner, ShardStore, TaskStore},
};

/// A transaction that updates `row`, and another store that updates the same row meanwhile.
struct Race<'a, S> {
    row: &'a CurrentExecutionsRow,
    other: &'a S,
    attempts: AtomicU32,
}

/// Updates `row` in two transactions at the same time, and returns the number of attempts of the
/// first one. The row has both updates afterwards.
///
/// # Errors
/// An update is lost, and errors of the store.
pub async fn conflict<S: Store>(
    store: &S,
    other: &S,
    row: &mut CurrentExecutionsRow,
) -> Result<u32> {
    let race = Race { row, other, attempts: AtomicU32::new(0) };
    store
        .run("Update", &race, |transaction, race| {
            Box::pin(async move {
                let filter = race.row.filter();
                let read = transaction.select_from_current_executions(&filter).await?;
                let mut next = read.unwrap_or_else(|| race.row.clone());
                next.last_write_version += 1;
                if race.attempts.fetch_add(1, Ordering::SeqCst) == 0 {
                    race.other.session().update_current_executions(&next).await?;
                }
                transaction.update_current_executions(&next).await.map(drop)
            })
        })
        .await?;
    let attempts = race.attempts.into_inner();
    let stored = store.session().select_from_current_executions(&row.filter()).await?;
    row.last_write_version += 2;
    ensure!(stored.as_ref() == Some(&*row), "an update was lost: {row:?}, stored {stored:?}");
    Ok(attempts)
}

/// Takes a shard over, and returns the error of a write by its previous owner.
///
/// # Errors
/// The write succeeds, and errors of the store.
pub async fn takeover(store: &impl Store) -> Result<StoreError> {
    let shard_id = ShardId(5);
    let row = |range_id, host: &str| ShardsRow { shard_id, range_id, data: DataBlob::proto3(host) };
    let (shards, tasks) = (ShardStore::new(store), TaskStore::new(store));
    shards.get_or_create(&row(7, "host-1")).await?;
    shards.update(&row(8, "host-2"), 7).await?;

    let task = ImmediateTask { task_id: 1, data: DataBlob::proto3(*b"a task") };
    let immediate = vec![(ImmediateQueue::Transfer, vec![task])];
    let late = tasks
        .add(Owner { shard_id, range_id: 7 }, &Tasks { immediate, scheduled: Vec::new() })
        .await;
    let all = i64::MIN..i64::MAX;
    let stored = tasks.immediate_page(shard_id, &ImmediateQueue::Transfer, all, 1).await?;
    ensure!(stored.items.is_empty(), "a previous owner has written {stored:?}");
    match late {
        Err(error @ StoreError::Condition(ConditionFailed::ShardOwnershipLost { .. })) => Ok(error),
        other => anyhow::bail!("the write of a previous owner returned {other:?}"),
    }
}
