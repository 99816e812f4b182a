//! What each command does, as a plan.

use temporal_dsql_domain::SchemaVersion;

use crate::{
    MigrateError, Migrator,
    objects::{Catalog, compare_table},
    plan::{Plan, Step, StepAction, StepState},
    schema::{Change, Release, Statement},
    version_tables::{
        HISTORY_TABLE, INITIAL_DESCRIPTION, VERSION_TABLE, VersionChange, VersionRow,
    },
};

/// What to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The version; the newest if `None`. 0.0 is no schema, only version tables.
    pub version: Option<SchemaVersion>,
    /// Whether the version is recorded. Without, the version tables are neither read nor made.
    pub versioning: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { version: None, versioning: true }
    }
}

/// What to roll back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// The version to go back to.
    pub to: SchemaVersion,
    /// Whether tables that the newer versions added are dropped even if they have rows.
    pub with_rows: bool,
}

impl Migrator<'_> {
    /// Plans to set up a database: exactly the version that is asked for, on a database without
    /// one, or to continue a setup that ended early.
    ///
    /// A database that is at the version already is compared with it: nothing is changed, but for
    /// what can be made again without touching data. One that has any version is set up as far as
    /// 0.0 goes: there is nothing to do, as for Temporal's tool.
    ///
    /// # Errors
    /// The database is at another version, has objects of a newer one, or has something that is
    /// not what the schema says. Nothing has run.
    pub async fn plan_setup(&mut self, setup: &Setup) -> Result<Plan, MigrateError> {
        let version = self.requested_version(setup)?;
        if !setup.versioning {
            let catalog = self.database.catalog().await?;
            let mut plan = self.empty_plan(None, None);
            plan.steps = self.setup_steps(setup, version, &catalog).await?;
            return Ok(plan);
        }
        let state = self.database_state().await?;
        let Some((_, current)) = state.recorded else {
            self.check_other_names_not_older(version, &state.rows)?;
            let mut plan = self.empty_plan(None, Some(version));
            plan.steps = self.setup_steps(setup, version, &state.catalog).await?;
            return Ok(plan);
        };
        if version == SchemaVersion::NONE && current > version {
            return Ok(self.empty_plan(Some(current), Some(current)));
        }
        self.check_not_newer_than_schema(current)?;
        if current > version {
            return Err(MigrateError::NeedsRollback { current, requested: version });
        }
        if current < version {
            return Err(MigrateError::NeedsUpdate { current, requested: version });
        }
        let mut plan = self.empty_plan(Some(current), Some(version));
        plan.steps = self.repairs(version, version, &state.catalog).await?;
        Ok(plan)
    }

    /// Plans to bring a database from its recorded version to `target`, or to the newest, release
    /// by release: the statements of each, then its version.
    ///
    /// What the recorded version should have is compared first, also if it is the target: what can
    /// be made again without touching data is, anything else is an error.
    ///
    /// # Errors
    /// No version is recorded, the target is older or unknown, or the database has something that
    /// is not what the schema says. Nothing has run.
    pub async fn plan_update(
        &mut self,
        target: Option<SchemaVersion>,
    ) -> Result<Plan, MigrateError> {
        let target = match target {
            None => None,
            Some(target) => Some(self.known_version(target)?),
        };
        let state = self.database_state().await?;
        let Some((text, current)) = state.recorded else {
            return Err(self.not_set_up_error(&state.rows));
        };
        self.check_not_newer_than_schema(current)?;
        let target = target.unwrap_or_else(|| self.schema.newest());
        if target < current {
            return Err(MigrateError::NeedsRollback { current, requested: target });
        }
        let mut plan = self.empty_plan(Some(current), Some(target));
        plan.steps = self.repairs(current, target, &state.catalog).await?;
        if target > current {
            self.check_no_drift(target, &state.catalog)?;
        }
        for (name, version) in self.other_names(&state.rows) {
            if version < target {
                plan.notes.push(format!(
                    "the tables are also recorded for `{name}`, at {version}; update it, too, with \
                     its name as the logical database"
                ));
            }
        }
        let mut from = text;
        let mut previous = current;
        let schema = self.schema;
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

    /// Plans to go back to an older version: the version is lowered first, then the tables that
    /// the newer versions added are dropped, the last one first. No other table is touched.
    ///
    /// The version is lowered first so that no server of the newer version starts any more. The
    /// servers must be on the older version before this runs: a server that still writes a table
    /// that is being dropped loses those writes. If the rollback ends in between, running it again
    /// drops what is left; updating again takes it back.
    ///
    /// # Errors
    /// No version is recorded, the target is newer or unknown, the newer versions did more than
    /// add tables, or a table that would be dropped has rows and they are not given up.
    pub async fn plan_rollback(&mut self, rollback: &Rollback) -> Result<Plan, MigrateError> {
        let target = self.known_version(rollback.to)?;
        let state = self.database_state().await?;
        let Some((text, current)) = state.recorded else {
            return Err(self.not_set_up_error(&state.rows));
        };
        self.check_not_newer_than_schema(current)?;
        if target > current {
            return Err(MigrateError::NotARollback { current, requested: target });
        }
        for (name, version) in self.other_names(&state.rows) {
            if version > target {
                return Err(MigrateError::RecordedElsewhere { database: name, version });
            }
        }
        let mut plan = self.empty_plan(Some(current), Some(target));
        if let (true, Some(release)) = (target < current, self.schema.release(target)) {
            plan.steps = self.version_table_steps(&state.catalog)?;
            plan.steps.push(record(VersionChange {
                from: Some(text),
                description: format!("rolled back from {current}"),
                ..self.change_to(release)
            }));
        }
        for table in self.added_tables(target)?.into_iter().rev() {
            if !state.catalog.tables.contains_key(&table) {
                continue;
            }
            let position = self.schema.end_of(target);
            let layouts = self.schema.layouts_of(&table, position, self.schema.newest());
            let differences = layouts
                .iter()
                .map(|layout| compare_table(&table, layout, &state.catalog))
                .min_by_key(Vec::len)
                .unwrap_or_default();
            if !differences.is_empty() {
                return Err(MigrateError::Differs(differences));
            }
            if !rollback.with_rows && self.database.has_rows(&table).await? {
                return Err(MigrateError::TableHasRows { table, version_lowered: false });
            }
            plan.steps.push(drop_table(&table, rollback.with_rows, Some(target)));
        }
        Ok(plan)
    }

    /// Plans to start over: to drop every table that this schema knows and the database has, rows
    /// and all, and to set up what is asked for in their place. Tables that the schema does not
    /// know stay. The whole setup is planned before anything is dropped, so that one that cannot
    /// be costs nothing.
    ///
    /// The version tables go first: a run that ends early must not leave a version recorded that
    /// the database no longer has. It is to be run again as it was: a setup without the drops takes
    /// the tables that are left for its own, with their rows.
    ///
    /// # Errors
    /// Those of a setup of a database without these tables; or a version is recorded that is newer
    /// than the schema or cannot be read, under whatever name.
    pub async fn plan_overwrite(&mut self, setup: &Setup) -> Result<Plan, MigrateError> {
        let version = self.requested_version(setup)?;
        if setup.versioning {
            self.check_name()?;
        }
        let rows = self.database.version_rows().await?;
        let mut catalog = self.database.catalog().await?;
        let mut plan = self.empty_plan(None, setup.versioning.then_some(version));
        for row in &rows {
            let recorded = row.parsed().ok_or_else(|| MigrateError::unreadable_version(row))?;
            self.check_not_newer_than_schema(recorded)?;
            if row.database == self.logical_name {
                plan.from = Some(recorded);
            } else {
                let name = &row.database;
                plan.notes.push(format!(
                    "the version recorded for `{name}` ({recorded}) is dropped, too"
                ));
            }
        }
        let mut known = vec![VERSION_TABLE.to_owned(), HISTORY_TABLE.to_owned()];
        let newest = self.schema.newest();
        let statements = self.schema.statements_between(SchemaVersion::NONE, newest);
        for statement in statements.iter().rev() {
            if let Change::CreateTable { name, .. } = &statement.change
                && !known.contains(name)
            {
                known.push(name.clone());
            }
        }
        for name in known.iter().filter(|name| catalog.tables.contains_key(*name)) {
            plan.steps.push(drop_table(name, true, None));
        }
        for name in &known {
            catalog.forget_table(name);
        }
        plan.steps.extend(self.setup_steps(setup, version, &catalog).await?);
        Ok(plan)
    }

    /// The version that is asked for, which must be one of the schema's, or 0.0.
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
        let release = self.schema.release(version);
        steps.push(record(VersionChange {
            database: self.logical_name.clone(),
            from: None,
            to: version,
            min_compatible: release.map_or(SchemaVersion::NONE, |release| release.min_compatible),
            manifest_md5: String::new(),
            description: INITIAL_DESCRIPTION.to_owned(),
        }));
        Ok(steps)
    }

    /// The versions that are recorded for the same tables under other names.
    fn other_names(&self, rows: &[VersionRow]) -> Vec<(String, SchemaVersion)> {
        rows.iter()
            .filter(|row| row.database != self.logical_name)
            .filter_map(|row| Some((row.database.clone(), row.parsed()?)))
            .collect()
    }

    /// That a setup does not take tables to `requested` that are recorded at an older version.
    fn check_other_names_not_older(
        &self,
        requested: SchemaVersion,
        rows: &[VersionRow],
    ) -> Result<(), MigrateError> {
        match self.other_names(rows).into_iter().find(|(_, version)| *version < requested) {
            None => Ok(()),
            Some((database, version)) => {
                Err(MigrateError::OlderElsewhere { database, version, requested })
            }
        }
    }

    /// The steps of all releases up to `version`, for a database that has none of a later one.
    async fn initial_steps(
        &mut self,
        version: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<Vec<Step>, MigrateError> {
        self.check_no_drift(version, catalog)?;
        self.release_steps(SchemaVersion::NONE, version, version, catalog).await
    }

    /// The tables that the releases after `target` add, in their order.
    fn added_tables(&self, target: SchemaVersion) -> Result<Vec<String>, MigrateError> {
        let newest = self.schema.newest();
        let mut added: Vec<String> = Vec::new();
        for statement in self.schema.statements_between(target, newest) {
            let is_on_added = |table: &String| added.contains(table);
            match &statement.change {
                Change::CreateTable { name, .. } => added.push(name.clone()),
                // Gone with their table.
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

    fn change_to(&self, release: &Release) -> VersionChange {
        VersionChange {
            database: self.logical_name.clone(),
            from: None,
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

fn drop_table(table: &str, with_rows: bool, to: Option<SchemaVersion>) -> Step {
    Step {
        action: StepAction::DropTable {
            statement: Statement::drop_table(table),
            table: table.to_owned(),
            with_rows,
            to,
        },
        state: StepState::Pending,
    }
}
