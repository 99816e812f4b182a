//! What a worker is doing, for those who have to know from outside: the monitor, and a client that
//! cancels.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Mutex as AsyncMutex;

/// The public side of one worker.
#[derive(Debug)]
pub(crate) struct StatementTracker {
    /// PostgreSQL's process.
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
    /// When its client asked for it: older statements have the right of way.
    pub(crate) since: Instant,
    /// When it was sent, for the last time.
    pub(crate) sent: Instant,
    /// It is never cancelled to make way.
    pub(crate) urgent: bool,
    /// It is none of the client's.
    shielded: bool,
    number: u64,
}

/// When a statement was asked for, and who may cancel it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelPolicy {
    pub(crate) since: Instant,
    /// Not the monitor: others wait for it.
    pub(crate) urgent: bool,
    /// Not the client: it is none of its statements.
    pub(crate) shielded: bool,
}

impl CancelPolicy {
    pub(crate) fn cancellable() -> Self {
        Self { since: Instant::now(), urgent: false, shielded: false }
    }

    /// A commit waits, and everybody for the commit.
    pub(crate) fn commit() -> Self {
        Self { since: Instant::now(), urgent: true, shielded: false }
    }

    /// The emulator's own work between the statements of clients: a transaction goes back, or makes
    /// way. It waits for nobody, so it is soon over; were it cancelled, the transaction would have
    /// failed with its locks in place, and could not make way any more.
    pub(crate) fn internal() -> Self {
        Self { since: Instant::now(), urgent: true, shielded: true }
    }
}

/// Whose wish it is that a statement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelledBy {
    /// The statement runs again, and the client does not notice.
    LockMonitor,
    /// The client wants it to fail.
    Client,
}

impl StatementTracker {
    pub(crate) fn new(process: i32) -> Self {
        Self { process, state: Mutex::default(), gate: AsyncMutex::default() }
    }

    /// A statement is sent.
    pub(crate) fn start(&self, CancelPolicy { since, urgent, shielded }: CancelPolicy) {
        let mut state = self.state();
        state.number += 1;
        state.cancelled_by = None;
        let number = state.number;
        state.statement =
            Some(InFlightStatement { since, sent: Instant::now(), urgent, shielded, number });
    }

    /// The answer is there. Who had it cancelled, if anybody.
    pub(crate) async fn finish(&self) -> Option<CancelledBy> {
        let _gate = self.gate.lock().await;
        let mut state = self.state();
        state.statement = None;
        state.cancelled_by.take()
    }

    pub(crate) fn in_flight(&self) -> Option<InFlightStatement> {
        self.state().statement
    }

    /// Runs `cancel` if `statement` is still under way, and notes by whom. If none is named, that is any
    /// of the client's.
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
                (now, None) => now.is_some_and(|now| !now.shielded),
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
    async fn a_cancellation_hits_the_statement_it_was_meant_for_or_none() {
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
        // What the emulator does in between is not the client's to cancel.
        tracker.start(CancelPolicy::internal());
        tracker.cancel(None, CancelledBy::Client, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(tracker.finish().await, None);
    }
}
