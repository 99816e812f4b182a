//! The rows that belong to recorded runs: maps, tasks, histories, and the shard.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Result, ensure};
use temporal_dsql::{
    BranchKey, ExecutionsFilter, HistoryNode, HistoryTreeInfo, HistoryTreeRow, MapEntries,
    MapTable, ScheduledRange, ShardsRow, Store, Table, Tasks, Timestamp,
    stores::{ExecutionStore, HistoryStore, Owner, ReadHistory, ShardStore, TaskStore},
};
use temporal_dsql_conformance::real_data;

/// A limit above the number of rows of any run, queue or branch in the recording.
const ALL: u32 = 10_000;

/// The recorded rows that belong to runs.
pub struct RunRows {
    entries: BTreeMap<ExecutionsFilter, Vec<MapEntries>>,
    shards: Vec<ShardsRow>,
    tasks: Tasks,
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

    /// A text table with one line for each table.
    pub fn table(&self) -> String {
        let mut text = format!("{:<28}{:>6}\n", "TABLE", "ROWS");
        for (table, rows) in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{table:<28}{rows:>6}");
        }
        text
    }
}

impl RunRows {
    pub fn read() -> Self {
        Self {
            entries: real_data::entries(),
            shards: real_data::shards(),
            tasks: real_data::tasks(),
            nodes: real_data::history_nodes(),
            branches: real_data::history_branches(),
        }
    }

    /// Stores the maps of the runs, which must exist, the shard, its tasks as its owner, and the
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
            TaskStore::new(store).add(owner(shard), &self.tasks).await?;
        }
        for (branch, nodes) in &self.nodes {
            session.insert_into_history_node(branch, nodes).await?;
        }
        for row in &self.branches {
            session.insert_into_history_tree(row).await?;
        }
        Ok(())
    }

    /// Reads every row and compares it with the recording.
    ///
    /// # Errors
    /// The first difference, and those of the store.
    pub async fn compare(&self, store: &impl Store) -> Result<Compared> {
        let mut compared = Compared::default();
        self.compare_maps(store, &mut compared).await?;
        self.compare_tasks(store, &mut compared).await?;
        self.compare_histories(store, &mut compared).await?;
        Ok(compared)
    }

    async fn compare_maps(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let executions = ExecutionStore::new(store);
        for (run, maps) in &self.entries {
            let stored = executions.get(run).await?;
            let Some(stored) = stored else { anyhow::bail!("the run {run:?} does not exist") };
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
        Ok(())
    }

    async fn compare_tasks(&self, store: &impl Store, compared: &mut Compared) -> Result<()> {
        let queues = TaskStore::new(store);
        for shard in &self.shards {
            let id = shard.shard_id;
            let stored = ShardStore::new(store).get(id).await?;
            ensure!(stored.as_ref() == Some(shard), "{shard:?} was read as {stored:?}");
            compared.add(Table::Shards, 1);
            for (queue, tasks) in &self.tasks.immediate {
                let page = queues.immediate_page(id, queue, i64::MIN..i64::MAX, ALL).await?;
                ensure!(
                    page.items == *tasks,
                    "the tasks of {queue:?} differ from what was written"
                );
                compared.add(queue.table(), tasks.len());
            }
            for (queue, tasks) in &self.tasks.scheduled {
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
            let request = ReadHistory {
                shard_id: row.branch.shard_id,
                branch: HistoryTreeInfo::from_blob(&row.data)?.branch,
                min_node_id: 1,
                max_node_id: i64::MAX,
                limit: ALL,
            };
            let mut written = self.nodes.get(&row.branch).cloned().unwrap_or_default();
            written.sort_by_key(|node| node.node_id);
            let page = histories.read(&request, None).await?;
            ensure!(
                page.nodes == written,
                "the history of {:?} differs from what was written",
                row.branch
            );
            compared.add(Table::HistoryNode, written.len());
        }
        Ok(())
    }
}

fn owner(shard: &ShardsRow) -> Owner {
    Owner { shard_id: shard.shard_id, range_id: shard.range_id }
}
