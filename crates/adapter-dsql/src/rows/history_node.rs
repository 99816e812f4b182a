//! `history_node`: batches of events.
//!
//! `txn_id` is stored negated, so that of several batches at one node the valid one, which has the
//! largest, comes first in the order of the key (contract §1.6). Everything here that is called
//! `stored` is a negated one.
//!
//! A page continues after a position of two columns, which takes a filter: DSQL turns a comparison
//! of rows into one in any case (facts §3.3). The bounds of the node id begin at the position, so
//! that only the batches of one node are filtered. Temporal's own plugins bind a transaction where
//! a node belongs when they read in reverse, and lose the rest of a node at a page's end.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    BranchKey, HistoryNode, NodeMetadata, NodeOrder, NodePage, NodePosition, Table, stored_txn_id,
};
use temporal_dsql_ports::StoreError;

use super::{
    decode::Columns,
    payload::{Payload, column},
};
use crate::statement::{Meta, Statement};

const fn meta(op: &'static str, writes: bool, sql: &'static str) -> Meta {
    Meta { op, table: Table::HistoryNode, writes, sql }
}

/// The nodes of the branch that `$1` to `$3` name.
macro_rules! of_branch {
    () => {
        "shard_id = $1 AND tree_id = $2 AND branch_id = $3"
    };
}

static INSERT: Meta = meta(
    "InsertIntoHistoryNode",
    true,
    "INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, prev_txn_id, data, \
     data_encoding) SELECT $1, $2, $3, node.node_id, node.txn_id, node.prev_txn_id, node.data, \
     node.data_encoding FROM UNNEST($4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], \
     $8::text[]) AS node (node_id, txn_id, prev_txn_id, data, data_encoding) \
     ON CONFLICT (shard_id, tree_id, branch_id, node_id, txn_id) DO UPDATE \
     SET prev_txn_id = excluded.prev_txn_id, data = excluded.data, \
     data_encoding = excluded.data_encoding",
);

static DELETE: Meta = meta(
    "DeleteFromHistoryNode",
    true,
    concat!("DELETE FROM history_node WHERE ", of_branch!(), " AND node_id = $4 AND txn_id = $5"),
);

#[rustfmt::skip]
static DELETE_RANGE: Meta = meta(
    "RangeDeleteFromHistoryNode",
    true,
    concat!(
        "DELETE FROM history_node WHERE ", of_branch!(), " AND node_id >= $4 AND ",
        among_first!(
            "$5" of "history_node" by "node_id", "txn_id"
            where concat!(of_branch!(), " AND node_id >= $4")
        )
    ),
);

/// A read of a page in both directions.
struct Page {
    forward: Meta,
    reverse: Meta,
}

#[rustfmt::skip]
macro_rules! page {
    ($columns:literal) => {
        Page {
            forward: meta(
                "RangeSelectFromHistoryNode",
                false,
                concat!(
                    "SELECT ", $columns, " FROM history_node WHERE ", of_branch!(), " \
                     AND node_id >= $4 AND node_id < $5 \
                     AND (node_id > $6 OR (node_id = $6 AND txn_id > $7)) \
                     ORDER BY node_id, txn_id LIMIT $8"
                ),
            ),
            reverse: meta(
                "RangeSelectFromHistoryNode",
                false,
                concat!(
                    "SELECT ", $columns, " FROM history_node WHERE ", of_branch!(), " \
                     AND node_id >= $4 AND node_id < $5 \
                     AND (node_id < $6 OR (node_id = $6 AND txn_id < $7)) \
                     ORDER BY node_id DESC, txn_id DESC LIMIT $8"
                ),
            ),
        }
    };
}

static WHOLE: Page = page!("node_id, txn_id, prev_txn_id, data, data_encoding");
static METADATA: Page = page!("node_id, txn_id, prev_txn_id");

/// The statements of this module.
pub(super) const STATEMENTS: [&Meta; 7] = [
    &INSERT,
    &DELETE,
    &DELETE_RANGE,
    &WHOLE.forward,
    &WHOLE.reverse,
    &METADATA.forward,
    &METADATA.reverse,
];

/// A statement whose first arguments, `$1` to `$3`, are the key of a branch.
pub(super) fn by_branch(meta: &'static Meta, branch: &BranchKey) -> Statement {
    Statement::new(meta, branch.shard_id)
        .bind(branch.shard_id.0)
        .bind(branch.tree_id.0)
        .bind(branch.branch_id.0)
}

