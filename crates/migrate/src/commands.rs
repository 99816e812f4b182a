//! What each command does, as a plan.

use temporal_dsql_domain::SchemaVersion;

use crate::{
    MigrateError, Migrator,
    objects::{Catalog, compare_table},
    plan::{Action, Plan, State, Step},
    schema::{Change, Release, Statement},
    version_tables::{HISTORY_TABLE, INITIAL_DESCRIPTION, VERSION_TABLE, VersionChange},
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
    /// indexes that are missing or invalid, which are built.
    ///
    /// # Errors
    /// The database is at another version, has objects of a newer one, or has something that is
    /// not what the schema says. Nothing has run.
    pub async fn plan_setup(&mut self, setup: &Setup) -> Result<Plan, MigrateError> {
        let version = match setup.version {
            None => self.schema.newest(),
            Some(SchemaVersion::NONE) => SchemaVersion::NONE,
            Some(version) => self.known(version)?,
        };
        if !setup.versioning {
            let catalog = self.session.catalog().await?;
            let mut plan = self.empty_plan(None, None);
            plan.steps = self.steps_from_nothing(version, &catalog).await?;
            return Ok(plan);
        }
        let situation = self.situation().await?;
        let current = situation.recorded.map(|(_, version)| version);
        let mut plan = self.empty_plan(current, Some(version));
        if let Some(current) = current {
            self.not_newer_than_tool(current)?;
            if current > version {
                return Err(MigrateError::NeedsRollback { current, requested: version });
            }
            if current < version {
                return Err(MigrateError::NeedsUpdate { current, requested: version });
            }
            plan.steps = self.repairs(version, version, &situation.catalog)?;
            return Ok(plan);
        }
        plan.steps = self.version_table_steps(&situation.catalog)?;
        let steps = self.steps_from_nothing(version, &situation.catalog).await?;
        plan.steps.extend(steps);
        plan.steps.push(record(VersionChange {
            database: self.database.clone(),
            from: None,
            to: version,
            min_compatible: self
                .schema
                .release(version)
                .map_or(SchemaVersion::NONE, |release| release.min_compatible),
            manifest_md5: String::new(),
            description: INITIAL_DESCRIPTION.to_owned(),
        }));
        Ok(plan)
    }

    /// Plans to bring a database from its recorded version to `target`, or to the newest, release
    /// by release: the statements of each, then its version.
    ///
    /// What the recorded version should have is compared first, also if it is the target: indexes
    /// that are missing or invalid are built, anything else is an error.
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
            Some(target) => Some(self.known(target)?),
        };
        let situation = self.situation().await?;
        let Some((text, current)) = situation.recorded else {
            return Err(self.not_set_up(&situation.rows));
        };
        self.not_newer_than_tool(current)?;
        let target = target.unwrap_or_else(|| self.schema.newest());
        if target < current {
            return Err(MigrateError::NeedsRollback { current, requested: target });
        }
        let mut plan = self.empty_plan(Some(current), Some(target));
        plan.steps = self.repairs(current, target, &situation.catalog)?;
        if target > current {
            self.no_leftovers(target, &situation.catalog)?;
            plan.steps.extend(self.version_table_steps(&situation.catalog)?);
        }
        let mut from = text;
        let mut previous = current;
        let schema = self.schema;
        for release in schema.releases_between(current, target) {
            let steps =
                self.release_steps(previous, release.version, target, &situation.catalog).await?;
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
        let target = self.known(rollback.to)?;
        let situation = self.situation().await?;
        let Some((text, current)) = situation.recorded else {
            return Err(self.not_set_up(&situation.rows));
        };
        self.not_newer_than_tool(current)?;
        if target > current {
            return Err(MigrateError::NotARollback { current, requested: target });
        }
        for row in &situation.rows {
            let version = row.version.as_deref().unwrap_or_default().parse();
            if let (true, Ok(version)) = (row.database != self.database, version)
                && version > target
            {
                return Err(MigrateError::RecordedElsewhere {
                    database: row.database.clone(),
                    version,
                });
            }
        }
        let mut plan = self.empty_plan(Some(current), Some(target));
        if let (true, Some(release)) = (target < current, self.schema.release(target)) {
            plan.steps = self.version_table_steps(&situation.catalog)?;
            plan.steps.push(record(VersionChange {
                from: Some(text),
                description: format!("rolled back from {current}"),
                ..self.change_to(release)
            }));
        }
        for table in self.added_tables(target)?.into_iter().rev() {
            if !situation.catalog.tables.contains_key(&table) {
                continue;
            }
            let position = self.schema.end_of(target);
            let forms = self.schema.forms_of(&table, position, self.schema.newest());
            let differences = forms
                .iter()
                .map(|form| compare_table(&table, form, &situation.catalog))
                .min_by_key(Vec::len)
                .unwrap_or_default();
            if !differences.is_empty() {
                return Err(MigrateError::Differs(differences));
            }
            if !rollback.with_rows && self.session.has_rows(&table).await? {
                return Err(MigrateError::TableHasRows { table, lowered: false });
            }
            plan.steps.push(drop_table(&table, rollback.with_rows, Some(target)));
        }
        Ok(plan)
    }

    /// Plans to drop every table that this schema knows and the database has, rows and all, so
    /// that a setup starts from nothing. Tables that the schema does not know stay.
    ///
    /// The version tables go first: a run that ends early must not leave a version recorded that
    /// the database no longer has.
    ///
    /// # Errors
    /// Those of reading the database.
    pub async fn plan_overwrite(&mut self) -> Result<Plan, MigrateError> {
        let catalog = self.session.catalog().await?;
        let rows = self.session.version_rows().await?;
        let mut plan = self.empty_plan(None, None);
        for row in rows.iter().filter(|row| row.database != self.database) {
            plan.notes.push(format!(
                "the version recorded for `{}` ({}) is dropped, too",
                row.database,
                row.version.as_deref().unwrap_or("none")
            ));
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
        known.retain(|name| catalog.tables.contains_key(name));
        plan.steps = known.iter().map(|name| drop_table(name, true, None)).collect();
        Ok(plan)
    }

    /// The steps of all releases up to `version`, for a database that has none of a later one.
    async fn steps_from_nothing(
        &mut self,
        version: SchemaVersion,
        catalog: &Catalog,
    ) -> Result<Vec<Step>, MigrateError> {
        self.no_leftovers(version, catalog)?;
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
            database: self.database.clone(),
            from: None,
            to: release.version,
            min_compatible: release.min_compatible,
            manifest_md5: release.manifest_md5.clone(),
            description: String::new(),
        }
    }
}

fn record(change: VersionChange) -> Step {
    Step { action: Action::Record(change), state: State::Pending }
}

fn drop_table(table: &str, with_rows: bool, to: Option<SchemaVersion>) -> Step {
    Step {
        action: Action::DropTable {
            statement: Statement::drop_table(table),
            table: table.to_owned(),
            with_rows,
            to,
        },
        state: State::Pending,
    }
}
