//! Temporal's stores of executions, shards, tasks, histories and task queues, over any [`Store`].
//!
//! They are implemented on the row ports and the runner, so every adapter can be used. The creates,
//! updates and deletes of one execution are atomic: each is one
//! [`WriteSet`](temporal_dsql_ports::WriteSet).
//!
//! # Shard ownership
//!
//! A shard's owner has a range id. The writes of an owner (create, update, conflict resolve, set, add
//! tasks) lock the shard's row `FOR KEY SHARE`
//! ([`Shards::read_lock_shards`](temporal_dsql_ports::Shards::read_lock_shards)) and compare the
//! stored range id with its own. A takeover locks the row `FOR UPDATE` and changes the range id. So
//! a previous owner cannot write after a takeover has committed:
//!
//! - If the takeover committed before the write's snapshot, the write reads the new range id and
//!   fails with `ShardOwnershipLost`.
//! - If the two transactions overlap, their locks conflict and the first to commit succeeds. If that
//!   is the write, its owner still owned the shard when it committed.
//!
//! Writes of one owner do not conflict with each other on the shard's row, unless the server refuses
//! `FOR KEY SHARE`: they then lock the row `FOR UPDATE`. A plain read of the range id does not protect:
//! both transactions would commit.
//!
//! An owner that saves its progress with [`ShardStore::update`] compares the range id in that
//! statement. Deletions, and the writes of [`HistoryStore`], do not check it.
//!
//! The same holds for a task queue and its range id
//! ([`MatchingTaskStore`]): the owner's row is in `task_queues`, and its writes are new tasks.
//!
//! # Deadlines and cancellation
//!
//! The method `within` of each store returns the same store with a deadline
//! ([`Within`](temporal_dsql_ports::Within)). Without a deadline an operation ends by the limits of
//! the store: the [`RetryPolicy`](temporal_dsql_ports::RetryPolicy) for lost conflicts, and the
//! adapter's timeouts for connections and statements.
//!
//! Dropping the future of an operation does not undo it. A transaction whose COMMIT has not been
//! sent is rolled back. A COMMIT, or an autocommit statement, that has been sent may still take
//! effect later. An operation of several statements, such as a deletion in chunks, may be applied in
//! part. Therefore a caller that drops the future of a write must treat its outcome as
//! [`Outcome::Unknown`]. An operation that `within` ends
//! reports its outcome instead.
#![warn(missing_debug_implementations, missing_docs)]

/// Defines a store of Temporal over any [`Store`].
macro_rules! define_store {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name<S> {
            store: S,
        }

        impl<S: Store> $name<S> {
            /// Temporal's store over `store`.
            pub const fn new(store: S) -> Self {
                Self { store }
            }

            /// The same store with a deadline, `limit` from now, that all operations on it share. Call
            /// this for each operation, or once for all operations of a request.
            ///
            /// An operation that is ended by the deadline returns [`StoreError::Unavailable`];
            /// [`StoreError::outcome`] reports whether it may have been applied ([`Within`]).
            pub fn within(&self, limit: std::time::Duration) -> $name<Within<&S>> {
                $name::new(Within::new(&self.store, limit))
            }
        }
    };
}

mod cluster_metadata;
mod execution;
mod history;
mod lease;
mod matching_tasks;
mod namespaces;
mod nexus_endpoints;
mod page;
mod queue;
mod queue_v2;
mod shard;
mod task_queue_user_data;
mod tasks;
mod unknown_commit;

pub use cluster_metadata::ClusterMetadataStore;
pub use execution::{
    ConflictResolve, ConflictResolveMode, CreateExecution, CreateMode, ExecutionStore, Mutation,
    SetExecution, Snapshot, UpdateExecution, UpdateMode,
};
pub use history::{
    AppendNodes, HistoryPage, HistoryStore, NewBranch, OrphanDeletion, OrphanPage, PageToken,
    ReadHistory,
};
pub use matching_tasks::MatchingTaskStore;
pub use namespaces::NamespaceStore;
pub use nexus_endpoints::{NexusEndpointList, NexusEndpointStore};
pub use page::{Page, PageKey};
pub use queue::QueueStore;
pub use queue_v2::{QueueInfo, QueueV2Store};
pub use shard::ShardStore;
pub use task_queue_user_data::{UserDataStore, UserDataUpdate};
pub use tasks::TaskStore;

pub use temporal_dsql_ports::Expected;

use temporal_dsql_domain::{InvalidValue, ShardId};

