//! How statements are put together, where servers differ in what they take.

/// Whether an operation that is several statements may be put into one.
///
/// The number of round trips depends on it, the result does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatementForm {
    /// Combined, if the server takes it; the store tries it when it connects.
    #[default]
    Auto,
    /// One statement after the other.
    Separate,
    /// Combined. A server that refuses it cannot be used.
    Combined,
}

/// How the writes of a shard's owner are guarded; see
/// [`ShardGuard`](crate::ShardGuard) for the two locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardFence {
    /// With `FOR UPDATE`.
    #[default]
    ForUpdate,
    /// With `FOR KEY SHARE`, if the table `shards` has a valid unique index on exactly
    /// `(shard_id, range_id)` when the store connects; with `FOR UPDATE` otherwise.
    ///
    /// The index must not be dropped while stores with this option run: they would not notice,
    /// and an owner that has been deposed could write. The schema does not have it; to make it:
    ///
    /// ```sql
    /// CREATE UNIQUE INDEX ASYNC shards_fence ON shards (shard_id, range_id)
    /// ```
    KeyShareIfIndexed,
}
