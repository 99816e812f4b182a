//! Random histories and trims: a branch that was readable reads the same after a trim.
//!
//! Writers append as Temporal's do: batches that are committed one after the other, batches of
//! writers whose commit failed, batches of the replication backfill, which name no previous
//! transaction, and forks. The model knows which batches of a branch were committed. The batches
//! that a trim must delete are computed from the rule, on the rows of the model.

use std::{collections::BTreeMap, sync::Arc};

use temporal_dsql_domain::{
    BranchId, DataBlob, Encoding, HistoryBranch, HistoryNode, HistoryTreeInfo, NodeMetadata,
    NodeOrder, NodePage, ShardId, Timestamp, TreeId,
};
use temporal_dsql_ports::Store;
use temporal_dsql_stores::{AppendNodes, HistoryStore, NewBranch, ReadHistory};
use uuid::Uuid;

const SHARD: ShardId = ShardId(1);
const STEPS: usize = 24;

/// Counts of what a run has covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryFuzzReport {
    /// Trims that deleted at least one batch.
    pub deleting: u32,
    /// Trims that deleted nothing because the chain does not reach the first node.
    pub broken: u32,
    /// Readable branches that were compared after a trim.
    pub compared: u32,
}

/// Runs `trees` random trees on `store`, which needs no shard, and returns the counts.
///
/// # Panics
/// If a branch that was readable reads differently after a trim, if a trim deletes other batches
/// than the rule says, or if the store fails.
pub async fn fuzz_histories(store: Arc<dyn Store>, seed: u64, trees: u32) -> HistoryFuzzReport {
    let mut report = HistoryFuzzReport::default();
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 0..trees {
        let tree_seed = random.u64(..);
        let mut tree = Tree::new(Arc::clone(&store), tree_seed);
        for step in 0..STEPS {
            let context = format!("seed {seed}, tree {number}, step {step}");
            tree.step(&mut report, &context).await;
        }
    }
    report
}

/// A branch and the batches that were committed to it, including those of its ancestors.
#[derive(Clone)]
struct Lineage {
    branch: HistoryBranch,
    chain: Vec<HistoryNode>,
    next_node_id: i64,
}

impl Lineage {
    fn last(&self) -> &HistoryNode {
        self.chain.last().expect("a lineage has its first batch")
    }
}

struct Tree {
    histories: HistoryStore<Arc<dyn Store>>,
    store: Arc<dyn Store>,
    random: fastrand::Rng,
    lineages: Vec<Lineage>,
    /// Every row, by branch and position.
    rows: BTreeMap<(BranchId, i64, i64), HistoryNode>,
    next_txn_id: i64,
}

impl Tree {
    fn new(store: Arc<dyn Store>, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let tree_id = TreeId(Uuid::from_u128(random.u128(..)));
        let root = HistoryBranch::root(tree_id, BranchId(Uuid::from_u128(random.u128(..))));
        let lineage = Lineage { branch: root, chain: Vec::new(), next_node_id: 1 };
        Self {
            histories: HistoryStore::new(Arc::clone(&store)),
            store,
            random,
            lineages: vec![lineage],
            rows: BTreeMap::new(),
            next_txn_id: 10,
        }
    }

    async fn step(&mut self, report: &mut HistoryFuzzReport, context: &str) {
        let which = self.random.usize(..self.lineages.len());
        if self.lineages[which].chain.is_empty() {
            return self.commit(which).await;
        }
        match self.random.u32(..100) {
            0..45 => self.commit(which).await,
            45..70 => self.fail(which).await,
            70..80 => self.fork(which).await,
            _ => self.trim(which, report, context).await,
        }
    }

    fn node(&mut self, node_id: i64, txn_id: i64, prev_txn_id: i64) -> HistoryNode {
        let data: Vec<u8> = std::iter::repeat_with(|| self.random.u8(..)).take(8).collect();
        let data = DataBlob::new(data, Encoding::new("Proto3").expect("a short name"));
        HistoryNode { node_id, txn_id, prev_txn_id, data }
    }

