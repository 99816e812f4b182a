//! Progress events of a migration, for progress bars and logs.

use std::time::Duration;

use crate::{DatabaseError, JobStatus, plan::Step};

/// A progress event.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A step starts.
    Started {
        /// Its number, from 1.
        number: usize,
        /// How many steps there are.
        total: usize,
        /// The step.
        step: &'a Step,
    },
    /// A step has succeeded: it is in effect, or the server has answered that its statement is executed.
    /// What was created is read back before a later step needs it.
    Finished {
        /// Its number, from 1.
        number: usize,
        /// How many steps there are.
        total: usize,
        /// The step.
        step: &'a Step,
        /// Whether this run executed it. If not, it was in effect, from an earlier or a concurrent
        /// run.
        done: bool,
        /// The duration.
        elapsed: Duration,
    },
    /// An index is being built; reported at every poll of its job.
    Waiting {
        /// The index.
        index: &'a str,
        /// The status of its job; `None` if no job is visible.
        status: Option<JobStatus>,
        /// The time that this run has waited for it.
        elapsed: Duration,
    },
    /// An invalid index without a running job is dropped and rebuilt.
    Repairing {
        /// The index.
        index: &'a str,
    },
    /// A statement waits for a lock on PostgreSQL; reported after two seconds, and again at times.
    WaitingForLock {
        /// The sessions that hold the lock.
        holders: &'a [String],
        /// The time that the statement has waited.
        elapsed: Duration,
    },
    /// Rows are read for a digest; reported after each page.
    Reading {
        /// The table.
        table: &'a str,
        /// The rows so far.
        rows: u64,
        /// The time since the first page was asked for.
        elapsed: Duration,
    },
    /// The preflight of an import has found what does not stop it, and an operator should know before
    /// the copy begins.
    Noted {
        /// What it is.
        note: &'a str,
    },
    /// A transient failure is retried.
    Retrying {
        /// The failed action.
        action: &'a str,
        /// The number of attempts so far.
        attempts: u32,
        /// The failure.
        error: &'a DatabaseError,
        /// The wait before the next attempt.
        wait: Duration,
    },
}

/// Receives progress events. Must return quickly.
pub trait ProgressObserver: Send + Sync {
    /// Handles one event.
    fn on(&self, progress: Progress<'_>);
}

impl<F: Fn(Progress<'_>) + Send + Sync> ProgressObserver for F {
    fn on(&self, progress: Progress<'_>) {
        self(progress);
    }
}

/// Ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoreProgress;

impl ProgressObserver for IgnoreProgress {
    fn on(&self, _: Progress<'_>) {}
}
