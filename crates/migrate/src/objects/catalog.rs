//! What a database really has, as one reading of its catalog.

use std::collections::BTreeMap;

use super::definition::{IndexDefinition, TableDefinition};

/// Everything in the schema that the connection works in, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The tables by name.
    pub tables: BTreeMap<String, TableDefinition>,
    /// The secondary indexes by name. Those of primary keys are part of their table.
    pub indexes: BTreeMap<String, CatalogIndex>,
    /// Relations of other kinds (`view`, `sequence`, …) by name: they take names too, but they
    /// are not tables (temporal-persistence.md#t13).
    pub others: BTreeMap<String, &'static str>,
}

/// An index of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogIndex {
    /// What it is.
    pub index: IndexDefinition,
    /// Its object id, by which jobs refer to it.
    pub oid: u32,
    /// Whether queries may use it. Not before its build has ended, and never after a failed one.
    pub valid: bool,
}

impl Catalog {
    /// What has the name `name`, if anything has: tables, indexes and the others share one space
    /// of names.
    pub fn kind_of(&self, name: &str) -> Option<&'static str> {
        if self.tables.contains_key(name) {
            Some("table")
        } else if self.indexes.contains_key(name) {
            Some("index")
        } else {
            self.others.get(name).copied()
        }
    }

    /// Leaves the table `name` out, with its indexes, as if it had been dropped.
    pub(crate) fn forget_table(&mut self, name: &str) {
        if self.tables.remove(name).is_some() {
            self.indexes.retain(|_, found| found.index.table != name);
        }
    }
}
