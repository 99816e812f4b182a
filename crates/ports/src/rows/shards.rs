//! The row port of `shards` (temporal-persistence.md#shards).

use async_trait::async_trait;
use temporal_dsql_domain::{ShardId, ShardsRow};

use crate::StoreError;

/// Operations on shards.
#[async_trait]
pub trait Shards: Send {
    /// Inserts one shard.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`].
    async fn insert_into_shards(&mut self, row: &ShardsRow) -> Result<u64, StoreError>;

    /// Overwrites all but the key of one shard, unconditionally or only if its range id is
    /// `expected`. With a condition, the update is a compare-and-set by itself.
    async fn update_shards(
        &mut self,
        row: &ShardsRow,
        expected: Option<i64>,
    ) -> Result<u64, StoreError>;

    /// Reads one shard.
    async fn select_from_shards(
        &mut self,
        shard_id: ShardId,
    ) -> Result<Option<ShardsRow>, StoreError>;

    /// Takes the lock that guards the writes of a shard's owner, and reads the range id.
    ///
    /// It conflicts with every change of the range id. A plain read would not: under snapshot
    /// isolation the deposed owner's write and the new owner's claim would both commit
    /// (aurora-dsql.md#conflict-matrix, write skew).
    async fn read_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError>;

    /// Locks one shard against every other transaction, and reads the range id.
    async fn write_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError>;
}
