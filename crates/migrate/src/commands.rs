//! The plans of the commands: set up, update, roll back, overwrite.

use std::collections::BTreeMap;

use temporal_dsql_domain::SchemaVersion;

use crate::{
    Difference, MigrateError, Migrator,
    migrator::{DatabaseState, note_of, version_table_differences},
    objects::{Catalog, TableDefinition, compare_table},
    plan::{Plan, Step, StepAction, StepState},
    preflight::check_not_of_other_tables,
    schema::{Change, Release, Statement},
    version_tables::{
        self, HISTORY_TABLE, INITIAL_DESCRIPTION, VERSION_TABLE, VersionChange, VersionRow, bounded,
    },
};

/// The parameters of a setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The version; the newest if `None`. 0.0 has the version tables only.
    pub version: Option<SchemaVersion>,
    /// Whether the version is recorded. If not, the version tables are neither read nor created.
    pub versioning: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { version: None, versioning: true }
    }
}

/// The parameters of a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The version to roll back to.
    pub to: SchemaVersion,
    /// Whether tables that the newer versions added are dropped even if they have rows.
    pub with_rows: bool,
    /// Whether objects that depend on these tables are dropped first: views, foreign keys, functions.
    pub drop_dependents: bool,
}

/// The parameters of an overwrite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overwrite {
    /// The setup after the drops.
    pub setup: Setup,
    /// Whether tables are dropped that have the name of a table of the schema and differ from every
    /// version of it in a way that is not compatible. They may belong to something else.
    pub drop_different: bool,
    /// Whether objects that depend on the dropped tables are dropped first: views, foreign keys,
    /// functions.
    pub drop_dependents: bool,
}

