//! Atomic stores: one per aggregate, each method a single act with its conditions as data.
//!
//! They are written once, over the row ports and the runner, and so work on every adapter.
//!
//! # Invariant: no write by a deposed owner
//!
//! Every act of an owner that writes rows locks the shard's row FOR KEY SHARE
//! ([`Shards::read_lock_shards`](temporal_dsql_ports::Shards::read_lock_shards)) and compares the range id that it
//! reads there with its own. A takeover locks the row FOR UPDATE and changes the range id.
//!
//! *The takeover committed before the act's snapshot:* the act reads the new range id and fails.
//! *Both overlap:* their locks conflict, and the first to commit wins. If the takeover was first,
//! the act is refused; if the act was first, its owner still owned the shard when it committed.
//! Acts of one owner do not conflict with each other on the shard's row. A plain read of the range
//! id would not do: both would commit.
//!
//! # Deadlines and cancelling
//!
//! Each store has a method `within`, which gives the same store for acts that end within a time: see
//! [`Within`](temporal_dsql_ports::Within). Without it an act takes as long as the store's own limits let it: the
//! [`RetryPolicy`](temporal_dsql_ports::RetryPolicy) for lost conflicts, and the adapter's for connections and
//! statements.
//!
//! Dropping the future of an act cancels the waiting, not the act. A transaction whose COMMIT has
//! not been sent is rolled back. A COMMIT, or a statement that commits by itself, that has been sent
//! may still be applied, also later. An act of several statements, such as a deletion in chunks, may
//! be applied in part. Nobody resolves a lost answer then, so whoever drops the future of a write
//! must treat it as [`Outcome::Unknown`](temporal_dsql_ports::Outcome::Unknown). An act that is ended by `within`
//! says which of these it was.

mod execution;
mod history;
mod shard;
mod tasks;
mod unknown_commit;

pub use execution::{
    ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, ExecutionStore, Mutation,
    SetExecution, Snapshot, UpdateExecution, UpdateMode,
};
pub use history::{
    AppendNodes, HistoryPage, HistoryStore, NewBranch, OrphanDeletion, OrphanPage, PageToken,
    ReadHistory,
};
pub use shard::ShardStore;
pub use tasks::{ImmediatePage, ScheduledPage, TaskStore};

pub use temporal_dsql_ports::Expected;

use temporal_dsql_domain::{InvalidValue, ShardId};

use temporal_dsql_ports::{Cause, ConditionFailed, Outcome, StoreError};

/// Rows that one statement of a chunked delete removes: a third of what a transaction may
/// (aurora-dsql.md#limits), so that their bytes stay far from its other limit.
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
        let mut rounds = $crate::Rounds::new("DeleteInChunks");
        let mut deleted = 0;
        loop {
            rounds.begin()?;
            let chunk: u64 = $delete.await?;
            deleted += chunk;
            if chunk < u64::from($crate::CHUNK) {
                break deleted;
            }
        }
    }};
}
use delete_in_chunks;

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    /// Deletes where others add as fast.
    async fn deletes(chunk: u64) -> Result<u64, StoreError> {
        Ok(delete_in_chunks!(ready(Ok::<_, StoreError>(chunk))))
    }

    #[tokio::test]
    async fn a_deletion_that_finds_no_end_is_given_up() {
        assert_eq!(deletes(u64::from(CHUNK) - 1).await.unwrap(), 999);
        let error = deletes(u64::from(CHUNK)).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("another call goes on"), "{source}");
    }
}