/// The statement that inserts nodes, or overwrites those that are there.
pub(super) fn insert(branch: &BranchKey, nodes: &[HistoryNode]) -> Result<Statement, StoreError> {
    let mut payload = Payload::default();
    for node in nodes {
        payload.blob(Table::HistoryNode, 4 + 16 + 16 + 8 + 8, &node.data)?;
    }
    let nodes = last_of_each_key(nodes);
    let txn_ids: Vec<i64> =
        nodes.iter().map(|node| stored_txn_id(node.txn_id)).collect::<Result<_, _>>()?;
    Ok(by_branch(&INSERT, branch)
        .bind(column(&nodes, |node| node.node_id))
        .bind(txn_ids)
        .bind(column(&nodes, |node| node.prev_txn_id))
        .bind(column(&nodes, |node| node.data.data.clone()))
        .bind(column(&nodes, |node| node.data.encoding.to_string())))
}

/// A statement may not write a row twice; of several nodes with one key the last one counts.
fn last_of_each_key(nodes: &[HistoryNode]) -> Vec<&HistoryNode> {
    let by_key: std::collections::BTreeMap<_, _> =
        nodes.iter().map(|node| ((node.node_id, node.txn_id), node)).collect();
    by_key.into_values().collect()
}

/// The statement that deletes one node.
pub(super) fn delete(branch: &BranchKey, position: NodePosition) -> Result<Statement, StoreError> {
    Ok(by_branch(&DELETE, branch).bind(position.node_id).bind(stored_txn_id(position.txn_id)?))
}

/// The statement that deletes the first nodes from `min_node_id` on.
pub(super) fn delete_range(branch: &BranchKey, min_node_id: i64, limit: u32) -> Statement {
    by_branch(&DELETE_RANGE, branch).bind(min_node_id).bind(i64::from(limit))
}

fn select_page(
    columns: &'static Page,
    branch: &BranchKey,
    page: &NodePage,
) -> Result<Statement, StoreError> {
    let (mut min, mut max) = (page.min_node_id, page.max_node_id);
    let after = page.after.map(|at| Ok::<_, StoreError>((at.node_id, stored_txn_id(at.txn_id)?)));
    let after = after.transpose()?;
    let (meta, after) = match page.order {
        NodeOrder::Forward => {
            min = after.map_or(min, |(node_id, _)| min.max(node_id));
            // Before every node: no transaction is stored as the least number.
            (&columns.forward, after.unwrap_or((i64::MIN, i64::MIN)))
        }
        NodeOrder::Reverse => {
            max = after.map_or(max, |(node_id, _)| max.min(node_id.saturating_add(1)));
            // Behind every node: the range ends before the largest number.
            (&columns.reverse, after.unwrap_or((i64::MAX, i64::MAX)))
        }
    };
    Ok(by_branch(meta, branch)
        .bind(min)
        .bind(max)
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(page.limit)))
}

/// The statement that reads a page; [`decode`] reads its answer.
pub(super) fn select(branch: &BranchKey, page: &NodePage) -> Result<Statement, StoreError> {
    select_page(&WHOLE, branch, page)
}

/// The statement that reads a page without the events; [`decode_metadata`] reads its answer.
pub(super) fn select_metadata(
    branch: &BranchKey,
    page: &NodePage,
) -> Result<Statement, StoreError> {
    select_page(&METADATA, branch, page)
}

/// Reads a row of the answer of [`select_metadata`] or [`select`].
pub(super) fn decode_metadata(row: &PgRow) -> Result<NodeMetadata, StoreError> {
    let columns = Columns::new(Table::HistoryNode, row);
    let stored: i64 = columns.get("txn_id")?;
    Ok(NodeMetadata {
        node_id: columns.get("node_id")?,
        txn_id: stored.checked_neg().ok_or_else(|| {
            columns.corrupt("txn_id", format!("{stored} is not a negated number"))
        })?,
        prev_txn_id: columns.get("prev_txn_id")?,
    })
}

/// Reads a row of the answer of [`select`].
pub(super) fn decode(row: &PgRow) -> Result<HistoryNode, StoreError> {
    let NodeMetadata { node_id, txn_id, prev_txn_id } = decode_metadata(row)?;
    let data = Columns::new(Table::HistoryNode, row).blob("data", "data_encoding")?;
    Ok(HistoryNode { node_id, txn_id, prev_txn_id, data })
}
