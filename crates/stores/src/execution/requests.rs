//! The requests of an [`ExecutionStore`](super::ExecutionStore)
//! (temporal-persistence.md#create, temporal-persistence.md#update,
//! temporal-persistence.md#other-operations).

use temporal_dsql_domain::{CurrentExecutionsRow, ExecutionsRow, MapEntries, RunId, Tasks};

use crate::{AppendNodes, Owner};
use temporal_dsql_ports::{BufferedWrite, Expected, MapWrite};

/// All data of a run, to create it or to replace its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The `executions` row to write.
    pub execution: ExecutionsRow,
    /// The current-execution row of the run, written if the run becomes the current one. Its state is
    /// the state of the run.
    pub current: CurrentExecutionsRow,
    /// The maps that have entries, each at most once.
    pub maps: Vec<MapEntries>,
    /// Tasks to insert.
    pub tasks: Tasks,
    /// History batches of the owner's shard, written in the same transaction. If the transaction would
    /// exceed its limits, they are appended before it, each in a transaction of its own.
    pub events: Vec<AppendNodes>,
}

/// A change of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The `executions` row to write.
    pub execution: ExecutionsRow,
    /// The condition on the stored version of the run.
    pub expected: Expected,
    /// The current-execution row of the run, written if the run becomes or stays the current one.
    pub current: CurrentExecutionsRow,
    /// The changes of the maps, each map at most once.
    pub maps: Vec<MapWrite>,
    /// The change of the buffered events.
    pub buffered: BufferedWrite,
    /// Tasks to insert.
    pub tasks: Tasks,
    /// History batches, as in [`Snapshot::events`].
    pub events: Vec<AppendNodes>,
}

/// The condition of a creation on the current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// The id has no current execution. The new run becomes the current one.
    BrandNew,
    /// The current run is this one, and it is closed. The new run becomes the current one.
    UpdateCurrent {
        /// The run.
        previous_run_id: RunId,
        /// The last write version of the run.
        previous_last_write_version: i64,
    },
    /// The current run is another one, or there is none. It is not changed.
    BypassCurrent,
}

/// The condition of an update on the current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// The updated run is the current one. Its row is updated, or replaced by the new run.
    UpdateCurrent,
    /// The current run is another one, or there is none. It is not changed.
    BypassCurrent,
    /// No condition. The current execution is not changed.
    IgnoreCurrent,
}

/// The condition of a conflict resolution on the current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictResolveMode {
    /// The current run is the mutated run if there is one, otherwise the reset run. The new run if
    /// there is one, otherwise the reset run, becomes the current one.
    UpdateCurrent,
    /// The current run is not the reset run. It is not changed.
    BypassCurrent,
}

/// Creates an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateExecution {
    /// The owner of the shard.
    pub owner: Owner,
    /// The condition on the current execution.
    pub mode: CreateMode,
    /// The execution.
    pub snapshot: Snapshot,
}

/// Updates an execution, and may create the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateExecution {
    /// The owner of the shard.
    pub owner: Owner,
    /// The condition on the current execution.
    pub mode: UpdateMode,
    /// The change.
    pub mutation: Mutation,
    /// The next run.
    pub new: Option<Snapshot>,
}

/// Resolves a replication conflict: one run is reset, the current one may be changed, and a next
/// run may be created.
///
/// They must be different runs of one id; otherwise the request is invalid. (Temporal writes the
/// parts one after the other, and the condition of the later part fails.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictResolve {
    /// The owner of the shard.
    pub owner: Owner,
    /// The condition on the current execution.
    pub mode: ConflictResolveMode,
    /// The reset run.
    pub reset: Snapshot,
    /// The condition on the stored version of the run.
    pub expected: Expected,
    /// The next run.
    pub new: Option<Snapshot>,
    /// The change of the current run, if it is not the reset run.
    pub current: Option<Mutation>,
}

/// Replaces all rows of a run, without a condition on the current execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetExecution {
    /// The owner of the shard.
    pub owner: Owner,
    /// The execution.
    pub snapshot: Snapshot,
    /// The condition on the stored version of the run.
    pub expected: Expected,
}
