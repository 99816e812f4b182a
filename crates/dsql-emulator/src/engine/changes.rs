//! The rows that a transaction has changed, so that they can be removed from the database and
//! written back.
//!
//! Rows are kept in PostgreSQL's text form and written back unchanged: no expression is evaluated
//! twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// The changed rows of a transaction, by table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    tables: BTreeMap<u32, Table>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    /// Primary keys of all rows that were inserted, updated or deleted.
    keys: BTreeSet<String>,
    /// For a table without a primary key: removed and added rows, in order.
    steps: Vec<(Option<String>, Option<String>)>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Records that the rows with these primary keys have changed.
    pub(crate) fn add(&mut self, table: u32, keys: impl IntoIterator<Item = String>) {
        self.tables.entry(table).or_default().keys.extend(keys);
    }

    /// Records that rows of a table without a primary key were replaced.
    pub(crate) fn replace(&mut self, table: u32, removed: Vec<String>, added: Vec<String>) {
        let steps = &mut self.tables.entry(table).or_default().steps;
        steps.extend(removed.into_iter().map(|row| (Some(row), None)));
        steps.extend(added.into_iter().map(|row| (None, Some(row))));
    }

    pub(crate) fn merge(&mut self, later: Self) {
        for (oid, table) in later.tables {
            let own = self.tables.entry(oid).or_default();
            own.keys.extend(table.keys);
            own.steps.extend(table.steps);
        }
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = u32> {
        self.tables.keys().copied()
    }

    /// The argument of `read_rows`: `{"table": ["key", …], …}`.
    pub(crate) fn read_rows_argument(&self) -> String {
        let keyed = self.tables.iter().filter(|(_, table)| !table.keys.is_empty());
        let tables: Map<String, Value> =
            keyed.map(|(oid, table)| (oid.to_string(), json!(table.keys))).collect();
        Value::Object(tables).to_string()
    }

    /// The argument of `write_rows`, with the rows that `read_rows` has returned.
    pub(crate) fn write_rows_argument(&self, rows: &[(u32, String)]) -> String {
        let tables: Map<String, Value> = self
            .tables
            .iter()
            .map(|(oid, table)| {
                let rows: Vec<&String> =
                    rows.iter().filter(|(of, _)| of == oid).map(|(_, row)| row).collect();
                let work = json!({ "keys": table.keys, "rows": rows, "steps": table.steps });
                (oid.to_string(), work)
            })
            .collect();
        Value::Object(tables).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_and_written_by_their_keys() {
        let mut changes = Changes::default();
        assert!(changes.is_empty());
        changes.add(1, ["[1]".into(), "[2]".into()]);
        let mut later = Changes::default();
        later.add(1, ["[1]".into()]);
        later.replace(2, vec!["(a)".into()], vec!["(b)".into()]);
        changes.merge(later);
        assert_eq!(changes.read_rows_argument(), r#"{"1":["[1]","[2]"]}"#);
        // The row with key 2 was deleted, so `read_rows` did not return it.
        let work = changes.write_rows_argument(&[(1, "(1,x)".into())]);
        assert_eq!(
            work,
            r#"{"1":{"keys":["[1]","[2]"],"rows":["(1,x)"],"steps":[]},"2":{"keys":[],"rows":[],"steps":[["(a)",null],[null,"(b)"]]}}"#
        );
        assert_eq!(changes.tables().collect::<Vec<_>>(), [1, 2]);
    }
}
