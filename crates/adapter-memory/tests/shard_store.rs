//! Updates of a shard whose answer is lost. They are single statements, and only the double can
//! lose the answer to one.

use temporal_dsql_domain::{DataBlob, Encoding, ShardId, ShardsRow};
use temporal_dsql_memory::{Fault, FaultPlan, MemoryStore};
use temporal_dsql_ports::{ConditionFailed, Outcome, StoreError, stores::ShardStore};

fn shard(range_id: i64, owner: &str) -> ShardsRow {
    let encoding = Encoding::new("Proto3").unwrap();
    ShardsRow { shard_id: ShardId(1), range_id, data: DataBlob::new(owner.as_bytes(), encoding) }
}

/// A shard that host A owns with range id 7, and what happens to the next commits.
async fn owned_by_a(faults: &[Fault]) -> (MemoryStore, ShardStore<MemoryStore>) {
    let store = MemoryStore::new();
    let shards = ShardStore::new(store.clone());
    shards.get_or_create(&shard(7, "a")).await.unwrap();
    store.inject(FaultPlan::script(faults.iter().copied()));
    (store, shards)
}

#[tokio::test]
async fn a_claim_that_was_applied_is_reported_as_done() {
    let (store, shards) = owned_by_a(&[Fault::LostAfter]).await;
    shards.update(&shard(8, "b"), 7).await.unwrap();
    assert_eq!(store.fault_report().lost_after, 1);
    assert_eq!(shards.get(ShardId(1)).await.unwrap(), Some(shard(8, "b")));
}

#[tokio::test]
async fn a_claim_that_is_not_there_stays_unknown_and_is_not_repeated() {
    let (_, shards) = owned_by_a(&[Fault::LostBefore]).await;
    let error = shards.update(&shard(8, "b"), 7).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    // A statement that is on its way somewhere could still arrive.
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(shards.get(ShardId(1)).await.unwrap(), Some(shard(7, "a")));
}

#[tokio::test]
async fn a_claim_that_lost_its_answer_to_another_one_is_told_the_owner() {
    let (store, shards) = owned_by_a(&[]).await;
    // B's claim does not arrive; before B looks, C has claimed the shard and renewed its claim.
    shards.update(&shard(9, "c"), 7).await.unwrap();
    store.inject(FaultPlan::script([Fault::LostBefore]));
    let error = shards.update(&shard(8, "b"), 7).await.unwrap_err();
    let StoreError::Condition(ConditionFailed::ShardOwnershipLost { expected, observed, .. }) =
        error
    else {
        panic!("{error:?}");
    };
    assert_eq!((expected, observed), (7, Some(9)));
}

#[tokio::test]
async fn a_lost_save_is_done_if_it_is_there_and_unknown_if_not() {
    let (_, shards) = owned_by_a(&[Fault::LostAfter]).await;
    shards.update(&shard(7, "a, later"), 7).await.unwrap();
    // The range id stays, so that the row before proves nothing.
    let (_, shards) = owned_by_a(&[Fault::LostBefore]).await;
    let error = shards.update(&shard(7, "a, later"), 7).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
}

#[tokio::test]
async fn a_claim_that_cannot_be_settled_stays_unknown() {
    for (fault, row) in [(Fault::LostBefore, shard(7, "a")), (Fault::LostAfter, shard(8, "b"))] {
        let (_, shards) = owned_by_a(&[fault, Fault::LostBefore]).await;
        let error = shards.update(&shard(8, "b"), 7).await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
        assert_eq!(shards.get(ShardId(1)).await.unwrap(), Some(row));
    }
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_ends_with_the_row_that_is_there() {
    for fault in [Fault::LostBefore, Fault::LostAfter] {
        let store = MemoryStore::builder().faults(FaultPlan::script([fault])).build();
        let shards = ShardStore::new(store);
        assert_eq!(shards.get_or_create(&shard(1, "a")).await.unwrap(), shard(1, "a"));
        assert_eq!(shards.get(ShardId(1)).await.unwrap(), Some(shard(1, "a")));
    }
}
