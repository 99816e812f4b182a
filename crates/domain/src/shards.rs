//! The row of a shard.

use crate::{DataBlob, ShardId};

/// A row of `shards` (temporal-persistence.md#shards).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsRow {
    /// Key: the shard.
    pub shard_id: ShardId,
    /// The ownership: an owner with another range id has lost the shard. The caller of a takeover
    /// increases it; the stores only compare it with the previous one.
    pub range_id: i64,
    /// The serialized `ShardInfo`.
    pub data: DataBlob,
}
