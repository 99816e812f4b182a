//! An act as data: what it expects to find and which rows it changes.
//!
//! Every act of Temporal's `ExecutionStore` is one [`WriteSet`]. A store applies it entirely or not
//! at all ([`Store::apply`](crate::Store::apply)): the reference way is a transaction that observes,
//! checks and writes; an adapter may do all of it in one statement. Both ways find what is
//! [`Observed`], and [`WriteSet::check`] is the only code that decides which condition failed.

use std::{borrow::Cow, collections::BTreeSet};

use temporal_dsql_domain::{
    BranchKey, CurrentExecutionsFilter, CurrentExecutionsRow, DataBlob, ExecutionState,
    ExecutionVersion, ExecutionsFilter, ExecutionsRow, HistoryNode, HistoryTreeRow, InvalidValue,
    MapEntries, MapKeys, MapTable, NamespaceId, RunId, ShardId, Table, Tasks, WorkflowId,
};

use crate::ConditionFailed;

/// What one act expects and changes. All rows belong to one shard; all runs, and the current
/// execution, belong to one business id.
#[derive(Clone, Debug)]
pub struct WriteSet<'a> {
    /// Temporal's name of the operation, for errors, spans and metrics.
    pub op: &'static str,
    /// The shard of every row.
    pub shard_id: ShardId,
    /// The range id of the owner who asks. The act holds a lock of the shard's row that conflicts
    /// with a takeover. `None`: the act is not guarded.
    pub range_id: Option<i64>,
    /// The current execution, if the act looks at it.
    pub current: Option<CurrentChange<'a>>,
    /// The runs, in the order in which their conditions are checked.
    pub runs: Vec<RunChange<'a>>,
    /// New tasks.
    pub tasks: Vec<&'a Tasks>,
    /// History that is written together with the rows above.
    pub history: Vec<HistoryChange<'a>>,
}

/// What is expected of the current execution, and what becomes of it.
#[derive(Clone, Debug)]
pub struct CurrentChange<'a> {
    /// Which current execution.
    pub id: CurrentExecutionsFilter,
    /// What it must be.
    pub expected: ExpectedCurrent,
    /// What it becomes: inserted if it must be absent, updated otherwise. `None`: it stays.
    pub write: Option<&'a CurrentExecutionsRow>,
}

/// What a current execution must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedCurrent {
    /// There is none.
    Absent,
    /// It is this run.
    Run(RunId),
    /// It is this run, closed, and the last write version of its `executions` row is this one.
    Closed {
        /// The run.
        run_id: RunId,
        /// The last write version.
        last_write_version: i64,
    },
    /// It is another run, or there is none.
    AnyBut(RunId),
}

/// The version that a run must be at to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The record version: the one of the row that is written, minus one.
    RecordVersion(i64),
    /// The next event's id, for rows of writers that did not count record versions.
    NextEventId(i64),
}

/// What happens to one run.
#[derive(Clone, Debug)]
pub enum RunChange<'a> {
    /// It is created. It must not exist.
    Insert {
        /// The `executions` row.
        row: &'a ExecutionsRow,
        /// Its maps, at most one list for each.
        maps: &'a [MapEntries],
    },
    /// Parts of it are changed.
    Update {
        /// The `executions` row.
        row: &'a ExecutionsRow,
        /// The version that it must be at.
        expected: Expected,
        /// The changes of its maps, at most one for each.
        maps: &'a [MapWrite],
        /// The change of its buffered events.
        buffered: &'a BufferedWrite,
    },
    /// All that is stored for it is replaced: entries that are not written are removed, and the
    /// buffered events too.
    Replace {
        /// The `executions` row.
        row: &'a ExecutionsRow,
        /// The version that it must be at.
        expected: Expected,
        /// Its maps, at most one list for each.
        maps: &'a [MapEntries],
    },
    /// All that is stored for it is deleted, if there is anything.
    Delete(&'a ExecutionsFilter),
}

/// What is removed from and written to one map. Entries are written first and removed then, as
/// Temporal's stores do it: a key that is both written and removed is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapWrite {
    /// The keys of the entries that are removed.
    pub remove: MapKeys,
    /// The entries that are written. They belong to the same map as `remove`.
    pub replace: MapEntries,
}

/// Checks that maps are named once, each.
///
/// # Errors
/// The first that is named again.
pub fn each_map_once(maps: impl IntoIterator<Item = MapTable>) -> Result<(), InvalidValue> {
    let mut named = Vec::new();
    for map in maps {
        if named.contains(&map) {
            return Err(InvalidValue::new("maps", format!("has {} twice", map.table())));
        }
        named.push(map);
    }
    Ok(())
}

