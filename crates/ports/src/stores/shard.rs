//! Shards: claimed, renewed and read.

use temporal_dsql_domain::{ShardId, ShardsRow};

use super::{Owner, unknown};
use crate::{ConditionFailed, Outcome, Store, StoreError};

/// Temporal's `ShardStore`, over any store.
#[derive(Clone, Debug)]
pub struct ShardStore<S> {
    store: S,
}

impl<S: Store> ShardStore<S> {
    /// The shards of `store`.
    pub const fn new(store: S) -> Self {
        Self { store }
    }

    /// The shard as it is, or `initial` if there was none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get_or_create(&self, initial: &ShardsRow) -> Result<ShardsRow, StoreError> {
        let mut session = self.store.session();
        loop {
            if let Some(row) = session.select_from_shards(initial.shard_id).await? {
                return Ok(row);
            }
            match session.insert_into_shards(initial).await {
                Ok(_) => return Ok(initial.clone()),
                // Somebody else was faster, or it was this insert whose answer was lost: either
                // way the row that is there now is the answer.
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) if error.outcome() == Outcome::Unknown => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The shard.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, shard_id: ShardId) -> Result<Option<ShardsRow>, StoreError> {
        self.store.session().select_from_shards(shard_id).await
    }

    /// Writes the shard if its range id is `previous_range_id`: one statement, which compares and
    /// sets. This is how a new owner claims it and how an owner saves its progress.
    ///
    /// # Errors
    /// [`ConditionFailed::ShardOwnershipLost`] with the range id that is there; and those of the
    /// store. A lost answer is resolved by reading, if the row proves what happened: two claims of
    /// the very same row could not be told apart, but Temporal's names its owner.
    pub async fn update(&self, row: &ShardsRow, previous_range_id: i64) -> Result<(), StoreError> {
        let mut session = self.store.session();
        let result = session.update_shards(row, Some(previous_range_id)).await;
        let observed = match result {
            Ok(1) => return Ok(()),
            Ok(_) => session.select_from_shards(row.shard_id).await?.map(|row| row.range_id),
            Err(error) if error.outcome() == Outcome::Unknown => {
                unknown::settle(&self.store, row.shard_id, &error).await?;
                let Ok(found) = session.select_from_shards(row.shard_id).await else {
                    return Err(error);
                };
                match found {
                    Some(found) if found == *row => return Ok(()),
                    // It may have been ours for a moment: a range id that stays proves nothing. Nor
                    // does the old one: a statement that is on its way has no snapshot yet, and
                    // nothing that is done here keeps it from arriving.
                    Some(found) if [row.range_id, previous_range_id].contains(&found.range_id) => {
                        return Err(error);
                    }
                    found => found.map(|row| row.range_id),
                }
            }
            Err(error) => return Err(error),
        };
        Err(ConditionFailed::ShardOwnershipLost {
            shard_id: row.shard_id,
            expected: previous_range_id,
            observed,
        }
        .into())
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
