//! Keys and rows of all tables, as the engine stores them.
//!
//! All tables share one ordered map. A [`Key`] consists of the table and the key columns in their
//! order, so a range of the rows of a table is a range of the map. A unique index is a separate key
//! space, whose entries have no columns to read.

use std::{any::Any, fmt, ops::Range, sync::Arc};

use temporal_dsql_domain::Table;
use temporal_dsql_ports::{
    Cause, StoreError,
    limits::{self, LimitKind, MAX_TRANSACTION_BYTES, OversizedRow},
};
use uuid::Uuid;

/// A table or a unique index, and the values of its key columns. Ordered by table, then by column in
/// DSQL's C collation. A key sorts before the keys that it is a prefix of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    space: Space,
    columns: Arc<[Column]>,
}

/// The key space of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Space {
    Rows(Table),
    Entries(UniqueIndex),
}

/// A unique index beside the primary key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UniqueIndex {
    pub(crate) table: Table,
    pub(crate) name: &'static str,
}

/// The value of a key column, by its type in the schema.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    /// `INTEGER`.
    Integer(i32),
    /// `BIGINT`.
    BigInt(i64),
    /// `UUID`.
    Uuid(Uuid),
    /// `VARCHAR`.
    Text(Box<str>),
    /// The end of a range: greater than every value.
    End,
}

impl Key {
    pub(crate) fn new(table: Table, columns: impl IntoIterator<Item = Column>) -> Self {
        Self { space: Space::Rows(table), columns: columns.into_iter().collect() }
    }

    /// The key of an entry of a unique index.
    pub(crate) fn of_entry(index: UniqueIndex, columns: impl IntoIterator<Item = Column>) -> Self {
        Self { space: Space::Entries(index), columns: columns.into_iter().collect() }
    }

    pub(crate) const fn table(&self) -> Table {
        match self.space {
            Space::Rows(table) | Space::Entries(UniqueIndex { table, .. }) => table,
        }
    }

    /// This key with additional columns.
    pub(crate) fn with(&self, columns: impl IntoIterator<Item = Column>) -> Self {
        let columns = self.columns.iter().cloned().chain(columns).collect();
        Self { space: self.space, columns }
    }

    /// The exclusive upper bound of this key and the keys that it is a prefix of.
    pub(crate) fn end(&self) -> Self {
        self.with([Column::End])
    }

    /// The range of this key and the keys that it is a prefix of.
    pub(crate) fn all(&self) -> Range<Self> {
        self.clone()..self.end()
    }

    /// The size of the key columns.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }
}

impl Column {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Integer(_) => 4,
            Self::BigInt(_) => 8,
            Self::Uuid(_) => 16,
            Self::Text(text) => text.len(),
            Self::End => 0,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.space {
            Space::Rows(table) => table.name(),
            Space::Entries(index) => index.name,
        };
        let mut tuple = f.debug_tuple(name);
        for column in &*self.columns {
            tuple.field(column);
        }
        tuple.finish()
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::BigInt(number) => number.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::End => f.write_str("END"),
        }
    }
}

/// A row of any type.
#[derive(Clone)]
pub(crate) struct Row(Arc<dyn Any + Send + Sync>);

impl Row {
    pub(crate) fn new(row: impl Any + Send + Sync) -> Self {
        Self(Arc::new(row))
    }

    /// The row as the row type of its table.
    pub(crate) fn get<R: Any>(&self) -> &R {
        self.0.downcast_ref().expect("a table has rows of one type")
    }
}

/// The bytes of a row beyond its key and its values: those of fixed size, and what DSQL adds
/// (aurora-dsql.md#limits: about 150 bytes for each of 500 rows).
const ROW_OVERHEAD: usize = 128;

/// A row to write, checked against DSQL's size limits. Clones share it.
#[derive(Clone)]
pub(crate) struct NewRow {
    pub(crate) key: Key,
    pub(crate) row: Row,
    /// The bytes that it adds to a transaction, key included.
    pub(crate) bytes: usize,
}

