//! `history_node`: batches of events.
//!
//! `txn_id` is stored negated, so that of several batches at one node the valid one, which has the
//! largest, comes first in the order of the key (temporal-persistence.md#history). Names with
//! `stored` refer to the negated number.
//!
//! A page continues after a position of two columns. This comparison is a filter, as DSQL executes
//! a row comparison as a filter, too (aurora-dsql.md#indexes). The bounds of the node id begin at
//! the position, so that only the batches of one node are filtered. In a reverse read, Temporal's
//! plugins bind a transaction id in the place of a node id, and lose the remaining rows of a node
//! at the end of a page.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::{
    BranchKey, HistoryNode, NodeMetadata, NodeOrder, NodePage, NodePosition, Table, stored_txn_id,
};
use temporal_dsql_ports::StoreError;

use super::{
    decode::Columns,
    payload::{Payload, column, last_of_each_key},
    session::exact,
};
use crate::{
    arguments::Arguments,
    statement::{Meta, SqlFile, Statement},
};

const FILE: SqlFile = SqlFile::new(Table::HistoryNode, include_str!("../../sql/history_node.sql"));

pub(super) static INSERT: Meta = FILE.write("InsertIntoHistoryNode");
static DELETE: Meta = FILE.write("DeleteFromHistoryNode");
static DELETE_RANGE: Meta = FILE.write("RangeDeleteFromHistoryNode");

/// A read of a page in both directions.
pub(super) struct Page {
    forward: Meta,
    reverse: Meta,
}

const fn page(forward: &'static str, reverse: &'static str) -> Page {
    const OP: &str = "RangeSelectFromHistoryNode";
    Page {
        forward: FILE.read(forward).of_operation(OP),
        reverse: FILE.read(reverse).of_operation(OP),
    }
}

pub(super) static WHOLE: Page =
    page("RangeSelectFromHistoryNode", "RangeSelectReverseFromHistoryNode");
/// Without the events.
pub(super) static METADATA: Page =
    page("RangeSelectMetadataFromHistoryNode", "RangeSelectMetadataReverseFromHistoryNode");

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

/// The key of a branch.
pub(super) fn branch_key(branch: &BranchKey) -> Arguments<'static> {
    let mut arguments = Arguments::default();
    arguments.set("shard_id", branch.shard_id.0);
    arguments.set("tree_id", branch.tree_id.0);
    arguments.set("branch_id", branch.branch_id.0);
    arguments
}

/// Adds nodes to the size of a statement.
pub(super) fn check(payload: &mut Payload, nodes: &[HistoryNode]) -> Result<(), StoreError> {
    let key = 4 + 16 + 16 + 8 + 8;
    nodes.iter().try_for_each(|node| payload.blob(Table::HistoryNode, key, &node.data))
}

/// Sets the columns of `nodes`, of any branches of one shard. Of several nodes with one key, the
/// last one counts.
///
/// # Errors
/// The table cannot hold the transaction of a node.
pub(super) fn set_nodes<'a>(
    arguments: &mut Arguments<'a>,
    nodes: impl IntoIterator<Item = (&'a BranchKey, &'a HistoryNode)>,
) -> Result<(), StoreError> {
    let nodes = last_of_each_key(nodes, |(branch, node)| (*branch, node.node_id, node.txn_id));
    let txn_ids: Vec<i64> =
        nodes.iter().map(|(_, node)| stored_txn_id(node.txn_id)).collect::<Result<_, _>>()?;
    let table = Table::HistoryNode;
    arguments.set_column(table, "tree_id", column(&nodes, |(branch, _)| branch.tree_id.0));
    arguments.set_column(table, "branch_id", column(&nodes, |(branch, _)| branch.branch_id.0));
    arguments.set_column(table, "node_id", column(&nodes, |(_, node)| node.node_id));
    arguments.set_column(table, "txn_id", txn_ids);
    arguments.set_column(table, "prev_txn_id", column(&nodes, |(_, node)| node.prev_txn_id));
    let blobs = nodes.iter().map(|(_, node)| &node.data);
    arguments.set_blobs(table, ["data", "data_encoding"], blobs);
    Ok(())
}

/// The statement that inserts nodes, or overwrites existing ones.
pub(super) fn insert(branch: &BranchKey, nodes: &[HistoryNode]) -> Result<Statement, StoreError> {
    check(&mut Payload::default(), nodes)?;
    let mut arguments = Arguments::default();
    arguments.set("shard_id", branch.shard_id.0);
    set_nodes(&mut arguments, nodes.iter().map(|node| (branch, node)))?;
    Ok(exact(&INSERT, branch.shard_id, &arguments))
}

/// The statement that deletes one node.
pub(super) fn delete(branch: &BranchKey, position: NodePosition) -> Result<Statement, StoreError> {
    let mut arguments = branch_key(branch);
    arguments.set("node_id", position.node_id);
    arguments.set("txn_id", stored_txn_id(position.txn_id)?);
    Ok(exact(&DELETE, branch.shard_id, &arguments))
}

/// The statement that deletes the first nodes from `min_node_id` on.
pub(super) fn delete_range(branch: &BranchKey, min_node_id: i64, limit: u32) -> Statement {
    let mut arguments = branch_key(branch);
    arguments.set("min_node_id", min_node_id);
    arguments.set("limit", i64::from(limit));
    exact(&DELETE_RANGE, branch.shard_id, &arguments)
}

/// The statement that reads a page; [`decode`] or [`decode_metadata`] reads its answer.
pub(super) fn select_page(
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
            // Before every node: no transaction id is stored as the smallest number.
            (&columns.forward, after.unwrap_or((i64::MIN, i64::MIN)))
        }
        NodeOrder::Reverse => {
            max = after.map_or(max, |(node_id, _)| max.min(node_id.saturating_add(1)));
            // After every node: the range ends before the largest number.
            (&columns.reverse, after.unwrap_or((i64::MAX, i64::MAX)))
        }
    };
    let mut arguments = branch_key(branch);
    arguments.set("min_node_id", min);
    arguments.set("end_node_id", max);
    arguments.set("after_node_id", after.0);
    arguments.set("after_txn_id", after.1);
    arguments.set("limit", i64::from(page.limit));
    Ok(exact(meta, branch.shard_id, &arguments))
}

/// Reads a row of the answer of [`METADATA`] or [`WHOLE`].
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

/// Reads a row of the answer of [`WHOLE`].
pub(super) fn decode(row: &PgRow) -> Result<HistoryNode, StoreError> {
    let NodeMetadata { node_id, txn_id, prev_txn_id } = decode_metadata(row)?;
    let data = Columns::new(Table::HistoryNode, row).blob("data", "data_encoding")?;
    Ok(HistoryNode { node_id, txn_id, prev_txn_id, data })
}
