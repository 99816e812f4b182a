//! The effect of a schema statement on the object model.

use crate::objects::{
    ColumnDefinition, Dependent, IndexDefinition, Objects, Seed, TableDefinition,
};

/// The effect of a statement. The catalog shows whether it has taken place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CREATE TABLE`.
    CreateTable {
        /// Its name.
        name: String,
        /// Its definition.
        table: TableDefinition,
    },
    /// `ALTER TABLE … ADD COLUMN`.
    AddColumn {
        /// The table.
        table: String,
        /// The column.
        column: ColumnDefinition,
    },
    /// `DROP TABLE`.
    DropTable {
        /// The table.
        name: String,
    },
    /// `CREATE [UNIQUE] INDEX [ASYNC]`.
    CreateIndex {
        /// Its name.
        name: String,
        /// Its definition.
        index: IndexDefinition,
        /// Whether it has ASYNC, as DSQL requires (aurora-dsql.md#indexes).
        asynchronous: bool,
    },
    /// `DROP INDEX`.
    DropIndex {
        /// The index.
        name: String,
    },
    /// The drop of an object that depends on a table to be dropped. Schema files cannot contain it.
    DropDependent(Dependent),
    /// `INSERT … VALUES`, with or without `ON CONFLICT DO NOTHING`.
    Seed(Seed),
}

impl Change {
    /// The relations whose catalog entries show whether the change has taken place; none for rows.
    pub(crate) fn relations(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::CreateTable { name, .. }
            | Self::DropTable { name }
            | Self::CreateIndex { name, .. }
            | Self::DropIndex { name }
            | Self::AddColumn { table: name, .. } => Some(&**name),
            Self::Seed(_) | Self::DropDependent(_) => None,
        }
        .into_iter()
    }

    /// All relations that the change works on.
    pub(crate) fn touched(&self) -> impl Iterator<Item = &str> {
        let table = match self {
            Self::CreateIndex { index, .. } => Some(&*index.table),
            Self::Seed(seed) => Some(&*seed.table),
            _ => None,
        };
        self.relations().chain(table)
    }
}

impl Objects {
    /// Applies `change` to the model.
    ///
    /// # Errors
    /// The reason why it contradicts the objects before it.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<(), String> {
        let known = |objects: &Self, name: &String| {
            objects.tables.contains_key(name) || objects.indexes.contains_key(name)
        };
        match change {
            Change::CreateTable { name, .. } | Change::CreateIndex { name, .. }
                if known(self, name) =>
            {
                return Err(format!("the name {name} is taken by an earlier statement"));
            }
            Change::CreateTable { name, table } => {
                self.tables.insert(name.clone(), table.clone());
            }
            Change::AddColumn { table, column } => {
                let columns = &mut self.table_mut(table)?.columns;
                if columns.iter().any(|other| other.name == column.name) {
                    return Err(format!("table {table} has a column {} already", column.name));
                }
                columns.push(column.clone());
            }
            Change::DropTable { name } => {
                self.table_mut(name)?;
                self.tables.remove(name);
                self.indexes.retain(|_, index| index.table != *name);
                self.seeds.retain(|seed| seed.table != *name);
            }
            Change::CreateIndex { name, index, .. } => {
                let table = self.table_mut(&index.table)?;
                columns_exist(&index.table, table, &index.columns)?;
                self.indexes.insert(name.clone(), index.clone());
            }
            Change::DropIndex { name } => {
                if self.indexes.remove(name).is_none() {
                    return Err(format!("there is no index {name} before this statement"));
                }
            }
            Change::DropDependent(dependent) => {
                return Err(format!("{} is not part of a schema", dependent.object));
            }
            Change::Seed(seed) => {
                let table = self.table_mut(&seed.table)?;
                columns_exist(&seed.table, table, &seed.columns)?;
                if table.primary_key.is_empty()
                    || !table.primary_key.iter().all(|key| seed.columns.contains(key))
                {
                    return Err(format!(
                        "the row must give the primary key of {}, which identifies it",
                        seed.table
                    ));
                }
                self.seeds.push(seed.clone());
            }
        }
        Ok(())
    }

    fn table_mut(&mut self, name: &str) -> Result<&mut TableDefinition, String> {
        self.tables
            .get_mut(name)
            .ok_or_else(|| format!("there is no table {name} before this statement"))
    }
}

fn columns_exist(name: &str, table: &TableDefinition, columns: &[String]) -> Result<(), String> {
    match columns.iter().find(|column| table.column(column).is_none()) {
        Some(column) => Err(format!("table {name} has no column {column}")),
        None => Ok(()),
    }
}
