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

    /// Overwrites all columns but the key of one shard, unconditionally or only if its range id is
    /// `expected` (compare-and-set).
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

    /// Locks one shard `FOR KEY SHARE` and reads the range id. Writes of the shard's owner hold this
    /// lock.
    ///
    /// It conflicts with a takeover, which holds
    /// [`write_lock_shards`](Self::write_lock_shards). A plain read does not: under snapshot
    /// isolation the previous owner's write and the new owner's takeover would both commit
    /// (aurora-dsql.md#conflict-matrix, write skew).
    async fn read_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError>;

    /// Locks one shard `FOR UPDATE` and reads the range id.
    async fn write_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError>;
}
