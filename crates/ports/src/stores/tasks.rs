//! The task queues of a shard: added to, paged through, and emptied behind the reader.

use temporal_dsql_domain::{
    ClusterName, ImmediateQueue, ImmediateRange, ImmediateTask, ScheduledKey, ScheduledQueue,
    ScheduledRange, ScheduledTask, ShardId, Tasks,
};

use super::{CHUNK, Owner, check_limit, delete_in_chunks, unknown};
use crate::{Locks, Outcome, Store, StoreError, StoreExt, rows::insert_tasks};

/// The task methods of Temporal's `ExecutionStore`, over any store.
#[derive(Clone, Debug)]
pub struct TaskStore<S> {
    store: S,
}

/// A page of an immediate queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImmediatePage {
    /// The tasks, in the order of their ids.
    pub tasks: Vec<ImmediateTask>,
    /// Where the next page begins; `None` if this was the last one.
    pub next: Option<i64>,
}

/// A page of a scheduled queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledPage {
    /// The tasks, in the order of their keys.
    pub tasks: Vec<ScheduledTask>,
    /// Where the next page begins; `None` if this was the last one.
    pub next: Option<ScheduledKey>,
}

struct Addition<'a> {
    owner: Owner,
    tasks: &'a Tasks,
}

impl<S: Store> TaskStore<S> {
    /// The tasks of `store`.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// Adds tasks, all or none.
    ///
    /// # Errors
    /// [`ConditionFailed::ShardOwnershipLost`](crate::ConditionFailed);
    /// [`StoreError::AlreadyExists`] if one of them exists; and those of the store. A lost answer
    /// is resolved: the ids of tasks are the owner's alone, so a task that is there is this one; one
    /// that is absent was not added, unless a new owner may have completed it already.
    pub async fn add(&self, owner: Owner, tasks: &Tasks) -> Result<(), StoreError> {
        if tasks.is_empty() {
            return Ok(());
        }
        let addition = Addition { owner, tasks };
        let added = self
            .store
            .run("AddHistoryTasks", &addition, |transaction, addition| {
                Box::pin(async move {
                    let Addition { owner, tasks } = addition;
                    let locks = Locks { shard_id: owner.shard_id, current: None, runs: Vec::new() };
                    owner.check(transaction.lock_for_write(&locks).await?.range_id)?;
                    insert_tasks(transaction, owner.shard_id, tasks).await
                })
            })
            .await;
        match added {
            Ok(_) => Ok(()),
            Err(error) if error.outcome() == Outcome::Unknown => {
                let range_id = unknown::settle(&self.store, owner.shard_id, &error).await?;
                match self.has_first(owner.shard_id, tasks).await {
                    Ok(true) => Ok(()),
                    Ok(false) if range_id == Some(owner.range_id) => {
                        Err(unknown::not_applied(error))
                    }
                    Ok(false) | Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the first of `tasks` is there; they were added together.
    async fn has_first(&self, shard_id: ShardId, tasks: &Tasks) -> Result<bool, StoreError> {
        let mut session = self.store.session();
        for (queue, tasks) in &tasks.immediate {
            if let Some(first) = tasks.first() {
                let only = first.task_id..first.task_id.saturating_add(1);
                let found =
                    session.range_select_from_immediate_tasks(shard_id, queue, only, 1).await?;
                return Ok(found.first() == Some(first));
            }
        }
        for (queue, tasks) in &tasks.scheduled {
            if let Some(first) = tasks.first() {
                let range =
                    ScheduledRange { from: first.key, until: temporal_dsql_domain::Timestamp::MAX };
                let found =
                    session.range_select_from_scheduled_tasks(shard_id, *queue, range, 1).await?;
                return Ok(found.first() == Some(first));
            }
        }
        Ok(false)
    }

    /// Reads a page of an immediate queue. The next page is the range from `next` on.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a page of nothing, and those of the store.
    pub async fn immediate_page(
        &self,
        shard_id: ShardId,
        queue: &ImmediateQueue,
        range: ImmediateRange,
        limit: u32,
    ) -> Result<ImmediatePage, StoreError> {
        check_limit(limit)?;
        let end = range.end;
        let mut session = self.store.session();
        let tasks =
            session.range_select_from_immediate_tasks(shard_id, queue, range, limit).await?;
        let next = tasks
            .last()
            .filter(|_| tasks.len() == limit as usize)
            .map(|task| task.task_id.saturating_add(1))
            .filter(|next| *next < end);
        Ok(ImmediatePage { tasks, next })
    }

    /// Reads a page of a scheduled queue. The next page is the range from `next` on.
    ///
    /// # Errors
    /// [`StoreError::InvalidArgument`] for a page of nothing, and those of the store.
    pub async fn scheduled_page(
        &self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        range: ScheduledRange,
        limit: u32,
    ) -> Result<ScheduledPage, StoreError> {
        check_limit(limit)?;
        let mut session = self.store.session();
        let tasks =
            session.range_select_from_scheduled_tasks(shard_id, queue, range, limit).await?;
        let next = tasks
            .last()
            .filter(|_| tasks.len() == limit as usize)
            .map(|task| ScheduledKey { task_id: task.key.task_id.saturating_add(1), ..task.key });
        Ok(ScheduledPage { tasks, next })
    }

    /// Deletes one task of an immediate queue; one that is gone is no error.
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

    /// Deletes one task of a scheduled queue; one that is gone is no error.
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

    /// Deletes a range of an immediate queue in chunks that fit a transaction, and tells how many
    /// tasks. If it ends early, calling it again goes on.
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

    /// Deletes a range of a scheduled queue in chunks that fit a transaction, and tells how many
    /// tasks. If it ends early, calling it again goes on.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn complete_scheduled_range(
        &self,
        shard_id: ShardId,
        queue: ScheduledQueue,
        range: ScheduledRange,
    ) -> Result<u64, StoreError> {
        let mut session = self.store.session();
        Ok(delete_in_chunks!(
            session.range_delete_from_scheduled_tasks(shard_id, queue, range, CHUNK)
        ))
    }

    /// Puts a task of another cluster aside. One that is there already is no error.
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

    /// Whether no task of `source` from `first_task_id` on was put aside.
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
        Ok(page.tasks.is_empty())
    }
}
