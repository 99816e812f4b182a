//! What to do when the answer to COMMIT was lost.
//!
//! The work is applied, or not, or not *yet*: a COMMIT that the server has received may still be
//! under way when a reader finds nothing. So before a read can prove anything, the lost commit must
//! be out of the way. Every guarded write holds a lock on the shard's row; a transaction that locks
//! that row and commits cannot do so while the lost one may still commit: on DSQL the two conflict
//! and the first wins, on PostgreSQL it waits (facts §1.3). After it, what is read is final, as far
//! as the lost commit is concerned.

use temporal_dsql_domain::ShardId;

use crate::{Outcome, Store, StoreError, StoreExt};

/// Makes sure that a lost commit of a guarded write in `shard_id` either has been applied or never
/// will be.
///
/// # Errors
/// `lost`, if that cannot be made sure.
pub(super) async fn settle<S>(
    store: &S,
    shard_id: ShardId,
    lost: &StoreError,
) -> Result<(), StoreError>
where
    S: Store + ?Sized,
{
    let settled = store.run("SettleUnknownCommit", &shard_id, |transaction, shard_id| {
        Box::pin(async move { transaction.write_lock_shards(*shard_id).await.map(drop) })
    });
    settled.await.map_err(|_| lost.clone())
}

/// A lost commit that is proven not to have been applied.
pub(super) fn not_applied(lost: StoreError) -> StoreError {
    match lost {
        StoreError::Unavailable { op, source, .. } => {
            StoreError::Unavailable { op, outcome: Outcome::NotApplied, source }
        }
        other => other,
    }
}
