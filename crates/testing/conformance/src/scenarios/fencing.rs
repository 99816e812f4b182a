//! Fencing: a deposed owner writes nothing, whichever request it sends and in whichever order
//! request and takeover run.

use std::sync::{Arc, atomic::Ordering};

use futures_util::future::join_all;
use temporal_dsql_domain::{
    ExecutionState::{Created, Running},
    ShardsRow,
};
use temporal_dsql_ports::{BoxFuture, ConditionFailed, Outcome, StoreError, StoreExt, Transaction};
use temporal_dsql_stores::{CreateExecution, CreateMode, Owner, ShardStore};

use crate::{
    context::{
        TestContext,
        conflicts::assert_conflict,
        guarded_requests::GuardedRequest,
        owned_shard::{OwnedShard, SharedStore, assert_refused, rows},
    },
    interceptors::{counting_begins, delaying_commits, intercept_nth_begin},
    scenario::scenario_table,
};

scenario_table! { "fencing":
    every_request_of_a_deposed_owner_is_refused;
    an_owner_deposed_during_a_request_writes_nothing = "temporal-persistence.md#case-1";
    a_request_committed_before_the_takeover_is_kept = "temporal-persistence.md#case-1";
    a_takeover_that_began_before_a_request_is_retried if optimistic_locks
        = "temporal-persistence.md#case-1";
    a_request_that_has_read_does_not_commit_after_a_takeover if optimistic_locks
        = "temporal-persistence.md#case-1";
    a_takeover_that_has_read_does_not_commit_after_a_request if optimistic_locks
        = "temporal-persistence.md#case-1";
    an_update_without_the_lock_does_not_fence;
    nothing_is_written_to_an_absent_shard;
    an_owner_that_reclaims_the_shard_writes_again;
    a_takeover_does_not_affect_other_shards;
    an_owner_that_saves_its_progress_remains_the_owner;
    of_eight_claims_at_once_one_succeeds_and_only_its_owner_writes;
    a_deposed_owner_may_read_and_append_unreferenced_history;
}

/// The condition that the shard has another owner.
fn lost(owner: Owner, observed: Option<i64>) -> ConditionFailed {
    ConditionFailed::ShardOwnershipLost {
        shard_id: owner.shard_id,
        expected: owner.range_id,
        observed,
    }
}

/// Asserts that a request of a deposed owner is refused and writes nothing.
async fn assert_fenced(
    shard: &OwnedShard<'_>,
    store: SharedStore,
    request: &GuardedRequest,
    observed: Option<i64>,
) {
    let run = async || match request.written() {
        Some(row) => shard.stored(row).await,
        None => None,
    };
    let before = (shard.ctx.row_count().await, run().await);
    assert_refused(request.execute(store).await, &lost(shard.owner, observed));
    assert_eq!((shard.ctx.row_count().await, run().await), before, "{request:?}");
}

/// How another owner takes a shard over.
#[derive(Clone, Copy, Debug)]
enum TakeoverMethod {
    /// With [`ShardStore::update`].
    Store,
    /// With the two statements of the Go server, whose update has no condition.
    GoServer,
}

const TAKEOVER_METHODS: [TakeoverMethod; 2] = [TakeoverMethod::Store, TakeoverMethod::GoServer];

/// `next` claims its shard from the owner with the range id `previous`.
async fn take_over(store: &SharedStore, next: &ShardsRow, previous: i64, method: TakeoverMethod) {
    match method {
        TakeoverMethod::Store => {
            ShardStore::new(SharedStore::clone(store)).update(next, previous).await.unwrap();
        }
        TakeoverMethod::GoServer => {
            let range_id = store.run("UpdateShard", next, go_server).await.unwrap();
            assert_eq!(range_id, Some(previous));
        }
    }
}

/// The two statements; returns the range id that the first one reads.
fn go_server<'t>(
    transaction: &'t mut dyn Transaction,
    next: &'t ShardsRow,
) -> BoxFuture<'t, Result<Option<i64>, StoreError>> {
    Box::pin(async move {
        let range_id = transaction.write_lock_shards(next.shard_id).await?;
        assert_eq!(transaction.update_shards(next, None).await?, 1);
        Ok(range_id)
    })
}

async fn every_request_of_a_deposed_owner_is_refused(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let requests = shard.guarded_requests().await;
    let next = shard.depose_owner().await;
    for request in requests {
        assert_fenced(&shard, Arc::clone(&ctx.store), &request, Some(next.range_id)).await;
    }
    let refused = shard.shards.assert_ownership(shard.owner).await;
    assert_refused(refused, &lost(shard.owner, Some(next.range_id)));
    shard.shards.assert_ownership(next).await.unwrap();
}

