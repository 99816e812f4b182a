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

/// How often an act is repeated that is proven not to have been applied, or that is the same
/// however often it is done.
pub(super) const REPEATS: u32 = 3;

/// Does what changes nothing if it is done again, and does it again if its answer was lost. Once it
/// was, an act that fails may have been applied all the same, and says so. (A function of an async
/// closure would make futures that cannot be spawned.)
macro_rules! idempotent {
    ($act:expr) => {{
        let mut lost: Option<$crate::StoreError> = None;
        let mut number = 0;
        loop {
            number += 1;
            match $act.await {
                Ok(value) => break Ok(value),
                Err(error)
                    if error.outcome() == $crate::Outcome::Unknown
                        && number < $crate::stores::unknown::REPEATS =>
                {
                    lost = Some(error);
                }
                Err(error) => break Err(lost.unwrap_or(error)),
            }
        }
    }};
}
pub(super) use idempotent;

/// Makes sure that a lost commit of a guarded write in `shard_id` either has been applied or never
/// will be; tells the shard's range id.
///
/// The row is written as it is: that a transaction of locks alone takes part in conflicts is
/// recorded of DSQL only where it wrote elsewhere, too, or may have (facts §1.3). So doing it again
/// changes nothing, and it is done again if its own answer is lost.
///
/// # Errors
/// `lost`, if that cannot be made sure.
pub(super) async fn settle<S>(
    store: &S,
    shard_id: ShardId,
    lost: &StoreError,
) -> Result<Option<i64>, StoreError>
where
    S: Store + ?Sized,
{
    let settled =
        idempotent!(store.run("SettleUnknownCommit", &shard_id, |transaction, shard_id| {
            Box::pin(async move {
                let range_id = transaction.write_lock_shards(*shard_id).await?;
                if let Some(row) = transaction.select_from_shards(*shard_id).await? {
                    transaction.update_shards(&row, range_id).await?;
                }
                Ok(range_id)
            })
        }));
    settled.map_err(|_: StoreError| lost.clone())
}

/// The error of a lost commit that is proven not to have been applied. It keeps its cause.
pub(super) fn not_applied(lost: StoreError) -> StoreError {
    match lost {
        StoreError::Unavailable { op, source, .. } => {
            StoreError::Unavailable { op, outcome: Outcome::NotApplied, source }
        }
        other => other,
    }
}
