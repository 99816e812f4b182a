//! The footprint of a transaction: the keys and rows that DSQL compares at commit
//! (aurora-dsql.md#conflict-matrix).

use std::collections::{HashMap, HashSet};

/// The class of an access in the conflict matrix. Values are bits of a [`Classes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    /// K: inserted, deleted, changed in a key column, or locked FOR UPDATE.
    Key = 1,
    /// N: changed in other columns.
    NonKey = 2,
    /// S: locked FOR KEY SHARE, or by the check of a foreign key.
    Share = 4,
}

impl Class {
    pub(crate) const ALL: [Self; 3] = [Self::Key, Self::NonKey, Self::Share];

    /// Whether two accesses cannot both commit (aurora-dsql.md#conflict-matrix).
    pub(crate) const fn conflicts_with(self, other: Self) -> bool {
        use Class::{Key, NonKey, Share};
        match (self, other) {
            (Key, _) | (_, Key) | (NonKey, NonKey) => true,
            (NonKey, Share) | (Share, NonKey | Share) => false,
        }
    }
}

/// The classes of all accesses to one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes(u8);

impl Classes {
    pub(crate) fn add(&mut self, class: Class) {
        self.0 |= class as u8;
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.0 & *class as u8 != 0)
    }

    /// Whether an access of one conflicts with an access of the other.
    pub(crate) fn conflict_with(self, other: Self) -> bool {
        self.iter().any(|own| other.iter().any(|theirs| own.conflicts_with(theirs)))
    }
}

/// A key in a unique index, or a row of a table without a primary key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    /// The oid of the index or table.
    pub(crate) relation: u32,
    pub(crate) key: Box<str>,
}

/// The entries that a statement or transaction has written or locked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footprint {
    entries: HashMap<Entry, Classes>,
    /// Tables with rows that were written.
    tables: HashSet<u32>,
    /// Rows inserted, updated and deleted, cascades included (aurora-dsql.md#limits).
    pub(crate) rows: u64,
    /// Bytes written, as DSQL counts them (aurora-dsql.md#limits).
    pub(crate) bytes: u64,
}

impl Footprint {
    pub(crate) fn add(&mut self, relation: u32, key: impl Into<Box<str>>, class: Class) {
        self.entries.entry(Entry { relation, key: key.into() }).or_default().add(class);
    }

    /// Counts rows that were written to a table.
    pub(crate) fn wrote(&mut self, table: u32, rows: u64, bytes: u64) {
        self.tables.insert(table);
        self.rows += rows;
        self.bytes += bytes;
    }

    /// Adds a locked row. Its key counts towards the bytes, once (aurora-dsql.md#locks).
    pub(crate) fn lock(&mut self, relation: u32, key: impl Into<Box<str>>, class: Class) {
        let key = key.into();
        let bytes = key.len() as u64;
        let classes = self.entries.entry(Entry { relation, key }).or_default();
        if *classes == Classes::default() {
            self.bytes += bytes;
        }
        classes.add(class);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (entry, classes) in other.entries {
            self.entries.entry(entry).or_default().0 |= classes.0;
        }
        self.tables.extend(other.tables);
        self.rows += other.rows;
        self.bytes += other.bytes;
    }

    /// Whether no other transaction can conflict with it.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.tables.is_empty()
    }

    /// The entries of class `Key`: inserted, deleted, or locked FOR UPDATE.
    pub(crate) fn keys(&self) -> Self {
        let mut keys = Self::default();
        for (entry, classes) in self.entries() {
            if classes.iter().any(|class| class == Class::Key) {
                keys.add(entry.relation, entry.key.clone(), Class::Key);
            }
        }
        keys
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Entry, Classes)> {
        self.entries.into_iter()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Entry, Classes)> {
        self.entries.iter().map(|(entry, classes)| (entry, *classes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conflict_matrix_is_that_of_the_reference() {
        use Class::{Key, NonKey, Share};
        for (one, other, conflict) in [
            (Key, Key, true),
            (Key, NonKey, true),
            (Key, Share, true),
            (NonKey, NonKey, true),
            (NonKey, Share, false),
            (Share, Share, false),
        ] {
            assert_eq!(one.conflicts_with(other), conflict, "{one:?} {other:?}");
            assert_eq!(other.conflicts_with(one), conflict, "{other:?} {one:?}");
        }
    }

    #[test]
    fn footprints_add_up() {
        let mut whole = Footprint::default();
        assert!(whole.is_empty());
        for class in [Class::NonKey, Class::Share] {
            let mut part = Footprint::default();
            part.add(1, "a", class);
            part.wrote(7, 2, 100);
            whole.merge(part);
        }
        assert_eq!((whole.rows, whole.bytes), (4, 200));
        let [(entry, classes)] = &whole.entries().collect::<Vec<_>>()[..] else {
            panic!("one entry");
        };
        assert_eq!((entry.relation, &*entry.key), (1, "a"));
        assert_eq!(classes.iter().collect::<Vec<_>>(), [Class::NonKey, Class::Share]);
    }

    #[test]
    fn a_locked_row_counts_with_its_key_and_not_as_a_row() {
        let mut footprint = Footprint::default();
        for _ in 0..2 {
            footprint.lock(1, "[\"abc\"]", Class::Key);
        }
        assert_eq!((footprint.rows, footprint.bytes), (0, 7));
        assert!(!footprint.is_empty());
    }
}
