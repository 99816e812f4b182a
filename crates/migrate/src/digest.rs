//! Digests of table rows, to check that a migration changed none.
//!
//! Each row is hashed, and the hashes are added. The sum does not depend on the order of the rows, and
//! changes with any bit of any row. The rows are read in pages in key order, each page in its own
//! short transaction, because a transaction is limited to 300 s (aurora-dsql.md#limits) and the rows
//! may not fit into memory. One statement is in flight at a time, so a digest takes little of what a
//! cluster can do for others.

use std::{collections::BTreeSet, fmt};

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::{MigrateError, Migrator, Progress, Row, Scan, Scope, error::counted};

/// Rows per page.
const PAGE: usize = 1_000;

/// The values of a row's primary key as text, in the order of the key.
pub type RowKey = Vec<String>;

/// A digest of a set of rows, independent of their order.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest {
    rows: u64,
    sum: [u8; 32],
}

impl Digest {
    /// The number of rows.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds a row.
    pub fn add(&mut self, row: &[Option<impl AsRef<[u8]>>]) {
        let mut hash = Sha256::new();
        hash.update((row.len() as u64).to_be_bytes());
        for value in row {
            // The length distinguishes ("a", "bc") from ("ab", "c"), the tag NULL from empty.
            match value {
                None => hash.update([0]),
                Some(value) => {
                    let value = value.as_ref();
                    hash.update([1]);
                    hash.update((value.len() as u64).to_be_bytes());
                    hash.update(value);
                }
            }
        }
        self.add_sum(1, hash.finalize().into());
    }

    /// Adds the rows of another digest.
    pub(crate) fn merge(&mut self, other: Self) {
        self.add_sum(other.rows, other.sum);
    }

    /// Addition modulo 2^256 is commutative, and unlike XOR it does not cancel duplicates.
    fn add_sum(&mut self, rows: u64, sum: [u8; 32]) {
        let mut carry = false;
        for (digit, added) in self.sum.iter_mut().zip(sum).rev() {
            (*digit, carry) = digit.carrying_add(added, carry);
        }
        self.rows += rows;
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", counted(self.rows, "row"))?;
        self.sum.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Migrator<'_> {
    /// The digest of the rows of `table`, without those with a key in `excluded`.
    ///
    /// The pages are read at different times: a row that is written meanwhile counts with its old or
    /// its new value. Exclude rows that are being written.
    ///
    /// # Errors
    /// There is no such table, it has no primary key, or it cannot be read.
    pub async fn digest(
        &mut self,
        table: &str,
        excluded: &BTreeSet<RowKey>,
    ) -> Result<Digest, MigrateError> {
        let no_digest = |reason| MigrateError::NoDigest { table: table.to_owned(), reason };
        let catalog = self.database.catalog(&Scope::of([table])).await?;
        let definition = catalog.tables.get(table).ok_or_else(|| no_digest("does not exist"))?;
        if definition.primary_key.is_empty() {
            return Err(no_digest("has no primary key to read it in the order of"));
        }
        let column = |name: &String| definition.column(name).cloned();
        let scan = Scan {
            table: table.to_owned(),
            columns: definition.columns.iter().map(|c| c.name.clone()).collect(),
            key: definition.primary_key.iter().filter_map(column).collect(),
        };
        let mut digest = Digest::default();
        let (start, mut rows) = (Instant::now(), 0);
        let mut after: Option<RowKey> = None;
        loop {
            let page = self.database.page(&scan, after.as_deref(), PAGE).await?;
            rows += page.len() as u64;
            self.database.observer.on(Progress::Reading { table, rows, elapsed: start.elapsed() });
            for row in &page {
                let key = key_of(&scan, row);
                if !excluded.contains(&key) {
                    digest.add(row);
                }
                after = Some(key);
            }
            if page.len() < PAGE {
                return Ok(digest);
            }
        }
    }
}

/// The key of `row`; its columns are never NULL.
fn key_of(scan: &Scan, row: &Row) -> RowKey {
    let value = |name: &String| {
        let position = scan.columns.iter().position(|column| column == name)?;
        row.get(position)?.clone()
    };
    let column = |column: &crate::ColumnDefinition| value(&column.name).unwrap_or_default();
    scan.key.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Digest {
        let mut digest = Digest::default();
        rows.into_iter().for_each(|row| digest.add(row));
        digest
    }

    fn text(values: &[Option<&str>]) -> Row {
        values.iter().map(|value| value.map(str::to_owned)).collect()
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let value = proptest::option::of("[a-c]{0,3}");
        proptest::collection::vec(proptest::collection::vec(value, 1..4), 1..8)
    }

    #[test]
    fn different_rows_with_equal_concatenations_have_different_digests() {
        let rows = [
            text(&[Some("a"), Some("bc")]),
            text(&[Some("ab"), Some("c")]),
            text(&[Some("abc"), Some("")]),
            text(&[Some("abc"), None]),
            text(&[Some("abc")]),
            text(&[None, Some("abc")]),
        ];
        let sums: BTreeSet<_> = rows.iter().map(|row| digest([row]).sum).collect();
        assert_eq!(sums.len(), rows.len());
    }

    #[test]
    fn a_sum_past_the_end_carries_and_wraps() {
        let row = text(&[Some("a")]);
        let one = digest([&row]);
        let mut full = Digest { rows: 0, sum: [0xff; 32] };
        full.add(&row);
        // -1 and the row are the row minus one, modulo 2^256.
        let mut expected = one.sum;
        expected[31] -= 1;
        assert_eq!(full.sum, expected);
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter(rows in rows(), rotation in 0_usize..8) {
            let mut moved = rows.clone();
            moved.rotate_left(rotation % rows.len());
            moved.reverse();
            prop_assert_eq!(digest(&rows), digest(&moved));
        }

        #[test]
        fn any_changed_added_or_lost_row_changes_the_digest(rows in rows(), at in 0_usize..8, value in "[a-c]{0,3}") {
            let at = at % rows.len();
            let before = digest(&rows);
            let mut changed = rows.clone();
            let other = if rows[at][0].as_ref() == Some(&value) { None } else { Some(value) };
            changed[at][0] = other;
            prop_assert_ne!(digest(&changed), before);
            let mut doubled = rows.clone();
            doubled.push(rows[at].clone());
            prop_assert_ne!(digest(&doubled), before);
            let mut lost = rows.clone();
            lost.remove(at);
            prop_assert_ne!(digest(&lost), before);
        }
    }
}
