//! The in-flight statement of a worker, as the lock monitor and cancelling clients see it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Mutex as AsyncMutex;

/// Tracks the in-flight statement of one PostgreSQL session.
#[derive(Debug)]
pub(crate) struct StatementTracker {
    /// The process id of the PostgreSQL session.
    pub(crate) process: i32,
    state: Mutex<State>,
    /// Held while a cancellation is sent, so that it cannot hit a later statement.
    gate: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct State {
    statement: Option<InFlightStatement>,
    number: u64,
    cancelled_by: Option<CancelledBy>,
}

/// A statement that PostgreSQL has not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InFlightStatement {
    /// When the client requested it. In a deadlock, the youngest statement is cancelled.
    pub(crate) since: Instant,
    /// When it was last sent.
    pub(crate) sent: Instant,
    pub(crate) monitor_may_cancel: bool,
    client_may_cancel: bool,
    number: u64,
}

/// When a statement was requested, and who may cancel it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelPolicy {
    pub(crate) since: Instant,
    /// False if other sessions wait for the statement, or if it ends soon.
    pub(crate) monitor_may_cancel: bool,
    /// False if the statement is the emulator's own.
    pub(crate) client_may_cancel: bool,
}

impl CancelPolicy {
    pub(crate) fn cancellable() -> Self {
        Self { since: Instant::now(), monitor_may_cancel: true, client_may_cancel: true }
    }

    /// For statements of a commit, which other sessions wait for, and for the next rows of a portal,
    /// which cannot be read twice.
    pub(crate) fn by_client() -> Self {
        Self { since: Instant::now(), monitor_may_cancel: false, client_may_cancel: true }
    }

    /// For the emulator's own statements between those of clients, such as a rollback to a
    /// savepoint. They wait for no lock and end soon. If one were cancelled, the transaction would
    /// fail and keep its locks.
    pub(crate) fn internal() -> Self {
        Self { since: Instant::now(), monitor_may_cancel: false, client_may_cancel: false }
    }
}

/// Who has cancelled a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelledBy {
    /// The lock monitor. The statement runs again, and the client does not notice.
    LockMonitor,
    /// The client. The statement fails.
    Client,
}

impl StatementTracker {
    pub(crate) fn new(process: i32) -> Self {
        Self { process, state: Mutex::default(), gate: AsyncMutex::default() }
    }

    /// Records that a statement is sent.
    pub(crate) fn start(&self, policy: CancelPolicy) {
        let mut state = self.state();
        state.number += 1;
        state.cancelled_by = None;
        let number = state.number;
        state.statement = Some(InFlightStatement {
            since: policy.since,
            sent: Instant::now(),
            monitor_may_cancel: policy.monitor_may_cancel,
            client_may_cancel: policy.client_may_cancel,
            number,
        });
    }

    /// Records that the answer has arrived. Returns who has cancelled the statement, if anyone.
    pub(crate) async fn finish(&self) -> Option<CancelledBy> {
        let _gate = self.gate.lock().await;
        let mut state = self.state();
        state.statement = None;
        state.cancelled_by.take()
    }

    pub(crate) fn in_flight(&self) -> Option<InFlightStatement> {
        self.state().statement
    }

    /// Runs `cancel` if `statement` is still in flight, and records by whom. `None` stands for any
    /// statement of the client.
    pub(crate) async fn cancel<F: Future<Output = ()>>(
        &self,
        statement: Option<InFlightStatement>,
        by: CancelledBy,
        cancel: impl FnOnce(i32) -> F,
    ) {
        let _gate = self.gate.lock().await;
        {
            let mut state = self.state();
            let same = match (state.statement, statement) {
                (Some(now), Some(then)) => now.number == then.number,
                (now, None) => now.is_some_and(|now| now.client_may_cancel),
                (None, _) => false,
            };
            if !same {
                return;
            }
            state.cancelled_by = Some(by);
        }
        cancel(self.process).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_cancellation_applies_only_to_the_statement_it_was_sent_for() {
        let tracker = StatementTracker::new(7);
        let calls = AtomicU32::new(0);
        let call = |_| async {
            calls.fetch_add(1, Ordering::Relaxed);
        };
        tracker.cancel(None, CancelledBy::Client, call).await;
        tracker.start(CancelPolicy::cancellable());
        let first = tracker.in_flight();
        assert_eq!(tracker.finish().await, None);
        tracker.start(CancelPolicy::cancellable());
        tracker.cancel(first, CancelledBy::LockMonitor, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        tracker.cancel(tracker.in_flight(), CancelledBy::LockMonitor, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(tracker.finish().await, Some(CancelledBy::LockMonitor));
        assert_eq!(tracker.in_flight(), None);
        // A client cannot cancel the emulator's own statements.
        tracker.start(CancelPolicy::internal());
        tracker.cancel(None, CancelledBy::Client, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(tracker.finish().await, None);
    }
}
