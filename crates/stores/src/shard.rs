//! The shard store: creates, reads, updates and takes over shards.

use std::sync::atomic::{AtomicBool, Ordering};

use temporal_dsql_domain::{ShardId, ShardsRow};

use super::{Owner, lease, unknown_commit};
#[cfg(doc)]
use temporal_dsql_ports::ConditionFailed;
use temporal_dsql_ports::{Outcome, Store, StoreError, Within};

define_store! {
    /// Temporal's `ShardStore`, over any store.
    ///
    /// # The range id is also in the blob
    /// [`ShardsRow::data`] is the serialized `ShardInfo`, whose field 2 is `range_id`. A Go server reads
    /// the range id of a shard from that field, not from the column, and compares it with the column
    /// when it takes the shard over. A client that shares a database with a Go server must write a new
    /// range id to both. If only the column changes, every takeover by the Go server fails with
    /// [`ConditionFailed::ShardOwnershipLost`]. This store compares and writes the column, and does not
    /// decode the blob.
    ///
    /// # Example
    /// ```
    /// # use temporal_dsql_domain::{DataBlob, ShardId, ShardsRow};
    /// # use temporal_dsql_memory::MemoryStore;
    /// # use temporal_dsql_stores::{Owner, ShardStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let shards = ShardStore::new(MemoryStore::new());
    /// let row = |range_id| ShardsRow {
    ///     shard_id: ShardId(1),
    ///     range_id,
    ///     data: DataBlob::proto3(*b"ShardInfo"),
    /// };
    /// let found = shards.get_or_create(&row(0)).await?;
    ///
    /// // A host takes the shard over: the next range id is its own.
    /// let owner = Owner { shard_id: ShardId(1), range_id: found.range_id + 1 };
    /// shards.update(&row(owner.range_id), found.range_id).await?;
    /// shards.assert_ownership(owner).await?;
    ///
    /// // Another host takes it over.
    /// shards.update(&row(owner.range_id + 1), owner.range_id).await?;
    /// assert!(shards.assert_ownership(owner).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ShardStore
}

impl<S: Store> ShardStore<S> {
    /// Returns the shard, or inserts `initial` if the shard does not exist.
    ///
    /// An insert with an unknown outcome is retried like a lost conflict, until the deadline of the
    /// store's [`RetryPolicy`](temporal_dsql_ports::RetryPolicy). This is safe: a shard has one row,
    /// and the stored row is the result whichever session inserted it.
    ///
    /// # Errors
    /// Those of the store; with [`Outcome::Unknown`] if the answer to an insert was lost and no later
    /// attempt has read the row.
    pub async fn get_or_create(&self, initial: &ShardsRow) -> Result<ShardsRow, StoreError> {
        const OP: &str = "GetOrCreateShard";
        let is_unknown = AtomicBool::new(false);
        let attempt = async || {
            let mut session = self.store.session();
            if let Some(row) = session.select_from_shards(initial.shard_id).await? {
                return Ok(row);
            }
            let error = match session.insert_into_shards(initial).await {
                Ok(_) => return Ok(initial.clone()),
                Err(error) => error,
            };
            is_unknown.fetch_or(error.outcome() == Outcome::Unknown, Ordering::Relaxed);
            let may_exist = matches!(error, StoreError::AlreadyExists { .. })
                || error.outcome() == Outcome::Unknown;
            if may_exist && let Some(row) = session.select_from_shards(initial.shard_id).await? {
                return Ok(row);
            }
            Err(unknown_commit::as_not_applied(error.duplicate_is_conflict(OP)))
        };
        let deadline = self.store.deadline();
        let result = self.store.runner().retry_until(deadline, OP, |_| attempt()).await;
        result.map_err(|error| {
            if is_unknown.into_inner() { unknown_commit::as_unknown(error, OP) } else { error }
        })
    }

    /// Reads the shard; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, shard_id: ShardId) -> Result<Option<ShardsRow>, StoreError> {
        self.store.session().select_from_shards(shard_id).await
    }

    /// Writes the shard if its range id is `previous_range_id`.
    ///
    /// A new range id is a takeover, which conflicts with every write of the previous owner. With the
    /// same range id the owner saves its progress. The blob must contain the same range id as the row
    /// ([`ShardStore`]).
    ///
    /// # Errors
    /// [`ConditionFailed::ShardOwnershipLost`] with the stored range id; and those of the store. If
    /// the answer is lost, the row is read: if it equals `row`, the update is reported as done. This
    /// requires that rows of different owners differ, as Temporal's do: they contain the owner.
    pub async fn update(&self, row: &ShardsRow, previous_range_id: i64) -> Result<(), StoreError> {
        lease::update(&self.store, row, previous_range_id).await
    }

    /// Checks that `owner` owns its shard. This is a plain read: the shard may be taken over at any
    /// time after it.
    ///
    /// # Errors
    /// [`ConditionFailed::ShardOwnershipLost`], and those of the store.
    pub async fn assert_ownership(&self, owner: Owner) -> Result<(), StoreError> {
        let row = self.get(owner.shard_id).await?;
        owner.check(row.map(|row| row.range_id))
    }
}
