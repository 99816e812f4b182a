//! DSQL's limits on transactions, rows, values and keys (aurora-dsql.md#limits,
//! aurora-dsql.md#sizes), and the check of a row against them.
//!
//! The adapters check a row before they send it. So every adapter refuses an oversized value in the
//! same way, without a round trip, and names its column.

use temporal_dsql_domain::{CurrentExecutionsRow, ExecutionsRow, InvalidValue, MapEntries, Table};

/// Rows that one transaction may modify: 3,000 pass, the next is refused at the statement.
pub const MAX_TRANSACTION_ROWS: u64 = 3_000;
/// Bytes that one transaction may write, checked at COMMIT.
pub const MAX_TRANSACTION_BYTES: usize = 10 * 1024 * 1024;
/// Seconds that a transaction may last, checked at COMMIT.
pub const MAX_TRANSACTION_SECONDS: u64 = 300;
/// Bytes of one value.
pub const MAX_VALUE_BYTES: usize = 1_048_576;
/// Bytes of one row.
pub const MAX_ROW_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of one key, as observed; the documentation says 1 KiB. A key between the two is sent, and
/// the database decides.
pub const MAX_KEY_BYTES: usize = 1_981;

/// Characters of a path in `chasm_node_maps` in this release's schema
/// (temporal-persistence.md#chasm-nodes). The column of a database may be wider.
pub const MAX_CHASM_PATH_CHARS: usize = 255;

/// Checks the paths of CHASM nodes against `most`, the length of their column in characters.
///
/// # Errors
/// A path is longer. The error has the length of the longest one.
pub fn check_chasm_paths<'e>(
    entries: impl IntoIterator<Item = &'e MapEntries>,
    most: usize,
) -> Result<(), InvalidValue> {
    let nodes = entries.into_iter().flat_map(|entries| match entries {
        MapEntries::ChasmNodes(nodes) => &nodes[..],
        _ => &[],
    });
    let longest = nodes.map(|node| node.path.chars().count()).max().unwrap_or_default();
    InvalidValue::unless(longest <= most, "chasm_path", || {
        format!("is {longest} characters long, more than its column holds")
    })
}

/// The limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// [`MAX_TRANSACTION_ROWS`].
    TransactionRows,
    /// [`MAX_TRANSACTION_BYTES`].
    TransactionBytes,
    /// [`MAX_TRANSACTION_SECONDS`].
    TransactionAge,
    /// [`MAX_VALUE_BYTES`].
    ValueBytes,
    /// [`MAX_ROW_BYTES`].
    RowBytes,
    /// [`MAX_KEY_BYTES`], or 1 KiB: aurora-dsql.md#sizes has both.
    KeyBytes,
    /// Another limit, of the server or of a store; the source says which.
    Other,
}

impl std::fmt::Display for LimitKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TransactionRows => "a transaction modifies at most 3,000 rows",
            Self::TransactionBytes => "a transaction writes less than 10 MiB",
            Self::TransactionAge => "a transaction lasts at most 300 s",
            Self::ValueBytes => "a value has at most 1,048,576 bytes",
            Self::RowBytes => "a row has at most 2 MiB",
            Self::KeyBytes => "a key has at most about 1 KiB",
            Self::Other => "another limit",
        })
    }
}

/// A row that exceeds one of DSQL's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table}.{column} has {bytes} bytes: {kind}")]
pub struct OversizedRow {
    /// The limit.
    pub kind: LimitKind,
    /// The table of the row.
    pub table: Table,
    /// The column of the value; `key` for the primary key and `row` for the whole row.
    pub column: &'static str,
    /// The size.
    pub bytes: usize,
}

/// An estimate of the fixed-width columns of a row, which are small compared with the row limit.
const FIXED_BYTES: usize = 128;

/// Sizes of one row, as DSQL counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSize {
    /// Bytes of the primary key.
    pub key: usize,
    /// Bytes of the whole row, key included.
    pub row: usize,
}

/// The sizes of a row of `executions`.
pub fn executions_row_size(row: &ExecutionsRow) -> RowSize {
    let key = 4 + 16 + row.workflow_id.len() + 16;
    RowSize { key, row: key + row.data.data.len() + row.state.data.len() + FIXED_BYTES }
}

/// Checks a row of `executions` against DSQL's limits.
///
/// # Errors
/// The first limit that the row exceeds.
pub fn check_executions_row(row: &ExecutionsRow) -> Result<(), OversizedRow> {
    let values = [("data", row.data.data.len()), ("state", row.state.data.len())];
    check_row(Table::Executions, executions_row_size(row).key, &values)
}

