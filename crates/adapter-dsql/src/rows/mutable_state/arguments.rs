//! Arguments from a write set, by the names that the texts of this module use.

use std::borrow::Cow;

use temporal_dsql_domain::{MapEntries, MapKeys, MapTable, RunId, Table};
use temporal_dsql_ports::{
    BufferedWrite, CurrentExecutionsRoute, CurrentExecutionsRouter, Expected, ExpectedCurrent,
    HistoryChange, RunChange, StoreError, WriteSet, limits,
};
use uuid::Uuid;

use super::super::{
    buffered_events, current_executions as current,
    executions::{self, set_id, set_run_ids},
    history_node, history_tree, immediate_tasks as immediate, maps,
    payload::Payload,
    scheduled_tasks as scheduled,
    task_queues::{self, QueueStatements},
};
use crate::arguments::Arguments;

/// The table of the current execution of a write set, if the set reads or writes one.
pub(super) fn route(
    router: &dyn CurrentExecutionsRouter,
    set: &WriteSet<'_>,
) -> Result<Option<CurrentExecutionsRoute>, StoreError> {
    Ok(match &set.current {
        None => None,
        Some(current) => Some(match current.write {
            Some(row) => router.route_row(row)?,
            None => router.route_filter(&current.id),
        }),
    })
}

/// The rows of a write set, table by table; borrowed from it where possible.
pub(super) struct WriteSetRows<'a> {
    set: &'a WriteSet<'a>,
    route: Option<CurrentExecutionsRoute>,
    /// The entries that are written. An entry that is removed is not among them.
    entries: Vec<(RunId, Cow<'a, MapEntries>)>,
}

impl<'a> WriteSetRows<'a> {
    /// Collects the rows of `set`, whose current execution is at `route`, and checks that each
    /// can be stored and that all of them fit one statement, which is as much as fits a transaction.
    ///
    /// # Errors
    /// [`StoreError::Limit`].
    pub(super) fn new(
        set: &'a WriteSet<'a>,
        route: Option<CurrentExecutionsRoute>,
    ) -> Result<Self, StoreError> {
        let mut entries = Vec::new();
        for run in &set.runs {
            let run_id = run.run_id();
            match run {
                RunChange::Insert { maps, .. } | RunChange::Replace { maps, .. } => {
                    entries.extend(maps.iter().map(|of| (run_id, Cow::Borrowed(of))));
                }
                RunChange::Update { maps, .. } => {
                    entries.extend(maps.iter().map(|map| (run_id, map.entries_that_stay())));
                }
                RunChange::Delete(_) => {}
            }
        }
        let rows = Self { set, route, entries };
        rows.check()?;
        Ok(rows)
    }

    fn check(&self) -> Result<(), StoreError> {
        let Self { set, route, .. } = self;
        let mut payload = Payload::whole();
        if let (Some(row), Some(route)) =
            (set.current.as_ref().and_then(|current| current.write), route)
        {
            limits::check_current_executions_row(row, route.table())?;
            payload.add(limits::current_executions_row_size(row).row)?;
        }
        for row in set.rows() {
            limits::check_executions_row(row)?;
            payload.add(limits::executions_row_size(row).row)?;
        }
        if let Some(run) = set.runs.first() {
            let run = run.filter();
            // All given entries are checked: one that is too large is refused even if it is also
            // removed.
            for entries in set.entries() {
                maps::check(&mut payload, &run, entries)?;
            }
            for (_, events) in self.appended() {
                buffered_events::check(&mut payload, &run, events)?;
            }
        }
        for tasks in &set.tasks {
            for (queue, tasks) in &tasks.immediate {
                immediate::check(&mut payload, queue, tasks)?;
            }
            for (queue, tasks) in &tasks.scheduled {
                scheduled::check(&mut payload, *queue, tasks)?;
            }
        }
        for HistoryChange { node, tree, .. } in &set.history {
            history_node::check(&mut payload, std::slice::from_ref(*node))?;
            if let Some(tree) = tree {
                history_tree::check(&mut payload, tree)?;
            }
        }
        payload.finish()
    }