impl Migrator<'_> {
    /// Plans to set up exactly the requested version on a database without one, or to continue a
    /// setup that ended early.
    ///
    /// A database at the requested version, under any logical name, is compared with it, and only
    /// missing objects without data are created. A version of another name does not count if no table of
    /// the schema exists. For 0.0 and a database at any version there is nothing to do, as for Temporal's
    /// tool.
    ///
    /// # Errors
    /// The database is at another version, has objects of a newer version, has objects that differ
    /// from the schema, or is what an overwrite that ended early has left of a deployment. Nothing was
    /// changed.
    pub async fn plan_setup(&mut self, setup: &Setup) -> Result<Plan, MigrateError> {
        let plan = self.setup_plan(setup).await?;
        self.preflight(plan).await
    }

    /// The plan of a setup, whether or not the role may execute it.
    pub(crate) async fn setup_plan(&mut self, setup: &Setup) -> Result<Plan, MigrateError> {
        let version = self.requested_version(setup)?;
        if !setup.versioning {
            let catalog = self.database.catalog(&self.scope()).await?;
            let mut plan = self.empty_plan(None, None);
            plan.steps = self.setup_steps(setup, version, &catalog).await?;
            return Ok(plan);
        }
        let state = self.database_state(&self.scope()).await?;
        let Some((_, current)) = state.recorded else {
            self.check_other_names_not_older(version, &state.rows)?;
            let mut plan = self.empty_plan(None, Some(version));
            plan.notes = self.notes_of_other_names(&state.rows, version);
            let tables = self.schema.objects_at(version).tables;
            let has_tables = tables.keys().any(|name| state.catalog.tables.contains_key(name));
            if has_tables && state.rows.iter().any(|row| row.parsed() == Some(version)) {
                // The tables are those of another name.
                self.schema.check(SchemaVersion::NONE, version)?;
                self.check_no_drift(version, &state.catalog)?;
                self.repair(&mut plan, version, version, &state.catalog).await?;
                plan.steps.push(self.initial_record(version));
            } else {
                plan.steps = self.setup_steps(setup, version, &state.catalog).await?;
            }
            if state.rows.is_empty() {
                self.check_no_rows_of_servers(version, &state.catalog).await?;
            }
            return Ok(plan);
        };
        if version == SchemaVersion::NONE && current > version {
            return Ok(self.empty_plan(Some(current), Some(current)));
        }
        self.check_not_newer_than_schema(current, &state.catalog).await?;
        if current > version {
            return Err(MigrateError::NeedsRollback { current, requested: version });
        }
        if current < version {
            return Err(MigrateError::NeedsUpdate { current, requested: version });
        }
        self.schema.check(SchemaVersion::NONE, version)?;
        let mut plan = self.empty_plan(Some(current), Some(version));
        plan.notes = self.notes_of_other_names(&state.rows, version);
        self.repair(&mut plan, version, version, &state.catalog).await?;
        Ok(plan)
    }

    /// Plans to update a database from its recorded version to `target`, or to the newest version.
    /// For each release, its statements are executed and then its version is recorded.
    ///
    /// The database is compared with its recorded version first, also if that is the target: missing
    /// objects without data are created. A difference of an object that no step works on is only noted
    /// if it is compatible: it holds more or is more permissive. Any other difference is an error.
    ///
    /// # Errors
    /// No version is recorded, the target is older or unknown, or the database has objects that
    /// differ from the schema. Nothing was changed.
    pub async fn plan_update(
        &mut self,
        target: Option<SchemaVersion>,
    ) -> Result<Plan, MigrateError> {
        let plan = self.update_plan(target).await?;
        self.preflight(plan).await
    }

    /// The plan of an update, whether or not the role may execute it.
    pub(crate) async fn update_plan(
        &mut self,
        target: Option<SchemaVersion>,
    ) -> Result<Plan, MigrateError> {
        let target = match target {
            None => None,
            Some(target) => Some(self.known_version(target)?),
        };
        let state = self.database_state(&self.scope()).await?;
        let Some((text, current)) = state.recorded else {
            return Err(self.not_set_up_error(&state.rows));
        };
        self.check_not_newer_than_schema(current, &state.catalog).await?;
        let target = target.unwrap_or_else(|| self.schema.newest());
        if target < current {
            return Err(MigrateError::NeedsRollback { current, requested: target });
        }
        self.schema.check(current, target)?;
        let mut plan = self.empty_plan(Some(current), Some(target));
        match self.schema.check(SchemaVersion::NONE, current) {
            Ok(()) => self.repair(&mut plan, current, target, &state.catalog).await?,
            // As by Temporal's tool, which does not read versions that are in effect.
            Err(problem) => {
                plan.notes.push(format!("the database was not compared with {current}: {problem}"));
                if target > current {
                    plan.steps = self.version_table_steps(&state.catalog)?;
                }
            }
        }
        if target > current {
            self.check_no_drift(target, &state.catalog)?;
        }
        plan.notes.extend(self.notes_of_other_names(&state.rows, target));
        let schema = self.schema;
        let dropped = schema.statements_between(current, target).iter();
        let dropped = dropped.filter_map(|statement| match &statement.change {
            Change::DropTable { name } | Change::DropIndex { name } => Some(name.clone()),
            _ => None,
        });
        let dropped = dropped.filter(|name| state.catalog.kind_of(name).is_some()).collect();
        self.plan_dependents(&mut plan, dropped, None).await?;
        let mut from = text;
        let mut previous = current;
        for release in schema.releases_between(current, target) {
            let steps =
                self.release_steps(previous, release.version, target, &state.catalog).await?;
            plan.steps.extend(steps);
            plan.steps.push(record(VersionChange {
                from: Some(from),
                description: release.description.clone(),
                ..self.change_to(release)
            }));
            from = release.version.to_string();
            previous = release.version;
        }
        Ok(plan)
    }

    /// Plans to roll back to an older version: lowers the recorded version, then drops the tables
    /// that the newer versions added, in reverse order. No other table is changed. Objects that depend on
    /// these tables are dropped between the two, if that is asked for.
    ///
    /// The version is lowered first so that no server of the newer version starts after that; it is
    /// lowered in one transaction under every logical name of the tables that has a newer one. All
    /// servers must be on the older version before the rollback: a server that still writes a dropped
    /// table loses those writes. If the rollback ends early, running it again drops the remaining
    /// tables; an update reverts it.
    ///
    /// # Errors
    /// No version is recorded, the target is newer or unknown, a table of the target is missing, the
    /// newer versions do more than add tables, as far as they are recorded or in effect, a table to be
    /// dropped has rows and [`Rollback::with_rows`] is not set, or an object depends on it and
    /// [`Rollback::drop_dependents`] is not set.
    pub async fn plan_rollback(&mut self, rollback: &Rollback) -> Result<Plan, MigrateError> {
        let target = self.known_version(rollback.to)?;
        let state = self.database_state(&self.scope()).await?;
        let Some((_, current)) = state.recorded else {
            return Err(self.not_set_up_error(&state.rows));
        };
        self.check_not_newer_than_schema(current, &state.catalog).await?;
        if target > current {
            return Err(MigrateError::NotARollback { current, requested: target });
        }
        let mut added = self.added_tables(target, &state)?;
        let mut plan = self.empty_plan(Some(current), Some(target));
        self.compare_rest(&mut plan, target, &state.catalog).await?;
        added.retain(|table| state.catalog.tables.contains_key(table));
        let dependents = rollback.drop_dependents;
        self.lower_versions(&mut plan, target, &state).await?;
        self.plan_dependents(&mut plan, added.clone(), Some(dependents)).await?;
        for table in added.into_iter().rev() {
            let position = self.schema.end_of(target);
            let layouts = self.schema.layouts_of(&table, position, self.schema.newest());
            let differences = nearest(&table, &layouts, &state.catalog);
            if !differences.is_empty() {
                return Err(MigrateError::Differs(differences));
            }
            if !rollback.with_rows {
                let rows = self.database.count_rows(&table).await?;
                if rows.is_some() {
                    return Err(MigrateError::TableHasRows { table, rows, version_lowered: false });
                }
            }
            plan.steps.push(drop_table(&table, rollback.with_rows, Some(target), Vec::new()));
        }
        self.preflight(plan).await
    }

    /// Plans to record `target` under every logical name with a newer version, in one transaction.
    async fn lower_versions(
        &mut self,
        plan: &mut Plan,
        target: SchemaVersion,
        state: &DatabaseState,
    ) -> Result<(), MigrateError> {
        let mut newer = Vec::new();
        for row in &state.rows {
            let version = self.known_version_of(row, &state.catalog).await?;
            if version > target {
                newer.push((row.database.clone(), row.text().to_owned()));
            }
        }
        newer.sort_by_key(|(name, _)| *name != self.logical_name);
        let mut newer = newer.into_iter();
        let (Some((database, from)), Some(release)) = (newer.next(), self.schema.release(target))
        else {
            return Ok(());
        };
        let mut description = format!("rolled back from {from}");
        let also: Vec<_> = newer.collect();
        for (name, text) in &also {
            description += &format!(", with `{name}` ({text})");
            let note = format!("the version recorded for `{name}` ({text}) is lowered, too");
            plan.notes.push(note);
        }
        plan.steps.extend(self.version_table_steps(&state.catalog)?);
        plan.steps.push(record(VersionChange {
            database,
            from: Some(from),
            also,
            description: bounded(description),
            ..self.change_to(release)
        }));
        Ok(())
    }

    /// Compares the tables of `target`, the target of a rollback, if its files are known. None may be
    /// missing. The others are not changed, so `plan` notes how they differ.
    async fn compare_rest(
        &mut self,
        plan: &mut Plan,
        target: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<(), MigrateError> {
        if self.schema.check(SchemaVersion::NONE, target).is_err() {
            return Ok(());
        }
        let tables = self.schema.objects_at(target).tables;
        let compared = tables.iter().flat_map(|(name, table)| compare_table(name, table, catalog));
        let (different, missing): (Vec<_>, Vec<_>) =
            compared.partition(|difference| catalog.tables.contains_key(difference.relation()));
        if let (false, Some(current)) = (missing.is_empty(), plan.from) {
            return Err(self.incomplete_error(current, missing, catalog).await?);
        }
        let indexes = self.unexpected_indexes(catalog);
        let indexes = indexes.iter().filter(|index| tables.contains_key(index.relation()));
        let others = version_table_differences(catalog);
        plan.notes.extend(different.iter().chain(indexes).chain(&others).map(note_of));
        Ok(())
    }

    /// Plans to drop every table of this schema with its rows, and to set up the requested version.
    /// Other tables are kept. A table that has the name of one of this schema and differs from it stops
    /// the command, unless the differences are compatible or [`Overwrite::drop_different`] is set. The
    /// setup is planned before anything is dropped, so that a setup that would be refused drops nothing.
    ///
    /// Without versioning, the version tables are neither read nor dropped. With it, they are dropped
    /// first: a run that ends early must not leave a recorded version that the database no longer has.
    /// An overwrite that ended early must be repeated as an overwrite: a setup does not take the remaining
    /// tables with their rows.
    ///
    /// # Errors
    /// Those of a setup of a database without these tables; a recorded version, under any logical
    /// name, may be that of a newer schema, or is that of tables that would be left; a table differs
    /// from every version of the schema, or an object depends on a table, and the parameters do not say
    /// that they are dropped.
    pub async fn plan_overwrite(&mut self, overwrite: &Overwrite) -> Result<Plan, MigrateError> {
        let setup = &overwrite.setup;
        let version = self.requested_version(setup)?;
        if setup.versioning {
            self.check_name()?;
        }
        let rows = match setup.versioning {
            true => self.version_rows().await,
            false => Ok(Vec::new()),
        };
        let mut catalog = self.database.catalog(&self.scope().and_others()).await?;
        let mut plan = self.empty_plan(None, setup.versioning.then_some(version));
        let rows = match rows {
            // The table is one of those that differ.
            Err(MigrateError::Differs(_)) => {
                plan.notes.push(format!(
                    "the recorded versions are not known, because table {VERSION_TABLE} lacks a column"
                ));
                Vec::new()
            }
            rows => rows?,
        };
        if !setup.versioning && catalog.kind_of(VERSION_TABLE).is_some() {
            plan.notes.push(format!("what {VERSION_TABLE} records stays as it is"));
        }
        for row in &rows {
            if row.database == self.logical_name {
                plan.from = row.parsed();
            } else {
                let (name, recorded) = (&row.database, row.text());
                plan.notes.push(format!(
                    "the version recorded for `{name}` ({recorded}) is dropped, too"
                ));
            }
        }
        let mut known = match setup.versioning {
            true => vec![VERSION_TABLE.to_owned(), HISTORY_TABLE.to_owned()],
            false => Vec::new(),
        };
        let newest = self.schema.newest();
        let statements = self.schema.statements_between(SchemaVersion::NONE, newest);
        for statement in statements.iter().rev() {
            if let Change::CreateTable { name, .. } = &statement.change
                && !known.contains(name)
            {
                known.push(name.clone());
            }
        }
        let dropped: Vec<String> =
            known.iter().filter(|name| catalog.tables.contains_key(*name)).cloned().collect();
        let dependents = overwrite.drop_dependents;
        self.plan_dependents(&mut plan, dropped.clone(), Some(dependents)).await?;
        let version_tables: BTreeMap<_, _> = version_tables::tables().collect();
        let mut different = Vec::new();
        let mut shows_newer = catalog.others.values().any(|kind| *kind == "table");
        for name in &dropped {
            let layouts = match version_tables.get(name) {
                Some(table) => vec![table.clone()],
                None => self.schema.layouts_of(name, 0, newest),
            };
            let mut differences = nearest(name, &layouts, &catalog);
            if !differences.is_empty() {
                shows_newer = true;
                let list: String =
                    differences.iter().map(|found| format!("\n  - {found}")).collect();
                if differences.iter().all(Difference::is_compatible) {
                    differences.clear();
                    plan.notes.push(format!(
                        "table {name} is one of this schema with compatible differences, which the \
                         setup does not make again:{list}"
                    ));
                } else {
                    plan.notes.push(format!(
                        "table {name} differs from every version of this schema, so it may belong to \
                         something else:{list}"
                    ));
                }
            }
            different.extend(differences.iter().cloned());
            plan.steps.push(drop_table(name, true, None, differences));
        }
        check_not_of_other_tables(&rows, &catalog)?;
        // If no table shows a newer schema, no release has made a version that is not known.
        for row in rows.iter().filter(|_| shows_newer) {
            self.known_version_of(row, &catalog).await?;
        }
        for name in &known {
            catalog.remove_table(name);
        }
        plan.steps.extend(self.setup_steps(setup, version, &catalog).await?);
        if !different.is_empty() && !overwrite.drop_different {
            return Err(MigrateError::DifferentTables(different));
        }
        self.preflight(plan).await
    }

    /// Adds to `plan` the drops of the objects that depend on `relations`, which the plan drops later.
    /// `drop` is whether they are dropped; `None` for a command that cannot drop them.
    ///
    /// # Errors
    /// There are such objects, and they are not to be dropped or of a kind that is never dropped.
    async fn plan_dependents(
        &mut self,
        plan: &mut Plan,
        relations: Vec<String>,
        drop: Option<bool>,
    ) -> Result<(), MigrateError> {
        if relations.is_empty() {
            return Ok(());
        }
        let Some(mut dependents) = self.database.dependents(&relations).await? else {
            plan.notes.push(
                "this server does not show which objects depend on the tables to be dropped; a view \
                 or a foreign key on one of them stops the command there"
                    .to_owned(),
            );
            return Ok(());
        };
        let statements: Option<Vec<_>> = dependents.iter().map(Statement::drop_dependent).collect();
        match statements {
            Some(statements) if drop == Some(true) || dependents.is_empty() => {
                let steps = statements.into_iter().zip(dependents);
                plan.steps.extend(steps.map(|(statement, dependent)| Step {
                    action: StepAction::DropDependent { statement, dependent },
                    state: StepState::Pending,
                }));
                Ok(())
            }
            statements => {
                if drop == Some(true) {
                    dependents.retain(|dependent| dependent.drop.is_none());
                }
                let can_drop = drop.is_some() && statements.is_some();
                Err(MigrateError::HasDependents { dependents, can_drop })
            }
        }
    }

    /// The requested version, which must be a version of the schema, or 0.0.
    fn requested_version(&self, setup: &Setup) -> Result<SchemaVersion, MigrateError> {
        match setup.version {
            None => Ok(self.schema.newest()),
            Some(SchemaVersion::NONE) => Ok(SchemaVersion::NONE),
            Some(version) => self.known_version(version),
        }
    }

    /// The steps of a setup of `version` on a database without a recorded one.
    async fn setup_steps(
        &mut self,
        setup: &Setup,
        version: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<Vec<Step>, MigrateError> {
        if !setup.versioning {
            return self.initial_steps(version, catalog).await;
        }
        let mut steps = self.version_table_steps(catalog)?;
        steps.extend(self.initial_steps(version, catalog).await?);
        steps.push(self.initial_record(version));
        Ok(steps)
    }

    /// The step that records `version` under a logical name without one.
    fn initial_record(&self, version: SchemaVersion) -> Step {
        let release = self.schema.release(version);
        record(VersionChange {
            database: self.logical_name.clone(),
            from: None,
            also: Vec::new(),
            adopts: false,
            to: version,
            min_compatible: release.map_or(SchemaVersion::NONE, |release| release.min_compatible),
            manifest_md5: String::new(),
            description: INITIAL_DESCRIPTION.to_owned(),
        })
    }

    /// Checks that no other logical name records these tables at a version older than `requested`.
    fn check_other_names_not_older(
        &self,
        requested: SchemaVersion,
        rows: &[VersionRow],
    ) -> Result<(), MigrateError> {
        let others = rows.iter().filter(|row| row.database != self.logical_name);
        let mut others = others.filter_map(|row| Some((&row.database, row.parsed()?)));
        match others.find(|(_, version)| *version < requested) {
            None => Ok(()),
            Some((database, version)) => {
                let database = database.clone();
                Err(MigrateError::OlderElsewhere { database, version, requested })
            }
        }
    }

    /// The steps of all releases up to `version`, for a database without objects of a newer one.
    async fn initial_steps(
        &mut self,
        version: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<Vec<Step>, MigrateError> {
        self.schema.check(SchemaVersion::NONE, version)?;
        self.check_no_drift(version, catalog)?;
        let unexpected = self.unexpected_indexes(catalog);
        if !unexpected.is_empty() {
            return Err(MigrateError::Differs(unexpected));
        }
        self.release_steps(SchemaVersion::NONE, version, version, catalog).await
    }

    pub(crate) fn change_to(&self, release: &Release) -> VersionChange {
        VersionChange {
            database: self.logical_name.clone(),
            from: None,
            also: Vec::new(),
            adopts: false,
            to: release.version,
            min_compatible: release.min_compatible,
            manifest_md5: release.manifest_md5.clone(),
            description: String::new(),
        }
    }
}

fn record(change: VersionChange) -> Step {
    Step { action: StepAction::Record(change), state: StepState::Pending }
}

fn drop_table(
    table: &str,
    with_rows: bool,
    to: Option<SchemaVersion>,
    differences: Vec<Difference>,
) -> Step {
    Step {
        action: StepAction::DropTable {
            statement: Statement::drop_table(table),
            table: table.to_owned(),
            with_rows,
            differences,
            to,
        },
        state: StepState::Pending,
    }
}

/// The differences of a table from that of `layouts` that it is nearest to: one with compatible
/// differences only, if there is one.
pub(crate) fn nearest(
    table: &str,
    layouts: &[TableDefinition],
    catalog: &Catalog,
) -> Vec<Difference> {
    let differences = layouts.iter().map(|layout| compare_table(table, layout, catalog));
    let distance = |differences: &Vec<Difference>| {
        (!differences.iter().all(Difference::is_compatible), differences.len())
    };
    differences.min_by_key(distance).unwrap_or_default()
}
