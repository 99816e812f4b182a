//! Comparison of the stored rows, through the row ports and by their number.

use temporal_dsql_domain::{
    MapTable, NodeOrder, NodePage, ScheduledKey, ScheduledRange, Table, Timestamp,
};
use temporal_dsql_memory::MemoryStore;
use temporal_dsql_ports::Store;
use temporal_dsql_stores::Page;

use super::{generator, operation::Value};
use crate::{context::TestContext, queue::Queue};

/// Asserts that the adapter of `ctx` has the same rows as `memory`.
pub(super) async fn assert_same(ctx: &TestContext, memory: &MemoryStore, when: &str) {
    let (ours, theirs) = (all(&*ctx.store).await, all(memory).await);
    assert_eq!(ours.len(), theirs.len(), "{when}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(ours == theirs, "{when}: {ours:?}\nbut the memory adapter has\n{theirs:?}");
    }
    for (table, rows) in TABLES.into_iter().zip(ctx.fixture.counts(&TABLES).await) {
        assert_eq!(rows, memory.count(table) as u64, "{when}: rows of {table}");
    }
}

const TABLES: [Table; 21] = [
    Table::Executions,
    Table::CurrentExecutions,
    Table::CurrentChasmExecutions,
    Table::ActivityInfoMaps,
    Table::TimerInfoMaps,
    Table::ChildExecutionInfoMaps,
    Table::RequestCancelInfoMaps,
    Table::SignalInfoMaps,
    Table::SignalsRequestedSets,
    Table::ChasmNodeMaps,
    Table::BufferedEvents,
    Table::HistoryImmediateTasks,
    Table::HistoryScheduledTasks,
    Table::TransferTasks,
    Table::TimerTasks,
    Table::ReplicationTasks,
    Table::ReplicationTasksDlq,
    Table::VisibilityTasks,
    Table::HistoryNode,
    Table::HistoryTree,
    Table::Shards,
];

/// A page limit larger than any table.
const ALL: u32 = 100_000;

/// All rows that operations can have written, with their keys.
async fn all(store: &dyn Store) -> Vec<(String, Value)> {
    let mut session = store.session();
    let mut all = Vec::new();
    for shard_id in generator::shards() {
        let found = session.select_from_shards(shard_id).await.unwrap();
        all.push((format!("shard {shard_id}"), Value::Shard(found)));
        for queue in generator::queues() {
            let found = match &queue {
                Queue::Immediate(queue) => {
                    let range = i64::MIN..i64::MAX;
                    let tasks =
                        session.range_select_from_immediate_tasks(shard_id, queue, range, ALL);
                    Value::Immediate(Page { items: tasks.await.unwrap(), next: None })
                }
                Queue::Scheduled(queue) => {
                    let from =
                        ScheduledKey { visibility_timestamp: Timestamp::MIN, task_id: i64::MIN };
                    let range = ScheduledRange { from, until: Timestamp::MAX };
                    let tasks =
                        session.range_select_from_scheduled_tasks(shard_id, *queue, range, ALL);
                    Value::Scheduled(Page { items: tasks.await.unwrap(), next: None })
                }
            };
            all.push((format!("{queue} of shard {shard_id}"), found));
        }
        for branch in generator::branches() {
            let key = branch.key(shard_id);
            let page = NodePage {
                min_node_id: i64::MIN,
                max_node_id: i64::MAX,
                order: NodeOrder::Forward,
                after: None,
                limit: ALL,
            };
            let found = session.range_select_from_history_node(&key, &page).await.unwrap();
            all.push((format!("{key:?}"), Value::History(vec![(found, false)])));
        }
        for id in generator::currents(shard_id) {
            let found = session.select_from_current_executions(&id).await.unwrap();
            all.push((format!("{id:?}"), Value::Current(found.map(Box::new))));
        }
        for run in generator::runs(shard_id) {
            let found = session.select_mutable_state(&run).await.unwrap();
            if found.is_none() {
                // Rows without their run.
                for map in MapTable::ALL {
                    let found = session.select_all_from_map(&run, map).await.unwrap();
                    all.push((format!("{run:?}"), Value::Entries(found)));
                }
                let found = session.select_from_buffered_events(&run).await.unwrap();
                all.push((format!("{run:?}"), Value::Events(found)));
            }
            all.push((format!("{run:?}"), Value::Run(found.map(Box::new))));
        }
    }
    let found = session.paginate_branches_from_history_tree(None, ALL).await.unwrap();
    all.push(("branches".to_owned(), Value::Branches(found)));
    all
}
