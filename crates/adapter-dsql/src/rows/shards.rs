//! `shards`: who owns the executions in a shard.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ShardId, ShardsRow, Table};
use temporal_dsql_ports::{Shards, StoreError};

use super::{Rows, decode::Columns, payload::Payload};
use crate::{
    fence::ShardGuard,
    link::Link,
    statement::{Meta, Statement},
};

const fn meta(op: &'static str, writes: bool, sql: &'static str) -> Meta {
    Meta { op, table: Table::Shards, writes, sql }
}

static INSERT: Meta = meta(
    "InsertIntoShards",
    true,
    "INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES ($1, $2, $3, $4)",
);

static UPDATE: Meta = meta(
    "UpdateShards",
    true,
    "UPDATE shards SET range_id = $2, data = $3, data_encoding = $4 WHERE shard_id = $1",
);

static UPDATE_EXPECTED: Meta = meta(
    "UpdateShards",
    true,
    "UPDATE shards SET range_id = $2, data = $3, data_encoding = $4 \
     WHERE shard_id = $1 AND range_id = $5",
);

static SELECT: Meta = meta(
    "SelectFromShards",
    false,
    "SELECT shard_id, range_id, data, data_encoding FROM shards WHERE shard_id = $1",
);

/// A lock by its strength, and the same read without one.
struct Lock {
    for_update: Meta,
    for_key_share: Meta,
    reading: Meta,
}

macro_rules! lock {
    ($op:literal) => {
        Lock {
            for_update: meta(
                $op,
                false,
                "SELECT range_id FROM shards WHERE shard_id = $1 FOR UPDATE",
            ),
            for_key_share: meta(
                $op,
                false,
                "SELECT range_id FROM shards WHERE shard_id = $1 FOR KEY SHARE",
            ),
            reading: meta($op, false, "SELECT range_id FROM shards WHERE shard_id = $1"),
        }
    };
}

static READ_LOCK: Lock = lock!("ReadLockShards");
static WRITE_LOCK: Lock = lock!("WriteLockShards");

// Of the table that the session's statements find under the name. `indnkeyatts` leaves out the
// columns that an index only includes.
static FIND_FENCE_INDEX: Meta = meta(
    "FindFenceIndex",
    false,
    "SELECT count(*) AS found FROM pg_catalog.pg_index AS i \
     JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid \
     JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace \
     WHERE n.nspname = current_schema() AND t.relname = 'shards' AND i.indisunique \
     AND i.indisvalid AND i.indisready AND i.indimmediate AND i.indpred IS NULL \
     AND i.indexprs IS NULL AND i.indnkeyatts = 2 \
     AND pg_catalog.pg_get_indexdef(i.indexrelid, 1, true) = 'shard_id' \
     AND pg_catalog.pg_get_indexdef(i.indexrelid, 2, true) = 'range_id'",
);

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 10] = [
    &INSERT,
    &UPDATE,
    &UPDATE_EXPECTED,
    &SELECT,
    &READ_LOCK.for_update,
    &READ_LOCK.for_key_share,
    &READ_LOCK.reading,
    &WRITE_LOCK.for_update,
    &WRITE_LOCK.reading,
    &FIND_FENCE_INDEX,
];

fn by_key(meta: &'static Meta, shard_id: ShardId) -> Statement {
    Statement::new(meta, shard_id).bind(shard_id.0)
}

fn whole_row(meta: &'static Meta, row: &ShardsRow) -> Result<Statement, StoreError> {
    Payload::default().blob(Table::Shards, 4, &row.data)?;
    Ok(by_key(meta, row.shard_id)
        .bind(row.range_id)
        .bind(row.data.data.clone())
        .bind(row.data.encoding.to_string()))
}

/// The statement that overwrites a shard.
fn update(row: &ShardsRow, expected: Option<i64>) -> Result<Statement, StoreError> {
    match expected {
        None => whole_row(&UPDATE, row),
        Some(range_id) => Ok(whole_row(&UPDATE_EXPECTED, row)?.bind(range_id)),
    }
}

/// The statement that takes the guard of a shard; [`decode_range_id`] reads its answer.
pub(crate) fn guard(shard_id: ShardId, guard: ShardGuard) -> Statement {
    match guard {
        ShardGuard::ForUpdate => {
            by_key(&READ_LOCK.for_update, shard_id).locks(Table::Shards, shard_id)
        }
        ShardGuard::ForKeyShare => by_key(&READ_LOCK.for_key_share, shard_id),
    }
}

/// The statement that looks for the index that makes `FOR KEY SHARE` a fence ([`crate::fence`]);
/// [`decode_found`] reads its answer.
pub(crate) fn find_fence_index() -> Statement {
    Statement::new(&FIND_FENCE_INDEX, ShardId(0))
}

/// Whether the index is there.
pub(crate) fn decode_found(rows: &[PgRow]) -> Result<bool, StoreError> {
    let found = rows.first().map(|row| Columns::new(Table::Shards, row).get::<i64>("found"));
    Ok(found.transpose()?.is_some_and(|found| found > 0))
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
impl<L: Link> Shards for Rows<L> {
    async fn insert_into_shards(&mut self, row: &ShardsRow) -> Result<u64, StoreError> {
        self.affected(whole_row(&INSERT, row)?).await
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
        let lock = match L::HOLDS_LOCKS {
            true => guard(shard_id, self.forms.shard_guard),
            false => by_key(&READ_LOCK.reading, shard_id),
        };
        self.optional(lock, decode_range_id).await
    }

    async fn write_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        let lock = if L::HOLDS_LOCKS { &WRITE_LOCK.for_update } else { &WRITE_LOCK.reading };
        self.optional(by_key(lock, shard_id).locks(Table::Shards, shard_id), decode_range_id).await
    }
}
