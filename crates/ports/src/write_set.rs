//! Write sets: the conditions and the row changes of one atomic operation, as data.
//!
//! Every write of Temporal's `ExecutionStore` is one [`WriteSet`]. A store applies it entirely or
//! not at all ([`Store::apply`](crate::Store::apply)). The reference implementation is a transaction
//! that reads, checks and writes; an adapter may use one statement. Both return the state that the
//! conditions refer to as [`Observed`], and [`WriteSet::check`] alone decides which condition failed.

use std::{borrow::Cow, collections::BTreeSet};

use temporal_dsql_domain::{
    BranchKey, CurrentExecutionsFilter, CurrentExecutionsRow, DataBlob, ExecutionState,
    ExecutionVersion, ExecutionsFilter, ExecutionsRow, HistoryNode, HistoryTreeRow, InvalidValue,
    MapEntries, MapKeys, MapTable, NamespaceId, RunId, ShardId, Table, Tasks, WorkflowId,
};

use crate::ConditionFailed;

/// The conditions and the row changes of one atomic operation. All rows belong to one shard. All
/// runs, and the current execution, belong to one business id.
#[derive(Clone, Debug)]
pub struct WriteSet<'a> {
    /// Temporal's name of the operation, for errors, spans and metrics.
    pub op: &'static str,
    /// The shard of every row.
    pub shard_id: ShardId,
    /// The range id of the shard's owner. The operation locks the shard's row, which conflicts with a
    /// takeover, and fails if the range id differs. `None`: ownership is not checked.
    pub range_id: Option<i64>,
    /// The condition and the change of the current execution; `None` if there is neither.
    pub current: Option<CurrentChange<'a>>,
    /// The changes of runs, in the order in which their conditions are checked.
    pub runs: Vec<RunChange<'a>>,
    /// Tasks to insert.
    pub tasks: Vec<&'a Tasks>,
    /// History batches to write in the same transaction.
    pub history: Vec<HistoryChange<'a>>,
}

/// The condition and the change of the current execution.
#[derive(Clone, Debug)]
pub struct CurrentChange<'a> {
    /// The key of the current execution.
    pub id: CurrentExecutionsFilter,
    /// The condition.
    pub expected: ExpectedCurrent,
    /// The row to write: inserted if the current execution must be absent, updated otherwise.
    /// `None`: it is not changed.
    pub write: Option<&'a CurrentExecutionsRow>,
}

/// A condition on the current execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedCurrent {
    /// The id has no current execution.
    Absent,
    /// The current run is this one.
    Run(RunId),
    /// The current run is this one, it is closed, and its `executions` row has this last write
    /// version.
    Closed {
        /// The run.
        run_id: RunId,
        /// The last write version.
        last_write_version: i64,
    },
    /// The current run is not this one, or the id has no current execution.
    AnyBut(RunId),
}

/// A condition on the version of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `db_record_version` has this value: the one of the row to write, minus one.
    RecordVersion(i64),
    /// `next_event_id` has this value. For rows written by a Temporal version without record
    /// versions.
    NextEventId(i64),
}

/// The change of one run.
#[derive(Clone, Debug)]
pub enum RunChange<'a> {
    /// Creates the run. It must not exist.
    Insert {
        /// The `executions` row.
        row: &'a ExecutionsRow,
        /// The entries of its maps, at most one list per map.
        maps: &'a [MapEntries],
    },
    /// Updates the run.
    Update {
        /// The `executions` row.
        row: &'a ExecutionsRow,
        /// The condition on its stored version.
        expected: Expected,
        /// The changes of its maps, at most one per map.
        maps: &'a [MapWrite],
        /// The change of its buffered events.
        buffered: &'a BufferedWrite,
    },
    /// Replaces all rows of the run: map entries that are not written are deleted, and so are the
    /// buffered events.
    Replace {
        /// The `executions` row.
        row: &'a ExecutionsRow,
        /// The condition on its stored version.
        expected: Expected,
        /// The entries of its maps, at most one list per map.
        maps: &'a [MapEntries],
    },
    /// Deletes all rows of the run. It need not exist.
    Delete(&'a ExecutionsFilter),
}

/// The entries to remove from and to write to one map. Entries are written before keys are removed,
/// as in Temporal's stores: a key that is both written and removed is absent afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapWrite {
    /// The keys of the entries to remove.
    pub remove: MapKeys,
    /// The entries to write. They belong to the same map as `remove`.
    pub replace: MapEntries,
}

/// Checks that no map occurs twice.
///
/// # Errors
/// The first map that occurs twice.
pub fn check_distinct_maps(maps: impl IntoIterator<Item = MapTable>) -> Result<(), InvalidValue> {
    let mut named = Vec::new();
    for map in maps {
        InvalidValue::unless(!named.contains(&map), "maps", || {
            format!("has {} twice", map.table())
        })?;
        named.push(map);
    }
    Ok(())
}

