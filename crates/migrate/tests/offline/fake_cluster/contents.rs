//! What the database of a fake cluster has.

use std::collections::BTreeMap;

use temporal_dsql_migrate::{Catalog, CatalogIndex, Dependent, Row, Scope, VersionRow};

/// A history row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub old: String,
    pub new: String,
    pub manifest_md5: String,
    pub description: String,
    pub time: u64,
}

/// The contents of the database, with timestamps: equal only if nothing was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub catalog: Catalog,
    pub rows: BTreeMap<String, Vec<Row>>,
    /// The version rows, with the time of their last write.
    pub versions: Vec<(VersionRow, u64)>,
    pub history: Vec<History>,
    /// Objects that keep tables from being dropped.
    pub dependents: Vec<Dependent>,
    /// The owners of the relations that do not belong to the role.
    pub owners: BTreeMap<String, String>,
    /// Types, which have the names of tables for themselves.
    pub types: BTreeMap<String, &'static str>,
}

impl Contents {
    /// The objects of `scope`.
    pub fn catalog_of(&self, scope: &Scope) -> Catalog {
        let Catalog { tables, indexes, others } = &self.catalog;
        let is_read = |name: &String| scope.names.contains(name);
        let mut catalog = Catalog { others: others.clone(), ..Catalog::default() };
        for (name, table) in tables {
            match is_read(name) {
                true => drop(catalog.tables.insert(name.clone(), table.clone())),
                false => drop(catalog.others.insert(name.clone(), "table")),
            }
        }
        let is_of_scope =
            |(name, found): &(&String, &CatalogIndex)| is_read(name) || is_read(&found.index.table);
        let indexes = indexes.iter().filter(is_of_scope);
        catalog.indexes.extend(indexes.map(|(name, found)| (name.clone(), found.clone())));
        catalog.others.retain(|name, _| scope.lists_others || is_read(name));
        catalog
    }
}

/// A version row with timestamp 0.
pub fn version_row(database: &str, version: &str) -> (VersionRow, u64) {
    let row = VersionRow {
        database: database.to_owned(),
        version: Some(version.to_owned()),
        min_compatible: Some("1.0".to_owned()),
    };
    (row, 0)
}

/// Adds a row to `table`.
pub fn add_row(contents: &mut Contents, table: &str, row: &[&str]) {
    let row: Row = row.iter().map(|value| Some((*value).to_owned())).collect();
    contents.rows.entry(table.to_owned()).or_default().push(row);
}
