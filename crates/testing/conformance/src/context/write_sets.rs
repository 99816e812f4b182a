//! Write sets for runs of a scenario, and the rows after them.

use temporal_dsql_domain::{
    BranchKey, CurrentExecutionsRow, ExecutionsFilter, ExecutionsRow, HistoryNode, HistoryTreeRow,
    MapEntries, MapTable, NodeOrder, NodePage, Tasks,
};
use temporal_dsql_ports::{
    BufferedWrite, CurrentChange, Expected, ExpectedCurrent, HistoryChange, MapWrite,
    MutableStateRows, RunChange, WriteSet,
};

use super::test_context::TestContext;

/// All rows that can be written for a new run.
pub(crate) struct NewRun {
    pub(crate) row: ExecutionsRow,
    pub(crate) maps: Vec<MapEntries>,
    pub(crate) tasks: Tasks,
    /// Its branch, with two batches.
    pub(crate) tree: HistoryTreeRow,
    pub(crate) nodes: [HistoryNode; 2],
}

impl NewRun {
    pub(crate) fn new(ctx: &TestContext, row: &ExecutionsRow) -> Self {
        let branch = BranchKey { shard_id: row.shard_id, ..ctx.branch() };
        Self {
            row: row.clone(),
            maps: MapTable::ALL.map(|map| ctx.entries(map, 4)).into(),
            tasks: ctx.tasks_of_every_queue(2),
            tree: ctx.tree_row(branch),
            nodes: [ctx.node(1, 10), ctx.node(4, 11)],
        }
    }

    /// Adds its rows to `set`.
    pub(crate) fn add_to<'a>(&'a self, set: &mut WriteSet<'a>) {
        set.runs.push(RunChange::Insert { row: &self.row, maps: &self.maps });
        set.tasks.push(&self.tasks);
        for (number, node) in self.nodes.iter().enumerate() {
            let tree = (number == 0).then(|| self.tree.clone());
            set.history.push(HistoryChange { branch: self.tree.branch, node, tree });
        }
    }

    /// The write set of this run alone.
    pub(crate) fn set(&self) -> WriteSet<'_> {
        let mut set = WriteSet::new("Insert", self.row.shard_id);
        self.add_to(&mut set);
        set
    }

    /// The rows after it was written.
    pub(crate) fn expected(&self) -> MutableStateRows {
        MutableStateRows {
            execution: self.row.clone(),
            maps: self.maps.clone(),
            buffered: Vec::new(),
        }
    }

    /// Asserts that its history is stored.
    pub(crate) async fn assert_history(&self, ctx: &TestContext) {
        let branch = self.tree.branch;
        assert_eq!(nodes(ctx, &branch).await, self.nodes);
        let mut session = ctx.store.session();
        let trees = session.select_from_history_tree(branch.shard_id, branch.tree_id).await;
        assert_eq!(trees.unwrap(), std::slice::from_ref(&self.tree));
    }
}

/// A new run that is stored.
pub(crate) async fn stored(ctx: &TestContext, row: &ExecutionsRow) -> NewRun {
    let run = NewRun::new(ctx, row);
    ctx.store.apply(&run.set()).await.unwrap();
    run
}

/// A change to a run.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) row: ExecutionsRow,
    pub(crate) expected: Expected,
    pub(crate) maps: Vec<MapWrite>,
    pub(crate) buffered: BufferedWrite,
}

impl Change {
    /// A change of every value of the `executions` row `of`.
    pub(crate) fn new(ctx: &TestContext, of: &ExecutionsRow) -> Self {
        let row = ExecutionsRow {
            db_record_version: of.db_record_version.wrapping_add(1),
            ..ctx.changed_execution(of)
        };
        let expected = Expected::RecordVersion(of.db_record_version);
        Self { row, expected, maps: Vec::new(), buffered: BufferedWrite::default() }
    }

    pub(crate) fn update(&self) -> RunChange<'_> {
        let Self { row, expected, maps, buffered } = self;
        RunChange::Update { row, expected: *expected, maps, buffered }
    }

    pub(crate) fn set(&self) -> WriteSet<'_> {
        write_set(&self.row, self.update())
    }
}

/// A write set with this change of one run.
pub(crate) fn write_set<'a>(row: &ExecutionsRow, change: RunChange<'a>) -> WriteSet<'a> {
    WriteSet { runs: vec![change], ..WriteSet::new("Change", row.shard_id) }
}

/// A write set that deletes one run.
pub(crate) fn deletion(run: &ExecutionsFilter) -> WriteSet<'_> {
    let runs = vec![RunChange::Delete(run)];
    WriteSet { runs, ..WriteSet::new("Delete", run.shard_id) }
}

/// A change of the current execution to `row` on the condition `expected`.
pub(crate) fn current(
    row: &CurrentExecutionsRow,
    expected: ExpectedCurrent,
) -> Option<CurrentChange<'_>> {
    Some(CurrentChange { id: row.filter(), expected, write: Some(row) })
}

pub(crate) async fn apply(ctx: &TestContext, set: &WriteSet<'_>) {
    ctx.store.apply(set).await.unwrap();
}

pub(crate) async fn read(ctx: &TestContext, run: &ExecutionsFilter) -> Option<MutableStateRows> {
    ctx.store.session().select_mutable_state(run).await.unwrap()
}

/// The batches of a branch.
pub(crate) async fn nodes(ctx: &TestContext, branch: &BranchKey) -> Vec<HistoryNode> {
    let all = NodePage {
        min_node_id: i64::MIN,
        max_node_id: i64::MAX,
        order: NodeOrder::Forward,
        after: None,
        limit: 9,
    };
    ctx.store.session().range_select_from_history_node(branch, &all).await.unwrap()
}
