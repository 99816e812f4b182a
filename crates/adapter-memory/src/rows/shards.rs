//! `shards`, and the lock that guards the writes of a shard's owner (contract §1.7).

use async_trait::async_trait;
use temporal_dsql_domain::{ShardId, ShardsRow, Table};
use temporal_dsql_ports::{Shards, StoreError};

use crate::{
    MemoryStore,
    connection::{Connection, Execute},
    engine::Lock,
    key::{Column, Key, NewRow, PrimaryKey, StoredRow},
    work::Work,
};

impl PrimaryKey for ShardId {
    type Row = ShardsRow;

    fn to_key(&self) -> Key {
        Key::new(Table::Shards, [Column::Integer(self.0)])
    }
}

impl StoredRow for ShardsRow {
    fn values(&self) -> impl IntoIterator<Item = (&'static str, usize)> {
        [("data", self.data.data.len())]
    }
}

fn ready(row: &ShardsRow) -> Result<NewRow, StoreError> {
    Ok(NewRow::new(&row.shard_id, row.clone())?)
}

/// Takes the lock that a change of the range id conflicts with, whichever update that change is.
pub(super) fn read_lock(store: &MemoryStore, work: &mut Work, shard_id: ShardId) -> Option<i64> {
    let lock = if store.unique_range_id_index() { Lock::ForKeyShare } else { Lock::ForUpdate };
    work.lock(&shard_id, lock).map(|shard| shard.range_id)
}

/// Overwrites a shard. The range id is a key column if, and only if, it is in a unique index
/// (facts §1.3); the index needs no entries here, because the shard alone is unique.
fn update(
    store: &MemoryStore,
    work: &mut Work,
    (row, ready): (&ShardsRow, &NewRow),
    expected: Option<i64>,
) -> Result<u64, StoreError> {
    let holds = |shard: &ShardsRow| expected.is_none_or(|expected| shard.range_id == expected);
    match work.select(&row.shard_id) {
        Some(shard)
            if holds(shard) && shard.range_id != row.range_id && store.unique_range_id_index() =>
        {
            work.update_key(ready)
        }
        _ => work.update_if(&row.shard_id, ready, holds),
    }
}

#[async_trait]
impl<E: Execute, W: Send> Shards for Connection<E, W> {
    async fn insert_into_shards(&mut self, row: &ShardsRow) -> Result<u64, StoreError> {
        let row = ready(row)?;
        self.link.execute("InsertIntoShards", |work| work.insert(&row)).await
    }

    async fn update_shards(
        &mut self,
        row: &ShardsRow,
        expected: Option<i64>,
    ) -> Result<u64, StoreError> {
        let ready = ready(row)?;
        let store = self.link.store().clone();
        self.link
            .execute("UpdateShards", |work| update(&store, work, (row, &ready), expected))
            .await
    }

    async fn select_from_shards(
        &mut self,
        shard_id: ShardId,
    ) -> Result<Option<ShardsRow>, StoreError> {
        self.link.execute("SelectFromShards", |work| Ok(work.select(&shard_id).cloned())).await
    }

    async fn read_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        let store = self.link.store().clone();
        self.link.execute("ReadLockShards", |work| Ok(read_lock(&store, work, shard_id))).await
    }

    async fn write_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        self.link
            .execute("WriteLockShards", |work| {
                Ok(work.lock(&shard_id, Lock::ForUpdate).map(|shard| shard.range_id))
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_ports::{Store, Transaction};

    use super::*;
    use crate::testing::{conflict, shard};

    const SHARD: ShardId = ShardId(1);

    /// What a transaction does to the shard.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Act {
        ReadLock,
        WriteLock,
        /// An update that leaves the range id as it is.
        Renew,
        /// An update of the range id: another owner takes over.
        TakeOver,
    }

    async fn perform(act: Act, transaction: &mut dyn Transaction) {
        match act {
            Act::ReadLock => {
                assert_eq!(transaction.read_lock_shards(SHARD).await.unwrap(), Some(1));
            }
            Act::WriteLock => {
                assert_eq!(transaction.write_lock_shards(SHARD).await.unwrap(), Some(1));
            }
            Act::Renew => {
                assert_eq!(transaction.update_shards(&shard(1), Some(1)).await.unwrap(), 1);
            }
            Act::TakeOver => {
                assert_eq!(transaction.update_shards(&shard(2), None).await.unwrap(), 1);
            }
        }
    }

    async fn conflicts(index: bool, one: Act, other: Act) -> bool {
        let store = MemoryStore::builder().unique_range_id_index(index).build();
        store.session().insert_into_shards(&shard(1)).await.unwrap();
        conflict(
            &store,
            async |transaction| perform(one, transaction).await,
            async |transaction| perform(other, transaction).await,
        )
        .await
    }

    #[tokio::test]
    async fn without_the_index_every_lock_and_update_of_a_shard_conflicts_with_every_other() {
        let acts = [Act::ReadLock, Act::WriteLock, Act::Renew, Act::TakeOver];
        for one in acts {
            for other in acts {
                assert!(conflicts(false, one, other).await, "{one:?}, {other:?}");
            }
        }
    }

    #[tokio::test]
    async fn with_the_index_an_owners_lock_conflicts_with_a_takeover_and_not_with_the_owners_own() {
        for (other, expected) in [
            (Act::ReadLock, false),
            (Act::Renew, false),
            (Act::WriteLock, true),
            (Act::TakeOver, true),
        ] {
            assert_eq!(conflicts(true, Act::ReadLock, other).await, expected, "{other:?}");
            assert_eq!(conflicts(true, other, Act::ReadLock).await, expected, "{other:?} first");
        }
        for other in [Act::WriteLock, Act::Renew, Act::TakeOver] {
            assert!(conflicts(true, Act::TakeOver, other).await, "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_compare_and_set_that_finds_another_range_id_touches_nothing() {
        let store = MemoryStore::new();
        store.session().insert_into_shards(&shard(1)).await.unwrap();
        let late = async |transaction: &mut dyn Transaction| {
            assert_eq!(transaction.update_shards(&shard(9), Some(8)).await.unwrap(), 0);
        };
        let take_over = async |transaction: &mut dyn Transaction| {
            perform(Act::TakeOver, transaction).await;
        };
        assert!(!conflict(&store, take_over, late).await);
        let read = store.session().select_from_shards(SHARD).await.unwrap();
        assert_eq!(read, Some(shard(2)));
    }
}
