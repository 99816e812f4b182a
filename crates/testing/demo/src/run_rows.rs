//! The rows of recorded runs: executions with their maps, current executions, tasks, histories, and
//! the shards.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result, ensure};
use temporal_dsql::{
    ArchetypeRouter, BranchKey, CurrentExecutionsRouter, CurrentExecutionsRow, ExecutionsFilter,
    ExecutionsRow, HistoryBranch, HistoryNode, HistoryTreeInfo, HistoryTreeRow, MapEntries,
    MapTable, ScheduledRange, ShardId, ShardsRow, Store, Table, Tasks, Timestamp,
    stores::{ExecutionStore, HistoryStore, Owner, ReadHistory, ShardStore, TaskStore},
};
use temporal_dsql_conformance::real_data::{self, Recording};

/// A limit above the number of rows of any run, queue or branch in the recording.
const ALL: u32 = 10_000;

/// The recorded rows of runs.
pub struct RunRows {
    pub executions: Vec<ExecutionsRow>,
    /// The current executions of workflows.
    pub workflows: Vec<CurrentExecutionsRow>,
    /// The current executions of other archetypes.
    pub others: Vec<CurrentExecutionsRow>,
    entries: BTreeMap<ExecutionsFilter, Vec<MapEntries>>,
    shards: Vec<ShardsRow>,
    tasks: BTreeMap<ShardId, Tasks>,
    nodes: BTreeMap<BranchKey, Vec<HistoryNode>>,
    branches: Vec<HistoryTreeRow>,
}

/// The number of rows of each table that were read as they were written.
#[derive(Default)]
pub struct Compared(BTreeMap<&'static str, usize>);

impl Compared {
    pub fn add(&mut self, table: Table, rows: usize) {
        if rows == 0 {
            return;
        }
        *self.0.entry(table.name()).or_default() += rows;
    }

    /// Adds those of `other`.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (table, rows) in other.0 {
            *self.0.entry(table).or_default() += rows;
        }
        self
    }

    /// The tables with their rows.
    #[cfg(test)]
    pub fn rows(&self) -> std::collections::BTreeSet<(String, u64)> {
        self.0.iter().map(|(table, rows)| ((*table).to_owned(), *rows as u64)).collect()
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows of {} tables", self.0.values().sum::<usize>(), self.0.len())
    }
}

impl RunRows {
    pub fn read(recording: Recording) -> Self {
        Self {
            executions: real_data::executions(recording),
            workflows: real_data::current_executions(recording),
            others: real_data::current_chasm_executions(recording),
            entries: real_data::entries(recording),
            shards: real_data::shards(recording),
            tasks: real_data::tasks(recording),
            nodes: real_data::history_nodes(recording),
            branches: real_data::history_branches(recording),
        }
    }

    /// The current executions of all archetypes.
    pub fn current(&self) -> Vec<&CurrentExecutionsRow> {
        self.workflows.iter().chain(&self.others).collect()
    }

