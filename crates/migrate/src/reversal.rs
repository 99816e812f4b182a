//! Which tables a rollback drops, and whether that reverses what newer versions have done.

use std::collections::BTreeMap;

use temporal_dsql_domain::SchemaVersion;

use crate::{
    MigrateError, Migrator,
    migrator::DatabaseState,
    objects::{Catalog, Objects, TableDefinition},
    schema::Change,
    version_tables::VersionRow,
};

impl Migrator<'_> {
    /// The tables that the releases after `target` add, in their order. Of releases that are recorded
    /// under no logical name, only what exists counts: an update may have ended early.
    pub(crate) fn added_tables(
        &self,
        target: SchemaVersion,
        state: &DatabaseState,
    ) -> Result<Vec<String>, MigrateError> {
        let newest = self.schema.newest();
        let recorded = state.rows.iter().filter_map(VersionRow::parsed).max().unwrap_or(target);
        self.schema.check(target, recorded)?;
        let of_recorded = self.schema.statements_between(target, recorded).len();
        let objects = self.schema.objects_at(recorded);
        let is_visible = |change: &Change| is_visible(change, &state.catalog, &objects);
        let mut added: Vec<String> = Vec::new();
        let statements = self.schema.statements_between(target, newest);
        for (position, statement) in statements.iter().enumerate() {
            let is_on_added = |table: &String| added.contains(table);
            match &statement.change {
                change if position >= of_recorded && !is_visible(change) => {}
                Change::CreateTable { name, .. } => added.push(name.clone()),
                // Dropped with their table.
                Change::AddColumn { table, .. } if is_on_added(table) => {}
                Change::CreateIndex { index, .. } if is_on_added(&index.table) => {}
                Change::Seed(seed) if is_on_added(&seed.table) => {}
                _ => {
                    return Err(MigrateError::Irreversible {
                        version: statement.origin.as_ref().map_or(newest, |origin| origin.version),
                        summary: statement.summary(),
                    });
                }
            }
        }
        Ok(added)
    }
}

/// Whether `catalog` shows that `change` has added something to the `recorded` objects. A name that these
/// have says nothing: a later release may replace its object.
fn is_visible(change: &Change, catalog: &Catalog, recorded: &Objects) -> bool {
    match change {
        Change::CreateTable { name, .. } => {
            catalog.tables.contains_key(name) && !recorded.tables.contains_key(name)
        }
        Change::AddColumn { table, column } => {
            let has = |tables: &BTreeMap<String, TableDefinition>| {
                tables.get(table).is_some_and(|table| table.column(&column.name).is_some())
            };
            has(&catalog.tables) && !has(&recorded.tables)
        }
        Change::CreateIndex { name, .. } => {
            catalog.indexes.contains_key(name) && !recorded.indexes.contains_key(name)
        }
        _ => false,
    }
}
