//! What a migration tells its surroundings while it runs: the seam for progress bars and logs.

use std::time::Duration;

use crate::{DatabaseError, JobStatus, plan::Step};

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A step begins.
    Started {
        /// Its number, from 1.
        number: usize,
        /// How many steps there are.
        total: usize,
        /// The step.
        step: &'a Step,
    },
    /// A step has ended well.
    Finished {
        /// Its number, from 1.
        number: usize,
        /// How many steps there are.
        total: usize,
        /// The step.
        step: &'a Step,
        /// Whether this run did it. If not, it was in effect: from an earlier run, or because a
        /// concurrent one was faster.
        done: bool,
        /// How long it took.
        elapsed: Duration,
    },
    /// An index is being built; told with every look at its job.
    Waiting {
        /// The index.
        index: &'a str,
        /// How far its job is; `None` if there is none to be seen.
        status: Option<JobStatus>,
        /// How long this run has waited for it.
        elapsed: Duration,
    },
    /// An invalid index that nobody builds is dropped, to be built anew.
    Repairing {
        /// The index.
        index: &'a str,
    },
    /// Something failed in a way that may pass, and is tried again.
    Retrying {
        /// What failed.
        action: &'a str,
        /// How often it was tried.
        attempts: u32,
        /// The failure.
        error: &'a DatabaseError,
        /// How long until the next attempt.
        wait: Duration,
    },
}

/// Is told what happens. Must return quickly.
pub trait ProgressObserver: Send + Sync {
    /// `progress` has just happened.
    fn on(&self, progress: Progress<'_>);
}

impl<F: Fn(Progress<'_>) + Send + Sync> ProgressObserver for F {
    fn on(&self, progress: Progress<'_>) {
        self(progress);
    }
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct IgnoreProgress;

impl ProgressObserver for IgnoreProgress {
    fn on(&self, _: Progress<'_>) {}
}
