//! Updates of rows with a range id, which is the lease of their owner: shards and task queues.
//!
//! A new range id is a takeover: a transaction locks the row `FOR UPDATE`, compares, and writes. It
//! conflicts with every write of the previous owner, which locks the row `FOR KEY SHARE`. With the
//! same range id the owner saves its progress: one statement, a compare-and-set, which does not
//! conflict with the owner's other writes.

use temporal_dsql_domain::{ShardsRow, TaskQueuesRow};
use temporal_dsql_ports::{
    BoxFuture, ConditionFailed, Outcome, Session, Store, StoreError, StoreExt, TaskQueueLease,
    Transaction,
};

use super::Owner;

/// A row whose range id is the lease of its owner, with the statements of its row port.
pub(super) trait Leased: PartialEq + Sync + Sized {
    /// The operation of a takeover.
    const UPDATE: &'static str;

    /// The range id.
    fn range_id(&self) -> i64;

    /// Reads the row with this key.
    fn select<'s>(
        &'s self,
        session: &'s mut dyn Session,
    ) -> BoxFuture<'s, Result<Option<Self>, StoreError>>;

    /// Writes the row if its range id is `expected`.
    fn update<'s>(
        &'s self,
        session: &'s mut dyn Session,
        expected: i64,
    ) -> BoxFuture<'s, Result<u64, StoreError>>;

    /// Locks the row for a takeover, and reads its range id.
    fn write_lock<'s>(
        &'s self,
        session: &'s mut dyn Session,
    ) -> BoxFuture<'s, Result<Option<i64>, StoreError>>;

    /// The failure of an owner with the range id `expected`.
    fn lost(&self, expected: i64, observed: Option<i64>) -> ConditionFailed;
}

/// Writes `row` if its range id is `previous`.
///
/// # Errors
/// The row has another range id, or does not exist; and those of the store. If the answer is lost, the
/// row is read: if it equals `row`, the update is reported as done. This requires that rows of different
/// owners differ.
pub(super) async fn update<R: Leased>(
    store: &impl Store,
    row: &R,
    previous: i64,
) -> Result<(), StoreError> {
    let lost = |found: Option<R>| {
        StoreError::from(row.lost(previous, found.map(|found| found.range_id())))
    };
    let written = if row.range_id() == previous {
        let mut session = store.session();
        match row.update(&mut *session, previous).await {
            Ok(0) => row.select(&mut *session).await.and_then(|found| Err(lost(found))),
            written => written.map(drop),
        }
    } else {
        store.run(R::UPDATE, &(row, previous), take_over).await
    };
    let Err(error) = written else { return Ok(()) };
    if error.outcome() != Outcome::Unknown {
        return Err(error);
    }
    let Ok(found) = row.select(&mut *store.session()).await else { return Err(error) };
    match found {
        Some(found) if found == *row => Ok(()),
        // The update may have been applied and overwritten, or may still take effect. Neither the new
        // nor the previous range id decides it.
        Some(found) if [row.range_id(), previous].contains(&found.range_id()) => Err(error),
        found => Err(lost(found)),
    }
}

/// The body of a takeover.
fn take_over<'t, R: Leased>(
    transaction: &'t mut dyn Transaction,
    (row, previous): &'t (&R, i64),
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        let observed = row.write_lock(&mut *transaction).await?;
        if observed != Some(*previous) {
            return Err(row.lost(*previous, observed).into());
        }
        row.update(&mut *transaction, *previous).await.map(drop)
    })
}

impl Leased for ShardsRow {
    const UPDATE: &'static str = "UpdateShards";

    fn range_id(&self) -> i64 {
        self.range_id
    }

    fn select<'s>(
        &'s self,
        session: &'s mut dyn Session,
    ) -> BoxFuture<'s, Result<Option<Self>, StoreError>> {
        session.select_from_shards(self.shard_id)
    }

    fn update<'s>(
        &'s self,
        session: &'s mut dyn Session,
        expected: i64,
    ) -> BoxFuture<'s, Result<u64, StoreError>> {
        session.update_shards(self, Some(expected))
    }

    fn write_lock<'s>(
        &'s self,
        session: &'s mut dyn Session,
    ) -> BoxFuture<'s, Result<Option<i64>, StoreError>> {
        session.write_lock_shards(self.shard_id)
    }

    fn lost(&self, expected: i64, observed: Option<i64>) -> ConditionFailed {
        Owner { shard_id: self.shard_id, range_id: expected }.lost(observed)
    }
}

impl Leased for TaskQueuesRow {
    const UPDATE: &'static str = "UpdateTaskQueue";

    fn range_id(&self) -> i64 {
        self.range_id
    }

    fn select<'s>(
        &'s self,
        session: &'s mut dyn Session,
    ) -> BoxFuture<'s, Result<Option<Self>, StoreError>> {
        session.select_from_task_queues(&self.queue)
    }

    fn update<'s>(
        &'s self,
        session: &'s mut dyn Session,
        expected: i64,
    ) -> BoxFuture<'s, Result<u64, StoreError>> {
        session.update_task_queues(self, Some(expected))
    }

    fn write_lock<'s>(
        &'s self,
        session: &'s mut dyn Session,
    ) -> BoxFuture<'s, Result<Option<i64>, StoreError>> {
        session.write_lock_task_queues(&self.queue)
    }

    fn lost(&self, expected: i64, observed: Option<i64>) -> ConditionFailed {
        TaskQueueLease { queue: self.queue, range_id: expected }.lost(observed)
    }
}
