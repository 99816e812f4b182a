//! What the database of a fake cluster has.

use std::collections::BTreeMap;

use temporal_dsql_migrate::{Catalog, Dependent, Row, VersionRow};

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
