//! The conformance suite on the double.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use temporal_dsql_conformance::{Capabilities, CommitFault, Fixture, Harness};
use temporal_dsql_domain::Table;
use temporal_dsql_memory::{Fault, FaultPlan, MemoryStore};
use temporal_dsql_ports::{Clock, RetryPolicy, Runner, Store, SystemClock};

struct Memory;

#[async_trait]
impl Harness for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities { optimistic_locks: true, transaction_limits: true }
    }

    async fn new_fixture(&self, policy: RetryPolicy, seed: u64) -> Box<dyn Fixture> {
        let clock = Arc::new(SetClock(AtomicU64::new(SetClock::ZERO)));
        let runner = Runner::builder().policy(policy).clock(clock.clone()).seed(seed);
        let store = MemoryStore::builder().runner(runner.build()).clock(clock.clone()).seed(seed);
        Box::new(Stored { store: store.build(), clock, script: Mutex::default() })
    }
}

/// The runtime's clock, so many seconds ahead.
struct SetClock(AtomicU64);

impl SetClock {
    /// Where it is as the runtime's: it must not go below zero.
    const ZERO: u64 = 3_600;
}

#[async_trait]
impl Clock for SetClock {
    fn now(&self) -> Duration {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    /// No time is none, and leaves the order to the tasks: a timer would tie it to the world's time.
    async fn sleep(&self, duration: Duration) {
        if duration.is_zero() {
            tokio::task::yield_now().await;
        } else {
            SystemClock.sleep(duration).await;
        }
    }
}

struct Stored {
    store: MemoryStore,
    clock: Arc<SetClock>,
    /// The faults of the present plan, those that have happened included.
    script: Mutex<Vec<Fault>>,
}

#[async_trait]
impl Fixture for Stored {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn reopen(&self) -> Arc<dyn Store> {
        self.store()
    }

    fn set_clock(&self, seconds: i64) {
        self.clock.0.store(SetClock::ZERO.saturating_add_signed(seconds), Ordering::SeqCst);
    }

    async fn count(&self, table: Table) -> u64 {
        self.store.count(table) as u64
    }

    fn fail_next_commits(&self, faults: &[CommitFault]) {
        let mut script = self.script.lock().unwrap();
        let happened = script.len() - self.faults_left();
        script.drain(..happened);
        script.extend(faults.iter().map(|fault| match fault {
            CommitFault::Conflict => Fault::Conflict,
            CommitFault::LostBefore => Fault::LostBefore,
            CommitFault::LostAfter => Fault::LostAfter,
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