    async fn append(&mut self, branch: &HistoryBranch, node: &HistoryNode) {
        let is_first = node.node_id == 1 && branch.ancestors.is_empty();
        let info = || HistoryTreeInfo {
            branch: branch.clone(),
            fork_time: Timestamp::UNIX_EPOCH,
            info: String::new(),
        };
        let nodes = AppendNodes {
            shard_id: SHARD,
            branch: branch.clone(),
            new_branch: is_first.then(info),
            node: node.clone(),
        };
        self.histories.append(&nodes).await.expect("a batch is appended");
        self.rows.insert((branch.branch_id, node.node_id, node.txn_id), node.clone());
    }

    fn draw_txn_id(&mut self) -> i64 {
        self.next_txn_id += self.random.i64(1..4);
        self.next_txn_id
    }

    /// Appends the next batch of a branch. One in eight comes from the backfill; one in twelve has
    /// the transaction of the batch before.
    async fn commit(&mut self, which: usize) {
        let lineage = self.lineages[which].clone();
        let prev = lineage.chain.last().map_or(0, |node| node.txn_id);
        let txn_id = match lineage.chain.last() {
            Some(last) if self.random.u32(..12) == 0 && self.is_newest(last.txn_id) => last.txn_id,
            _ => self.draw_txn_id(),
        };
        let prev_txn_id = if self.random.u32(..8) == 0 { 0 } else { prev };
        let node = self.node(lineage.next_node_id, txn_id, prev_txn_id);
        self.append(&lineage.branch, &node).await;
        let next = lineage.next_node_id + self.random.i64(1..4);
        let lineage = &mut self.lineages[which];
        lineage.chain.push(node);
        lineage.next_node_id = next;
    }

    /// Whether `txn_id` is the largest transaction id in use, so that another batch can have it.
    fn is_newest(&self, txn_id: i64) -> bool {
        txn_id == self.next_txn_id
    }

    /// Appends batches of a writer whose commit fails: at the end of the branch, or at an earlier
    /// node of its own.
    async fn fail(&mut self, which: usize) {
        let lineage = self.lineages[which].clone();
        let own =
            lineage.chain.iter().position(|node| node.node_id >= lineage.branch.begin_node_id());
        let at = match own {
            Some(own) if self.random.bool() => self.random.usize(own..lineage.chain.len()),
            _ => lineage.chain.len(),
        };
        let mut node_id = lineage.chain.get(at).map_or(lineage.next_node_id, |node| node.node_id);
        let mut prev = at.checked_sub(1).map_or(0, |before| lineage.chain[before].txn_id);
        for _ in 0..self.random.u32(1..3) {
            let txn_id = self.draw_txn_id();
            let node = self.node(node_id, txn_id, prev);
            self.append(&lineage.branch, &node).await;
            node_id += self.random.i64(1..3);
            prev = txn_id;
        }
    }

    async fn fork(&mut self, which: usize) {
        let lineage = self.lineages[which].clone();
        if lineage.chain.len() < 2 {
            return;
        }
        let at = self.random.usize(1..=lineage.chain.len());
        let node_id = lineage.chain.get(at).map_or(lineage.next_node_id, |node| node.node_id);
        let new = NewBranch {
            branch_id: BranchId(Uuid::from_u128(self.random.u128(..))),
            fork_time: Timestamp::UNIX_EPOCH,
            info: String::new(),
        };
        let branch = self.histories.fork(SHARD, &lineage.branch, node_id, new).await;
        let branch = branch.expect("a branch is forked");
        let chain = lineage.chain[..at].to_vec();
        self.lineages.push(Lineage { branch, chain, next_node_id: node_id });
    }

    /// Trims at a committed batch, usually the last one, as a service does.
    async fn trim(&mut self, which: usize, report: &mut HistoryFuzzReport, context: &str) {
        let lineage = self.lineages[which].clone();
        let last = if self.random.u32(..5) == 0 {
            lineage.chain[self.random.usize(..lineage.chain.len())].metadata()
        } else {
            lineage.last().metadata()
        };
        let mut readable = Vec::new();
        for lineage in self.lineages.clone() {
            if self.forwards(&lineage.branch).await == lineage.chain {
                self.assert_backwards(&lineage, context).await;
                readable.push(lineage);
            }
        }
        let expected = self.to_delete(&lineage.branch, last);
        let deleted = self.histories.trim(SHARD, &lineage.branch, last.position()).await;
        let deleted = deleted.expect("a branch is trimmed");
        let due = expected.as_ref().map_or(0, Vec::len) as u64;
        assert_eq!(deleted, due, "{context}: deletes {expected:?}");
        match expected {
            None => report.broken += 1,
            Some(keys) => {
                report.deleting += u32::from(!keys.is_empty());
                keys.iter().for_each(|key| drop(self.rows.remove(key)));
            }
        }
        self.assert_rows(context).await;
        for lineage in readable {
            assert_eq!(self.forwards(&lineage.branch).await, lineage.chain, "{context}");
            self.assert_backwards(&lineage, context).await;
            report.compared += 1;
        }
    }

