//! `history_tree`: branches of histories.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{BranchId, BranchKey, HistoryTreeRow, ShardId, Table, TreeId};
use temporal_dsql_ports::StoreError;
use uuid::Uuid;

use super::{decode::Columns, history_node::by_branch, payload::Payload};
use crate::statement::{Meta, Statement};

const fn meta(op: &'static str, writes: bool, sql: &'static str) -> Meta {
    Meta { op, table: Table::HistoryTree, writes, sql }
}

static INSERT: Meta = meta(
    "InsertIntoHistoryTree",
    true,
    "INSERT INTO history_tree (shard_id, tree_id, branch_id, data, data_encoding) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (shard_id, tree_id, branch_id) DO UPDATE \
     SET data = excluded.data, data_encoding = excluded.data_encoding",
);

static SELECT: Meta = meta(
    "SelectFromHistoryTree",
    false,
    "SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree \
     WHERE shard_id = $1 AND tree_id = $2 ORDER BY branch_id",
);

static DELETE: Meta = meta(
    "DeleteFromHistoryTree",
    true,
    "DELETE FROM history_tree WHERE shard_id = $1 AND tree_id = $2 AND branch_id = $3",
);

// The rest of the tree, then the rest of the shard, then the shards behind it. As one comparison
// of rows it would be a filter over the whole table (facts §3.3).
static PAGINATE: Meta = meta(
    "PaginateBranchesFromHistoryTree",
    false,
    "SELECT shard_id, tree_id, branch_id, data, data_encoding FROM (\
     (SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree \
     WHERE shard_id = $1 AND tree_id = $2 AND branch_id > $3 ORDER BY branch_id LIMIT $4) \
     UNION ALL \
     (SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree \
     WHERE shard_id = $1 AND tree_id > $2 ORDER BY tree_id, branch_id LIMIT $4) \
     UNION ALL \
     (SELECT shard_id, tree_id, branch_id, data, data_encoding FROM history_tree \
     WHERE shard_id > $1 ORDER BY shard_id, tree_id, branch_id LIMIT $4)\
     ) AS branch ORDER BY shard_id, tree_id, branch_id LIMIT $4",
);

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 4] = [&INSERT, &SELECT, &DELETE, &PAGINATE];

/// Before every branch: shards are counted from one.
const START: BranchKey = BranchKey {
    shard_id: ShardId(i32::MIN),
    tree_id: TreeId(Uuid::nil()),
    branch_id: BranchId(Uuid::nil()),
};

/// The statement that inserts a branch, or overwrites it.
pub(super) fn insert(row: &HistoryTreeRow) -> Result<Statement, StoreError> {
    Payload::default().blob(Table::HistoryTree, 4 + 16 + 16, &row.data)?;
    Ok(by_branch(&INSERT, &row.branch)
        .bind(row.data.data.clone())
        .bind(row.data.encoding.to_string()))
}

/// The statement that reads the branches of a tree; [`decode`] reads its answer.
pub(super) fn select(shard_id: ShardId, tree_id: TreeId) -> Statement {
    Statement::new(&SELECT, shard_id).bind(shard_id.0).bind(tree_id.0)
}

/// The statement that deletes a branch.
pub(super) fn delete(branch: &BranchKey) -> Statement {
    by_branch(&DELETE, branch)
}

/// The statement that reads a page of all branches; [`decode`] reads its answer.
pub(super) fn paginate(after: Option<BranchKey>, limit: u32) -> Statement {
    by_branch(&PAGINATE, &after.unwrap_or(START)).bind(i64::from(limit))
}

/// Reads a row of the answer of a read.
pub(super) fn decode(row: &PgRow) -> Result<HistoryTreeRow, StoreError> {
    let columns = Columns::new(Table::HistoryTree, row);
    Ok(HistoryTreeRow {
        branch: BranchKey {
            shard_id: ShardId(columns.get("shard_id")?),
            tree_id: TreeId(columns.get("tree_id")?),
            branch_id: BranchId(columns.get("branch_id")?),
        },
        data: columns.blob("data", "data_encoding")?,
    })
}