    /// Stores the maps of the runs, which must exist, the shards, their tasks as their owner, and the
    /// histories.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn store(&self, store: &impl Store) -> Result<()> {
        let mut session = store.session();
        for (run, maps) in &self.entries {
            for entries in maps {
                session.replace_into_map(run, entries).await?;
            }
        }
        for shard in &self.shards {
            ShardStore::new(store).get_or_create(shard).await?;
            if let Some(tasks) = self.tasks.get(&shard.shard_id) {
                TaskStore::new(store).add(owner(shard), tasks).await?;
            }
        }
        for (branch, nodes) in &self.nodes {
            session.insert_into_history_node(branch, nodes).await?;
        }
        for row in &self.branches {
            session.insert_into_history_tree(row).await?;
        }
        Ok(())
    }

    /// Reads every row, with the stores that a service uses, and compares it with the recording.
    ///
    /// # Errors
    /// The first difference, and those of the store.
    pub async fn compare(&self, store: &impl Store) -> Result<Compared> {
        let mut compared = Compared::default();
        self.compare_executions(store, &mut compared).await?;
        self.compare_current(store, &mut compared).await?;
        self.compare_tasks(store, &mut compared).await?;
        self.compare_histories(store, &mut compared).await?;
        Ok(compared)
    }

    async fn compare_executions(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let executions = ExecutionStore::new(store);
        let mut runs_with_maps = 0;
        for row in &self.executions {
            let run = row.filter();
            let stored = executions.get(&run).await?;
            let stored = stored.with_context(|| format!("the run {run:?} does not exist"))?;
            ensure!(stored.execution == *row, "{row:?} was read as {:?}", stored.execution);
            ensure!(stored.buffered.is_empty(), "{run:?} has buffered events");
            let maps = self.entries.get(&run).map_or(&[][..], Vec::as_slice);
            runs_with_maps += usize::from(!maps.is_empty());
            for map in MapTable::ALL {
                let of = |maps: &[MapEntries]| {
                    let found = maps.iter().find(|entries| entries.map() == map);
                    found.cloned().unwrap_or_else(|| MapEntries::none(map))
                };
                let (written, read) = (of(maps), of(&stored.maps));
                ensure!(read == written, "{run:?}: {written:?} was read as {read:?}");
                compared.add(map.table(), written.len());
            }
        }
        ensure!(runs_with_maps == self.entries.len(), "maps are recorded of runs that are not");
        compared.add(Table::Executions, self.executions.len());
        Ok(())
    }

    async fn compare_current(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let executions = ExecutionStore::new(store);
        for row in self.current() {
            let stored = executions.get_current(&row.filter()).await?;
            ensure!(stored.as_ref() == Some(row), "{row:?} was read as {stored:?}");
            compared.add(ArchetypeRouter.route_filter(&row.filter()).table(), 1);
        }
        Ok(())
    }

    async fn compare_tasks(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let queues = TaskStore::new(store);
        for shard in &self.shards {
            let id = shard.shard_id;
            let stored = ShardStore::new(store).get(id).await?;
            ensure!(stored.as_ref() == Some(shard), "{shard:?} was read as {stored:?}");
            compared.add(Table::Shards, 1);
            let Some(tasks) = self.tasks.get(&id) else { continue };
            for (queue, tasks) in &tasks.immediate {
                let page = queues.immediate_page(id, queue, i64::MIN..i64::MAX, ALL).await?;
                ensure!(
                    page.items == *tasks,
                    "the tasks of {queue:?} differ from what was written"
                );
                compared.add(queue.table(), tasks.len());
            }
            for (queue, tasks) in &tasks.scheduled {
                let Some(first) = tasks.first() else { continue };
                let range = ScheduledRange { from: first.key, until: Timestamp::MAX };
                let page = queues.scheduled_page(id, *queue, range, ALL).await?;
                ensure!(
                    page.items == *tasks,
                    "the tasks of {queue:?} differ from what was written"
                );
                compared.add(queue.table(), tasks.len());
            }
        }
        Ok(())
    }

    async fn compare_histories(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let histories = HistoryStore::new(store);
        let branches = histories.all_branches(None, ALL).await?;
        ensure!(
            branches == self.branches,
            "the branches of the histories differ from what was written"
        );
        compared.add(Table::HistoryTree, branches.len());
        for row in branches {
            let branch = HistoryTreeInfo::from_blob(&row.data)?.branch;
            let written = self.history(row.branch.shard_id, &branch);
            let request = ReadHistory {
                shard_id: row.branch.shard_id,
                branch,
                min_node_id: 1,
                max_node_id: i64::MAX,
                limit: ALL,
            };
            let last = written.last().map_or(0, |node| node.txn_id);
            let (mut forward, mut backward) = (Vec::new(), Vec::new());
            // A page ends with each ancestor.
            let mut page = histories.read(&request, None).await?;
            forward.append(&mut page.nodes);
            while page.next.is_some() {
                page = histories.read(&request, page.next).await?;
                forward.append(&mut page.nodes);
            }
            let mut page = histories.read_reverse(&request, last, None).await?;
            backward.append(&mut page.nodes);
            while page.next.is_some() {
                page = histories.read_reverse(&request, last, page.next).await?;
                backward.append(&mut page.nodes);
            }
            backward.reverse();
            for (nodes, direction) in [(forward, "forward"), (backward, "backward")] {
                ensure!(
                    nodes == written,
                    "the history of {:?}, read {direction}, differs from what was written",
                    row.branch
                );
            }
            compared.add(Table::HistoryNode, self.nodes.get(&row.branch).map_or(0, Vec::len));
        }
        Ok(())
    }

    /// The recorded batches of a branch: those of each ancestor up to the fork, and then its own.
    fn history(&self, shard_id: ShardId, branch: &HistoryBranch) -> Vec<HistoryNode> {
        let of = |branch_id| {
            let key = BranchKey { shard_id, tree_id: branch.tree_id, branch_id };
            let mut nodes = self.nodes.get(&key).cloned().unwrap_or_default();
            nodes.sort_by_key(|node| node.node_id);
            nodes
        };
        let mut history = Vec::new();
        for ancestor in &branch.ancestors {
            let range = ancestor.begin_node_id..ancestor.end_node_id;
            let nodes = of(ancestor.branch_id).into_iter();
            history.extend(nodes.filter(|node| range.contains(&node.node_id)));
        }
        history.extend(of(branch.branch_id));
        history
    }
}

fn owner(shard: &ShardsRow) -> Owner {
    Owner { shard_id: shard.shard_id, range_id: shard.range_id }
}
