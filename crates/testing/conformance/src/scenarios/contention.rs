//! Many concurrent callers: one winner per id, and no lost update.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use futures_util::future::join_all;
use temporal_dsql_domain::CurrentExecutionsRow;
use temporal_dsql_ports::{ConditionFailed, RetryPolicy, Store, StoreError, StoreExt};

use crate::{
    context::{
        TestContext,
        guarded_requests::GuardedRequest,
        owned_shard::{OwnedShard, SharedStore},
    },
    interceptors::barrier_after_begin,
    scenario::scenario_table,
};

scenario_table! { "contention":
    of_sixteen_creators_one_succeeds_and_the_others_observe_its_row per archetype;
    sixteen_creators_without_a_transaction_have_one_winner per archetype;
    no_increment_of_many_writers_is_lost per archetype;
    exactly_one_of_many_deleters_deletes per archetype;
    requests_of_one_owner_do_not_conflict;
}

/// Makes `row` the current execution of its id, if the id has none.
async fn create(store: &dyn Store, row: &CurrentExecutionsRow) -> Result<(), StoreError> {
    store
        .run("Create", row, |transaction, row| {
            Box::pin(async move {
                match transaction.lock_current_executions(&row.filter()).await? {
                    Some(current) => {
                        let observed = Some(Box::new(current));
                        Err(ConditionFailed::CurrentExecution { observed }.into())
                    }
                    None => transaction
                        .insert_into_current_executions(row)
                        .await
                        .map(drop)
                        .map_err(|error| error.duplicate_is_conflict("Create")),
                }
            })
        })
        .await
}

async fn of_sixteen_creators_one_succeeds_and_the_others_observe_its_row(ctx: &TestContext) {
    for round in 0..4 {
        let id = ctx.current();
        let rows: Vec<_> = (0..16).map(|_| ctx.changed(&id)).collect();
        // In every other round all transactions have begun before the first of them reads.
        let (synchronized, begun) = barrier_after_begin(&ctx.store, 16);
        let store = if round % 2 == 0 { synchronized } else { Arc::clone(&ctx.store) };
        let attempts = rows.iter().map(|row| {
            let (store, row) = (Arc::clone(&store), row.clone());
            async move { tokio::spawn(async move { create(&*store, &row).await }).await.unwrap() }
        });
        let results = join_all(attempts).await;
        let winners: Vec<_> =
            rows.iter().zip(&results).filter(|(_, result)| result.is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        let winner = winners[0].0;
        let observed =
            ConditionFailed::CurrentExecution { observed: Some(Box::new(winner.clone())) };
        for result in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(
                matches!(result, StoreError::Condition(seen) if *seen == observed),
                "a loser must receive the winning row, got {result:?}"
            );
        }
        assert_eq!(ctx.read(&id.filter()).await.as_ref(), Some(winner));
        let begun = begun.load(Ordering::SeqCst);
        assert!(round % 2 != 0 || begun >= 16 + 15, "each loser must retry: {begun} transactions");
    }
}

async fn sixteen_creators_without_a_transaction_have_one_winner(ctx: &TestContext) {
    let id = ctx.current();
    let rows: Vec<_> = (0..16).map(|_| ctx.changed(&id)).collect();
    let attempts = rows.iter().map(|row| {
        let (store, row) = (Arc::clone(&ctx.store), row.clone());
        async move {
            tokio::spawn(async move { store.session().insert_into_current_executions(&row).await })
                .await
                .unwrap()
        }
    });
    let results = join_all(attempts).await;
    let mut winner = None;
    for (row, result) in rows.into_iter().zip(results) {
        match result {
            Ok(1) if winner.is_none() => winner = Some(row),
            Err(StoreError::AlreadyExists { .. }) => {}
            other => panic!("unexpected result: {other:?}"),
        }
    }
    assert!(winner.is_some());
    assert_eq!(ctx.read(&id.filter()).await, winner);
}

async fn no_increment_of_many_writers_is_lost(ctx: &TestContext) {
    const WRITERS: i64 = 8;
    const ROUNDS: i64 = 10;
    // The first increments have all begun before the first of them reads.
    let (synchronized, begun) = barrier_after_begin(&ctx.store, WRITERS as usize);
    let mut row = ctx.current();
    row.last_write_version = 0;
    ctx.insert(&row).await;
    let writers = (0..WRITERS).map(|_| {
        let (synchronized, store, row) =
            (Arc::clone(&synchronized), Arc::clone(&ctx.store), row.clone());
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for round in 0..ROUNDS {
                let store = if round == 0 { &synchronized } else { &store };
                let increment = store.run("Increment", &row, |transaction, row| {
                    Box::pin(async move {
                        let locked = transaction.lock_current_executions(&row.filter()).await?;
                        let mut row = locked.unwrap();
                        row.last_write_version += 1;
                        assert_eq!(transaction.update_current_executions(&row).await?, 1);
                        Ok(row.last_write_version)
                    })
                });
                seen.push(increment.await.unwrap());
            }
            seen
        })
    });
    let seen: Vec<_> =
        join_all(writers).await.into_iter().flat_map(|writer| writer.unwrap()).collect();
    // Every value from 1 to the last was returned exactly once.
    let distinct: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!(distinct, (1..=WRITERS * ROUNDS).collect());
    assert_eq!(seen.len(), distinct.len());
    let last = ctx.read(&row.filter()).await.unwrap().last_write_version;
    assert_eq!(last, WRITERS * ROUNDS);
    let begun = begun.load(Ordering::SeqCst) as i64;
    assert!(begun >= 2 * WRITERS - 1, "all but one must retry: {begun} transactions");
}

async fn exactly_one_of_many_deleters_deletes(ctx: &TestContext) {
    let row = ctx.current();
    ctx.insert(&row).await;
    let deleters = (0..16).map(|_| {
        let (store, row) = (Arc::clone(&ctx.store), row.clone());
        tokio::spawn(async move {
            store.session().delete_from_current_executions(&row.filter(), row.run_id).await
        })
    });
    let deleted: u64 =
        join_all(deleters).await.into_iter().map(|deleter| deleter.unwrap().unwrap()).sum();
    assert_eq!(deleted, 1);
    assert_eq!(ctx.read(&row.filter()).await, None);
}

/// Eight concurrent requests in one shard, each for an id of its own: none is repeated.
async fn requests_of_one_owner_do_not_conflict(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = eight_requests(&shard).await;
    let (synchronized, begun) = barrier_after_begin(&ctx.store, 8);
    execute_concurrently(requests, &synchronized).await;
    assert_eq!(begun.load(Ordering::SeqCst), 8, "a request was repeated");

    // The same in the store's own way, without retries.
    let ctx = ctx.with_policy(RetryPolicy::NEVER).await;
    let shard = ctx.owned_shard().await;
    for _ in 0..5 {
        let requests = eight_requests(&shard).await;
        execute_concurrently(requests, &ctx.store).await;
    }
}

/// Requests of all kinds, each for an id of its own.
async fn eight_requests(shard: &OwnedShard<'_>) -> Vec<GuardedRequest> {
    let (first, second) = (shard.guarded_requests().await, shard.guarded_requests().await);
    first.into_iter().chain(second).take(8).collect()
}

/// Executes all requests concurrently.
async fn execute_concurrently(requests: Vec<GuardedRequest>, store: &SharedStore) {
    let done = requests.into_iter().map(|request| {
        let store = Arc::clone(store);
        tokio::spawn(async move { request.execute(store).await })
    });
    for result in join_all(done).await {
        result.unwrap().unwrap();
    }
}
