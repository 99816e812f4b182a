//! The entry point: reads a database, makes plans for it, and applies them.

use std::collections::BTreeSet;

use temporal_dsql_domain::{Engine, SchemaVersion};

use crate::{
    Difference, MigrateError, ProgressObserver, Schema, SchemaDatabase, Timeouts,
    apply::{Applier, Report},
    objects::{Catalog, CatalogIndex, Scope, TableDefinition, compare_table},
    plan::{Plan, Probe, Step, StepAction, StepState, probe, probe_table},
    retry::RetryingDatabase,
    schema::{Change, Statement},
    version_tables::{self, HISTORY_TABLE, VERSION_TABLE, VersionRow},
};

/// Migrates one database, recorded under a logical name, to versions of a schema.
///
/// Making a plan only reads; [`apply`](Self::apply) executes it. Both can be repeated at any time,
/// and by several processes at the same time. The exceptions are the plan of an
/// [overwrite](Self::plan_overwrite), which must run alone, and an update or a
/// setup beside a [rollback](Self::plan_rollback): they drop tables that others create.
pub struct Migrator<'a> {
    pub(crate) database: RetryingDatabase<'a>,
    pub(crate) schema: &'a Schema,
    pub(crate) logical_name: String,
}

/// The catalog and the recorded versions of a database, read consistently.
pub(crate) struct DatabaseState {
    pub(crate) catalog: Catalog,
    pub(crate) rows: Vec<VersionRow>,
    /// The version recorded under the logical name, as text and as a version.
    pub(crate) recorded: Option<(String, SchemaVersion)>,
}

impl<'a> Migrator<'a> {
    /// A migrator for `schema` on `database`, which is recorded under the logical name `name`.
    pub fn new(
        schema: &'a Schema,
        database: &'a mut dyn SchemaDatabase,
        name: impl Into<String>,
        timeouts: Timeouts,
        observer: &'a dyn ProgressObserver,
    ) -> Self {
        Self {
            database: RetryingDatabase::new(database, timeouts, observer),
            schema,
            logical_name: name.into(),
        }
    }

    /// Applies `plan`. A run that ended early is continued by running the command again.
    ///
    /// # Errors
    /// The first permanent failure. Steps that were executed stay in effect.
    pub async fn apply(&mut self, plan: &Plan) -> Result<Report, MigrateError> {
        Applier::new(&mut self.database, self.schema).apply(plan).await
    }

    /// Reads the versions and the catalog, and parses the recorded version.
    pub(crate) async fn database_state(
        &mut self,
        scope: &Scope,
    ) -> Result<DatabaseState, MigrateError> {
        self.check_name()?;
        let (catalog, rows) = self.consistent_state(scope).await?;
        let recorded = match rows.iter().find(|row| row.database == self.logical_name) {
            None => None,
            Some(row) => match (&row.version, row.parsed()) {
                (Some(text), Some(version)) => Some((text.clone(), version)),
                _ => return Err(self.version_error(row, &catalog).await?),
            },
        };
        Ok(DatabaseState { catalog, rows, recorded })
    }

    /// Reads the versions and the catalog; again, if the versions changed meanwhile.
    pub(crate) async fn consistent_state(
        &mut self,
        scope: &Scope,
    ) -> Result<(Catalog, Vec<VersionRow>), MigrateError> {
        let mut rows = self.version_rows().await?;
        loop {
            let catalog = self.database.catalog(scope).await?;
            let again = self.version_rows().await?;
            if rows == again {
                return Ok((catalog, rows));
            }
            rows = again;
        }
    }

    /// The relations of all versions of the schema, and the version tables.
    pub(crate) fn scope(&self) -> Scope {
        let newest = self.schema.newest();
        let statements = self.schema.statements_between(SchemaVersion::NONE, newest);
        let names = statements.iter().flat_map(|statement| statement.change.relations());
        Scope::of(names.chain([VERSION_TABLE, HISTORY_TABLE]))
    }

    /// All version rows. If the table has other columns, the error lists the differences.
    pub(crate) async fn version_rows(&mut self) -> Result<Vec<VersionRow>, MigrateError> {
        let rows = self.database.version_rows().await;
        if let Err(MigrateError::Database { source, .. }) = &rows
            && source.is_undefined_column()
        {
            let catalog = self.database.catalog(&self.scope()).await?;
            self.version_table_steps(&catalog)?;
        }
        rows
    }

