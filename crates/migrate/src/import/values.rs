//! Rows in PostgreSQL's binary format, by column, as they are sent in arrays.

use crate::objects::ColumnDefinition;

/// The type of a column, as far as rows are concerned: a length limit is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    Bool,
    Int2,
    Int4,
    Int8,
    Bytea,
    Text,
    Timestamp,
    Uuid,
}

impl ValueType {
    /// The type of `column`; `None` if no table of Temporal has such a column.
    pub(crate) fn of(column: &ColumnDefinition) -> Option<Self> {
        Some(match column.data_type.as_str() {
            "boolean" => Self::Bool,
            "smallint" => Self::Int2,
            "integer" => Self::Int4,
            "bigint" => Self::Int8,
            "bytea" => Self::Bytea,
            "text" | "varchar" => Self::Text,
            "timestamp" => Self::Timestamp,
            "uuid" => Self::Uuid,
            bounded if bounded.starts_with("varchar(") => Self::Text,
            _ => return None,
        })
    }

    /// The name of the type in SQL.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Bytea => "bytea",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
            Self::Uuid => "uuid",
        }
    }

    /// The bytes of a value, if all have the same.
    pub(crate) const fn width(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int2 => Some(2),
            Self::Int4 => Some(4),
            Self::Int8 | Self::Timestamp => Some(8),
            Self::Uuid => Some(16),
            Self::Bytea | Self::Text => None,
        }
    }

    /// The value of an integer of any width.
    pub(crate) fn number(bytes: &[u8]) -> i64 {
        let sign = if bytes.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
        bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte))
    }

    /// A value as people write it. What does not have the form of the type is shown as its bytes.
    pub(crate) fn shown(self, value: &[u8]) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match (self, value) {
            (Self::Bool, [flag]) => (*flag != 0).to_string(),
            (Self::Int2 | Self::Int4 | Self::Int8, bytes) => Self::number(bytes).to_string(),
            (Self::Timestamp, bytes) => match <[u8; 8]>::try_from(bytes) {
                Ok(bytes) => shown_timestamp(i64::from_be_bytes(bytes)),
                Err(_) => hex(bytes),
            },
            (Self::Uuid, bytes) if bytes.len() == 16 => {
                [0..4, 4..6, 6..8, 8..10, 10..16].map(|part| hex(&bytes[part])).join("-")
            }
            (Self::Text, bytes) => String::from_utf8_lossy(bytes).into_owned(),
            (_, bytes) => hex(bytes),
        }
    }
}

/// A timestamp in microseconds since 2000, in UTC.
fn shown_timestamp(microseconds: i64) -> String {
    let epoch = time::macros::datetime!(2000-01-01 0:00);
    let shown = epoch.checked_add(time::Duration::microseconds(microseconds));
    shown.map_or_else(|| format!("2000-01-01 + {microseconds} µs"), |time| time.to_string())
}

/// The values of one column, as the elements of an array: each the length and the bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    elements: Vec<u8>,
    ends: Vec<usize>,
    has_null: bool,
}

impl Column {
    /// Appends a value; `None` is NULL.
    ///
    /// # Panics
    /// The value has 2 GiB or more, which the protocol cannot carry.
    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        match value {
            None => {
                self.has_null = true;
                self.elements.extend((-1_i32).to_be_bytes());
            }
            Some(bytes) => {
                let length = i32::try_from(bytes.len()).expect("a value of a message");
                self.elements.extend(length.to_be_bytes());
                self.elements.extend_from_slice(bytes);
            }
        }
        self.ends.push(self.elements.len());
    }

    /// The value of the row with this number.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let (length, bytes) = self.elements[start..self.ends[row]].split_at(4);
        (length != (-1_i32).to_be_bytes()).then_some(bytes)
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The elements, one after the other.
    pub(crate) fn elements(&self) -> &[u8] {
        &self.elements
    }

    /// Whether one of the values is NULL.
    pub(crate) const fn has_null(&self) -> bool {
        self.has_null
    }
}

/// Rows of one table.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    columns: Vec<Column>,
    bytes: usize,
}

impl Rows {
    /// No rows, with this number of columns.
    pub(crate) fn new(columns: usize) -> Self {
        Self { columns: vec![Column::default(); columns], bytes: 0 }
    }

    /// Appends a row.
    pub(crate) fn push<'v>(&mut self, values: impl Iterator<Item = Option<&'v [u8]>>) {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
            self.bytes += value.map_or(0, <[u8]>::len);
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all values.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The columns.
    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The values of one row.
    pub(crate) fn row(&self, number: usize) -> impl Iterator<Item = Option<&[u8]>> {
        self.columns.iter().map(move |column| column.get(number))
    }

    /// These rows of all.
    pub(crate) fn select(&self, numbers: impl IntoIterator<Item = usize>) -> Self {
        let mut selected = Self::new(self.columns.len());
        numbers.into_iter().for_each(|number| selected.push(self.row(number)));
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_returns_what_was_pushed() {
        let values: [Option<&[u8]>; 4] = [Some(b"a"), None, Some(b""), Some(&[0xff; 4])];
        let mut rows = Rows::new(2);
        values.iter().for_each(|value| rows.push([*value, Some(&b"x"[..])].into_iter()));
        assert_eq!((rows.len(), rows.bytes()), (4, 9));
        for (number, value) in values.into_iter().enumerate() {
            assert_eq!(rows.row(number).collect::<Vec<_>>(), [value, Some(b"x")]);
        }
        let selected = rows.select([3, 1]);
        assert_eq!(selected.columns()[0].get(0), values[3]);
        assert_eq!(selected.columns()[0].get(1), None);
        assert!(selected.columns()[0].has_null() && !selected.columns()[1].has_null());
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        for (value_type, bytes, shown) in [
            (ValueType::Int4, &(-2_i32).to_be_bytes()[..], "-2"),
            (ValueType::Int8, &i64::MAX.to_be_bytes()[..], "9223372036854775807"),
            (ValueType::Int2, &7_i16.to_be_bytes()[..], "7"),
            (ValueType::Bool, &[1][..], "true"),
            (ValueType::Text, b"order-1", "order-1"),
            (ValueType::Bytea, &[1, 0xab][..], "01ab"),
            (ValueType::Uuid, &[0x11; 16][..], "11111111-1111-1111-1111-111111111111"),
            (ValueType::Timestamp, &1_500_000_i64.to_be_bytes()[..], "2000-01-01 0:00:01.5"),
            (
                ValueType::Timestamp,
                &i64::MAX.to_be_bytes()[..],
                "2000-01-01 + 9223372036854775807 µs",
            ),
        ] {
            assert_eq!(value_type.shown(bytes), shown);
        }
    }
}
