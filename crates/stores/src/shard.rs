//! Shards: claimed, renewed and read.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use temporal_dsql_domain::{ShardId, ShardsRow};

use super::{Owner, unknown_commit};
use temporal_dsql_ports::{
    BoxFuture, ConditionFailed, Outcome, Store, StoreError, StoreExt, Transaction, Within,
};

/// Temporal's `ShardStore`, over any store.
///
/// # The range id is in the blob, too
/// [`ShardsRow::data`] is the serialized `ShardInfo`, whose field 2 is `range_id`. A Go server takes
/// the range id of a shard from that field, and not from the column, and expects it in the column
/// when it claims the shard. Whoever shares a database with a Go server writes a new range id in
/// both. If the column alone changes, each claim of the server fails with
/// [`ConditionFailed::ShardOwnershipLost`], and it cannot own the shard any more. This store
/// compares and writes the column, and does not look into the blob.
#[derive(Clone, Debug)]
pub struct ShardStore<S> {
    store: S,
}

impl<S: Store> ShardStore<S> {
    /// The shards of `store`.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// The same store for acts that end within `limit` from now. They count against it together:
    /// call this for each act, or once for all acts of a request.
    ///
    /// An act that is ended is [`StoreError::Unavailable`], and says by [`StoreError::outcome`]
    /// whether it may have been applied ([`Within`]).
    pub fn within(&self, limit: Duration) -> ShardStore<Within<&S>> {
        ShardStore::new(Within::new(&self.store, limit))
    }

    /// The shard as it is, or `initial` if there was none.
    ///
    /// A lost answer is resolved: a shard has one row, so that inserting it again cannot do it
    /// twice, and the row that is there is the answer, whoever inserted it. It is tried again like a
    /// lost conflict, with a wait in between, until the deadline of the store's
    /// [`RetryPolicy`](temporal_dsql_ports::RetryPolicy).
    ///
    /// # Errors
    /// Those of the store; with [`Outcome::Unknown`] if the answer to an insert was lost and the
    /// row has not been seen since.
    pub async fn get_or_create(&self, initial: &ShardsRow) -> Result<ShardsRow, StoreError> {
        const OP: &str = "GetOrCreateShard";
        let is_lost = AtomicBool::new(false);
        let attempt = async || {
            let mut session = self.store.session();
            if let Some(row) = session.select_from_shards(initial.shard_id).await? {
                return Ok(row);
            }
            let error = match session.insert_into_shards(initial).await {
                Ok(_) => return Ok(initial.clone()),
                Err(error) => error,
            };
            is_lost.fetch_or(error.outcome() == Outcome::Unknown, Ordering::Relaxed);
            let may_be_there = matches!(error, StoreError::AlreadyExists { .. })
                || error.outcome() == Outcome::Unknown;
            if may_be_there && let Some(row) = session.select_from_shards(initial.shard_id).await? {
                return Ok(row);
            }
            Err(unknown_commit::not_applied(error.duplicate_is_conflict(OP)))
        };
        let deadline = self.store.deadline();
        let result = self.store.runner().retry_until(deadline, OP, |_| attempt()).await;
        result.map_err(
            |error| if is_lost.into_inner() { unknown_commit::lost(error, OP) } else { error },
        )
    }

    /// The shard.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, shard_id: ShardId) -> Result<Option<ShardsRow>, StoreError> {
        self.store.session().select_from_shards(shard_id).await
    }

    /// Writes the shard if its range id is `previous_range_id`.
    ///
    /// If the range id changes, this is a takeover: a transaction that locks the row against every
    /// act of the previous owner, compares, and writes. If it stays, the owner saves its progress:
    /// one statement, which conflicts with none of its acts. The blob has
    /// the same range id as the row ([`ShardStore`]).
    ///
    /// # Errors
    /// [`ConditionFailed::ShardOwnershipLost`] with the range id that is there; and those of the
    /// store. A lost answer is resolved by reading, if the row proves what happened: two claims of
    /// the very same row could not be told apart, but Temporal's names its owner.
    pub async fn update(&self, row: &ShardsRow, previous_range_id: i64) -> Result<(), StoreError> {
        let written = if row.range_id == previous_range_id {
            let mut session = self.store.session();
            match session.update_shards(row, Some(previous_range_id)).await {
                Ok(0) => session.select_from_shards(row.shard_id).await.and_then(|found| {
                    Err(lost(row, previous_range_id, found.map(|found| found.range_id)))
                }),
                written => written.map(drop),
            }
        } else {
            self.store.run("UpdateShards", &(row, previous_range_id), take_over).await
        };
        let Err(error) = written else { return Ok(()) };
        if error.outcome() != Outcome::Unknown {
            return Err(error);
        }
        let Ok(found) = self.get(row.shard_id).await else { return Err(error) };
        match found {
            Some(found) if found == *row => Ok(()),
            // The claim may have been applied and overwritten since, or may still be under way:
            // neither its own range id nor the previous one says which.
            Some(found) if [row.range_id, previous_range_id].contains(&found.range_id) => {
                Err(error)
            }
            found => Err(lost(row, previous_range_id, found.map(|found| found.range_id))),
        }
    }

    /// Checks that `owner` still owns its shard. A read: only a guarded write is proof.
    ///
    /// # Errors
    /// [`ConditionFailed::ShardOwnershipLost`], and those of the store.
    pub async fn assert_ownership(&self, owner: Owner) -> Result<(), StoreError> {
        let row = self.get(owner.shard_id).await?;
        owner.check(row.map(|row| row.range_id))
    }
}

/// The body of a takeover.
fn take_over<'t>(
    transaction: &'t mut dyn Transaction,
    (row, previous_range_id): &'t (&ShardsRow, i64),
) -> BoxFuture<'t, Result<(), StoreError>> {
    Box::pin(async move {
        let observed = transaction.write_lock_shards(row.shard_id).await?;
        if observed != Some(*previous_range_id) {
            return Err(lost(row, *previous_range_id, observed));
        }
        transaction.update_shards(row, Some(*previous_range_id)).await.map(drop)
    })
}

fn lost(row: &ShardsRow, expected: i64, observed: Option<i64>) -> StoreError {
    ConditionFailed::ShardOwnershipLost { shard_id: row.shard_id, expected, observed }.into()
}
