//! Random rows of executions, histories and shards.

use std::sync::atomic::Ordering;

use temporal_dsql_domain::{
    BranchId, BranchKey, ChasmNode, ChasmPath, DataBlob, Encoding, ExecutionsFilter, HistoryNode,
    HistoryTreeRow, IdEntry, MapEntries, MapTable, ScheduledTask, ShardId, ShardsRow, SignalId,
    TimerEntry, TimerId, Timestamp, TreeId,
};

use super::test_context::TestContext;
use crate::queue::Queue;

impl TestContext {
    /// The key of a run that is not stored.
    pub fn run(&self) -> ExecutionsFilter {
        self.execution().filter()
    }

    /// A serialized value.
    pub fn data(&self) -> DataBlob {
        DataBlob::new(self.blob(), Encoding::new("Proto3").unwrap())
    }

    /// `count` random entries of a map, in key order.
    pub fn entries(&self, map: MapTable, count: usize) -> MapEntries {
        let mut entries = match map {
            MapTable::Activities => MapEntries::Activities(self.many(count, Self::id_entry)),
            MapTable::Timers => MapEntries::Timers(self.many(count, Self::timer_entry)),
            MapTable::ChildExecutions => {
                MapEntries::ChildExecutions(self.many(count, Self::id_entry))
            }
            MapTable::RequestCancels => {
                MapEntries::RequestCancels(self.many(count, Self::id_entry))
            }
            MapTable::Signals => MapEntries::Signals(self.many(count, Self::id_entry)),
            MapTable::SignalsRequested => {
                MapEntries::SignalsRequested(self.many(count, Self::signal_id))
            }
            MapTable::ChasmNodes => MapEntries::ChasmNodes(self.many(count, Self::chasm_node)),
        };
        entries.last_of_each_key();
        assert_eq!(entries.len(), count, "random keys are different");
        entries
    }

    /// Entries with the same keys and other values.
    pub fn changed_entries(&self, entries: &MapEntries) -> MapEntries {
        let mut changed = entries.clone();
        match &mut changed {
            MapEntries::Activities(of)
            | MapEntries::ChildExecutions(of)
            | MapEntries::RequestCancels(of)
            | MapEntries::Signals(of) => of.iter_mut().for_each(|entry| entry.data = self.data()),
            MapEntries::Timers(of) => of.iter_mut().for_each(|entry| entry.data = self.data()),
            MapEntries::SignalsRequested(_) => {}
            MapEntries::ChasmNodes(of) => of.iter_mut().for_each(|node| {
                *node = ChasmNode { path: node.path.clone(), ..self.chasm_node() }
            }),
        }
        changed
    }

    fn many<T>(&self, count: usize, mut one: impl FnMut(&Self) -> T) -> Vec<T> {
        std::iter::repeat_with(|| one(self)).take(count).collect()
    }

    fn id_entry(&self) -> IdEntry {
        IdEntry { id: self.random(|random| random.i64(..)), data: self.data() }
    }

    fn timer_entry(&self) -> TimerEntry {
        TimerEntry { timer_id: TimerId::new(self.word("timer")).unwrap(), data: self.data() }
    }

    fn signal_id(&self) -> SignalId {
        SignalId::new(self.word("signal")).unwrap()
    }

    /// A node with a value.
    pub fn chasm_node(&self) -> ChasmNode {
        ChasmNode {
            path: ChasmPath::new(self.word("node")).unwrap(),
            metadata: self.data(),
            data: Some(self.blob()),
            data_encoding: Encoding::new("Proto3").unwrap(),
        }
    }

    /// `count` distinct events for a buffer.
    pub fn events(&self, count: usize) -> Vec<DataBlob> {
        let encoding = Encoding::new("Proto3").unwrap();
        self.many(count, |ctx| DataBlob::new(ctx.word("event"), encoding.clone()))
    }

    /// `count` tasks for a queue, in key order.
    pub fn tasks(&self, queue: &Queue, count: usize) -> Vec<ScheduledTask> {
        let mut micros = self.random(|random| random.i64(0..4_000_000_000_000_000));
        let mut task_id = self.random(|random| random.i64(0..1_000_000_000));
        self.many(count, |ctx| {
            micros += ctx.random(|random| random.i64(1..1_000_000_000));
            task_id += ctx.random(|random| random.i64(1..1_000));
            let time = Timestamp::from_unix_micros(micros).unwrap();
            ScheduledTask { key: queue.key(time, task_id), data: ctx.data() }
        })
    }

    /// The key of a branch that is not stored.
    pub fn branch(&self) -> BranchKey {
        BranchKey {
            shard_id: self.shard_id(),
            tree_id: TreeId(self.uuid()),
            branch_id: BranchId(self.uuid()),
        }
    }

    /// Another branch of the same tree.
    pub fn fork(&self, branch: &BranchKey) -> BranchKey {
        BranchKey { branch_id: BranchId(self.uuid()), ..*branch }
    }

    /// The row of this branch.
    pub fn tree_row(&self, branch: BranchKey) -> HistoryTreeRow {
        HistoryTreeRow { branch, data: self.data() }
    }

    /// A batch of events at this node.
    pub fn node(&self, node_id: i64, txn_id: i64) -> HistoryNode {
        let prev_txn_id = self.random(|random| random.i64(0..i64::MAX));
        HistoryNode { node_id, txn_id, prev_txn_id, data: self.data() }
    }

    /// A shard that is not stored.
    pub fn shard(&self) -> ShardsRow {
        let range_id = self.random(|random| random.i64(1..i64::MAX));
        ShardsRow { shard_id: self.shard_id(), range_id, data: self.data() }
    }

    /// A shard id that is not in use.
    pub fn shard_id(&self) -> ShardId {
        ShardId(self.next_shard.fetch_add(1, Ordering::Relaxed))
    }
}