    /// Checks that the logical name fits its column.
    pub(crate) fn check_name(&self) -> Result<(), MigrateError> {
        let reason = match self.logical_name.chars().count() {
            0 => "is empty",
            256.. => "is longer than 255 characters",
            _ if self.logical_name.contains('\0') => "contains a NUL character",
            _ => return Ok(()),
        };
        Err(MigrateError::InvalidName { reason })
    }

    /// The version of `row`, under any logical name.
    ///
    /// # Errors
    /// It is malformed, or newer than the schema.
    pub(crate) async fn known_version_of(
        &mut self,
        row: &VersionRow,
        catalog: &Catalog,
    ) -> Result<SchemaVersion, MigrateError> {
        match row.parsed() {
            Some(version) if version <= self.schema.newest() => Ok(version),
            _ => Err(self.version_error(row, catalog).await?),
        }
    }

    /// The error that the version of `row` is malformed, or newer than the schema.
    async fn version_error(
        &mut self,
        row: &VersionRow,
        catalog: &Catalog,
    ) -> Result<MigrateError, MigrateError> {
        let (database, current) = (row.database.clone(), row.parsed());
        let is_other = database != self.logical_name;
        let adoptable = self.adoptable(current, catalog).await?;
        Ok(match current {
            Some(current) => {
                let newest = self.schema.newest();
                MigrateError::NewerThanTool { database, is_other, current, newest, adoptable }
            }
            None => {
                let text = row.text().to_owned();
                MigrateError::UnreadableVersion { database, is_other, text, adoptable }
            }
        })
    }

    /// The other logical names of the tables that are recorded at another version than `version`,
    /// with the command that corrects each.
    pub(crate) fn notes_of_other_names(
        &self,
        rows: &[VersionRow],
        version: SchemaVersion,
    ) -> Vec<String> {
        let others = rows.iter().filter(|row| row.database != self.logical_name);
        let others = others.filter(|row| row.parsed() != Some(version));
        let note = |row: &VersionRow| {
            let is_older = row.parsed().is_some_and(|recorded| recorded < version);
            let command = if is_older { "update-schema" } else { "adopt-schema" };
            let (name, recorded) = (&row.database, row.text());
            format!(
                "the tables are also recorded for `{name}`, at {recorded}; run \
                 `{command} --logical-database {name}`"
            )
        };
        others.map(note).collect()
    }

    /// The error that no version is recorded; `rows` are those of other names.
    pub(crate) fn not_set_up_error(&self, rows: &[VersionRow]) -> MigrateError {
        MigrateError::NotSetUp {
            database: self.logical_name.clone(),
            others: rows.iter().map(|row| row.database.clone()).collect(),
        }
    }

    /// Returns `requested` if it is a version of the schema.
    pub(crate) fn known_version(
        &self,
        requested: SchemaVersion,
    ) -> Result<SchemaVersion, MigrateError> {
        if self.schema.release(requested).is_some() {
            return Ok(requested);
        }
        Err(MigrateError::UnknownVersion {
            requested,
            known: self.schema.releases().iter().map(|r| r.version).collect(),
        })
    }

