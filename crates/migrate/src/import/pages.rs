//! Reads a table of either side in chunks, in the order of its key.

use std::sync::Arc;

use super::{
    ImportError,
    mapping::TableMapping,
    sql::Side,
    values::{Rows, ValueType},
};
use crate::{
    DatabaseError,
    digest::Digest,
    postgres::{Parameter, Range, RawRow, RowSession},
    retry::{Retry, retried},
};

/// The most rows of a range that are read at once to be written. A chunk has fewer than twice as many,
/// which is less than the 3,000 rows of a transaction (aurora-dsql.md#limits).
const WRITTEN: usize = 1_024;
/// The most rows of a range that are read at once to be compared. A chunk after the first takes a round
/// trip for each column of the key, whatever its size.
const COMPARED: usize = 8_192;
/// A chunk ends with the row that reaches this many bytes of values. A row has at most 2 MiB, and the
/// overhead of 2,000 rows and their index entries is about 1 MiB, so that a chunk stays below the
/// 10 MiB of a transaction and of a message (aurora-dsql.md#limits).
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// The statements that read one side of a table, without their LIMIT.
pub(crate) struct Pages {
    pub(crate) table: Arc<TableMapping>,
    side: Side,
    /// The most rows of a range that are read at once.
    most: usize,
    first: Vec<Range>,
    next: Vec<Range>,
}

/// A place in a table.
#[derive(Default)]
pub(crate) struct Cursor {
    /// The key of the last row that was read.
    after: Option<Vec<Vec<u8>>>,
    /// The rows to ask for, which follows the size of those that were read.
    limit: Option<usize>,
    /// Whether all rows were read.
    pub(crate) is_done: bool,
}

impl Cursor {
    /// The beginning of a table, of which at most `rows` rows are read at first.
    pub(crate) const fn limited(rows: usize) -> Self {
        Self { after: None, limit: Some(rows), is_done: false }
    }
}

impl Pages {
    /// Chunks that fit into a transaction.
    pub(crate) fn written(table: Arc<TableMapping>, side: Side) -> Self {
        Self::new(table, side, WRITTEN)
    }

    /// Chunks that are only read.
    pub(crate) fn compared(table: Arc<TableMapping>, side: Side) -> Self {
        Self::new(table, side, COMPARED)
    }

    fn new(table: Arc<TableMapping>, side: Side, most: usize) -> Self {
        let (first, next) = (table.pages(side, false), table.pages(side, true));
        Self { table, side, most, first, next }
    }

    /// Reads the next chunk, with the values of the target. It is empty only at the end of the table.
    ///
    /// # Errors
    /// The table cannot be read, or a value of the source cannot be converted.
    pub(crate) async fn read(
        &self,
        session: &mut RowSession,
        cursor: &mut Cursor,
        retry: Retry<'_>,
    ) -> Result<Rows, ImportError> {
        let mut reader =
            Reader { pages: self, rows: Rows::new(self.table.columns.len()), cursor, error: None };
        let action = format!("reading {} of the {}", self.table.name, self.side.name());
        // Rows that came before a failure are kept: the next attempt continues after them.
        let read = retried!(retry, &action, reader.read(session));
        let Reader { rows, error, .. } = reader;
        if let Some(error) = error {
            return Err(error);
        }
        read?;
        if !rows.is_empty() {
            let fitting = CHUNK_BYTES / (rows.bytes() / rows.len()).max(1);
            // Few different limits, because each is a statement of its own.
            let limit = fitting.clamp(8, self.most);
            cursor.limit = Some(1 << limit.ilog2());
        }
        Ok(rows)
    }
}

struct Reader<'r> {
    pages: &'r Pages,
    rows: Rows,
    cursor: &'r mut Cursor,
    error: Option<ImportError>,
}

impl Reader<'_> {
    async fn read(&mut self, session: &mut RowSession) -> Result<(), DatabaseError> {
        let after = self.cursor.after.clone();
        let pages = self.pages;
        let ranges = if after.is_some() { &pages.next } else { &pages.first };
        let types: Vec<ValueType> =
            pages.table.key_columns().map(|column| pages.side.type_of(column)).collect();
        let key: Vec<_> = types
            .into_iter()
            .zip(after.iter().flatten())
            .map(|(value_type, value)| Parameter::Value(value_type, Some(value)))
            .collect();
        for range in ranges {
            if self.rows.len() >= self.pages.most || self.is_full() {
                return Ok(());
            }
            // The size of the rows is not known at first.
            let limit = self.cursor.limit.unwrap_or(WRITTEN);
            let text = format!("{} LIMIT {limit}", range.text);
            let before = self.rows.len();
            let mut visit = |row: &RawRow<'_>| self.push(row) && !self.is_full();
            session.read(&text, &key[..range.parameters], &mut visit).await?;
            if self.rows.len() - before >= limit || self.is_full() {
                return Ok(());
            }
        }
        self.cursor.is_done = true;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows.bytes() >= CHUNK_BYTES || self.error.is_some()
    }

    /// Takes a row in; false if a value cannot be converted.
    fn push(&mut self, row: &RawRow<'_>) -> bool {
        let table = &self.pages.table;
        let key = |side: Side| {
            let values = table.key.iter().map(|position| row.value(*position));
            match side {
                Side::Source => table.shown_source_key(values),
                Side::Target => table.shown_key(values),
            }
        };
        let mut values = Vec::with_capacity(table.columns.len());
        for (position, column) in table.columns.iter().enumerate() {
            let value = row.value(position);
            values.push(match (self.pages.side, value) {
                (Side::Source, Some(value)) => match column.conversion.apply(value) {
                    Ok(converted) => Some(converted),
                    Err(reason) => {
                        self.error = Some(ImportError::Unconvertible {
                            table: table.name.clone(),
                            key: key(Side::Source),
                            reason: format!("{} {reason}", column.name),
                        });
                        return false;
                    }
                },
                (_, value) => value.map(Into::into),
            });
        }
        let owned = |position: &usize| row.value(*position).unwrap_or_default().to_vec();
        self.cursor.after = Some(table.key.iter().map(owned).collect());
        self.rows.push(values.iter().map(|value| value.as_deref()));
        true
    }
}

/// The digest of rows of the target.
pub(crate) fn digest(rows: &Rows) -> Digest {
    let mut digest = Digest::default();
    let mut values: Vec<Option<&[u8]>> = Vec::new();
    for number in 0..rows.len() {
        values.clear();
        values.extend(rows.row(number));
        digest.add(&values);
    }
    digest
}