    /// The events that are appended, by run.
    pub(super) fn appended(
        &self,
    ) -> impl Iterator<Item = (RunId, &'a [temporal_dsql_domain::DataBlob])> {
        self.set.runs.iter().filter_map(|run| match run {
            RunChange::Update { row, buffered: BufferedWrite { append, .. }, .. } => {
                Some((row.run_id, &append[..]))
            }
            _ => None,
        })
    }

    /// The keys that are removed, by run.
    pub(super) fn removed(&self) -> impl Iterator<Item = (RunId, &'a MapKeys)> {
        self.set.runs.iter().flat_map(|run| {
            let maps = match run {
                RunChange::Update { maps, .. } => *maps,
                _ => &[],
            };
            maps.iter().map(|map| (run.run_id(), &map.remove))
        })
    }

    /// The entries that are written.
    pub(super) fn entries(&self) -> impl Iterator<Item = &MapEntries> {
        self.entries.iter().map(|(_, entries)| &**entries)
    }

    /// Whether entries of `map` are written.
    pub(super) fn writes(&self, map: MapTable) -> bool {
        self.entries.iter().any(|(_, entries)| entries.map() == map && !entries.is_empty())
    }

    /// The ids of the runs for which `condition` holds.
    pub(super) fn runs(&self, condition: impl Fn(&RunChange<'_>) -> bool) -> Vec<RunId> {
        let runs = self.set.runs.iter().filter(|run| condition(run));
        runs.map(RunChange::run_id).collect()
    }

    /// All values, for any of the texts that write or observe.
    ///
    /// # Errors
    /// The table cannot hold the number of a transaction, or a buffer has no free positions for its
    /// events.
    pub(super) fn arguments(&self) -> Result<Arguments<'_>, StoreError> {
        let mut arguments = Arguments::default();
        self.set_scalars(&mut arguments);
        self.set_conditions(&mut arguments);
        self.set_runs(&mut arguments)?;
        self.set_tasks(&mut arguments);
        let history = &self.set.history;
        let nodes = history.iter().map(|change| (&change.branch, change.node));
        history_node::set_nodes(&mut arguments, nodes)?;
        history_tree::set_rows(
            &mut arguments,
            history.iter().filter_map(|change| change.tree.as_ref()),
        );
        Ok(arguments)
    }