impl MapWrite {
    /// Writes these entries, over those with the same keys.
    pub fn upsert(entries: MapEntries) -> Self {
        Self { remove: MapKeys::none(entries.map()), replace: entries }
    }

    /// Removes the entries with these keys.
    pub fn remove(keys: MapKeys) -> Self {
        Self { replace: MapEntries::none(keys.map()), remove: keys }
    }

    /// Checks that no map occurs twice, and that the keys and the entries of each write belong to the
    /// same map.
    ///
    /// # Errors
    /// The first map that violates this.
    pub fn check_all(writes: &[Self]) -> Result<(), InvalidValue> {
        check_distinct_maps(writes.iter().map(|write| write.replace.map()))?;
        writes.iter().try_for_each(|MapWrite { remove, replace }| {
            InvalidValue::unless(remove.map() == replace.map(), "maps", || {
                format!("removes keys of another map from {}", replace.map().table())
            })
        })
    }

    /// The entries that exist after the write: those that are written and not removed.
    pub fn entries_that_stay(&self) -> Cow<'_, MapEntries> {
        self.replace.without(&self.remove)
    }
}

/// The change of the buffered events: they are deleted if `clear` is set, then events are appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BufferedWrite {
    /// Whether all buffered events are deleted.
    pub clear: bool,
    /// The events to append.
    pub append: Vec<DataBlob>,
}

/// One history batch to write.
#[derive(Clone, Debug)]
pub struct HistoryChange<'a> {
    /// The branch.
    pub branch: BranchKey,
    /// The batch. A stored batch with the same node id and transaction is overwritten.
    pub node: &'a HistoryNode,
    /// The row of the branch, if the batch is the first of a new branch.
    pub tree: Option<HistoryTreeRow>,
}

/// The state that the conditions of a write set refer to, read from one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The shard's range id; `None` if the shard does not exist or ownership is not checked.
    pub range_id: Option<i64>,
    /// The current execution; `None` if it does not exist or the write set has no condition on it.
    pub current: Option<CurrentExecutionsRow>,
    /// The versions of the current run, if its `executions` row exists.
    pub current_run: Option<ExecutionVersion>,
    /// The versions of those runs of the write set that exist.
    pub runs: Vec<(RunId, ExecutionVersion)>,
    /// The tables, other than `executions`, with rows of replaced or deleted runs that the write set
    /// does not write. Empty if the adapter deletes such rows without reading them first.
    pub removable: Vec<Table>,
}

/// The numbers of rows that a write set writes, for the tables where they are known in advance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows of `executions` that are inserted or updated.
    pub runs: u64,
    /// Rows of the current-execution tables.
    pub current: u64,
    /// Tasks.
    pub tasks: u64,
}

impl Expected {
    /// Whether the condition holds for a run with the versions `found`.
    pub const fn holds(self, found: &ExecutionVersion) -> bool {
        match self {
            Self::RecordVersion(version) => found.db_record_version == version,
            Self::NextEventId(id) => found.next_event_id == id,
        }
    }
}

impl Observed {
    /// The versions of a run, if it exists.
    pub fn run(&self, run_id: RunId) -> Option<ExecutionVersion> {
        self.runs.iter().find(|(id, _)| *id == run_id).map(|(_, version)| *version)
    }
}

impl ExpectedCurrent {
    fn holds(self, observed: &Observed) -> bool {
        match (self, &observed.current) {
            (Self::Absent, current) => current.is_none(),
            (Self::Run(run_id), Some(current)) => current.run_id == run_id,
            (Self::Closed { run_id, last_write_version }, Some(current)) => {
                current.run_id == run_id
                    && current.state == ExecutionState::Completed
                    && observed
                        .current_run
                        .is_some_and(|run| run.last_write_version == last_write_version)
            }
            (Self::Run(_) | Self::Closed { .. }, None) => false,
            (Self::AnyBut(run_id), current) => {
                current.as_ref().is_none_or(|current| current.run_id != run_id)
            }
        }
    }
}