/// A store on which another owner claims the shard after the first transaction has begun and read
/// it: the snapshot is older than the takeover.
fn taken_over_after_the_first_read(shard: &OwnedShard<'_>, method: TakeoverMethod) -> SharedStore {
    let (store, next, owner) = (Arc::clone(&shard.ctx.store), shard.takeover(), shard.owner);
    intercept_nth_begin(&shard.ctx.store, 1, move |transaction| {
        let (store, next) = (Arc::clone(&store), next.clone());
        Box::pin(async move {
            let seen = transaction.select_from_shards(owner.shard_id).await.unwrap();
            assert_eq!(seen.map(|row| row.range_id), Some(owner.range_id));
            take_over(&store, &next, owner.range_id, method).await;
            let seen = transaction.select_from_shards(owner.shard_id).await.unwrap();
            assert_eq!(
                seen.map(|row| row.range_id),
                Some(owner.range_id),
                "the snapshot is older than the takeover"
            );
        })
    })
}

async fn an_owner_deposed_during_a_request_writes_nothing(ctx: &TestContext) {
    for (kind, method) in kinds_and_methods() {
        let shard = ctx.owned_shard().await;
        let request = shard.guarded_requests().await[kind].clone();
        let store = taken_over_after_the_first_read(&shard, method);
        assert_fenced(&shard, store, &request, Some(shard.takeover().range_id)).await;
    }
}

/// Every kind of request with every way to take the shard over.
fn kinds_and_methods() -> impl Iterator<Item = (usize, TakeoverMethod)> {
    (0..5).flat_map(|kind| TAKEOVER_METHODS.map(|method| (kind, method)))
}

async fn a_request_committed_before_the_takeover_is_kept(ctx: &TestContext) {
    for kind in 0..5 {
        let shard = ctx.owned_shard().await;
        let request = shard.guarded_requests().await[kind].clone();
        let before = shard.task_count().await;
        request.execute(Arc::clone(&ctx.store)).await.unwrap();
        shard.depose_owner().await;
        shard.assert_applied(&request, before).await;
    }
}

/// The request commits between the snapshot of the takeover and its lock.
async fn a_takeover_that_began_before_a_request_is_retried(ctx: &TestContext) {
    for (kind, method) in kinds_and_methods() {
        let shard = ctx.owned_shard().await;
        let request = shard.guarded_requests().await[kind].clone();
        let before = shard.task_count().await;
        let (inner, in_gap) = (Arc::clone(&ctx.store), request.clone());
        let store = intercept_nth_begin(&ctx.store, 1, move |_| {
            let (request, store) = (in_gap.clone(), Arc::clone(&inner));
            Box::pin(async move { request.execute(store).await.unwrap() })
        });
        let (store, begun) = counting_begins(&store);
        let next = shard.takeover();
        take_over(&store, &next, shard.owner.range_id, method).await;
        assert_eq!(begun.load(Ordering::SeqCst), 2, "{method:?}: the lock must conflict");
        // The second attempt sees the request, and deposes the owner.
        shard.assert_applied(&request, before).await;
        assert_refused(
            request.execute(Arc::clone(&ctx.store)).await,
            &lost(shard.owner, Some(next.range_id)),
        );
    }
}

/// Both have executed all their statements; the takeover commits first.
async fn a_request_that_has_read_does_not_commit_after_a_takeover(ctx: &TestContext) {
    for (kind, method) in kinds_and_methods() {
        let shard = ctx.owned_shard().await;
        let request = shard.guarded_requests().await[kind].clone();
        let before = ctx.row_count().await;
        let (store, delayed) = delaying_commits(&ctx.store, |_| true);
        let error = request.execute(store).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        take_over(&ctx.store, &shard.takeover(), shard.owner.range_id, method).await;
        assert_conflict(delayed.commit_next().await.expect("the request"));
        assert_eq!(ctx.row_count().await, before, "{request:?}");
    }
}

/// Both have executed all their statements; the request commits first.
async fn a_takeover_that_has_read_does_not_commit_after_a_request(ctx: &TestContext) {
    for kind in 0..5 {
        let shard = ctx.owned_shard().await;
        let request = shard.guarded_requests().await[kind].clone();
        let before = shard.task_count().await;
        let next = shard.takeover();
        let mut takeover = ctx.begin("UpdateShard").await;
        assert_eq!(go_server(&mut *takeover, &next).await.unwrap(), Some(shard.owner.range_id));
        request.execute(Arc::clone(&ctx.store)).await.unwrap();
        assert_conflict(takeover.commit().await);
        shard.assert_applied(&request, before).await;
        shard.shards.assert_ownership(shard.owner).await.unwrap();
    }
}

/// Why a takeover locks the shard: without the lock, the update and an earlier request both commit.
async fn an_update_without_the_lock_does_not_fence(ctx: &TestContext) {
    for kind in 0..5 {
        let shard = ctx.owned_shard().await;
        let request = shard.guarded_requests().await[kind].clone();
        let before = shard.task_count().await;
        let (inner, next) = (Arc::clone(&ctx.store), shard.takeover());
        let claim = next.clone();
        let store = intercept_nth_begin(&ctx.store, 1, move |_| {
            let (inner, claim) = (Arc::clone(&inner), claim.clone());
            Box::pin(async move {
                let expected = Some(claim.range_id - 1);
                let updated = inner.session().update_shards(&claim, expected).await;
                assert_eq!(updated.unwrap(), 1);
            })
        });
        request.execute(store).await.unwrap();
        shard.assert_applied(&request, before).await;
        assert_eq!(shard.shards.get(next.shard_id).await.unwrap(), Some(next));
    }
}