/// The sizes of a current execution in `current_chasm_executions`, whose key is longer than the
/// one of `current_executions`.
pub fn current_executions_row_size(row: &CurrentExecutionsRow) -> RowSize {
    let key = 4 + 16 + row.workflow_id.len() + 8;
    let data = row.data.as_ref().map_or(0, Vec::len);
    RowSize { key, row: key + row.create_request_id.len() + data + FIXED_BYTES }
}

/// Checks a current execution that is stored in `table` against DSQL's limits.
///
/// # Errors
/// The first limit that the row exceeds.
pub fn check_current_executions_row(
    row: &CurrentExecutionsRow,
    table: Table,
) -> Result<(), OversizedRow> {
    let data = row.data.as_ref().map_or(0, Vec::len);
    let values = [("create_request_id", row.create_request_id.len()), ("data", data)];
    check_row(table, current_executions_row_size(row).key, &values)
}

/// Checks one row of any table: its key and its values, by the names of their columns.
///
/// # Errors
/// The first limit that the row exceeds.
pub fn check_row(
    table: Table,
    key_bytes: usize,
    values: &[(&'static str, usize)],
) -> Result<(), OversizedRow> {
    let row_bytes = key_bytes + values.iter().map(|(_, bytes)| bytes).sum::<usize>() + FIXED_BYTES;
    let values = values
        .iter()
        .map(|(column, bytes)| (LimitKind::ValueBytes, *column, *bytes, MAX_VALUE_BYTES));
    let whole = [
        (LimitKind::KeyBytes, "key", key_bytes, MAX_KEY_BYTES),
        (LimitKind::RowBytes, "row", row_bytes, MAX_ROW_BYTES),
    ];
    match values.chain(whole).find(|(_, _, bytes, most)| bytes > most) {
        None => Ok(()),
        Some((kind, column, bytes, _)) => Err(OversizedRow { kind, table, column, bytes }),
    }
}

/// Checks the port of a process of the service against its column, which is a `SMALLINT`, as it is
/// upstream. No value of the column stands for a larger port: a Go server cannot read a negative one.
///
/// # Errors
/// The port is larger than 32,767.
pub fn check_rpc_port(port: u16) -> Result<i16, InvalidValue> {
    i16::try_from(port).map_err(|_| {
        let most = i16::MAX;
        InvalidValue::new("rpc_port", format!("is {port}; its column holds at most {most}"))
    })
}

#[cfg(test)]
mod tests {
    use temporal_dsql_domain::WorkflowId;

    use super::*;
    use crate::testing::{blob, executions_row};

    fn row(workflow_id: &str, data: usize, state: usize) -> ExecutionsRow {
        let workflow_id = WorkflowId::new(workflow_id).unwrap();
        ExecutionsRow { workflow_id, data: blob(data), state: blob(state), ..executions_row() }
    }

    #[test]
    fn a_value_of_one_mebibyte_passes_and_one_byte_more_is_refused() {
        assert_eq!(check_executions_row(&row("w", MAX_VALUE_BYTES, 0)), Ok(()));
        let error = check_executions_row(&row("w", 0, MAX_VALUE_BYTES + 1)).unwrap_err();
        assert_eq!(error.kind, LimitKind::ValueBytes);
        assert_eq!(
            error.to_string(),
            "executions.state has 1048577 bytes: a value has at most 1,048,576 bytes"
        );
    }

    #[test]
    fn two_values_that_fit_alone_may_be_too_large_for_one_row() {
        let error = check_executions_row(&row("w", MAX_VALUE_BYTES, MAX_VALUE_BYTES)).unwrap_err();
        assert_eq!((error.kind, error.column), (LimitKind::RowBytes, "row"));
    }

    #[test]
    fn a_port_that_its_column_does_not_hold_is_refused_by_name() {
        assert_eq!(check_rpc_port(0), Ok(0));
        assert_eq!(check_rpc_port(32_767), Ok(32_767));
        for port in [32_768, u16::MAX] {
            let error = check_rpc_port(port).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("rpc_port: is {port}; its column holds at most 32767")
            );
        }
    }

    #[test]
    fn the_longest_id_of_four_byte_characters_still_fits_a_key() {
        assert_eq!(check_executions_row(&row(&"🦀".repeat(255), 0, 0)), Ok(()));
    }
}
