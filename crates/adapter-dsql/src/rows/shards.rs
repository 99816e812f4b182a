//! `shards`: the range id of each shard, and its data.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ShardId, ShardsRow, Table};
use temporal_dsql_ports::{Shards, StoreError};

use super::{
    decode::Columns,
    payload::Payload,
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

const FILE: SqlFile = SqlFile::new(Table::Shards, include_str!("../../sql/shards.sql"));

static INSERT: Meta = FILE.write("InsertIntoShards");
static UPDATE: Meta = FILE.write("UpdateShards");
static UPDATE_IF_EXPECTED: Meta = FILE.write("UpdateShardsIfExpected").of_operation("UpdateShards");
static SELECT: Meta = FILE.read("SelectFromShards");

/// The read of a range id with a lock, by its strength, and without one.
struct Lock {
    for_update: Meta,
    for_key_share: Meta,
    reading: Meta,
}

const fn lock(op: &'static str) -> Lock {
    Lock {
        for_update: FILE.read("LockShardsForUpdate").of_operation(op),
        for_key_share: FILE.read("LockShardsForKeyShare").of_operation(op),
        reading: FILE.read("SelectRangeIdFromShards").of_operation(op),
    }
}

static READ_LOCK: Lock = lock("ReadLockShards");
static WRITE_LOCK: Lock = lock("WriteLockShards");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 9] = [
    &INSERT,
    &UPDATE,
    &UPDATE_IF_EXPECTED,
    &SELECT,
    &READ_LOCK.for_update,
    &READ_LOCK.for_key_share,
    &READ_LOCK.reading,
    &WRITE_LOCK.for_update,
    &WRITE_LOCK.reading,
];

fn by_key(meta: &'static Meta, shard_id: ShardId) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("shard_id", shard_id.0);
    exact(meta, shard_id, &arguments)
}

/// The columns of a row, whose blob has an allowed size.
fn columns(row: &ShardsRow) -> Result<Arguments<'_>, StoreError> {
    Payload::default().blob(Table::Shards, 4, &row.data)?;
    let mut arguments = Arguments::default();
    arguments.set("shard_id", row.shard_id.0);
    arguments.set("range_id", row.range_id);
    arguments.set("data", &*row.data.data);
    arguments.set("data_encoding", row.data.encoding.as_str());
    Ok(arguments)
}

/// The statement that overwrites a shard, if its range id is the `expected` one.
fn update(row: &ShardsRow, expected: Option<i64>) -> Result<Statement, StoreError> {
    let mut arguments = columns(row)?;
    let Some(range_id) = expected else {
        return Ok(exact(&UPDATE, row.shard_id, &arguments));
    };
    arguments.set("expected_range_id", range_id);
    Ok(exact(&UPDATE_IF_EXPECTED, row.shard_id, &arguments))
}

/// The statement that locks the shard of a write, FOR KEY SHARE or else FOR UPDATE;
/// [`decode_range_id`] reads its answer.
pub(crate) fn read_lock(shard_id: ShardId, key_share: bool) -> Statement {
    let lock = if key_share { &READ_LOCK.for_key_share } else { &READ_LOCK.for_update };
    by_key(lock, shard_id)
}

fn decode(row: &PgRow) -> Result<ShardsRow, StoreError> {
    let columns = Columns::new(Table::Shards, row);
    Ok(ShardsRow {
        shard_id: ShardId(columns.get("shard_id")?),
        range_id: columns.get("range_id")?,
        data: columns.blob("data", "data_encoding")?,
    })
}

fn decode_range_id(row: &PgRow) -> Result<i64, StoreError> {
    Columns::new(Table::Shards, row).get("range_id")
}

#[async_trait]
impl<E: Executor> Shards for Rows<E> {
    async fn insert_into_shards(&mut self, row: &ShardsRow) -> Result<u64, StoreError> {
        self.affected(exact(&INSERT, row.shard_id, &columns(row)?)).await
    }

    async fn update_shards(
        &mut self,
        row: &ShardsRow,
        expected: Option<i64>,
    ) -> Result<u64, StoreError> {
        self.affected(update(row, expected)?).await
    }

    async fn select_from_shards(
        &mut self,
        shard_id: ShardId,
    ) -> Result<Option<ShardsRow>, StoreError> {
        self.optional(by_key(&SELECT, shard_id), decode).await
    }

    async fn read_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        let lock = match E::HOLDS_LOCKS {
            true => read_lock(shard_id, self.key_share),
            false => by_key(&READ_LOCK.reading, shard_id),
        };
        self.optional(lock, decode_range_id).await
    }

    async fn write_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        let lock = if E::HOLDS_LOCKS { &WRITE_LOCK.for_update } else { &WRITE_LOCK.reading };
        self.optional(by_key(lock, shard_id), decode_range_id).await
    }
}
