//! The conformance suite on the memory adapter.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use temporal_dsql_conformance::{Capabilities, CommitFailure, Fixture, Harness};
use temporal_dsql_domain::Table;
use temporal_dsql_memory::{FaultPlan, MemoryFault, MemoryStore};
use temporal_dsql_ports::{Clock, RetryPolicy, Runner, Store, SystemClock};

struct Memory;

#[async_trait]
impl Harness for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities { optimistic_locks: true, transaction_limits: true }
    }

    async fn new_fixture(&self, policy: RetryPolicy, seed: u64) -> Box<dyn Fixture> {
        let clock = Arc::new(ShiftedClock(AtomicU64::new(ShiftedClock::ZERO)));
        let runner = Runner::builder().policy(policy).clock(clock.clone()).seed(seed);
        let store = MemoryStore::builder().runner(runner.build()).clock(clock.clone()).seed(seed);
        Box::new(MemoryFixture { store: store.build(), clock, script: Mutex::default() })
    }
}

/// The runtime's clock, shifted.
struct ShiftedClock(AtomicU64);

impl ShiftedClock {
    /// The value without a shift; it must not become negative.
    const ZERO: u64 = 3_600;
}

#[async_trait]
impl Clock for ShiftedClock {
    fn now(&self) -> Duration {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    /// A zero duration yields and sets no timer, so that wall-clock time does not affect the order
    /// of tasks.
    async fn sleep(&self, duration: Duration) {
        if duration.is_zero() {
            tokio::task::yield_now().await;
        } else {
            SystemClock.sleep(duration).await;
        }
    }
}

struct MemoryFixture {
    store: MemoryStore,
    clock: Arc<ShiftedClock>,
    /// The faults of the current plan, including those that have occurred.
    script: Mutex<Vec<MemoryFault>>,
}

#[async_trait]
impl Fixture for MemoryFixture {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.store()
    }

    fn set_clock(&self, seconds: i64) {
        self.clock.0.store(ShiftedClock::ZERO.saturating_add_signed(seconds), Ordering::SeqCst);
    }

    async fn counts(&self, tables: &[Table]) -> Vec<u64> {
        tables.iter().map(|table| self.store.count(*table) as u64).collect()
    }

    fn fail_next_commits(&self, faults: &[CommitFailure]) {
        let mut script = self.script.lock().unwrap();
        let consumed = script.len() - self.faults_left();
        script.drain(..consumed);
        script.extend(faults.iter().map(|fault| match fault {
            CommitFailure::Conflict => MemoryFault::Conflict,
            CommitFailure::LostCommit => MemoryFault::LostCommit,
            CommitFailure::LostAnswer => MemoryFault::LostAnswer,
        }));
        self.store.inject(FaultPlan::script(script.iter().copied()));
    }

    fn faults_left(&self) -> usize {
        self.store.fault_report().remaining.unwrap_or_default()
    }
}

fn main() -> ExitCode {
    temporal_dsql_conformance::run(Memory)
}
