//! `shards`, and the lock that protects the ownership of a shard
//! (temporal-persistence.md#shards).

use async_trait::async_trait;
use temporal_dsql_domain::{ShardId, ShardsRow, Table};
use temporal_dsql_ports::{Shards, StoreError};

use super::lease;
use crate::{
    connection::{Connection, Execute},
    engine::Lock,
    key::{Column, Key, NewRow},
};

fn key(shard_id: ShardId) -> Key {
    Key::new(Table::Shards, [Column::Integer(shard_id.0)])
}

/// The row to write, checked against the limits.
fn shards_row(row: &ShardsRow) -> Result<NewRow, StoreError> {
    Ok(NewRow::new(key(row.shard_id), row, &[("data", row.data.data.len())])?)
}

#[async_trait]
impl<E: Execute> Shards for Connection<E> {
    async fn insert_into_shards(&mut self, row: &ShardsRow) -> Result<u64, StoreError> {
        let row = shards_row(row)?;
        self.execute("InsertIntoShards", |transaction| transaction.insert(&row)).await
    }

    async fn update_shards(
        &mut self,
        row: &ShardsRow,
        expected: Option<i64>,
    ) -> Result<u64, StoreError> {
        let row = shards_row(row)?;
        self.execute("UpdateShards", |transaction| {
            lease::update::<ShardsRow>(transaction, &row, expected)
        })
        .await
    }

    async fn select_from_shards(
        &mut self,
        shard_id: ShardId,
    ) -> Result<Option<ShardsRow>, StoreError> {
        let key = key(shard_id);
        self.execute("SelectFromShards", |transaction| Ok(transaction.select(&key).cloned())).await
    }

    async fn read_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        let key = key(shard_id);
        self.execute("ReadLockShards", |transaction| {
            Ok(lease::lock::<ShardsRow>(transaction, &key, Lock::ForKeyShare))
        })
        .await
    }

    async fn write_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        let key = key(shard_id);
        self.execute("WriteLockShards", |transaction| {
            Ok(lease::lock::<ShardsRow>(transaction, &key, Lock::ForUpdate))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use temporal_dsql_ports::{Store, Transaction};

    use super::*;
    use crate::{
        MemoryStore,
        testing::{conflict, shard},
    };

    const SHARD: ShardId = ShardId(1);

    /// The statements of a transaction on the shard.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Operation {
        ReadLock,
        WriteLock,
        /// An update that keeps the range id.
        Renew,
        /// A takeover: a lock and an update of the range id.
        TakeOver,
    }

    async fn perform(operation: Operation, transaction: &mut dyn Transaction) {
        match operation {
            Operation::ReadLock => {
                assert_eq!(transaction.read_lock_shards(SHARD).await.unwrap(), Some(1));
            }
            Operation::WriteLock => {
                assert_eq!(transaction.write_lock_shards(SHARD).await.unwrap(), Some(1));
            }
            Operation::Renew => {
                assert_eq!(transaction.update_shards(&shard(1), Some(1)).await.unwrap(), 1);
            }
            Operation::TakeOver => {
                assert_eq!(transaction.write_lock_shards(SHARD).await.unwrap(), Some(1));
                assert_eq!(transaction.update_shards(&shard(2), None).await.unwrap(), 1);
            }
        }
    }

    async fn conflicts(one: Operation, other: Operation) -> bool {
        let store = MemoryStore::new();
        store.session().insert_into_shards(&shard(1)).await.unwrap();
        conflict(
            &store,
            async |transaction| perform(one, transaction).await,
            async |transaction| perform(other, transaction).await,
        )
        .await
    }

    #[tokio::test]
    async fn the_owners_lock_conflicts_with_a_takeover_and_not_with_the_owners_own_writes() {
        for (other, expected) in [
            (Operation::ReadLock, false),
            (Operation::Renew, false),
            (Operation::WriteLock, true),
            (Operation::TakeOver, true),
        ] {
            assert_eq!(conflicts(Operation::ReadLock, other).await, expected, "{other:?}");
            assert_eq!(conflicts(other, Operation::ReadLock).await, expected, "{other:?} first");
        }
        for other in [Operation::WriteLock, Operation::Renew, Operation::TakeOver] {
            assert!(conflicts(Operation::TakeOver, other).await, "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_compare_and_set_with_another_range_id_causes_no_conflict() {
        let store = MemoryStore::new();
        store.session().insert_into_shards(&shard(1)).await.unwrap();
        let late = async |transaction: &mut dyn Transaction| {
            assert_eq!(transaction.update_shards(&shard(9), Some(8)).await.unwrap(), 0);
        };
        let take_over = async |transaction: &mut dyn Transaction| {
            perform(Operation::TakeOver, transaction).await;
        };
        assert!(!conflict(&store, take_over, late).await);
        let read = store.session().select_from_shards(SHARD).await.unwrap();
        assert_eq!(read, Some(shard(2)));
    }
}