#[cfg(doc)]
use temporal_dsql_ports::Store;
use temporal_dsql_ports::{Cause, ConditionFailed, Outcome, StoreError};

/// Rows that one statement of a chunked delete removes: a third of a transaction's limit
/// (aurora-dsql.md#limits), which also keeps their bytes below its limit.
const CHUNK: u32 = 1_000;

/// The owner of a shard: the range id that it acquired the shard with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The shard.
    pub shard_id: ShardId,
    /// The range id.
    pub range_id: i64,
}

impl Owner {
    /// Returns an error if the observed range id is not the owner's.
    fn check(self, observed: Option<i64>) -> Result<(), StoreError> {
        if observed == Some(self.range_id) { Ok(()) } else { Err(self.lost(observed).into()) }
    }

    const fn lost(self, observed: Option<i64>) -> ConditionFailed {
        let Self { shard_id, range_id: expected } = self;
        ConditionFailed::ShardOwnershipLost { shard_id, expected, observed }
    }
}

/// `limit` must be at least 1: an empty page has no continuation key.
fn check_limit(limit: u32) -> Result<(), InvalidValue> {
    InvalidValue::unless(limit > 0, "limit", || "is 0; it must be at least 1")
}

/// The version after `version`, which a request expects to find.
fn next_version(version: i64) -> Result<i64, InvalidValue> {
    version.checked_add(1).filter(|next| *next > 0).ok_or_else(|| {
        InvalidValue::new("version", format!("is {version}; it must be between 0 and 2^63 - 2"))
    })
}

/// The bound of a loop of deletions: other sessions may add rows concurrently. Each round deletes a
/// whole chunk.
struct Rounds {
    op: &'static str,
    left: u32,
}

impl Rounds {
    /// One million rows, in chunks of 1,000.
    const MOST: u32 = 1_000;

    const fn new(op: &'static str) -> Self {
        Self { op, left: Self::MOST }
    }

    /// Counts one round.
    fn begin(&mut self) -> Result<(), StoreError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(StoreError::Unavailable {
                op: self.op,
                outcome: Outcome::NotApplied,
                source: Some(Cause::new(format!(
                    "rows may be left after {} statements, whose changes are kept; call again to continue",
                    Self::MOST
                ))),
            });
        };
        self.left = left;
        Ok(())
    }
}

/// Repeats a limited delete, each time in a transaction of its own, until no row is left, or `$limit`
/// rows are deleted. `$chunk` is the limit of one delete. Evaluates to the number of deleted rows. After
/// an error, repeating it continues the deletion.
macro_rules! delete_in_chunks {
    ($delete:expr) => {
        $crate::delete_in_chunks!(u64::MAX, chunk => $delete)
    };
    ($limit:expr, $chunk:ident => $delete:expr) => {{
        let limit: u64 = $limit;
        let mut rounds = $crate::Rounds::new("DeleteInChunks");
        let mut deleted = 0;
        while deleted < limit {
            rounds.begin()?;
            let left = limit - deleted;
            let $chunk = u32::try_from(left).map_or($crate::CHUNK, |left| left.min($crate::CHUNK));
            let of_chunk: u64 = $delete.await?;
            deleted += of_chunk;
            if of_chunk < u64::from($chunk) {
                break;
            }
        }
        deleted
    }};
}
use delete_in_chunks;

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    /// Deletes chunks of `chunk` rows.
    async fn deletes(chunk: u64) -> Result<u64, StoreError> {
        Ok(delete_in_chunks!(ready(Ok::<_, StoreError>(chunk))))
    }

    #[tokio::test]
    async fn a_deletion_without_end_returns_an_error() {
        assert_eq!(deletes(u64::from(CHUNK) - 1).await.unwrap(), 999);
        let error = deletes(u64::from(CHUNK)).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("call again to continue"), "{source}");
    }

    /// Deletes up to `limit` rows, of which there are always more.
    async fn deletes_up_to(limit: u64) -> Result<u64, StoreError> {
        let delete = |chunk: u32| ready(Ok::<_, StoreError>(u64::from(chunk)));
        Ok(delete_in_chunks!(limit, chunk => delete(chunk)))
    }

    #[tokio::test]
    async fn a_deletion_up_to_a_limit_stops_there_and_has_an_end_as_well() {
        for limit in [1, 2_500, 1_000_000] {
            assert_eq!(deletes_up_to(limit).await.unwrap(), limit);
        }
        let error = deletes_up_to(1_000_001).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
}