async fn nothing_is_written_to_an_absent_shard(ctx: &TestContext) {
    let mut shard = ctx.owned_shard().await;
    let shard_id = ctx.shard_id();
    shard.owner = Owner { shard_id, range_id: 1 };
    let new = shard.new_run(Created);
    let refused = shard.create(CreateMode::BrandNew, &new).await;
    assert_refused(refused, &lost(shard.owner, None));
    let tasks = ctx.tasks_of_every_queue(1);
    assert_refused(shard.tasks.add(shard.owner, &tasks).await, &lost(shard.owner, None));
    assert_refused(shard.shards.assert_ownership(shard.owner).await, &lost(shard.owner, None));
    assert_eq!(ctx.row_count().await, 0);
}

async fn an_owner_that_reclaims_the_shard_writes_again(ctx: &TestContext) {
    let mut shard = ctx.owned_shard().await;
    let other = shard.depose_owner().await;
    let back = ShardsRow { range_id: other.range_id + 1, ..shard.takeover() };
    shard.shards.update(&back, other.range_id).await.unwrap();
    let old = shard.owner;
    shard.owner.range_id = back.range_id;
    shard.create_run(Running).await;
    for deposed in [old, other] {
        let snapshot = shard.new_run(Created);
        let mode = CreateMode::BrandNew;
        let request = CreateExecution { owner: deposed, mode, snapshot };
        let refused = shard.executions.create(&request).await;
        assert_refused(refused, &lost(deposed, Some(back.range_id)));
    }
}

async fn a_takeover_does_not_affect_other_shards(ctx: &TestContext) {
    let (one, other) = (ctx.owned_shard().await, ctx.owned_shard().await);
    let request = one.guarded_requests().await[1].clone();
    let before = one.task_count().await;
    other.depose_owner().await;
    let store = taken_over_after_the_first_read(&ctx.owned_shard().await, TakeoverMethod::Store);
    // The hook takes over a third shard.
    let third = request.execute(store).await;
    third.unwrap();
    one.assert_applied(&request, before).await;
}

async fn an_owner_that_saves_its_progress_remains_the_owner(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let [create, ..] = shard.guarded_requests().await;
    let before = shard.task_count().await;
    let progress = ShardsRow { data: ctx.data(), ..shard.shard.clone() };
    shard.shards.update(&progress, shard.owner.range_id).await.unwrap();
    create.execute(Arc::clone(&ctx.store)).await.unwrap();
    shard.assert_applied(&create, before).await;
    assert_eq!(shard.shards.get(shard.owner.shard_id).await.unwrap(), Some(progress));
}

async fn of_eight_claims_at_once_one_succeeds_and_only_its_owner_writes(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let old = shard.owner.range_id;
    // Each claims another range id, so that the winner can be identified.
    let claims = (1..=8).map(|ahead| {
        let claim = ShardsRow { range_id: old + ahead, data: ctx.data(), ..shard.shard.clone() };
        let shards: ShardStore<SharedStore> = shard.shards.clone();
        tokio::spawn(async move {
            let result = shards.update(&claim, old).await;
            (claim, result)
        })
    });
    let claims: Vec<_> = join_all(claims).await.into_iter().map(|claim| claim.unwrap()).collect();
    let winners: Vec<_> = claims.iter().filter(|(_, result)| result.is_ok()).collect();
    assert_eq!(winners.len(), 1, "{claims:?}");
    let winner = winners[0].0.clone();
    assert_eq!(shard.shards.get(winner.shard_id).await.unwrap().as_ref(), Some(&winner));
    for (claim, result) in claims {
        let owner = Owner { shard_id: claim.shard_id, range_id: claim.range_id };
        let request =
            CreateExecution { owner, mode: CreateMode::BrandNew, snapshot: shard.new_run(Created) };
        let created = shard.executions.create(&request).await;
        if claim == winner {
            created.unwrap();
        } else {
            let expected = Owner { range_id: old, ..owner };
            assert_refused(result, &lost(expected, Some(winner.range_id)));
            assert_refused(created, &lost(owner, Some(winner.range_id)));
        }
    }
}

async fn a_deposed_owner_may_read_and_append_unreferenced_history(ctx: &TestContext) {
    let shard = ctx.owned_shard().await;
    let run = shard.create_run(Running).await;
    shard.depose_owner().await;
    shard.assert_stored(&run).await;
    // An append alone is not guarded (temporal-persistence.md#create); the mutable state does not
    // refer to the batch.
    let batch = shard.events(run.events.last());
    shard.histories.append(&batch).await.unwrap();
    assert_eq!(shard.history(&batch).await, [run.events[0].node.clone(), batch.node]);
    assert_eq!(shard.stored(&run.execution).await, Some(rows(&run)));
}
