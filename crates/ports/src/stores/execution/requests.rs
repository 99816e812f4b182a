//! What is asked of an [`ExecutionStore`](super::ExecutionStore): acts as data (contract §3.2–§3.4).

use temporal_dsql_domain::{
    CurrentExecutionsRow, ExecutionVersion, ExecutionsRow, MapEntries, MapTable, RunId, Tasks,
};

use crate::{
    BufferedWrite, MapWrite, Removal,
    stores::{AppendNodes, Owner},
};

/// The version that a run must be at to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The record version: what the row's own will be, minus one.
    RecordVersion(i64),
    /// The next event's id, for rows of writers that did not count record versions.
    NextEventId(i64),
}

impl Expected {
    pub(super) const fn holds(self, found: &ExecutionVersion) -> bool {
        match self {
            Self::RecordVersion(version) => found.db_record_version == version,
            Self::NextEventId(id) => found.next_event_id == id,
        }
    }
}

/// A whole execution: to be created, or to take the place of what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The run as it is to be.
    pub execution: ExecutionsRow,
    /// The current execution, if this run is to be the current one. Its state is the run's.
    pub current: CurrentExecutionsRow,
    /// Every map that has entries.
    pub maps: Vec<MapEntries>,
    /// New tasks.
    pub tasks: Tasks,
    /// History that is appended first, outside the transaction: a node nobody points at does no
    /// harm, and appending it again changes nothing.
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
    /// What is removed from and written to each map.
    pub maps: Vec<MapWrite>,
    /// What happens to the buffered events.
    pub buffered: BufferedWrite,
    /// New tasks.
    pub tasks: Tasks,
    /// History that is appended first, outside the transaction.
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
    /// The change to the run that is current until now.
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

impl Snapshot {
    /// How its maps are written where nothing is stored yet.
    pub(super) fn new_maps(&self) -> Vec<MapWrite> {
        self.maps
            .iter()
            .map(|entries| MapWrite { remove: Removal::Others, replace: entries.clone() })
            .collect()
    }

    /// How its maps take the place of all that is stored: every map, also those that it leaves
    /// empty.
    pub(super) fn reset_maps(&self) -> Vec<MapWrite> {
        MapTable::ALL
            .into_iter()
            .map(|map| MapWrite {
                remove: Removal::Others,
                replace: self
                    .maps
                    .iter()
                    .find(|entries| entries.map() == map)
                    .cloned()
                    .unwrap_or_else(|| MapEntries::none(map)),
            })
            .collect()
    }
}
