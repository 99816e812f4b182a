//! `history_tree`: branches of histories.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{BranchId, BranchKey, HistoryTreeRow, ShardId, Table, TreeId};
use temporal_dsql_ports::StoreError;
use uuid::Uuid;

use super::{
    decode::Columns,
    history_node::branch_key,
    payload::{Payload, column, last_of_each_key},
    session::exact,
};
use crate::{
    arguments::Arguments,
    statement::{Meta, SqlFile, Statement},
};

const FILE: SqlFile = SqlFile::new(Table::HistoryTree, include_str!("../../sql/history_tree.sql"));

pub(super) static INSERT: Meta = FILE.write("InsertIntoHistoryTree");
static SELECT: Meta = FILE.read("SelectFromHistoryTree");
static DELETE: Meta = FILE.write("DeleteFromHistoryTree");
static PAGINATE: Meta = FILE.read("PaginateBranchesFromHistoryTree");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 4] = [&INSERT, &SELECT, &DELETE, &PAGINATE];

/// Before every branch: shard ids begin at 1.
const START: BranchKey = BranchKey {
    shard_id: ShardId(i32::MIN),
    tree_id: TreeId(Uuid::nil()),
    branch_id: BranchId(Uuid::nil()),
};

/// Adds a branch to the size of a statement.
pub(super) fn check(payload: &mut Payload, row: &HistoryTreeRow) -> Result<(), StoreError> {
    payload.blob(Table::HistoryTree, 4 + 16 + 16, &row.data)
}

/// Sets the columns of `rows`, branches of one shard. Of several rows with one key, the last one
/// counts.
pub(super) fn set_rows<'a>(
    arguments: &mut Arguments<'a>,
    rows: impl IntoIterator<Item = &'a HistoryTreeRow>,
) {
    let rows = last_of_each_key(rows, |row| row.branch);
    let table = Table::HistoryTree;
    arguments.set_column(table, "tree_id", column(&rows, |row| row.branch.tree_id.0));
    arguments.set_column(table, "branch_id", column(&rows, |row| row.branch.branch_id.0));
    arguments.set_blobs(table, ["data", "data_encoding"], rows.iter().map(|row| &row.data));
}

/// The statement that inserts a branch, or overwrites it.
pub(super) fn insert(row: &HistoryTreeRow) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), row)?;
    let mut arguments = Arguments::default();
    arguments.set("shard_id", row.branch.shard_id.0);
    set_rows(&mut arguments, [row]);
    Ok(exact(&INSERT, row.branch.shard_id, &arguments))
}

/// The statement that reads the branches of a tree; [`decode`] reads its answer.
pub(super) fn select(shard_id: ShardId, tree_id: TreeId) -> Statement {
    let mut arguments = Arguments::default();
    arguments.set("shard_id", shard_id.0);
    arguments.set("tree_id", tree_id.0);
    exact(&SELECT, shard_id, &arguments)
}

/// The statement that deletes a branch.
pub(super) fn delete(branch: &BranchKey) -> Statement {
    exact(&DELETE, branch.shard_id, &branch_key(branch))
}

/// The statement that reads a page of all branches; [`decode`] reads its answer.
pub(super) fn paginate(after: Option<BranchKey>, limit: u32) -> Statement {
    let after = after.unwrap_or(START);
    let mut arguments = branch_key(&after);
    arguments.set("limit", i64::from(limit));
    exact(&PAGINATE, after.shard_id, &arguments)
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