impl NewRow {
    /// Checks a row with values of variable size in these columns. An oversized row is refused before
    /// its statement, so the transaction continues.
    pub(crate) fn new<R: Any + Clone + Send + Sync>(
        key: Key,
        row: &R,
        values: &[(&'static str, usize)],
    ) -> Result<Self, OversizedRow> {
        limits::check_row(key.table(), key.bytes(), values)?;
        let values: usize = values.iter().map(|(_, bytes)| bytes).sum();
        let bytes = key.bytes() + values + ROW_OVERHEAD;
        Ok(Self { key, row: Row::new(row.clone()), bytes })
    }
}

/// Checks the size of the rows of one statement. DSQL does not answer a message of more than 10 MiB
/// (aurora-dsql.md#limits), so its adapter refuses it before the statement, and the transaction
/// continues.
pub(crate) fn check_statement<'a>(
    rows: impl IntoIterator<Item = &'a NewRow>,
) -> Result<(), StoreError> {
    let bytes: usize = rows.into_iter().map(|row| row.bytes).sum();
    if bytes < MAX_TRANSACTION_BYTES {
        return Ok(());
    }
    Err(StoreError::Limit {
        kind: LimitKind::TransactionBytes,
        source: Some(Cause::new(format!("the rows of one statement have {bytes} bytes"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(columns: impl IntoIterator<Item = Column>) -> Key {
        Key::new(Table::Executions, columns)
    }

    #[test]
    fn keys_are_ordered_by_table_and_then_column_by_column() {
        let ordered = [
            key([Column::Integer(-1), Column::text("b")]),
            key([Column::Integer(2), Column::text("")]),
            key([Column::Integer(2), Column::text("Z")]),
            key([Column::Integer(2), Column::text("a")]),
            key([Column::Integer(2), Column::text("a\u{1}")]),
            key([Column::Integer(2), Column::text("é")]),
            key([Column::Integer(10), Column::text("")]),
            Key::new(Table::CurrentExecutions, [Column::Integer(-5)]),
        ];
        assert!(ordered.is_sorted_by(|a, b| a < b), "{ordered:?}");
    }

    #[test]
    fn uuids_are_ordered_as_their_text_is() {
        let small = Uuid::from_u128(0x0fff_ffff << 96);
        let large = Uuid::from_u128(0xf000_0000 << 96);
        assert!(small.to_string() < large.to_string());
        assert!(Column::Uuid(Uuid::nil()) < Column::Uuid(small));
        assert!(Column::Uuid(small) < Column::Uuid(large));
    }

    #[test]
    fn a_key_sorts_before_the_keys_that_it_is_a_prefix_of() {
        let prefix = key([Column::Integer(1), Column::text("a")]);
        let member = key([Column::Integer(1), Column::text("a"), Column::BigInt(i64::MIN)]);
        let before = key([Column::Integer(1), Column::text("")]);
        let after = key([Column::Integer(1), Column::text("a\u{1}")]);
        assert!(before < prefix && prefix < member && member < after);
    }

    #[test]
    fn the_end_of_a_key_sorts_after_the_keys_that_it_is_a_prefix_of() {
        let prefix = key([Column::Integer(1)]);
        let last = key([Column::Integer(1), Column::text("\u{10ffff}"), Column::BigInt(i64::MAX)]);
        let next = key([Column::Integer(2)]);
        assert!(last < prefix.end() && prefix.end() < next);
    }

    #[test]
    fn index_entries_are_in_another_key_space_than_rows() {
        let index = UniqueIndex { table: Table::BufferedEvents, name: "by_id" };
        let entry = Key::of_entry(index, [Column::BigInt(7)]);
        assert!(Key::new(Table::BufferedEvents, []).end() < entry);
        assert_eq!(entry.table(), Table::BufferedEvents);
        assert_eq!(format!("{entry:?}"), "by_id(7)");
    }

    #[test]
    fn debug_shows_the_table_and_the_columns_of_a_key() {
        let key = key([
            Column::Integer(1),
            Column::Uuid(Uuid::nil()),
            Column::text("order-1"),
            Column::BigInt(7),
        ]);
        assert_eq!(
            format!("{key:?}"),
            r#"executions(1, 00000000-0000-0000-0000-000000000000, "order-1", 7)"#
        );
        assert_eq!(key.bytes(), 4 + 16 + 7 + 8);
    }
}
