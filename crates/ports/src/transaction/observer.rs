//! What the runner tells its surroundings: the seam for metrics.

use std::time::Duration;

use crate::{BoxFuture, StoreError};

/// Is told about every operation that goes through a [`Runner`](crate::Runner).
///
/// Methods must return quickly; they are called between attempts.
pub trait Observer: Send + Sync {
    /// Wraps the whole of `op`, all attempts and the waits between them, for example in a span.
    /// The future that is returned must run `operation` to its end. The other methods are called
    /// inside `operation`.
    fn instrument<'a>(&self, op: &'static str, operation: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        let _ = op;
        operation
    }

    /// Attempt number `attempt` of `op` failed with `error` and is repeated after `backoff`.
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

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilentObserver;

impl Observer for SilentObserver {}
