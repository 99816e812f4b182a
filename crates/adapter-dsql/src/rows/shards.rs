//! `shards`: the range id of each shard, and its data.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use temporal_dsql_domain::{ShardId, ShardsRow, Table};
use temporal_dsql_ports::{Shards, StoreError};

use super::{
    decode::Columns,
    lease::{LeaseStatements, Lock, lease_statements},
    payload::Payload,
    session::{Rows, exact},
};
use crate::{
    arguments::Arguments,
    executor::Executor,
    statement::{Meta, SqlFile, Statement},
};

static STATEMENTS: LeaseStatements = lease_statements!(Shards, "Shards", "shards");

/// The statements of this module.
pub(super) fn statements() -> impl Iterator<Item = &'static Meta> {
    STATEMENTS.all().into_iter()
}

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
    if let Some(range_id) = expected {
        arguments.set("expected_range_id", range_id);
    }
    Ok(exact(STATEMENTS.update(expected.is_some()), row.shard_id, &arguments))
}

/// The statement that locks the shard of a write, FOR KEY SHARE or else FOR UPDATE.
pub(crate) fn read_lock(shard_id: ShardId, key_share: bool) -> Statement {
    by_key(STATEMENTS.read_lock(true, key_share), shard_id)
}

fn decode(row: &PgRow) -> Result<ShardsRow, StoreError> {
    let columns = Columns::new(Table::Shards, row);
    Ok(ShardsRow {
        shard_id: ShardId(columns.get("shard_id")?),
        range_id: columns.get("range_id")?,
        data: columns.blob("data", "data_encoding")?,
    })
}

#[async_trait]
impl<E: Executor> Shards for Rows<E> {
    async fn insert_into_shards(&mut self, row: &ShardsRow) -> Result<u64, StoreError> {
        self.affected(exact(&STATEMENTS.insert, row.shard_id, &columns(row)?)).await
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
        self.optional(by_key(&STATEMENTS.select, shard_id), decode).await
    }

    async fn read_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        let lock = by_key(STATEMENTS.read_lock(E::HOLDS_LOCKS, self.key_share), shard_id);
        self.optional(lock, |row| STATEMENTS.decode_range_id(row)).await
    }

    async fn write_lock_shards(&mut self, shard_id: ShardId) -> Result<Option<i64>, StoreError> {
        let lock = by_key(STATEMENTS.write_lock(E::HOLDS_LOCKS), shard_id);
        self.optional(lock, |row| STATEMENTS.decode_range_id(row)).await
    }
}
