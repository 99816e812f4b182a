//! The objects of a database, as one read of its catalog.

use std::collections::{BTreeMap, BTreeSet};

use super::definition::{IndexDefinition, TableDefinition};

/// The part of a catalog that is read.
///
/// A database may have thousands of tables that are not part of the schema. Only what a command looks
/// at is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The relations that are read with their definitions. All indexes of these tables are read, too.
    pub names: BTreeSet<String>,
    /// Whether all other relations but indexes are listed, with their kinds.
    pub lists_others: bool,
}

impl Scope {
    /// The relations with these names.
    pub fn of<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), lists_others: false }
    }

    /// These relations, and a list of all others.
    #[must_use]
    pub fn and_others(self) -> Self {
        Self { lists_others: true, ..self }
    }
}

/// Objects of the connection's schema, in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The tables by name.
    pub tables: BTreeMap<String, TableDefinition>,
    /// The secondary indexes by name. Primary keys are part of their tables.
    pub indexes: BTreeMap<String, CatalogIndex>,
    /// Relations of other kinds (`view`, `sequence`, …) by name, and tables outside the scope. They
    /// share the namespace of tables (temporal-persistence.md#t13).
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

    /// Whether the index `name` is that of a constraint, which is reported itself.
    pub(crate) fn is_of_constraint(&self, name: &str) -> bool {
        let table = self.indexes.get(name).and_then(|found| self.tables.get(&found.index.table));
        let is_named = |constraint: &String| {
            constraint.strip_prefix(name).is_some_and(|definition| definition.starts_with(' '))
        };
        table.is_some_and(|table| table.constraints.iter().any(is_named))
    }

    /// Replaces the objects of `scope` by those of `read`, a later read of it.
    pub(crate) fn replace(&mut self, scope: &Scope, read: Self) {
        let is_read = |name: &String| scope.names.contains(name);
        self.tables.retain(|name, _| !is_read(name));
        self.indexes.retain(|name, found| !is_read(name) && !is_read(&found.index.table));
        self.others.retain(|name, _| !is_read(name));
        self.tables.extend(read.tables);
        self.indexes.extend(read.indexes);
        self.others.extend(read.others);
    }

    /// Removes the table `name` and its indexes, as DROP TABLE would.
    pub(crate) fn remove_table(&mut self, name: &str) {
        if self.tables.remove(name).is_some() {
            self.indexes.retain(|_, found| found.index.table != name);
        }
    }
}