    fn set_scalars<'s>(&'s self, arguments: &mut Arguments<'s>) {
        let Self { set, route, .. } = self;
        let (namespace_id, workflow_id) = match (set.runs.first(), &set.current) {
            (Some(run), _) => (run.id().0, run.id().1.as_str()),
            (None, Some(current)) => (current.id.namespace_id, current.id.workflow_id.as_str()),
            (None, None) => (temporal_dsql_domain::NamespaceId(Uuid::nil()), ""),
        };
        set_id(arguments, set.shard_id, namespace_id, workflow_id);
        arguments.set("range_id", set.range_id);
        let is_workflow =
            route.map(|route| matches!(route, CurrentExecutionsRoute::CurrentExecutions));
        let id_if = |is_table: bool| is_table.then_some(workflow_id);
        arguments.set("current_workflow_id", id_if(is_workflow == Some(true)));
        arguments.set("current_business_id", id_if(is_workflow == Some(false)));
        arguments.set("archetype_id", route.map(|route| i64::from(route.archetype_id().0)));
        let current = set.current.as_ref();
        let row = current.and_then(|current| current.write);
        current::set_row(arguments, row);
        let is_new = current.is_some_and(|of| of.expected == ExpectedCurrent::Absent);
        arguments.set("is_current_inserted", row.is_some() && is_new);
        arguments.set("is_current_updated", row.is_some() && !is_new);
    }

    fn set_conditions(&self, arguments: &mut Arguments<'_>) {
        let set = self.set;
        let (expected, run_id, version) = match set.current.as_ref().map(|of| of.expected) {
            None => ("", None, None),
            Some(ExpectedCurrent::Absent) => ("absent", None, None),
            Some(ExpectedCurrent::Run(run_id)) => ("run", Some(run_id), None),
            Some(ExpectedCurrent::Closed { run_id, last_write_version }) => {
                ("closed", Some(run_id), Some(last_write_version))
            }
            Some(ExpectedCurrent::AnyBut(run_id)) => ("any but", Some(run_id), None),
        };
        arguments.set("expected_current", expected);
        arguments.set("expected_run_id", run_id.map(|run_id| run_id.0));
        arguments.set("expected_last_write_version", version);

        let (mut run_ids, mut record_versions, mut event_ids) = (vec![], vec![], vec![]);
        for run in &set.runs {
            let (RunChange::Update { row, expected, .. }
            | RunChange::Replace { row, expected, .. }) = run
            else {
                continue;
            };
            let (record_version, event_id) = match *expected {
                Expected::RecordVersion(version) => (Some(version), None),
                Expected::NextEventId(id) => (None, Some(id)),
            };
            run_ids.push(row.run_id.0);
            record_versions.push(record_version);
            event_ids.push(event_id);
        }
        arguments.set("expected_version_run_id", run_ids);
        arguments.set("expected_db_record_version", record_versions);
        arguments.set("expected_next_event_id", event_ids);
        set_run_ids(arguments, "observed_run_ids", set.observed_runs());
        let is_new = |run: &RunChange<'_>| matches!(run, RunChange::Insert { .. });
        set_run_ids(arguments, "new_run_ids", self.runs(is_new));
    }

    fn set_runs<'s>(&'s self, arguments: &mut Arguments<'s>) -> Result<(), StoreError> {
        executions::set_rows(arguments, self.set.rows());
        let entries: Vec<_> =
            self.entries.iter().map(|(run_id, entries)| (*run_id, &**entries)).collect();
        let removed: Vec<_> = self.removed().collect();
        for map in MapTable::ALL {
            maps::set_entries(arguments, map, &entries);
            maps::set_keys_of(arguments, map, maps::REMOVED, &removed);
        }
        buffered_events::set_events(arguments, &self.appended().collect::<Vec<_>>())?;
        let is_deleted = |run: &RunChange<'_>| matches!(run, RunChange::Delete(_));
        set_run_ids(arguments, "deleted_run_ids", self.runs(is_deleted));
        set_run_ids(arguments, "replaced_run_ids", self.runs(replaces));
        set_run_ids(arguments, "cleared_run_ids", self.runs(clears));
        set_run_ids(arguments, "removing_run_ids", self.runs(removes));
        Ok(())
    }

    fn set_tasks<'s>(&'s self, arguments: &mut Arguments<'s>) {
        let tasks = || self.set.tasks.iter();
        let immediate: Vec<_> = tasks()
            .flat_map(|tasks| tasks.immediate.iter().map(|(queue, tasks)| (queue, &tasks[..])))
            .collect();
        let scheduled: Vec<_> = tasks()
            .flat_map(|tasks| tasks.scheduled.iter().map(|(queue, tasks)| (*queue, &tasks[..])))
            .collect();
        for QueueStatements { insert, .. } in &task_queues::STATEMENTS {
            match insert.table {
                table @ (Table::TimerTasks | Table::HistoryScheduledTasks) => {
                    scheduled::set_tasks(arguments, table, &scheduled);
                }
                table => immediate::set_tasks(arguments, table, &immediate),
            }
        }
    }
}

/// Whether everything that is stored for a run is deleted, except what is written.
pub(super) const fn replaces(run: &RunChange<'_>) -> bool {
    matches!(run, RunChange::Replace { .. } | RunChange::Delete(_))
}

/// Whether the buffered events of a run are deleted.
pub(super) const fn clears(run: &RunChange<'_>) -> bool {
    match run {
        RunChange::Update { buffered, .. } => buffered.clear,
        run => replaces(run),
    }
}

/// Whether entries of a run may be deleted.
fn removes(run: &RunChange<'_>) -> bool {
    match run {
        RunChange::Update { maps, .. } => maps.iter().any(|map| !map.remove.is_empty()),
        run => replaces(run),
    }
}
