//! The observer of the runner: the interface for metrics, logs and spans.

use std::time::Duration;

use crate::{BoxFuture, StoreError};

/// Receives the events of every operation that a [`Runner`](crate::Runner) executes.
///
/// Methods must return quickly: they are called between attempts.
pub trait Observer: Send + Sync {
    /// Wraps the future of `op`, with all attempts and the waits between them, for example in a
    /// span. The returned future must run `operation` to completion. The other methods are called
    /// while `operation` runs.
    fn instrument<'a>(&self, op: &'static str, operation: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        let _ = op;
        operation
    }

    /// Attempt number `attempt` of `op` failed with `error`. The next one begins after `backoff`.
    fn on_retry(&self, op: &'static str, attempt: u32, error: &StoreError, backoff: Duration) {
        let _ = (op, attempt, error, backoff);
    }

    /// `op` ended after `attempts` attempts and `elapsed`, with an error or without.
    fn on_end(
        &self,
        op: &'static str,
        attempts: u32,
        elapsed: Duration,
        error: Option<&StoreError>,
    ) {
        let _ = (op, attempts, elapsed, error);
    }
}

/// An observer that ignores every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentObserver;

impl Observer for SilentObserver {}
