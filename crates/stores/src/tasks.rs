//! The task store: adds, reads and completes the history tasks of a shard.

use std::ops::Range;

use temporal_dsql_domain::{
    ClusterName, ImmediateQueue, ImmediateRange, ImmediateTask, ScheduledKey, ScheduledQueue,
    ScheduledRange, ScheduledTask, ShardId, Tasks, Timestamp,
};

use super::{CHUNK, Owner, Page, check_limit, delete_in_chunks};
use temporal_dsql_ports::{Store, StoreError, Within, WriteSet};

define_store! {
    /// The task methods of Temporal's `ExecutionStore`, over any store.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{DataBlob, ImmediateQueue, ImmediateTask, ShardId, ShardsRow, Tasks};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{Owner, ShardStore, TaskStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = MemoryStore::new();
    /// let owner = Owner { shard_id: ShardId(1), range_id: 7 };
    /// let shard = ShardsRow { shard_id: ShardId(1), range_id: 7, data: DataBlob::proto3(*b"ShardInfo") };
    /// ShardStore::new(&store).get_or_create(&shard).await?;
    ///
    /// let tasks = TaskStore::new(&store);
    /// let task = |task_id| ImmediateTask { task_id, data: DataBlob::proto3(*b"TransferTaskInfo") };
    /// let queue = ImmediateQueue::Transfer;
    /// let immediate = vec![(queue.clone(), vec![task(1), task(2), task(3)])];
    /// tasks.add(owner, &Tasks { immediate, scheduled: Vec::new() }).await?;
    ///
    /// let page = tasks.immediate_page(owner.shard_id, &queue, 1..i64::MAX, 2).await?;
    /// assert_eq!(page.items, [task(1), task(2)]);
    /// let next = page.next.expect("there is another page");
    /// let page = tasks.immediate_page(owner.shard_id, &queue, next..i64::MAX, 2).await?;
    /// assert_eq!(page.items, [task(3)]);
    ///
    /// tasks.complete_immediate(owner.shard_id, &queue, 1).await?;
    /// assert_eq!(tasks.complete_immediate_range(owner.shard_id, &queue, 2..4).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    TaskStore
}

impl<S: Store> TaskStore<S> {
    /// Adds tasks, all or none. With no tasks, it only checks the ownership of the shard.
    ///
    /// # Errors
    /// [`ConditionFailed::ShardOwnershipLost`](temporal_dsql_ports::ConditionFailed);
    /// [`StoreError::AlreadyExists`] if one of them exists; and those of the store. If the answer is
    /// lost and the first task is stored, the operation is reported as done: only the owner uses its
    /// task ids. If the task is absent, the outcome stays unknown: the write may still take effect,
    /// or the task is completed already.
    pub async fn add(&self, owner: Owner, tasks: &Tasks) -> Result<(), StoreError> {
        if tasks.is_empty() {
            let shard = self.store.session().select_from_shards(owner.shard_id).await?;
            return owner.check(shard.map(|shard| shard.range_id));
        }
        let mut set = WriteSet::new("AddHistoryTasks", owner.shard_id);
        set.range_id = Some(owner.range_id);
        set.tasks.push(tasks);
        match self.store.apply(&set).await {
            Err(error) if error.can_be_proved() => {
                match self.has_first(owner.shard_id, tasks).await {
                    Ok(true) => Ok(()),
                    Ok(false) | Err(_) => Err(error),
                }
            }
            added => added,
        }
    }

    /// Whether the first of `tasks` is stored. All are inserted in one transaction. A task at the
    /// largest key of its queue is in no range, so it is not found.
    async fn has_first(&self, shard_id: ShardId, tasks: &Tasks) -> Result<bool, StoreError> {
        let mut session = self.store.session();
        if let Some((queue, [first, ..])) = tasks.immediate_in_order().first() {
            let only = first.task_id..first.task_id.saturating_add(1);
            let found = session.range_select_from_immediate_tasks(shard_id, queue, only, 1).await?;
            return Ok(found.first() == Some(first));
        }
        if let Some((queue, [first, ..])) = tasks.scheduled_in_order().first() {
            let range = ScheduledRange { from: first.key, until: Timestamp::MAX };
            let found =
                session.range_select_from_scheduled_tasks(shard_id, **queue, range, 1).await?;
            return Ok(found.first() == Some(first));
        }
        Ok(false)
    }

