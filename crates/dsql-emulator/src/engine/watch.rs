//! What a worker is doing, for those who have to know from outside: the monitor, and a client that
//! cancels.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Mutex as AsyncMutex;

use super::observed::Urgency;

/// The public side of one worker.
#[derive(Debug)]
pub(crate) struct Watch {
    /// PostgreSQL's process.
    pub(crate) process: i32,
    state: Mutex<State>,
    /// Held while a cancellation is sent, so that it cannot hit a later statement.
    gate: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct State {
    flight: Option<Flight>,
    number: u64,
    cancelled_by: Option<CancelledBy>,
}

/// A statement that PostgreSQL has not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
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

/// Whose wish it is that a statement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelledBy {
    /// The statement runs again, and the client does not notice.
    Monitor,
    /// The client wants it to fail.
    Client,
}

impl Watch {
    pub(crate) fn new(process: i32) -> Self {
        Self { process, state: Mutex::default(), gate: AsyncMutex::default() }
    }

    /// A statement is sent.
    pub(crate) fn take_off(&self, Urgency { since, urgent, shielded }: Urgency) {
        let mut state = self.state();
        state.number += 1;
        state.cancelled_by = None;
        let number = state.number;
        state.flight = Some(Flight { since, sent: Instant::now(), urgent, shielded, number });
    }

    /// The answer is there. Who had it cancelled, if anybody.
    pub(crate) async fn land(&self) -> Option<CancelledBy> {
        let _gate = self.gate.lock().await;
        let mut state = self.state();
        state.flight = None;
        state.cancelled_by.take()
    }

    pub(crate) fn flight(&self) -> Option<Flight> {
        self.state().flight
    }

    /// Runs `cancel` if `flight` is still under way, and notes by whom. If none is named, that is any
    /// of the client's.
    pub(crate) async fn cancel<F: Future<Output = ()>>(
        &self,
        flight: Option<Flight>,
        by: CancelledBy,
        cancel: impl FnOnce(i32) -> F,
    ) {
        let _gate = self.gate.lock().await;
        {
            let mut state = self.state();
            let same = match (state.flight, flight) {
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
        let watch = Watch::new(7);
        let calls = AtomicU32::new(0);
        let call = |_| async {
            calls.fetch_add(1, Ordering::Relaxed);
        };
        watch.cancel(None, CancelledBy::Client, call).await;
        watch.take_off(Urgency::now());
        let first = watch.flight();
        assert_eq!(watch.land().await, None);
        watch.take_off(Urgency::now());
        watch.cancel(first, CancelledBy::Monitor, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        watch.cancel(watch.flight(), CancelledBy::Monitor, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(watch.land().await, Some(CancelledBy::Monitor));
        assert_eq!(watch.flight(), None);
        // What the emulator does in between is not the client's to cancel.
        watch.take_off(Urgency::shielded());
        watch.cancel(None, CancelledBy::Client, call).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(watch.land().await, None);
    }
}
