//! Random rows of matching, and a task queue with an owner.

use std::sync::Arc;

use temporal_dsql_domain::{
    NamespaceId, TaskLevel, TaskQueueKey, TaskQueueKind, TaskQueueName, TaskQueueType,
    TaskQueueUserDataRow, TaskQueuesRow, TasksRow,
};
use temporal_dsql_ports::{ConditionFailed, StoreError, TaskQueueLease};
use temporal_dsql_stores::{MatchingTaskStore, PageKey};

use super::{owned_shard::SharedStore, test_context::TestContext};

/// A task queue with its owner, and the store of matching.
pub(crate) struct OwnedTaskQueue<'w> {
    pub(crate) ctx: &'w TestContext,
    pub(crate) row: TaskQueuesRow,
    pub(crate) lease: TaskQueueLease,
    pub(crate) store: MatchingTaskStore<SharedStore>,
}

impl TestContext {
    /// The id of a namespace that is not in use.
    pub fn namespace_id(&self) -> NamespaceId {
        NamespaceId(self.uuid())
    }

    /// The key of a task queue of the scenario's kind that is not stored.
    pub fn task_queue_key(&self) -> TaskQueueKey {
        let (namespace_id, name) = (self.namespace_id(), self.word("queue"));
        TaskQueueKey::new(self.kind(), namespace_id, &name, TaskQueueType::Workflow, 0)
    }

    /// A task queue of the scenario's kind that is not stored.
    pub fn task_queue(&self) -> TaskQueuesRow {
        let range_id = self.random(|random| random.i64(1..i64::MAX - 100));
        TaskQueuesRow { queue: self.task_queue_key(), range_id, data: self.data() }
    }

    /// The same task queue with other data.
    pub fn changed_task_queue(&self, row: &TaskQueuesRow) -> TaskQueuesRow {
        TaskQueuesRow { data: self.data(), ..row.clone() }
    }

    /// The task queue after a takeover.
    pub fn taken_over(&self, row: &TaskQueuesRow) -> TaskQueuesRow {
        TaskQueuesRow { range_id: row.range_id + 1, ..self.changed_task_queue(row) }
    }

    /// A task at this level.
    pub fn task_at(&self, queue: TaskQueueKey, level: TaskLevel) -> TasksRow {
        TasksRow { queue, level, data: self.data() }
    }

    /// `count` tasks of a queue, in the order of their levels.
    pub fn matching_tasks(&self, queue: TaskQueueKey, count: usize) -> Vec<TasksRow> {
        let id = |random: &mut fastrand::Rng| random.i64(1..1_000_000_000);
        let mut level = TaskLevel { task_id: self.random(id), ..queue.kind.first_level() };
        let mut next = || {
            let task = self.task_at(queue, level);
            if queue.kind == TaskQueueKind::Fair && self.random(fastrand::Rng::bool) {
                level = TaskLevel { pass: level.pass + 1, task_id: self.random(id) };
            } else {
                level.task_id += self.random(|random| random.i64(1..1_000));
            }
            task
        };
        std::iter::repeat_with(&mut next).take(count).collect()
    }

    /// User data of a new task queue of this namespace.
    pub fn user_data(&self, namespace_id: NamespaceId) -> TaskQueueUserDataRow {
        let task_queue_name = TaskQueueName::new(self.word("queue")).unwrap();
        TaskQueueUserDataRow { namespace_id, task_queue_name, version: 1, data: self.data() }
    }

    /// A new task queue of the scenario's kind that has an owner.
    pub(crate) async fn owned_task_queue(&self) -> OwnedTaskQueue<'_> {
        let row = self.task_queue();
        let store = MatchingTaskStore::new(Arc::clone(&self.store));
        store.create_task_queue(&row).await.unwrap();
        let lease = TaskQueueLease { queue: row.queue, range_id: row.range_id };
        OwnedTaskQueue { ctx: self, row, lease, store }
    }
}

impl OwnedTaskQueue<'_> {
    /// `count` new tasks of the queue.
    pub(crate) fn tasks(&self, count: usize) -> Vec<TasksRow> {
        self.ctx.matching_tasks(self.row.queue, count)
    }

    /// The row that is stored.
    pub(crate) async fn stored(&self) -> Option<TaskQueuesRow> {
        self.store.get_task_queue(&self.row.queue).await.unwrap()
    }

    /// All tasks of the queue, read in pages of this size.
    pub(crate) async fn stored_tasks(&self, page_size: u32) -> Vec<TasksRow> {
        let kind = self.row.queue.kind;
        let (mut tasks, mut from) = (Vec::new(), Some(kind.first_level()));
        while let Some(level) = from {
            let range = level..kind.end_level();
            let page = self.store.get_tasks(&self.row.queue, range, page_size).await.unwrap();
            assert!(page.items.len() <= page_size as usize);
            tasks.extend(page.items);
            from = page.next.map(|next| TaskLevel::from_bytes(&next.to_bytes()).unwrap());
        }
        tasks
    }

    /// Another owner takes the queue over.
    pub(crate) async fn depose_owner(&self) -> TaskQueueLease {
        let next = self.ctx.taken_over(&self.row);
        self.store.update_task_queue(&next, self.row.range_id).await.unwrap();
        TaskQueueLease { range_id: next.range_id, ..self.lease }
    }

    /// Adds tasks as the first owner, with `store`.
    pub(crate) async fn create_with(
        &self,
        store: SharedStore,
        tasks: &[TasksRow],
    ) -> Result<(), StoreError> {
        MatchingTaskStore::new(store).create_tasks(self.lease, tasks).await
    }
}

/// The failure of the owner `lease`.
pub(crate) fn lost(lease: TaskQueueLease, observed: Option<i64>) -> ConditionFailed {
    let TaskQueueLease { queue, range_id: expected } = lease;
    ConditionFailed::TaskQueueLeaseLost { queue, expected, observed }
}
