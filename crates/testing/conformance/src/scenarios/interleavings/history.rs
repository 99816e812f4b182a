//! The history that clients record: their operations, and what they know of the outcomes.

use std::collections::{BTreeMap, BTreeSet};

use temporal_dsql_domain::{CurrentExecutionsRow, ExecutionsRow, RunId, ShardsRow};

/// The number of hosts; clients share them.
pub(super) const HOSTS: usize = 3;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationKind {
    /// Created the current run of an id that had none, at record version 1.
    Create,
    /// Created a run that replaced a closed run.
    Reuse { previous: RunId },
    /// Updated the run from this record version to the next.
    Update { from: i64 },
    /// Added a task only.
    AddTask,
}

/// What the client knows of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// The outcome is unknown, or the service crashed before the answer.
    Unknown,
    /// The operation was acknowledged.
    Acknowledged,
    /// The operation failed and wrote nothing.
    Failed,
}

/// The rows that an operation writes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WrittenRows {
    pub(super) current: CurrentExecutionsRow,
    pub(super) execution: ExecutionsRow,
}

/// An operation of a client; its key in the history is the id of its task.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) kind: OperationKind,
    /// The index of the workflow id.
    pub(super) id: usize,
    pub(super) run_id: RunId,
    pub(super) range_id: i64,
    /// `None` if it only adds a task.
    pub(super) written: Option<Box<WrittenRows>>,
    pub(super) completion: Completion,
    /// Whether the client still waits for the answer.
    pub(super) is_pending: bool,
}

impl Operation {
    /// The record version after the operation; `None` if it writes no run.
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
    /// The row that the claim writes; no other claim writes the same.
    pub(super) claim: ShardsRow,
    /// The row that its last attempt read.
    pub(super) found: Option<ShardsRow>,
    /// The tasks that were stored when no earlier owner could add one any more: read by the last
    /// attempt under the lock, or after the claim was acknowledged. `None` if they were not read.
    pub(super) tasks: Option<BTreeSet<i64>>,
    pub(super) completion: Completion,
}

/// What is known of a requested deletion of a run that was the current one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deletion {
    /// Whether the deletion of the current execution was acknowledged.
    pub(super) of_current: bool,
    /// Whether the deletion of the run was acknowledged.
    pub(super) of_run: bool,
}

/// The recorded history.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The shard before the first claim.
    pub(super) first: Option<ShardsRow>,
    pub(super) operations: BTreeMap<i64, Operation>,
    pub(super) takeovers: Vec<Takeover>,
    pub(super) deletions: BTreeMap<RunId, Deletion>,
    /// The range id under which each host operates; clients share hosts.
    pub(super) hosts: [Option<i64>; HOSTS],
    pub(super) last_task_id: i64,
    /// The number of operations of this incarnation.
    pub(super) finished: u32,
    /// The number of transactions that began, including retries.
    pub(super) begun: usize,
    /// The number of requested deletions of runs, including repeated ones.
    pub(super) delete_requests: usize,
    /// The number of commits that arrived after their clients had given up.
    pub(super) late_commits: usize,
}
