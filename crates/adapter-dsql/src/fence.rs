//! The fence around a shard: how a write makes sure that its shard still has the owner it had.
//!
//! An owner is a `range_id`. Every write that an owner guards reads the shard's row *with a lock*
//! in its own transaction and compares the number; a new owner raises the number with an update.
//!
//! # Why a lock, and why it is enough
//! **A deposed owner commits nothing after the takeover has.** Let `W` be a guarded write that saw
//! the number `r`, and `T` the takeover that changes `r`. Snapshot isolation alone would let both
//! commit: `W` has read what `T` has written, and plain reads are not tracked (facts §1.3, write
//! skew). With a lock in `W` that conflicts with `T`'s update, only three histories are left:
//!
//! - `T` commits before `W`'s snapshot: `W` reads another number and stops.
//! - `W` and `T` overlap, `T` commits first: `W` is refused. DSQL refuses its COMMIT with 40001,
//!   because the footprints on the row conflict. PostgreSQL refuses the locking statement, if it
//!   comes after `T`'s update, with 40001, for the row has changed since the snapshot.
//! - `W` commits first: it was the owner when it did. On DSQL an overlapping `T` is refused and
//!   starts again; on PostgreSQL `T`'s update has waited for `W`'s lock and goes on.
//!
//! No history has `T` committed and then `W`. Nothing in this depends on clocks, or on `T` being
//! careful: every change of the number counts, whoever makes it, and so does a deletion of the row.
//!
//! # Which lock
//! - [`FOR UPDATE`](ShardGuard::ForUpdate) conflicts with every change of the row and with every
//!   other lock (facts §1.3, class K). Always right, and the default. Guarded writes of one shard
//!   conflict with each other, too: on PostgreSQL they queue, on DSQL all but the first of those
//!   that overlap start again. Temporal's owner runs one at a time by default (contract §3.1).
//! - [`FOR KEY SHARE`](ShardGuard::ForKeyShare) (class S) conflicts with a deletion and with an
//!   update of a *key column*, and with nothing else: guarded writes do not conflict with each
//!   other. It is right only where `range_id` is a key column, and the rule for that is the same on
//!   both engines: a column of a unique index that is neither partial nor on expressions (facts
//!   §1.3; PostgreSQL calls them the columns that a foreign key could refer to). Then the update
//!   that changes `range_id` is of class K on DSQL, and takes the row lock that waits for, and
//!   refuses, `FOR KEY SHARE` on PostgreSQL; the three histories above hold.
//!
//! An update that sets `range_id` to the number it has may or may not count as one of a key column:
//! PostgreSQL compares the values, DSQL's rule is not recorded. Neither matters: the owner stays.
//!
//! The index is looked for when the store connects. It must stay while stores use it: a store that
//! took `FOR KEY SHARE` would not notice that it is gone, and its fence with it. Stores with
//! different locks may share a database, for S conflicts with K.

/// The lock that guards the writes of a shard's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardGuard {
    /// `FOR UPDATE`.
    #[default]
    ForUpdate,
    /// `FOR KEY SHARE`.
    ForKeyShare,
}
