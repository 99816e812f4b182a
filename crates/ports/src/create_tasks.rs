//! Adding tasks to task queues under the lease of their owner.

use temporal_dsql_domain::{InvalidValue, TaskQueueKey, TasksRow};

use crate::{BoxFuture, Cause, ConditionFailed, Store, StoreError, StoreExt, Transaction};

/// The owner of a task queue: the range id that it acquired the queue with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskQueueLease {
    /// The queue.
    pub queue: TaskQueueKey,
    /// The range id.
    pub range_id: i64,
}

impl TaskQueueLease {
    /// Returns an error if the observed range id is not the owner's.
    ///
    /// # Errors
    /// [`ConditionFailed::TaskQueueLeaseLost`].
    pub fn check(self, observed: Option<i64>) -> Result<(), ConditionFailed> {
        if observed == Some(self.range_id) { Ok(()) } else { Err(self.lost(observed)) }
    }

    /// The failure of an owner that has observed this range id.
    pub const fn lost(self, observed: Option<i64>) -> ConditionFailed {
        let Self { queue, range_id: expected } = self;
        ConditionFailed::TaskQueueLeaseLost { queue, expected, observed }
    }
}

/// Tasks that the owner of a task queue adds, all or none.
#[derive(Clone, Copy, Debug)]
pub struct CreateTasks<'a> {
    /// The lease of the task queue. Every task belongs to this queue or to one of its subqueues.
    pub lease: TaskQueueLease,
    /// The tasks, of the queue and of its subqueues.
    pub tasks: &'a [TasksRow],
}

impl CreateTasks<'_> {
    /// The operation.
    pub const OP: &'static str = "CreateTasks";

    /// Checks the tasks.
    ///
    /// # Errors
    /// A task of a queue of the other kind, or with a pass that its queue cannot have.
    pub fn validate(&self) -> Result<(), InvalidValue> {
        self.lease.queue.kind.check_tasks(self.tasks)
    }

    /// Checks the number of tasks that were written.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if not each task was.
    pub fn verify(&self, written: u64) -> Result<(), StoreError> {
        let expected = self.tasks.len();
        if written == expected as u64 {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            table: self.lease.queue.kind.tasks_table(),
            column: "task_id",
            source: Some(Cause::new(format!("{written} tasks were written instead of {expected}"))),
        })
    }
}

/// Adds tasks in one transaction, with the statements of the row ports.
///
/// # Errors
/// As [`Store::create_tasks`].
pub async fn create_tasks_by_table<S>(
    store: &S,
    request: &CreateTasks<'_>,
) -> Result<(), StoreError>
where
    S: Store + ?Sized,
{
    request.validate()?;
    store.run(CreateTasks::OP, request, lock_check_insert).await
}

fn lock_check_insert<'t>(
    transaction: &'t mut dyn Transaction,
    request: &'t CreateTasks<'_>,
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        let CreateTasks { lease, tasks } = request;
        lease.check(transaction.read_lock_task_queues(&lease.queue).await?)?;
        request.verify(transaction.insert_into_tasks(lease.queue.kind, tasks).await?)
    })
}
