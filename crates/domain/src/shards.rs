//! A shard: who owns the executions in it, as a number that every owner raises.

use crate::{DataBlob, ShardId};

/// A row of `shards` (temporal-persistence.md#shards).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsRow {
    /// Key: the shard.
    pub shard_id: ShardId,
    /// The ownership. An owner that finds another number than its own has been deposed.
    pub range_id: i64,
    /// The serialized `ShardInfo`.
    pub data: DataBlob,
}
