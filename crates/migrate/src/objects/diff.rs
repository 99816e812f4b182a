//! Comparison of a database's objects with their definitions.

use std::fmt;

use serde::Serialize;

use crate::escape::escaped;

use super::{
    catalog::Catalog,
    definition::{IndexDefinition, TableDefinition},
};

/// One difference between a database and its schema version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Difference {
    /// A table is missing.
    MissingTable {
        /// The table.
        table: String,
    },
    /// A relation of another kind has the name of a table or an index.
    NameTaken {
        /// The name.
        name: String,
        /// The expected kind.
        expected: &'static str,
        /// The actual kind.
        actual: String,
    },
    /// A column is missing.
    MissingColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column is not in the definition.
    UnexpectedColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Whether it has no default and cannot be null.
        required: bool,
    },
    /// A column has another type, nullability or default.
    Column {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// `type`, `nullability` or `default`.
        property: &'static str,
        /// The value in the definition.
        expected: String,
        /// The value in the database.
        actual: String,
    },
    /// The primary key has other columns or another order.
    PrimaryKey {
        /// The table.
        table: String,
        /// The value in the definition.
        expected: Vec<String>,
        /// The value in the database.
        actual: Vec<String>,
    },
    /// A constraint is not in the definition.
    UnexpectedConstraint {
        /// The table.
        table: String,
        /// The constraint, as the catalog prints it.
        constraint: String,
    },
    /// An index is missing.
    MissingIndex {
        /// The index.
        index: String,
    },
    /// An index is invalid: it is being built, or its build has failed.
    InvalidIndex {
        /// The index.
        index: String,
        /// Its build.
        build: IndexBuildState,
    },
    /// A table has a property that the definition does not have: row security, a trigger, ….
    UnexpectedProperty {
        /// The table.
        table: String,
        /// The property.
        property: String,
    },
    /// An index has another table, other columns, another uniqueness or another kind.
    Index {
        /// The index.
        index: String,
        /// `table`, `columns`, `uniqueness` or `kind`.
        property: &'static str,
        /// The value in the definition.
        expected: String,
        /// The value in the database.
        actual: String,
    },
    /// A unique index is not in the definition.
    UnexpectedIndex {
        /// The table.
        table: String,
        /// The index.
        index: String,
        /// Its columns.
        columns: Vec<String>,
    },
    /// A seed row is missing.
    MissingSeed {
        /// The table.
        table: String,
    },
    /// A table or an index that a newer version adds exists.
    NewerObject {
        /// Its name.
        name: String,
        /// `table` or `index`.
        object: &'static str,
        /// The version that adds it.
        version: String,
    },
}

/// The build of an invalid index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexBuildState {
    /// A job is building it, or will.
    Running,
    /// Its job has completed, and the catalog does not show it.
    Completed,
    /// Its job has failed.
    Failed,
    /// It has no job. A job is deleted 30 minutes after its end, and PostgreSQL has none.
    Unknown,
}

impl Difference {
    /// Whether it is in an object without data, which an update makes again.
    pub(crate) const fn is_without_data(&self) -> bool {
        matches!(
            self,
            Self::MissingIndex { .. } | Self::InvalidIndex { .. } | Self::MissingSeed { .. }
        )
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(&Text(self).to_string()))
    }
}

/// A difference with the names as they are, which may contain any character.
struct Text<'d>(&'d Difference);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Difference::MissingTable { table } => write!(f, "table {table} is missing"),
            Difference::NameTaken { name, expected, actual } => {
                write!(f, "{name} should be {} and is {}", a(expected), a(actual))
            }
            Difference::MissingColumn { table, column } => {
                write!(f, "column {table}.{column} is missing")
            }
            Difference::UnexpectedColumn { table, column, .. } => {
                write!(f, "column {table}.{column} is not in the definition")
            }
            Difference::Column { table, column, property, expected, actual } => write!(
                f,
                "column {table}.{column}: {property} should be {expected} and is {actual}"
            ),
            Difference::PrimaryKey { table, expected, actual } => write!(
                f,
                "table {table}: primary key should be ({}) and is ({})",
                expected.join(", "),
                actual.join(", ")
            ),
            Difference::UnexpectedConstraint { table, constraint } => {
                write!(f, "table {table}: constraint {constraint} is not in the definition")
            }
            Difference::MissingIndex { index } => write!(f, "index {index} is missing"),
            Difference::UnexpectedProperty { table, property } => {
                write!(f, "table {table}: {property} is not in the definition")
            }
            Difference::InvalidIndex { index, build } => write!(
                f,
                "index {index} {}",
                match build {
                    IndexBuildState::Running => "is still being built",
                    IndexBuildState::Completed => "is invalid, although its build has completed",
                    IndexBuildState::Failed => "is invalid: its build failed",
                    IndexBuildState::Unknown => "is invalid: its build failed or was interrupted",
                }
            ),
            Difference::Index { index, property, expected, actual } => {
                write!(f, "index {index}: {property} should be {expected} and is {actual}")
            }
            Difference::UnexpectedIndex { table, index, columns } => write!(
                f,
                "table {table}: unique index {index} ({}) is not in the definition",
                columns.join(", ")
            ),
            Difference::MissingSeed { table } => {
                write!(f, "table {table}: its initial row is missing")
            }
            Difference::NewerObject { name, object, version } => {
                write!(f, "{object} {name} belongs to version {version}")
            }
        }
    }
}

