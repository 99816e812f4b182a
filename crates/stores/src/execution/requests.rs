//! What is asked of an [`ExecutionStore`](super::ExecutionStore): acts as data
//! (temporal-persistence.md#create, temporal-persistence.md#update,
//! temporal-persistence.md#other-acts).

use temporal_dsql_domain::{CurrentExecutionsRow, ExecutionsRow, MapEntries, RunId, Tasks};

use crate::{AppendNodes, Owner};
use temporal_dsql_ports::{BufferedWrite, Expected, MapWrite};

/// A whole execution: to be created, or to take the place of what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The run as it is to be.
    pub execution: ExecutionsRow,
    /// The current execution, if this run is to be the current one. Its state is the run's.
    pub current: CurrentExecutionsRow,
    /// Every map that has entries, once.
    pub maps: Vec<MapEntries>,
    /// New tasks.
    pub tasks: Tasks,
    /// History of the owner's shard, written with the rest. Batches that would make the act larger than a
    /// transaction may be are appended first, each in a transaction of its own.
    pub events: Vec<AppendNodes>,
}

/// A change to an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The run as it is to be.
    pub execution: ExecutionsRow,
    /// The version that it must be at.
    pub expected: Expected,
    /// The current execution, if this run is to be, or to stay, the current one.
    pub current: CurrentExecutionsRow,
    /// What is removed from and written to maps, each map at most once.
    pub maps: Vec<MapWrite>,
    /// What happens to the buffered events.
    pub buffered: BufferedWrite,
    /// New tasks.
    pub tasks: Tasks,
    /// History that is written with the rest, as in [`Snapshot::events`].
    pub events: Vec<AppendNodes>,
}

/// What creating expects of the current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// The id has none; the new run becomes it.
    BrandNew,
    /// It is this run, closed; the new run takes its place.
    UpdateCurrent {
        /// The run.
        previous_run_id: RunId,
        /// The last write version of the run.
        previous_last_write_version: i64,
    },
    /// It is another run, or none, and stays.
    BypassCurrent,
}

/// What updating expects of the current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// It is the updated run, and is updated too; a new run takes its place.
    UpdateCurrent,
    /// It is another run, or none, and stays.
    BypassCurrent,
    /// Nothing.
    IgnoreCurrent,
}

/// What resolving a conflict expects of the current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictResolveMode {
    /// It is the mutated run, or else the reset one; the reset or the new run takes its place.
    UpdateCurrent,
    /// It is not the reset run, and stays.
    BypassCurrent,
}

/// Creates an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateExecution {
    /// Who asks.
    pub owner: Owner,
    /// What is expected of the current execution.
    pub mode: CreateMode,
    /// The execution.
    pub snapshot: Snapshot,
}

/// Updates an execution, and may create the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateExecution {
    /// Who asks.
    pub owner: Owner,
    /// What is expected of the current execution.
    pub mode: UpdateMode,
    /// The change.
    pub mutation: Mutation,
    /// The next run.
    pub new: Option<Snapshot>,
}

/// Resolves a replication conflict: one run is reset, the current one may be changed, and a next
/// run may be created.
///
/// They are different runs of one id. Temporal, which checks each part after it has written the one
/// before, fails with the condition of the later part if they are not; here the request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictResolve {
    /// Who asks.
    pub owner: Owner,
    /// What is expected of the current execution.
    pub mode: ConflictResolveMode,
    /// The run that is reset.
    pub reset: Snapshot,
    /// The version that it must be at.
    pub expected: Expected,
    /// The next run.
    pub new: Option<Snapshot>,
    /// The change to the run that is current until now, if that is not the one that is reset.
    pub current: Option<Mutation>,
}

/// Replaces an execution, whatever the current one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetExecution {
    /// Who asks.
    pub owner: Owner,
    /// The execution.
    pub snapshot: Snapshot,
    /// The version that it must be at.
    pub expected: Expected,
}
