//! Atomic stores: one per aggregate, each method a single act with its conditions as data.
//!
//! They are written once, over the row ports and the runner, and so work on every adapter.
//!
//! # Invariant: no write by a deposed owner
//!
//! Every write that an owner makes takes the shard's guard lock in its own transaction
//! ([`Shards::read_lock_shards`](crate::Shards::read_lock_shards)) and compares the range id it
//! reads under it with its own. A new owner claims the shard by changing the range id.
//!
//! *Claim committed before the write began:* the write's snapshot shows the new range id, and the
//! comparison ends it. *Claim committed in between:* both transactions touched the shard's row, the
//! one by an update, the other by a lock that conflicts with it; the first to commit wins, which
//! was the claim, and the write is refused at COMMIT (facts §1.3). *Claim not committed yet:* the
//! write commits first, while its owner still is the owner, and the claim is refused and begins
//! again on a snapshot that shows the write. A plain read of the range id would leave no trace: both
//! would commit.
//!
//! One owner's own writes in one shard touch the same row, too, and so they would refuse each
//! other if they overlapped; Temporal's owner does one after the other (contract §3.1).

mod execution;
mod history;
mod shard;
mod tasks;
mod unknown;

pub use execution::{
    ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, ExecutionStore, Expected,
    Mutation, SetExecution, Snapshot, UpdateExecution, UpdateMode,
};
pub use history::{AppendNodes, HistoryPage, HistoryStore, NewBranch, PageToken, ReadHistory};
pub use shard::ShardStore;
pub use tasks::{ImmediatePage, ScheduledPage, TaskStore};

use temporal_dsql_domain::{InvalidValue, ShardId};

use crate::{Cause, ConditionFailed, Outcome, StoreError};

/// Rows that one statement of a chunked delete removes: a third of what a transaction may
/// (facts §2), so that their bytes stay far from its other limit.
const CHUNK: u32 = 1_000;

/// Who writes: the owner of a shard, by the range id that it claimed it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The shard.
    pub shard_id: ShardId,
    /// The range id.
    pub range_id: i64,
}

impl Owner {
    /// Ends the act if the shard has another owner now.
    fn check(self, observed: Option<i64>) -> Result<(), StoreError> {
        if observed == Some(self.range_id) {
            return Ok(());
        }
        Err(ConditionFailed::ShardOwnershipLost {
            shard_id: self.shard_id,
            expected: self.range_id,
            observed,
        }
        .into())
    }
}

/// A page has at least one row: after one of none, nobody could tell where the next one begins.
fn check_limit(limit: u32) -> Result<(), InvalidValue> {
    if limit == 0 {
        return Err(InvalidValue::new("limit", "is 0; a page has at least one row"));
    }
    Ok(())
}

/// The rounds of a loop that ends when there is nothing left of what others write, too. Each round
/// makes progress of a whole page or chunk; the bound is for those who add as fast.
struct Rounds {
    op: &'static str,
    left: u32,
}

impl Rounds {
    /// A million rows, in chunks and pages of a thousand.
    const MOST: u32 = 1_000;

    const fn new(op: &'static str) -> Self {
        Self { op, left: Self::MOST }
    }

    /// Begins the next round.
    fn begin(&mut self) -> Result<(), StoreError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(StoreError::Unavailable {
                op: self.op,
                outcome: Outcome::NotApplied,
                source: Some(Cause::new(format!(
                    "there is more after {} statements; what they did stays, and another call goes on",
                    Self::MOST
                ))),
            });
        };
        self.left = left;
        Ok(())
    }
}

/// Repeats a limited delete, each time in a transaction of its own, until nothing is left; tells
/// how many rows it deleted. If it ends early, calling it again goes on where it ended.
macro_rules! delete_in_chunks {
    ($delete:expr) => {{
        let mut rounds = $crate::stores::Rounds::new("DeleteInChunks");
        let mut deleted = 0;
        loop {
            rounds.begin()?;
            let chunk: u64 = $delete.await?;
            deleted += chunk;
            if chunk < u64::from($crate::stores::CHUNK) {
                break deleted;
            }
        }
    }};
}
use delete_in_chunks;
