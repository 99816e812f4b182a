//! The database of a real Temporal server on PostgreSQL, stopped in the middle of its work.

use std::{collections::BTreeMap, fmt::Write, fs, path::PathBuf};

use serde_json::{Map, Value};

use crate::ScratchDatabase;

/// The recorded database: the schema of upstream's plugin at 1.19, with every row.
#[derive(Clone, Debug)]
pub struct RecordedDeployment {
    catalog: Map<String, Value>,
}

/// A row as JSON: a `bytea` is base64, a `timestamp` is UTC with microseconds.
pub type RecordedRow = Map<String, Value>;

fn file(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/temporal-postgres-1.19");
    PathBuf::from(folder).join(name)
}

/// # Panics
/// The files of this repository are damaged.
impl RecordedDeployment {
    /// Reads the catalog.
    #[expect(clippy::new_without_default, reason = "it reads a file")]
    pub fn new() -> Self {
        let text = fs::read_to_string(file("catalog.json")).expect("the recorded catalog");
        let catalog: Value = serde_json::from_str(&text).expect("a catalog in JSON");
        let tables = catalog["tables"].as_object().expect("tables by name");
        Self { catalog: tables.clone() }
    }

    /// The names of all tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.catalog.keys().map(String::as_str)
    }

    /// The types of the columns of `table`, by name.
    pub fn columns(&self, table: &str) -> BTreeMap<&str, &str> {
        let columns = self.catalog[table]["columns"].as_array().expect("columns in a list");
        columns
            .iter()
            .map(|column| {
                let of = |field: &str| column[field].as_str().expect("a name and a type");
                (of("name"), of("type"))
            })
            .collect()
    }

    /// The rows of `table`.
    pub fn rows(&self, table: &str) -> Vec<RecordedRow> {
        let text = fs::read_to_string(file(&format!("{table}.jsonl"))).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a row in JSON")).collect()
    }

    /// The statements that create the tables.
    pub fn schema_sql(&self) -> String {
        let mut sql = String::new();
        for (table, definition) in &self.catalog {
            let list = |field: &str| definition[field].as_array().expect("a list");
            let mut parts = Vec::new();
            for column in list("columns") {
                let of = |field: &str| column[field].as_str().unwrap_or_default();
                let default = of("default");
                let (data_type, default) = match default.starts_with("nextval(") {
                    true => ("bigserial", String::new()),
                    false if default.is_empty() => (of("type"), String::new()),
                    false => (of("type"), format!(" DEFAULT {default}")),
                };
                let null = if column["nullable"] == true { "" } else { " NOT NULL" };
                parts.push(format!("\"{}\" {data_type}{null}{default}", of("name")));
            }
            let names = |value: &Value| {
                let names = value.as_array().expect("a list of names").iter();
                names
                    .map(|name| format!("\"{}\"", name.as_str().expect("a name")))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            parts.push(format!("PRIMARY KEY ({})", names(&definition["primary_key"])));
            writeln!(sql, "CREATE TABLE \"{table}\" ({});", parts.join(", ")).expect("a string");
            for index in list("indexes") {
                let unique = if index["unique"] == true { "UNIQUE " } else { "" };
                let (name, columns) = (&index["name"], names(&index["columns"]));
                writeln!(sql, "CREATE {unique}INDEX {name} ON \"{table}\" ({columns});")
                    .expect("a string");
            }
        }
        sql
    }

    /// The statements that insert the rows.
    pub fn rows_sql(&self) -> String {
        let mut sql = String::new();
        for table in self.tables() {
            let columns = self.columns(table);
            for row in self.rows(table) {
                let names: Vec<_> = row.keys().map(|name| format!("\"{name}\"")).collect();
                let values: Vec<_> =
                    row.iter().map(|(name, value)| literal(columns[&**name], value)).collect();
                writeln!(
                    sql,
                    "INSERT INTO \"{table}\" ({}) VALUES ({});",
                    names.join(", "),
                    values.join(", ")
                )
                .expect("a string");
            }
        }
        sql
    }

    /// A database with these tables and rows, or `None` if the test is skipped without a server (see
    /// [`gate`](crate::gate)).
    ///
    /// # Panics
    /// As [`ScratchDatabase::create`], or the server refuses a statement.
    pub async fn create(&self) -> Option<ScratchDatabase> {
        let server = crate::gate::server_url()?;
        Some(self.create_on(&server).await.expect("the recorded database"))
    }

    /// A database with these tables and rows on the server at `url`, whose role must have `CREATEDB`.
    ///
    /// # Errors
    /// The server refuses a statement.
    pub async fn create_on(&self, url: &str) -> Result<ScratchDatabase, sqlx::Error> {
        let database = ScratchDatabase::create_on(url).await?;
        database.execute(&(self.schema_sql() + &self.rows_sql())).await?;
        Ok(database)
    }
}

/// A value as a literal of `data_type`.
fn literal(data_type: &str, value: &Value) -> String {
    match (data_type, value) {
        (_, Value::Null) => "NULL".to_owned(),
        ("bytea", Value::String(base64)) => format!("decode('{base64}', 'base64')"),
        (_, Value::String(text)) => format!("'{}'", text.replace('\'', "''")),
        (_, other) => other.to_string(),
    }
}
