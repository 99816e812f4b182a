//! What the clients write down about what they do: the history that is checked afterwards.

use std::collections::{BTreeMap, BTreeSet};

use temporal_dsql_domain::{CurrentExecutionsRow, ExecutionsRow, RunId, ShardsRow};

/// How many hosts the clients share.
pub(super) const HOSTS: usize = 3;

/// What an act was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationKind {
    /// Made the run the current one of an id that had none, at record version 1.
    Create,
    /// Took the place of a closed run.
    Reuse { previous: RunId },
    /// Brought the run from this record version to the next.
    Update { from: i64 },
    /// Added a task and nothing else.
    AddTask,
}

/// What the client knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// It was on its way when the service died, or its outcome is unknown.
    Unknown,
    /// It was acknowledged.
    Acknowledged,
    /// It failed, and surely left no trace.
    Failed,
}

/// The rows that an act writes whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WrittenRows {
    pub(super) current: CurrentExecutionsRow,
    pub(super) execution: ExecutionsRow,
}

/// An act of a client, by the id of its task.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) kind: OperationKind,
    /// The number of the workflow id.
    pub(super) id: usize,
    pub(super) run_id: RunId,
    pub(super) range_id: i64,
    /// `None` if it only adds a task.
    pub(super) written: Option<Box<WrittenRows>>,
    pub(super) completion: Completion,
    /// Whether the client still waits for the end.
    pub(super) is_pending: bool,
}

impl Operation {
    /// The record version that it brings its run to; `None` if it writes no run.
    pub(super) const fn version(&self) -> Option<i64> {
        match self.kind {
            OperationKind::Create | OperationKind::Reuse { .. } => Some(1),
            OperationKind::Update { from } => Some(from + 1),
            OperationKind::AddTask => None,
        }
    }
}

/// A claim of the shard.
#[derive(Clone, Debug)]
pub(super) struct Takeover {
    /// The row that the claim writes, which no other one does.
    pub(super) claim: ShardsRow,
    /// The row that its last attempt found.
    pub(super) found: Option<ShardsRow>,
    /// The tasks that were found while no owner before could add one: by its last attempt under the
    /// lock, or after it was acknowledged. `None` if nobody has looked.
    pub(super) tasks: Option<BTreeSet<i64>>,
    pub(super) completion: Completion,
}

/// What is known of the deletion of a run that was the current one. It was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deletion {
    /// Whether it was acknowledged that the run is not the current one.
    pub(super) of_current: bool,
    /// Whether it was acknowledged that the run is gone.
    pub(super) of_run: bool,
}

/// What was written down.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The shard before the first claim.
    pub(super) first: Option<ShardsRow>,
    pub(super) operations: BTreeMap<i64, Operation>,
    pub(super) takeovers: Vec<Takeover>,
    pub(super) deletions: BTreeMap<RunId, Deletion>,
    /// The range id that each of the hosts believes in; clients share hosts.
    pub(super) hosts: [Option<i64>; HOSTS],
    pub(super) last_task_id: i64,
    /// How many acts this life has had.
    pub(super) finished: u32,
    /// How many transactions have begun, each attempt counted.
    pub(super) begun: usize,
    /// How many deletions of runs were asked for, again or for the first time.
    pub(super) delete_requests: usize,
    /// How many acts were applied after their clients had given up.
    pub(super) late_commits: usize,
}
