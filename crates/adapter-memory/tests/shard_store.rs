//! Writes of a shard whose answer is lost.

use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use temporal_dsql_domain::{DataBlob, Encoding, ShardId, ShardsRow};
use temporal_dsql_memory::{FaultPlan, FaultRates, MemoryFault, MemoryStore};
use temporal_dsql_ports::{
    Attempt, ConditionFailed, CreateTasks, Deadline, Outcome, RecordedVersion, RetryPolicy, Runner,
    Session, Store, StoreError, Transaction, Within, WriteSet, apply_by_table,
    create_tasks_by_table,
};
use temporal_dsql_stores::ShardStore;

fn shard(range_id: i64, owner: &str) -> ShardsRow {
    let encoding = Encoding::new("Proto3").unwrap();
    ShardsRow { shard_id: ShardId(1), range_id, data: DataBlob::new(owner.as_bytes(), encoding) }
}

/// A shard that host A owns with range id 7, and the faults of the next commits.
async fn owned_by_a(faults: &[MemoryFault]) -> (MemoryStore, ShardStore<MemoryStore>) {
    let store = MemoryStore::new();
    let shards = ShardStore::new(store.clone());
    shards.get_or_create(&shard(7, "a")).await.unwrap();
    store.inject(FaultPlan::script(faults.iter().copied()));
    (store, shards)
}

#[tokio::test]
async fn an_applied_claim_is_reported_as_applied() {
    let (store, shards) = owned_by_a(&[MemoryFault::LostAnswer]).await;
    shards.update(&shard(8, "b"), 7).await.unwrap();
    assert_eq!(store.fault_report().lost_answers, 1);
    assert_eq!(shards.get(ShardId(1)).await.unwrap(), Some(shard(8, "b")));
}

#[tokio::test]
async fn a_claim_that_was_not_applied_stays_unknown_and_is_not_retried() {
    let (_, shards) = owned_by_a(&[MemoryFault::LostCommit]).await;
    let error = shards.update(&shard(8, "b"), 7).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    // The statement may still arrive.
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(shards.get(ShardId(1)).await.unwrap(), Some(shard(7, "a")));
}

/// A store on which C claims the shard when it is read outside of a transaction.
struct ClaimedByC(MemoryStore);

#[async_trait]
impl Store for ClaimedByC {
    fn session_until(&self, deadline: Deadline) -> Box<dyn Session + '_> {
        let mut session = self.0.session();
        let row = shard(9, "c");
        let claim = std::pin::pin!(session.update_shards(&row, None));
        // The memory adapter never waits.
        let claimed = claim.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(claimed, Poll::Ready(Ok(1))));
        self.0.session_until(deadline)
    }

    #[expect(clippy::disallowed_methods, reason = "forwards to the inner store")]
    async fn begin(&self, attempt: Attempt) -> Result<Box<dyn Transaction>, StoreError> {
        self.0.begin(attempt).await
    }

    fn runner(&self) -> &Runner {
        self.0.runner()
    }

    async fn apply_until(&self, deadline: Deadline, set: &WriteSet<'_>) -> Result<(), StoreError> {
        apply_by_table(&Within::until(self, deadline), set).await
    }

    async fn create_tasks_until(
        &self,
        deadline: Deadline,
        request: &CreateTasks<'_>,
    ) -> Result<(), StoreError> {
        create_tasks_by_table(&Within::until(self, deadline), request).await
    }

    async fn schema_version(&self, database: &str) -> Result<Option<RecordedVersion>, StoreError> {
        self.0.schema_version(database).await
    }
}

#[tokio::test]
async fn a_claim_that_lost_its_answer_and_the_race_reports_the_owner() {
    for fault in [MemoryFault::LostCommit, MemoryFault::LostAnswer] {
        let (store, shards) = owned_by_a(&[fault]).await;
        // C claims the shard before B reads it.
        let claimed = ShardStore::new(ClaimedByC(store));
        let error = claimed.update(&shard(8, "b"), 7).await.unwrap_err();
        let StoreError::Condition(ConditionFailed::ShardOwnershipLost {
            expected, observed, ..
        }) = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((expected, observed), (7, Some(9)));
        assert_eq!(shards.get(ShardId(1)).await.unwrap(), Some(shard(9, "c")));
    }
}

#[tokio::test]
async fn a_lost_save_is_applied_if_its_row_is_stored_and_unknown_otherwise() {
    let (_, shards) = owned_by_a(&[MemoryFault::LostAnswer]).await;
    shards.update(&shard(7, "a, later"), 7).await.unwrap();
    // The range id is unchanged, so the old row proves nothing.
    let (_, shards) = owned_by_a(&[MemoryFault::LostCommit]).await;
    let error = shards.update(&shard(7, "a, later"), 7).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_returns_the_stored_row() {
    for fault in [MemoryFault::LostCommit, MemoryFault::LostAnswer] {
        let store = MemoryStore::builder().faults(FaultPlan::script([fault])).build();
        let shards = ShardStore::new(store);
        assert_eq!(shards.get_or_create(&shard(1, "a")).await.unwrap(), shard(1, "a"));
        assert_eq!(shards.get(ShardId(1)).await.unwrap(), Some(shard(1, "a")));
    }
}

/// A store that loses the answer to every commit and applies none.
fn without_answers() -> MemoryStore {
    let rates = FaultRates { lost_commits: 1.0, ..FaultRates::default() };
    MemoryStore::builder().faults(FaultPlan::seeded(1, rates)).build()
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_every_answer_is_lost_ends_by_the_deadline_of_the_policy() {
    let store = without_answers();
    let start = tokio::time::Instant::now();
    let error = ShardStore::new(store.clone()).get_or_create(&shard(1, "a")).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    assert!(start.elapsed() <= RetryPolicy::default().deadline, "{:?}", start.elapsed());
    // The wait doubles after each attempt, up to a second.
    let inserts = store.fault_report().lost_commits;
    assert!((5..60).contains(&inserts), "{inserts}");
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_every_answer_is_lost_ends_by_the_deadline_of_its_caller() {
    let store = without_answers();
    let limit = Duration::from_millis(300);
    let start = tokio::time::Instant::now();
    let shards = ShardStore::new(store.clone());
    let error = shards.within(limit).get_or_create(&shard(1, "a")).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    assert!(start.elapsed() <= limit, "{:?}", start.elapsed());
    assert!(store.fault_report().lost_commits > 0);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_a_creation_fires() {
    let shards = ShardStore::new(without_answers());
    let limit = Duration::from_millis(300);
    let row = shard(1, "a");
    assert!(tokio::time::timeout(limit, shards.get_or_create(&row)).await.is_err());
}
