//! The catalog that each schema version must produce (temporal-persistence.md#schema), specified
//! apart from the schema files.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;
use temporal_dsql_domain::SchemaVersion;
use temporal_dsql_migrate::{
    Catalog, ColumnDefinition, HISTORY_TABLE, IndexDefinition, Scope, TableDefinition,
    VERSION_TABLE, normalise,
};

#[derive(Deserialize)]
struct Spec {
    version: String,
    tables: BTreeMap<String, SpecTable>,
}

#[derive(Deserialize)]
struct SpecTable {
    columns: Vec<SpecColumn>,
    primary_key: Vec<String>,
    indexes: Vec<SpecIndex>,
}

#[derive(Deserialize)]
struct SpecColumn {
    name: String,
    r#type: String,
    nullable: bool,
    default: Option<String>,
}

#[derive(Deserialize)]
struct SpecIndex {
    name: String,
    unique: bool,
    columns: Vec<String>,
}

/// Tables and secondary indexes by name.
pub type Specified = (BTreeMap<String, TableDefinition>, BTreeMap<String, IndexDefinition>);

/// The tables and indexes that `version` must have.
pub fn spec(version: SchemaVersion) -> Specified {
    let path = format!("{}/tests/fixtures/schema-v{version}.json", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let spec: Spec = serde_json::from_str(&text).unwrap();
    assert_eq!(spec.version, version.to_string());
    let mut tables = BTreeMap::new();
    let mut indexes = BTreeMap::new();
    for (name, table) in spec.tables {
        for SpecIndex { name: index, unique, columns } in table.indexes {
            let index_of =
                IndexDefinition { table: name.clone(), columns, unique, extras: Vec::new() };
            indexes.insert(index, index_of);
        }
        let columns = table.columns.into_iter().map(|column| ColumnDefinition {
            default: column.default.and_then(|text| normalise::default(&text, &column.r#type)),
            name: column.name,
            data_type: column.r#type,
            nullable: column.nullable,
        });
        let table = TableDefinition {
            columns: columns.collect(),
            primary_key: table.primary_key,
            ..TableDefinition::default()
        };
        tables.insert(name, table);
    }
    (tables, indexes)
}

/// All relations of the newest specified version with their definitions, and all others by name.
pub fn whole() -> Scope {
    let (tables, indexes) = spec(SchemaVersion::new(1, 1));
    let versions = [VERSION_TABLE, HISTORY_TABLE].map(str::to_owned);
    Scope::of(tables.into_keys().chain(indexes.into_keys()).chain(versions)).and_others()
}

/// Asserts that `catalog` has exactly the tables and columns of `version`, its indexes, all of them
/// valid, and the version tables.
#[track_caller]
pub fn assert_is(catalog: &Catalog, version: SchemaVersion) {
    let (tables, indexes) = spec(version);
    let mut actual = catalog.tables.clone();
    for table in [VERSION_TABLE, HISTORY_TABLE] {
        assert!(actual.remove(table).is_some(), "{table} is missing");
    }
    assert_eq!(actual, tables);
    let actual: BTreeMap<_, _> = catalog
        .indexes
        .iter()
        .map(|(name, found)| {
            assert!(found.valid, "{name} is not valid");
            (name.clone(), found.index.clone())
        })
        .collect();
    assert_eq!(actual, indexes);
    assert!(catalog.others.is_empty());
}