/// `noun` with its article.
fn a(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// The differences between the table `name` of `catalog` and `expected`; empty if they are equal.
///
/// The order of columns is not compared: every statement names its columns, and changing the order
/// would require a new table.
pub fn compare_table(name: &str, expected: &TableDefinition, catalog: &Catalog) -> Vec<Difference> {
    let table = || name.to_owned();
    let Some(actual) = catalog.tables.get(name) else {
        return vec![missing(catalog, name, "table", Difference::MissingTable { table: table() })];
    };
    let mut differences = Vec::new();
    for column in &expected.columns {
        let Some(found) = actual.column(&column.name) else {
            differences
                .push(Difference::MissingColumn { table: table(), column: column.name.clone() });
            continue;
        };
        let nullable = |nullable| if nullable { "NULL" } else { "NOT NULL" }.to_owned();
        let default = |default: &Option<String>| default.as_deref().unwrap_or("none").to_owned();
        for (property, expected, actual) in [
            ("type", column.data_type.clone(), found.data_type.clone()),
            ("nullability", nullable(column.nullable), nullable(found.nullable)),
            ("default", default(&column.default), default(&found.default)),
        ] {
            if expected != actual {
                differences.push(Difference::Column {
                    table: table(),
                    column: column.name.clone(),
                    property,
                    expected,
                    actual,
                });
            }
        }
    }
    let unexpected = actual.columns.iter().filter(|column| expected.column(&column.name).is_none());
    differences.extend(unexpected.map(|column| Difference::UnexpectedColumn {
        table: table(),
        column: column.name.clone(),
        required: !column.nullable && column.default.is_none(),
    }));
    if expected.primary_key != actual.primary_key {
        differences.push(Difference::PrimaryKey {
            table: table(),
            expected: expected.primary_key.clone(),
            actual: actual.primary_key.clone(),
        });
    }
    let constraints =
        actual.constraints.iter().filter(|constraint| !expected.constraints.contains(constraint));
    differences.extend(constraints.map(|constraint| Difference::UnexpectedConstraint {
        table: table(),
        constraint: constraint.clone(),
    }));
    let properties =
        actual.properties.iter().filter(|property| !expected.properties.contains(property));
    differences.extend(properties.map(|property| Difference::UnexpectedProperty {
        table: table(),
        property: property.clone(),
    }));
    differences
}

/// The differences between the index `name` of `catalog` and `expected`; empty if they are equal.
/// Its validity is not compared.
pub fn compare_index(name: &str, expected: &IndexDefinition, catalog: &Catalog) -> Vec<Difference> {
    let Some(actual) = catalog.indexes.get(name) else {
        return vec![missing(
            catalog,
            name,
            "index",
            Difference::MissingIndex { index: name.to_owned() },
        )];
    };
    let actual = &actual.index;
    let unique = |unique| if unique { "unique" } else { "not unique" }.to_owned();
    let kind = |extras: &[String]| match extras {
        [] => "plain".to_owned(),
        extras => extras.join(" "),
    };
    [
        ("table", expected.table.clone(), actual.table.clone()),
        ("columns", expected.columns.join(", "), actual.columns.join(", ")),
        ("uniqueness", unique(expected.unique), unique(actual.unique)),
        ("kind", kind(&expected.extras), kind(&actual.extras)),
    ]
    .into_iter()
    .filter(|(_, expected, actual)| expected != actual)
    .map(|(property, expected, actual)| Difference::Index {
        index: name.to_owned(),
        property,
        expected,
        actual,
    })
    .collect()
}

/// `missing`, or [`Difference::NameTaken`] if another kind of relation has the name.
fn missing(
    catalog: &Catalog,
    name: &str,
    expected: &'static str,
    missing: Difference,
) -> Difference {
    match catalog.kind_of(name) {
        None => missing,
        Some(actual) => {
            Difference::NameTaken { name: name.to_owned(), expected, actual: actual.to_owned() }
        }
    }
}