    /// Reads a page of an immediate queue: `next` is the first task id of the next page. To continue,
    /// read the range from it on.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn immediate_page(
        &self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
        limit: u32,
    ) -> Result<Page<ImmediateTask, i64>, StoreError> {
        check_limit(limit)?;
        let end = range.end;
        let mut session = self.store.session();
        let tasks =
            session.range_select_from_immediate_tasks(shard_id, queue, range, limit).await?;
        let next = |last: &ImmediateTask| last.task_id.checked_add(1).filter(|next| *next < end);
        Ok(Page::new(tasks, limit, next))
    }

    /// Reads a page of a scheduled queue: `next` is the first key of the next page. To continue, read
    /// the range from it on.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a limit of 0, and those of the store.
    pub async fn scheduled_page(
        &self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        range: ScheduledRange,
        limit: u32,
    ) -> Result<Page<ScheduledTask, ScheduledKey>, StoreError> {
        check_limit(limit)?;
        let until = range.until;
        let mut session = self.store.session();
        let tasks =
            session.range_select_from_scheduled_tasks(shard_id, queue, range, limit).await?;
        let next =
            |last: &ScheduledTask| last.key.next().filter(|next| next.visibility_timestamp < until);
        Ok(Page::new(tasks, limit, next))
    }

    /// Deletes one task of an immediate queue. An absent task is not an error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn complete_immediate(
        &self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        task_id: i64,
    ) -> Result<(), StoreError> {
        self.store.session().delete_from_immediate_tasks(shard_id, queue, task_id).await.map(drop)
    }

    /// Deletes one task of a scheduled queue. An absent task is not an error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn complete_scheduled(
        &self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        key: ScheduledKey,
    ) -> Result<(), StoreError> {
        self.store.session().delete_from_scheduled_tasks(shard_id, queue, key).await.map(drop)
    }

    /// Deletes a range of an immediate queue in chunks, each in a transaction of its own. Returns the
    /// number of deleted tasks. After an error, calling it again continues the deletion.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn complete_immediate_range(
        &self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
    ) -> Result<u64, StoreError> {
        let mut session = self.store.session();
        Ok(delete_in_chunks!(session.range_delete_from_immediate_tasks(
            shard_id,
            queue,
            range.clone(),
            CHUNK
        )))
    }

    /// Deletes the tasks of a scheduled queue that are due at these times, whatever their ids
    /// (temporal-persistence.md#history-tasks), in chunks, each in a transaction of its own. Returns
    /// the number of deleted tasks. After an error, calling it again continues the deletion.
    ///
    /// A service that has completed all tasks before a key passes the key's time as the end. The next
    /// range begins at that time, and deletes its tasks.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn complete_scheduled_range(
        &self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        times: Range<Timestamp>,
    ) -> Result<u64, StoreError> {
        let mut session = self.store.session();
        Ok(delete_in_chunks!(session.range_delete_from_scheduled_tasks(
            shard_id,
            queue,
            times.clone(),
            CHUNK
        )))
    }

    /// Adds a replication task of another cluster to the dead letter queue. An existing task is not
    /// an error.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn put_to_replication_dlq(
        &self,
        shard_id: ShardId,
        source: &ClusterName,
        task: &ImmediateTask,
    ) -> Result<(), StoreError> {
        let queue = ImmediateQueue::ReplicationDlq(source.clone());
        let mut session = self.store.session();
        match session
            .insert_into_immediate_tasks(shard_id, &queue, std::slice::from_ref(task))
            .await
        {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the dead letter queue has no task of `source` from `first_task_id` on.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_replication_dlq_empty(
        &self,
        shard_id: ShardId,
        source: &ClusterName,
        first_task_id: i64,
    ) -> Result<bool, StoreError> {
        let queue = ImmediateQueue::ReplicationDlq(source.clone());
        let range = first_task_id..i64::MAX;
        let page = self.immediate_page(shard_id, &queue, range, 1).await?;
        Ok(page.items.is_empty())
    }
}
