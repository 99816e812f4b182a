//! The objects of a database, as one read of its catalog.

use std::collections::BTreeMap;

use super::definition::{IndexDefinition, TableDefinition};

/// All objects of the connection's schema, in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The tables by name.
    pub tables: BTreeMap<String, TableDefinition>,
    /// The secondary indexes by name. Primary keys are part of their tables.
    pub indexes: BTreeMap<String, CatalogIndex>,
    /// Relations of other kinds (`view`, `sequence`, …) by name. They share the namespace of tables
    /// (temporal-persistence.md#t13).
    pub others: BTreeMap<String, &'static str>,
}

/// An index of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogIndex {
    /// Its definition.
    pub index: IndexDefinition,
    /// Its object id, to which jobs refer.
    pub oid: u32,
    /// Whether queries can use it: only after a successful build.
    pub valid: bool,
}

impl Catalog {
    /// The kind of the relation called `name`, if there is one. All relations share one namespace.
    pub fn kind_of(&self, name: &str) -> Option<&'static str> {
        if self.tables.contains_key(name) {
            Some("table")
        } else if self.indexes.contains_key(name) {
            Some("index")
        } else {
            self.others.get(name).copied()
        }
    }

    /// Removes the table `name` and its indexes, as DROP TABLE would.
    pub(crate) fn remove_table(&mut self, name: &str) {
        if self.tables.remove(name).is_some() {
            self.indexes.retain(|_, found| found.index.table != name);
        }
    }
}