    /// The batches that the rule deletes. The chain is followed from `last` to the first node,
    /// which has no previous transaction; `None` if it does not reach it. A batch at a node of the
    /// chain with a larger transaction is stale.
    fn to_delete(
        &self,
        branch: &HistoryBranch,
        last: NodeMetadata,
    ) -> Option<Vec<(BranchId, i64, i64)>> {
        let is_visible = |branch_id: BranchId, node_id: i64| {
            node_id <= last.node_id
                && branch.ranges(i64::MAX).iter().any(|range| {
                    range.branch_id == branch_id
                        && (range.begin_node_id..range.end_node_id).contains(&node_id)
                })
        };
        let visible: Vec<(BranchId, NodeMetadata)> = self
            .rows
            .iter()
            .filter(|((branch_id, node_id, _), _)| is_visible(*branch_id, *node_id))
            .map(|((branch_id, ..), node)| (*branch_id, node.metadata()))
            .collect();
        let mut chain = vec![last];
        while let Some(node) = chain.last().filter(|node| node.node_id > 1) {
            let before = visible
                .iter()
                .map(|(_, found)| *found)
                .filter(|found| found.txn_id == node.prev_txn_id && found.node_id < node.node_id)
                .max_by_key(|found| found.node_id)?;
            chain.push(before);
        }
        chain.last().filter(|first| first.node_id == 1 && first.prev_txn_id == 0)?;
        let is_stale = |node: &NodeMetadata| {
            chain.iter().any(|kept| kept.node_id == node.node_id && kept.txn_id < node.txn_id)
        };
        let stale = visible.iter().filter(|(_, node)| is_stale(node));
        Some(stale.map(|(branch, node)| (*branch, node.node_id, node.txn_id)).collect())
    }

    fn request(&mut self, branch: &HistoryBranch) -> ReadHistory {
        ReadHistory {
            shard_id: SHARD,
            branch: branch.clone(),
            min_node_id: 1,
            max_node_id: i64::MAX,
            limit: self.random.u32(1..9),
        }
    }

    async fn forwards(&mut self, branch: &HistoryBranch) -> Vec<HistoryNode> {
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let request = self.request(branch);
            let page = self.histories.read(&request, token).await.expect("a branch is read");
            all.extend(page.nodes);
            token = page.next;
            if token.is_none() {
                return all;
            }
        }
    }

    async fn assert_backwards(&mut self, lineage: &Lineage, context: &str) {
        let last_txn_id = lineage.chain.last().map_or(0, |node| node.txn_id);
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let request = self.request(&lineage.branch);
            let page = self.histories.read_reverse(&request, last_txn_id, token).await;
            let page = page.expect("a branch is read backwards");
            all.extend(page.nodes);
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        all.reverse();
        assert_eq!(all, lineage.chain, "{context}: backwards");
    }

    /// Asserts that the stored rows are those of the model.
    async fn assert_rows(&self, context: &str) {
        let mut session = self.store.session();
        for lineage in &self.lineages {
            let branch = lineage.branch.key(SHARD);
            let page = NodePage {
                min_node_id: 1,
                max_node_id: i64::MAX,
                order: NodeOrder::Forward,
                after: None,
                limit: 1_000,
            };
            let found = session.range_select_from_history_node(&branch, &page).await;
            let mut found = found.expect("the rows are read");
            found.sort_by_key(|node| (node.node_id, node.txn_id));
            let own =
                (branch.branch_id, i64::MIN, i64::MIN)..=(branch.branch_id, i64::MAX, i64::MAX);
            let expected: Vec<_> = self.rows.range(own).map(|(_, node)| node.clone()).collect();
            assert_eq!(found, expected, "{context}");
        }
    }
}