impl RunChange<'_> {
    /// The run.
    pub const fn run_id(&self) -> RunId {
        match self {
            Self::Insert { row, .. } | Self::Update { row, .. } | Self::Replace { row, .. } => {
                row.run_id
            }
            Self::Delete(run) => run.run_id,
        }
    }

    /// The key of the run.
    pub fn filter(&self) -> ExecutionsFilter {
        match self {
            Self::Insert { row, .. } | Self::Update { row, .. } | Self::Replace { row, .. } => {
                row.filter()
            }
            Self::Delete(run) => (*run).clone(),
        }
    }

    /// The business id of the run.
    pub fn id(&self) -> (NamespaceId, &WorkflowId) {
        match self {
            Self::Insert { row, .. } | Self::Update { row, .. } | Self::Replace { row, .. } => {
                (row.namespace_id, &row.workflow_id)
            }
            Self::Delete(run) => (run.namespace_id, &run.workflow_id),
        }
    }

    /// The `executions` row to write; `None` for a deletion.
    pub const fn row(&self) -> Option<&ExecutionsRow> {
        match self {
            Self::Insert { row, .. } | Self::Update { row, .. } | Self::Replace { row, .. } => {
                Some(row)
            }
            Self::Delete(_) => None,
        }
    }

    fn check(&self, observed: &Observed) -> Result<(), ConditionFailed> {
        let run_id = self.run_id();
        let found = observed.run(run_id);
        match self {
            Self::Insert { .. } if found.is_some() => {
                Err(ConditionFailed::ExecutionExists { run_id })
            }
            Self::Update { expected, .. } | Self::Replace { expected, .. }
                if !found.is_some_and(|found| expected.holds(&found)) =>
            {
                Err(ConditionFailed::Execution { run_id, observed: found })
            }
            _ => Ok(()),
        }
    }
}

impl WriteSet<'_> {
    /// A write set without conditions and changes.
    pub const fn new(op: &'static str, shard_id: ShardId) -> Self {
        Self {
            op,
            shard_id,
            range_id: None,
            current: None,
            runs: Vec::new(),
            tasks: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Checks the conditions against the observed state: the shard's owner, then the current
    /// execution, then the runs in their order.
    ///
    /// # Errors
    /// The first condition that does not hold. A current execution is returned with the last write
    /// version of its `executions` row, as in Temporal's stores: an update may write that row alone.
    pub fn check(&self, observed: &Observed) -> Result<(), ConditionFailed> {
        if let Some(expected) = self.range_id
            && observed.range_id != Some(expected)
        {
            return Err(ConditionFailed::ShardOwnershipLost {
                shard_id: self.shard_id,
                expected,
                observed: observed.range_id,
            });
        }
        if let Some(current) = &self.current
            && !current.expected.holds(observed)
        {
            let mut found = observed.current.clone();
            if let (Some(found), Some(run)) = (&mut found, observed.current_run) {
                found.last_write_version = run.last_write_version;
            }
            return Err(ConditionFailed::CurrentExecution { observed: found.map(Box::new) });
        }
        self.runs.iter().try_for_each(|run| run.check(observed))
    }

    /// The `executions` rows to write.
    pub fn rows(&self) -> impl Iterator<Item = &ExecutionsRow> {
        self.runs.iter().filter_map(RunChange::row)
    }

    /// The entries of maps to write, as they are given.
    pub fn entries(&self) -> impl Iterator<Item = &MapEntries> {
        self.runs.iter().flat_map(|run| -> Vec<&MapEntries> {
            match run {
                RunChange::Insert { maps, .. } | RunChange::Replace { maps, .. } => {
                    maps.iter().collect()
                }
                RunChange::Update { maps, .. } => maps.iter().map(|map| &map.replace).collect(),
                RunChange::Delete(_) => Vec::new(),
            }
        })
    }

    /// The numbers of rows that are written if the conditions hold.
    pub fn expected_counts(&self) -> RowCounts {
        let has_current = self.current.as_ref().is_some_and(|current| current.write.is_some());
        RowCounts {
            runs: self.rows().count() as u64,
            current: u64::from(has_current),
            tasks: self.tasks.iter().map(|tasks| tasks.len() as u64).sum(),
        }
    }

    /// Checks that the parts are consistent. Every adapter does so before it sends anything.
    ///
    /// # Errors
    /// A run occurs twice; or a current execution is written under [`ExpectedCurrent::AnyBut`], where
    /// there may be no row to update.
    pub fn validate(&self) -> Result<(), InvalidValue> {
        let mut runs = BTreeSet::new();
        for run_id in self.runs.iter().map(RunChange::run_id) {
            let is_new = runs.insert(run_id);
            InvalidValue::unless(is_new, "runs", || format!("contains {run_id} twice"))?;
        }
        let may_be_absent = self.current.as_ref().is_some_and(|current| {
            current.write.is_some() && matches!(current.expected, ExpectedCurrent::AnyBut(_))
        });
        InvalidValue::unless(
            !may_be_absent,
            "current",
            || "cannot be written under the condition `AnyBut`: there may be no row to update",
        )
    }

    /// The runs that the conditions refer to: those that are written, and the one of
    /// [`ExpectedCurrent::Closed`].
    pub fn observed_runs(&self) -> BTreeSet<RunId> {
        let written = self.rows().map(|row| row.run_id);
        let closed = self.current.iter().filter_map(|current| match current.expected {
            ExpectedCurrent::Closed { run_id, .. } => Some(run_id),
            _ => None,
        });
        written.chain(closed).collect()
    }
}
