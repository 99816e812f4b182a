//! Helpers of the tests of this crate: sample rows, a manual clock, and open transactions.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use temporal_dsql_domain::{
    ArchetypeId, CurrentExecutionsRow, DataBlob, Encoding, ExecutionState, ExecutionStatus,
    ExecutionsRow, IdEntry, NamespaceId, RequestId, RunId, ShardId, ShardsRow, WorkflowId,
};
use temporal_dsql_ports::{Attempt, Clock, Observer, Runner, Store, StoreError, Transaction};
use uuid::Uuid;

use crate::MemoryStore;

/// The run with number `run` of the execution `id`.
pub(crate) fn execution(id: &str, run: u128) -> ExecutionsRow {
    let proto3 = Encoding::new("Proto3").unwrap();
    ExecutionsRow {
        shard_id: ShardId(1),
        namespace_id: NamespaceId(Uuid::from_u128(1)),
        workflow_id: WorkflowId::new(id).unwrap(),
        run_id: RunId(Uuid::from_u128(run)),
        next_event_id: 3,
        last_write_version: 11,
        data: DataBlob::new(*b"data", proto3.clone()),
        state: DataBlob::new(*b"state", proto3),
        db_record_version: 1,
    }
}

/// The current execution of `id`: its run with number `run`.
pub(crate) fn current(id: &str, archetype_id: ArchetypeId, run: u128) -> CurrentExecutionsRow {
    CurrentExecutionsRow {
        shard_id: ShardId(1),
        namespace_id: NamespaceId(Uuid::from_u128(1)),
        workflow_id: WorkflowId::new(id).unwrap(),
        archetype_id,
        run_id: RunId(Uuid::from_u128(run)),
        create_request_id: RequestId::new("request").unwrap(),
        start_time: None,
        last_write_version: 22,
        state: ExecutionState::Running,
        status: ExecutionStatus::Running,
        data: None,
        data_encoding: Encoding::new("").unwrap(),
    }
}

/// A blob of one byte.
pub(crate) fn blob(byte: u8) -> DataBlob {
    DataBlob::new([byte], Encoding::new("Proto3").unwrap())
}

/// Entries of a map with these ids.
pub(crate) fn entries(ids: impl IntoIterator<Item = i64>) -> Vec<IdEntry> {
    ids.into_iter().map(|id| IdEntry { id, data: blob(1) }).collect()
}

/// The shard of [`execution`].
pub(crate) fn shard(range_id: i64) -> ShardsRow {
    ShardsRow { shard_id: ShardId(1), range_id, data: blob(1) }
}

/// Whether two transactions conflict that begin together, execute these statements, and commit one
/// after the other.
pub(crate) async fn conflict(
    store: &MemoryStore,
    one: impl AsyncFnOnce(&mut dyn Transaction),
    other: impl AsyncFnOnce(&mut dyn Transaction),
) -> bool {
    let (mut first, mut second) = (begin(store).await, begin(store).await);
    one(&mut *first).await;
    other(&mut *second).await;
    first.commit().await.unwrap();
    match second.commit().await {
        Ok(()) => false,
        Err(StoreError::Conflict { op: "Test", attempts: 1, .. }) => true,
        Err(other) => panic!("{other}"),
    }
}

/// A transaction of the operation `Test`.
pub(crate) async fn begin(store: &MemoryStore) -> Box<dyn Transaction> {
    let attempt = Attempt::first("Test");
    #[expect(clippy::disallowed_methods, reason = "these tests interleave transactions")]
    store.begin(attempt).await.unwrap()
}

/// A store with a manual clock, and the log of its operations.
pub(crate) fn logged_store() -> (MemoryStore, Arc<Log>) {
    let log = Arc::new(Log::default());
    let runner =
        Runner::builder().clock(Arc::new(ManualClock::default())).observer(log.clone()).seed(1);
    (MemoryStore::builder().runner(runner.build()).build(), log)
}

/// A clock that advances only by `advance` and by sleeping.
#[derive(Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn advance(&self, by: Duration) {
        let millis = by.as_millis().try_into().unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// Records every operation with the number of its attempts.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<(&'static str, u32)>>);

impl Log {
    pub(crate) fn take(&self) -> Vec<(&'static str, u32)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Log {
    fn on_end(&self, op: &'static str, attempts: u32, _: Duration, _: Option<&StoreError>) {
        self.0.lock().unwrap().push((op, attempts));
    }
}