    /// Checks that the recorded version `current` is not newer than the schema.
    pub(crate) async fn check_not_newer_than_schema(
        &mut self,
        current: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<(), MigrateError> {
        let newest = self.schema.newest();
        if current <= newest {
            return Ok(());
        }
        let adoptable = self.adoptable(Some(current), catalog).await?;
        let (database, is_other) = (self.logical_name.clone(), false);
        Err(MigrateError::NewerThanTool { database, is_other, current, newest, adoptable })
    }

    pub(crate) fn empty_plan(
        &self,
        from: Option<SchemaVersion>,
        to: Option<SchemaVersion>,
    ) -> Plan {
        Plan {
            engine: self.database.engine(),
            database: self.logical_name.clone(),
            from,
            to,
            notes: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The steps that create the version tables. A table with compatible differences is taken as it
    /// is, unless it has a constraint: a change of the version could violate it.
    pub(crate) fn version_table_steps(&self, catalog: &Catalog) -> Result<Vec<Step>, MigrateError> {
        let is_taken = |difference: &Difference| {
            difference.is_compatible()
                && !matches!(difference, Difference::UnexpectedConstraint { .. })
        };
        version_tables::statements()
            .map(|statement| {
                let Change::CreateTable { name, table } = &statement.change else {
                    unreachable!("they create tables");
                };
                let mut layouts = vec![table.clone()];
                if let Some(found) = catalog.tables.get(name)
                    && compare_table(name, table, catalog).iter().all(is_taken)
                {
                    layouts.push(found.clone());
                }
                step(statement, layouts, Vec::new(), catalog)
            })
            .collect()
    }

    /// The unique indexes on tables of the schema that no version has. They refuse rows that the
    /// definition accepts. That of a constraint is left out, because the constraint differs itself.
    pub(crate) fn unexpected_indexes(&self, catalog: &Catalog) -> Vec<Difference> {
        let known = self.scope().names;
        let unexpected = catalog.indexes.iter().filter(|(name, found)| {
            let index = &found.index;
            index.unique
                && known.contains(&index.table)
                && !known.contains(*name)
                && !catalog.is_of_constraint(name)
        });
        let difference = |(name, found): (&String, &CatalogIndex)| Difference::UnexpectedIndex {
            table: found.index.table.clone(),
            index: name.clone(),
            columns: found.index.columns.clone(),
        };
        unexpected.map(difference).collect()
    }

    /// The steps of the releases after `from`, up to `to`, on the way to `target`.
    pub(crate) async fn release_steps(
        &mut self,
        from: SchemaVersion,
        to: SchemaVersion,
        target: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<Vec<Step>, MigrateError> {
        let schema = self.schema;
        let mut steps = Vec::new();
        let start = schema.end_of(from);
        for (offset, statement) in schema.statements_between(from, to).iter().enumerate() {
            self.check_engine(statement)?;
            let position = start + offset;
            let (layouts, key) = match &statement.change {
                Change::CreateTable { name, .. } | Change::AddColumn { table: name, .. } => {
                    (schema.layouts_of(name, position, target), Vec::new())
                }
                Change::Seed(seed) => (Vec::new(), schema.key_at(position, &seed.table)),
                _ => (Vec::new(), Vec::new()),
            };
            let mut step = step(statement.clone(), layouts, key.clone(), catalog)?;
            if let Change::Seed(seed) = &statement.change
                && catalog.tables.contains_key(&seed.table)
                && self.database.has_seed(seed, &key).await?
            {
                step.state = StepState::InEffect;
            }
            steps.push(step);
        }
        Ok(steps)
    }

    /// Compares a database with its recorded version, on the way to `target`. Adds to `plan` the steps
    /// that repair objects without data: missing version tables, missing and invalid indexes, missing
    /// initial rows.
    ///
    /// Any other missing table is an error: recreated, it would hide the loss of its rows. So is a
    /// table that differs, unless it is compatible and no step works on it; then the plan notes it.
    pub(crate) async fn repair(
        &mut self,
        plan: &mut Plan,
        recorded: SchemaVersion,
        target: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<(), MigrateError> {
        let schema = self.schema;
        let objects = schema.objects_at(recorded);
        let pending = schema.statements_between(recorded, target);
        let is_dropped = |name: &String| {
            pending.iter().any(|statement| match &statement.change {
                Change::DropTable { name: dropped } | Change::DropIndex { name: dropped } => {
                    dropped == name
                }
                _ => false,
            })
        };
        let mut differences = self.unexpected_indexes(catalog);
        for name in objects.tables.keys() {
            let layouts = schema.layouts_from(name, recorded, target);
            match probe_table(name, &layouts, catalog) {
                Probe::Differs(found) => differences.extend(found),
                Probe::Pending if !is_dropped(name) => {
                    differences.push(Difference::MissingTable { table: name.clone() });
                }
                _ => {}
            }
        }
        let mut steps = self.version_table_steps(catalog)?;
        // Those that are left are compatible.
        differences.extend(version_table_differences(catalog));
        // Listed only if they are missing or will be written.
        steps.retain(|step| target > recorded || step.state != StepState::InEffect);
        for statement in schema.statements_between(SchemaVersion::NONE, recorded) {
            let Change::CreateIndex { name, index, .. } = &statement.change else {
                continue;
            };
            // A later statement may have dropped this index.
            if objects.indexes.get(name) != Some(index) {
                continue;
            }
            match probe(&statement.change, &[], catalog) {
                Probe::InEffect => {}
                Probe::Differs(found) => differences.extend(found),
                _ if is_dropped(name) || is_dropped(&index.table) => {}
                found => {
                    self.check_engine(statement)?;
                    steps.push(Step {
                        state: found.state(),
                        action: StepAction::Run {
                            statement: statement.clone(),
                            layouts: Vec::new(),
                            key: Vec::new(),
                        },
                    });
                }
            }
        }
        let touched: BTreeSet<&str> =
            pending.iter().flat_map(|statement| statement.change.touched()).collect();
        let (tolerated, differences): (Vec<_>, Vec<_>) =
            differences.into_iter().partition(|difference| {
                !touched.contains(difference.relation()) && difference.is_compatible()
            });
        if !differences.is_empty() {
            return Err(self.incomplete_error(recorded, differences, catalog).await?);
        }
        plan.notes.extend(tolerated.iter().map(note_of));
        for statement in schema.statements_between(SchemaVersion::NONE, recorded) {
            let Change::Seed(seed) = &statement.change else {
                continue;
            };
            if !objects.seeds.contains(seed) || is_dropped(&seed.table) {
                continue;
            }
            let key = objects.primary_key_of(&seed.table);
            if !self.database.has_seed(seed, &key).await? {
                let action =
                    StepAction::Run { statement: statement.clone(), layouts: Vec::new(), key };
                steps.push(Step { action, state: StepState::Pending });
            }
        }
        plan.steps.extend(steps);
        Ok(())
    }

    /// The error that the database does not match its recorded version.
    pub(crate) async fn incomplete_error(
        &mut self,
        version: SchemaVersion,
        differences: Vec<Difference>,
        catalog: &Catalog,
    ) -> Result<MigrateError, MigrateError> {
        let adoptable = self.adoptable(Some(version), catalog).await?;
        Ok(MigrateError::Incomplete { version, differences, adoptable })
    }

    /// The tables and indexes in `catalog` that versions newer than `version` add.
    pub(crate) fn drift(&self, version: SchemaVersion, catalog: &Catalog) -> Vec<Difference> {
        let mut drift = Vec::new();
        let objects = self.schema.objects_at(version);
        for release in self.schema.releases_between(version, self.schema.newest()) {
            let later = self.schema.objects_at(release.version);
            let tables = later
                .tables
                .keys()
                .filter(|name| !objects.tables.contains_key(*name))
                .filter(|name| catalog.tables.contains_key(*name))
                .map(|name| (name, "table"));
            let indexes = later
                .indexes
                .keys()
                .filter(|name| !objects.indexes.contains_key(*name))
                .filter(|name| catalog.indexes.contains_key(*name))
                .map(|name| (name, "index"));
            for (name, object) in tables.chain(indexes) {
                let found = Difference::NewerObject {
                    name: name.clone(),
                    object,
                    version: release.version.to_string(),
                };
                let is_known = drift.iter().any(
                    |other| matches!(other, Difference::NewerObject { name: known, .. } if known == name),
                );
                if !is_known {
                    drift.push(found);
                }
            }
        }
        drift
    }

    /// Checks that no object of a version newer than `version` exists.
    pub(crate) fn check_no_drift(
        &self,
        version: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<(), MigrateError> {
        let drift = self.drift(version, catalog);
        if drift.is_empty() {
            return Ok(());
        }
        Err(MigrateError::Drift { version, drift })
    }

    fn check_engine(&self, statement: &Statement) -> Result<(), MigrateError> {
        match &statement.change {
            Change::CreateIndex { name, asynchronous: false, .. }
                if self.database.engine() == Engine::Dsql =>
            {
                Err(MigrateError::SynchronousIndex { index: name.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// The note of a difference with which a plan goes on.
pub(crate) fn note_of(difference: &Difference) -> String {
    format!("{difference}; no step changes it, and `verify` goes on reporting it")
}

/// The differences of the version tables that exist.
pub(crate) fn version_table_differences(catalog: &Catalog) -> Vec<Difference> {
    let existing = version_tables::tables().filter(|(name, _)| catalog.kind_of(name).is_some());
    existing.flat_map(|(name, table)| compare_table(&name, &table, catalog)).collect()
}

/// The step that brings `statement` into effect.
fn step(
    statement: Statement,
    layouts: Vec<TableDefinition>,
    key: Vec<String>,
    catalog: &Catalog,
) -> Result<Step, MigrateError> {
    match probe(&statement.change, &layouts, catalog) {
        Probe::Differs(differences) => Err(MigrateError::Differs(differences)),
        found => {
            Ok(Step { state: found.state(), action: StepAction::Run { statement, layouts, key } })
        }
    }
}
