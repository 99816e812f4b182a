//! Definitions of tables, columns, indexes and seed rows.

use std::collections::BTreeMap;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// The name.
    pub name: String,
    /// The type, as [`type_name`](super::normalise::type_name) spells it: `bigint`, `varchar(255)`.
    pub data_type: String,
    /// Whether NULL may be stored.
    pub nullable: bool,
    /// The default, as [`default`](super::normalise::default) spells it; `None` if there is none. In a
    /// catalog also `GENERATED …`, of an identity or a generated column.
    pub default: Option<String>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableDefinition {
    /// The columns, in their order.
    pub columns: Vec<ColumnDefinition>,
    /// The columns of the primary key, in their order; empty if there is none.
    pub primary_key: Vec<String>,
    /// Constraints other than the primary key, as the catalog prints them. Schema files cannot define
    /// any, so a table that has one differs.
    pub constraints: Vec<String>,
    /// Properties that change what statements do, such as row security, triggers or a collation of a
    /// column. Schema files cannot define any, so a table that has one differs.
    pub properties: Vec<String>,
}

impl TableDefinition {
    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&ColumnDefinition> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A secondary index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexDefinition {
    /// The indexed table.
    pub table: String,
    /// The indexed columns, in order; in a catalog also expressions.
    pub columns: Vec<String>,
    /// Whether it is unique.
    pub unique: bool,
    /// Properties of an index that is not plain (a predicate, included columns, an order), as the
    /// catalog prints them. Schema files cannot define such an index, so an index that has one
    /// differs.
    pub extras: Vec<String>,
}

/// Seed rows: `INSERT … VALUES`, which leaves rows as they are that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The table.
    pub table: String,
    /// The inserted columns.
    pub columns: Vec<String>,
    /// The rows, each with one SQL literal per column.
    pub rows: Vec<Vec<String>>,
}

/// All objects of a schema version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// The tables by name.
    pub tables: BTreeMap<String, TableDefinition>,
    /// The secondary indexes by name.
    pub indexes: BTreeMap<String, IndexDefinition>,
    /// The seed rows.
    pub seeds: Vec<Seed>,
}

impl Objects {
    /// The columns of the primary key of `table`; none if there is no such table.
    pub(crate) fn primary_key_of(&self, table: &str) -> Vec<String> {
        self.tables.get(table).map(|table| table.primary_key.clone()).unwrap_or_default()
    }
}