impl MapWrite {
    /// Checks that no map is written twice, and that none is written with keys to remove of another.
    ///
    /// # Errors
    /// The first map that is.
    pub fn check_all(writes: &[Self]) -> Result<(), InvalidValue> {
        each_map_once(writes.iter().map(|write| write.replace.map()))?;
        match writes.iter().find(|write| write.remove.map() != write.replace.map()) {
            None => Ok(()),
            Some(write) => Err(InvalidValue::new(
                "maps",
                format!("removes keys of another map from {}", write.replace.map().table()),
            )),
        }
    }

    /// The entries that are there after the write: those that are written and not removed.
    pub fn entries_that_stay(&self) -> Cow<'_, MapEntries> {
        if !self.replace.has_any(&self.remove) {
            return Cow::Borrowed(&self.replace);
        }
        let mut entries = self.replace.clone();
        entries.remove(&self.remove);
        Cow::Owned(entries)
    }
}

/// What happens to the buffered events: they are removed, then events are appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BufferedWrite {
    /// Whether the buffer is emptied.
    pub clear: bool,
    /// What is appended.
    pub append: Vec<DataBlob>,
}

/// One batch of history.
#[derive(Clone, Debug)]
pub struct HistoryChange<'a> {
    /// The branch.
    pub branch: BranchKey,
    /// The batch. One that is there already, with the same node id and transaction, is overwritten.
    pub node: &'a HistoryNode,
    /// The row of the branch, if the batch begins it.
    pub tree: Option<HistoryTreeRow>,
}

/// What was found when an act looked, as of one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The shard's range id; `None` if there is no such shard, or if the act is not guarded.
    pub range_id: Option<i64>,
    /// The current execution, if the act looks at it and there is one.
    pub current: Option<CurrentExecutionsRow>,
    /// The versions of the current execution's run, if its `executions` row exists.
    pub current_run: Option<ExecutionVersion>,
    /// The versions of those runs of the act that exist.
    pub runs: Vec<(RunId, ExecutionVersion)>,
    /// The tables with rows of replaced or deleted runs that the act does not write, but for
    /// `executions`. Empty if the adapter removes such rows without looking for them first.
    pub removable: Vec<Table>,
}

/// How many rows an act wrote, of those kinds whose number is known beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows of `executions` that were inserted or updated.
    pub runs: u64,
    /// Rows of the current-execution tables.
    pub current: u64,
    /// Tasks.
    pub tasks: u64,
}

impl Expected {
    /// Whether a run at `found` may be written.
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

    /// The id that the run belongs to.
    pub fn id(&self) -> (NamespaceId, &WorkflowId) {
        match self {
            Self::Insert { row, .. } | Self::Update { row, .. } | Self::Replace { row, .. } => {
                (row.namespace_id, &row.workflow_id)
            }
            Self::Delete(run) => (run.namespace_id, &run.workflow_id),
        }
    }

    /// The `executions` row that is written.
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
    /// An act that expects and changes nothing.
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

    /// Says which condition does not hold for what was observed: of the owner first, then of the
    /// current execution, then of the runs in their order.
    ///
    /// # Errors
    /// The first condition that does not hold. A current execution is reported with the last write
    /// version of its run, as Temporal's stores report it: the run may have been written without
    /// its current execution.
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

    /// The `executions` rows that are written.
    pub fn rows(&self) -> impl Iterator<Item = &ExecutionsRow> {
        self.runs.iter().filter_map(RunChange::row)
    }

    /// How many rows the act writes if its conditions hold.
    pub fn to_write(&self) -> RowCounts {
        let has_current = self.current.as_ref().is_some_and(|current| current.write.is_some());
        RowCounts {
            runs: self.rows().count() as u64,
            current: u64::from(has_current),
            tasks: self.tasks.iter().map(|tasks| tasks.len() as u64).sum(),
        }
    }

    /// Checks that the parts go together, as every adapter does before it sends anything.
    ///
    /// # Errors
    /// A run is changed twice; or a current execution is written although it may be absent
    /// ([`ExpectedCurrent::AnyBut`]), so that there may be no row to update.
    pub fn validate(&self) -> Result<(), InvalidValue> {
        let mut runs = BTreeSet::new();
        if let Some(twice) = self.runs.iter().map(RunChange::run_id).find(|run| !runs.insert(*run))
        {
            return Err(InvalidValue::new("runs", format!("changes {twice} twice")));
        }
        match &self.current {
            Some(CurrentChange {
                expected: ExpectedCurrent::AnyBut(_), write: Some(_), ..
            }) => Err(InvalidValue::new(
                "current",
                "is written although any other run, or none, may be current".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// The runs whose versions the act looks at: those that it writes, and the one whose last
    /// write version is expected.
    pub fn observed_runs(&self) -> BTreeSet<RunId> {
        let written = self.rows().map(|row| row.run_id);
        let closed = self.current.iter().filter_map(|current| match current.expected {
            ExpectedCurrent::Closed { run_id, .. } => Some(run_id),
            _ => None,
        });
        written.chain(closed).collect()
    }
}
